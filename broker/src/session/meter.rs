//! How much a client sends, as a bucket that leaks: what is over is not read until enough has leaked away, so that the
//! client's own socket holds it back. Nothing is lost and nobody is closed for it.

use crate::Settings;
use crate::timer::{TICK, Ticks};

/// A client may send this many seconds' worth at once.
const BURST_S: u32 = 5;
const TICKS_PER_S: u32 = 1_000 / TICK.as_millis() as u32;

/// See the module. Levels are in parts of which a packet or a byte has [`TICKS_PER_S`]: so a tick takes away the rate.
#[derive(Debug, Default)]
pub(super) struct Meter {
    packets: u32,
    bytes: u32,
    /// Up to when what leaks is taken off.
    at: Option<Ticks>,
}

impl Meter {
    /// The client has sent a packet of so many bytes.
    pub(super) fn add(&mut self, settings: &Settings, now: Ticks, bytes: usize) {
        let ticks = now.0.saturating_sub(self.at.unwrap_or(now).0);
        self.at = Some(now);
        self.packets = fill(self.packets, settings.packets_per_s, ticks, 1);
        self.bytes = fill(self.bytes, settings.bytes_per_s, ticks, u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// When the client may go on; `None`: now.
    pub(super) fn full_until(&self, settings: &Settings, now: Ticks) -> Option<Ticks> {
        let at = self.at?;
        let ticks = over(self.packets, settings.packets_per_s).max(over(self.bytes, settings.bytes_per_s));
        let until = Ticks(at.0.saturating_add(ticks));
        (now < until).then_some(until)
    }
}

/// The level when so many ticks have passed and something came.
fn fill(level: u32, rate: u32, ticks: u32, comes: u32) -> u32 {
    level.saturating_sub(rate.saturating_mul(ticks)).saturating_add(comes.saturating_mul(TICKS_PER_S))
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
        assert!(size_of::<Meter>() <= 16);
    }
}
