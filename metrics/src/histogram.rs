//! How values are spread, over buckets that are fixed when the program is compiled.

use std::time::Duration;

use crate::Counter;

/// Counts whole numbers by size. Durations are counted in microseconds.
#[derive(Debug)]
pub struct Histogram {
    /// The largest value of each bucket, ascending.
    bounds: &'static [u64],
    /// One for each bound, and one for what is above all of them.
    counts: Box<[Counter]>,
    sum: Counter,
}

/// What a histogram has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramReading {
    /// The largest value of each bucket and how many values are in it. `None`: the bucket of all larger values, which is the last.
    pub buckets: Vec<(Option<u64>, u64)>,
    /// All values together.
    pub sum: u64,
}

impl Histogram {
    /// With buckets up to each of these values, in ascending order, and one for what is larger.
    pub fn new(bounds: &'static [u64]) -> Self {
        debug_assert!(bounds.is_sorted());
        Self { bounds, counts: (0..=bounds.len()).map(|_| Counter::new()).collect(), sum: Counter::new() }
    }

    /// Counts a value that one task alone counts here.
    pub fn observe_alone(&self, value: u64) {
        self.counts[self.bucket(value)].add_alone(1);
        self.sum.add_alone(value);
    }

    /// Counts a value, while others may do so too.
    pub fn observe(&self, value: u64) {
        self.counts[self.bucket(value)].add(1);
        self.sum.add(value);
    }

    /// Counts a duration that one task alone counts here.
    pub fn time_alone(&self, duration: Duration) {
        self.observe_alone(micros(duration));
    }

    /// Counts a duration, while others may do so too.
    pub fn time(&self, duration: Duration) {
        self.observe(micros(duration));
    }

    /// What was counted so far.
    pub fn read(&self) -> HistogramReading {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        HistogramReading { buckets: bounds.zip(self.counts.iter().map(Counter::get)).collect(), sum: self.sum.get() }
    }

    fn bucket(&self, value: u64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }
}

impl HistogramReading {
    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

/// A duration as a histogram counts it.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_the_first_bucket_that_takes_it() {
        let histogram = Histogram::new(&[10, 100]);
        [0, 10, 11, 100, 101].into_iter().for_each(|value| histogram.observe(value));
        histogram.time_alone(Duration::from_millis(1));
        let HistogramReading { buckets, sum } = histogram.read();
        assert_eq!(buckets, [(Some(10), 2), (Some(100), 2), (None, 2)]);
        assert_eq!((sum, histogram.read().count()), (1_222, 6));
    }
}
