//! What one run of `scripts/bench` has written: a line about the machine, then a line for each workload on each server.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

/// The machine and the programs.
#[derive(Debug, Deserialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) cores: u32,
    pub(crate) memory_kib: u64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    pub(crate) versions: String,
    pub(crate) rounds: u32,
}

/// A workload on a server.
#[derive(Debug, Deserialize)]
struct Run {
    server: String,
    what: String,
    /// Null: it failed.
    report: Value,
}

/// All lines of a file of results.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    runs: Vec<Run>,
}

/// Median of some runs, and the least and the most of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Runs that failed, and so are not counted.
    pub(crate) failed: usize,
}

impl Results {
    /// # Errors
    /// A line is not what `scripts/bench` writes.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let machine = serde_json::from_str(lines.next().unwrap_or_default()).context("line 1: the machine")?;
        let run = |(nth, line)| serde_json::from_str(line).with_context(|| format!("line {}", nth + 2));
        Ok(Self { machine, runs: lines.enumerate().map(run).collect::<Result<_>>()? })
    }

    /// What all runs of a workload on a server say at `pointer` (RFC 6901); `None` if none does.
    pub(crate) fn spread(&self, server: &str, what: &str, pointer: &str) -> Option<Spread> {
        let runs = || self.runs.iter().filter(|run| run.server == server && run.what == what);
        let mut values: Vec<f64> = runs().filter_map(|run| run.report.pointer(pointer)?.as_f64()).collect();
        values.sort_by(f64::total_cmp);
        let (&low, &high) = values.first().zip(values.last())?;
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Spread { median, low, high, failed: runs().filter(|run| run.report.is_null()).count() })
    }
}

#[cfg(test)]
pub(crate) fn sample() -> Results {
    let machine = r#"{"date":"2026-01-02","cores":2,"memory_kib":2097152,"kernel":"Linux 6","file_system":"ext",
        "versions":"godwit 1","rounds":3}"#;
    let run = |server, what, rate| {
        format!(r#"{{"server":"{server}","what":"{what}","report":{{"delivered_per_second":{rate}}}}}"#)
    };
    let lines = [
        machine.replace('\n', " "),
        run("godwit", "pairs-50-8", "3000"),
        run("godwit", "pairs-50-8", "1000.4"),
        run("godwit", "pairs-50-8", "2000"),
        run("mosquitto", "pairs-50-8", "1000"),
        r#"{"server":"mosquitto","what":"pairs-50-8","report":null}"#.to_owned(),
    ];
    Results::parse(&lines.join("\n")).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_spread() {
        let results = sample();
        let spread = results.spread("godwit", "pairs-50-8", "/delivered_per_second").unwrap();
        assert_eq!(spread, Spread { median: 2000.0, low: 1000.4, high: 3000.0, failed: 0 });
        let spread = results.spread("mosquitto", "pairs-50-8", "/delivered_per_second").unwrap();
        assert_eq!((spread.median, spread.failed), (1000.0, 1));
        assert_eq!(results.spread("godwit", "pairs-50-8", "/nothing"), None);
        assert!(Results::parse("").is_err());
    }
}
