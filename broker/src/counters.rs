//! What the doors count. Cheap enough for every packet; whoever reports metrics reads them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that many tasks move and anybody reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number now.
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

/// Totals since the start, except where "now" is said.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sockets open now, whether they have sent CONNECT or not.
    pub connections: Counter,
    /// Sockets accepted.
    pub accepted: Counter,
    /// Sockets turned away because there were too many, and CONNECTs refused.
    pub refused: Counter,
    /// PUBLISH packets taken from clients.
    pub publishes: Counter,
    /// PUBLISH packets sent to clients.
    pub deliveries: Counter,
    /// Bytes read from clients.
    pub bytes_in: Counter,
    /// Bytes written to clients.
    pub bytes_out: Counter,
}
