//! Tables in memory, for tests: timestamps decide as they do in Cassandra, and writes may fail half way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use godwit_store::keys::{StoreKey, group};
use godwit_store::{Row, StoreError, Table, Write};

use super::{Change, Tables, place};

/// Tosses a coin for each change; `true`: the write fails there.
pub type Failure = Arc<dyn Fn() -> bool + Send + Sync>;

/// Table, group and key.
type Place = (Table, Vec<u8>, Vec<u8>);

/// A value, or that it was deleted, with its timestamp.
type Cell = (i64, Option<Bytes>);

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Place, Cell>,
    ranges: Vec<RangeTombstone>,
    changes: usize,
}

#[derive(Debug)]
struct RangeTombstone {
    table: Table,
    group: Vec<u8>,
    from: Vec<u8>,
    to: Vec<u8>,
    timestamp_us: i64,
}

/// Tables in memory. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct MemoryTables {
    state: Arc<Mutex<State>>,
    failure: Option<Failure>,
}

impl MemoryTables {
    /// Empty tables whose writes fail half way.
    pub fn failing(failure: Failure) -> Self {
        Self { state: Arc::default(), failure: Some(failure) }
    }

    /// How many changes were ever written to them.
    pub fn changes(&self) -> usize {
        self.locked(|state| state.changes)
    }

    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // A panic while the lock is held cannot leave it half changed: every step is one call.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        self.changes += 1;
        let timestamp_us = change.timestamp_us();
        let (table, group) = place(change)?;
        let (key, value) = match &change.write {
            Write::Put(_, key, value) => (key, Some(value)),
            Write::Delete(_, key) => (key, None),
            Write::DeleteRange(_, from, to) => {
                let (from, to) = (from.clone(), to.clone());
                self.ranges.push(RangeTombstone { table, group, from, to, timestamp_us });
                return Ok(());
            }
        };
        let row = self.rows.entry((table, group, key.clone())).or_insert((i64::MIN, None));
        // A value is one tick above the deletions of its record, so at equal timestamps there is nothing to decide but between
        // a value and the deletion of a later record, which wins.
        if (timestamp_us, value.is_none()) >= (row.0, row.1.is_none()) {
            *row = (timestamp_us, value.cloned());
        }
        Ok(())
    }

    fn live(&self, table: Table, group: &[u8], key: &[u8], (timestamp_us, value): &Cell) -> Option<Bytes> {
        let covers = |range: &&RangeTombstone| {
            range.table == table && range.group == group && *range.from <= *key && *key < *range.to
        };
        let deleted_us = self.ranges.iter().filter(covers).map(|range| range.timestamp_us).max();
        value.clone().filter(|_| deleted_us.is_none_or(|deleted_us| *timestamp_us > deleted_us))
    }
}

impl Tables for MemoryTables {
    async fn apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.locked(|state| {
            for change in changes {
                if self.failure.as_ref().is_some_and(|fails| fails()) {
                    return Err(StoreError { doing: "apply", cause: "simulated".to_owned() });
                }
                state.apply(change)?;
            }
            Ok(())
        })
    }

    async fn get(&self, keys: &[StoreKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let get = |state: &State, (table, key): &StoreKey| {
            let group = group(*table, key);
            let row = state.rows.get(&(*table, group.clone(), key.clone()))?;
            state.live(*table, &group, key, row)
        };
        Ok(self.locked(|state| keys.iter().map(|key| get(state, key)).collect()))
    }

    async fn scan(
        &self,
        table: Table,
        group: &[u8],
        from: &[u8],
        to: &[u8],
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let bound = |key: &[u8]| (table, group.to_vec(), key.to_vec());
        Ok(self.locked(|state| {
            let live = state.rows.range(bound(from)..bound(to)).filter_map(|((_, _, key), row)| {
                Some((Bytes::copy_from_slice(key), state.live(table, group, key, row)?))
            });
            live.take(rows_max).collect()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::conformance;

    #[tokio::test]
    async fn conforms() {
        conformance::run(&MemoryTables::default()).await;
    }
}
