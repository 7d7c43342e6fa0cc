//! A client's rate limit: a leaky bucket each for packets and for bytes. While a bucket is over its burst nothing is read from the
//! client, so its own socket holds it back, and nothing is lost.
//!
//! A client that exceeds its rate for too long is closed. Held back to its rate, a client that sends just that fast looks like one
//! that would send any amount. So after `over_rate` in which the buckets were never empty, the client is given one more burst. A
//! client that keeps to its rate catches up with that. One that uses it up in less time than it stands for had more waiting, and is
//! closed.

use std::time::Duration;

use crate::settings::BrokerSettings;
use crate::timer::{TICK, Ticks};

/// A burst is what this many seconds of the rate allow.
const BURST_S: u32 = 5;
const BURST: Duration = Duration::from_secs(BURST_S as u64);
const TICKS_PER_S: u32 = 1_000 / TICK.as_millis() as u32;

/// The buckets of one client. A packet or a byte adds [`TICKS_PER_S`] to a level, so that each tick takes the rate off it.
#[derive(Debug, Default)]
pub(super) struct RateLimit {
    packets: u32,
    bytes: u32,
    /// The levels are those of this moment.
    at: Ticks,
    excess: Excess,
}

/// Whether, and since when, a client exceeds its rate.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Excess {
    #[default]
    None,
    /// Since this moment the buckets were never empty.
    Since(Ticks),
    /// It was given one more burst at this moment.
    LastBurst(Ticks),
}

impl RateLimit {
    /// Adds a packet of so many bytes.
    pub(super) fn add(&mut self, settings: &BrokerSettings, now: Ticks, bytes: usize) {
        let ticks = now.0.saturating_sub(self.at.0);
        self.at = now;
        self.packets = leak(self.packets, settings.packets_per_s, ticks);
        self.bytes = leak(self.bytes, settings.bytes_per_s, ticks);
        if matches!(self.excess, Excess::Since(_)) && (self.packets, self.bytes) == (0, 0) {
            self.excess = Excess::None;
        }
        self.packets = fill(self.packets, 1);
        self.bytes = fill(self.bytes, u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// When the client may be read again; `None`: now.
    pub(super) fn blocked_until(&self, settings: &BrokerSettings, now: Ticks) -> Option<Ticks> {
        let ticks = ticks_over(self.packets, settings.packets_per_s).max(ticks_over(self.bytes, settings.bytes_per_s));
        let until = Ticks(self.at.0.saturating_add(ticks));
        (now < until).then_some(until)
    }

    /// Whether the client is to be closed. Called when a packet has filled a bucket.
    pub(super) fn should_close(&mut self, settings: &BrokerSettings, now: Ticks) -> bool {
        if settings.over_rate.is_zero() {
            return false;
        }
        match self.excess {
            Excess::None => self.excess = Excess::Since(now),
            Excess::Since(since) if now < since.after(settings.over_rate) => {}
            Excess::Since(_) => *self = Self { at: now, excess: Excess::LastBurst(now), ..Self::default() },
            Excess::LastBurst(given) if now < given.after(BURST) => return true,
            Excess::LastBurst(_) => self.excess = Excess::Since(now),
        }
        false
    }
}

/// The level after so many ticks. A rate of 0 is no limit.
fn leak(level: u32, rate: u32, ticks: u32) -> u32 {
    if rate == 0 { 0 } else { level.saturating_sub(rate.saturating_mul(ticks)) }
}

/// The level with so many packets or bytes more.
fn fill(level: u32, amount: u32) -> u32 {
    level.saturating_add(amount.saturating_mul(TICKS_PER_S))
}

/// Ticks until the level is down to a burst.
fn ticks_over(level: u32, rate: u32) -> u32 {
    let burst = rate.saturating_mul(BURST_S * TICKS_PER_S);
    if rate == 0 { 0 } else { level.saturating_sub(burst).div_ceil(rate) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_the_rate_is_enforced() {
        let settings = BrokerSettings { packets_per_s: 8, bytes_per_s: 0, ..BrokerSettings::default() };
        let mut limit = RateLimit::default();
        let mut sent = Vec::new();
        for tick in 0..200 {
            let now = Ticks(1_000 + tick);
            let before = sent.len();
            while limit.blocked_until(&settings, now).is_none() && sent.len() < before + 1_000 {
                limit.add(&settings, now, 1_000_000);
                sent.push(tick);
            }
        }
        assert_eq!(sent.iter().filter(|tick| **tick == 0).count(), 41, "five seconds' worth and the one that is over");
        let later = sent.iter().filter(|tick| **tick >= 100).count();
        assert!((198..=202).contains(&later), "{later} in 25 s at 8 a second");
    }

    #[test]
    fn bytes_are_limited_and_the_end_of_the_pause_is_known() {
        let settings = BrokerSettings { packets_per_s: 0, bytes_per_s: 100, ..BrokerSettings::default() };
        let mut limit = RateLimit::default();
        limit.add(&settings, Ticks(10), 500);
        assert_eq!(limit.blocked_until(&settings, Ticks(10)), None);
        limit.add(&settings, Ticks(10), 60);
        assert_eq!(limit.blocked_until(&settings, Ticks(10)), Some(Ticks(13)));
        assert_eq!(limit.blocked_until(&settings, Ticks(13)), None);
        limit.add(&settings, Ticks(1_000_000), 1);
        assert_eq!(limit.bytes, TICKS_PER_S);
    }

    #[test]
    fn without_a_rate_nothing_is_held_back() {
        let settings = BrokerSettings { packets_per_s: 0, bytes_per_s: 0, ..BrokerSettings::default() };
        let mut limit = RateLimit::default();
        for _ in 0..100 {
            limit.add(&settings, Ticks(1), usize::MAX);
            assert_eq!(limit.blocked_until(&settings, Ticks(1)), None);
        }
        assert!(size_of::<RateLimit>() <= 20);
    }

    /// A client that may send 8 packets a second and is closed after a minute. Each second it has so many more to send,
    /// and a backlog of as many as a minute takes. Returns when it is closed, within an hour.
    fn closed_after_s(per_s: u32, backlog: u32) -> Option<u32> {
        let over_rate = Duration::from_secs(60);
        let settings = BrokerSettings { packets_per_s: 8, bytes_per_s: 0, over_rate, ..BrokerSettings::default() };
        let (mut limit, mut waiting) = (RateLimit::default(), backlog);
        for tick in 1..3_600 * TICKS_PER_S {
            let now = Ticks(tick);
            waiting += per_s / TICKS_PER_S;
            while waiting > 0 && limit.blocked_until(&settings, now).is_none() {
                waiting -= 1;
                limit.add(&settings, now, 10);
                if limit.blocked_until(&settings, now).is_some() && limit.should_close(&settings, now) {
                    return Some(tick / TICKS_PER_S);
                }
            }
        }
        None
    }

    #[test]
    fn a_client_that_sends_at_its_rate_is_never_closed() {
        // Up to two bursts, of forty each.
        for backlog in [0, 41, 60, 79] {
            assert_eq!(closed_after_s(8, backlog), None, "{backlog}");
        }
    }

    #[test]
    fn a_client_that_keeps_exceeding_its_rate_is_closed() {
        assert_eq!(closed_after_s(400, 0), Some(60));
        // Ten seconds until the burst is used up.
        assert_eq!(closed_after_s(12, 0), Some(69));
    }

    #[test]
    fn a_pause_ends_the_excess() {
        let settings =
            BrokerSettings { packets_per_s: 8, over_rate: Duration::from_secs(60), ..BrokerSettings::default() };
        let mut limit = RateLimit::default();
        for begin in [1, 1_000, 2_000] {
            for tick in begin..begin + 59 * TICKS_PER_S {
                while limit.blocked_until(&settings, Ticks(tick)).is_none() {
                    limit.add(&settings, Ticks(tick), 10);
                    let full = limit.blocked_until(&settings, Ticks(tick)).is_some();
                    assert!(!full || !limit.should_close(&settings, Ticks(tick)), "{tick}");
                }
            }
        }
    }

    #[test]
    fn with_over_rate_zero_nobody_is_closed() {
        let settings = BrokerSettings { packets_per_s: 8, over_rate: Duration::ZERO, ..BrokerSettings::default() };
        let mut limit = RateLimit::default();
        for tick in 1..10_000 {
            while limit.blocked_until(&settings, Ticks(tick)).is_none() {
                limit.add(&settings, Ticks(tick), 10);
                assert!(!limit.should_close(&settings, Ticks(tick)));
            }
        }
    }
}
