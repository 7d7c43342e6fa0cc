//! A number that only grows.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often something has happened, or how much of it, since the start of the process.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The current value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// It has happened once more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds what many tasks may add at the same time.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds what one task alone adds. It costs no more than adding to a field of that task.
    pub fn add_alone(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }
}
