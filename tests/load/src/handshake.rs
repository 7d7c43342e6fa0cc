//! Brings many clients to the point where traffic may start: connected, and subscribed where asked for. Every workload
//! begins here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::control::Control;
use crate::packet::{self, ConnectPacket, Packet};
use crate::target::Account;
use crate::wire::{Outbox, PacketHandler, Wire};

/// Handshakes under way at once, for each thread: enough to keep a server busy, too few to overflow its accept queue.
const PARALLEL: usize = 64;
/// A handshake that does not proceed for this long is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections from one source address: less than the kernel's default range of ephemeral ports.
const PER_SOURCE: usize = 25_000;

/// A client that is to be connected.
pub(crate) struct Hello<'a> {
    pub(crate) account: &'a Account,
    /// Subscribed to once connected.
    pub(crate) filter: Option<String>,
    /// 0: no keep-alive.
    pub(crate) keep_alive_s: u16,
    /// Ask for a new session; otherwise the session outlives the connection.
    pub(crate) clean_session: bool,
}

impl<'a> Hello<'a> {
    /// A client that only publishes.
    pub(crate) fn sender(account: &'a Account) -> Self {
        Self { account, filter: None, keep_alive_s: 0, clean_session: true }
    }

    /// A client that subscribes.
    pub(crate) fn receiver(account: &'a Account, filter: String) -> Self {
        Self { filter: Some(filter), ..Self::sender(account) }
    }

    /// Opens a connection and says CONNECT on it; returns its index.
    pub(crate) fn open(&self, wire: &mut Wire, addr: SocketAddr, from: Option<IpAddr>) -> Result<usize> {
        let connection = wire.open(addr, from)?;
        self.say(wire, connection);
        Ok(connection)
    }

    /// Gives up a connection, without a word, and opens another one in its place.
    pub(crate) fn open_again(
        &self,
        wire: &mut Wire,
        connection: usize,
        addr: SocketAddr,
        from: Option<IpAddr>,
    ) -> Result<()> {
        wire.open_again(connection, addr, from)?;
        self.say(wire, connection);
        Ok(())
    }

    fn say(&self, wire: &mut Wire, connection: usize) {
        let Account { user, device, password } = self.account;
        let Self { clean_session, keep_alive_s, .. } = *self;
        let connect = ConnectPacket { client_id: device, user, password, clean_session, keep_alive_s };
        packet::connect(wire.out.to(connection), &connect);
    }
}

/// Source address of the `nth` of many connections: one is enough up to 25,000; beyond that other loopback addresses
/// help out, if the server is on one.
pub(crate) fn source(addr: SocketAddr, nth: usize) -> Option<IpAddr> {
    let block = nth / PER_SOURCE;
    let loopback = addr.ip().is_loopback() && addr.is_ipv4();
    (loopback && block > 0).then(|| IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + block as u8)))
}

/// Connects all, in order, a bounded number at a time; `nth` numbers the first of them among all threads'. They get
/// the indices that follow `wire.len()`. `each` is called for every client that is ready.
///
/// What is delivered meanwhile is acknowledged and dropped: left over from another run.
///
/// # Errors
/// A client is refused or not answered in time; the others' connections are then of no use.
pub(crate) fn connect_all(
    wire: &mut Wire,
    addr: SocketAddr,
    hellos: &[Hello<'_>],
    nth: usize,
    control: &Control,
    each: impl FnMut(),
) -> Result<()> {
    let first = wire.len();
    let mut greeter = HandshakeHandler { hellos, first, waiting: HashMap::new(), ready: 0, each };
    let mut last = (0, wire.clock.now());
    while greeter.ready < hellos.len() {
        while greeter.waiting.len() < PARALLEL && wire.len() - first < hellos.len() {
            let at = wire.len() - first;
            let connection = hellos[at].open(wire, addr, source(addr, nth + at))?;
            greeter.waiting.insert(connection, Step::Connack);
        }
        let context = || format!("connect to {addr}: {} of {} clients are connected", last.0, hellos.len());
        wire.turn(Duration::from_millis(100), &mut greeter).with_context(context)?;
        let now = wire.clock.now();
        if greeter.ready > last.0 {
            last = (greeter.ready, now);
        }
        let patient = now - last.1 < PATIENCE.as_nanos() as u64;
        ensure!(patient, "connect to {addr}: no answer within {PATIENCE:?}; {} are connected", greeter.ready);
        ensure!(!control.is_stopped(), "stopped while connecting");
    }
    Ok(())
}

enum Step {
    Connack,
    Suback,
}

struct HandshakeHandler<'a, F> {
    hellos: &'a [Hello<'a>],
    first: usize,
    waiting: HashMap<usize, Step>,
    ready: usize,
    each: F,
}

impl<F: FnMut()> HandshakeHandler<'_, F> {
    fn ready(&mut self, connection: usize) {
        self.waiting.remove(&connection);
        self.ready += 1;
        (self.each)();
    }
}

impl<F: FnMut()> PacketHandler for HandshakeHandler<'_, F> {
    fn packet(&mut self, out: &mut Outbox, connection: usize, _now: u64, packet: Packet<'_>) -> Result<()> {
        match (packet, self.waiting.get(&connection)) {
            (Packet::Connack { code, .. }, Some(Step::Connack)) => {
                let hello = &self.hellos[connection - self.first];
                check_connack(hello.account, code)?;
                match &hello.filter {
                    Some(filter) => {
                        packet::subscribe(out.to(connection), 1, filter);
                        self.waiting.insert(connection, Step::Suback);
                    }
                    None => self.ready(connection),
                }
            }
            (Packet::Suback { code, .. }, Some(Step::Suback)) => {
                let hello = &self.hellos[connection - self.first];
                ensure!(code <= 2, "{}: the subscription to {:?} is refused", hello.account.device, hello.filter);
                self.ready(connection);
            }
            (Packet::Publish(publish), _) => out.acknowledge(connection, &publish),
            (other, _) => bail!("unexpected while connecting: {other:?}"),
        }
        Ok(())
    }

    fn closed(&mut self, connection: usize, why: &str) -> Result<()> {
        let Account { device, .. } = self.hellos[connection - self.first].account;
        bail!("the connection of {device} is closed: {why}")
    }
}

/// The return codes of MQTT 3.1.1, table 3.1.
pub(crate) fn check_connack(account: &Account, code: u8) -> Result<()> {
    let why = match code {
        0 => return Ok(()),
        1 => "unacceptable protocol version",
        2 => "identifier rejected",
        3 => "server unavailable",
        4 => "bad user name or password",
        5 => "not authorized",
        _ => "unknown return code",
    };
    bail!("{}/{}: refused with code {code}: {why}", account.user, account.device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_spread_over_loopback_only() {
        let loopback = "127.0.0.1:1883".parse().unwrap();
        assert_eq!(source(loopback, 24_999), None);
        assert_eq!(source(loopback, 25_000), Some("127.0.0.2".parse().unwrap()));
        assert_eq!(source(loopback, 99_999), Some("127.0.0.4".parse().unwrap()));
        assert_eq!(source("192.0.2.1:1883".parse().unwrap(), 99_999), None);
        assert_eq!(source("[::1]:1883".parse().unwrap(), 99_999), None);
    }
}
