//! The store in memory, for unit tests, simulation and fuzzing. It keeps what [`Store`] promises, checked by the same suite as
//! the one on disk ([`crate::conformance`]), and is gone with its last handle.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::{ClockS, Durability, Row, Store, StoreError, Table, Write};

type Rows = BTreeMap<(Table, Vec<u8>), Bytes>;

/// A store in memory. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct MemoryStore {
    rows: Arc<Mutex<Rows>>,
    clock: ClockS,
    nearly_full: Arc<AtomicBool>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(clock: ClockS) -> Self {
        Self { rows: Arc::default(), clock, nearly_full: Arc::default() }
    }

    /// Plays a disk that is, or is not, nearly full.
    pub fn set_nearly_full(&self, nearly_full: bool) {
        self.nearly_full.store(nearly_full, Ordering::Relaxed);
    }

    /// Number of rows in a table, expired ones included.
    pub fn rows(&self, table: Table) -> usize {
        self.locked(|rows| rows.keys().filter(|(of, _)| *of == table).count())
    }

    /// Keys of rows that have these bytes in their key or value, expired ones included.
    pub fn rows_with(&self, bytes: &[u8]) -> Vec<(Table, Vec<u8>)> {
        let has = |text: &[u8]| text.windows(bytes.len()).any(|window| window == bytes);
        let keys = |rows: &mut Rows| {
            rows.iter().filter(|((_, key), value)| has(key) || has(value)).map(|(key, _)| key.clone()).collect()
        };
        self.locked(keys)
    }

    /// Bytes of values in a table, expired ones included.
    pub fn bytes(&self, table: Table) -> usize {
        self.locked(|rows| rows.iter().filter(|((of, _), _)| *of == table).map(|(_, value)| value.len()).sum())
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Rows) -> T) -> T {
        // A panic while the lock is held cannot leave the map half changed: every step is one call.
        work(&mut self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_live(&self, table: Table, value: &[u8]) -> bool {
        !table.expires() || super::expiry_s(value) > (self.clock)()
    }
}

impl Store for MemoryStore {
    async fn multi_get(&self, keys: &[(Table, Vec<u8>)]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let get =
            |rows: &mut Rows, key: &(Table, Vec<u8>)| rows.get(key).filter(|value| self.is_live(key.0, value)).cloned();
        Ok(self.locked(|rows| keys.iter().map(|key| get(rows, key)).collect()))
    }

    async fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let mut bytes = 0;
        let mut found = Vec::new();
        self.locked(|rows| {
            for ((_, key), value) in rows.range((table, from.to_vec())..(table, to.to_vec())) {
                if found.len() >= rows_max || bytes >= bytes_max {
                    break;
                }
                if self.is_live(table, value) {
                    bytes += value.len();
                    found.push((Bytes::copy_from_slice(key), value.clone()));
                }
            }
        });
        Ok(found)
    }

    async fn commit(&self, writes: Vec<Write>, _durability: Durability) -> Result<(), StoreError> {
        self.locked(|rows| {
            for write in writes {
                match write {
                    Write::Put(table, key, value) => {
                        rows.insert((table, key), value);
                    }
                    Write::Delete(table, key) => {
                        rows.remove(&(table, key));
                    }
                    Write::DeleteRange(table, from, to) => {
                        rows.retain(|(of, key), _| *of != table || *key < from || *key >= to);
                    }
                }
            }
        });
        Ok(())
    }

    async fn is_nearly_full(&self) -> bool {
        self.nearly_full.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[tokio::test]
    async fn conforms() {
        conformance::run(async |clock| MemoryStore::new(clock)).await;
    }
}
