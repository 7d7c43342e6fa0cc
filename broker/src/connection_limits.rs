//! Limits on connections and on failed logins, by network. A network is an IPv4 address or a /64 of IPv6: what one customer gets.
//!
//! Every connection holds a `ConnectionSlot` from being accepted until it is over. Connections from this machine itself count in
//! the totals only: they come from a proxy, whose clients cannot be told apart, or from the operator.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use godwit_schemas::network;
use parking_lot::Mutex;

use crate::pressure::{self, Pressure};
use crate::rejections::RejectCause;
use crate::timer::Ticks;

/// Most networks whose failed logins are remembered. Those of further networks are not.
const FAILED_NETWORKS_MAX: usize = 65_536;
/// Failed logins are forgotten when none has followed for so long.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Delay of the first login behind too many failed ones. Each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(8);

/// What one network, and all networks together, may have. 0 means no limit. The default is the product's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkLimits {
    /// Connections of one network.
    pub connections_per_address: u32,
    /// Unauthenticated connections in all: those without a CONNACK yet.
    pub unauthenticated: u32,
    /// Unauthenticated connections of one network.
    pub unauthenticated_per_address: u32,
    /// Failed logins of one network before its next ones are delayed.
    pub failed_logins: u32,
}

impl NetworkLimits {
    /// No limit at all.
    pub const UNLIMITED: Self =
        Self { connections_per_address: 0, unauthenticated: 0, unauthenticated_per_address: 0, failed_logins: 0 };
}

impl Default for NetworkLimits {
    fn default() -> Self {
        Self {
            connections_per_address: 4_096,
            unauthenticated: 20_000,
            unauthenticated_per_address: 512,
            failed_logins: 10,
        }
    }
}

/// Counts connections and failed logins, and gives slots.
#[derive(Debug)]
pub(crate) struct ConnectionLimiter {
    limits: NetworkLimits,
    pressure: Pressure,
    table: Mutex<LimiterTable>,
}

#[derive(Debug, Default)]
struct LimiterTable {
    unauthenticated: u32,
    networks: HashMap<u64, NetworkCount>,
    failed: HashMap<u64, FailedLogins>,
    swept_at: Option<Ticks>,
}

#[derive(Debug, Default)]
struct NetworkCount {
    connections: u32,
    unauthenticated: u32,
}

#[derive(Debug)]
struct FailedLogins {
    count: u32,
    last: Ticks,
}

/// A connection's place within the limits. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    limiter: Arc<ConnectionLimiter>,
    /// The client's address, for logs. `None`: the connection is no socket, or its proxy does not say.
    pub(crate) addr: Option<IpAddr>,
    unauthenticated: bool,
}

impl ConnectionLimiter {
    pub(crate) fn new(limits: NetworkLimits, pressure: Pressure) -> Arc<Self> {
        Arc::new(Self { limits, pressure, table: Mutex::default() })
    }

    /// A slot for an unauthenticated connection from this address.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(crate) fn acquire(self: &Arc<Self>, addr: Option<IpAddr>) -> Result<ConnectionSlot, RejectCause> {
        let NetworkLimits { connections_per_address, unauthenticated, unauthenticated_per_address, .. } = self.limits;
        let is_full = |count: u32, limit: u32| limit > 0 && count >= limit;
        let mut table = self.table.lock();
        if self.pressure.is_on() && table.unauthenticated >= pressure::UNAUTHENTICATED_MAX {
            return Err(RejectCause::Memory);
        }
        if is_full(table.unauthenticated, unauthenticated) {
            return Err(RejectCause::Unauthenticated);
        }
        if let Some(network) = addr.and_then(network::number) {
            let count = table.networks.entry(network).or_default();
            if is_full(count.connections, connections_per_address) {
                return Err(RejectCause::ConnectionsPerAddress);
            }
            if is_full(count.unauthenticated, unauthenticated_per_address) {
                return Err(RejectCause::UnauthenticatedPerAddress);
            }
            count.connections += 1;
            count.unauthenticated += 1;
        }
        table.unauthenticated += 1;
        Ok(ConnectionSlot { limiter: self.clone(), addr, unauthenticated: true })
    }
}

impl ConnectionLimiter {
    /// How many connections are unauthenticated, and of how many networks failed logins are remembered.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let table = self.table.lock();
        (table.unauthenticated as usize, table.failed.len())
    }
}

impl LimiterTable {
    /// Whether another network's failed logins can be remembered. Forgets old ones if the table is full, but not often, since that
    /// looks at all of them.
    fn has_room_for_failed(&mut self, now: Ticks) -> bool {
        if self.failed.len() >= FAILED_NETWORKS_MAX && self.swept_at.is_none_or(|at| now >= at.after(FORGET_AFTER / 10))
        {
            self.swept_at = Some(now);
            self.failed.retain(|_, failed| now < failed.last.after(FORGET_AFTER));
        }
        self.failed.len() < FAILED_NETWORKS_MAX
    }
}

impl ConnectionSlot {
    /// The client is authenticated: the connection counts among the unauthenticated ones no more.
    pub(crate) fn authenticated(&mut self) {
        self.release(true);
    }

    /// The client's password was wrong.
    pub(crate) fn login_failed(&self, now: Ticks) {
        let Some(network) = self.addr.and_then(network::number) else { return };
        let mut table = self.limiter.table.lock();
        if let Some(failed) = table.failed.get_mut(&network) {
            let count = if now < failed.last.after(FORGET_AFTER) { failed.count.saturating_add(1) } else { 1 };
            *failed = FailedLogins { count, last: now };
        } else if table.has_room_for_failed(now) {
            table.failed.insert(network, FailedLogins { count: 1, last: now });
        }
    }

    /// How long a login from this network is delayed, so that passwords cannot be guessed fast.
    pub(crate) fn login_delay(&self, now: Ticks) -> Option<Duration> {
        let free = self.limiter.limits.failed_logins;
        let network = self.addr.and_then(network::number).filter(|_| free > 0)?;
        let table = self.limiter.table.lock();
        let failed = table.failed.get(&network).filter(|failed| now < failed.last.after(FORGET_AFTER))?;
        let beyond = failed.count.checked_sub(free)?;
        Some(FIRST_DELAY.saturating_mul(1 << beyond.min(16)).min(LONGEST_DELAY))
    }

    /// Takes the connection off the count of unauthenticated ones, and off all counts unless it stays connected.
    fn release(&mut self, stays_connected: bool) {
        let was_unauthenticated = std::mem::replace(&mut self.unauthenticated, false);
        if stays_connected && !was_unauthenticated {
            return;
        }
        let mut table = self.limiter.table.lock();
        table.unauthenticated -= u32::from(was_unauthenticated);
        let Some(network) = self.addr.and_then(network::number) else { return };
        let Some(count) = table.networks.get_mut(&network) else { return };
        count.unauthenticated -= u32::from(was_unauthenticated);
        count.connections -= u32::from(!stays_connected);
        if count.connections == 0 {
            table.networks.remove(&network);
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.release(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(addr: &str) -> Option<IpAddr> {
        Some(addr.parse().unwrap())
    }

    #[test]
    fn connections_are_limited_by_network_and_in_total() {
        let limits = NetworkLimits {
            connections_per_address: 3,
            unauthenticated_per_address: 2,
            unauthenticated: 5,
            ..NetworkLimits::UNLIMITED
        };
        let limiter = ConnectionLimiter::new(limits, Pressure::default());
        let mut slots =
            vec![limiter.acquire(at("192.0.2.1")).unwrap(), limiter.acquire(at("::ffff:192.0.2.1")).unwrap()];
        assert_eq!(
            limiter.acquire(at("192.0.2.1")).err(),
            Some(RejectCause::UnauthenticatedPerAddress),
            "two unauthenticated"
        );
        slots[0].authenticated();
        slots[0].authenticated();
        slots.push(limiter.acquire(at("192.0.2.1")).unwrap());
        slots[1].authenticated();
        assert_eq!(
            limiter.acquire(at("192.0.2.1")).err(),
            Some(RejectCause::ConnectionsPerAddress),
            "three connections"
        );
        slots.push(limiter.acquire(at("2001:db8::1")).unwrap());
        slots.push(limiter.acquire(at("2001:db8::2")).unwrap());
        assert!(limiter.acquire(at("2001:db8:0:0:ffff::3")).is_err(), "the same /64");
        slots.push(limiter.acquire(at("2001:db8:0:1::3")).unwrap());
        slots.push(limiter.acquire(at("192.0.2.2")).unwrap());
        assert_eq!(
            limiter.acquire(at("192.0.2.3")).err(),
            Some(RejectCause::Unauthenticated),
            "five unauthenticated in all"
        );
        assert!(limiter.acquire(None).is_err());
        slots.pop();
        slots.push(limiter.acquire(at("192.0.2.3")).unwrap());
        drop(slots);
        let table = limiter.table.lock();
        assert_eq!((table.unauthenticated, table.networks.len()), (0, 0), "nothing is left");
    }

    #[test]
    fn connections_from_this_machine_count_in_total_only() {
        let limits = NetworkLimits {
            connections_per_address: 1,
            unauthenticated_per_address: 1,
            unauthenticated: 3,
            failed_logins: 1,
        };
        let limiter = ConnectionLimiter::new(limits, Pressure::default());
        let slots = [limiter.acquire(at("127.0.0.1")), limiter.acquire(at("127.0.0.1")), limiter.acquire(at("::1"))];
        assert!(slots.iter().all(Result::is_ok) && limiter.acquire(at("127.0.0.1")).is_err());
        let [Ok(slot), ..] = slots else { panic!("a place") };
        (0..5).for_each(|_| slot.login_failed(Ticks(1)));
        assert_eq!(slot.login_delay(Ticks(1)), None);
    }

    #[test]
    fn failed_logins_delay_the_next_ones_for_a_while() {
        let limiter =
            ConnectionLimiter::new(NetworkLimits { failed_logins: 2, ..NetworkLimits::UNLIMITED }, Pressure::default());
        let [slot, neighbour, other] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:1::1"].map(|addr| limiter.acquire(at(addr)).unwrap());
        let mut delays = Vec::new();
        for _ in 0..8 {
            delays.push(slot.login_delay(Ticks(1)).map_or(0, |delay| delay.as_millis()));
            slot.login_failed(Ticks(1));
        }
        assert_eq!(delays, [0, 0, 500, 1_000, 2_000, 4_000, 8_000, 8_000]);
        assert_eq!(neighbour.login_delay(Ticks(1)), Some(LONGEST_DELAY));
        assert_eq!(other.login_delay(Ticks(1)), None);
        let later = Ticks(1).after(FORGET_AFTER);
        assert_eq!(slot.login_delay(later), None);
        slot.login_failed(later);
        assert_eq!(slot.login_delay(later), None, "it begins anew");
    }

    #[test]
    fn remembered_failed_logins_are_bounded() {
        let limiter =
            ConnectionLimiter::new(NetworkLimits { failed_logins: 1, ..NetworkLimits::UNLIMITED }, Pressure::default());
        let fail = |n: usize, now| {
            let addr = IpAddr::V4((n as u32).into());
            limiter.acquire(Some(addr)).unwrap().login_failed(now);
        };
        (1 << 24..(1 << 24) + FAILED_NETWORKS_MAX + 10).for_each(|n| fail(n, Ticks(1)));
        assert_eq!(limiter.table.lock().failed.len(), FAILED_NETWORKS_MAX);
        fail(1 << 25, Ticks(1).after(FORGET_AFTER));
        assert_eq!(limiter.table.lock().failed.len(), 1, "those of long ago make room");
    }
}
