//! `connections`: many clients that do nothing. What does each cost, and how fast do they get in?

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::control::Control;
use crate::handshake::{Hello, connect_all};
use crate::packet::{self, Packet};
use crate::process::{self, Sample};
use crate::target::LoadTarget;
use crate::wire::{Clock, Outbox, PacketHandler, Wire};

/// What clients promise in CONNECT; each pings twice as often.
const KEEP_ALIVE_S: u16 = 60;
/// Time for the server to finish what connecting has started, before its memory is read.
const SETTLE: Duration = Duration::from_secs(1);
/// A PINGRESP that does not come within this time means that the connection is dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects as many clients as it can at once, 64 for each thread, and holds them.
#[derive(Debug, Clone)]
pub struct Connections {
    /// How many. Beyond 25,000 they come from several loopback addresses, if the server is on one.
    pub count: usize,
    /// Subscribe each to its inbox, as real clients do; the connect rate then includes the SUBACK.
    pub subscribe: bool,
    /// How long they stay, with keep-alive pings, before each has to answer a last one.
    pub hold: Duration,
}

/// What connections cost.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectionsReport {
    /// Connections made.
    pub connections: usize,
    /// Whether each is subscribed to something.
    pub subscribed: bool,
    /// From the first TCP connection to the last CONNACK (or SUBACK).
    pub seconds: f64,
    /// Per second of that.
    pub connects_per_second: f64,
    /// Processor time of the load generator for each.
    pub generator_cpu_us_per_connect: f64,
    /// What the server used for them, if its process is known.
    pub server: Option<ConnectionsUse>,
    /// How long they were held.
    pub held_seconds: f64,
    /// Connections that answered a PINGREQ after that.
    pub alive: usize,
}

/// The server's side of many connections.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ConnectionsUse {
    /// Processor time of one connect.
    pub cpu_us_per_connect: f64,
    /// Context switches for one connect.
    pub switches_per_connect: f64,
    /// Bytes sent to a disk for one connect; absent if the kernel does not tell us.
    pub written_bytes_per_connect: Option<f64>,
    /// User-space memory of one connection: growth of RssAnon, a second after the last was made. Means something only
    /// if the server was started for this run: later ones reuse the heap that earlier ones left, or shrink it.
    pub memory_bytes_per_connection: f64,
    /// RssAnon before.
    pub memory_before_bytes: u64,
    /// RssAnon with all connections.
    pub memory_after_bytes: u64,
}

enum ConnectionsNote {
    Ready,
    /// How many of a thread's clients were alive at the end.
    Ended(Result<usize>),
}

struct ConnectionsShared<'a> {
    workload: &'a Connections,
    target: &'a LoadTarget,
    control: &'a Control,
    clock: Clock,
    connected: AtomicU64,
    /// Set when the hold begins.
    hold_until: OnceLock<u64>,
}

impl Connections {
    pub(crate) fn run(&self, target: &LoadTarget, control: &Control) -> Result<ConnectionsReport> {
        ensure!(self.count > 0, "needs at least one connection");
        let shared = ConnectionsShared {
            workload: self,
            target,
            control,
            clock: Clock::start(),
            connected: AtomicU64::new(0),
            hold_until: OnceLock::new(),
        };
        let threads = target.threads.min(self.count);
        thread::scope(|scope| {
            let (notes, inbox) = mpsc::channel();
            for thread in 0..threads {
                let (shared, notes) = (&shared, notes.clone());
                scope.spawn(move || {
                    let result = client_thread(shared, thread, threads, &notes);
                    // Nobody listens any more when another thread has failed.
                    let _ = notes.send(ConnectionsNote::Ended(result));
                });
            }
            drop(notes);
            let result = self.conduct(&shared, threads, &inbox);
            shared.hold_until.get_or_init(|| 0);
            result
        })
    }

    fn conduct(
        &self,
        shared: &ConnectionsShared<'_>,
        threads: usize,
        notes: &mpsc::Receiver<ConnectionsNote>,
    ) -> Result<ConnectionsReport> {
        let ConnectionsShared { target, control, clock, .. } = shared;
        let before = target.sample()?;
        let (start, own_before) = (clock.now(), process::own_cpu());
        let mut ready = 0;
        while ready < threads {
            match notes.recv_timeout(Duration::from_secs(1)) {
                Ok(ConnectionsNote::Ready) => ready += 1,
                Ok(ConnectionsNote::Ended(result)) => drop(result?),
                Err(RecvTimeoutError::Timeout) => {
                    control.say(&format!("connections: {} connected", shared.connected.load(Relaxed)));
                }
                Err(RecvTimeoutError::Disconnected) => bail!("a thread of the load generator has panicked"),
            }
        }
        let (connected, own_cpu) = (clock.now(), process::own_cpu().saturating_sub(own_before));
        thread::sleep(SETTLE);
        let after = target.sample().context("the server has ended")?;
        let held = clock.now();
        shared.hold_until.get_or_init(|| held + self.hold.as_nanos() as u64);
        let (mut alive, mut ended, mut held_until) = (0, 0, None);
        while ended < threads {
            match notes.recv_timeout(Duration::from_secs(1)) {
                Ok(ConnectionsNote::Ended(count)) => {
                    alive += count?;
                    ended += 1;
                    held_until.get_or_insert_with(|| clock.now());
                }
                Ok(ConnectionsNote::Ready) => {}
                Err(RecvTimeoutError::Timeout) => control.say(&format!("connections: holding {}", self.count)),
                Err(RecvTimeoutError::Disconnected) => bail!("a thread of the load generator has panicked"),
            }
        }
        let seconds = (connected - start) as f64 / 1e9;
        Ok(ConnectionsReport {
            connections: self.count,
            subscribed: self.subscribe,
            seconds,
            connects_per_second: self.count as f64 / seconds,
            generator_cpu_us_per_connect: own_cpu.as_secs_f64() * 1e6 / self.count as f64,
            server: before.zip(after).map(|(before, after)| ConnectionsUse::between(&before, &after, self.count)),
            held_seconds: (held_until.unwrap_or(held) - held) as f64 / 1e9,
            alive,
        })
    }
}

/// Connects this thread's share, holds it, and counts who is left.
fn client_thread(
    shared: &ConnectionsShared<'_>,
    thread: usize,
    threads: usize,
    notes: &Sender<ConnectionsNote>,
) -> Result<usize> {
    let ConnectionsShared { workload, target, control, clock, .. } = shared;
    let (first, end) = (thread * workload.count / threads, (thread + 1) * workload.count / threads);
    let hello = |nth: usize| {
        let filter = workload.subscribe.then(|| target.filter(nth));
        Hello { filter, keep_alive_s: KEEP_ALIVE_S, ..Hello::sender(&target.accounts[nth]) }
    };
    let hellos: Vec<Hello<'_>> = (first..end).map(hello).collect();
    let mut wire = Wire::new(*clock, target.tls.clone())?;
    connect_all(&mut wire, target.addr, &hellos, first, control, || {
        shared.connected.fetch_add(1, Relaxed);
    })?;
    drop(hellos);
    let _ = notes.send(ConnectionsNote::Ready);
    let mut idle = Idle { answers: 0, open: vec![true; end - first] };
    idle.hold(&mut wire, shared)?;
    let alive = idle.roll_call(&mut wire)?;
    for connection in 0..idle.open.len() {
        packet::disconnect(wire.out.to(connection));
    }
    wire.turn(Duration::ZERO, &mut idle)?;
    Ok(alive)
}

/// Clients that only ping.
struct Idle {
    answers: usize,
    open: Vec<bool>,
}

impl Idle {
    /// Pings everybody in turn, spread evenly, until the hold ends.
    fn hold(&mut self, wire: &mut Wire, shared: &ConnectionsShared<'_>) -> Result<()> {
        let (start, count) = (wire.clock.now(), self.open.len());
        let period_ns = f64::from(KEEP_ALIVE_S) / 2.0 * 1e9;
        let mut pinged = 0;
        loop {
            let now = wire.clock.now();
            let ends = shared.hold_until.get().is_some_and(|&until| now >= until || shared.control.is_stopped());
            if ends {
                return Ok(());
            }
            let due = ((now - start) as f64 / period_ns * count as f64) as usize;
            while pinged < due {
                packet::pingreq(wire.out.to(pinged % count));
                pinged += 1;
            }
            wire.turn(Duration::from_millis(100), self)?;
        }
    }

    /// Pings everybody once more, after earlier pings were answered, and returns how many answer.
    fn roll_call(&mut self, wire: &mut Wire) -> Result<usize> {
        while wire.turn(Duration::from_millis(200), self)? {}
        self.answers = 0;
        (0..self.open.len()).for_each(|connection| packet::pingreq(wire.out.to(connection)));
        let end = wire.clock.now() + PATIENCE.as_nanos() as u64;
        while self.answers < self.open.iter().filter(|&&open| open).count() && wire.clock.now() < end {
            wire.turn(Duration::from_millis(100), self)?;
        }
        Ok(self.answers)
    }
}

impl PacketHandler for Idle {
    fn packet(&mut self, out: &mut Outbox, connection: usize, _now: u64, packet: Packet<'_>) -> Result<()> {
        match packet {
            Packet::Pingresp => self.answers += 1,
            Packet::Publish(publish) => out.acknowledge(connection, &publish),
            other => bail!("unexpected: {other:?}"),
        }
        Ok(())
    }

    fn closed(&mut self, connection: usize, _why: &str) -> Result<()> {
        self.open[connection] = false;
        Ok(())
    }
}

impl ConnectionsUse {
    fn between(before: &Sample, after: &Sample, count: usize) -> Self {
        let cpu = after.cpu.saturating_sub(before.cpu);
        let memory = after.anonymous_bytes as f64 - before.anonymous_bytes as f64;
        let written = after.written_bytes.zip(before.written_bytes).map(|(after, before)| after.saturating_sub(before));
        Self {
            cpu_us_per_connect: cpu.as_secs_f64() * 1e6 / count as f64,
            switches_per_connect: after.switches.saturating_sub(before.switches) as f64 / count as f64,
            written_bytes_per_connect: written.map(|bytes| bytes as f64 / count as f64),
            memory_bytes_per_connection: memory / count as f64,
            memory_before_bytes: before.anonymous_bytes,
            memory_after_bytes: after.anonymous_bytes,
        }
    }
}

impl ConnectionsReport {
    pub(crate) fn is_clean(&self) -> bool {
        self.alive == self.connections
    }
}

impl fmt::Display for ConnectionsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, seconds, connects_per_second, .. } = self;
        let subscribed = if self.subscribed { ", subscribed" } else { "" };
        writeln!(f, "connections: {connections} idle{subscribed}")?;
        writeln!(f, "  connected    {connects_per_second:.0} per second ({seconds:.2} s)")?;
        if let Some(server) = &self.server {
            let bytes = server.memory_bytes_per_connection;
            writeln!(f, "  memory       {bytes:.0} bytes of the server's heap per connection")?;
            let ConnectionsUse { cpu_us_per_connect, switches_per_connect, .. } = server;
            write!(f, "  server       {cpu_us_per_connect:.1} us CPU, {switches_per_connect:.2} context switches")?;
            let written = server.written_bytes_per_connect.map(|bytes| format!(", {bytes:.0} bytes to disk"));
            writeln!(f, "{} per connect", written.unwrap_or_default())?;
        }
        writeln!(f, "  generator    {:.1} us CPU per connect", self.generator_cpu_us_per_connect)?;
        write!(f, "  alive        {} of {connections} after {:.1} s", self.alive, self.held_seconds)?;
        if self.is_clean() { Ok(()) } else { write!(f, "\n  *** {} CONNECTIONS LOST ***", connections - self.alive) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty::{Fault, start};
    use crate::target::{Account, TopicStyle};

    fn check(fault: Fault, alive: usize) {
        let (addr, accounts) = (start(fault), Account::anonymous(100));
        let server_pid = Some(std::process::id());
        let target = LoadTarget { addr, tls: None, style: TopicStyle::Plain, accounts, server_pid, threads: 2 };
        let workload = Connections { count: 100, subscribe: true, hold: Duration::ZERO };
        let report = workload.run(&target, &Control::new(|_| {})).unwrap();
        assert_eq!((report.connections, report.alive), (100, alive));
        assert_eq!(report.is_clean(), alive == 100);
        assert!(report.server.is_some());
    }

    #[test]
    fn the_living_are_counted() {
        check(Fault::Nothing, 100);
        check(Fault::HangUp, 0);
    }
}
