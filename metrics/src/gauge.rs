//! A number that goes up and down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much there is right now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// The current value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Sets the value to the length of something.
    pub fn set_len(&self, len: usize) {
        self.set(len as u64);
    }

    /// There is so much more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// There is so much less.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// There is so much more, as one task alone says. It costs no more than adding to a field of that task.
    pub fn add_alone(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    /// There is so much less, as one task alone says.
    pub fn sub_alone(&self, n: u64) {
        self.set(self.get().wrapping_sub(n));
    }

    /// Counts one until what is returned is dropped.
    pub fn count(self: &Arc<Self>) -> Counted {
        self.add(1);
        Counted(self.clone())
    }
}

/// Counts in a gauge as long as it lives.
#[derive(Debug)]
pub struct Counted(Arc<Gauge>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_counts_as_long_as_it_lives() {
        let gauge = Arc::new(Gauge::default());
        let (first, second) = (gauge.count(), gauge.count());
        assert_eq!(gauge.get(), 2);
        drop(first);
        assert_eq!(gauge.get(), 1);
        drop(second);
        assert_eq!(gauge.get(), 0);
    }
}
