//! The store as a lane sees it: it counts what is read, so that a lane knows when it has read enough for one round.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use godwit_store::{Durability, Row, Store, StoreError, Table, Write};

/// So many bytes cost as much as a row: what is read is mostly decoded, too.
const BYTES_OF_A_ROW: u64 = 64;

/// A store, and how many rows were read from it.
#[derive(Clone)]
pub(super) struct Metered<S> {
    store: S,
    read: Arc<AtomicU64>,
}

impl<S> Metered<S> {
    pub(super) fn new(store: S) -> Self {
        Self { store, read: Arc::default() }
    }

    /// Rows read so far, also those that were not there; and bytes, by [`BYTES_OF_A_ROW`].
    pub(super) fn rows_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Something else has cost as much as reading so many rows.
    pub(super) fn charge(&self, rows: u64) {
        self.read.fetch_add(rows, Ordering::Relaxed);
    }

    pub(in crate::lane) fn count(&self, rows: usize, bytes: usize) {
        self.read.fetch_add(rows as u64 + bytes as u64 / BYTES_OF_A_ROW, Ordering::Relaxed);
    }
}

impl<S: Store> Store for Metered<S> {
    async fn multi_get(&self, keys: &[(Table, Vec<u8>)]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let found = self.store.multi_get(keys).await?;
        self.count(keys.len(), found.iter().flatten().map(Bytes::len).sum());
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
        let rows = self.store.scan(table, from, to, rows_max, bytes_max).await?;
        // A scan that finds nothing has looked, too.
        self.count(rows.len() + 1, rows.iter().map(|(_, value)| value.len()).sum());
        Ok(rows)
    }

    async fn commit(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        self.store.commit(writes, durability).await
    }

    async fn is_nearly_full(&self) -> bool {
        self.store.is_nearly_full().await
    }
}
