//! Deliveries: new entries go straight to a connected device with room in its window, everything else is read from its
//! inbox when there is room. Keeps P2, and the memory of a slow device bounded.

use std::ops::Add;

use godwit_core::command::{Command, ConnectionKey};
use godwit_core::entry::{Entry, Kind};
use godwit_core::load::Load;
use godwit_core::session::{Flight, Offer};
use godwit_schemas::bus::{self, Bus, RECEIPTS_FROM, Shape, down::Frame};
use godwit_schemas::ids::{DeviceId, Order, Seq};
use godwit_schemas::topic::Filters;
use tracing::error;

use super::receipts::Receipts;
use super::session::Session;
use super::{FEED_MAX, Lane};
use crate::crash::{self, Point};
use crate::mail::Wake;
use crate::store::{Store, StoreError, Table, keys};

/// About how many bytes of receipts are read at once.
const RECEIPT_BYTES: usize = 64 << 10;

impl<S: Store, B: Bus> Lane<S, B> {
    /// A new entry is on disk.
    pub(super) fn wake(&mut self, wake: Wake) {
        self.backlogs.added(wake.device, wake.order, wake.bytes);
        let Some(session) = self.sessions.get_mut(&wake.device) else { return };
        let filters = session.filters;
        let Some(connection) = session.connection.as_deref_mut() else { return };
        if connection.deliveries.is_behind() {
            return;
        }
        let Some(entry) = readable(wake.device, wake.order, wake.value) else { return };
        match connection.deliveries.wake(wake.order, &entry, filters) {
            Offer::Deliver { again } => {
                let frame = deliver(wake.order, &entry, again, filters, self.now_s);
                self.edges.push(connection.key, frame);
            }
            Offer::Settle(flight) => self.acked(wake.device, &[flight]),
            Offer::Skip => {}
        }
    }

    /// Puts a device in the queue of those to be fed, if there is something to feed it.
    pub(super) fn hunger(&mut self, device: DeviceId) {
        let Some(session) = self.sessions.get_mut(&device) else { return };
        let (filters, settled) = (session.filters, session.unsettled.is_empty());
        let Some(connection) = session.connection.as_deref_mut() else { return };
        let inbox = filters.wants_inbox() && connection.deliveries.wants_read();
        let receipts = filters.wants_events() && connection.receipts.wants_read().is_some();
        let may = connection.started || settled;
        if !connection.queued && may && (inbox || receipts || connection.resume.is_some()) {
            connection.queued = true;
            self.hungry.push(device);
        }
    }

    pub(super) fn more_to_feed(&self) -> bool {
        !self.hungry.is_empty()
    }

    /// Reads for the devices that wait, each as much as its window takes.
    pub(super) async fn feed(&mut self) -> Result<(), StoreError> {
        let now: Vec<_> = self.hungry.drain(..self.hungry.len().min(FEED_MAX)).collect();
        for device in now {
            let Some(connection) = self.sessions.get_mut(&device).and_then(|it| it.connection.as_deref_mut()) else {
                continue;
            };
            connection.queued = false;
            connection.started = true;
            if let Some(resume) = connection.resume.take() {
                self.recall(device, &resume).await?;
            }
            self.feed_inbox(device).await?;
            self.feed_receipts(device).await?;
            self.hunger(device);
        }
        Ok(())
    }

    async fn feed_inbox(&mut self, device: DeviceId) -> Result<(), StoreError> {
        let bytes_max = self.settings.window_bytes as usize;
        let Some(session) = self.sessions.get_mut(&device).filter(|it| it.filters.wants_inbox()) else { return Ok(()) };
        let filters = session.filters;
        let Some(connection) = session.connection.as_deref_mut() else { return Ok(()) };
        let deliveries = &mut connection.deliveries;
        if !deliveries.wants_read() {
            return Ok(());
        }
        let room = deliveries.room();
        let (from, to) = keys::inbox_after(device, deliveries.cursor());
        let rows = self.store.scan(Table::Inbox, &from, &to, room, bytes_max).await?;
        if rows.len() < room && rows.iter().map(|(_, value)| value.len()).sum::<usize>() < bytes_max {
            deliveries.caught_up();
        }
        let (mut handed_out, mut settled) = (Vec::new(), Vec::new());
        for (key, value) in rows {
            let Some(order) = keys::parse_order(&key) else { continue };
            let Some(entry) = readable(device, order, value) else {
                deliveries.pass_over(order);
                continue;
            };
            crash::point(Point::Replay);
            match deliveries.next(order, &entry, filters) {
                Offer::Deliver { again } => handed_out.push((order, entry, again)),
                Offer::Settle(flight) => settled.push(flight),
                Offer::Skip => {}
            }
        }
        fetch_bodies(&self.store, handed_out.iter_mut().map(|(_, entry, _)| entry)).await?;
        for (order, entry, again) in handed_out {
            if entry.is_reference() {
                // The body has gone before its reference: it has just expired. Nothing is there to be acknowledged.
                if let Some(mut lost) = deliveries.acknowledge(order) {
                    lost.message = false;
                    settled.push(lost);
                }
            } else {
                self.edges.push(connection.key, deliver(order, &entry, again, filters, self.now_s));
            }
        }
        if let Some(waiting) = deliveries.waiting().filter(|_| session.unsettled.is_empty()) {
            // What is settled here is still to be subtracted.
            let settled = settled.iter().map(|flight| Load::of(flight.bytes));
            self.backlogs.measured(device, settled.fold(waiting, Add::add), deliveries.cursor());
        }
        self.acked(device, &settled);
        Ok(())
    }

    /// Compares what the edge says of a reattached connection with its inbox: what was handed out and is not
    /// outstanding any more was acknowledged.
    async fn recall(&mut self, device: DeviceId, resume: &bus::Resume) -> Result<(), StoreError> {
        const ROWS: usize = 256;
        let cursor = Order::new(resume.cursor);
        let mut acknowledged = Vec::new();
        let Some(session) = self.sessions.get_mut(&device) else { return Ok(()) };
        let mut from = keys::entry(device, session.low()).1;
        let to = keys::inbox_after(device, cursor).0;
        let Some(connection) = session.connection.as_deref_mut() else { return Ok(()) };
        loop {
            let rows = self.store.scan(Table::Inbox, &from, &to, ROWS, usize::MAX).await?;
            let last = rows.last().filter(|_| rows.len() == ROWS).map(|(key, _)| keys::behind(key));
            for (key, value) in rows {
                let Some(order) = keys::parse_order(&key) else { continue };
                let Some(entry) = readable(device, order, value) else { continue };
                acknowledged.extend(connection.deliveries.recall(order, &entry, &resume.outstanding));
            }
            let Some(next) = last else { break };
            from = next;
        }
        connection.deliveries.resume_at(cursor);
        connection.receipts.set_behind();
        self.acked(device, &acknowledged);
        Ok(())
    }

    async fn feed_receipts(&mut self, device: DeviceId) -> Result<(), StoreError> {
        let Some(session) = self.sessions.get_mut(&device).filter(|it| it.filters.wants_events()) else {
            return Ok(());
        };
        let Some(connection) = session.connection.as_deref_mut() else { return Ok(()) };
        if let Some(from) = connection.receipts.wants_read() {
            let (first, to) = keys::receipts(device);
            let from = if from.is_empty() { first } else { from.to_vec() };
            let rows = self.store.scan(Table::Receipts, &from, &to, Receipts::READ_ROWS, RECEIPT_BYTES).await?;
            connection.receipts.found(&rows);
        }
        self.hand_out_receipts(device);
        Ok(())
    }

    /// Receipts that a device has room for.
    pub(super) fn hand_out_receipts(&mut self, device: DeviceId) {
        let Some(session) = self.sessions.get_mut(&device).filter(|it| it.filters.wants_events()) else { return };
        let Some(connection) = session.connection.as_deref_mut().filter(|it| it.started) else { return };
        while let Some(receipt) = connection.receipts.next(Order::new(self.next_receipt)) {
            let deliver = bus::Deliver {
                order: self.next_receipt,
                shape: Shape::Event.into(),
                payload: receipt.event(),
                ..Default::default()
            };
            self.next_receipt += 1;
            self.edges.push(connection.key, Frame::Deliver(deliver));
        }
    }

    /// A connection's client acknowledged these.
    pub(super) fn acknowledged(&mut self, key: ConnectionKey, orders: &[u64]) {
        let Some(device) = self.connections.get(&key).copied() else { return };
        let Some(session) = self.sessions.get_mut(&device) else { return };
        let user = session.user.clone();
        let Some(connection) = session.connection(key) else { return };
        if let Some(resume) = &mut connection.resume {
            // Not compared with the inbox yet: there it will be found to be outstanding no more.
            resume.outstanding.retain(|order| !orders.contains(order));
        }
        let mut flights = Vec::with_capacity(orders.len());
        let mut receipts = Vec::new();
        for order in orders.iter().copied().map(Order::new) {
            if order.get() >= RECEIPTS_FROM {
                receipts.extend(connection.receipts.acknowledge(order));
            } else {
                flights.extend(connection.deliveries.acknowledge(order));
            }
        }
        let got_receipts = !receipts.is_empty();
        for receipt in receipts {
            let (user, conversation, member, watermark) =
                (user.clone(), receipt.conversation, receipt.member, receipt.watermark);
            self.dispatch(Command::ReceiptAcked { user, device, conversation, member, watermark });
        }
        self.acked(device, &flights);
        if got_receipts {
            self.hand_out_receipts(device);
        }
        self.hunger(device);
    }

    /// Tells each conversation what of it the device has.
    fn acked(&mut self, device: DeviceId, mut flights: &[Flight]) {
        let Some(session) = self.sessions.get_mut(&device) else { return };
        let user = session.user.clone();
        let count = flights.len();
        let mut commands = Vec::new();
        while let Some(first) = flights.first() {
            // Mostly all are of one conversation. Where they are not, each run of one is a command.
            let run = flights.iter().take_while(|flight| flight.conversation == first.conversation).count();
            let (these, rest) = flights.split_at(run);
            flights = rest;
            let messages = || these.iter().filter(|flight| flight.message);
            let mut senders: Vec<_> = messages().map(|flight| flight.sender).collect();
            senders.sort_unstable();
            senders.dedup();
            session.unsettled.extend(these.iter().map(|flight| flight.order).min());
            commands.push(Command::Acked {
                user: user.clone(),
                device,
                conversation: first.conversation,
                up_to: messages().map(|flight| flight.sequence).max().unwrap_or(Seq::default()),
                senders,
                orders: these.iter().map(|flight| flight.order).collect(),
                bytes: these.iter().map(|flight| u64::from(flight.bytes)).sum(),
                apart: these.iter().filter(|flight| flight.apart).map(|flight| flight.sequence).collect(),
            });
        }
        if session.count_acknowledged(count) {
            self.dirty.insert(device);
        }
        commands.into_iter().for_each(|command| self.dispatch(command));
    }

    /// An entry is gone that the device had not acknowledged. If it was handed out, it counts until it is acknowledged.
    pub(super) fn taken_back(&mut self, device: DeviceId, order: Order, bytes: u32) {
        let connection = self.sessions.get(&device).and_then(|session| session.connection.as_ref());
        if connection.is_none_or(|connection| connection.deliveries.cursor() < order) {
            self.backlogs.removed(device, Load::of(bytes));
        }
    }

    /// One `Acked` command is on disk.
    pub(super) fn settled(&mut self, device: DeviceId, lowest: Order, load: Load) {
        let Some(session) = self.sessions.get_mut(&device) else { return self.backlogs.removed(device, load) };
        session.unsettled.remove(&lowest);
        let connection = session.connection.as_deref().filter(|_| session.unsettled.is_empty());
        match connection.and_then(|it| Some((it.deliveries.waiting()?, it.deliveries.cursor()))) {
            Some((waiting, cursor)) => self.backlogs.measured(device, waiting, cursor),
            None => self.backlogs.removed(device, load),
        }
        if connection.is_some_and(|it| !it.started) {
            self.hunger(device);
        }
    }
}

/// Fills in the bodies that are kept apart, in one read. What is not there any more stays a reference.
pub(super) async fn fetch_bodies<'a, S: Store>(
    store: &S,
    entries: impl Iterator<Item = &'a mut Entry>,
) -> Result<(), StoreError> {
    let references: Vec<_> = entries.filter(|entry| entry.is_reference()).collect();
    if references.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = references.iter().map(|entry| keys::message(entry.conversation, entry.sequence)).collect();
    for (entry, value) in references.into_iter().zip(store.multi_get(&keys).await?) {
        // It may have been edited meanwhile, or taken back.
        if let Some(Ok(whole)) = value.map(Entry::decode).filter(|it| it.as_ref().is_ok_and(|it| it.apart.is_some())) {
            (entry.apart, entry.media, entry.content) = (whole.apart, whole.media, whole.content);
        }
    }
    Ok(())
}

pub(super) fn readable(device: DeviceId, order: Order, value: bytes::Bytes) -> Option<Entry> {
    Entry::decode(value).inspect_err(|error| error!(%device, %order, %error, "an inbox entry is passed over")).ok()
}

/// The frame that delivers an entry.
fn deliver(order: Order, entry: &Entry, again: bool, filters: Filters, now_s: u32) -> Frame {
    let mut deliver = bus::Deliver { order: order.get(), duplicate: again, ..Default::default() };
    if entry.limited {
        deliver.expires_in_plus_one_s = u64::from(entry.expires_at_s.saturating_sub(now_s)) + 1;
    }
    if filters.wants_events() || entry.kind == Kind::Change {
        deliver.set_shape(Shape::Event);
        deliver.payload = entry.event(now_s);
    } else {
        deliver.set_shape(Shape::Raw);
        deliver.payload = entry.content.clone();
        deliver.conversation = entry.conversation.get();
        deliver.sequence = entry.sequence.get();
        // Names are checked where they enter: this one is ASCII.
        deliver.sender = String::from_utf8_lossy(&entry.sender_name).into_owned();
    }
    Frame::Deliver(deliver)
}

/// A member of a device's conversations got further: told to the device if it listens.
pub(super) fn owe(session: &mut Session, receipt: super::receipts::Receipt) -> bool {
    let device = session.device;
    let listens = session.filters.wants_events();
    let Some(connection) = session.connection.as_deref_mut().filter(|_| listens) else { return false };
    connection.receipts.owe(device, receipt);
    true
}
