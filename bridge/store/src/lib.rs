//! What the bridge keeps, behind a small trait: point reads, ordered scans, atomic batches, expiry.
//!
//! Implementations: [`rocks::RocksStore`] (the embedded default) and [`memory::MemoryStore`] (tests, simulation).
//! [`conformance`] runs on both. [`keys`] defines every key; [`record`] is between records and rows.
//!
//! [`time`] decides what has expired. [`crash`]: named points at which tests have the process die.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

pub mod conformance;
pub mod crash;
pub mod keys;
pub mod memory;
mod pages;
pub mod record;
pub mod rocks;
pub mod time;

pub use self::pages::{Pages, RowPage};

/// Where a key lives. Tables are written together atomically.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Users, sessions, retries, counters.
    Directory,
    /// Conversations and who is in which.
    Conversations,
    /// Inbox entries. They expire.
    Inbox,
    /// Receipts that devices have still to get.
    Receipts,
    /// Messages that are kept apart from inboxes. They expire.
    Messages,
    /// Files that messages refer to, and what is to be done about them.
    Media,
}

impl Table {
    /// All of them. What is stored numbers tables by their place here: new ones go to the end.
    pub const ALL: [Self; 6] =
        [Self::Directory, Self::Conversations, Self::Inbox, Self::Receipts, Self::Messages, Self::Media];

    /// What engines call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Conversations => "conversations",
            Self::Inbox => "inbox",
            Self::Receipts => "receipts",
            Self::Messages => "messages",
            Self::Media => "media",
        }
    }

    /// The first four bytes of a value are its expiry: second since 1970, big endian. What is expired is never returned,
    /// and its space is reclaimed in time.
    pub fn expires(self) -> bool {
        matches!(self, Self::Inbox | Self::Messages)
    }
}

/// One step of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put(Table, Vec<u8>, Bytes),
    /// Removes a key, if it is there.
    Delete(Table, Vec<u8>),
    /// Removes the keys from the first (inclusive) to the second (exclusive).
    DeleteRange(Table, Vec<u8>, Vec<u8>),
}

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It survives the loss of power.
    Synced,
    /// It survives the end of the process, and the loss of power a moment later. Never ahead of an earlier commit.
    Buffered,
}

/// The store failed. Nothing may be acknowledged after that.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing}: {cause}")]
pub struct StoreError {
    /// What was attempted.
    pub doing: &'static str,
    /// What the engine said.
    pub cause: String,
}

/// What a value of a table that expires begins with.
pub const EXPIRY_BYTES: usize = 4;

/// Second since 1970.
pub type ClockS = Arc<dyn Fn() -> u32 + Send + Sync>;

/// Key and value.
pub type Row = (Bytes, Bytes);

/// A store of sorted tables. Cheap to clone; all clones are the same store.
pub trait Store: Clone + Send + Sync + 'static {
    /// Reads keys; the answers stand in the order of the keys.
    fn multi_get(
        &self,
        keys: &[(Table, Vec<u8>)],
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>, StoreError>> + Send;

    /// Reads up to `rows_max` rows, or about `bytes_max` bytes (at least one row), with keys from `from` (inclusive)
    /// to `to` (exclusive), ascending. Fewer than `rows_max` rows of fewer than `bytes_max` bytes: there are no more.
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// As [`Self::scan`], with the place where the range goes on.
    ///
    /// # Errors
    /// The store cannot be read.
    fn page(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        bytes_max: usize,
    ) -> impl Future<Output = Result<RowPage, StoreError>> + Send {
        async move { Ok(RowPage::new(self.scan(table, from, to, rows_max, bytes_max).await?, rows_max, bytes_max)) }
    }

    /// All rows of a range (as the functions of [`keys`] return it), up to `rows_max` of them at a time.
    fn pages(&self, table: Table, range: (Vec<u8>, Vec<u8>), rows_max: usize) -> Pages<'_, Self> {
        Pages::new(self, table, range, rows_max)
    }

    /// Applies all writes, in order, or none. What it wrote is read by whatever is called after it returns.
    fn commit(&self, writes: Vec<Write>, durability: Durability)
    -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether there is so little room left that it should be kept for what makes room: acknowledgements and deletions
    /// are written too. Asked some times a second.
    fn is_nearly_full(&self) -> impl Future<Output = bool> + Send {
        std::future::ready(false)
    }
}

/// Expiry of a value of a table that expires; a value too short to have one has expired.
pub fn expiry_s(value: &[u8]) -> u32 {
    value.first_chunk::<4>().map_or(0, |expiry| u32::from_be_bytes(*expiry))
}
