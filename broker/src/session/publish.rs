//! PUBLISH from the client. Answers leave in the order of the publishes (MQTT-4.6.0-2), whatever order the lane gives
//! them in; until answered, a publish is kept, to be sent again when the connection is attached anew.
//!
//! QoS 2 keeps no state beyond the connection: PUBREC stands where QoS 1 has PUBACK, and PUBREL is always answered.
//! An identifier between PUBREC and PUBREL is remembered, so that publishing it again has no effect.

use std::collections::VecDeque;

use godwit_schemas::bus;
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::{BadTopic, Destination};

use super::Session;
use crate::edge::Edge;
use crate::mqtt::frame::Frame;
use crate::mqtt::publish::Incoming;
use crate::mqtt::{Version, answer, publish};

/// Most characters of a refused topic that are logged.
const LOGGED: usize = 100;

/// What an alias stands for.
type Target = Result<Destination, BadTopic>;

#[derive(Debug)]
struct Slot {
    packet_id: u16,
    qos: u8,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting(Box<bus::Publish>),
    Answered(Reason),
    /// Refused, with a text for the client, or stored, at a place in a conversation.
    Detailed(Box<bus::Published>),
}

/// The client's publishes under way.
#[derive(Debug, Default)]
pub(super) struct Publishes {
    last_number: u64,
    /// In the order they came in.
    slots: VecDeque<Slot>,
    /// Identifiers between PUBREC and PUBREL, oldest first.
    received: VecDeque<u16>,
    /// By alias, from 1.
    aliases: Vec<Option<Target>>,
}

impl Publishes {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn is_full(&self, edge: &Edge) -> bool {
        self.slots.len() >= usize::from(edge.settings.unanswered_publishes_max)
    }

    /// The lane has still to answer one.
    pub(super) fn is_waiting(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot.state, State::Waiting(_)))
    }

    /// PUBREL came.
    pub(super) fn release(&mut self, packet_id: u16) {
        self.received.retain(|&id| id != packet_id);
    }

    /// What the lane has not answered yet, in order.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &bus::Publish> {
        self.slots.iter().filter_map(|slot| match &slot.state {
            State::Waiting(publish) => Some(&**publish),
            _ => None,
        })
    }

    /// Finds where a PUBLISH goes, by its topic or its alias.
    fn target(&mut self, packet: &Incoming, alias_max: u16) -> Result<Target, Reason> {
        let Some(alias) = packet.alias else { return Ok(parse(packet)) };
        if alias == 0 || alias > alias_max {
            return Err(Reason::TOPIC_ALIAS_INVALID);
        }
        let index = usize::from(alias) - 1;
        if packet.topic.is_empty() {
            return self.aliases.get(index).cloned().flatten().ok_or(Reason::PROTOCOL_ERROR);
        }
        if self.aliases.len() <= index {
            self.aliases.resize(index + 1, None);
        }
        let target = parse(packet);
        self.aliases[index] = Some(target.clone());
        Ok(target)
    }
}

fn parse(packet: &Incoming) -> Target {
    std::str::from_utf8(&packet.topic).map_err(|_| BadTopic::NotYours).and_then(Destination::parse)
}

impl Session {
    pub(super) fn publish(&mut self, edge: &Edge, frame: Frame) -> Result<(), Reason> {
        let packet = publish::read(frame, self.version)?;
        edge.counters.publishes.add(1);
        if packet.retain && self.version == Version::V5 {
            return Err(Reason::RETAIN_NOT_SUPPORTED);
        }
        let target = self.publishes.target(&packet, edge.settings.topic_alias_max)?;
        let again = packet.qos == 2 && self.publishes.received.contains(&packet.packet_id);
        let under_way = self.publishes.slots.len() + self.publishes.received.len();
        let quota = usize::from(edge.settings.unanswered_publishes_max);
        if packet.qos > 0 && !again && self.version == Version::V5 && under_way >= quota {
            return Err(Reason::RECEIVE_MAXIMUM_EXCEEDED);
        }
        match target {
            Ok(_) if again => self.answer_later(&packet, State::Answered(Reason::SUCCESS)),
            Ok(destination) => self.forward(packet, destination),
            Err(error) => self.refuse_publish(&packet, error)?,
        }
        Ok(())
    }

    fn forward(&mut self, packet: Incoming, destination: Destination) {
        let mut publish = bus::Publish {
            duplicate: packet.duplicate,
            payload: packet.payload.clone(),
            expires_in_s: packet.expires_in_s,
            correlation: packet.correlation.clone(),
            packet_id: packet.packet_id.into(),
            ..bus::Publish::default()
        };
        match destination {
            Destination::Send => publish.set_kind(bus::Kind::Send),
            Destination::ToUser(user) => {
                publish.set_kind(bus::Kind::ToUser);
                user.as_str().clone_into(&mut publish.user);
            }
            Destination::ToPhone(number) => {
                publish.set_kind(bus::Kind::ToPhone);
                publish.user = number.to_string();
            }
            Destination::ToConversation(conversation) => {
                publish.set_kind(bus::Kind::ToConversation);
                publish.conversation = conversation.get();
            }
            Destination::Receipt => publish.set_kind(bus::Kind::Receipt),
            Destination::Rpc => publish.set_kind(bus::Kind::Rpc),
            Destination::Live(conversation) => {
                publish.set_kind(bus::Kind::Live);
                publish.conversation = conversation.get();
            }
        }
        if packet.qos == 0 {
            if let Some(lane) = self.lane.as_ref().filter(|_| self.attached) {
                lane.push_unless_busy(self.generation, self.number, &publish);
            }
            return;
        }
        self.publishes.last_number += 1;
        publish.number = self.publishes.last_number;
        if self.attached {
            self.up(&publish);
        }
        self.answer_later(&packet, State::Waiting(Box::new(publish)));
    }

    /// Takes a place in the order of answers.
    fn answer_later(&mut self, packet: &Incoming, state: State) {
        self.publishes.slots.push_back(Slot { packet_id: packet.packet_id, qos: packet.qos, state });
        self.answer();
    }

    /// MQTT 5: refused in its PUBACK. MQTT 3.1.1 cannot say so: the connection is closed.
    fn refuse_publish(&mut self, packet: &Incoming, error: BadTopic) -> Result<(), Reason> {
        // Never a phone number.
        let logged = if matches!(error, BadTopic::Phone(_)) { &b"phone/"[..] } else { &packet.topic };
        let topic: String = String::from_utf8_lossy(logged).chars().take(LOGGED).collect();
        if let Some(client) = &self.client {
            tracing::info!(user = %client.user, device = %client.device, ?topic, %error, "refused a publish");
        }
        let reason = match error {
            BadTopic::NotYours => Reason::NOT_AUTHORIZED,
            BadTopic::User(_) | BadTopic::Phone(_) | BadTopic::Conversation => Reason::TOPIC_NAME_INVALID,
        };
        if self.version == Version::V4 {
            return Err(reason);
        }
        if packet.qos > 0 {
            let text = error.to_string();
            let refusal = bus::Published { reason: reason.into(), text, ..bus::Published::default() };
            self.answer_later(packet, State::Detailed(Box::new(refusal)));
        }
        Ok(())
    }

    /// The lane's answer.
    pub(super) fn published(&mut self, published: bus::Published) {
        let waits = |slot: &&mut Slot| matches!(&slot.state, State::Waiting(it) if it.number == published.number);
        let Some(slot) = self.publishes.slots.iter_mut().find(waits) else { return };
        let details = published.conversation != 0 || !published.text.is_empty();
        slot.state = if details && self.version == Version::V5 {
            State::Detailed(Box::new(published))
        } else {
            State::Answered(Reason::from_u32(published.reason))
        };
        self.answer();
    }

    /// Sends the answers that are next in order.
    fn answer(&mut self) {
        let client = self.client.as_ref();
        let details_wanted = client.is_some_and(|client| client.problem_information);
        let bytes_max = client.map_or(usize::MAX, |client| client.packet_bytes_max as usize);
        while let Some(slot) = self.publishes.slots.front() {
            let (reason, details) = match &slot.state {
                State::Waiting(_) => break,
                State::Answered(reason) => (*reason, answer::Details::default()),
                State::Detailed(it) => {
                    let reason = Reason::from_u32(it.reason);
                    let stored = reason.is_success() && it.conversation != 0;
                    let at = stored.then_some((it.conversation, it.sequence));
                    (reason, if details_wanted { answer::Details { text: &it.text, at } } else { Default::default() })
                }
            };
            let Slot { packet_id, qos, .. } = *slot;
            answer::published(&mut self.out, self.version, packet_id, qos, reason, &details, bytes_max);
            if qos == 2 && (reason.is_success() || self.version == Version::V4) {
                self.publishes.remember(packet_id);
            }
            self.publishes.slots.pop_front();
        }
        if self.publishes.slots.is_empty() {
            self.publishes.slots = VecDeque::new();
        }
    }
}

impl Publishes {
    /// PUBREC goes out. A 3.1.1 client that never releases costs no more than this.
    fn remember(&mut self, packet_id: u16) {
        const RECEIVED_MAX: usize = 1_024;
        if self.received.contains(&packet_id) {
            return;
        }
        if self.received.len() >= RECEIVED_MAX {
            self.received.pop_front();
        }
        self.received.push_back(packet_id);
    }
}
