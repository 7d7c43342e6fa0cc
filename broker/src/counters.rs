//! Counters of a broker. They are cheap enough to be moved for every packet; the server reports them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that many tasks change and that can be read at any time.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The current value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: usize) {
        self.0.fetch_sub(n as u64, Ordering::Relaxed);
    }
}

/// Totals since the start of the process, except [`BrokerCounters::connections`].
#[derive(Debug, Default)]
pub struct BrokerCounters {
    /// Connections that are open now, whether or not they have sent CONNECT.
    pub connections: Counter,
    /// TCP connections that were accepted.
    pub accepted: Counter,
    /// Connections that were rejected before their CONNECT, and CONNECTs that were refused.
    pub refused: Counter,
    /// PUBLISH packets that were read from clients.
    pub publishes: Counter,
    /// PUBLISH packets that were sent to clients.
    pub deliveries: Counter,
    /// Bytes of MQTT that were read from clients.
    pub bytes_in: Counter,
    /// Bytes of MQTT that were written to clients.
    pub bytes_out: Counter,
}
