//! Report of the workloads that exchange messages for a set time.

use std::fmt;

use serde::Serialize;

use crate::latency::Percentiles;
use crate::process::ServerUse;
use crate::violation::Violations;

/// What an exchange measured. Figures are of the measurement alone, without warm-up; the last three are of the whole
/// run.
#[derive(Debug, Clone, Serialize)]
pub struct MessagesReport {
    /// Workload and its parameters.
    pub title: String,
    /// Of every message.
    pub body_bytes: usize,
    /// How long was measured.
    pub seconds: f64,
    /// Messages published.
    pub published: u64,
    /// Deliveries: one for each receiver of a message.
    pub delivered: u64,
    /// Deliveries per second.
    pub delivered_per_second: f64,
    /// From publish to PUBACK.
    pub acknowledged: Percentiles,
    /// From publish to delivery.
    pub delivery: Percentiles,
    /// Open loop: how late the generator itself published. Latencies contain it, since they count from the time that
    /// was intended; when it is not small the machine is too busy for the rate.
    pub lateness: Option<Percentiles>,
    /// What the server used, if its process is known. "Message" is a delivery.
    pub server: Option<ServerUse>,
    /// Processor time of the load generator for each delivery.
    pub generator_cpu_us_per_message: f64,
    /// Publishes that were not acknowledged ten seconds after the last one.
    pub unacknowledged: u64,
    /// Open loop: messages that were due and could not even be written.
    pub unsent: u64,
    /// Broken promises.
    pub violations: Violations,
}

impl MessagesReport {
    pub(crate) fn is_clean(&self) -> bool {
        self.violations.total() + self.unacknowledged + self.unsent == 0
    }
}

impl fmt::Display for MessagesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { title, body_bytes, seconds, delivered, delivered_per_second, .. } = self;
        writeln!(f, "{title}, {body_bytes} bytes")?;
        writeln!(f, "  delivered    {delivered_per_second:.0} msg/s ({delivered} in {seconds:.1} s)")?;
        writeln!(f, "  to PUBACK    {}", self.acknowledged)?;
        writeln!(f, "  to delivery  {}", self.delivery)?;
        if let Some(lateness) = &self.lateness {
            writeln!(f, "  lateness     {lateness}")?;
        }
        if let Some(server) = &self.server {
            writeln!(f, "  server       {server}")?;
        }
        writeln!(f, "  generator    {:.1} us CPU per message", self.generator_cpu_us_per_message)?;
        if self.unacknowledged > 0 || self.unsent > 0 {
            writeln!(f, "  *** {} NOT ACKNOWLEDGED, {} NOT SENT ***", self.unacknowledged, self.unsent)?;
        }
        write!(f, "  violations   {}", self.violations)
    }
}
