//! What the members of a cluster know of each other: who is there, who leads, and how far journals are applied.

use std::future::Future;

use godwit_store::StoreError;
use godwit_store::time::ClockSource;

use crate::journal::LogId;

pub mod cassandra;
pub mod memory;

/// Who leads. Changed by compare-and-set only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Grows with every change.
    pub version: i64,
    /// Of rows of the journal, and of the schema.
    pub format: u8,
    /// Grows with every leader, from 1 on.
    pub term: u64,
    /// The journal of the leader.
    pub owner: LogId,
    /// Journals of earlier leaders which are not applied, oldest first.
    pub replay: Vec<LogId>,
}

/// How far a journal is applied: all that is before this place is in tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Segments below this one are removed.
    pub first: u32,
    /// Where the journal goes on.
    pub segment: u32,
    /// The next row.
    pub position: u64,
    /// Of the last record that is applied.
    pub clock_us: u64,
}

/// What a member is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It waits to lead.
    Standby,
    /// It leads.
    Leading,
    /// It has led, and has ended in order.
    Released,
}

/// A process of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// It has, or would have, this journal.
    pub log: LogId,
    /// For operators.
    pub name: String,
    /// What it is doing.
    pub state: MemberState,
    /// Of its leadership; 0: it has never led.
    pub term: u64,
    /// Its wall clock when it said all this, in milliseconds since 1970. To others only whether it changes matters.
    pub beat_ms: u64,
    /// Where its journal goes on.
    pub segment: u32,
    /// The next row of its journal.
    pub position: u64,
}

impl Member {
    /// One that has said nothing yet, and written nothing.
    pub(crate) fn new(log: LogId, name: String, state: MemberState, term: u64) -> Self {
        Self { log, name, state, term, beat_ms: 0, segment: 0, position: 0 }
    }

    /// Takes the time of the next beat, which differs from that of the last one whatever the clock does.
    pub(crate) fn advance_beat(&mut self, wall: &ClockSource) {
        let now_ms = u64::try_from(wall().as_millis()).unwrap_or(u64::MAX);
        self.beat_ms = now_ms.max(self.beat_ms + 1);
    }
}

/// See the module. Cheap to clone; all clones are the same.
pub trait Registry: Clone + Send + Sync + 'static {
    /// Who leads: what was changed last. `None`: nobody ever did.
    ///
    /// # Errors
    /// It cannot be read.
    fn placement(&self) -> impl Future<Output = Result<Option<Placement>, StoreError>> + Send;

    /// Changes who leads, if the version is `expected` (`None`: nobody ever led). `false`: it is another one.
    ///
    /// # Errors
    /// The outcome is unknown: to be called again. Then `false` may be the answer to one's own change.
    fn place(&self, expected: Option<i64>, to: &Placement) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Says that a member is there, and what it is doing.
    ///
    /// # Errors
    /// Others may not know it.
    fn beat(&self, member: &Member) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Those who said so within a day.
    ///
    /// # Errors
    /// They cannot be read.
    fn members(&self) -> impl Future<Output = Result<Vec<Member>, StoreError>> + Send;

    /// How far a journal is applied.
    ///
    /// # Errors
    /// It cannot be read.
    fn head(&self, log: LogId) -> impl Future<Output = Result<Head, StoreError>> + Send;

    /// A journal is applied so far. One that is further stays.
    ///
    /// # Errors
    /// It may not be known: to be called again.
    fn set_head(&self, log: LogId, head: &Head) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets a journal that is removed, and the member.
    ///
    /// # Errors
    /// It may still be known: to be called again.
    fn forget(&self, log: LogId) -> impl Future<Output = Result<(), StoreError>> + Send;
}
