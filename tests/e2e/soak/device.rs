//! One device in the soak: sends (if it is a phone), receives, acknowledges, and comes back after every crash.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use godwit_schemas::client::event::Event;
use godwit_schemas::client::{self, Send, send::To};
use prost::Message as _;

use super::record::{Received, Sent};
use super::{Random, Shared};
use crate::mqtt::{Client, Packet, Publish, RESUME, Version};
use crate::server::Account;

/// Most publishes without their PUBACK.
const WINDOW: usize = 8;
/// Of so many publishes that a crash leaves in doubt, one is given up.
const GIVEN_UP: u64 = 10;
/// Above are those of SUBSCRIBE.
const LAST_PACKET_ID: u16 = 60_000;

/// A publish without its PUBACK.
#[derive(Debug)]
struct Pending {
    packet_id: u16,
    topic: String,
    payload: Vec<u8>,
    sent: Sent,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Device {
    account: Account,
    version: Version,
    /// A phone: whom it writes to, and the group it writes to.
    writes: Option<(String, u64)>,
    random: Random,
    /// Messages so far to the user and to the group.
    counts: [u64; 2],
    last_packet_id: u16,
    pending: VecDeque<Pending>,
    rounds: u32,
    attempts: usize,
    connections: u32,
}

impl Device {
    pub(super) fn new(account: Account, version: Version, writes: Option<(String, u64)>, random: Random) -> Self {
        Self {
            account,
            version,
            writes,
            random,
            counts: [0; 2],
            last_packet_id: 0,
            pending: VecDeque::new(),
            rounds: 0,
            attempts: 0,
            connections: 0,
        }
    }

    /// Counts its messages, rather than setting DUP on retries.
    fn counts_messages(&self) -> bool {
        self.version == Version::V4
    }

    fn name(&self) -> String {
        format!("{}/{}", self.account.user, self.account.device)
    }

    /// One connection for each round, although something was killed.
    pub(crate) fn has_stayed_connected(&self) {
        assert_eq!(self.connections, self.rounds, "{} was disconnected", self.name());
    }

    /// Until the round is over.
    pub(super) fn run(&mut self, doors: &[SocketAddr], round: u32, shared: &Shared) {
        self.rounds += 1;
        shared.record.lock().expect("no panic").join(&self.name(), &self.account.user);
        while !shared.over.load(Ordering::Relaxed) {
            // Whatever ends the connection, the next one goes on, at the next door.
            self.attempts += 1;
            if self.connection(doors[self.attempts % doors.len()], round, shared).is_err() {
                thread::sleep(Duration::from_millis(2));
            }
        }
    }

    fn connection(&mut self, address: SocketAddr, round: u32, shared: &Shared) -> io::Result<()> {
        let mut client = Client::try_open(address, self.version, 0)?;
        let (reason, _) = client.login(&self.account, RESUME)?;
        // A server that is just starting or stopping may say "unavailable".
        assert!([0, 3, 0x88].contains(&reason), "{}: CONNACK {reason:#x}", self.name());
        if reason != 0 {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        self.connections += 1;
        let filter = if self.version == Version::V5 { "inbox/#" } else { "inbox" };
        client.try_send(&client.subscribe_bytes(LAST_PACKET_ID + 1, filter, 1))?;
        self.send_again(&mut client, shared)?;
        while !shared.over.load(Ordering::Relaxed) {
            let may_send = self.writes.is_some() && !shared.draining.load(Ordering::Relaxed);
            while may_send && self.pending.len() < WINDOW {
                self.send(&mut client, round, shared)?;
            }
            match client.try_next(Duration::from_millis(20))? {
                Some(Packet::Publish(publish)) => {
                    self.received(&publish, shared);
                    client.try_acknowledge(&publish)?;
                }
                Some(Packet::Puback { packet_id, reason, at, .. }) => self.acknowledged(packet_id, reason, at, shared),
                Some(Packet::Suback { codes, .. }) => assert_eq!(codes, [1]),
                Some(other) => panic!("{}: {other:?}", self.name()),
                None => {}
            }
        }
        Ok(())
    }

    /// A new message, to the user or to the group.
    fn send(&mut self, client: &mut Client, round: u32, shared: &Shared) -> io::Result<()> {
        let (friend, group) = self.writes.clone().expect("a phone");
        let to_group = self.random.below(3) == 0;
        self.counts[usize::from(to_group)] += 1;
        let number = self.counts[usize::from(to_group)];
        let target = if to_group { "group".to_owned() } else { friend.clone() };
        let sent = Sent { by: self.name(), target, number };
        let body = format!("{} round {round}", sent.body());
        let (topic, payload) = if self.counts_messages() {
            let to = Some(if to_group { To::Conversation(group) } else { To::User(friend) });
            let send = Send { to, client_sequence: sent.number, body: body.into(), ..Send::default() };
            ("send".to_owned(), send.encode_to_vec())
        } else {
            let topic = if to_group { format!("send/{group}") } else { format!("to/{friend}") };
            (topic, body.into_bytes())
        };
        let packet_id = self.packet_id();
        shared.record.lock().expect("no panic").sent();
        shared.pending.fetch_add(1, Ordering::Relaxed);
        self.pending.push_back(Pending { packet_id, topic, payload, sent });
        let it = self.pending.back().expect("just added");
        client.try_send(&client.publish_bytes(it.packet_id, false, &it.topic, &it.payload))
    }

    /// What was not acknowledged, in order, as this device does it; some is given up.
    fn send_again(&mut self, client: &mut Client, shared: &Shared) -> io::Result<()> {
        for mut it in std::mem::take(&mut self.pending) {
            if self.random.below(GIVEN_UP) == 0 {
                shared.pending.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            if self.counts_messages() {
                it.packet_id = self.packet_id();
            }
            self.pending.push_back(it);
        }
        for it in &self.pending {
            client.try_send(&client.publish_bytes(it.packet_id, !self.counts_messages(), &it.topic, &it.payload))?;
        }
        Ok(())
    }

    fn packet_id(&mut self) -> u16 {
        self.last_packet_id = self.last_packet_id % LAST_PACKET_ID + 1;
        self.last_packet_id
    }

    fn acknowledged(&mut self, packet_id: u16, reason: u8, at: Option<(u64, u64)>, shared: &Shared) {
        let first = self.pending.pop_front().expect("a publish for the PUBACK");
        // In the order of the publishes (MQTT-4.6.0-2).
        assert_eq!((packet_id, reason), (first.packet_id, 0), "{}: {:?}", self.name(), first.sent);
        shared.record.lock().expect("no panic").acknowledged(&first.sent, at);
        shared.pending.fetch_sub(1, Ordering::Relaxed);
        shared.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    fn received(&self, publish: &Publish, shared: &Shared) {
        let (conversation, sequence, body) = if self.version == Version::V5 {
            (publish.conversation(), publish.seq, publish.payload.clone())
        } else {
            match client::Event::decode(&publish.payload[..]).expect("an Event").event {
                Some(Event::Message(message)) => (message.conversation, message.sequence, message.body.into()),
                Some(Event::Change(_) | Event::Receipt(_)) => return,
                other => panic!("{}: {other:?}", self.name()),
            }
        };
        let body = String::from_utf8(body).expect("text");
        let received = Received { conversation, sequence, body, connection: self.connections };
        shared.record.lock().expect("no panic").received(&self.name(), received);
    }
}
