//! How long to wait before the next connection: exponential, with full jitter, so that a million clients of a server that
//! restarts do not come back in step.

use std::time::Duration;

/// The first wait is anything up to this.
const BASE: Duration = Duration::from_millis(500);

/// What a busy server is left alone for, in seconds, if it could not say.
const BUSY_S: std::ops::RangeInclusive<u64> = 5..=20;

/// Waits between attempts to connect: they double, and chance spreads them.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    longest: Duration,
    failures: u32,
    dice: fastrand::Rng,
}

impl Backoff {
    pub(crate) fn new(longest: Duration, seed: u64) -> Self {
        Self { longest, failures: 0, dice: fastrand::Rng::with_seed(seed) }
    }

    /// A connection works, or there is a new network: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// After a failure.
    pub(crate) fn next(&mut self) -> Duration {
        let most = BASE.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        Duration::from_millis(self.dice.u64(0..=most.as_millis() as u64))
    }

    /// When the server has said when: within the second before.
    pub(crate) fn told(&mut self, wait: Duration) -> Duration {
        wait.saturating_sub(Duration::from_millis(self.dice.u64(0..1_000)))
    }

    /// When the server has too much to do.
    pub(crate) fn busy(&mut self) -> Duration {
        let wait = Duration::from_secs(self.dice.u64(BUSY_S)).min(self.longest);
        self.told(wait)
    }

    /// After a no that will be the same in a moment: at least half of the longest wait.
    pub(crate) fn long(&mut self) -> Duration {
        let most = self.longest.as_millis() as u64;
        Duration::from_millis(self.dice.u64(most / 2..=most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_begin_anew_after_a_success() {
        let longest = Duration::from_secs(8);
        let mut most = [Duration::ZERO; 8];
        let mut sum = Duration::ZERO;
        for seed in 0..500 {
            let mut backoff = Backoff::new(longest, seed);
            for most in &mut most {
                let wait = backoff.next();
                *most = wait.max(*most);
            }
            backoff.reset();
            sum += backoff.next();
            assert!((longest / 2..=longest).contains(&backoff.long()));
            assert!((Duration::from_secs(4)..=longest).contains(&backoff.busy()));
            let told = Duration::from_secs(3);
            assert!((told * 2 / 3..=told).contains(&backoff.told(told)));
        }
        for (failures, most) in most.iter().enumerate() {
            let limit = (BASE * (1 << failures)).min(longest);
            assert!(*most <= limit && *most > limit * 9 / 10, "{most:?} after {failures} failures");
        }
        let mean = sum / 500;
        assert!(mean > BASE * 4 / 10 && mean < BASE * 6 / 10, "jitter is full: {mean:?}");
    }
}
