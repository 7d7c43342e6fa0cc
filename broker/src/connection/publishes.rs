//! The state of a client's publishes: those that are not answered, packet identifiers of QoS 2, and topic aliases.

use std::collections::VecDeque;

use godwit_schemas::bus;
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::{BadTopic, Destination};

use crate::mqtt::publish::InboundPublish;
use crate::settings::BrokerSettings;

/// With so many bytes of publishes that the lane has not answered, or those of one packet, nothing more is read.
const BYTES_MAX: usize = 256 * 1024;
/// Most identifiers between PUBREC and PUBREL that are remembered. A client that never sends PUBREL costs no more.
const RECEIVED_MAX: usize = 1_024;

/// What an alias stands for.
pub(super) type AliasTarget = Result<Destination, BadTopic>;

/// A publish with QoS 1 or 2 that the client has no answer to.
#[derive(Debug)]
pub(super) struct PublishSlot {
    /// The number of the publish. One that does not go to the lane has the number of the last before it that does.
    pub(super) number: u64,
    pub(super) packet_id: u16,
    pub(super) qos: u8,
    /// Bytes that it counts for until the lane has answered it.
    bytes: u32,
    pub(super) state: PublishState,
}

/// How far a publish is.
#[derive(Debug)]
pub(super) enum PublishState {
    /// The lane has not answered. The frame is kept, to be sent again after a reattachment.
    Waiting(Box<bus::Publish>),
    Answered(Reason),
    /// Answered with more than a reason: a text, the place of the stored message, or the last accepted sequence number.
    Detailed(Box<bus::Published>),
}

/// A publish with QoS 0 that the lane has not answered.
#[derive(Debug)]
struct QosZeroPublish {
    number: u64,
    bytes: u32,
}

/// The client's unanswered publishes, in the order they came in.
#[derive(Debug, Default)]
pub(super) struct InboundPublishes {
    /// Number of the last publish that the lane was sent.
    last_number: u64,
    /// QoS 1 and 2. The numbers ascend.
    slots: VecDeque<PublishSlot>,
    /// QoS 0. The numbers ascend.
    qos_0: Vec<QosZeroPublish>,
    /// Number of slots that the lane has not answered.
    waiting: u16,
    /// Bytes of all publishes that the lane has not answered.
    bytes: usize,
    /// Packet identifiers between PUBREC and PUBREL, oldest first.
    received: VecDeque<u16>,
    /// By alias, from 1.
    aliases: Vec<Option<AliasTarget>>,
}

impl InboundPublishes {
    /// The client waits for no answer.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Nothing more may be read before the lane has answered something. `one_at_a_time`: not even if there is only one.
    ///
    /// This keeps a client within the Receive Maximum that CONNACK announces: what is over waits in the client's own socket. The
    /// client is not closed for exceeding it, because many clients send everything unacknowledged at once when they reconnect.
    pub(super) fn is_full(&self, one_at_a_time: bool, settings: &BrokerSettings) -> bool {
        let most = usize::from(settings.unanswered_publishes_max);
        self.slots.len() + self.qos_0.len() >= most
            || self.bytes >= BYTES_MAX.max(settings.packet_bytes_max as usize)
            || (one_at_a_time && (self.waiting > 0 || !self.qos_0.is_empty()))
    }

    /// The number of the next publish that the lane is sent.
    pub(super) fn next_number(&self) -> u64 {
        self.last_number + 1
    }

    /// A publish with QoS 1 or 2 takes this number.
    pub(super) fn take_number(&mut self, number: u64) {
        self.last_number = number;
    }

    /// A publish with QoS 0 takes this number, and counts until the lane has answered it.
    pub(super) fn push_qos_0(&mut self, number: u64, bytes: u32) {
        self.last_number = number;
        self.qos_0.push(QosZeroPublish { number, bytes });
        self.bytes += bytes as usize;
    }

    /// A publish with QoS 1 or 2 takes its place in the order of answers. `bytes` count until the lane has answered it.
    pub(super) fn push(&mut self, packet_id: u16, qos: u8, state: PublishState, bytes: u32) {
        self.waiting += u16::from(matches!(state, PublishState::Waiting(_)));
        self.bytes += bytes as usize;
        self.slots.push_back(PublishSlot { number: self.last_number, packet_id, qos, bytes, state });
    }

    /// Forgets the publishes with QoS 0: they are not sent again after a reattachment. Returns whether there were some.
    pub(super) fn forget_qos_0(&mut self) -> bool {
        let forgotten = std::mem::take(&mut self.qos_0);
        self.bytes -= forgotten.iter().map(|publish| publish.bytes as usize).sum::<usize>();
        !forgotten.is_empty()
    }

    /// The lane has answered the publish of this number. Returns its slot; `None`: it was answered before, or has no slot.
    pub(super) fn answered(&mut self, number: u64) -> Option<&mut PublishSlot> {
        if let Ok(index) = self.qos_0.binary_search_by_key(&number, |publish| publish.number) {
            self.bytes -= self.qos_0.remove(index).bytes as usize;
            if self.qos_0.is_empty() {
                self.qos_0 = Vec::new();
            }
            return None;
        }
        let first = self.slots.partition_point(|slot| slot.number < number);
        let waits = |slot: &&mut PublishSlot| slot.number == number && matches!(slot.state, PublishState::Waiting(_));
        let slot = self.slots.get_mut(first).filter(waits)?;
        self.waiting -= 1;
        self.bytes -= slot.bytes as usize;
        Some(slot)
    }

    /// Removes the first slot if it is answered: its answer is the next one for the client.
    pub(super) fn pop_answered(&mut self) -> Option<PublishSlot> {
        self.slots.front().filter(|slot| !matches!(slot.state, PublishState::Waiting(_)))?;
        let slot = self.slots.pop_front()?;
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        }
        Some(slot)
    }

    /// The frames that the lane has not answered, in order.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &bus::Publish> {
        self.slots.iter().filter_map(|slot| match &slot.state {
            PublishState::Waiting(publish) => Some(&**publish),
            _ => None,
        })
    }

    /// The identifier is between PUBREC and PUBREL: a publish with QoS 2 that has it is a repetition.
    pub(super) fn is_received(&self, packet_id: u16) -> bool {
        self.received.contains(&packet_id)
    }

    /// PUBREC is sent for this identifier.
    pub(super) fn remember(&mut self, packet_id: u16) {
        if self.is_received(packet_id) {
            return;
        }
        if self.received.len() >= RECEIVED_MAX {
            self.received.pop_front();
        }
        self.received.push_back(packet_id);
    }

    /// PUBREL has come for this identifier.
    pub(super) fn release(&mut self, packet_id: u16) {
        if let Some(index) = self.received.iter().position(|&id| id == packet_id) {
            self.received.remove(index);
        }
    }

    /// Where a PUBLISH goes, by its topic or its alias. Defines the alias if the packet has both.
    ///
    /// # Errors
    /// The reason to close the connection with: the alias is not defined, or not allowed.
    pub(super) fn target(&mut self, packet: &InboundPublish, alias_max: u16) -> Result<AliasTarget, Reason> {
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

fn parse(packet: &InboundPublish) -> AliasTarget {
    std::str::from_utf8(&packet.topic).map_err(|_| BadTopic::NotYours).and_then(Destination::parse)
}
