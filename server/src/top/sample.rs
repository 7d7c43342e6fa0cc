//! Metrics as they are read from a server, and what has changed between two readings.

use std::collections::BTreeMap;

/// Numbers by name and labels, as Prometheus' text has them.
#[derive(Debug, Default)]
pub(super) struct Sample(BTreeMap<(String, String), f64>);

/// Two samples, and the seconds between them.
pub(super) struct Change<'a> {
    pub(super) before: &'a Sample,
    pub(super) after: &'a Sample,
    pub(super) seconds: f64,
}

impl Sample {
    /// Takes in what a process shows. What two processes have alike is added up.
    pub(super) fn add(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            let labels = labels.strip_suffix('}').unwrap_or(labels);
            *self.0.entry((name.to_owned(), labels.to_owned())).or_default() += value;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers of a name, with their labels.
    fn family<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let all = self.0.range((name.to_owned(), String::new())..);
        all.take_while(move |((found, _), _)| found == name).map(|((_, labels), value)| (&labels[..], *value))
    }

    fn sum(&self, name: &str) -> f64 {
        self.family(name).map(|(_, value)| value).sum()
    }

    fn get(&self, name: &str, labels: &str) -> f64 {
        self.0.get(&(name.to_owned(), labels.to_owned())).copied().unwrap_or(0.0)
    }
}

impl Change<'_> {
    /// The numbers of a name together, as they are now.
    pub(super) fn now(&self, name: &str) -> f64 {
        self.after.sum(name)
    }

    /// By how much they have grown in a second. A server that has started anew begins with zero.
    pub(super) fn rate(&self, name: &str) -> f64 {
        let grown = self.after.sum(name) - self.before.sum(name);
        if grown < 0.0 || self.seconds <= 0.0 { 0.0 } else { grown / self.seconds }
    }

    /// Those that have grown, by how much.
    pub(super) fn grown<'b>(&'b self, name: &'b str) -> impl Iterator<Item = (&'b str, u64)> {
        let grown = self.after.family(name).map(move |(labels, value)| (labels, value - self.before.get(name, labels)));
        grown.filter(|(_, by)| *by > 0.0).map(|(labels, by)| (labels, by as u64))
    }

    /// The bound within which this part of what a histogram has counted since is, of series with `label`. `None`: it has counted
    /// nothing.
    pub(super) fn quantile(&self, name: &str, label: &str, part: f64) -> Option<f64> {
        let name = format!("{name}_bucket");
        let mut buckets = BTreeMap::<u64, (f64, f64)>::new();
        for (labels, value) in self.after.family(&name).filter(|(labels, _)| labels.contains(label)) {
            let bound = labels.split(',').find_map(|it| it.strip_prefix("le=\"")?.strip_suffix('"'))?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            // Positive numbers are ordered as their bits are.
            let bucket = buckets.entry(bound.to_bits()).or_insert((bound, 0.0));
            bucket.1 += (value - self.before.get(&name, labels)).max(0.0);
        }
        let total = buckets.values().next_back().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
        buckets.values().find(|(_, count)| *count >= total * part).map(|(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(text: &str) -> Sample {
        let mut sample = Sample::default();
        sample.add(text);
        sample
    }

    #[test]
    fn rates_and_growth_follow_from_two_samples() {
        let before = sample("# TYPE a_total counter\na_total{kind=\"x\"} 1\na_total{kind=\"y\"} 5\nb 7\n");
        let after = sample("a_total{kind=\"x\"} 4\na_total{kind=\"y\"} 5\nb 8.5\na_total_other 100\n");
        let change = Change { before: &before, after: &after, seconds: 2.0 };
        assert_eq!((change.rate("a_total"), change.now("b"), change.rate("absent")), (1.5, 8.5, 0.0));
        assert_eq!(change.grown("a_total").collect::<Vec<_>>(), [("kind=\"x\"", 3)]);
        let anew = Change { before: &after, after: &before, seconds: 2.0 };
        assert_eq!(anew.rate("a_total"), 0.0);
    }

    #[test]
    fn a_quantile_is_of_what_was_counted_since() {
        let histogram = |counts: [u32; 3]| {
            let bounds = ["0.01", "2.5", "+Inf"].into_iter().zip(counts);
            let lanes = bounds.flat_map(|(le, count)| {
                [0, 1].map(|lane| format!("t_bucket{{lane=\"{lane}\",le=\"{le}\"}} {count}\n"))
            });
            sample(&lanes.collect::<String>())
        };
        let (before, after) = (histogram([100, 100, 100]), histogram([150, 198, 200]));
        let change = Change { before: &before, after: &after, seconds: 1.0 };
        let quantiles = [0.5, 0.9, 0.99].map(|part| change.quantile("t", "", part));
        assert_eq!(quantiles, [Some(0.01), Some(2.5), Some(f64::INFINITY)]);
        assert_eq!(change.quantile("t", "lane=\"7\"", 0.5), None);
        assert_eq!(Change { before: &after, after: &after, seconds: 1.0 }.quantile("t", "", 0.5), None);
    }
}
