//! How many bytes a client has sent and received, by purpose: whole MQTT packets, and what goes over HTTP for files,
//! without what TCP, TLS and WebSocket add.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Making and ending connections: CONNECT, SUBSCRIBE, DISCONNECT and their answers.
    Connection,
    /// Messages, changes and ticks that come, and messages that go, with their acknowledgements.
    Messages,
    /// Telling what was read.
    Receipts,
    /// Calls and their answers.
    Calls,
    /// Pings and their answers.
    KeepAlive,
    /// What members do right now.
    Signals,
    /// Files, by HTTP.
    Media,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Connection, Self::Messages, Self::Receipts, Self::Calls, Self::KeepAlive, Self::Signals, Self::Media];
}

/// Bytes in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteCount {
    /// To the server.
    pub sent: u64,
    /// From the server.
    pub received: u64,
}

/// Counters since the client was opened.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: [AtomicU64; 7],
    received: [AtomicU64; 7],
}

impl Traffic {
    pub(crate) fn sent(&self, purpose: Purpose, bytes: usize) {
        self.sent[purpose as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, purpose: Purpose, bytes: usize) {
        self.received[purpose as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What was sent and received for a purpose.
    pub fn of(&self, purpose: Purpose) -> ByteCount {
        let load = |counters: &[AtomicU64; 7]| counters[purpose as usize].load(Ordering::Relaxed);
        ByteCount { sent: load(&self.sent), received: load(&self.received) }
    }

    /// All in all.
    pub fn total(&self) -> ByteCount {
        let [sent, received]: [u64; 2] = array::from_fn(|at| {
            let counters = [&self.sent, &self.received][at];
            counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
        });
        ByteCount { sent, received }
    }
}
