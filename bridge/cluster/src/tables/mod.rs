//! The tables: a view of the journals, written some seconds after them. Every row carries the clock of its record as its
//! timestamp, so it does not matter who writes it, when, or how often: of two values the one with the higher timestamp stays.
//!
//! A table consists of groups ([`godwit_store::keys::group()`]). A scan reads one group.

use std::future::Future;

use bytes::Bytes;
use godwit_store::keys::{Groups, StoreKey, group, groups};
use godwit_store::{Row, StoreError, Table, Write};

pub mod cassandra;
#[cfg(test)]
pub(crate) mod conformance;
pub mod memory;

/// A write, with the clock of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What to write. A range must be one of a single group.
    pub write: Write,
    /// In microseconds since 1970, about.
    pub clock_us: u64,
}

impl Change {
    /// The timestamp: within a record deletions come first, since at equal timestamps a deletion wins.
    pub fn timestamp_us(&self) -> i64 {
        let is_put = matches!(self.write, Write::Put(..));
        i64::try_from(self.clock_us).unwrap_or(i64::MAX).saturating_add(i64::from(is_put))
    }
}

/// The group that a write is in. `None`: a range of several.
pub(crate) fn group_of(write: &Write) -> Option<(Table, Vec<u8>)> {
    match write {
        Write::Put(table, key, _) | Write::Delete(table, key) => Some((*table, group(*table, key))),
        Write::DeleteRange(table, from, to) => match groups(*table, from, to) {
            Some(Groups::One(group)) => Some((*table, group)),
            _ => None,
        },
    }
}

/// The group that a change is in.
fn place(change: &Change) -> Result<(Table, Vec<u8>), StoreError> {
    let several = || StoreError { doing: "delete a range", cause: "it is of several groups".to_owned() };
    group_of(&change.write).ok_or_else(several)
}

/// Tables that resolve by timestamp. Cheap to clone; all clones are the same.
pub trait Tables: Clone + Send + Sync + 'static {
    /// Writes changes, in any order, any number of times. When it returns they are on a quorum.
    ///
    /// # Errors
    /// Some of them may be written: to be called again.
    fn apply(&self, changes: &[Change]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Reads keys; the answers stand in the order of the keys. A row that has expired may still be there.
    ///
    /// # Errors
    /// The tables cannot be read.
    fn get(&self, keys: &[StoreKey]) -> impl Future<Output = Result<Vec<Option<Bytes>>, StoreError>> + Send;

    /// Reads up to `rows_max` rows of a group with keys from `from` (inclusive) to `to` (exclusive), ascending. Fewer rows:
    /// there are no more. A row that has expired may still be there.
    ///
    /// # Errors
    /// The tables cannot be read.
    fn scan(
        &self,
        table: Table,
        group: &[u8],
        from: &[u8],
        to: &[u8],
        rows_max: usize,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;
}
