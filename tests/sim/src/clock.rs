//! The clocks of the machine: a wall clock that operators set forward and back, and a steady one that begins anew when power
//! was lost. By them the real [`Time`] of each process, which also the simulated disk goes by.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use godwit_store::ClockS;
use godwit_store::time::{ClockSettings, ClockSource, Time};
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

/// In 2026.
const START_S: i64 = 1_780_000_000;
/// How far the wall clock is believed. A process is away for less, its last note of the time counted.
const SETTINGS: ClockSettings = ClockSettings { hold: Duration::from_secs(8), downtime_max: Duration::from_secs(90) };

/// See the module.
#[derive(Clone)]
pub(crate) struct Clock {
    began: Instant,
    ahead_s: Arc<AtomicI64>,
    followed_s: Arc<AtomicI64>,
    powered: Arc<Mutex<Instant>>,
    time: Arc<Mutex<Time>>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let (began, ahead_s) = (Instant::now(), Arc::<AtomicI64>::default());
        let powered = Arc::new(Mutex::new(began));
        let time = Arc::new(Mutex::new(time_of(began, &ahead_s, &powered)));
        Self { began, ahead_s, followed_s: Arc::default(), powered, time }
    }

    /// The server's time; 0 while it is down.
    pub(crate) fn now_s(&self) -> u32 {
        self.time.lock().now_s()
    }

    /// Whether the server deletes what has expired.
    pub(crate) fn may_delete(&self) -> bool {
        self.time.lock().may_delete()
    }

    /// Since the run began.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Somebody sets the wall clock. By how much the server may follow that is for [`Self::followed_ms`].
    pub(crate) fn jump(&self, seconds: i64) {
        /// Another difference is a leap.
        const SMALL_S: i64 = 60;
        if (1..SMALL_S).contains(&seconds) {
            self.followed_s.fetch_add(seconds, Ordering::Relaxed);
        }
        self.ahead_s.fetch_add(seconds, Ordering::Relaxed);
    }

    /// How much the server's time may be ahead of what has really passed: a start cannot tell a small jump from time that the
    /// process was away.
    pub(crate) fn followed_ms(&self) -> u64 {
        self.followed_s.load(Ordering::Relaxed).unsigned_abs() * 1_000
    }

    /// The process has ended.
    pub(crate) fn stop(&self, power_lost: bool) {
        if power_lost {
            *self.powered.lock() = Instant::now();
        }
        *self.time.lock() = time_of(self.began, &self.ahead_s, &self.powered);
    }

    /// The next process starts. `row`: what its store knows of the time.
    pub(crate) fn begin(&self, row: Option<Bytes>) -> Time {
        let time = self.time.lock().clone();
        time.begin(row);
        time
    }

    /// For the disk.
    pub(crate) fn handed_out(&self) -> ClockS {
        let clock = self.clone();
        Arc::new(move || clock.now_s())
    }
}

fn time_of(began: Instant, ahead_s: &Arc<AtomicI64>, powered: &Arc<Mutex<Instant>>) -> Time {
    let (ahead_s, powered) = (ahead_s.clone(), powered.clone());
    let wall: ClockSource = Arc::new(move || {
        let set_s = START_S + ahead_s.load(Ordering::Relaxed);
        Duration::from_secs(set_s.unsigned_abs()) + began.elapsed()
    });
    Time::new(SETTINGS, wall, Arc::new(move || powered.lock().elapsed()))
}
