//! Randomness: all of it follows from the seed. Every part has dice of its own, so that one part's throws do not shift
//! another's.

use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// See the module.
#[derive(Debug)]
pub(crate) struct Dice(Mutex<Rng>);

impl Dice {
    /// The dice of this part in the run of this seed.
    pub(crate) fn new(seed: u64, part: &str) -> Self {
        Self(Mutex::new(Rng::with_seed(xxh3_64_with_seed(part.as_bytes(), seed))))
    }

    /// True with this probability.
    pub(crate) fn chance(&self, probability: f64) -> bool {
        probability > 0.0 && self.0.lock().f64() < probability
    }

    /// A number of the range.
    pub(crate) fn within(&self, range: RangeInclusive<u64>) -> u64 {
        self.0.lock().u64(range)
    }

    /// An index below `len`, which is at least 1.
    pub(crate) fn below(&self, len: usize) -> usize {
        self.0.lock().usize(..len)
    }

    /// A time of so many milliseconds.
    pub(crate) fn ms(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// One of them.
    pub(crate) fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }

    /// Any number.
    pub(crate) fn number(&self) -> u64 {
        self.0.lock().u64(..)
    }
}
