//! Whether another member is dead: its beat has stood still for four seconds of the time in which this process looked at it. It
//! may be wrong. That costs a pause, and never a promise: the seal decides.

use std::time::Duration;

/// A beat that stands still for so long is that of a dead member.
const DEAD_AFTER: Duration = Duration::from_secs(4);
/// Between two looks at most so much counts: this process may have slept itself.
const LOOK_MAX: Duration = Duration::from_millis(1_500);

/// What is known of one member's beat.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    /// `None`: it has none.
    beat: Option<u64>,
    stood: Duration,
    looked_at: Option<Duration>,
}

impl Suspicion {
    /// Takes what was read, by a monotonic clock. `true`: the member is dead.
    pub(crate) fn look(&mut self, beat: Option<u64>, now: Duration) -> bool {
        let passed = self.looked_at.map_or(Duration::ZERO, |before| now.saturating_sub(before).min(LOOK_MAX));
        self.looked_at = Some(now);
        if beat != self.beat {
            (self.beat, self.stood) = (beat, Duration::ZERO);
            return false;
        }
        self.stood += passed;
        self.stood >= DEAD_AFTER
    }

    /// This process could not say that it lives: who knows what it would have read. It suspects nobody.
    pub(crate) fn forget(&mut self) {
        *self = Self { beat: self.beat, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_beat_that_stands_still_is_suspected_after_four_seconds() {
        let mut suspicion = Suspicion::default();
        for (now, beat) in [(0, 1), (500, 1), (1_000, 2), (2_000, 2), (3_000, 2), (4_000, 2)] {
            assert!(!suspicion.look(Some(beat), at(now)), "at {now}");
        }
        assert!(!suspicion.look(Some(2), at(4_999)));
        assert!(suspicion.look(Some(2), at(5_000)));
        assert!(!suspicion.look(Some(3), at(6_000)), "it is back");
    }

    #[test]
    fn who_has_never_beaten_is_suspected_too() {
        let mut suspicion = Suspicion::default();
        assert!((0..4).all(|s| !suspicion.look(None, at(s * 1_000))));
        assert!(suspicion.look(None, at(4_000)));
    }

    #[test]
    fn who_slept_itself_suspects_nobody() {
        let mut suspicion = Suspicion::default();
        suspicion.look(Some(1), at(0));
        assert!(!suspicion.look(Some(1), at(3_600_000)), "an hour asleep");
        assert!(!suspicion.look(Some(1), at(3_601_000)));
        suspicion.forget();
        assert!(!suspicion.look(Some(1), at(3_602_000)), "it begins anew");
    }
}
