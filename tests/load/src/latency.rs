//! Latencies: recorded one by one, merged across threads, reported as percentiles.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency told apart from longer ones: a minute, in nanoseconds.
const NS_MAX: u64 = 60_000_000_000;

/// A histogram of nanoseconds, exact to 0.1 %.
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, NS_MAX, 3).expect("the bounds are valid"))
    }

    /// The time from `from` to `to`, in nanoseconds.
    pub(crate) fn record(&mut self, from: u64, to: u64) {
        self.0.saturating_record(to.saturating_sub(from));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let us = |ns: u64| ns as f64 / 1e3;
        let at = |percentile| us(self.0.value_at_percentile(percentile));
        Percentiles {
            count: self.0.len(),
            p50_us: at(50.0),
            p90_us: at(90.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            max_us: us(self.0.max()),
        }
    }
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub count: u64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_us, p90_us, p99_us, p999_us, max_us, .. } = self;
        write!(f, "p50 {p50_us:.0}  p90 {p90_us:.0}  p99 {p99_us:.0}  p99.9 {p999_us:.0}  max {max_us:.0} us")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_known_distribution() {
        let (mut low, mut high) = (Latency::new(), Latency::new());
        (1..=500).for_each(|us| low.record(7, 7 + us * 1000));
        (501..=1000).for_each(|us| high.record(0, us * 1000));
        low.add(&high);
        let Percentiles { count, p50_us, p90_us, p99_us, p999_us, max_us } = low.percentiles();
        assert_eq!(count, 1000);
        for (got, expected) in [(p50_us, 500.0), (p90_us, 900.0), (p99_us, 990.0), (p999_us, 999.0), (max_us, 1000.0)] {
            assert!((got - expected).abs() <= expected * 0.002, "{got} is not {expected}");
        }
    }

    #[test]
    fn extremes_are_kept() {
        let mut latency = Latency::new();
        latency.record(10, 5);
        latency.record(0, u64::MAX);
        assert_eq!(latency.percentiles().count, 2);
        assert!(latency.percentiles().max_us >= 6e7);
    }
}
