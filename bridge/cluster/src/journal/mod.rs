//! The journal: every commit of a leader, in order, before anybody is told of it. It takes the place of a disk's write-ahead
//! log. Keeps P1, and fences: once a journal is *sealed*, its writer can append nothing more, however long it slept.
//!
//! A journal is named after the process that writes it and consists of *segments*, 0 and upwards. A segment has an owner: its
//! writer while it is open, nobody once it was *rolled* (the journal goes on in the next one), whoever sealed it after that. All
//! changes are conditional on the owner, so of a writer and somebody who seals exactly one wins.
//!
//! An append needs a *positive* owner that equals its writer. So a segment may be removed with its seal and all: to what is
//! not there nothing can be appended either.

use std::fmt;
use std::future::Future;

use bytes::Bytes;
use godwit_store::StoreError;

pub mod cassandra;
#[cfg(test)]
pub(crate) mod conformance;
pub mod memory;

/// The most bytes of one row.
pub const ROW_BYTES: usize = 256 << 10;

/// Names a journal and the process that writes it: 63 random bits, drawn at each start, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(i64);

impl LogId {
    /// A name that nobody else has.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn draw() -> Result<Self, StoreError> {
        loop {
            let drawn = getrandom::u64();
            let drawn =
                drawn.map_err(|error| StoreError { doing: "draw a random number", cause: error.to_string() })?;
            if let Some(id) = Self::new((drawn >> 1).cast_signed()) {
                return Ok(id);
            }
        }
    }

    /// The name with this number; `None`: it is not above 0.
    pub fn new(number: i64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A part of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Segment {
    /// Of this journal.
    pub log: LogId,
    /// From 0 on.
    pub number: u32,
}

impl Segment {
    /// The one behind it.
    #[must_use]
    pub fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.log, self.number)
    }
}

/// What became of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is on a quorum.
    Applied,
    /// It is not, and never will be: the segment has another owner, or is no more.
    Fenced,
    /// It may be, or may still come to be. The same call must be made again, and nothing else, until the outcome is known.
    Unknown(String),
}

/// What somebody who seals a segment finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// The segment is sealed, by this process: the caller, or one that came before it.
    By(LogId),
    /// Its writer has rolled it: the journal goes on in the next segment.
    Rolled,
    /// There is no such segment.
    Missing,
}

/// Where rows go before anybody is told. Cheap to clone; all clones are the same. Linearizable within a segment.
pub trait Journal: Clone + Send + Sync + 'static {
    /// Makes a segment, open for the journal's writer. Made again it is as it was; `Fenced`: it is rolled or sealed.
    fn open(&self, at: Segment) -> impl Future<Output = Outcome> + Send;

    /// Writes a row, of at most [`ROW_BYTES`], if the segment is open. `Applied` means durable. `position` is the row's
    /// number within the journal. The same row again changes nothing.
    fn append(&self, at: Segment, position: u64, row: Bytes) -> impl Future<Output = Outcome> + Send;

    /// Ends a segment; the next one must be open. `Applied` also if it is rolled already. By its writer only.
    fn roll(&self, at: Segment) -> impl Future<Output = Outcome> + Send;

    /// Takes a segment away from its writer, for ever. When it returns [`Seal::By`], whatever was appended can be read, and nothing
    /// more can be appended.
    ///
    /// # Errors
    /// The outcome is unknown: to be called again.
    fn seal(&self, at: Segment, by: LogId) -> impl Future<Output = Result<Seal, StoreError>> + Send;

    /// Up to `rows_max` rows of a rolled or sealed segment from position `from` on, ascending. Fewer: there are no more.
    ///
    /// # Errors
    /// The journal cannot be read.
    fn read(
        &self,
        at: Segment,
        from: u64,
        rows_max: usize,
    ) -> impl Future<Output = Result<Vec<(u64, Bytes)>, StoreError>> + Send;

    /// Removes a rolled or sealed segment with its rows. One that is not there: nothing happens.
    ///
    /// # Errors
    /// It may still be there: to be called again.
    fn remove(&self, at: Segment) -> impl Future<Output = Result<(), StoreError>> + Send;
}
