//! Clocks that tests move by hand.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{ClockSettings, ClockSource, Time};

/// A wall clock and a steady clock that stand still until a test moves them. Cheap to clone; all clones are the same clocks.
#[derive(Clone)]
pub struct ManualClocks(Arc<Mutex<Readings>>);

#[derive(Clone, Copy)]
struct Readings {
    wall_ms: i64,
    steady_ms: i64,
}

impl ManualClocks {
    /// A wall clock that shows this, in milliseconds since 1970, and a steady clock that has counted these milliseconds.
    pub fn new(wall_ms: i64, steady_ms: i64) -> Self {
        Self(Arc::new(Mutex::new(Readings { wall_ms, steady_ms })))
    }

    /// What the wall clock shows, in milliseconds since 1970.
    pub fn wall_ms(&self) -> i64 {
        self.locked(|now| now.wall_ms)
    }

    /// Moves each clock by so many milliseconds.
    pub fn advance(&self, wall_ms: i64, steady_ms: i64) {
        self.locked(|now| *now = Readings { wall_ms: now.wall_ms + wall_ms, steady_ms: now.steady_ms + steady_ms });
    }

    /// The machine starts anew: the wall clock has moved by so many milliseconds, and the steady clock has counted these.
    pub fn reboot(&self, wall_ms: i64, steady_ms: i64) {
        self.locked(|now| *now = Readings { wall_ms: now.wall_ms + wall_ms, steady_ms });
    }

    /// A time that goes by these clocks. It stands still until [`Time::begin`].
    pub fn time(&self, settings: ClockSettings) -> Time {
        let source = |clock: fn(&Readings) -> i64| -> ClockSource {
            let clocks = self.clone();
            Arc::new(move || Duration::from_millis(u64::try_from(clocks.locked(|now| clock(now))).unwrap_or(0)))
        };
        Time::new(settings, source(|now| now.wall_ms), source(|now| now.steady_ms))
    }

    fn locked<T>(&self, work: impl FnOnce(&mut Readings) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
