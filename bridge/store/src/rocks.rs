//! The store on disk: RocksDB, which only this crate names. Its submodules: `before` looks at what is on disk
//! before RocksDB does, by the formats of its files (`journal`, `manifest`) and by what `synced` has noted beside them; `format` says whether this program knows
//! them; `fault`
//! says what went wrong.
//!
//! The server opens it at its start; the committer writes, and everybody else reads. Keeps P1: a synced commit returns when
//! it is on disk.
//!
//! One write-ahead log for all tables; a synced commit is one fsync of it. Small tables of records are compressed and
//! filtered; the inbox is a queue: entries are written, read once and deleted, mostly before they leave memory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rocksdb::compaction_filter::Decision;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Options, ReadOptions,
    WriteBatch, WriteOptions,
};

use self::fault::{failed, failed_beside};
use self::synced::Recorder;
use super::{Durability, Row, Store, StoreError, Table, Write, expiry_s, keys};
use crate::crash::{self, Point};
use crate::time::Time;

pub use self::format::FORMAT;
pub use self::probe::{StoreProbe, StoreReading, TableReading};

/// Expired entries that nobody reads are dropped at the latest after this time.
const SWEEP_S: u64 = 24 * 3_600;

mod before;
mod culprit;
mod fault;
mod format;
mod journal;
mod manifest;
mod probe;
mod synced;
#[cfg(test)]
mod tests;

/// How much memory and disk the store may use.
#[derive(Debug, Clone)]
pub struct RocksSettings {
    /// Bytes written to memory before they go to disk, for each table.
    pub memtable_bytes: usize,
    /// Bytes of recently read blocks kept, in all.
    pub cache_bytes: usize,
    /// With fewer bytes free on its disk the store is nearly full.
    pub reserve_bytes: u64,
}

/// A store in a folder, by RocksDB. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct RocksStore {
    db: Arc<DB>,
    /// Commits go one by one, as the committer has them: what it notes is of the commit before.
    recorder: Arc<Mutex<Recorder>>,
    time: Time,
    reserve_bytes: u64,
}

impl RocksStore {
    /// Opens the store in a folder, making it if there is none, and replays its log. One process at a time. `time` begins here:
    /// with what the store knows of it.
    ///
    /// # Errors
    /// The folder cannot be written, another process has it, or what is on disk is damaged. The text names the file and
    /// says what to do.
    pub fn open(path: &Path, settings: &RocksSettings, time: impl Into<Time>) -> Result<Self, StoreError> {
        let time = time.into();
        format::check(path)?;
        let mut options = Options::default();
        let found = before::look(path)?;
        options.create_if_missing(found.nothing);
        options.create_missing_column_families(true);
        // A crash may leave a torn record at the end of a log: it was not acknowledged, since PUBACK follows the fsync,
        // and must not keep the server from starting (as `AbsoluteConsistency` would). A record with a wrong checksum
        // may have been synced and acknowledged: it and what is behind it must not be dropped in silence (as the default,
        // `PointInTime`, would do), nor be jumped over (`SkipAnyCorruptedRecord`). This mode tells one from the other,
        // but for a damaged length, which it takes for a torn end: `before` looks for that.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_max_total_wal_size(4 * settings.memtable_bytes as u64);
        options.set_keep_log_file_num(4);
        options.set_max_log_file_size(4 << 20);
        options.set_max_open_files(512);
        options.set_bytes_per_sync(1 << 20);
        options.set_stats_dump_period_sec(0);
        let cache = Cache::new_lru_cache(settings.cache_bytes);
        let tables = Table::ALL.map(|table| {
            ColumnFamilyDescriptor::new(table.name(), table_options(table, settings, &cache, time.clone()))
        });
        let db =
            DB::open_cf_descriptors(&options, path, tables).map_err(|error| not_opened(path, found.torn, error))?;
        let recorder = Recorder::start(path).map_err(failed_beside("open the store", &path.join(synced::NAME)))?;
        let recorder = Arc::new(Mutex::new(recorder));
        let store = Self { db: Arc::new(db), recorder, time, reserve_bytes: settings.reserve_bytes };
        store.begin_time()?;
        format::note(path)?;
        Ok(store)
    }

    /// Before, nothing can be compacted that expires.
    fn begin_time(&self) -> Result<(), StoreError> {
        let (table, key) = keys::time();
        let row = self.db.get_cf(self.family(table)?, key).map_err(failed("read"))?;
        self.time.begin(row.map(Bytes::from));
        for table in Table::ALL.into_iter().filter(|table| table.expires()) {
            let compacted = [("disable_auto_compactions", "false")];
            self.db.set_options_cf(self.family(table)?, &compacted).map_err(failed("open the store"))?;
        }
        Ok(())
    }

    /// Writes what is in memory to tables on disk, so that the next start has no log to replay. Blocking.
    ///
    /// # Errors
    /// The disk failed; nothing committed is lost.
    pub fn flush(&self) -> Result<(), StoreError> {
        let families: Vec<_> = Table::ALL.iter().map(|table| self.family(*table)).collect::<Result<_, _>>()?;
        let families: Vec<_> = families.iter().collect();
        self.db.flush_cfs_opt(&families, &rocksdb::FlushOptions::default()).map_err(failed("flush the store"))
    }

    /// Waits until tables on disk are in the shape that the store gives them while nothing happens. Blocking.
    ///
    /// # Errors
    /// The disk failed; nothing committed is lost.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.db.wait_for_compact(&rocksdb::WaitForCompactOptions::default()).map_err(failed("compact the store"))
    }

    /// Looks into the store from time to time, and does not keep it open.
    pub fn probe(&self) -> StoreProbe {
        StoreProbe::new(&self.db, self.reserve_bytes)
    }

    fn family(&self, table: Table) -> Result<&rocksdb::ColumnFamily, StoreError> {
        let name = table.name();
        let missing = || StoreError { doing: "find a table", cause: format!("no table \"{name}\"") };
        self.db.cf_handle(name).ok_or_else(missing)
    }
}

/// RocksDB does not name every file that it finds damaged.
fn not_opened(path: &Path, torn: Option<PathBuf>, error: rocksdb::Error) -> StoreError {
    let names_it = [".sst", ".log"].iter().any(|kind| error.as_ref().contains(kind));
    let is_damage = error.kind() == rocksdb::ErrorKind::Corruption;
    let culprit = (is_damage && !names_it).then(|| culprit::table(path).or(torn)).flatten();
    let error = failed("open the store")(error);
    match culprit {
        Some(file) => StoreError { cause: format!("{}: {}", file.display(), error.cause), ..error },
        None => error,
    }
}

fn table_options(table: Table, settings: &RocksSettings, cache: &Cache, time: Time) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(16 << 10);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_format_version(6);
    let mut options = Options::default();
    options.set_write_buffer_size(settings.memtable_bytes);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_level_compaction_dynamic_level_bytes(true);
    if table.expires() {
        options.set_compaction_filter("expiry", move |_level, _key, value: &[u8]| {
            if expiry_s(value) > time.now_s() || !time.may_delete() {
                crash::point(Point::Compaction);
                return Decision::Keep;
            }
            crash::point(Point::Expiry);
            Decision::Remove
        });
        options.set_periodic_compaction_seconds(SWEEP_S);
        options.set_disable_auto_compactions(true);
    }
    if table != Table::Inbox {
        blocks.set_bloom_filter(10.0, false);
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.02);
    }
    options.set_block_based_table_factory(&blocks);
    options
}

/// Reads block the thread that polls, for as long as the disk takes.
impl Store for RocksStore {
    async fn multi_get(&self, keys: &[(Table, Vec<u8>)]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        let now_s = self.time.now_s();
        for (table, key) in keys {
            let value = self.db.get_pinned_cf(self.family(*table)?, key).map_err(failed("read"))?;
            let live = value.filter(|value| !table.expires() || expiry_s(value) > now_s);
            found.push(live.map(|value| Bytes::copy_from_slice(&value)));
        }
        Ok(found)
    }

    async fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        let mut rows = Vec::new();
        if from >= to {
            return Ok(rows);
        }
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(table)?, options);
        iterator.seek(from);
        let (mut bytes, now_s) = (0, self.time.now_s());
        while let Some((key, value)) = iterator.item() {
            if rows.len() >= rows_max || bytes >= bytes_max {
                break;
            }
            if !table.expires() || expiry_s(value) > now_s {
                bytes += value.len();
                rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            }
            iterator.next();
        }
        iterator.status().map_err(failed("scan"))?;
        Ok(rows)
    }

    async fn commit(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let bytes: usize = writes.iter().map(size).sum();
        let mut batch = WriteBatch::with_capacity_bytes(bytes);
        let mut families = [None; Table::ALL.len()];
        for table in Table::ALL {
            families[table as usize] = Some(self.family(table)?);
        }
        for write in &writes {
            let (Write::Put(table, ..) | Write::Delete(table, _) | Write::DeleteRange(table, ..)) = write;
            let Some(family) = families[*table as usize] else { continue };
            match write {
                Write::Put(_, key, value) => batch.put_cf(family, key, value),
                Write::Delete(_, key) => batch.delete_cf(family, key),
                Write::DeleteRange(_, from, to) => batch.delete_range_cf(family, from, to),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        self.db.write_opt(batch, &options).map_err(failed("commit"))?;
        let recorded = recorder.committed(durability == Durability::Synced);
        recorded.map_err(failed_beside("commit", &self.db.path().join(synced::NAME)))
    }

    /// Where the disk cannot be asked, the next commit will tell.
    async fn is_nearly_full(&self) -> bool {
        let Ok(disk) = rustix::fs::statvfs(self.db.path()) else { return false };
        disk.f_bavail.saturating_mul(disk.f_frsize) < self.reserve_bytes
    }
}

/// About what a write takes in a batch.
fn size(write: &Write) -> usize {
    16 + match write {
        Write::Put(_, key, value) => key.len() + value.len(),
        Write::Delete(_, key) => key.len(),
        Write::DeleteRange(_, from, to) => from.len() + to.len(),
    }
}

/// Counts deleted entries that reads of this thread pass over, from now until the returned function is called.
pub fn count_skipped() -> impl FnOnce() -> u64 {
    use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};
    set_perf_stats(PerfStatsLevel::EnableCount);
    let mut context = PerfContext::default();
    context.reset();
    move || {
        let skipped = context.metric(PerfMetric::InternalDeleteSkippedCount);
        set_perf_stats(PerfStatsLevel::Disable);
        skipped
    }
}
