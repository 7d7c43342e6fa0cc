//! Inboxes are read for devices that have room, and compared with what edges say of reattached connections.

use std::ops::Add;

use godwit_core::delivery_window::EntryAction;
use godwit_core::usage::InboxUsage;
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::{DeviceId, Order};

use crate::lane::Lane;
use crate::lane::connection::Connections;
use crate::lane::context::Context;
use crate::lane::delivery::Deliveries;
use crate::lane::delivery::entry::{deliver, fetch_bodies, readable};
use crate::lane::delivery::receipts::Receipts;
use crate::lane::edges::Edges;
use godwit_store::crash::{self, Point};
use godwit_store::{Store, StoreError, Table, keys};

/// Devices that are read for at once...
const READ_DEVICES: usize = 64;
/// ...and about how many rows.
const READ_ROWS: u64 = 2_048;

/// Entries that are compared at once with what an edge says of a connection, and about how many bytes of them.
const RECALL_ROWS: usize = 256;
const RECALL_BYTES: usize = 64 << 10;
/// About how many bytes of receipts are read at once.
const RECEIPT_BYTES: usize = 64 << 10;

impl Deliveries {
    async fn read_receipts<S: Store>(
        &mut self,
        context: &Context<S>,
        connections: &mut Connections,
        edges: &mut Edges,
        device: DeviceId,
    ) -> Result<(), StoreError> {
        let Some(session) = connections.sessions.get_mut(&device).filter(|it| it.filters.wants_events()) else {
            return Ok(());
        };
        let Some(connection) = session.connection.as_deref_mut() else { return Ok(()) };
        if let Some(from) = connection.receipts.wants_read() {
            let (first, to) = keys::receipts(device);
            let from = if from.is_empty() { first } else { from.to_vec() };
            let rows = context.store.scan(Table::Receipts, &from, &to, Receipts::READ_ROWS, RECEIPT_BYTES).await?;
            connection.receipts.found(&rows);
        }
        self.hand_out_receipts(connections, edges, device);
        Ok(())
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// Reads for devices that wait, each as much as its window takes.
    pub(in crate::lane) async fn read_inboxes(&mut self) -> Result<(), StoreError> {
        let end = self.context.store.rows_read() + READ_ROWS;
        for _ in 0..self.delivery.read_queue.len().min(READ_DEVICES) {
            if self.context.store.rows_read() >= end {
                break;
            }
            let Some(device) = self.delivery.read_queue.pop_front() else { break };
            let Some(connection) =
                self.connections.sessions.get_mut(&device).and_then(|it| it.connection.as_deref_mut())
            else {
                continue;
            };
            if !self.edges.has_room(connection.key.edge) {
                self.delivery.stalled.entry(connection.key.edge).or_default().push(device);
                continue;
            }
            connection.queued = false;
            connection.started = true;
            if connection.resume.is_none() || self.reconcile_after_reattach(device).await? {
                self.read_inbox(device).await?;
                self.delivery.read_receipts(&self.context, &mut self.connections, &mut self.edges, device).await?;
            }
            self.delivery.schedule_read(&mut self.connections, device);
        }
        Ok(())
    }

    /// An edge has said how far it is: reading goes on for those of its devices that waited for room, and their calls are
    /// carried out.
    pub(in crate::lane) fn resume_reads_of(&mut self, edge: u64) {
        if (self.delivery.stalled.is_empty() && self.delivery.stalled_calls.is_empty()) || !self.edges.has_room(edge) {
            return;
        }
        self.delivery.read_queue.extend(self.delivery.stalled.remove(&edge).into_iter().flatten());
        for device in self.delivery.stalled_calls.remove(&edge).into_iter().flatten() {
            self.seek_turn(device);
        }
    }

    async fn read_inbox(&mut self, device: DeviceId) -> Result<(), StoreError> {
        let bytes_max = self.context.settings.in_flight_bytes();
        let Some(session) = self.connections.sessions.get_mut(&device).filter(|it| it.filters.wants_inbox()) else {
            return Ok(());
        };
        let filters = session.filters;
        let Some(connection) = session.connection.as_deref_mut() else { return Ok(()) };
        let deliveries = &mut connection.deliveries;
        deliveries.set_bytes_max(bytes_max);
        if !deliveries.wants_read() {
            return Ok(());
        }
        let (room, bytes_max) = (deliveries.room(), bytes_max as usize);
        let (from, to) = keys::inbox_after(device, deliveries.cursor());
        let rows = self.context.store.scan(Table::Inbox, &from, &to, room, bytes_max).await?;
        let mut expired_up_to = None;
        if rows.len() < room && rows.iter().map(|(_, value)| value.len()).sum::<usize>() < bytes_max {
            if self.delivery.backlogs.entries(device) as usize > rows.len() + deliveries.in_flight() {
                // The others have expired, and nothing up to the last order that was told is left to be found: no other
                // scan is to pass over them.
                expired_up_to = Some(self.delivery.last_order);
            }
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
                EntryAction::Deliver { again } => handed_out.push((order, entry, again)),
                EntryAction::Settle(flight) => settled.push(flight),
                EntryAction::Skip => {}
            }
        }
        if let Some(order) = expired_up_to.filter(|_| !deliveries.is_behind()) {
            deliveries.nothing_up_to(order);
        }
        fetch_bodies(&self.context.store, handed_out.iter_mut().map(|(_, entry, _)| entry)).await?;
        for (order, entry, again) in handed_out {
            let is_sealed_for_raw = !filters.wants_events() && entry.mls_epoch() != 0;
            if entry.is_reference() || is_sealed_for_raw {
                // The body has gone before its reference: it has just expired. Nothing is there to be acknowledged. Or it is
                // sealed, which the reference does not say, and the device reads raw bodies.
                if let Some(mut lost) = deliveries.acknowledge(order) {
                    lost.message = false;
                    settled.push(lost);
                }
            } else {
                self.edges.push(connection.key, deliver(device, order, &entry, again, filters, self.context.now_s));
            }
        }
        if let Some(waiting) = deliveries.waiting().filter(|_| session.unsettled.is_empty()) {
            // What is settled here is still to be subtracted.
            let settled = settled.iter().map(|flight| InboxUsage::of(flight.bytes));
            self.delivery.backlogs.measured(device, settled.fold(waiting, Add::add), deliveries.cursor());
        }
        self.acked(device, &settled);
        Ok(())
    }

    /// Compares what the edge says of a reattached connection with its inbox: what was handed out and is not
    /// outstanding any more was acknowledged. A piece at a time, since what is too large for a connection may be any number
    /// of entries. True when all is compared.
    async fn reconcile_after_reattach(&mut self, device: DeviceId) -> Result<bool, StoreError> {
        let Some(session) = self.connections.sessions.get_mut(&device) else { return Ok(true) };
        let Some(connection) = session.connection.as_deref_mut() else { return Ok(true) };
        let Some(resume) = &connection.resume else { return Ok(true) };
        let cursor = Order::new(resume.cursor);
        let (from, to) =
            (keys::inbox_after(device, connection.deliveries.cursor()).0, keys::inbox_after(device, cursor).0);
        let rows = self.context.store.scan(Table::Inbox, &from, &to, RECALL_ROWS, RECALL_BYTES).await?;
        let bytes: usize = rows.iter().map(|(_, value)| value.len()).sum();
        let all = rows.len() < RECALL_ROWS && bytes < RECALL_BYTES;
        let mut acknowledged = Vec::new();
        for (key, value) in rows {
            let Some(order) = keys::parse_order(&key) else { continue };
            match readable(device, order, value) {
                Some(entry) => acknowledged.extend(connection.deliveries.reconcile_after_reattach(
                    order,
                    &entry,
                    &resume.outstanding,
                )),
                None => connection.deliveries.pass_over(order),
            }
        }
        if all {
            connection.deliveries.resume_at(cursor);
            connection.receipts.set_behind();
            connection.resume = None;
        }
        self.acked(device, &acknowledged);
        Ok(all)
    }
}
