//! A coarse clock and a wheel of connections to look at. One entry for each connection, whatever happens on it: when
//! it comes due, the session tells when it wants to be looked at again. So a packet costs no timer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::edge::Edge;

/// Length of a tick.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// A moment, in ticks since the edge began, from 1 (34 years fit).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticks(pub(crate) u32);

impl Ticks {
    /// This moment and so much later, rounded up.
    pub(crate) fn after(self, time: Duration) -> Self {
        let ticks = time.as_millis().div_ceil(TICK.as_millis());
        Self(self.0.saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX)))
    }
}

/// Numbers of connections by the moment they are due.
#[derive(Debug, Default)]
pub(crate) struct Wheel(BTreeMap<Ticks, Vec<u64>>);

impl Wheel {
    pub(crate) fn schedule(&mut self, at: Ticks, number: u64) {
        self.0.entry(at).or_default().push(number);
    }

    /// Takes what is due.
    pub(crate) fn due(&mut self, now: Ticks) -> Vec<u64> {
        let later = self.0.split_off(&Ticks(now.0.saturating_add(1)));
        std::mem::replace(&mut self.0, later).into_values().flatten().collect()
    }
}

/// Runs the clock for ever. After a stall of the machine it goes on from where it was: nobody is closed for it.
pub(crate) async fn run(edge: Arc<Edge>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval.tick().await;
    loop {
        interval.tick().await;
        edge.tick();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wheel_gives_back_what_is_due() {
        let mut wheel = Wheel::default();
        wheel.schedule(Ticks(3), 30);
        wheel.schedule(Ticks(1), 10);
        wheel.schedule(Ticks(1), 11);
        assert_eq!(wheel.due(Ticks(2)), [10, 11]);
        assert_eq!(wheel.due(Ticks(2)), [0_u64; 0]);
        assert_eq!(wheel.due(Ticks(9)), [30]);
    }

    #[test]
    fn ticks_round_up() {
        assert_eq!(Ticks(1).after(Duration::from_millis(251)), Ticks(3));
        assert_eq!(Ticks(1).after(Duration::MAX), Ticks(u32::MAX));
    }
}
