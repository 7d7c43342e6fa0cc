//! How often codes may be asked for and guessed: of a number, from an address, in all. In memory, and so bounded: what is
//! counted over an hour is no more than what `per_minute` lets through in that time.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use godwit_schemas::network;

use crate::phone::PhoneHash;

const MINUTE_S: u32 = 60;
const HOUR_S: u32 = 3_600;
/// Networks whose guesses are counted. When there are more, the further ones are not: a code bears few guesses anyway.
const GUESSING_MAX: usize = 65_536;

/// 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Codes for one number in an hour.
    pub per_number_per_hour: u32,
    /// Codes asked for from one address (or IPv6 /64) in an hour. This machine has no limit: it is a proxy, whose clients
    /// are not known apart, or the operator.
    pub per_address_per_hour: u32,
    /// Codes in all in a minute.
    pub per_minute: u32,
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    limits: Limits,
    /// Guesses that one code bears.
    tries: u32,
    all: Window,
    numbers: HashMap<PhoneHash, Window>,
    networks: HashMap<u64, Window>,
    guessing: HashMap<u64, Window>,
}

/// A count since a moment.
#[derive(Debug, Default, Clone, Copy)]
struct Window {
    began_s: u32,
    count: u32,
}

impl Window {
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

impl Counts {
    pub(super) fn new(limits: Limits, tries: u32) -> Self {
        Self { limits, tries, ..Self::default() }
    }

    /// Somebody asks for a code. What is refused does not count.
    ///
    /// # Errors
    /// After so many seconds it is worth another try.
    pub(super) fn ask(&mut self, number: &PhoneHash, from: Option<IpAddr>, now_s: u32) -> Result<(), u32> {
        let Limits { per_number_per_hour, per_address_per_hour, per_minute } = self.limits;
        let network = from.and_then(network::number);
        let of_number = wait_s(&self.numbers, Some(number), per_number_per_hour, now_s);
        let of_network = wait_s(&self.networks, network.as_ref(), per_address_per_hour, now_s);
        let of_all = self.all.wait_s(per_minute, MINUTE_S, now_s);
        if let Some(longest_s) = of_number.max(of_network).max(of_all) {
            return Err(longest_s);
        }
        self.all.count(MINUTE_S, now_s);
        self.numbers.entry(*number).or_default().count(HOUR_S, now_s);
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
        let lasts = |window: &Window| now_s < window.began_s.saturating_add(HOUR_S);
        self.numbers.retain(|_, window| lasts(window));
        self.networks.retain(|_, window| lasts(window));
        self.guessing.retain(|_, window| lasts(window));
    }
}

fn wait_s<K: Eq + Hash>(counted: &HashMap<K, Window>, key: Option<&K>, limit: u32, now_s: u32) -> Option<u32> {
    counted.get(key?)?.wait_s(limit, HOUR_S, now_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { per_number_per_hour: 2, per_address_per_hour: 3, per_minute: 4 };

    fn at(addr: &str) -> Option<IpAddr> {
        Some(addr.parse().unwrap())
    }

    #[test]
    fn a_number_an_address_and_all_together_have_a_limit_each() {
        let mut counts = Counts::new(LIMITS, 5);
        let number = |n: u8| [n; 32];
        assert_eq!(counts.ask(&number(1), at("192.0.2.1"), 100), Ok(()));
        assert_eq!(counts.ask(&number(1), at("192.0.2.2"), 200), Ok(()));
        assert_eq!(counts.ask(&number(1), at("192.0.2.3"), 300), Err(3_400), "the number");
        assert_eq!(counts.ask(&number(2), at("192.0.2.1"), 300), Ok(()));
        assert_eq!(counts.ask(&number(3), at("192.0.2.1"), 300), Ok(()));
        assert_eq!(counts.ask(&number(4), at("192.0.2.1"), 400), Err(3_300), "the address");
        for n in 5..9 {
            assert_eq!(counts.ask(&number(n), at("127.0.0.1"), 500), Ok(()));
        }
        assert_eq!(counts.ask(&number(9), at("127.0.0.1"), 510), Err(50), "all together");
        assert_eq!(counts.ask(&number(9), at("127.0.0.1"), 560), Ok(()));
        assert_eq!(counts.ask(&number(1), at("192.0.2.1"), 3_700), Ok(()), "an hour later");
    }

    #[test]
    fn an_address_guesses_as_often_as_its_codes_bear() {
        let mut counts = Counts::new(LIMITS, 2);
        for _ in 0..6 {
            assert_eq!(counts.guess(at("2001:db8::1"), 0), Ok(()));
        }
        assert_eq!(counts.guess(at("2001:db8::2"), 0), Err(3_600), "the same /64");
        assert_eq!(counts.guess(at("2001:db8:0:1::1"), 0), Ok(()));
        assert_eq!(counts.guess(at("2001:db8::1"), 3_600), Ok(()));
    }

    #[test]
    fn what_is_over_is_forgotten_and_0_is_no_limit() {
        let mut counts = Counts::new(Limits::default(), 5);
        for n in 0..200 {
            assert_eq!(counts.ask(&[n; 32], at("192.0.2.1"), 0), Ok(()));
            assert_eq!(counts.guess(at("192.0.2.1"), 0), Ok(()));
        }
        counts.sweep(HOUR_S - 1);
        assert_eq!((counts.numbers.len(), counts.networks.len(), counts.guessing.len()), (200, 1, 1));
        counts.sweep(HOUR_S);
        assert_eq!((counts.numbers.len(), counts.networks.len(), counts.guessing.len()), (0, 0, 0));
    }
}
