//! The state of the deliveries to a client: those in flight, those that wait for room, and what the lane has to be told of them.

use std::collections::VecDeque;

use godwit_schemas::bus::{self, DeliveryId, Shape};

use super::in_flight::{ACKNOWLEDGED_EARLY, InFlightIds};

/// Most deliveries that wait for room. With more, the client is closed.
const HELD_MAX: usize = 256;
/// Most unacknowledged deliveries that are no entry, response or receipt: the lane does not bound those.
const UNNUMBERED_MAX: u16 = 256;
/// Most topics that get an alias.
const ALIASES_MAX: u16 = 16;

/// Deliveries that the client has not acknowledged. Each has an order, by which the lane knows it; 0: the lane need not hear of it.
#[derive(Debug, Default)]
pub(super) struct OutboundDeliveries {
    in_flight: InFlightIds,
    /// Number of unacknowledged deliveries without an order.
    unnumbered: u16,
    /// Highest order of an entry that this connection was given.
    cursor: u64,
    /// Orders that were acknowledged since the last Acks frame.
    acknowledged: Vec<u64>,
    rare: Option<Box<RareState>>,
}

/// State that few connections need.
#[derive(Debug, Default)]
struct RareState {
    /// Deliveries that wait for room.
    held: VecDeque<bus::Deliver>,
    /// Orders of entries that are too large for the client. They wait for another connection of the device.
    withheld: Vec<u64>,
    /// Packet identifiers of call responses in flight. The lane bounds their number.
    responses: Vec<u16>,
    aliases_max: u16,
    /// Topics that the client knows by an alias, which is the index plus 1.
    aliases: Vec<(Shape, u64)>,
}

impl OutboundDeliveries {
    /// The Topic Alias Maximum of the client's CONNECT.
    pub(super) fn set_aliases(&mut self, client_max: u16) {
        if client_max > 0 {
            self.rare.get_or_insert_default().aliases_max = client_max.min(ALIASES_MAX);
        }
    }

    /// Highest order of an entry that this connection was given.
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Notes the order of an entry from the lane. Returns whether it is new: a lane may send an entry again after a reattachment.
    pub(super) fn advance(&mut self, order: u64) -> bool {
        let is_new = order > self.cursor;
        self.cursor = self.cursor.max(order);
        is_new
    }

    /// Orders of the entries that this connection was given and the client has not acknowledged, ascending.
    pub(super) fn outstanding(&self) -> Vec<u64> {
        let rare = self.rare.iter();
        let rest = rare.flat_map(|rare| rare.held.iter().map(|held| held.order).chain(rare.withheld.iter().copied()));
        let mut orders: Vec<_> = self.in_flight.orders().chain(rest).filter(|&order| is_entry(order)).collect();
        orders.sort_unstable();
        orders
    }

    /// Number of packet identifiers that are taken.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// A delivery without an order has come from the lane. Returns whether there is room for it.
    pub(super) fn count_unnumbered(&mut self) -> bool {
        self.unnumbered += 1;
        self.unnumbered <= UNNUMBERED_MAX
    }

    /// Keeps a delivery until there is room. Returns whether it may be kept.
    pub(super) fn hold(&mut self, deliver: bus::Deliver) -> bool {
        let held = &mut self.rare.get_or_insert_default().held;
        held.push_back(deliver);
        held.len() <= HELD_MAX
    }

    /// Deliveries wait for room.
    pub(super) fn is_holding(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.held.is_empty())
    }

    /// The delivery that waits longest for room.
    pub(super) fn next_held(&mut self) -> Option<bus::Deliver> {
        self.rare.as_mut()?.held.pop_front()
    }

    /// Takes a packet identifier for a delivery.
    pub(super) fn send(&mut self, order: u64) -> u16 {
        let packet_id = self.in_flight.insert(order);
        if is_response(order) {
            self.rare.get_or_insert_default().responses.push(packet_id);
        }
        packet_id
    }

    /// A delivery is too large for the client, and is not sent.
    pub(super) fn withhold(&mut self, order: u64) {
        match order {
            0 => self.unnumbered -= 1,
            order if is_entry(order) => self.rare.get_or_insert_default().withheld.push(order),
            // No other connection gets it.
            order if is_response(order) => self.acknowledged.push(order),
            _ => {}
        }
    }

    /// PUBACK has come. Returns the order; `None`: no delivery has this identifier.
    pub(super) fn acknowledge(&mut self, packet_id: u16) -> Option<u64> {
        let order = self.in_flight.remove(packet_id)?;
        if let Some(rare) = self.rare.as_mut().filter(|_| is_response(order)) {
            rare.responses.retain(|&response| response != packet_id);
        }
        match order {
            0 => self.unnumbered -= 1,
            ACKNOWLEDGED_EARLY => {}
            order => self.acknowledged.push(order),
        }
        Some(order)
    }

    /// Call responses are in flight.
    pub(super) fn has_responses(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.responses.is_empty())
    }

    /// Acknowledges the call responses in flight to the lane, before the client does.
    pub(super) fn acknowledge_responses_early(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        for id in std::mem::take(&mut rare.responses) {
            self.acknowledged.extend(self.in_flight.acknowledge_early(id));
        }
    }

    /// Takes the orders that the lane has not been told are acknowledged.
    pub(super) fn take_acknowledged(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.acknowledged)
    }

    /// The alias of a topic, and whether the client knows it already. A new one is defined only if `has_room`.
    pub(super) fn alias(&mut self, topic: (Shape, u64), has_room: bool) -> Option<(u16, bool)> {
        let rare = self.rare.as_mut()?;
        if let Some(index) = rare.aliases.iter().position(|known| *known == topic) {
            return Some((index as u16 + 1, true));
        }
        if !has_room || rare.aliases.len() >= usize::from(rare.aliases_max) {
            return None;
        }
        rare.aliases.push(topic);
        Some((rare.aliases.len() as u16, false))
    }
}

/// The order is that of an inbox entry.
pub(super) fn is_entry(order: u64) -> bool {
    matches!(DeliveryId::from_wire(order), DeliveryId::Entry(_))
}

/// The order is that of the response to a call.
fn is_response(order: u64) -> bool {
    matches!(DeliveryId::from_wire(order), DeliveryId::Answer(_))
}
