//! The wall clock that the bridge and its store are handed: virtual time plus what operators set it forward or back. Like
//! the program's own it does not go back while a process lives; the next one sees what it is set to.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use godwit_bridge::store::ClockS;
use tokio::time::Instant;

const START_S: i64 = 1_000_000_000;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    began: Instant,
    ahead_s: Arc<AtomicI64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), ahead_s: Arc::default() }
    }

    pub(crate) fn now_s(&self) -> u32 {
        (START_S + self.began.elapsed().as_secs() as i64 + self.ahead_s.load(Ordering::Relaxed)) as u32
    }

    /// Since the run began.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    pub(crate) fn jump(&self, seconds: i64) {
        self.ahead_s.fetch_add(seconds, Ordering::Relaxed);
    }

    /// For one process.
    pub(crate) fn handed_out(&self) -> ClockS {
        let (clock, latest) = (self.clone(), AtomicU32::new(0));
        Arc::new(move || {
            let now_s = clock.now_s();
            latest.fetch_max(now_s, Ordering::Relaxed).max(now_s)
        })
    }
}
