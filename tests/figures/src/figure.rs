//! Which figures there are: where each stands in a report, and how it is written.

use crate::results::{Results, Spread};

/// One figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    /// As people read it.
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// Name of the run in the results.
    what: &'static str,
    /// Place in its report.
    pointer: &'static str,
}

const fn figure(name: &'static str, unit: &'static str, what: &'static str, pointer: &'static str) -> Figure {
    Figure { name, unit, what, pointer }
}

const RATE: &str = "/delivered_per_second";

pub(crate) const PAIRS: [Figure; 4] = [
    figure("50 pairs, window 8", "msg/s", "pairs-50-8", RATE),
    figure("50 pairs, window 1", "msg/s", "pairs-50-1", RATE),
    figure("1,000 pairs, window 8", "msg/s", "pairs-1000-8", RATE),
    figure("1,000 pairs, window 1", "msg/s", "pairs-1000-1", RATE),
];
pub(crate) const BULK: [Figure; 2] = [
    figure("replay", "msg/s", "replay", "/messages_per_second"),
    figure("fan-out, group of 100", "msg/s", "fanout", RATE),
];
pub(crate) const CONNECTS: Figure = figure("connects", "per s", "connects", "/connects_per_second");
pub(crate) const PACED: [Figure; 2] = [
    figure("paced 5,000 msg/s, p50", "ms", "paced", "/delivery/p50_us"),
    figure("paced 5,000 msg/s, p99", "ms", "paced", "/delivery/p99_us"),
];
pub(crate) const DISK: [Figure; 2] = [
    figure("one synced write, p50", "ms", "disk", "/synced/p50_us"),
    figure("one synced write, p99", "ms", "disk", "/synced/p99_us"),
];
pub(crate) const MEMORY: Figure =
    figure("memory of an idle connection", "bytes", "idle", "/server/memory_bytes_per_connection");
pub(crate) const CPU: [Figure; 6] = [
    figure("50 pairs, window 8: CPU", "us", "pairs-50-8", "/server/cpu_us_per_message"),
    figure("50 pairs, window 1: CPU", "us", "pairs-50-1", "/server/cpu_us_per_message"),
    figure("paced 5,000 msg/s: CPU", "us", "paced", "/server/cpu_us_per_message"),
    figure("replay: CPU", "us", "replay", "/server/cpu_us_per_message"),
    figure("fan-out: CPU", "us", "fanout", "/server/cpu_us_per_message"),
    figure("connect: CPU", "us", "connects", "/server/cpu_us_per_connect"),
];
pub(crate) const SWITCHES: [Figure; 6] = [
    figure("50 pairs, window 8: context switches", "", "pairs-50-8", "/server/switches_per_message"),
    figure("50 pairs, window 1: context switches", "", "pairs-50-1", "/server/switches_per_message"),
    figure("paced 5,000 msg/s: context switches", "", "paced", "/server/switches_per_message"),
    figure("replay: context switches", "", "replay", "/server/switches_per_message"),
    figure("fan-out: context switches", "", "fanout", "/server/switches_per_message"),
    figure("connect: context switches", "", "connects", "/server/switches_per_connect"),
];
pub(crate) const WRITTEN: [Figure; 5] = [
    figure("50 pairs, window 8: to disk", "bytes", "pairs-50-8", "/server/written_bytes_per_message"),
    figure("50 pairs, window 1: to disk", "bytes", "pairs-50-1", "/server/written_bytes_per_message"),
    figure("paced 5,000 msg/s: to disk", "bytes", "paced", "/server/written_bytes_per_message"),
    figure("replay: to disk", "bytes", "replay", "/server/written_bytes_per_message"),
    figure("fan-out: to disk", "bytes", "fanout", "/server/written_bytes_per_message"),
];
pub(crate) const HELD: [Figure; 6] = [
    figure("connections", "", "hold", "/connections"),
    figure("memory of one", "bytes", "hold", "/memory_bytes_per_connection"),
    figure("memory of one, after each has sent and received", "bytes", "hold", MEMORY_AFTER),
    figure("stream and client, not counted above", "bytes", "hold", "/stream_bytes_per_connection"),
    figure("connects", "per s", "hold", "/connects_per_second"),
    figure("message to delivery, p99", "ms", "hold", "/delivery/p99_us"),
];
const MEMORY_AFTER: &str = "/memory_after_messages_bytes_per_connection";
pub(crate) const FILLED: [Figure; 3] = [
    figure("users", "", "fill", "/users"),
    figure("inbox entries", "", "fill", "/entries"),
    figure("seconds to fill", "s", "fill", "/seconds"),
];

/// Those that every server has that is measured side by side.
pub(crate) fn of_every_server() -> Vec<Figure> {
    [&PAIRS[..], &BULK, &[CONNECTS], &PACED, &[MEMORY], &CPU, &SWITCHES, &WRITTEN].concat()
}

impl Figure {
    /// Of a server.
    pub(crate) fn of(&self, results: &Results, server: &str) -> Option<Spread> {
        let Spread { median, low, high, failed } = results.spread(server, self.what, self.pointer)?;
        // Latencies are measured in microseconds and read in milliseconds.
        let scale = if self.unit == "ms" { 1e-3 } else { 1.0 };
        Some(Spread { median: median * scale, low: low * scale, high: high * scale, failed })
    }
}

/// Three digits that count, thousands apart.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs().max(1e-9).log10().floor();
    if magnitude < 2.0 {
        let decimals = if value == 0.0 { 0 } else { (2.0 - magnitude).min(3.0) as usize };
        return format!("{value:.decimals$}");
    }
    let unit = 10_f64.powf(magnitude - 2.0);
    let digits = format!("{:.0}", (value / unit).round() * unit);
    let (sign, digits) = digits.strip_prefix('-').map_or(("", &digits[..]), |digits| ("-", digits));
    let mut apart = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        let all = [0.0, 0.0712, 1.2345, 45.67, 123.4, 999.6, 1_234.0, 89_749.0, -2_345_678.0];
        let read = ["0", "0.071", "1.23", "45.7", "123", "1,000", "1,230", "89,700", "-2,350,000"];
        assert_eq!(all.map(number), read);
    }
}
