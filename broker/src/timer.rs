//! Coarse time, and the deadlines of connections.
//!
//! A connection schedules one check for the next moment at which it may have to act, whatever happens on it until then. So a
//! packet starts no timer.

use std::collections::BTreeMap;
use std::time::Duration;

/// Length of a tick.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// A moment, in ticks since the edge started. The first is 1; 34 years fit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticks(pub(crate) u32);

impl Ticks {
    /// A moment that no edge lives to see.
    pub(crate) const NEVER: Self = Self(u32::MAX);

    /// The first tick that is at least this much later.
    pub(crate) fn after(self, time: Duration) -> Self {
        let ticks = time.as_millis().div_ceil(TICK.as_millis());
        Self(self.0.saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX)))
    }
}

/// Scheduled checks: the numbers of connections, by the moment at which the check is due.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BTreeMap<Ticks, Vec<u64>>);

impl Deadlines {
    pub(crate) fn schedule(&mut self, at: Ticks, connection: u64) {
        self.0.entry(at).or_default().push(connection);
    }

    /// Removes and returns the connections whose check is due.
    pub(crate) fn expired(&mut self, now: Ticks) -> Vec<u64> {
        let later = self.0.split_off(&Ticks(now.0.saturating_add(1)));
        std::mem::replace(&mut self.0, later).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_expire_once() {
        let mut deadlines = Deadlines::default();
        deadlines.schedule(Ticks(3), 30);
        deadlines.schedule(Ticks(1), 10);
        deadlines.schedule(Ticks(1), 11);
        assert_eq!(deadlines.expired(Ticks(2)), [10, 11]);
        assert_eq!(deadlines.expired(Ticks(2)), [0_u64; 0]);
        assert_eq!(deadlines.expired(Ticks(9)), [30]);
    }

    #[test]
    fn ticks_round_up() {
        assert_eq!(Ticks(1).after(Duration::from_millis(251)), Ticks(3));
        assert_eq!(Ticks(1).after(Duration::MAX), Ticks(u32::MAX));
    }
}
