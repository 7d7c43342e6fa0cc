//! PUBLISH from the client, and its answer. Answers leave in the order of the publishes (MQTT-4.6.0-2), whatever the order in which
//! the lane gives them. A publish with QoS 1 or 2 is kept until the lane has answered it, to be sent again after a reattachment.
//!
//! A publish with QoS 0 is neither kept nor answered, but it counts until the lane has answered it. So a client that asks for much is
//! read no more until something is done, whatever QoS it uses.
//!
//! QoS 2 keeps no state beyond the connection. PUBREC stands where QoS 1 has PUBACK, and PUBREL is always answered. An identifier
//! between PUBREC and PUBREL is remembered, so a repeated publish has no effect.

use bytes::Bytes;
use godwit_schemas::bus::{self, Extras};
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::{BadTopic, Destination};

use super::MqttConnection;
use super::publishes::{PublishSlot, PublishState};
use crate::context::EdgeContext;
use crate::mqtt::packet::RawPacket;
use crate::mqtt::publish::InboundPublish;
use crate::mqtt::{Version, encode, publish};

/// Most characters of a refused topic that are logged.
const LOGGED: usize = 100;
/// Memory that a publish takes besides its bytes, about.
const PUBLISH_OVERHEAD_BYTES: usize = 256;
/// Payloads up to this size are copied. A slice would keep everything that was read together with it.
const COPIED_MAX: usize = 4 * 1024;

impl MqttConnection {
    /// Handles a PUBLISH.
    ///
    /// # Errors
    /// The reason to close the connection with.
    pub(super) fn handle_publish(&mut self, context: &EdgeContext, packet: RawPacket) -> Result<(), Reason> {
        let bytes = packet.bytes.len() + PUBLISH_OVERHEAD_BYTES;
        let packet = publish::read(packet, self.version)?;
        tracing::trace!(
            connection = self.number,
            packet_id = packet.packet_id,
            qos = packet.qos,
            duplicate = packet.duplicate,
            payload_bytes = packet.payload.len(),
            "publish read from the socket"
        );
        context.counters.publishes.increment();
        if packet.retain && self.version == Version::V5 {
            return Err(Reason::RETAIN_NOT_SUPPORTED);
        }
        let target = self.publishes.target(&packet, context.settings.topic_alias_max)?;
        let is_repeated = packet.qos == 2 && self.publishes.is_received(packet.packet_id);
        match target {
            Ok(_) if is_repeated => self.answer_later(&packet, PublishState::Answered(Reason::SUCCESS), 0),
            Ok(destination) => self.forward(context, packet, destination, u32::try_from(bytes).unwrap_or(u32::MAX)),
            Err(error) => self.refuse_publish(context, &packet, error)?,
        }
        Ok(())
    }

    /// Hands a publish to the lane. One with QoS 0 is dropped if the lane does not keep up.
    fn forward(&mut self, context: &EdgeContext, packet: InboundPublish, destination: Destination, bytes: u32) {
        let is_kept = packet.qos > 0;
        let publish = publish_frame(&packet, destination, self.publishes.next_number());
        if !is_kept {
            let lane = self.lane.as_ref().filter(|_| self.attached);
            let is_sent = lane.is_some_and(|lane| lane.push_unless_busy(self.generation, self.number, &publish));
            self.trace_forwarded(&packet, publish.number, is_sent);
            if is_sent {
                self.publishes.push_qos_0(publish.number, bytes);
            } else {
                context.counters.dropped_publishes.increment();
            }
            return;
        }
        self.publishes.take_number(publish.number);
        let is_sent = self.attached && self.send_up(&publish);
        self.trace_forwarded(&packet, publish.number, is_sent);
        self.answer_later(&packet, PublishState::Waiting(Box::new(publish)), bytes);
    }

    /// `sent`: `false` if the lane is away. A publish with QoS 0 is lost then; another one is sent when the lane is attached again.
    fn trace_forwarded(&self, packet: &InboundPublish, number: u64, sent: bool) {
        tracing::trace!(
            connection = self.number,
            packet_id = packet.packet_id,
            number,
            lane = self.lane.as_ref().map(|lane| lane.index),
            generation = self.generation,
            sent,
            "publish handed to the lane"
        );
    }

    /// Gives a publish its place in the order of answers.
    fn answer_later(&mut self, packet: &InboundPublish, state: PublishState, bytes: u32) {
        self.publishes.push(packet.packet_id, packet.qos, state, bytes);
        self.send_answers();
    }

    /// Refuses a publish: in its PUBACK with MQTT 5. MQTT 3.1.1 has no way to say so, and the connection is closed.
    fn refuse_publish(
        &mut self,
        context: &EdgeContext,
        packet: &InboundPublish,
        error: BadTopic,
    ) -> Result<(), Reason> {
        // Phone numbers are never logged.
        let logged = if matches!(error, BadTopic::Phone(_)) { &b"phone/"[..] } else { &packet.topic };
        let topic: String = String::from_utf8_lossy(logged).chars().take(LOGGED).collect();
        if let Some(client) = &self.client {
            tracing::info!(user = %client.user, device = %client.device, ?topic, %error, "refused a publish");
        }
        let reason = match error {
            BadTopic::NotYours => Reason::NOT_AUTHORIZED,
            BadTopic::User(_) | BadTopic::Phone(_) | BadTopic::Conversation => Reason::TOPIC_NAME_INVALID,
        };
        context.counters.refused_publishes.count(reason);
        if self.version == Version::V4 {
            return Err(reason);
        }
        if packet.qos > 0 {
            let text = error.to_string();
            let refusal = bus::Published { reason: reason.into(), text, ..bus::Published::default() };
            self.answer_later(packet, PublishState::Detailed(Box::new(refusal)), 0);
        }
        Ok(())
    }

    /// Handles the lane's answer to a publish.
    pub(super) fn handle_published(&mut self, context: &EdgeContext, published: bus::Published) {
        tracing::trace!(
            connection = self.number,
            number = published.number,
            reason = published.reason,
            conversation = published.conversation,
            sequence = published.sequence,
            "publish answered by the lane"
        );
        let Some(slot) = self.publishes.answered(published.number) else { return };
        context.counters.refused_publishes.count(Reason::from_u32(published.reason));
        let has_details =
            published.conversation != 0 || !published.text.is_empty() || published.repeated_up_to.is_some();
        slot.state = if has_details && self.version == Version::V5 {
            PublishState::Detailed(Box::new(published))
        } else {
            PublishState::Answered(Reason::from_u32(published.reason))
        };
        self.send_answers();
    }

    /// Sends the answers that are next in order: PUBACK, or PUBREC with QoS 2.
    fn send_answers(&mut self) {
        let details_wanted = self.client.as_ref().is_some_and(|client| client.problem_information);
        let bytes_max = self.packet_bytes_max();
        while let Some(PublishSlot { number, packet_id, qos, state, .. }) = self.publishes.pop_answered() {
            let (reason, details) = match &state {
                PublishState::Waiting(_) => return,
                PublishState::Answered(reason) => (*reason, encode::AckDetails::default()),
                PublishState::Detailed(published) => {
                    let reason = Reason::from_u32(published.reason);
                    let is_stored = reason.is_success() && published.conversation != 0;
                    let at = is_stored.then_some((published.conversation, published.sequence));
                    let (repeated, mls_epoch) = (published.repeated_up_to, published.mls_epoch);
                    let mls_epoch = (mls_epoch != 0).then_some(mls_epoch);
                    let details = encode::AckDetails { text: &published.text, at, repeated, mls_epoch };
                    (reason, if details_wanted { details } else { encode::AckDetails::default() })
                }
            };
            encode::publish_answer(&mut self.out, self.version, packet_id, qos, reason, &details, bytes_max);
            let reason_code = reason.get();
            match qos {
                2 => tracing::trace!(connection = self.number, packet_id, number, reason_code, "PUBREC sent"),
                _ => tracing::trace!(connection = self.number, packet_id, number, reason_code, "PUBACK sent"),
            }
            if qos == 2 && (reason.is_success() || self.version == Version::V4) {
                self.publishes.remember(packet_id);
            }
        }
    }
}

/// The frame for the lane.
fn publish_frame(packet: &InboundPublish, destination: Destination, number: u64) -> bus::Publish {
    let is_kept = packet.qos > 0;
    let is_copied = is_kept && packet.payload.len() <= COPIED_MAX;
    let mut publish = bus::Publish {
        number,
        at_most_once: !is_kept,
        duplicate: packet.duplicate,
        payload: if is_copied { Bytes::copy_from_slice(&packet.payload) } else { packet.payload.clone() },
        expires_in_s: packet.expires_in_s,
        packet_id: packet.packet_id.into(),
        ..bus::Publish::default()
    };
    if let Some(Extras { correlation, properties }) = packet.extras.as_deref() {
        publish.extras = match is_raw(&destination) {
            true => Extras::of(Bytes::new(), properties.clone()),
            false => Extras::of(correlation.clone(), Bytes::new()),
        };
    }
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
    publish
}

/// Whether the payload is a message body as it stands, rather than an encoded request.
fn is_raw(destination: &Destination) -> bool {
    matches!(destination, Destination::ToUser(_) | Destination::ToPhone(_) | Destination::ToConversation(_))
}
