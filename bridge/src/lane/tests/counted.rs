//! A store in memory that counts what is read from it, and what it has synced.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::edge::NOW_S;
use godwit_store::memory::MemoryStore;
use godwit_store::{Durability, Row, Store, StoreError, Table, Write};

/// See the module.
#[derive(Clone)]
pub(super) struct Counted {
    pub(super) store: MemoryStore,
    rows: Arc<AtomicUsize>,
    keys: Arc<AtomicUsize>,
    scans: Arc<AtomicUsize>,
    synced: Arc<AtomicUsize>,
}

impl Counted {
    pub(super) fn new() -> Self {
        let store = MemoryStore::new(Arc::new(|| NOW_S));
        Self { store, rows: Arc::default(), keys: Arc::default(), scans: Arc::default(), synced: Arc::default() }
    }

    /// Keys that were looked up, and scans, since this was asked last.
    pub(super) fn cost(&self) -> (usize, usize) {
        (self.keys.swap(0, Ordering::Relaxed), self.scans.swap(0, Ordering::Relaxed))
    }

    /// Commits that were synced since this was asked last.
    pub(super) fn synced(&self) -> usize {
        self.synced.swap(0, Ordering::Relaxed)
    }

    /// Rows that were read so far, also those that were not there.
    pub(super) fn rows_read(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    fn count(&self, rows: usize) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

impl Store for Counted {
    async fn multi_get(&self, keys: &[(Table, Vec<u8>)]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.keys.fetch_add(keys.len(), Ordering::Relaxed);
        self.count(keys.len());
        self.store.multi_get(keys).await
    }

    async fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        let rows = self.store.scan(table, from, to, rows_max, bytes_max).await?;
        self.count(rows.len() + 1);
        Ok(rows)
    }

    async fn commit(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        self.synced.fetch_add(usize::from(durability == Durability::Synced), Ordering::Relaxed);
        self.store.commit(writes, durability).await
    }
}
