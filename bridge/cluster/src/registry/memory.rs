//! The registry in memory, for tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use godwit_store::StoreError;

use super::{Head, Member, Placement, Registry};
use crate::journal::LogId;

#[derive(Debug, Default)]
struct State {
    placement: Option<Placement>,
    members: BTreeMap<LogId, Member>,
    heads: BTreeMap<LogId, Head>,
}

/// A registry in memory. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct MemoryRegistry(Arc<Mutex<State>>, Arc<AtomicBool>);

impl MemoryRegistry {
    /// Plays a database that does, or does not, change who leads.
    pub fn set_stuck(&self, stuck: bool) {
        self.1.store(stuck, Ordering::Relaxed);
    }

    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        // A panic while the lock is held cannot leave it half changed: every step is one call.
        Ok(work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Registry for MemoryRegistry {
    async fn placement(&self) -> Result<Option<Placement>, StoreError> {
        self.locked(|state| state.placement.clone())
    }

    async fn place(&self, expected: Option<i64>, to: &Placement) -> Result<bool, StoreError> {
        if self.1.load(Ordering::Relaxed) {
            return Err(StoreError { doing: "change who leads", cause: "simulated".to_owned() });
        }
        self.locked(|state| {
            let is_expected = state.placement.as_ref().map(|placement| placement.version) == expected;
            if is_expected {
                state.placement = Some(to.clone());
            }
            is_expected
        })
    }

    async fn beat(&self, member: &Member) -> Result<(), StoreError> {
        self.locked(|state| drop(state.members.insert(member.log, member.clone())))
    }

    async fn members(&self) -> Result<Vec<Member>, StoreError> {
        self.locked(|state| state.members.values().cloned().collect())
    }

    async fn head(&self, log: LogId) -> Result<Head, StoreError> {
        self.locked(|state| state.heads.get(&log).copied().unwrap_or_default())
    }

    async fn set_head(&self, log: LogId, head: &Head) -> Result<(), StoreError> {
        self.locked(|state| {
            let known = state.heads.entry(log).or_default();
            if head.clock_us >= known.clock_us {
                *known = *head;
            }
        })
    }

    async fn forget(&self, log: LogId) -> Result<(), StoreError> {
        self.locked(|state| {
            state.heads.remove(&log);
            state.members.remove(&log);
        })
    }
}
