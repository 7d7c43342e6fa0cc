//! `replay`: a device comes back to a full inbox.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::control::Control;
use crate::handshake::{Hello, check_connack, connect_all};
use crate::packet::{self, Packet};
use crate::process::{self, ServerUse};
use crate::receiver::Expected;
use crate::sender::{LoadSender, check_body};
use crate::target::{Account, LoadTarget, TopicStyle};
use crate::violation::{DeliveryTracker, Violations};
use crate::wire::{Clock, Outbox, PacketHandler, Wire};

/// Unacknowledged publishes of each sender while the inbox is filled.
const WINDOW: usize = 200;
/// The run is given up, or what is missing is lost, when nothing happens for this long.
const PATIENCE: Duration = Duration::from_secs(15);
/// The server has nothing more to say when it is silent for this long.
const QUIET: Duration = Duration::from_millis(300);

/// Senders fill the inbox of a receiver that is offline but was subscribed before; then it connects and acknowledges
/// as fast as it can. MQTT 3.1.1 knows no window on its side.
///
/// Runs on one thread. A broker must be configured to queue this many messages for a client.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Messages in the inbox.
    pub messages: u64,
    /// Messages that go through the same inbox first, and are delivered, acknowledged and gone when it is measured.
    pub emptied: u64,
    /// Senders that they come from, at least 1.
    pub senders: usize,
    /// Size of a message, at least 24.
    pub body_bytes: usize,
}

/// How fast an inbox was emptied.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayReport {
    /// Messages that were acknowledged to their senders.
    pub messages: u64,
    /// Messages that had gone through the same inbox before.
    pub emptied: u64,
    /// Of every message.
    pub body_bytes: usize,
    /// Filling: messages acknowledged per second.
    pub stored_per_second: f64,
    /// From CONNECT to the first message.
    pub first_seconds: f64,
    /// From CONNECT to the last message.
    pub seconds: f64,
    /// Messages per second of that.
    pub messages_per_second: f64,
    /// What the server used for the replay, if its process is known.
    pub server: Option<ServerUse>,
    /// Processor time of the load generator for each message of the replay.
    pub generator_cpu_us_per_message: f64,
    /// Broken promises.
    pub violations: Violations,
}

impl Replay {
    pub(crate) fn run(&self, target: &LoadTarget, control: &Control) -> Result<ReplayReport> {
        check_body(self.body_bytes)?;
        ensure!(self.messages > 0 && self.senders > 0, "needs at least one message and one sender");
        let clock = Clock::start();
        let receiver = &target.accounts[0];
        if target.style == TopicStyle::Godwit {
            self.greet(target, clock, control).context("greet the senders")?;
        }
        let prepare = || visit(target, clock, receiver, false, control);
        prepare().context("subscribe the receiver")?;
        let mut violations = Violations::default();
        if self.emptied > 0 {
            let (mut reader, _) = self.fill(self.emptied, target, clock, control).context("fill the inbox before")?;
            reader.read_all(target, clock, control).context("empty the inbox before")?;
            violations = reader.finish();
        }
        let (mut reader, fill_seconds) = self.fill(self.messages, target, clock, control).context("fill the inbox")?;

        let before = target.sample()?;
        let own_before = process::own_cpu();
        let start = clock.now();
        reader.read_all(target, clock, control)?;
        let own_cpu = process::own_cpu().saturating_sub(own_before);
        let after = target.sample().context("the server has ended")?;
        if target.style == TopicStyle::Plain {
            visit(target, clock, receiver, true, control).context("remove the receiver's session")?;
        }
        ensure!(reader.received > 0, "nothing was replayed within {PATIENCE:?}");
        let since = |at: u64| (at - start) as f64 / 1e9;
        let server = before.zip(after);
        let (first, last, received) = (reader.first, reader.last, reader.received);
        let elapsed = Duration::from_nanos(last - start);
        violations.add(&reader.finish());
        Ok(ReplayReport {
            messages: self.messages,
            emptied: self.emptied,
            body_bytes: self.body_bytes,
            stored_per_second: self.messages as f64 / fill_seconds,
            first_seconds: since(first),
            seconds: since(last),
            messages_per_second: received as f64 / since(last),
            server: server.map(|(before, after)| ServerUse::between(&before, &after, elapsed, received)),
            generator_cpu_us_per_message: own_cpu.as_secs_f64() * 1e6 / received as f64,
            violations,
        })
    }

    /// The receiver writes to each sender first: who was written to is no stranger, whose messages wait only by the thousand.
    fn greet(&self, target: &LoadTarget, clock: Clock, control: &Control) -> Result<()> {
        let mut wire = Wire::new(clock, target.tls.clone())?;
        connect_all(&mut wire, target.addr, &[Hello::sender(&target.accounts[0])], 0, control, || {})?;
        for (sender, packet_id) in (1..=self.senders).zip(1..) {
            packet::publish_head(wire.out.to(0), &target.topic(sender), packet_id, 0);
        }
        let mut greeter = PubackCounter { left: self.senders };
        let end = clock.now() + PATIENCE.as_nanos() as u64;
        while greeter.left > 0 {
            ensure!(clock.now() < end, "no PUBACK for {PATIENCE:?}");
            wire.turn(QUIET, &mut greeter)?;
        }
        packet::disconnect(wire.out.to(0));
        wire.turn(Duration::ZERO, &mut Drain)?;
        Ok(())
    }

    /// Publishes `messages`; returns the receiver that expects them, and how many seconds it took.
    fn fill<'a>(
        &self,
        messages: u64,
        target: &'a LoadTarget,
        clock: Clock,
        control: &Control,
    ) -> Result<(ReturningReceiver<'a>, f64)> {
        let expected = Expected::new(self.body_bytes);
        let mut wire = Wire::new(clock, target.tls.clone())?;
        let hellos: Vec<Hello<'_>> = target.accounts[1..=self.senders].iter().map(Hello::sender).collect();
        connect_all(&mut wire, target.addr, &hellos, 0, control, || {})?;
        let start = clock.now();
        let topic = target.topic(0);
        let sender = |number| LoadSender::new(expected.run, number as u32, &topic, self.body_bytes);
        let share = |n: u64| messages / self.senders as u64 + u64::from(n < messages % self.senders as u64);
        let mut filler = Filler {
            senders: (0..self.senders).map(sender).collect(),
            shares: (0..self.senders as u64).map(share).collect(),
            acknowledged: 0,
        };
        for connection in 0..self.senders {
            filler.publish(&mut wire.out, connection, start);
        }
        let (mut progress, mut told) = ((0, start), start);
        while filler.acknowledged < messages {
            wire.turn(Duration::from_millis(100), &mut filler)?;
            let now = clock.now();
            if filler.acknowledged > progress.0 {
                progress = (filler.acknowledged, now);
            }
            ensure!(now - progress.1 < PATIENCE.as_nanos() as u64, "no PUBACK for {PATIENCE:?} after {}", progress.0);
            ensure!(!control.is_stopped(), "stopped while filling the inbox");
            if now - told >= 1_000_000_000 {
                control.say(&format!("replay: {} of {messages} messages stored", progress.0));
                told = now;
            }
        }
        let seconds = (clock.now() - start) as f64 / 1e9;
        for connection in 0..self.senders {
            packet::disconnect(wire.out.to(connection));
        }
        wire.turn(Duration::ZERO, &mut filler)?;
        Ok((ReturningReceiver::new(&target.accounts[0], target.filter(0), expected, filler.shares), seconds))
    }
}

/// Connects a receiver, acknowledges what is there, and disconnects: with `forget` its session ends, without it stays
/// behind, subscribed.
fn visit(target: &LoadTarget, clock: Clock, account: &Account, forget: bool, control: &Control) -> Result<()> {
    let mut wire = Wire::new(clock, target.tls.clone())?;
    let hello = Hello { clean_session: forget, ..Hello::receiver(account, target.filter(0)) };
    connect_all(&mut wire, target.addr, &[hello], 0, control, || {})?;
    let end = clock.now() + PATIENCE.as_nanos() as u64;
    while clock.now() < end && wire.turn(QUIET, &mut Drain)? {}
    packet::disconnect(wire.out.to(0));
    wire.turn(Duration::ZERO, &mut Drain)?;
    Ok(())
}

/// Counts what is acknowledged.
struct PubackCounter {
    left: usize,
}

impl PacketHandler for PubackCounter {
    fn packet(&mut self, _out: &mut Outbox, _connection: usize, _now: u64, packet: Packet<'_>) -> Result<()> {
        self.left -= usize::from(matches!(packet, Packet::Puback(_))).min(self.left);
        Ok(())
    }
}

/// Acknowledges and forgets.
struct Drain;

impl PacketHandler for Drain {
    fn packet(&mut self, out: &mut Outbox, connection: usize, _now: u64, packet: Packet<'_>) -> Result<()> {
        if let Packet::Publish(packet::Publish { packet_id: Some(packet_id), .. }) = packet {
            packet::puback(out.to(connection), packet_id);
        }
        Ok(())
    }

    /// After DISCONNECT the server closes.
    fn closed(&mut self, _connection: usize, _why: &str) -> Result<()> {
        Ok(())
    }
}

struct Filler {
    /// By connection.
    senders: Vec<LoadSender>,
    /// How many messages each is to send.
    shares: Vec<u64>,
    acknowledged: u64,
}

impl Filler {
    fn publish(&mut self, out: &mut Outbox, connection: usize, now: u64) {
        let sender = &mut self.senders[connection];
        while sender.next() < self.shares[connection] && sender.has_room(WINDOW) {
            sender.publish(out.to(connection), now);
        }
    }
}

impl PacketHandler for Filler {
    fn packet(&mut self, out: &mut Outbox, connection: usize, now: u64, packet: Packet<'_>) -> Result<()> {
        let Packet::Puback(identifier) = packet else { bail!("unexpected: {packet:?}") };
        self.senders[connection].acknowledge(identifier)?;
        self.acknowledged += 1;
        self.publish(out, connection, now);
        Ok(())
    }

    fn closed(&mut self, connection: usize, why: &str) -> Result<()> {
        let done = self.acknowledged == self.shares.iter().sum();
        ensure!(done, "sender {connection} was disconnected by the server: {why}");
        Ok(())
    }
}

/// The receiver that comes back.
struct ReturningReceiver<'a> {
    account: &'a Account,
    filter: String,
    expected: Expected,
    /// By sender.
    sent: Vec<u64>,
    trackers: Vec<DeliveryTracker>,
    received: u64,
    first: u64,
    last: u64,
    violations: Violations,
}

impl<'a> ReturningReceiver<'a> {
    fn new(account: &'a Account, filter: String, expected: Expected, sent: Vec<u64>) -> Self {
        let trackers = sent.iter().map(|_| DeliveryTracker::default()).collect();
        Self {
            account,
            filter,
            expected,
            sent,
            trackers,
            received: 0,
            first: 0,
            last: 0,
            violations: Violations::default(),
        }
    }

    /// Reads until everything is there and the server is quiet, or nothing comes for [`PATIENCE`].
    fn read_all(&mut self, target: &LoadTarget, clock: Clock, control: &Control) -> Result<()> {
        let mut wire = Wire::new(clock, target.tls.clone())?;
        let hello = Hello { clean_session: false, ..Hello::sender(self.account) };
        hello.open(&mut wire, target.addr, None)?;
        self.last = clock.now();
        let total: u64 = self.sent.iter().sum();
        let mut told = clock.now();
        while self.received < total && clock.now() - self.last < PATIENCE.as_nanos() as u64 {
            wire.turn(Duration::from_millis(100), self)?;
            ensure!(!control.is_stopped(), "stopped during the replay");
            if clock.now() - told >= 1_000_000_000 {
                control.say(&format!("replay: {} of {total} messages replayed", self.received));
                told = clock.now();
            }
        }
        // What comes now would be delivered twice.
        while wire.turn(QUIET, self)? {
            ensure!(clock.now() - self.last < PATIENCE.as_nanos() as u64, "the server does not come to rest");
        }
        packet::disconnect(wire.out.to(0));
        wire.turn(Duration::ZERO, &mut Drain)?;
        Ok(())
    }

    fn finish(mut self) -> Violations {
        let lost = self.trackers.iter().zip(&self.sent).map(|(tracker, &sent)| tracker.lost(sent, std::iter::empty()));
        self.violations.lost = lost.sum();
        self.violations
    }
}

impl PacketHandler for ReturningReceiver<'_> {
    fn packet(&mut self, out: &mut Outbox, connection: usize, now: u64, packet: Packet<'_>) -> Result<()> {
        match packet {
            Packet::Connack { session_present, code } => {
                check_connack(self.account, code)?;
                if !session_present {
                    packet::subscribe(out.to(connection), 1, &self.filter);
                }
            }
            Packet::Suback { code, .. } => ensure!(code <= 2, "the subscription to {:?} is refused", self.filter),
            Packet::Publish(publish) => {
                let Some(stamp) = self.expected.take(out.to(connection), &publish, &mut self.violations) else {
                    return Ok(());
                };
                let sender = stamp.sender as usize;
                if self.sent.get(sender).is_none_or(|&sent| stamp.sequence >= sent) {
                    self.violations.damaged += 1;
                    return Ok(());
                }
                self.trackers[sender].see(stamp.sequence, &mut self.violations);
                if self.received == 0 {
                    self.first = now;
                }
                self.received += 1;
                self.last = now;
            }
            other => bail!("unexpected: {other:?}"),
        }
        Ok(())
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, emptied, body_bytes, seconds, messages_per_second, .. } = self;
        writeln!(f, "replay: {messages} messages, {body_bytes} bytes, after {emptied}")?;
        writeln!(f, "  stored       {:.0} msg/s", self.stored_per_second)?;
        writeln!(f, "  replayed     {messages_per_second:.0} msg/s ({seconds:.3} s from CONNECT)")?;
        writeln!(f, "  first        {:.1} ms after CONNECT", self.first_seconds * 1e3)?;
        if let Some(server) = &self.server {
            writeln!(f, "  server       {server}")?;
        }
        writeln!(f, "  generator    {:.1} us CPU per message", self.generator_cpu_us_per_message)?;
        write!(f, "  violations   {}", self.violations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sequences: &[(u32, u64)]) -> Violations {
        let account = Account::anonymous(1).remove(0);
        let expected = Expected::new(50);
        let mut reader = ReturningReceiver::new(&account, "t".into(), expected, vec![3, 2]);
        let (mut out, mut packets) = (Outbox::with_connections(1), Vec::new());
        for &(sender, sequence) in sequences {
            let mut sender = LoadSender::new(expected.run, sender, "t", 50);
            for at in 0..=sequence {
                packets.clear();
                sender.publish(&mut packets, at);
            }
            let (packet, _) = packet::read(&packets, 1000).unwrap().unwrap();
            reader.packet(&mut out, 0, 7, packet).unwrap();
        }
        assert_eq!(reader.received, sequences.len() as u64);
        reader.finish()
    }

    #[test]
    fn each_sender_has_an_order_of_its_own() {
        let lost = |lost| Violations { lost, ..Violations::default() };
        assert_eq!(read(&[(0, 0), (1, 0), (1, 1), (0, 1), (0, 2)]), lost(0));
        assert_eq!(read(&[(0, 0), (1, 1)]), lost(3));
        assert_eq!(read(&[]), lost(5));
        let twice = read(&[(0, 0), (0, 1), (0, 1), (0, 2), (1, 0), (1, 1)]);
        assert_eq!(twice, Violations { duplicated: 1, ..Violations::default() });
        let swapped = read(&[(0, 1), (0, 0), (0, 2), (1, 0), (1, 1)]);
        assert_eq!(swapped, Violations { reordered: 1, ..Violations::default() });
    }
}
