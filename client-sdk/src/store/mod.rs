//! Where the client keeps what must survive the app: an ordered map of bytes with commits. The ledger is the only caller,
//! from one thread; what the keys and values mean is its business. Promise: what was committed is there after the app,
//! or the phone, was killed at any moment; what was not is not there in part.
//!
//! An app may bring a store of its own: [`conformance::check`] says whether it is one.

pub mod conformance;
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use memory::VolatileStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

/// A key with its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// The store cannot be read or written, for instance because the disk is full.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct LocalStoreError {
    /// What was tried.
    pub doing: &'static str,
    /// What the system said.
    pub why: String,
}

impl LocalStoreError {
    /// An error of this kind, with what the system said.
    pub fn new(doing: &'static str, why: impl ToString) -> Self {
        Self { doing, why: why.to_string() }
    }
}

/// In which direction to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// Lowest key first.
    Forward,
    /// Highest key first.
    Backward,
}

/// An ordered key-value store with transactions. Calls may block for as long as a disk takes. Reads see what was written before them, committed or
/// not.
pub trait LocalStore: Send + 'static {
    /// The value of a key.
    ///
    /// # Errors
    /// [`LocalStoreError`]: it cannot be read.
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, LocalStoreError>;

    /// Up to `limit` pairs with `from <= key < to`.
    ///
    /// # Errors
    /// [`LocalStoreError`]: they cannot be read.
    fn scan(&mut self, from: &[u8], to: &[u8], order: Scan, limit: usize) -> Result<Vec<KeyValue>, LocalStoreError>;

    /// Sets a value. Durable with the next [`Self::commit`].
    ///
    /// # Errors
    /// [`LocalStoreError`]: it cannot be written; call [`Self::rollback`].
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), LocalStoreError>;

    /// Removes a key, if it is there. Durable with the next [`Self::commit`].
    ///
    /// # Errors
    /// [`LocalStoreError`]: it cannot be written; call [`Self::rollback`].
    fn delete(&mut self, key: &[u8]) -> Result<(), LocalStoreError>;

    /// All writes since the last commit, at once. Durable when it returns.
    ///
    /// # Errors
    /// [`LocalStoreError`]: nothing of it was written; call [`Self::rollback`].
    fn commit(&mut self) -> Result<(), LocalStoreError>;

    /// Forgets all writes since the last commit.
    ///
    /// # Errors
    /// [`LocalStoreError`]: the store is of no use any more.
    fn rollback(&mut self) -> Result<(), LocalStoreError>;
}
