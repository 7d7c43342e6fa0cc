//! The wall clock that the bridge and its store are handed: virtual time plus what operators set it forward. Like the
//! program's own it never goes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use godwit_bridge::store::ClockS;
use tokio::time::Instant;

const START_S: u32 = 1_000_000_000;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    began: Instant,
    ahead_s: Arc<AtomicU32>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), ahead_s: Arc::default() }
    }

    pub(crate) fn now_s(&self) -> u32 {
        START_S + self.began.elapsed().as_secs() as u32 + self.ahead_s.load(Ordering::Relaxed)
    }

    /// Since the run began.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    pub(crate) fn jump(&self, seconds: u32) {
        self.ahead_s.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn handed_out(&self) -> ClockS {
        let clock = self.clone();
        Arc::new(move || clock.now_s())
    }
}
