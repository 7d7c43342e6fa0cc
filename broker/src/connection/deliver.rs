//! PUBLISH to the client, and PUBACK from it.
//!
//! The lane bounds what is in flight, by its window. This side bounds it once more, by the client's Receive Maximum (MQTT-3.3.4-9), and
//! keeps what is over until there is room.

use bytes::Bytes;
use godwit_schemas::bus::{self, Extras, Shape};
use godwit_schemas::client::Properties;
use godwit_schemas::reason::Reason;
use prost::Message as _;

use super::deliveries::is_entry;
use super::in_flight::IN_FLIGHT_MAX;
use super::{BACKLOG_BYTES, MqttConnection, Phase};
use crate::context::EdgeContext;
use crate::mqtt::Version;
use crate::mqtt::publish::{self, OutboundPublish};

impl MqttConnection {
    /// Handles a delivery from the lane.
    pub(super) fn handle_deliver(&mut self, context: &EdgeContext, deliver: bus::Deliver) {
        tracing::trace!(
            connection = self.number,
            order = deliver.order,
            conversation = deliver.conversation,
            sequence = deliver.sequence,
            payload_bytes = deliver.payload.len(),
            "delivery received from the lane"
        );
        if !matches!(self.phase, Phase::Connected) {
            return;
        }
        if is_entry(deliver.order) && !self.deliveries.advance(deliver.order) {
            return;
        }
        match deliver.shape() {
            Shape::LiveSignal => return self.send_live(context, &format!("live/{}", deliver.conversation), &deliver),
            Shape::Presence => return self.send_live(context, &format!("presence/{}", deliver.sender), &deliver),
            Shape::Event | Shape::Raw | Shape::Response => {}
        }
        if self.blocked_since.is_some() && self.out.len() > BACKLOG_BYTES && context.settings.pressure.is_on() {
            return self.close(context, Reason::QUOTA_EXCEEDED);
        }
        if deliver.order == 0 && !self.deliveries.count_unnumbered() {
            return self.close(context, Reason::QUOTA_EXCEEDED);
        }
        if self.has_room() && !self.deliveries.is_holding() {
            return self.send(context, &deliver);
        }
        // A copy: a slice would keep the whole batch that it came in.
        let copy = Bytes::copy_from_slice;
        let extras = deliver.extras.and_then(|extras| Extras::of(copy(&extras.correlation), copy(&extras.properties)));
        let payload = copy(&deliver.payload);
        if !self.deliveries.hold(bus::Deliver { payload, extras, ..deliver }) {
            self.close(context, Reason::QUOTA_EXCEEDED);
        }
    }

    /// Sends a delivery with QoS 0, unless the client is busy or does not take a packet of this size.
    fn send_live(&mut self, context: &EdgeContext, topic: &str, deliver: &bus::Deliver) {
        let bytes_max = self.packet_bytes_max();
        if self.deliveries.is_holding() || publish::len_qos_0(topic, &deliver.payload, self.version) > bytes_max {
            return;
        }
        publish::write_qos_0(topic.as_bytes(), &deliver.payload, self.version, &mut self.out);
        context.counters.deliveries.increment();
    }

    /// The client's Receive Maximum allows one more delivery.
    fn has_room(&self) -> bool {
        let receive_maximum = self.client.as_ref().map_or(0, |client| client.receive_maximum);
        self.deliveries.in_flight() < usize::from(receive_maximum).min(IN_FLIGHT_MAX)
    }

    /// Sends a delivery with QoS 1.
    fn send(&mut self, context: &EdgeContext, deliver: &bus::Deliver) {
        let shape = deliver.shape();
        let topic = match shape {
            Shape::Event => "inbox",
            Shape::Raw => &format!("inbox/{}", deliver.conversation),
            Shape::Response => "rpc",
            Shape::LiveSignal | Shape::Presence => return,
        };
        let is_raw_v5 = shape == Shape::Raw && self.version == Version::V5;
        let extras = deliver.extras.as_deref();
        let encoded = extras.map(|extras| &extras.properties).filter(|encoded| is_raw_v5 && !encoded.is_empty());
        // A lane sends nothing that cannot be decoded.
        let properties = encoded.and_then(|encoded| Properties::decode(encoded.clone()).ok());
        let mut packet = OutboundPublish {
            duplicate: deliver.duplicate,
            topic,
            packet_id: 0,
            payload: &deliver.payload,
            alias: None,
            expires_in_s: deliver.expires_in_s,
            correlation: extras.map_or(&[], |extras| &extras.correlation),
            from: is_raw_v5.then_some((deliver.sender.as_str(), deliver.sequence)),
            properties: properties.as_ref(),
        };
        let bytes_max = self.packet_bytes_max();
        if packet.len(self.version) > bytes_max {
            return self.withhold(deliver.order);
        }
        let key = (shape, if shape == Shape::Raw { deliver.conversation } else { 0 });
        // A packet that defines an alias is longer.
        packet.alias = Some(0);
        let has_room = packet.len(self.version) <= bytes_max;
        packet.alias = None;
        if let Some((alias, is_known)) = self.deliveries.alias(key, has_room) {
            packet.alias = Some(alias);
            packet.topic = if is_known { "" } else { topic };
        }
        packet.packet_id = self.deliveries.send(deliver.order);
        packet.write(self.version, &mut self.out);
        tracing::trace!(
            connection = self.number,
            order = deliver.order,
            conversation = deliver.conversation,
            sequence = deliver.sequence,
            packet_id = packet.packet_id,
            "delivery queued for the socket"
        );
        context.counters.deliveries.increment();
    }

    /// A packet over the client's Maximum Packet Size is not sent (MQTT-3.1.2-25).
    fn withhold(&mut self, order: u64) {
        if let Some(client) = &self.client {
            tracing::info!(user = %client.user, device = %client.device, "withheld a packet too large for the client");
        }
        self.deliveries.withhold(order);
    }

    /// Handles a PUBACK. Its reason code does not matter: the client has the message. Returns whether a delivery has this identifier.
    pub(super) fn handle_puback(&mut self, context: &EdgeContext, packet_id: u16) -> bool {
        let Some(order) = self.deliveries.acknowledge(packet_id) else { return false };
        tracing::trace!(connection = self.number, packet_id, order, "delivery acknowledged by the client");
        while self.deliveries.is_holding() && self.has_room() {
            if let Some(next) = self.deliveries.next_held() {
                self.send(context, &next);
            }
        }
        true
    }

    /// Called when all packets that were read are handled. `unwritten`: bytes that the socket has not taken.
    ///
    /// A client that is not read cannot acknowledge anything, and the lane may wait for an acknowledgement before it answers the
    /// client's publishes. So call responses then count as acknowledged when the socket has taken them.
    pub(crate) fn settle(&mut self, context: &EdgeContext, unwritten: usize) {
        let is_written = self.out.is_empty() && unwritten == 0;
        if self.deliveries.has_responses()
            && is_written
            && self.publishes.is_full(self.one_publish_at_a_time(context), &context.settings)
        {
            self.deliveries.acknowledge_responses_early();
        }
        self.flush_acknowledged();
    }

    /// Tells the lane what was acknowledged, unless the connection is still being attached.
    pub(super) fn flush_acknowledged(&mut self) {
        if self.attached {
            self.send_acknowledged();
        }
    }

    pub(super) fn send_acknowledged(&mut self) {
        let orders = self.deliveries.take_acknowledged();
        if !orders.is_empty() {
            self.send_up(&bus::Acks { orders });
        }
    }
}
