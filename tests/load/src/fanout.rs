//! `fanout`: one message, many receivers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::control::Control;
use crate::exchange::{self, Channel, DRAIN, Drive, Plan};
use crate::group;
use crate::handshake::{Hello, connect_all};
use crate::messages::MessagesReport;
use crate::packet::{self, Packet};
use crate::target::{LoadTarget, TopicStyle};
use crate::wire::{Clock, Outbox, PacketHandler, Wire};

/// Longest wait for the answer to a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// One member of a group publishes, all others receive; in plain style, one client and a topic that all others are
/// subscribed to. Runs on one thread.
///
/// The sender has at most `window` publishes without a PUBACK, and is never more than 4 * `window` messages ahead of
/// what its receivers got, on average.
#[derive(Debug, Clone)]
pub struct Fanout {
    /// Of the group, the sender included: at least 2.
    pub members: usize,
    /// Unacknowledged publishes, at least 1.
    pub window: usize,
    /// Size of a message, at least 24.
    pub body_bytes: usize,
    /// Before the measurement.
    pub warmup: Duration,
    /// Of the measurement.
    pub duration: Duration,
}

impl Fanout {
    pub(crate) fn run(&self, target: &LoadTarget, control: &Control) -> Result<MessagesReport> {
        let Self { members, window, body_bytes, warmup, duration } = *self;
        ensure!(members >= 2, "a group has at least two members");
        ensure!(window > 0, "the window is zero");
        let (topic, filter) = match target.style {
            TopicStyle::Godwit => {
                let conversation = create_group(target, members, control).context("create the group")?;
                (format!("send/{conversation}"), "inbox/#")
            }
            TopicStyle::Plain => ("bench/group".into(), "bench/group"),
        };
        let receivers = (1..members).map(|receiver| (receiver, filter.into())).collect();
        let channels = vec![Channel { sender: 0, topic, receivers }];
        let title = format!("fanout: {members} members, window {window}");
        let drive = Drive::Closed { window };
        let plan = Plan { title, channels, drive, body_bytes, warmup, duration, drain: DRAIN };
        exchange::run(target, &plan, control)
    }
}

/// Lets the first account create a group with the next ones; returns its number.
fn create_group(target: &LoadTarget, members: usize, control: &Control) -> Result<u64> {
    let clock = Clock::start();
    let mut wire = Wire::new(clock, target.tls.clone())?;
    let hello = Hello::receiver(&target.accounts[0], group::TOPIC.into());
    connect_all(&mut wire, target.addr, &[hello], 0, control, || {})?;
    let id = u64::from(std::process::id());
    group::create(wire.out.to(0), id, &target.accounts[1..members]);
    let mut caller = GroupCreation { id, created: None };
    let end = clock.now() + PATIENCE.as_nanos() as u64;
    while caller.created.is_none() {
        ensure!(clock.now() < end, "no response within {PATIENCE:?}");
        wire.turn(Duration::from_millis(100), &mut caller)?;
    }
    packet::disconnect(wire.out.to(0));
    wire.turn(Duration::ZERO, &mut caller)?;
    caller.created.context("no response")
}

/// Waits for the response to one request.
struct GroupCreation {
    id: u64,
    created: Option<u64>,
}

impl PacketHandler for GroupCreation {
    fn packet(&mut self, out: &mut Outbox, connection: usize, _now: u64, packet: Packet<'_>) -> Result<()> {
        let Packet::Publish(publish) = packet else { return Ok(()) };
        out.acknowledge(connection, &publish);
        self.created = self.created.or(group::created(publish.payload, self.id)?);
        Ok(())
    }

    fn closed(&mut self, _connection: usize, why: &str) -> Result<()> {
        ensure!(self.created.is_some(), "disconnected by the server: {why}");
        Ok(())
    }
}
