//! `FORMAT`, a file beside RocksDB's own: which formats of rows and tables the store has. Read before RocksDB opens, so that a program
//! that does not know them changes nothing.
//!
//! A number, in decimal. It grows when a program writes what an earlier one would take for something else, or would lose; fields and
//! kinds of rows that an earlier program passes over need no new number. A store without the file has format 1: before there was
//! one. docs/operators/upgrade.md has a section for each.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::fault::{CHAPTER, damaged, failed_beside};
use crate::StoreError;

/// Of stores that this program writes.
pub const FORMAT: u32 = 1;
/// The file's name.
pub(super) const NAME: &str = "FORMAT";
const NEW: &str = "FORMAT.new";
const DOING: &str = "open the store";

/// Looks whether this program knows the format of the store in a folder. Changes nothing.
///
/// # Errors
/// It does not, or the file cannot be read. The text says what to do.
pub(super) fn check(store: &Path) -> Result<(), StoreError> {
    let path = store.join(NAME);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        bytes => bytes.map_err(failed_beside(DOING, &path))?,
    };
    let text = String::from_utf8_lossy(&bytes);
    match text.trim_end().parse::<u32>() {
        Ok(1..=FORMAT) => Ok(()),
        Ok(newer @ FORMAT..) => Err(StoreError {
            doing: DOING,
            cause: format!(
                "it has format {newer}, and this program knows formats up to {FORMAT}: a newer version has written it. Start \
                 that version, or put back a backup from before the upgrade (docs/operators/upgrade.md). If there was none, {} \
                 is damaged: {CHAPTER}",
                path.display()
            ),
        }),
        Ok(0) | Err(_) => Err(damaged(&format!("{} holds {text:?}, which is no format", path.display()))),
    }
}

/// Notes the format of a store that this program has opened. Durable when it returns.
///
/// # Errors
/// The file cannot be written.
pub(super) fn note(store: &Path) -> Result<(), StoreError> {
    let (path, new) = (store.join(NAME), store.join(NEW));
    let text = format!("{FORMAT}\n");
    if fs::read_to_string(&path).is_ok_and(|noted| noted == text) {
        return Ok(());
    }
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(store)?.sync_all()
    };
    write().map_err(failed_beside(DOING, &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_refused_and_an_earlier_one_carried_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(NAME);
        check(folder.path()).unwrap();
        note(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{FORMAT}\n"));
        check(folder.path()).unwrap();
        fs::write(&file, format!("{}\n", FORMAT + 1)).unwrap();
        let refused = check(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("format {}", FORMAT + 1)) && refused.contains("upgrade.md"), "{refused}");
        for none in ["", "0", "one", "-1", "1 2"] {
            fs::write(&file, none).unwrap();
            assert!(check(folder.path()).unwrap_err().to_string().contains("no format"), "{none:?}");
        }
    }
}
