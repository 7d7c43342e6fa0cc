//! One thread of an exchange.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::{Drive, ExchangeShared, Times};
use crate::handshake::{Hello, connect_all};
use crate::latency::Latency;
use crate::pace::SendSchedule;
use crate::packet::{self, Packet, Publish};
use crate::sender::LoadSender;
use crate::violation::{DeliveryTracker, Violations};
use crate::wire::{Outbox, PacketHandler, Wire};

/// How often a thread looks up from its sockets.
const GLANCE: Duration = Duration::from_millis(10);
/// Bytes that may wait for a socket before an open loop holds its messages back.
const BACKLOG_MAX: usize = 1 << 20;

/// What a thread found.
pub(super) struct Tally {
    /// Within the measurement, as `delivered`.
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) acknowledged: Latency,
    pub(super) delivery: Latency,
    pub(super) lateness: Latency,
    pub(super) unacknowledged: u64,
    pub(super) unsent: u64,
    pub(super) violations: Violations,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            published: 0,
            delivered: 0,
            acknowledged: Latency::new(),
            delivery: Latency::new(),
            lateness: Latency::new(),
            unacknowledged: 0,
            unsent: 0,
            violations: Violations::default(),
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.delivered += other.delivered;
        self.acknowledged.add(&other.acknowledged);
        self.delivery.add(&other.delivery);
        self.lateness.add(&other.lateness);
        self.unacknowledged += other.unacknowledged;
        self.unsent += other.unsent;
        self.violations.add(&other.violations);
    }
}

/// Connects this thread's share of the channels, says `ready`, and takes part in the run.
pub(super) fn work(shared: &ExchangeShared<'_>, thread: usize, threads: usize, ready: impl FnOnce()) -> Result<Tally> {
    let ExchangeShared { target, plan, .. } = shared;
    let mut wire = Wire::new(shared.clock, shared.target.tls.clone())?;
    let mine: Vec<usize> = (thread..plan.channels.len()).step_by(threads).collect();
    let (mut hellos, mut channels, mut roles) = (Vec::new(), Vec::new(), Vec::new());
    for &number in &mine {
        let channel = &plan.channels[number];
        let sender = LoadSender::new(shared.expected.run, number as u32, &channel.topic, plan.body_bytes);
        roles.push(ConnectionRole::Sender(channels.len()));
        hellos.push(Hello::sender(&target.accounts[channel.sender]));
        for (receiver, filter) in &channel.receivers {
            roles.push(ConnectionRole::Receiver { channel: channels.len(), tracker: DeliveryTracker::default() });
            hellos.push(Hello::receiver(&target.accounts[*receiver], filter.clone()));
        }
        let receivers = channel.receivers.len();
        channels.push(RunningChannel {
            sender,
            number,
            connection: roles.len() - 1 - receivers,
            receivers,
            advanced: 0,
        });
    }
    connect_all(&mut wire, target.addr, &hellos, thread * hellos.len(), shared.control, || {
        shared.connected.fetch_add(1, Relaxed);
    })?;
    ready();
    // Until the run begins, everybody only acknowledges what is left over from another one.
    let never = Times { begin: u64::MAX, from: u64::MAX, until: 0 };
    let pace = match plan.drive {
        Drive::Open { per_second } => Some(SendSchedule::new(mine, plan.channels.len(), per_second)),
        Drive::Closed { .. } => None,
    };
    let mut worker = Worker { shared, times: never, lanes: channels, roles, pace, tally: Tally::default(), fresh: 0 };
    worker.run(&mut wire)?;
    Ok(worker.finish(&mut wire))
}

/// A channel while it runs.
struct RunningChannel {
    sender: LoadSender,
    /// The sender's, among all threads'.
    number: usize,
    /// The sender's.
    connection: usize,
    receivers: usize,
    /// How far the receivers have come, added up.
    advanced: u64,
}

/// What a connection is for.
enum ConnectionRole {
    Sender(usize),
    Receiver { channel: usize, tracker: DeliveryTracker },
}

struct Worker<'a> {
    shared: &'a ExchangeShared<'a>,
    times: Times,
    lanes: Vec<RunningChannel>,
    /// By connection.
    roles: Vec<ConnectionRole>,
    /// Of an open loop.
    pace: Option<SendSchedule>,
    tally: Tally,
    /// Deliveries that were not added to the shared count yet.
    fresh: u64,
}

impl Worker<'_> {
    fn run(&mut self, wire: &mut Wire) -> Result<()> {
        loop {
            self.glance(wire)?;
            if let Some(times) = self.shared.times.get() {
                self.times = *times;
                break;
            }
        }
        while wire.clock.now() < self.times.begin {
            self.glance(wire)?;
        }
        for lane in 0..self.lanes.len() {
            self.fill(&mut wire.out, lane, wire.clock.now());
        }
        while wire.clock.now() < self.times.until {
            if self.shared.control.is_stopped() {
                self.times.until = wire.clock.now();
            }
            self.publish_due(wire)?;
            self.glance(wire)?;
        }
        let end = self.times.until + self.shared.plan.drain.as_nanos() as u64;
        while !self.is_settled() && wire.clock.now() < end {
            self.publish_due(wire)?;
            self.glance(wire)?;
        }
        Ok(())
    }

    fn glance(&mut self, wire: &mut Wire) -> Result<()> {
        wire.turn(GLANCE, self)?;
        ensure!(!self.shared.abort.load(Relaxed), "another thread has failed");
        self.shared.delivered.fetch_add(std::mem::take(&mut self.fresh), Relaxed);
        Ok(())
    }

    fn is_measured(&self, at: u64) -> bool {
        (self.times.from..self.times.until).contains(&at)
    }

    /// Closed loop: publishes as much as the sender may.
    fn fill(&mut self, out: &mut Outbox, lane: usize, now: u64) {
        let Drive::Closed { window } = self.shared.plan.drive else { return };
        if now < self.times.begin || now >= self.times.until {
            return;
        }
        let lane = &mut self.lanes[lane];
        let ahead_max = 4 * window as u64 + lane.advanced / lane.receivers as u64;
        let measured = (self.times.from..self.times.until).contains(&now);
        while lane.sender.has_room(window) && lane.sender.next() < ahead_max {
            lane.sender.publish(out.to(lane.connection), now);
            self.tally.published += u64::from(measured);
        }
    }

    /// Open loop: publishes what is due, and sets the alarm for what is next. A socket that takes no more holds all
    /// back; they are then late, and latencies say so.
    fn publish_due(&mut self, wire: &mut Wire) -> Result<()> {
        let Some(pace) = &mut self.pace else { return Ok(()) };
        let Times { begin, from, until } = self.times;
        loop {
            let (lane, due) = pace.next();
            let due = begin + due;
            let lane = &mut self.lanes[lane];
            let held = wire.out.backlog(lane.connection) > BACKLOG_MAX || !lane.sender.has_room(usize::MAX);
            if due >= until || held {
                return Ok(());
            }
            let now = wire.clock.now();
            if due > now {
                return wire.wake_at(due);
            }
            lane.sender.publish(wire.out.to(lane.connection), due);
            pace.advance();
            if due >= from {
                self.tally.published += 1;
                self.tally.lateness.record(due, now);
            }
        }
    }

    fn deliver(&mut self, out: &mut Outbox, connection: usize, now: u64, publish: &Publish<'_>) {
        let violations = &mut self.tally.violations;
        let stamp = self.shared.expected.take(out.to(connection), publish, violations);
        let (Some(stamp), ConnectionRole::Receiver { channel, tracker }) = (stamp, &mut self.roles[connection]) else {
            return;
        };
        let lane = &mut self.lanes[*channel];
        if stamp.sender as usize != lane.number {
            violations.misrouted += 1;
            return;
        }
        if stamp.sequence >= lane.sender.next() {
            violations.damaged += 1;
            return;
        }
        let before = tracker.next();
        tracker.see(stamp.sequence, violations);
        lane.advanced += tracker.next() - before;
        let channel = *channel;
        self.fresh += 1;
        self.tally.delivered += u64::from(self.is_measured(now));
        if self.is_measured(stamp.at) {
            self.tally.delivery.record(stamp.at, now);
        }
        self.fill(out, channel, now);
    }

    /// Everything that was due was published, acknowledged and delivered.
    fn is_settled(&self) -> bool {
        let sent = self.pace.as_ref().is_none_or(|pace| self.times.begin + pace.next().1 >= self.times.until);
        sent && self.lanes.iter().all(|lane| lane.sender.in_flight().len() == 0)
            && self.roles.iter().all(|role| match role {
                ConnectionRole::Sender(_) => true,
                ConnectionRole::Receiver { channel, tracker } => {
                    tracker.is_complete(self.lanes[*channel].sender.next())
                }
            })
    }

    /// Says goodbye and sums up.
    fn finish(mut self, wire: &mut Wire) -> Tally {
        for (connection, role) in self.roles.iter().enumerate() {
            packet::disconnect(wire.out.to(connection));
            if let ConnectionRole::Receiver { channel, tracker } = role {
                let sender = &self.lanes[*channel].sender;
                self.tally.violations.lost += tracker.lost(sender.next(), sender.in_flight());
            }
        }
        for lane in &self.lanes {
            self.tally.unacknowledged += lane.sender.in_flight().len() as u64;
        }
        if let Some(pace) = &self.pace {
            self.tally.unsent = pace.count_until(self.times.until.saturating_sub(self.times.begin));
        }
        // The figures stand; a server that has gone by now does not change them.
        let _ = wire.turn(Duration::ZERO, &mut self);
        self.tally
    }
}

impl PacketHandler for Worker<'_> {
    fn packet(&mut self, out: &mut Outbox, connection: usize, now: u64, packet: Packet<'_>) -> Result<()> {
        match (packet, &self.roles[connection]) {
            (Packet::Publish(publish), _) => self.deliver(out, connection, now, &publish),
            (Packet::Puback(identifier), &ConnectionRole::Sender(lane)) => {
                let at = self.lanes[lane].sender.acknowledge(identifier)?;
                if self.is_measured(at) {
                    self.tally.acknowledged.record(at, now);
                }
                self.fill(out, lane, now);
            }
            (other, _) => bail!("unexpected: {other:?}"),
        }
        Ok(())
    }

    fn closed(&mut self, connection: usize, why: &str) -> Result<()> {
        let (ConnectionRole::Sender(lane) | ConnectionRole::Receiver { channel: lane, .. }) = self.roles[connection];
        let lane = &self.lanes[lane];
        let channel = &self.shared.plan.channels[lane.number];
        let account = match connection - lane.connection {
            0 => channel.sender,
            nth => channel.receivers[nth - 1].0,
        };
        bail!("the connection of {} is closed: {why}", self.shared.target.accounts[account].device)
    }
}
