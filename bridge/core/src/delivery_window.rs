//! One device's deliveries: what it was handed, what it acknowledged, what is next. Keeps P2 (an entry leaves only
//! when acknowledged) and bounds what a slow device costs: its window.
//!
//! Entries are handed out in ascending order. `cursor` is the highest order handed out; what the device has still to
//! acknowledge is in flight. Behind a full window the rest stays in the store (`behind`), and acknowledgements pull
//! the next entries.

use std::collections::VecDeque;

use godwit_schemas::ids::{ConversationId, Order, Ordinal, Seq};
use godwit_schemas::topic::Filters;

use crate::entry::{Entry, EntryKind};
use crate::usage::InboxUsage;

/// How much may be in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// How many deliveries.
    pub count: u32,
    /// Bytes of content; a single larger entry is allowed.
    pub bytes: u32,
    /// Largest packet the device takes (`None`: any); entries that make a larger one are passed over. What decides does
    /// not depend on what the device reads, or on the time: an entry that was passed over was not acknowledged.
    pub packet_bytes: Option<u32>,
}

impl WindowLimits {
    fn takes(&self, entry: &Entry) -> bool {
        self.packet_bytes.is_none_or(|limit| entry.packet_bytes_max() <= limit as usize)
    }
}

/// A delivery in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnacknowledgedDelivery {
    /// Its entry.
    pub order: Order,
    /// The entry's conversation.
    pub conversation: ConversationId,
    /// Its place there.
    pub sequence: Seq,
    /// Who sent it.
    pub sender: Ordinal,
    /// A message rather than a change.
    pub message: bool,
    /// Its body is kept apart, until the last device has it.
    pub apart: bool,
    /// Length of its content.
    pub bytes: u32,
}

impl UnacknowledgedDelivery {
    fn new(order: Order, entry: &Entry) -> Self {
        Self {
            order,
            conversation: entry.conversation,
            sequence: entry.sequence,
            sender: entry.sender,
            message: entry.kind == EntryKind::Message,
            apart: entry.apart.is_some(),
            bytes: entry.content_len(),
        }
    }
}

/// What to do with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryAction {
    /// Hand it out.
    Deliver {
        /// An earlier connection of the session was given it.
        again: bool,
    },
    /// The device has not asked for this kind: acknowledge on its behalf.
    Settle(UnacknowledgedDelivery),
    /// Nothing: seen already, passed over, or left in the store for later.
    Skip,
}

/// The deliveries of one connection: which are on their way, and how many more may be.
#[derive(Debug)]
pub struct DeliveryWindow {
    window: WindowLimits,
    flights: VecDeque<UnacknowledgedDelivery>,
    flight_bytes: u32,
    cursor: Order,
    /// Up to here earlier connections were given entries.
    sent_before: Order,
    /// Lowest entry passed over because the device takes no packet of its size.
    passed_over: Option<Order>,
    behind: bool,
}

impl DeliveryWindow {
    /// Deliveries to a connection that begins. The inbox has no entry below `low`; up to `sent_before` the device
    /// may have been given entries before.
    pub fn new(window: WindowLimits, low: Order, sent_before: Order) -> Self {
        let cursor = Order::new(low.get().saturating_sub(1));
        Self { window, flights: VecDeque::new(), flight_bytes: 0, cursor, sent_before, passed_over: None, behind: true }
    }

    /// Highest order handed out.
    pub fn cursor(&self) -> Order {
        self.cursor
    }

    /// Highest order ever handed out to the device.
    pub fn sent(&self) -> Order {
        self.cursor.max(self.sent_before)
    }

    /// There may be entries in the store above the cursor.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// What is in the store, all of it in flight. `None`: there is more, or may be.
    pub fn waiting(&self) -> Option<InboxUsage> {
        let load = || InboxUsage { entries: self.flights.len() as u32, bytes: self.flight_bytes.into() };
        (!self.behind && self.passed_over.is_none()).then(load)
    }

    /// The delivery that has waited longest to be acknowledged.
    pub fn oldest_in_flight(&self) -> Option<Order> {
        self.flights.front().map(|flight| flight.order)
    }

    /// Forget what is certain about the store: there may be more.
    pub fn set_behind(&mut self) {
        self.behind = true;
    }

    /// How many bytes may be in flight from now on; a single larger entry is allowed.
    pub fn set_bytes_max(&mut self, bytes: u32) {
        self.window.bytes = bytes;
    }

    /// No inbox entry that still matters has a lower order.
    pub fn low(&self) -> Order {
        let next = Order::new(self.cursor.get() + 1);
        let flight = self.flights.front().map_or(next, |flight| flight.order);
        self.passed_over.map_or(flight, |passed| flight.min(passed))
    }

    /// Whether reading on from the store is worth it: the window is at most half full, so that a read brings many.
    pub fn wants_read(&self) -> bool {
        self.behind
            && self.flights.len() * 2 <= self.window.count as usize
            && self.flight_bytes * 2 <= self.window.bytes
    }

    /// How many entries to read.
    pub fn room(&self) -> usize {
        (self.window.count as usize).saturating_sub(self.flights.len())
    }

    /// Nothing more may be handed out before something is acknowledged.
    pub fn is_full(&self) -> bool {
        self.flights.len() >= self.window.count as usize
            || (self.flight_bytes >= self.window.bytes && !self.flights.is_empty())
    }

    /// A new entry has just been committed.
    pub fn new_entry(&mut self, order: Order, entry: &Entry, filters: Filters) -> EntryAction {
        if order <= self.cursor {
            return EntryAction::Skip;
        }
        if self.behind || !filters.wants_inbox() {
            self.behind = true;
            return EntryAction::Skip;
        }
        self.next(order, entry, filters)
    }

    /// The next entry from the store, or from [`Self::new_entry`].
    pub fn next(&mut self, order: Order, entry: &Entry, filters: Filters) -> EntryAction {
        if order <= self.cursor {
            return EntryAction::Skip;
        }
        if self.is_full() {
            self.behind = true;
            return EntryAction::Skip;
        }
        self.cursor = order;
        let mut flight = UnacknowledgedDelivery::new(order, entry);
        if !filters.wants_events() && (!flight.message || entry.mls_epoch() != 0) {
            // Who reads raw bodies cannot open what is sealed, and it does not count as delivered.
            flight.message = false;
            return EntryAction::Settle(flight);
        }
        if !self.window.takes(entry) {
            self.passed_over.get_or_insert(order);
            return EntryAction::Skip;
        }
        self.flights.push_back(flight);
        self.flight_bytes = self.flight_bytes.saturating_add(flight.bytes);
        EntryAction::Deliver { again: order <= self.sent_before }
    }

    /// An entry that cannot be read: it stays where it is, and deliveries go on behind it.
    pub fn pass_over(&mut self, order: Order) {
        self.cursor = self.cursor.max(order);
        self.passed_over.get_or_insert(order);
    }

    /// Deliveries that are not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// After a read that reached the end of the inbox: up to here there is nothing else.
    pub fn nothing_up_to(&mut self, order: Order) {
        self.cursor = self.cursor.max(order);
    }

    /// A read from the store reached the end of the inbox.
    pub fn caught_up(&mut self) {
        self.behind = false;
    }

    /// The device acknowledged this order. `None`: not in flight.
    pub fn acknowledge(&mut self, order: Order) -> Option<UnacknowledgedDelivery> {
        // Clients acknowledge in order (MQTT-4.6.0-2), so it is nearly always the first. The others are not counted through.
        let index = match self.flights.front()? {
            first if first.order == order => 0,
            _ => self.flights.binary_search_by_key(&order, |flight| flight.order).ok()?,
        };
        let flight = self.flights.remove(index)?;
        self.flight_bytes -= flight.bytes;
        Some(flight)
    }

    /// The bridge has lost its memory and the edge tells what the connection was given: everything up to `cursor`
    /// that is not outstanding is acknowledged. For each entry of the store up to the cursor: is it outstanding?
    pub fn reconcile_after_reattach(
        &mut self,
        order: Order,
        entry: &Entry,
        outstanding: &[u64],
    ) -> Option<UnacknowledgedDelivery> {
        self.cursor = self.cursor.max(order);
        let flight = UnacknowledgedDelivery::new(order, entry);
        if !self.window.takes(entry) {
            self.passed_over.get_or_insert(order);
            return None;
        }
        if outstanding.binary_search(&order.get()).is_err() {
            return Some(flight);
        }
        self.flights.push_back(flight);
        self.flight_bytes = self.flight_bytes.saturating_add(flight.bytes);
        None
    }

    /// After [`Self::reconcile_after_reattach`]: deliveries go on above `cursor`.
    pub fn resume_at(&mut self, cursor: Order) {
        self.cursor = self.cursor.max(cursor);
        self.behind = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const WINDOW: WindowLimits = WindowLimits { count: 2, bytes: 1_000, packet_bytes: Some(500) };

    fn entry(kind: EntryKind, len: usize) -> Entry {
        Entry {
            expires_at_s: u32::MAX,
            kind,
            conversation: ConversationId::new(65),
            sequence: Seq::new(1),
            sender: Ordinal::new(0),
            sender_name: Bytes::new(),
            stored_at_s: 0,
            content: vec![0; len].into(),
            ..Entry::default()
        }
    }

    fn order(number: u64) -> Order {
        Order::new(number)
    }

    fn caught_up(window: WindowLimits) -> DeliveryWindow {
        let mut it = DeliveryWindow::new(window, order(1), order(0));
        it.caught_up();
        it
    }

    const NEW: EntryAction = EntryAction::Deliver { again: false };

    #[test]
    fn a_full_window_leaves_the_rest_in_the_store() {
        let mut it = caught_up(WINDOW);
        let message = entry(EntryKind::Message, 10);
        assert_eq!(it.new_entry(order(1), &message, Filters::RAW), NEW);
        assert_eq!(it.new_entry(order(2), &message, Filters::RAW), NEW);
        assert_eq!(it.new_entry(order(3), &message, Filters::RAW), EntryAction::Skip);
        assert!(it.is_behind() && !it.wants_read());
        assert_eq!(it.new_entry(order(4), &message, Filters::RAW), EntryAction::Skip);
        assert_eq!((it.low(), it.cursor()), (order(1), order(2)));
        assert!(it.acknowledge(order(1)).is_some());
        assert!(it.acknowledge(order(1)).is_none(), "twice");
        assert_eq!(it.waiting(), None, "there are more");
        assert!(it.wants_read());
        assert_eq!(it.next(order(3), &message, Filters::RAW), NEW);
        assert_eq!(it.low(), order(2));
        it.caught_up();
        assert_eq!(it.waiting(), Some(InboxUsage { entries: 2, bytes: 20 }));
    }

    #[test]
    fn bytes_fill_the_window_too_but_one_entry_always_fits() {
        let mut it = caught_up(WindowLimits { count: 100, bytes: 50, packet_bytes: Some(500) });
        assert_eq!(it.new_entry(order(1), &entry(EntryKind::Message, 400), Filters::RAW), NEW);
        assert_eq!(it.new_entry(order(2), &entry(EntryKind::Message, 1), Filters::RAW), EntryAction::Skip);
    }

    #[test]
    fn what_is_too_large_waits_for_another_connection() {
        let mut it = caught_up(WINDOW);
        assert_eq!(it.new_entry(order(1), &entry(EntryKind::Message, 501), Filters::RAW), EntryAction::Skip);
        assert_eq!(it.new_entry(order(2), &entry(EntryKind::Message, 1), Filters::RAW), NEW);
        it.acknowledge(order(2));
        assert_eq!(it.low(), order(1));
    }

    #[test]
    fn changes_are_settled_for_devices_that_read_raw_bodies() {
        let mut it = caught_up(WINDOW);
        let change = entry(EntryKind::Change, 10);
        assert!(matches!(it.new_entry(order(1), &change, Filters::RAW), EntryAction::Settle(_)));
        assert_eq!(it.new_entry(order(2), &change, Filters::EVENTS), NEW);
    }

    #[test]
    fn nothing_is_handed_out_unasked_or_twice() {
        let mut it = caught_up(WINDOW);
        let message = entry(EntryKind::Message, 10);
        assert_eq!(it.new_entry(order(1), &message, Filters::NONE), EntryAction::Skip);
        assert!(it.is_behind());
        assert_eq!(it.next(order(1), &message, Filters::RAW), NEW);
        assert_eq!(it.next(order(1), &message, Filters::RAW), EntryAction::Skip);
    }

    #[test]
    fn a_new_connection_gets_unacknowledged_entries_as_repeated() {
        let mut it = DeliveryWindow::new(WINDOW, order(5), order(6));
        let message = entry(EntryKind::Message, 10);
        assert_eq!(it.next(order(5), &message, Filters::RAW), EntryAction::Deliver { again: true });
        assert_eq!(it.next(order(7), &message, Filters::RAW), NEW);
        assert_eq!(it.sent(), order(7));
    }

    #[test]
    fn a_reattached_connection_acknowledges_what_is_not_outstanding() {
        let mut it = DeliveryWindow::new(WINDOW, order(1), order(0));
        let message = entry(EntryKind::Message, 10);
        assert!(it.reconcile_after_reattach(order(1), &message, &[2]).is_some());
        assert!(it.reconcile_after_reattach(order(2), &message, &[2]).is_none());
        it.resume_at(order(4));
        assert_eq!(it.next(order(4), &message, Filters::RAW), EntryAction::Skip);
        assert_eq!(it.next(order(5), &message, Filters::RAW), NEW);
        assert_eq!(it.low(), order(2));
    }
}
