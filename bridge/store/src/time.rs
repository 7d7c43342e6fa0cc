//! The server's time: ages, expiry and retention are measured with it. All lanes, the media service, the registrar and the
//! store read the same one, and a broker in another process needs no time of day.
//!
//! It says how long something takes, not what day it is. While the process lives it grows with the system's steady clock,
//! which nobody sets and which goes on while the machine sleeps. The wall clock is compared with it and followed slowly, a
//! second in 64. A larger difference is a **leap**: somebody has set the wall clock. It is not followed. When it has stood
//! for [`ClockSettings::hold`] the wall clock is compared with what it has been set to from then on; an operator may say earlier that
//! so much time has really passed ([`Time::follow`]). So no message expires because a clock was set.
//!
//! Only the wall clock knows how long the process was away. What the time was, and what the wall clock said then, is a row of
//! the store, written with what is written anyway ([`Time::note`]). At a start the difference is believed up to
//! [`ClockSettings::downtime_max`]; more than that is a leap.
//!
//! Nothing is deleted for its age while a leap stands, nor for as long after a start that believed the wall clock
//! ([`Time::may_delete`]).
//!
//! What others judge by their own clocks, or show to people, has the wall clock as it is now ([`wall`]): tokens, signed links,
//! webhooks, the audit, events. Both are seconds since 1970 in 32 bits where they are stored, which ends in 2106.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message;
use serde::Serialize;
use tracing::{error, info, warn};

use crate::{ClockS, Write, keys, record};

pub mod manual;

/// The wall clock is followed by a second in so many.
const SLEW: i64 = 64;
/// Another difference to the wall clock than this, in milliseconds, is a leap.
const LEAP_MS: i64 = 60_000;
/// How often the wall clock is looked at, in milliseconds.
const LOOK_MS: i64 = 1_000;
/// How often the row of the store is written, in milliseconds.
const NOTE_MS: i64 = 60_000;
/// What a new store's time may begin with, in milliseconds since 1970: the years 2026 to 2076. A clock that shows another year
/// was never set.
const PLAUSIBLE_MS: std::ops::Range<i64> = 1_767_225_600_000..3_345_062_400_000;

/// Beyond any clock, and far from where sums overflow.
const MOST_MS: i64 = i64::MAX / 16;

/// A clock: how long ago something was that never changes.
pub type ClockSource = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How far the wall clock is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSettings {
    /// How long a leap must stand before the wall clock counts as set.
    pub hold: Duration,
    /// How long a process may have been away, by the wall clock.
    pub downtime_max: Duration,
}

/// The server's time. Cheap to clone; all clones are the same time.
#[derive(Clone)]
pub struct Time(ClockKind);

#[derive(Clone)]
enum ClockKind {
    /// Somebody else's: of tests.
    Handed(ClockS),
    Kept(Arc<ClockStore>),
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Time").field(&self.now_s()).finish()
    }
}

/// A time that is handed in, and is right whatever it says.
impl From<ClockS> for Time {
    fn from(clock: ClockS) -> Self {
        Self(ClockKind::Handed(clock))
    }
}

struct ClockStore {
    settings: ClockSettings,
    wall: ClockSource,
    steady: ClockSource,
    /// The time is so far ahead of the steady clock.
    ahead_ms: AtomicI64,
    /// The wall clock is to be looked at when the steady clock says this.
    next_look_ms: AtomicI64,
    /// What was read last: it never goes back, also when it is slowed.
    latest_s: AtomicU32,
    may_delete: AtomicBool,
    state: Mutex<ClockState>,
}

/// As it was when the wall clock was looked at last. All in milliseconds.
#[derive(Debug, Default)]
struct ClockState {
    /// By the steady clock.
    at_ms: i64,
    /// The time then.
    time_ms: i64,
    /// How far the wall clock is ahead of the time when both are right.
    wall_ahead_ms: i64,
    /// What the wall clock said.
    wall_ms: i64,
    leap: Option<Leap>,
    /// Until the steady clock says this the start, which believed the wall clock, may have been wrong.
    doubted_until_ms: i64,
    /// When the row is to be written, by the steady clock.
    note_at_ms: i64,
}

/// The wall clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leap {
    by_ms: i64,
    /// By the steady clock.
    since_ms: i64,
}

/// The row of the store.
#[derive(Clone, PartialEq, Message)]
pub struct TimeRecord {
    /// What the time was.
    #[prost(int64, tag = "1")]
    time_ms: i64,
    /// What the wall clock said.
    #[prost(int64, tag = "2")]
    wall_ms: i64,
    /// By how much that had leapt.
    #[prost(int64, tag = "3")]
    leap_ms: i64,
}

impl TimeRecord {
    /// It may be added and subtracted.
    fn is_sound(&self) -> bool {
        let Self { time_ms, wall_ms, leap_ms } = *self;
        time_ms >= 0 && [time_ms, wall_ms, leap_ms].iter().all(|ms| ms.unsigned_abs() <= MOST_MS as u64)
    }
}

/// What operators are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClockStanding {
    /// The server's time, in seconds since 1970. It may have begun with a clock that was wrong.
    pub time_s: u32,
    /// What the wall clock says, in seconds since 1970.
    pub wall_s: u32,
    /// By how many seconds the wall clock has leapt.
    pub leap_s: Option<i64>,
    /// For how long that stands already.
    pub leap_stands_s: Option<u64>,
    /// Whether what has expired is deleted.
    pub deletes: bool,
}

impl Time {
    /// By the clocks of the system. It stands still until [`Self::begin`].
    pub fn of_system(settings: ClockSettings) -> Self {
        Self::new(settings, Arc::new(wall), Arc::new(steady))
    }

    /// By other clocks: since 1970, and since any moment before.
    pub fn new(settings: ClockSettings, wall: ClockSource, steady: ClockSource) -> Self {
        Self(ClockKind::Kept(Arc::new(ClockStore {
            settings,
            wall,
            steady,
            ahead_ms: AtomicI64::new(i64::MIN / 2),
            next_look_ms: AtomicI64::new(i64::MAX),
            latest_s: AtomicU32::new(0),
            may_delete: AtomicBool::new(false),
            state: Mutex::default(),
        })))
    }

    /// Sets it going. `row`: what the store has at [`keys::time`]. Before, nothing has expired and nothing is deleted.
    pub fn begin(&self, row: Option<Bytes>) {
        let ClockKind::Kept(kept) = &self.0 else { return };
        let record = row.map(|row| TimeRecord::decode(row).ok().filter(TimeRecord::is_sound));
        if record == Some(None) {
            error!("the store's time is damaged: it begins with the wall clock");
        }
        kept.begin(record.flatten());
    }

    /// Seconds since 1970. Never goes back.
    pub fn now_s(&self) -> u32 {
        match &self.0 {
            ClockKind::Handed(clock) => clock(),
            ClockKind::Kept(kept) => kept.now_s(),
        }
    }

    /// The same, as a function.
    pub fn clock(&self) -> ClockS {
        let time = self.clone();
        Arc::new(move || time.now_s())
    }

    /// Whether what has expired may be deleted: the time is certain.
    pub fn may_delete(&self) -> bool {
        match &self.0 {
            ClockKind::Handed(_) => true,
            ClockKind::Kept(kept) => {
                kept.now_s();
                kept.may_delete.load(Ordering::Relaxed)
            }
        }
    }

    /// The row of the store, if it is time to write it again. To be asked often; whoever is given it writes it.
    pub fn note(&self) -> Option<Write> {
        match &self.0 {
            ClockKind::Handed(_) => None,
            ClockKind::Kept(kept) => kept.note(false),
        }
    }

    /// The row as it is now, for the end of a process.
    pub fn last_note(&self) -> Option<Write> {
        match &self.0 {
            ClockKind::Handed(_) => None,
            ClockKind::Kept(kept) => kept.note(true),
        }
    }

    /// An operator says that the wall clock is right. If it has leapt forward, so much time has passed: what has expired by then
    /// is gone. If it has leapt back the time goes on as it is.
    pub fn follow(&self) -> ClockStanding {
        if let ClockKind::Kept(kept) = &self.0 {
            kept.follow();
        }
        self.standing()
    }

    /// For operators.
    pub fn standing(&self) -> ClockStanding {
        let time_s = self.now_s();
        let ClockKind::Kept(kept) = &self.0 else {
            return ClockStanding { time_s, wall_s: time_s, leap_s: None, leap_stands_s: None, deletes: true };
        };
        let (state, steady_ms) = (kept.state(), millis(&kept.steady));
        let stands = |leap: Leap| u64::try_from((steady_ms - leap.since_ms) / 1_000).unwrap_or(0);
        ClockStanding {
            time_s,
            wall_s: seconds(millis(&kept.wall)),
            leap_s: state.leap.map(|leap| leap.by_ms / 1_000),
            leap_stands_s: state.leap.map(stands),
            deletes: kept.may_delete.load(Ordering::Relaxed),
        }
    }
}

impl ClockStore {
    fn state(&self) -> MutexGuard<'_, ClockState> {
        // Every change is whole before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, record: Option<TimeRecord>) {
        let (wall_ms, at_ms) = (millis(&self.wall), millis(&self.steady));
        let mut state = self.state();
        let (time_ms, wall_ahead_ms, away_ms) = match record {
            None => {
                let time_ms = if PLAUSIBLE_MS.contains(&wall_ms) { wall_ms } else { PLAUSIBLE_MS.start };
                (time_ms, wall_ms - time_ms, 0)
            }
            Some(TimeRecord { time_ms, wall_ms: wall_then_ms, leap_ms }) => {
                // Whether a leap stood or was undone meanwhile is not known: the shorter time is the safe one.
                let away_ms = wall_ms - wall_then_ms.max(wall_then_ms - leap_ms);
                let believed = (0..=as_millis(self.settings.downtime_max)).contains(&away_ms);
                if !believed && away_ms > 0 {
                    let away_s = away_ms / 1_000;
                    warn!(away_s, "off for longer than clock.downtime_max_s, by the wall clock: not believed at once");
                }
                let away_ms = if believed { away_ms } else { 0 };
                (time_ms + away_ms, wall_then_ms - leap_ms - time_ms, away_ms)
            }
        };
        *state = ClockState { at_ms, time_ms, wall_ahead_ms, wall_ms, ..ClockState::default() };
        if away_ms > LEAP_MS {
            state.doubted_until_ms = at_ms + as_millis(self.settings.hold);
        }
        self.look(&mut state, at_ms);
    }

    fn now_s(&self) -> u32 {
        let steady_ms = millis(&self.steady);
        if steady_ms >= self.next_look_ms.load(Ordering::Relaxed)
            && let Ok(mut state) = self.state.try_lock()
        {
            self.look(&mut state, steady_ms);
        }
        let now_s = seconds(self.ahead_ms.load(Ordering::Relaxed).saturating_add(steady_ms));
        self.latest_s.fetch_max(now_s, Ordering::Relaxed).max(now_s)
    }

    /// Compares the wall clock with the time.
    fn look(&self, state: &mut ClockState, steady_ms: i64) {
        let (wall_ms, passed_ms) = (millis(&self.wall), (steady_ms - state.at_ms).max(0));
        let difference_ms = wall_ms - state.wall_ahead_ms - (state.time_ms + passed_ms);
        let slew_ms =
            if difference_ms.abs() <= LEAP_MS { difference_ms.clamp(-passed_ms / SLEW, passed_ms / SLEW) } else { 0 };
        (state.at_ms, state.wall_ms) = (steady_ms, wall_ms);
        state.time_ms += passed_ms + slew_ms;
        self.judge(state, difference_ms);
        self.apply(state);
    }

    /// Whether the wall clock has leapt.
    fn judge(&self, state: &mut ClockState, difference_ms: i64) {
        let hold_ms = as_millis(self.settings.hold);
        let by_s = difference_ms / 1_000;
        match state.leap {
            None if difference_ms.abs() <= LEAP_MS => {}
            Some(_) if difference_ms.abs() <= LEAP_MS => {
                info!("the wall clock is where it was before its leap");
                (state.leap, state.note_at_ms) = (None, state.at_ms);
            }
            Some(leap) if (difference_ms - leap.by_ms).abs() <= LEAP_MS => {
                if state.at_ms - leap.since_ms >= hold_ms {
                    warn!(by_s, "the wall clock stays where it has leapt to: what waits has not aged by that");
                    self.take_as_set(state, difference_ms);
                }
            }
            None | Some(_) => {
                warn!(
                    by_s,
                    hold_s = hold_ms / 1_000,
                    "the wall clock has leapt: the server's time does not follow, and nothing is deleted for its age until \
                     the wall clock is back, or has stood for clock.leap_hold_s (godwit clock)"
                );
                state.leap = Some(Leap { by_ms: difference_ms, since_ms: state.at_ms });
                state.note_at_ms = state.at_ms;
            }
        }
    }

    /// From here on the wall clock is right, and the time too.
    fn take_as_set(&self, state: &mut ClockState, difference_ms: i64) {
        state.wall_ahead_ms += difference_ms;
        (state.leap, state.note_at_ms) = (None, state.at_ms);
    }

    /// For readers.
    fn apply(&self, state: &ClockState) {
        let is_certain = state.leap.is_none() && state.at_ms >= state.doubted_until_ms;
        self.may_delete.store(is_certain, Ordering::Relaxed);
        self.ahead_ms.store(state.time_ms - state.at_ms, Ordering::Relaxed);
        self.next_look_ms.store(state.at_ms + LOOK_MS, Ordering::Relaxed);
    }

    fn note(&self, is_last: bool) -> Option<Write> {
        let steady_ms = millis(&self.steady);
        let mut state = self.state();
        if !is_last && steady_ms < state.note_at_ms {
            return None;
        }
        self.look(&mut state, steady_ms);
        state.note_at_ms = steady_ms + NOTE_MS;
        let leap_ms = state.leap.map_or(0, |leap| leap.by_ms);
        let record = TimeRecord { time_ms: state.time_ms, wall_ms: state.wall_ms, leap_ms };
        Some(record::put(keys::time(), &record))
    }

    fn follow(&self) {
        let mut state = self.state();
        self.look(&mut state, millis(&self.steady));
        let Some(leap) = state.leap else { return };
        warn!(by_s = leap.by_ms / 1_000, "an operator says that the wall clock is right");
        if leap.by_ms > 0 {
            state.time_ms += leap.by_ms;
            (state.leap, state.note_at_ms) = (None, state.at_ms);
        } else {
            self.take_as_set(&mut state, leap.by_ms);
        }
        state.doubted_until_ms = 0;
        self.apply(&state);
    }
}

/// The wall clock as it is now, since 1970. Whoever sets the system's clock sets it.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The same in milliseconds.
pub fn wall_ms() -> u64 {
    u64::try_from(wall().as_millis()).unwrap_or(u64::MAX)
}

/// The same for whoever compares seconds.
pub fn wall_clock() -> ClockS {
    Arc::new(|| u32::try_from(wall().as_secs()).unwrap_or(u32::MAX))
}

/// Since the machine started. Unlike Rust's `Instant` it goes on while the machine sleeps.
pub fn steady() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

fn millis(source: &ClockSource) -> i64 {
    as_millis(source())
}

fn as_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(MOST_MS).min(MOST_MS)
}

fn seconds(time_ms: i64) -> u32 {
    u32::try_from((time_ms / 1_000).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
