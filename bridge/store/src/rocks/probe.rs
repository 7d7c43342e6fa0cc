//! How the store is, for whoever watches it: sizes, levels, and whether writes are slowed down.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Weak};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, properties};

use super::fault::failed;
use super::format;
use crate::{StoreError, Table};

/// Levels of a table; RocksDB's default.
const LEVELS: usize = 7;

/// Looks into a store as long as it is open.
#[derive(Clone)]
pub struct StoreProbe {
    db: Weak<DB>,
    reserve_bytes: u64,
}

/// How a store is.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct StoreReading {
    /// Bytes of the write-ahead log.
    pub log_bytes: u64,
    /// Bytes free on the disk, for this process.
    pub free_bytes: u64,
    /// Bytes that are kept free.
    pub reserve_bytes: u64,
    /// Bytes of blocks that were read and are kept.
    pub cached_bytes: u64,
    /// No write goes on before tables were merged or written.
    pub is_stopped: bool,
    /// Bytes a second to which writes are slowed down; 0: they are not.
    pub delayed_bytes_per_s: u64,
    /// Tables that are being merged, and written from memory.
    pub running_compactions: u64,
    /// See there.
    pub running_flushes: u64,
    /// Errors of work in the background.
    pub background_errors: u64,
    /// By table.
    pub tables: Vec<(Table, TableReading)>,
}

/// How one table is.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct TableReading {
    /// Bytes on disk.
    pub bytes: u64,
    /// About how many rows.
    pub rows: u64,
    /// Bytes that are not on disk but in the log.
    pub memory_bytes: u64,
    /// About how many bytes are to be merged.
    pub pending_bytes: u64,
    /// Files, by level.
    pub files: Vec<u64>,
}

impl StoreProbe {
    pub(super) fn new(db: &Arc<DB>, reserve_bytes: u64) -> Self {
        Self { db: Arc::downgrade(db), reserve_bytes }
    }

    /// Makes a copy of the store at this moment in a folder that is not there, on the same file system: links to its tables, which are
    /// never changed. It has all that was committed before. Blocking.
    ///
    /// # Errors
    /// The store is closed, or the disk failed; the store itself is as before.
    pub fn checkpoint(&self, folder: &Path) -> Result<(), StoreError> {
        const DOING: &str = "make a checkpoint";
        let closed = || StoreError { doing: DOING, cause: "the store is closed".to_owned() };
        let db = self.db.upgrade().ok_or_else(closed)?;
        let made = Checkpoint::new(&db).and_then(|checkpoint| checkpoint.create_checkpoint(folder));
        made.map_err(failed(DOING))?;
        format::note(folder)
    }

    /// How the store is. `None`: it is closed. Reads no row; blocking.
    pub fn read(&self) -> Option<StoreReading> {
        let db = self.db.upgrade()?;
        let of_all = |name| db.property_int_value(name).ok().flatten().unwrap_or(0);
        let disk = rustix::fs::statvfs(db.path()).ok();
        let tables = Table::ALL.map(|table| (table, read_table(&db, table)));
        Some(StoreReading {
            log_bytes: log_bytes(db.path()),
            free_bytes: disk.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            reserve_bytes: self.reserve_bytes,
            cached_bytes: of_all(properties::BLOCK_CACHE_USAGE),
            is_stopped: of_all(properties::IS_WRITE_STOPPED) > 0,
            delayed_bytes_per_s: of_all(properties::ACTUAL_DELAYED_WRITE_RATE),
            running_compactions: of_all(properties::NUM_RUNNING_COMPACTIONS),
            running_flushes: of_all(properties::NUM_RUNNING_FLUSHES),
            background_errors: of_all(properties::BACKGROUND_ERRORS),
            tables: tables.into(),
        })
    }
}

fn read_table(db: &DB, table: Table) -> TableReading {
    let Some(family) = db.cf_handle(table.name()) else { return TableReading::default() };
    let of_table = |name| db.property_int_value_cf(family, name).ok().flatten().unwrap_or(0);
    let files = |level| {
        let text = db.property_value_cf(family, properties::num_files_at_level(level)).ok().flatten();
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    TableReading {
        bytes: of_table(properties::LIVE_SST_FILES_SIZE),
        rows: of_table(properties::ESTIMATE_NUM_KEYS),
        memory_bytes: of_table(properties::CUR_SIZE_ALL_MEM_TABLES),
        pending_bytes: of_table(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
        files: (0..LEVELS).map(files).collect(),
    }
}

/// A file may go while it is looked at.
fn log_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let logs = files.filter(|file| file.path().extension().is_some_and(|kind| kind == "log"));
    logs.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}
