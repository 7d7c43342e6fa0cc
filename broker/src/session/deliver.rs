//! PUBLISH to the client, and its acknowledgements.
//!
//! The lane bounds what is under way (its window); this side bounds it once more, by what the client takes
//! (MQTT-3.3.4-9), and keeps what is over until there is room.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use godwit_schemas::bus::{self, RECEIPTS_FROM, Shape};
use godwit_schemas::reason::Reason;

use super::{BACKLOG_BYTES, Phase, Session};
use crate::edge::Edge;
use crate::mqtt::Version;
use crate::mqtt::publish::{self, Outgoing};

/// Most deliveries on their way to a client, whatever it says it takes.
const IN_FLIGHT_MAX: usize = 8_192;
/// Most deliveries that wait for room before the client is given up.
const HELD_MAX: usize = 256;
/// Most topics that get an alias.
const ALIASES_MAX: u16 = 16;

#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// Orders by packet identifier.
    in_flight: BTreeMap<u16, u64>,
    /// Highest order given to this connection.
    cursor: u64,
    /// Acknowledged since the last Acks went up.
    acknowledged: Vec<u64>,
    rare: Option<Box<Rare>>,
}

/// What few connections need.
#[derive(Debug, Default)]
struct Rare {
    /// Waits for room.
    held: VecDeque<bus::Deliver>,
    /// Orders of entries too large for the client: they wait for another connection.
    withheld: Vec<u64>,
    aliases_max: u16,
    /// Topics that the client knows an alias for, which is the index plus 1.
    aliases: Vec<(Shape, u64)>,
}

impl Deliveries {
    pub(super) fn set_aliases(&mut self, client_max: u16) {
        if client_max > 0 {
            self.rare.get_or_insert_default().aliases_max = client_max.min(ALIASES_MAX);
        }
    }

    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Entries that were given to this connection and are not acknowledged, ascending.
    pub(super) fn outstanding(&self) -> Vec<u64> {
        let rare = self.rare.iter();
        let rest = rare.flat_map(|rare| rare.held.iter().map(|held| held.order).chain(rare.withheld.iter().copied()));
        let mut orders: Vec<_> = self.in_flight.values().copied().chain(rest).filter(|&it| is_entry(it)).collect();
        orders.sort_unstable();
        orders
    }

    /// Forgets acknowledgements that [`Self::outstanding`] tells.
    pub(super) fn forget_acknowledged(&mut self) {
        self.acknowledged = Vec::new();
    }

    /// `1 + order % 65535`, or the next free one.
    fn packet_id(&self, order: u64) -> Option<u16> {
        let first = (order % 65_535) as u16;
        let mut ids = (0..65_535_u32).map(|step| ((u32::from(first) + step) % 65_535 + 1) as u16);
        ids.find(|id| !self.in_flight.contains_key(id))
    }

    /// The alias of a topic, and whether the client knows it already.
    fn alias(&mut self, topic: (Shape, u64)) -> Option<(u16, bool)> {
        let rare = self.rare.as_mut()?;
        if let Some(index) = rare.aliases.iter().position(|known| *known == topic) {
            return Some((index as u16 + 1, true));
        }
        if rare.aliases.len() >= usize::from(rare.aliases_max) {
            return None;
        }
        rare.aliases.push(topic);
        Some((rare.aliases.len() as u16, false))
    }

    fn is_holding(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.held.is_empty())
    }
}

/// An inbox entry, rather than a receipt or an answer.
fn is_entry(order: u64) -> bool {
    order > 0 && order < RECEIPTS_FROM
}

impl Session {
    pub(super) fn deliver(&mut self, edge: &Edge, deliver: bus::Deliver) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        if is_entry(deliver.order) {
            if deliver.order <= self.deliveries.cursor {
                return;
            }
            self.deliveries.cursor = deliver.order;
        }
        match deliver.shape() {
            Shape::LiveSignal => return self.send_live(edge, &format!("live/{}", deliver.conversation), &deliver),
            Shape::Presence => return self.send_live(edge, &format!("presence/{}", deliver.sender), &deliver),
            Shape::Event | Shape::Raw | Shape::Response => {}
        }
        if self.stuck_since.is_some() && self.out.len() > BACKLOG_BYTES && edge.settings.pressure.is_on() {
            return self.close(edge, Reason::QUOTA_EXCEEDED);
        }
        if self.has_room() && !self.deliveries.is_holding() {
            return self.send(edge, &deliver);
        }
        let held = &mut self.deliveries.rare.get_or_insert_default().held;
        // A copy: a slice would keep the whole batch it came in.
        held.push_back(bus::Deliver { payload: Bytes::copy_from_slice(&deliver.payload), ..deliver });
        if held.len() > HELD_MAX {
            self.close(edge, Reason::QUOTA_EXCEEDED);
        }
    }

    /// QoS 0: nothing is kept, and who is busy or takes no packet of the size misses it.
    fn send_live(&mut self, edge: &Edge, topic: &str, deliver: &bus::Deliver) {
        let bytes_max = self.client.as_ref().map_or(0, |client| client.packet_bytes_max as usize);
        if self.deliveries.is_holding() || publish::len_qos_0(topic, &deliver.payload, self.version) > bytes_max {
            return;
        }
        publish::write_qos_0(topic.as_bytes(), &deliver.payload, self.version, &mut self.out);
        edge.counters.deliveries.add(1);
    }

    fn has_room(&self) -> bool {
        let takes = self.client.as_ref().map_or(0, |client| client.receive_maximum);
        self.deliveries.in_flight.len() < usize::from(takes).min(IN_FLIGHT_MAX)
    }

    fn send(&mut self, edge: &Edge, deliver: &bus::Deliver) {
        let Some(packet_id) = self.deliveries.packet_id(deliver.order) else { return };
        let shape = deliver.shape();
        let topic = match shape {
            Shape::Event => "inbox",
            Shape::Raw => &format!("inbox/{}", deliver.conversation),
            Shape::Response => "rpc",
            Shape::LiveSignal | Shape::Presence => return,
        };
        let raw = shape == Shape::Raw && self.version == Version::V5;
        let mut packet = Outgoing {
            duplicate: deliver.duplicate,
            topic,
            packet_id,
            payload: &deliver.payload,
            alias: None,
            expires_in_s: deliver.expires_in_plus_one_s.checked_sub(1).map(|s| u32::try_from(s).unwrap_or(u32::MAX)),
            correlation: &deliver.correlation,
            from: raw.then_some((deliver.sender.as_str(), deliver.sequence)),
        };
        let bytes_max = self.client.as_ref().map_or(0, |client| client.packet_bytes_max as usize);
        // An alias that is new adds its own three bytes.
        if packet.len(self.version) + 3 > bytes_max {
            return self.withhold(deliver);
        }
        let key = (shape, if shape == Shape::Raw { deliver.conversation } else { 0 });
        if let Some((alias, known)) = self.deliveries.alias(key) {
            packet.alias = Some(alias);
            packet.topic = if known { "" } else { topic };
        }
        packet.write(self.version, &mut self.out);
        self.deliveries.in_flight.insert(packet_id, deliver.order);
        edge.counters.deliveries.add(1);
    }

    /// What is over the client's Maximum Packet Size is not sent (MQTT-3.1.2-25).
    fn withhold(&mut self, deliver: &bus::Deliver) {
        if let Some(client) = &self.client {
            tracing::info!(user = %client.user, device = %client.device, "withheld a packet too large for the client");
        }
        if is_entry(deliver.order) {
            self.deliveries.rare.get_or_insert_default().withheld.push(deliver.order);
        }
    }

    /// PUBACK came. Its reason code changes nothing: the client has the message.
    pub(super) fn acknowledged(&mut self, edge: &Edge, packet_id: u16) {
        let Some(order) = self.deliveries.in_flight.remove(&packet_id) else { return };
        if order > 0 {
            self.deliveries.acknowledged.push(order);
        }
        while self.deliveries.is_holding() && self.has_room() {
            let next = self.deliveries.rare.as_mut().and_then(|rare| rare.held.pop_front());
            if let Some(next) = next {
                self.send(edge, &next);
            }
        }
        if self.deliveries.in_flight.is_empty() {
            self.deliveries.in_flight = BTreeMap::new();
        }
    }

    /// Tells the lane what was acknowledged. Called when a burst of packets is through.
    pub(crate) fn flush_acknowledged(&mut self) {
        if self.attached {
            self.push_acknowledged();
        }
    }

    pub(super) fn push_acknowledged(&mut self) {
        let orders = std::mem::take(&mut self.deliveries.acknowledged);
        if !orders.is_empty() {
            self.up(&bus::Acks { orders });
        }
    }
}
