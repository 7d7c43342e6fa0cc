//! What one scrape shows: families of numbers, each with its full name as Prometheus has it. The unit and the type stand in the name,
//! by Prometheus' conventions: `_total` ends that of a counter, and `_seconds`, `_bytes` or the like says the unit.

use godwit_metrics::{Counter, Gauge, Histogram, HistogramReading};

/// Names and values of labels. Values come from closed lists, so there are as many as the program has: never a user, a device or an
/// address.
pub(super) type Labels = Vec<(&'static str, String)>;

/// All families, in the order in which they are shown.
#[derive(Debug, Default)]
pub(crate) struct Scrape(pub(super) Vec<Family>);

/// Numbers of one name.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    /// What the numbers are, for who meets them first.
    pub(super) help: &'static str,
    pub(super) samples: Samples,
}

/// The numbers, each with what tells it from the others of its family.
#[derive(Debug)]
pub(super) enum Samples {
    Counters(Vec<(Labels, u64)>),
    /// A counter of seconds.
    Seconds(f64),
    Gauges(Vec<(Labels, f64)>),
    /// With what a number of the histogram is to be divided by.
    Histograms(Vec<(Labels, HistogramReading)>, f64),
}

/// Microseconds in a second.
const MICROS: f64 = 1e6;

impl Scrape {
    fn add(&mut self, name: &'static str, help: &'static str, samples: Samples) {
        self.0.push(Family { name, help, samples });
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &'static str, counter: &Counter) {
        self.counters(name, help, vec![(Labels::new(), counter.get())]);
    }

    pub(super) fn counters(&mut self, name: &'static str, help: &'static str, samples: Vec<(Labels, u64)>) {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.add(name, help, Samples::Counters(samples));
    }

    pub(super) fn counter_of_seconds(&mut self, name: &'static str, help: &'static str, seconds: f64) {
        debug_assert!(name.ends_with("_seconds_total"), "{name}");
        self.add(name, help, Samples::Seconds(seconds));
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str, value: impl Into<Value>) {
        self.gauges(name, help, vec![(Labels::new(), value.into().0)]);
    }

    pub(super) fn gauges(&mut self, name: &'static str, help: &'static str, samples: Vec<(Labels, f64)>) {
        debug_assert!(!name.ends_with("_total"), "{name}");
        self.add(name, help, Samples::Gauges(samples));
    }

    /// Of durations.
    pub(super) fn times(&mut self, name: &'static str, help: &'static str, samples: Vec<(Labels, &Histogram)>) {
        let samples = samples.into_iter().map(|(labels, histogram)| (labels, histogram.read())).collect();
        self.add(name, help, Samples::Histograms(samples, MICROS));
    }

    /// Of what is counted by pieces.
    pub(super) fn sizes(&mut self, name: &'static str, help: &'static str, histogram: &Histogram) {
        self.add(name, help, Samples::Histograms(vec![(Labels::new(), histogram.read())], 1.0));
    }

    /// The names of all families.
    #[cfg(test)]
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|family| family.name)
    }
}

/// A number that a gauge shows.
pub(super) struct Value(f64);

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self(value as f64)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self(value as f64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self(f64::from(u8::from(value)))
    }
}

impl From<&Gauge> for Value {
    fn from(gauge: &Gauge) -> Self {
        Self(gauge.get() as f64)
    }
}

/// One label.
pub(super) fn label(name: &'static str, value: impl ToString) -> Labels {
    vec![(name, value.to_string())]
}
