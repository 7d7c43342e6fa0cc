//! Who is connected from where: bounds on connections, and on failed logins, of one network. A network is an IPv4 address
//! or a /64 of IPv6, which is what one customer gets.
//!
//! Every connection holds a `Stay` from being accepted until it is over. What comes from this machine itself counts
//! only in total: it is a proxy, whose clients are not known apart, or the operator.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use godwit_schemas::network;
use parking_lot::Mutex;

use crate::pressure::{self, Pressure};
use crate::timer::Ticks;

/// Networks whose failed logins are remembered. When there are more, the further ones are not.
const FAILED_MAX: usize = 65_536;
/// After so long without another one, failed logins are forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// What the first login behind too many failed ones waits; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// It never waits longer.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// What one network, or all together, may have. 0: as much as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Connections of a network.
    pub connections_per_address: u32,
    /// Connections that have not been welcomed yet.
    pub strangers: u32,
    /// Those of a network.
    pub strangers_per_address: u32,
    /// Failed logins of a network, before the next ones have to wait.
    pub failed_logins: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Guests {
    limits: Limits,
    pressure: Pressure,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    strangers: u32,
    networks: HashMap<u64, Count>,
    failed: HashMap<u64, Failed>,
    swept_at: Option<Ticks>,
}

#[derive(Debug, Default)]
struct Count {
    connections: u32,
    strangers: u32,
}

#[derive(Debug)]
struct Failed {
    count: u32,
    last: Ticks,
}

/// A connection's place. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Stay {
    guests: Arc<Guests>,
    /// As logs tell it. `None`: the connection is no socket, or its proxy does not say.
    pub(crate) addr: Option<IpAddr>,
    stranger: bool,
}

impl Guests {
    pub(crate) fn new(limits: Limits, pressure: Pressure) -> Arc<Self> {
        Arc::new(Self { limits, pressure, table: Mutex::default() })
    }

    /// A place for whoever comes from there. `None`: there is none.
    pub(crate) fn enter(self: &Arc<Self>, addr: Option<IpAddr>) -> Option<Stay> {
        let Limits { connections_per_address, strangers, strangers_per_address, .. } = self.limits;
        let is_full = |count: u32, limit: u32| limit > 0 && count >= limit;
        let mut table = self.table.lock();
        let pressed = self.pressure.is_on() && table.strangers >= pressure::STRANGERS;
        if pressed || is_full(table.strangers, strangers) {
            return None;
        }
        if let Some(network) = addr.and_then(network::number) {
            let count = table.networks.entry(network).or_default();
            if is_full(count.connections, connections_per_address) || is_full(count.strangers, strangers_per_address) {
                return None;
            }
            count.connections += 1;
            count.strangers += 1;
        }
        table.strangers += 1;
        Some(Stay { guests: self.clone(), addr, stranger: true })
    }
}

impl Table {
    /// Makes room among the failed logins, at most once in a while: it looks at all of them.
    fn has_room_for_failed(&mut self, now: Ticks) -> bool {
        if self.failed.len() >= FAILED_MAX && self.swept_at.is_none_or(|at| now >= at.after(FORGET / 10)) {
            self.swept_at = Some(now);
            self.failed.retain(|_, failed| now < failed.last.after(FORGET));
        }
        self.failed.len() < FAILED_MAX
    }
}

impl Stay {
    /// The connection is welcome.
    pub(crate) fn is_known(&mut self) {
        self.lose(true);
    }

    /// Its password was wrong.
    pub(crate) fn has_failed(&self, now: Ticks) {
        let Some(network) = self.addr.and_then(network::number) else { return };
        let mut table = self.guests.table.lock();
        if let Some(failed) = table.failed.get_mut(&network) {
            let count = if now < failed.last.after(FORGET) { failed.count.saturating_add(1) } else { 1 };
            *failed = Failed { count, last: now };
        } else if table.has_room_for_failed(now) {
            table.failed.insert(network, Failed { count: 1, last: now });
        }
    }

    /// How long a login from there has to wait: nobody guesses fast.
    pub(crate) fn wait(&self, now: Ticks) -> Option<Duration> {
        let free = self.guests.limits.failed_logins;
        let network = self.addr.and_then(network::number).filter(|_| free > 0)?;
        let table = self.guests.table.lock();
        let failed = table.failed.get(&network).filter(|failed| now < failed.last.after(FORGET))?;
        let beyond = failed.count.checked_sub(free)?;
        Some(FIRST_WAIT.saturating_mul(1 << beyond.min(16)).min(LONGEST_WAIT))
    }

    fn lose(&mut self, stays: bool) {
        let was_stranger = std::mem::replace(&mut self.stranger, false);
        if stays && !was_stranger {
            return;
        }
        let mut table = self.guests.table.lock();
        table.strangers -= u32::from(was_stranger);
        let Some(network) = self.addr.and_then(network::number) else { return };
        let Some(count) = table.networks.get_mut(&network) else { return };
        count.strangers -= u32::from(was_stranger);
        count.connections -= u32::from(!stays);
        if count.connections == 0 {
            table.networks.remove(&network);
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.lose(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(addr: &str) -> Option<IpAddr> {
        Some(addr.parse().unwrap())
    }

    #[test]
    fn each_network_has_its_own_places() {
        let limits = Limits { connections_per_address: 3, strangers_per_address: 2, strangers: 5, ..Limits::default() };
        let guests = Guests::new(limits, Pressure::default());
        let mut stays = vec![guests.enter(at("192.0.2.1")).unwrap(), guests.enter(at("::ffff:192.0.2.1")).unwrap()];
        assert!(guests.enter(at("192.0.2.1")).is_none(), "two strangers");
        stays[0].is_known();
        stays[0].is_known();
        stays.push(guests.enter(at("192.0.2.1")).unwrap());
        stays[1].is_known();
        assert!(guests.enter(at("192.0.2.1")).is_none(), "three connections");
        stays.push(guests.enter(at("2001:db8::1")).unwrap());
        stays.push(guests.enter(at("2001:db8::2")).unwrap());
        assert!(guests.enter(at("2001:db8:0:0:ffff::3")).is_none(), "the same /64");
        stays.push(guests.enter(at("2001:db8:0:1::3")).unwrap());
        stays.push(guests.enter(at("192.0.2.2")).unwrap());
        assert!(guests.enter(at("192.0.2.3")).is_none(), "five strangers in all");
        assert!(guests.enter(None).is_none());
        stays.pop();
        stays.push(guests.enter(at("192.0.2.3")).unwrap());
        drop(stays);
        let table = guests.table.lock();
        assert_eq!((table.strangers, table.networks.len()), (0, 0), "nothing is left");
    }

    #[test]
    fn this_machine_counts_in_total_only() {
        let limits = Limits { connections_per_address: 1, strangers_per_address: 1, strangers: 3, failed_logins: 1 };
        let guests = Guests::new(limits, Pressure::default());
        let stays = [guests.enter(at("127.0.0.1")), guests.enter(at("127.0.0.1")), guests.enter(at("::1"))];
        assert!(stays.iter().all(Option::is_some) && guests.enter(at("127.0.0.1")).is_none());
        let [Some(stay), ..] = stays else { panic!("a place") };
        (0..5).for_each(|_| stay.has_failed(Ticks(1)));
        assert_eq!(stay.wait(Ticks(1)), None);
    }

    #[test]
    fn failed_logins_make_the_next_ones_wait_for_a_while() {
        let guests = Guests::new(Limits { failed_logins: 2, ..Limits::default() }, Pressure::default());
        let [stay, neighbour, other] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:1::1"].map(|addr| guests.enter(at(addr)).unwrap());
        let mut waits = Vec::new();
        for _ in 0..8 {
            waits.push(stay.wait(Ticks(1)).map_or(0, |wait| wait.as_millis()));
            stay.has_failed(Ticks(1));
        }
        assert_eq!(waits, [0, 0, 500, 1_000, 2_000, 4_000, 8_000, 8_000]);
        assert_eq!(neighbour.wait(Ticks(1)), Some(LONGEST_WAIT));
        assert_eq!(other.wait(Ticks(1)), None);
        let later = Ticks(1).after(FORGET);
        assert_eq!(stay.wait(later), None);
        stay.has_failed(later);
        assert_eq!(stay.wait(later), None, "it begins anew");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let guests = Guests::new(Limits { failed_logins: 1, ..Limits::default() }, Pressure::default());
        let fail = |n: usize, now| {
            let addr = IpAddr::V4((n as u32).into());
            guests.enter(Some(addr)).unwrap().has_failed(now);
        };
        (1 << 24..(1 << 24) + FAILED_MAX + 10).for_each(|n| fail(n, Ticks(1)));
        assert_eq!(guests.table.lock().failed.len(), FAILED_MAX);
        fail(1 << 25, Ticks(1).after(FORGET));
        assert_eq!(guests.table.lock().failed.len(), 1, "those of long ago make room");
    }
}
