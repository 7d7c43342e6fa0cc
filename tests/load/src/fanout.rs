//! `fanout`: one message, many receivers.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use godwit_schemas::client::{CreateGroup, Request, Response, request::Call};
use prost::Message;

use crate::control::Control;
use crate::exchange::{self, Channel, DRAIN, Drive, Plan};
use crate::handshake::{Hello, connect_all};
use crate::messages::MessagesReport;
use crate::packet::{self, Packet};
use crate::target::{Target, TopicStyle};
use crate::wire::{Clock, Handler, Outbox, Wire};

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
    pub(crate) fn run(&self, target: &Target, control: &Control) -> Result<MessagesReport> {
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
fn create_group(target: &Target, members: usize, control: &Control) -> Result<u64> {
    let clock = Clock::start();
    let mut wire = Wire::new(clock)?;
    let hello = Hello::receiver(&target.accounts[0], "rpc".into());
    connect_all(&mut wire, target.addr, &[hello], 0, control, || {})?;
    let users = target.accounts[1..members].iter().map(|account| account.user.clone()).collect();
    let id = u64::from(std::process::id());
    let request = Request { id, call: Some(Call::CreateGroup(CreateGroup { title: "bench".into(), users })) };
    let payload = request.encode_to_vec();
    packet::publish_head(wire.out.to(0), "rpc", 1, payload.len());
    wire.out.to(0).extend(payload);
    let mut caller = Caller { id, response: None };
    let end = clock.now() + PATIENCE.as_nanos() as u64;
    while caller.response.is_none() {
        ensure!(clock.now() < end, "no response within {PATIENCE:?}");
        wire.turn(Duration::from_millis(100), &mut caller)?;
    }
    packet::disconnect(wire.out.to(0));
    wire.turn(Duration::ZERO, &mut caller)?;
    caller.conversation()
}

/// Waits for the response to one request.
struct Caller {
    id: u64,
    response: Option<Response>,
}

impl Caller {
    fn conversation(self) -> Result<u64> {
        match self.response {
            Some(Response { reason: 0, conversation, .. }) => Ok(conversation),
            Some(Response { reason, text, .. }) => bail!("refused with {reason:#04x}: {text}"),
            None => bail!("no response"),
        }
    }
}

impl Handler for Caller {
    fn packet(&mut self, out: &mut Outbox, connection: usize, _now: u64, packet: Packet<'_>) -> Result<()> {
        let Packet::Publish(publish) = packet else { return Ok(()) };
        if let Some(packet_id) = publish.packet_id {
            packet::puback(out.to(connection), packet_id);
        }
        let response = Response::decode(publish.payload).context("decode a response")?;
        if response.id == self.id {
            self.response = Some(response);
        }
        Ok(())
    }

    fn closed(&mut self, _connection: usize, why: &str) -> Result<()> {
        ensure!(self.response.is_some(), "disconnected by the server: {why}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(response: &Response) -> Result<u64> {
        let (mut caller, mut out) = (Caller { id: 7, response: None }, Outbox::with_connections(1));
        caller.packet(&mut out, 0, 0, Packet::Puback(1))?;
        let payload = response.encode_to_vec();
        let publish = packet::Publish { topic: b"rpc", packet_id: Some(1), payload: &payload };
        caller.packet(&mut out, 0, 0, Packet::Publish(publish))?;
        assert_eq!(out.backlog(0), 4, "the response is acknowledged");
        caller.conversation()
    }

    #[test]
    fn responses() {
        let done = Response { id: 7, conversation: 65, ..Response::default() };
        assert_eq!(answer(&done).unwrap(), 65);
        let refused = Response { reason: 0x97, text: "group full".into(), ..done.clone() };
        assert_eq!(answer(&refused).unwrap_err().to_string(), "refused with 0x97: group full");
        assert!(answer(&Response { id: 8, ..done }).is_err(), "another request's");
    }
}
