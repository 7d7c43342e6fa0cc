//! The journal in memory, for tests: answers may be lost, and writes late. What is late lands before the next conditional write
//! of its segment, or never, as with Paxos in a partition of Cassandra.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use godwit_store::StoreError;

use super::{Journal, LogId, Outcome, Seal, Segment};

/// A coin that a test hands in; the second argument says which one is tossed. `true`: it goes wrong.
pub type Faults = Arc<dyn Fn(Fault) -> bool + Send + Sync>;

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The write lands, and its writer does not learn it.
    AnswerLost,
    /// The write does not land yet, and its writer does not learn anything.
    Late,
    /// A write that was late lands after all, in front of the next one.
    LandsAfterAll,
}

#[derive(Debug, Clone)]
enum Change {
    Open,
    Append(u64, Bytes),
    Roll,
    Seal(LogId),
}

#[derive(Debug, Default)]
struct State {
    /// As the design has it: the writer; 0: rolled; below 0: sealed, by whom.
    owners: BTreeMap<Segment, i64>,
    rows: BTreeMap<(Segment, u64), Bytes>,
    late: BTreeMap<Segment, Change>,
}

/// A journal in memory. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct MemoryJournal {
    state: Arc<Mutex<State>>,
    faults: Option<Faults>,
}

impl MemoryJournal {
    /// An empty journal in which things go wrong.
    pub fn faulty(faults: Faults) -> Self {
        Self { state: Arc::default(), faults: Some(faults) }
    }

    /// Segments that are there.
    pub fn segments(&self) -> Vec<Segment> {
        self.locked(|state| state.owners.keys().copied().collect())
    }

    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // A panic while the lock is held cannot leave it half changed: every step is one call.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn fails(&self, fault: Fault) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults(fault))
    }

    /// What a change finds; `None`: its writer does not learn it.
    fn change(&self, at: Segment, change: Change) -> Option<Found> {
        self.locked(|state| {
            if let Some(late) = state.late.remove(&at)
                && self.fails(Fault::LandsAfterAll)
            {
                state.land(at, late);
            }
            if self.fails(Fault::Late) {
                state.late.insert(at, change);
                return None;
            }
            let found = state.land(at, change);
            (!self.fails(Fault::AnswerLost)).then_some(found)
        })
    }

    fn outcome(&self, at: Segment, change: Change, is_done: impl FnOnce(Found) -> bool) -> Outcome {
        match self.change(at, change) {
            None => Outcome::Unknown("simulated".to_owned()),
            Some(found) if is_done(found) => Outcome::Applied,
            Some(_) => Outcome::Fenced,
        }
    }
}

/// Whether a change was applied, and the owner before it.
#[derive(Debug, Clone, Copy)]
struct Found {
    applied: bool,
    owner: Option<i64>,
}

impl State {
    fn land(&mut self, at: Segment, change: Change) -> Found {
        let writer = at.log.get();
        let owner = self.owners.get(&at).copied();
        let applied = owner == if matches!(change, Change::Open) { None } else { Some(writer) };
        if applied {
            match change {
                Change::Open => drop(self.owners.insert(at, writer)),
                Change::Append(position, row) => drop(self.rows.insert((at, position), row)),
                Change::Roll => drop(self.owners.insert(at, 0)),
                Change::Seal(by) => drop(self.owners.insert(at, -by.get())),
            }
        }
        Found { applied, owner }
    }
}

impl Journal for MemoryJournal {
    async fn open(&self, at: Segment) -> Outcome {
        self.outcome(at, Change::Open, |found| found.applied || found.owner == Some(at.log.get()))
    }

    async fn append(&self, at: Segment, position: u64, row: Bytes) -> Outcome {
        self.outcome(at, Change::Append(position, row), |found| found.applied)
    }

    async fn roll(&self, at: Segment) -> Outcome {
        self.outcome(at, Change::Roll, |found| found.applied || found.owner == Some(0))
    }

    async fn seal(&self, at: Segment, by: LogId) -> Result<Seal, StoreError> {
        let unknown = || StoreError { doing: "seal the journal", cause: "simulated".to_owned() };
        let found = self.change(at, Change::Seal(by)).ok_or_else(unknown)?;
        Ok(match found.owner {
            None => Seal::Missing,
            Some(_) if found.applied => Seal::By(by),
            Some(owner) => LogId::new(-owner).map_or(Seal::Rolled, Seal::By),
        })
    }

    async fn read(&self, at: Segment, from: u64, rows_max: usize) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let row = |((_, position), row): (&(Segment, u64), &Bytes)| (*position, row.clone());
        Ok(self.locked(|state| state.rows.range((at, from)..=(at, u64::MAX)).take(rows_max).map(row).collect()))
    }

    async fn remove(&self, at: Segment) -> Result<(), StoreError> {
        self.locked(|state| {
            state.owners.remove(&at);
            state.late.remove(&at);
            state.rows.retain(|(of, _), _| *of != at);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::conformance;

    #[tokio::test]
    async fn conforms() {
        conformance::run(&MemoryJournal::default()).await;
    }

    #[tokio::test]
    async fn conforms_when_answers_are_lost_and_writes_late() {
        for seed in 0..200 {
            let dice = Mutex::new(fastrand::Rng::with_seed(seed));
            let faults: Faults = Arc::new(move |_| dice.lock().unwrap().u8(..) < 80);
            conformance::run(&MemoryJournal::faulty(faults)).await;
        }
    }
}
