//! One table in a SQLite file. SQLite is compiled in; nothing need be installed.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::{KeyValue, LocalStore, LocalStoreError, Scan};

/// What is written at its opening, to be refused by what does not understand it.
const SCHEMA_VERSION: i64 = 1;

/// A store in a file, with its `-wal` and `-shm` beside it. For one client at a time.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    /// Something was written since the last commit.
    open: bool,
}

/// Makes the file, if it is not there, and shuts others out. SQLite gives the files beside it the rights of this one.
#[cfg(unix)]
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::fs::{self, OpenOptions, Permissions};
    use std::io::ErrorKind;
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

    // Not cut off: there may be a store in it. The mode is for one that is made here.
    drop(OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?);
    for beside in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        match fs::set_permissions(&name, Permissions::from_mode(0o600)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

fn failed<T>(doing: &'static str, result: rusqlite::Result<T>) -> Result<T, LocalStoreError> {
    result.map_err(|error| LocalStoreError::new(doing, error))
}

impl SqliteStore {
    /// Opens or makes the file. It holds everything that the app has sent and received, and the device's password if that was
    /// renewed: on Unix nobody but its owner may read it, or what SQLite puts beside it, whatever it was before. Elsewhere put
    /// it where other apps cannot read.
    ///
    /// # Errors
    /// [`LocalStoreError`]: it cannot be opened, is open in another process, or is from a later version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LocalStoreError> {
        #[cfg(unix)]
        make_private(path.as_ref()).map_err(|error| LocalStoreError::new("make the store private", error))?;
        let connection = failed("open the store", Connection::open(path))?;
        // Writers of one file would overwrite each other's counts: the second one is refused. Full: a commit is an
        // fsync of the log.
        let settings = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
        failed("open the store", connection.execute_batch(settings))?;
        let version: i64 = failed("open the store", connection.query_row("PRAGMA user_version", [], |row| row.get(0)))?;
        if version > SCHEMA_VERSION {
            return Err(LocalStoreError::new("open the store", "it was written by a later version"));
        }
        let schema = format!(
            "BEGIN EXCLUSIVE;
             CREATE TABLE IF NOT EXISTS pairs (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
             PRAGMA user_version = {SCHEMA_VERSION};
             COMMIT;"
        );
        failed("open the store", connection.execute_batch(&schema))?;
        Ok(Self { connection, open: false })
    }

    /// Before the first write since a commit.
    fn begin(&mut self) -> Result<(), LocalStoreError> {
        if !self.open {
            failed("begin a write", self.connection.execute_batch("BEGIN IMMEDIATE"))?;
            self.open = true;
        }
        Ok(())
    }
}

impl LocalStore for SqliteStore {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, LocalStoreError> {
        let statement = self.connection.prepare_cached("SELECT value FROM pairs WHERE key = ?1");
        let found = statement.and_then(|mut it| it.query_row(params![key], |row| row.get(0)).optional());
        failed("read the store", found)
    }

    fn scan(&mut self, from: &[u8], to: &[u8], order: Scan, limit: usize) -> Result<Vec<KeyValue>, LocalStoreError> {
        let text = match order {
            Scan::Forward => "SELECT key, value FROM pairs WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3",
            Scan::Backward => "SELECT key, value FROM pairs WHERE key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT ?3",
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let pairs = self.connection.prepare_cached(text).and_then(|mut statement| {
            statement.query_map(params![from, to, limit], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        });
        failed("read the store", pairs)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), LocalStoreError> {
        self.begin()?;
        let statement = self.connection.prepare_cached("INSERT OR REPLACE INTO pairs (key, value) VALUES (?1, ?2)");
        failed("write the store", statement.and_then(|mut it| it.execute(params![key, value])).map(drop))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), LocalStoreError> {
        self.begin()?;
        let statement = self.connection.prepare_cached("DELETE FROM pairs WHERE key = ?1");
        failed("write the store", statement.and_then(|mut it| it.execute(params![key])).map(drop))
    }

    fn commit(&mut self) -> Result<(), LocalStoreError> {
        if std::mem::take(&mut self.open) {
            let committed = self.connection.execute_batch("COMMIT");
            self.open = committed.is_err();
            failed("write the store", committed)?;
        }
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), LocalStoreError> {
        self.open = false;
        // SQLite may have rolled back by itself, for instance when the disk was full.
        if self.connection.is_autocommit() {
            return Ok(());
        }
        failed("undo a write", self.connection.execute_batch("ROLLBACK"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_store() {
        let folder = tempfile::tempdir().unwrap();
        super::super::conformance::check(|name| SqliteStore::open(folder.path().join(name)).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_it_though_it_was_open_to_all() {
        use std::fs::{self, Permissions};
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        for name in ["new", "old"] {
            let path = folder.path().join(name);
            if name == "old" {
                drop(SqliteStore::open(&path).unwrap());
                fs::write(folder.path().join("old-wal"), "").unwrap();
                for file in ["old", "old-wal"] {
                    fs::set_permissions(folder.path().join(file), Permissions::from_mode(0o666)).unwrap();
                }
            }
            let mut store = SqliteStore::open(&path).unwrap();
            store.put(b"a", b"b").unwrap();
            store.commit().unwrap();
            let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap());
            let files = files.filter(|file| file.file_name().to_str().unwrap().starts_with(name));
            let modes: Vec<_> = files.map(|file| file.metadata().unwrap().permissions().mode() & 0o777).collect();
            assert!(modes.len() >= 2 && modes.iter().all(|mode| *mode == 0o600), "{name}: {modes:?}");
        }
    }

    #[test]
    fn a_file_has_one_client_and_no_later_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let first = SqliteStore::open(&path).unwrap();
        assert!(SqliteStore::open(&path).is_err(), "a second client of the same file");
        first.connection.execute_batch("PRAGMA user_version = 99").unwrap();
        drop(first);
        assert!(SqliteStore::open(&path).unwrap_err().why.contains("later version"));
    }
}
