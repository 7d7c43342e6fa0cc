//! Inbox entries, receipts and answers on their way to devices: what is in the window, what waits for room, and what is read from
//! the store next. Keeps P2: an entry stays on disk until the device has acknowledged it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use godwit_core::usage::InboxUsage;
use godwit_schemas::bus;
use godwit_schemas::bus::down::Frame;
use godwit_schemas::bus::{DeliveryId, Shape};
use godwit_schemas::ids::{DeviceId, Order};

use self::backlog::{Backlogs, Recount};
use crate::lane::connection::Connections;
use crate::lane::connection::session::Session;
use crate::lane::edges::Edges;

pub(in crate::lane) mod acknowledge;
pub(in crate::lane) mod announce;
pub(in crate::lane) mod backlog;
pub(in crate::lane) mod entry;
pub(in crate::lane) mod fullness;
pub(in crate::lane) mod idle;
pub(in crate::lane) mod read;
pub(in crate::lane) mod receipts;

/// Who is to be served next, and what waits in inboxes.
pub(in crate::lane) struct Deliveries {
    /// Devices whose next entries are to be read from the store.
    read_queue: VecDeque<DeviceId>,
    /// Those whose edge has no room, by edge.
    stalled: BTreeMap<u64, Vec<DeviceId>>,
    /// Devices with calls that wait for room at their edge.
    stalled_calls: BTreeMap<u64, BTreeSet<DeviceId>>,
    pub(in crate::lane) backlogs: Backlogs,
    recount: Recount,
    /// The device that was looked at last: whether it is idle.
    looked_for_idle: DeviceId,
    /// No start uses a number again: acknowledgements of what an earlier one handed out still come.
    next_receipt: u64,
    /// The same for answers of calls.
    last_answer: u64,
    /// All entries of this lane's devices up to here have been announced.
    last_order: Order,
}

impl Deliveries {
    /// How many devices wait to be read for, and how many for room at their edge.
    pub(in crate::lane) fn waiting(&self) -> (usize, usize) {
        let stalled = self.stalled.values().map(Vec::len).sum::<usize>();
        (self.read_queue.len(), stalled + self.stalled_calls.values().map(BTreeSet::len).sum::<usize>())
    }

    /// Devices wait to be read for.
    pub(in crate::lane) fn has_reads(&self) -> bool {
        !self.read_queue.is_empty()
    }

    /// All entries of this lane's devices up to here have been announced.
    pub(in crate::lane) fn announced_up_to(&mut self, order: Order) {
        self.last_order = self.last_order.max(order);
    }

    /// The number of the next answer.
    pub(in crate::lane) fn next_answer(&mut self) -> u64 {
        self.last_answer += 1;
        self.last_answer
    }

    /// The device's calls wait until the edge says that it has got further.
    pub(in crate::lane) fn stall_calls(&mut self, edge: u64, device: DeviceId) {
        self.stalled_calls.entry(edge).or_default().insert(device);
    }

    /// The connections of an edge have ended: nothing waits for it.
    pub(in crate::lane) fn forget_edge(&mut self, edge: u64) {
        self.stalled.remove(&edge);
        self.stalled_calls.remove(&edge);
    }

    /// `first`: the lowest number that this start gives to receipts and answers.
    pub(in crate::lane) fn new(backlogs: Backlogs, last_order: Order, first: u64) -> Self {
        Self {
            read_queue: VecDeque::new(),
            stalled: BTreeMap::new(),
            stalled_calls: BTreeMap::new(),
            backlogs,
            recount: Recount::default(),
            looked_for_idle: DeviceId::default(),
            next_receipt: first,
            last_answer: first,
            last_order,
        }
    }

    /// Puts a device in the read queue, if there is something to read for it.
    pub(in crate::lane) fn schedule_read(&mut self, connections: &mut Connections, device: DeviceId) {
        let Some(session) = connections.sessions.get_mut(&device) else { return };
        let (filters, settled) = (session.filters, session.unsettled.is_empty());
        let Some(connection) = session.connection.as_deref_mut() else { return };
        let inbox = filters.wants_inbox() && connection.deliveries.wants_read();
        let receipts = filters.wants_events() && connection.receipts.wants_read().is_some();
        let may = connection.started || settled;
        if !connection.queued && may && (inbox || receipts || connection.resume.is_some()) {
            connection.queued = true;
            self.read_queue.push_back(device);
        }
    }

    /// Receipts that a device has room for.
    pub(in crate::lane) fn hand_out_receipts(
        &mut self,
        connections: &mut Connections,
        edges: &mut Edges,
        device: DeviceId,
    ) {
        let Some(session) = connections.sessions.get_mut(&device).filter(|it| it.filters.wants_events()) else {
            return;
        };
        let Some(connection) = session.connection.as_deref_mut().filter(|it| it.started) else { return };
        while let Some(receipt) = connection.receipts.next(self.next_receipt) {
            let deliver = bus::Deliver {
                order: DeliveryId::Receipt(self.next_receipt).to_wire(),
                shape: Shape::Event.into(),
                payload: receipt.event(),
                ..Default::default()
            };
            self.next_receipt += 1;
            edges.push(connection.key, Frame::Deliver(deliver));
        }
    }

    /// An entry is gone that the device had not acknowledged. If it was handed out, it counts until it is acknowledged.
    pub(in crate::lane) fn taken_back(
        &mut self,
        connections: &Connections,
        device: DeviceId,
        order: Order,
        bytes: u32,
    ) {
        let connection = connections.sessions.get(&device).and_then(|session| session.connection.as_ref());
        if connection.is_none_or(|connection| connection.deliveries.cursor() < order) {
            self.backlogs.removed(device, InboxUsage::of(bytes));
        }
    }

    /// One `Acked` command is on disk.
    pub(in crate::lane) fn settled(
        &mut self,
        connections: &mut Connections,
        device: DeviceId,
        lowest: Order,
        load: InboxUsage,
    ) {
        let Some(session) = connections.sessions.get_mut(&device) else { return self.backlogs.removed(device, load) };
        session.unsettled.remove(&lowest);
        let connection = session.connection.as_deref().filter(|_| session.unsettled.is_empty());
        match connection.and_then(|it| Some((it.deliveries.waiting()?, it.deliveries.cursor()))) {
            Some((waiting, cursor)) => self.backlogs.measured(device, waiting, cursor),
            None => self.backlogs.removed(device, load),
        }
        if connection.is_some_and(|it| !it.started) {
            self.schedule_read(connections, device);
        }
    }
}

/// A member of a device's conversations got further: told to the device if it listens.
pub(in crate::lane) fn owe(session: &mut Session, receipt: crate::lane::delivery::receipts::Receipt) -> bool {
    let device = session.device;
    let listens = session.filters.wants_events();
    let Some(connection) = session.connection.as_deref_mut().filter(|_| listens) else { return false };
    connection.receipts.owe(device, receipt);
    true
}
