//! How much a client sends, as a bucket that leaks: what is over is not read until enough has leaked away, so that the
//! client's own socket holds it back, and nothing is lost.
//!
//! Who goes on like that is closed in the end. Held back at its rate, a client that is just as fast looks like one that
//! would send any amount. So after `over_rate` without a pause in which all has leaked away, it is given one more burst.
//! Whoever sends no more than its rate has caught up with that. Who has used it up in less time than it stands for had
//! more waiting, and will not stop: that is enough.

use std::time::Duration;

use crate::Settings;
use crate::timer::{TICK, Ticks};

/// A client may send this many seconds' worth at once.
const BURST_S: u32 = 5;
const BURST: Duration = Duration::from_secs(BURST_S as u64);
const TICKS_PER_S: u32 = 1_000 / TICK.as_millis() as u32;

/// See the module. Levels are in parts of which a packet or a byte has [`TICKS_PER_S`]: so a tick takes away the rate.
#[derive(Debug, Default)]
pub(super) struct Meter {
    packets: u32,
    bytes: u32,
    /// Up to when what leaks is taken off.
    at: Ticks,
    over: Over,
}

/// For how long a client has been sending more than its rate.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Over {
    #[default]
    Not,
    /// Since then, without a pause.
    Since(Ticks),
    /// For so long that it was given one more burst then.
    LastBurst(Ticks),
}

impl Meter {
    /// The client has sent a packet of so many bytes.
    pub(super) fn add(&mut self, settings: &Settings, now: Ticks, bytes: usize) {
        let ticks = now.0.saturating_sub(self.at.0);
        self.at = now;
        self.packets = leak(self.packets, settings.packets_per_s, ticks);
        self.bytes = leak(self.bytes, settings.bytes_per_s, ticks);
        if matches!(self.over, Over::Since(_)) && (self.packets, self.bytes) == (0, 0) {
            self.over = Over::Not;
        }
        self.packets = fill(self.packets, 1);
        self.bytes = fill(self.bytes, u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// When the client may go on; `None`: now.
    pub(super) fn full_until(&self, settings: &Settings, now: Ticks) -> Option<Ticks> {
        let ticks = over(self.packets, settings.packets_per_s).max(over(self.bytes, settings.bytes_per_s));
        let until = Ticks(self.at.0.saturating_add(ticks));
        (now < until).then_some(until)
    }

    /// What came has filled it. Whether that is enough, and the client is to be closed.
    pub(super) fn is_enough(&mut self, settings: &Settings, now: Ticks) -> bool {
        if settings.over_rate.is_zero() {
            return false;
        }
        match self.over {
            Over::Not => self.over = Over::Since(now),
            Over::Since(since) if now < since.after(settings.over_rate) => {}
            Over::Since(_) => *self = Self { at: now, over: Over::LastBurst(now), ..Self::default() },
            Over::LastBurst(given) if now < given.after(BURST) => return true,
            Over::LastBurst(_) => self.over = Over::Since(now),
        }
        false
    }
}

/// The level when so many ticks have passed. Without a rate there is none.
fn leak(level: u32, rate: u32, ticks: u32) -> u32 {
    if rate == 0 { 0 } else { level.saturating_sub(rate.saturating_mul(ticks)) }
}

/// The level when something comes.
fn fill(level: u32, comes: u32) -> u32 {
    level.saturating_add(comes.saturating_mul(TICKS_PER_S))
}

/// Ticks until the level is no more than a burst. A rate of 0 is none.
fn over(level: u32, rate: u32) -> u32 {
    let burst = rate.saturating_mul(BURST_S * TICKS_PER_S);
    if rate == 0 { 0 } else { level.saturating_sub(burst).div_ceil(rate) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_through_and_then_the_rate_holds() {
        let settings = Settings { packets_per_s: 8, bytes_per_s: 0, ..Settings::default() };
        let mut meter = Meter::default();
        let mut sent = Vec::new();
        for tick in 0..200 {
            let now = Ticks(1_000 + tick);
            let before = sent.len();
            while meter.full_until(&settings, now).is_none() && sent.len() < before + 1_000 {
                meter.add(&settings, now, 1_000_000);
                sent.push(tick);
            }
        }
        assert_eq!(sent.iter().filter(|tick| **tick == 0).count(), 41, "five seconds' worth and the one that is over");
        let later = sent.iter().filter(|tick| **tick >= 100).count();
        assert!((198..=202).contains(&later), "{later} in 25 s at 8 a second");
    }

    #[test]
    fn bytes_count_as_well_and_it_says_when_to_go_on() {
        let settings = Settings { packets_per_s: 0, bytes_per_s: 100, ..Settings::default() };
        let mut meter = Meter::default();
        meter.add(&settings, Ticks(10), 500);
        assert_eq!(meter.full_until(&settings, Ticks(10)), None);
        meter.add(&settings, Ticks(10), 60);
        assert_eq!(meter.full_until(&settings, Ticks(10)), Some(Ticks(13)));
        assert_eq!(meter.full_until(&settings, Ticks(13)), None);
        meter.add(&settings, Ticks(1_000_000), 1);
        assert_eq!(meter.bytes, TICKS_PER_S);
    }

    #[test]
    fn without_rates_nothing_is_held() {
        let settings = Settings { packets_per_s: 0, bytes_per_s: 0, ..Settings::default() };
        let mut meter = Meter::default();
        for _ in 0..100 {
            meter.add(&settings, Ticks(1), usize::MAX);
            assert_eq!(meter.full_until(&settings, Ticks(1)), None);
        }
        assert!(size_of::<Meter>() <= 20);
    }

    /// A client that may send 8 packets a second and is closed after a minute. Each second it has so many more to send,
    /// and a backlog of as many as a minute takes. Returns when it is closed, within an hour.
    fn closed_after_s(per_s: u32, backlog: u32) -> Option<u32> {
        let over_rate = Duration::from_secs(60);
        let settings = Settings { packets_per_s: 8, bytes_per_s: 0, over_rate, ..Settings::default() };
        let (mut meter, mut waiting) = (Meter::default(), backlog);
        for tick in 1..3_600 * TICKS_PER_S {
            let now = Ticks(tick);
            waiting += per_s / TICKS_PER_S;
            while waiting > 0 && meter.full_until(&settings, now).is_none() {
                waiting -= 1;
                meter.add(&settings, now, 10);
                if meter.full_until(&settings, now).is_some() && meter.is_enough(&settings, now) {
                    return Some(tick / TICKS_PER_S);
                }
            }
        }
        None
    }

    #[test]
    fn who_sends_at_its_rate_is_never_closed_whatever_it_began_with() {
        // Up to two bursts, of forty each.
        for backlog in [0, 41, 60, 79] {
            assert_eq!(closed_after_s(8, backlog), None, "{backlog}");
        }
    }

    #[test]
    fn who_does_not_stop_is_closed() {
        assert_eq!(closed_after_s(400, 0), Some(60));
        // Ten seconds until the burst is used up.
        assert_eq!(closed_after_s(12, 0), Some(69));
    }

    #[test]
    fn a_pause_is_the_end_of_it() {
        let settings = Settings { packets_per_s: 8, over_rate: Duration::from_secs(60), ..Settings::default() };
        let mut meter = Meter::default();
        for begin in [1, 1_000, 2_000] {
            for tick in begin..begin + 59 * TICKS_PER_S {
                while meter.full_until(&settings, Ticks(tick)).is_none() {
                    meter.add(&settings, Ticks(tick), 10);
                    let full = meter.full_until(&settings, Ticks(tick)).is_some();
                    assert!(!full || !meter.is_enough(&settings, Ticks(tick)), "{tick}");
                }
            }
        }
    }

    #[test]
    fn it_can_be_switched_off() {
        let settings = Settings { packets_per_s: 8, over_rate: Duration::ZERO, ..Settings::default() };
        let mut meter = Meter::default();
        for tick in 1..10_000 {
            while meter.full_until(&settings, Ticks(tick)).is_none() {
                meter.add(&settings, Ticks(tick), 10);
                assert!(!meter.is_enough(&settings, Ticks(tick)));
            }
        }
    }
}
