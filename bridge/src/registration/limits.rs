//! How often codes may be asked for and guessed: of a number, from an address, in all. In memory, and so bounded: what is
//! counted over an hour is no more than what `per_minute` lets through in that time.
//!
//! Who asks for a number's codes too often has to wait, and not whoever has the number: each address has its own count of
//! them. For a number as a whole, which is not to be flooded from many addresses, codes only come more slowly; each reaches
//! whoever has the number, and is good, whoever has asked for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use godwit_schemas::network;

use crate::phone::PhoneHash;

const MINUTE_S: u32 = 60;
const HOUR_S: u32 = 3_600;
/// Codes for one number at once, of all who ask: so many times what one address has. And as many in an hour.
const TOGETHER: u32 = 2;
/// Networks whose guesses are counted. When there are more, the further ones are not: a code bears few guesses anyway.
const GUESSING_MAX: usize = 65_536;

/// 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RegistrationLimits {
    /// Codes for one number in an hour that one address (or IPv6 /64) may ask for.
    pub per_number_per_hour: u32,
    /// Codes asked for from one address (or IPv6 /64) in an hour. This machine has no limit: it is a proxy, whose clients
    /// are not known apart, or the operator.
    pub per_address_per_hour: u32,
    /// Codes in all in a minute.
    pub per_minute: u32,
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct RegistrationCounts {
    limits: RegistrationLimits,
    /// Guesses that one code bears.
    tries: u32,
    all: CountWindow,
    numbers: HashMap<PhoneHash, Pace>,
    /// Codes for a number, by who asks; without a network, all together.
    askers: HashMap<(Option<u64>, PhoneHash), CountWindow>,
    networks: HashMap<u64, CountWindow>,
    guessing: HashMap<u64, CountWindow>,
}

/// A count since a moment.
#[derive(Debug, Default, Clone, Copy)]
struct CountWindow {
    began_s: u32,
    count: u32,
}

impl CountWindow {
    /// Seconds until another one is welcome, if not now.
    fn wait_s(self, limit: u32, window_s: u32, now_s: u32) -> Option<u32> {
        let ends_s = self.began_s.saturating_add(window_s);
        (limit > 0 && self.count >= limit && now_s < ends_s).then(|| ends_s - now_s)
    }

    fn count(&mut self, window_s: u32, now_s: u32) {
        if self.count == 0 || now_s >= self.began_s.saturating_add(window_s) {
            *self = Self { began_s: now_s, count: 0 };
        }
        self.count = self.count.saturating_add(1);
    }
}

/// So many at once, and then one after the other: when all that were had would have come one after the other.
#[derive(Debug, Default, Clone, Copy)]
struct Pace {
    even_at_s: u32,
}

impl Pace {
    fn interval_s(limit: u32) -> u32 {
        HOUR_S / limit.clamp(1, HOUR_S)
    }

    /// Seconds until another one is welcome, if not now. `limit`: at once, and in an hour.
    fn wait_s(self, limit: u32, now_s: u32) -> Option<u32> {
        let ahead_s = self.even_at_s.saturating_sub(now_s);
        let most_s = HOUR_S - Self::interval_s(limit);
        (limit > 0 && ahead_s > most_s).then(|| ahead_s - most_s)
    }

    fn count(&mut self, limit: u32, now_s: u32) {
        self.even_at_s = self.even_at_s.max(now_s).saturating_add(Self::interval_s(limit));
    }
}

impl RegistrationCounts {
    pub(super) fn new(limits: RegistrationLimits, tries: u32) -> Self {
        Self { limits, tries, ..Self::default() }
    }

    /// Somebody asks for a code. What is refused does not count.
    ///
    /// # Errors
    /// After so many seconds it is worth another try.
    pub(super) fn ask(&mut self, number: &PhoneHash, from: Option<IpAddr>, now_s: u32) -> Result<(), u32> {
        let RegistrationLimits { per_number_per_hour, per_address_per_hour, per_minute } = self.limits;
        let network = from.and_then(network::number);
        let (asker, together) = ((network, *number), per_number_per_hour.saturating_mul(TOGETHER));
        let of_asker = wait_s(&self.askers, Some(&asker), per_number_per_hour, now_s);
        let of_number = self.numbers.get(number).and_then(|pace| pace.wait_s(together, now_s));
        let of_network = wait_s(&self.networks, network.as_ref(), per_address_per_hour, now_s);
        let of_all = self.all.wait_s(per_minute, MINUTE_S, now_s);
        if let Some(longest_s) = of_asker.max(of_number).max(of_network).max(of_all) {
            return Err(longest_s);
        }
        self.all.count(MINUTE_S, now_s);
        self.askers.entry(asker).or_default().count(HOUR_S, now_s);
        if together > 0 {
            self.numbers.entry(*number).or_default().count(together, now_s);
        }
        if let Some(network) = network {
            self.networks.entry(network).or_default().count(HOUR_S, now_s);
        }
        Ok(())
    }

    /// Somebody says a code. An address may guess as often as the codes that it may ask for bear.
    ///
    /// # Errors
    /// As in [`Self::ask`].
    pub(super) fn guess(&mut self, from: Option<IpAddr>, now_s: u32) -> Result<(), u32> {
        let Some(network) = from.and_then(network::number) else { return Ok(()) };
        let limit = self.limits.per_address_per_hour.saturating_mul(self.tries);
        if let Some(wait_s) = wait_s(&self.guessing, Some(&network), limit, now_s) {
            return Err(wait_s);
        }
        if self.guessing.contains_key(&network) || self.guessing.len() < GUESSING_MAX {
            self.guessing.entry(network).or_default().count(HOUR_S, now_s);
        }
        Ok(())
    }

    /// Forgets what is over.
    pub(super) fn sweep(&mut self, now_s: u32) {
        let lasts = |window: &CountWindow| now_s < window.began_s.saturating_add(HOUR_S);
        self.numbers.retain(|_, pace| now_s < pace.even_at_s);
        self.askers.retain(|_, window| lasts(window));
        self.networks.retain(|_, window| lasts(window));
        self.guessing.retain(|_, window| lasts(window));
    }
}

fn wait_s<K: Eq + Hash>(counted: &HashMap<K, CountWindow>, key: Option<&K>, limit: u32, now_s: u32) -> Option<u32> {
    counted.get(key?)?.wait_s(limit, HOUR_S, now_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RegistrationLimits =
        RegistrationLimits { per_number_per_hour: 2, per_address_per_hour: 3, per_minute: 4 };

    fn at(addr: &str) -> Option<IpAddr> {
        Some(addr.parse().unwrap())
    }

    #[test]
    fn a_number_an_address_and_all_together_have_a_limit_each() {
        let mut counts = RegistrationCounts::new(LIMITS, 5);
        let number = |n: u8| [n; 32];
        for second in [100, 200] {
            assert_eq!(counts.ask(&number(1), at("192.0.2.1"), second), Ok(()));
        }
        assert_eq!(counts.ask(&number(1), at("192.0.2.1"), 300), Err(3_400), "for the number, from there");
        assert_eq!(counts.ask(&number(2), at("192.0.2.1"), 300), Ok(()));
        assert_eq!(counts.ask(&number(3), at("192.0.2.1"), 400), Err(3_300), "the address");
        assert_eq!(counts.ask(&number(1), at("192.0.2.2"), 400), Ok(()), "somebody else waits for nothing");
        for n in 5..8 {
            assert_eq!(counts.ask(&number(n), at("127.0.0.1"), 410), Ok(()));
        }
        assert_eq!(counts.ask(&number(9), at("127.0.0.1"), 420), Err(40), "all together");
        assert_eq!(counts.ask(&number(9), at("127.0.0.1"), 460), Ok(()));
        assert_eq!(counts.ask(&number(1), at("192.0.2.1"), 3_700), Ok(()), "an hour later");
    }

    #[test]
    fn strangers_slow_a_number_down_and_lock_nobody_out() {
        let limits = RegistrationLimits { per_number_per_hour: 5, per_address_per_hour: 20, per_minute: 60 };
        let mut counts = RegistrationCounts::new(limits, 5);
        let number = [1; 32];
        let mut sent = 0;
        let mut ask = |counts: &mut RegistrationCounts, at: Option<IpAddr>, now_s| {
            let asked = counts.ask(&number, at, now_s);
            sent += u32::from(asked.is_ok());
            (asked, sent)
        };
        for _ in 0..8 {
            _ = ask(&mut counts, at("192.0.2.1"), 0);
        }
        assert_eq!(ask(&mut counts, at("192.0.2.1"), 0), (Err(3_600), 5), "who asked waits");
        assert_eq!(ask(&mut counts, at("198.51.100.1"), 0), (Ok(()), 6), "who has the number does not");
        // From everywhere, all the time.
        for second in 0..7_200 {
            let from = IpAddr::V6(std::net::Ipv6Addr::from_bits((0x2001_0db8_0000_0000 + u128::from(second)) << 64));
            _ = ask(&mut counts, Some(from), second);
        }
        let (next, sent) = ask(&mut counts, at("203.0.113.1"), 7_200);
        assert!((24..=30).contains(&sent), "10 at once, then 10 in an hour: {sent}");
        assert!(next.err().is_none_or(|wait_s| wait_s <= 360), "a new one is never far: {next:?}");
    }

    #[test]
    fn an_address_guesses_as_often_as_its_codes_bear() {
        let mut counts = RegistrationCounts::new(LIMITS, 2);
        for _ in 0..6 {
            assert_eq!(counts.guess(at("2001:db8::1"), 0), Ok(()));
        }
        assert_eq!(counts.guess(at("2001:db8::2"), 0), Err(3_600), "the same /64");
        assert_eq!(counts.guess(at("2001:db8:0:1::1"), 0), Ok(()));
        assert_eq!(counts.guess(at("2001:db8::1"), 3_600), Ok(()));
    }

    #[test]
    fn what_is_over_is_forgotten_and_0_is_no_limit() {
        let mut counts = RegistrationCounts::new(RegistrationLimits::default(), 5);
        for n in 0..200 {
            assert_eq!(counts.ask(&[n; 32], at("192.0.2.1"), 0), Ok(()));
            assert_eq!(counts.guess(at("192.0.2.1"), 0), Ok(()));
        }
        counts.sweep(HOUR_S - 1);
        assert_eq!((counts.askers.len(), counts.networks.len(), counts.guessing.len()), (200, 1, 1));
        counts.sweep(HOUR_S);
        assert_eq!(
            (counts.numbers.len(), counts.askers.len(), counts.networks.len() + counts.guessing.len()),
            (0, 0, 0)
        );
    }
}
