//! One device's session: its connection if it has one, what it is subscribed to, what it was handed, what of it is
//! under way in other lanes. In memory only while there is something to remember; the rest is its `SessionRecord`.

use std::collections::{BTreeSet, VecDeque};

use godwit_core::credential::Fingerprint;
use godwit_core::delivery_window::DeliveryWindow;
use godwit_core::keys::Ticket;
use godwit_core::membership_count::day_of;
use godwit_core::reply_to::{ConnectionKey, PublishKey};
use godwit_core::stored::SessionRecord;
use godwit_schemas::bus;
use godwit_schemas::ids::{DeviceId, DeviceName, Order, UserId};
use godwit_schemas::topic::Filters;
use tokio::time::Instant;

use crate::lane::delivery::receipts::Receipts;
use crate::lane::publish::calls::{Answers, WaitingCall};

/// Never ends, or has not begun to end.
pub(in crate::lane) const NEVER: u64 = u64::MAX;
/// The lowest order that any entry has.
const FIRST_ORDER: u64 = 1;
/// Session expiry interval that means "never" (MQTT 5.0, 3.1.2.11.2).
const EXPIRY_NEVER: u32 = u32::MAX;

/// A live connection.
pub(in crate::lane) struct SessionConnection {
    pub(in crate::lane) key: ConnectionKey,
    /// See bus.proto, `Connected`.
    pub(in crate::lane) rank: u64,
    /// 4 or 5.
    pub(in crate::lane) protocol: u32,
    /// The device's, kept only where operators are told of sessions.
    pub(in crate::lane) name: Option<DeviceName>,
    /// What becomes of the session when it ends, in seconds.
    pub(in crate::lane) expiry_s: u32,
    /// Second since 1970 at which its token ends; `None`: it came with none.
    pub(in crate::lane) ends_at_s: Option<u32>,
    /// What it was accepted with.
    pub(in crate::lane) fingerprint: Fingerprint,
    pub(in crate::lane) deliveries: DeliveryWindow,
    pub(in crate::lane) receipts: Receipts,
    pub(in crate::lane) answers: Answers,
    /// The delivery that is timed, and since when its entry is on disk. One at a time, as TCP times a segment (RFC 6298).
    pub(in crate::lane) timed: Option<(Order, Instant)>,
    /// Waiting in the read queue.
    pub(in crate::lane) queued: bool,
    /// The pusher will ask what has become of an entry that it was handed.
    pub(in crate::lane) is_watched: bool,
    /// Nothing that an earlier connection acknowledged is left in the inbox: reading may begin.
    pub(in crate::lane) started: bool,
    /// After a reattachment: what the edge said, until it has been compared with the inbox.
    pub(in crate::lane) resume: Option<Box<bus::Resume>>,
}

/// A publish that waits until the fate of earlier ones is known.
pub(in crate::lane) struct Parked {
    pub(in crate::lane) key: ConnectionKey,
    pub(in crate::lane) publish: bus::Publish,
}

/// What is remembered of a device: connected, or with something under way.
pub(in crate::lane) struct Session {
    pub(in crate::lane) user: UserId,
    pub(in crate::lane) device: DeviceId,
    pub(in crate::lane) connection: Option<Box<SessionConnection>>,
    pub(in crate::lane) filters: Filters,
    record: SessionRecord,
    changed: bool,
    /// Publishes under way.
    pub(in crate::lane) under_way: u32,
    /// A message to a phone number under way: it takes one step more than others, and none may overtake it.
    pub(in crate::lane) by_phone: Option<Box<PublishKey>>,
    /// `Acked` commands under way, each by its lowest order: their entries are still in the store.
    pub(in crate::lane) unsettled: BTreeSet<Order>,
    pub(in crate::lane) parked: VecDeque<Parked>,
    /// Calls that only read, in the order they came in, until it is their turn.
    pub(in crate::lane) calls: VecDeque<WaitingCall>,
    /// One of them has a place among those that wait for their turn.
    pub(in crate::lane) has_turn: bool,
    /// Calls that are carried out and have no answer yet.
    pub(in crate::lane) computing: u32,
    acknowledged: u32,
    written_in: Ticket,
    /// Second of the last live signal, and how many there were in it.
    live: (u32, u32),
    /// Second of the last publish.
    acted_at_s: u32,
}

impl Session {
    /// As it is on disk.
    pub(in crate::lane) fn new(user: UserId, device: DeviceId, record: SessionRecord) -> Self {
        Self {
            user,
            device,
            connection: None,
            filters: Filters::from_bits(record.filters),
            record,
            changed: false,
            under_way: 0,
            by_phone: None,
            unsettled: BTreeSet::new(),
            parked: VecDeque::new(),
            calls: VecDeque::new(),
            has_turn: false,
            computing: 0,
            acknowledged: 0,
            written_in: 0,
            live: (0, 0),
            acted_at_s: 0,
        }
    }

    /// Another call may be carried out: of those before, not too many answers are under way.
    pub(in crate::lane) fn may_answer(&self) -> bool {
        match self.connection.as_deref() {
            Some(connection) => connection.answers.has_room(self.computing),
            None => Answers::default().has_room(self.computing),
        }
    }

    /// Its user does something on it.
    pub(in crate::lane) fn acts(&mut self, now_s: u32) {
        self.acted_at_s = now_s;
    }

    /// It is connected, and its user has done something on it since this second.
    pub(in crate::lane) fn is_in_use(&self, since_s: u32) -> bool {
        self.connection.is_some() && self.acted_at_s >= since_s
    }

    /// What it is subscribed to, and its connection.
    pub(in crate::lane) fn filters_and_connection(&mut self) -> Option<(Filters, &mut SessionConnection)> {
        Some((self.filters, self.connection.as_deref_mut()?))
    }

    /// Counts a live signal: how many there were in this second.
    pub(in crate::lane) fn count_live(&mut self, now_s: u32) -> u32 {
        let before = if self.live.0 == now_s { self.live.1 } else { 0 };
        self.live = (now_s, before.saturating_add(1));
        self.live.1
    }

    /// Whether its MQTT session is there to be resumed.
    pub(in crate::lane) fn is_present(&self, now_s: u32) -> bool {
        self.record.exists && (self.record.ends_at_s == NEVER || self.record.ends_at_s > now_s.into())
    }

    /// The highest rank that a connection of it had, as far as is known.
    pub(in crate::lane) fn rank(&self) -> u64 {
        self.record.rank
    }

    /// The device is there today.
    pub(in crate::lane) fn is_seen(&mut self, now_s: u32) {
        let today = day_of(now_s);
        self.changed |= self.record.seen_day != today;
        self.record.seen_day = today;
    }

    /// The MQTT session begins or goes on, with a connection of this rank.
    pub(in crate::lane) fn begin(&mut self, goes_on: bool, expiry_s: u32, rank: u64) {
        let lasts = expiry_s > 0;
        // Written with whatever else is to be written: at the latest when a connection ends that has published.
        self.record.rank = rank;
        if !goes_on {
            self.filters = Filters::NONE;
        }
        if self.record.exists != lasts || (lasts && !goes_on) || self.record.ends_at_s != NEVER {
            // A session that lasts no longer than its connection leaves nothing to write, but the end of the one before.
            self.changed |= lasts || self.record.exists;
            self.record.exists = lasts;
            self.record.ends_at_s = NEVER;
        }
    }

    /// Its connection has ended; `clean`: in agreement, with every publish answered.
    pub(in crate::lane) fn end(&mut self, clean: bool, now_s: u32) -> Option<Box<SessionConnection>> {
        let connection = self.connection.take()?;
        self.is_seen(now_s);
        self.keep_place(&connection.deliveries);
        if clean && self.record.published {
            self.record.doubt_epoch = self.record.doubt_epoch.wrapping_add(1);
            self.record.published = false;
            self.changed = true;
        }
        self.changed |= self.record.published;
        let ends_at_s = match connection.expiry_s {
            0 => 0,
            EXPIRY_NEVER => NEVER,
            expiry_s => u64::from(now_s) + u64::from(expiry_s),
        };
        if ends_at_s == 0 {
            self.filters = Filters::NONE;
        }
        if self.record.exists && self.record.ends_at_s != ends_at_s {
            self.record.ends_at_s = ends_at_s;
            self.record.exists = ends_at_s != 0;
            self.changed = true;
        }
        self.parked.clear();
        self.calls.clear();
        Some(connection)
    }

    /// Remembers how far deliveries are.
    fn keep_place(&mut self, deliveries: &DeliveryWindow) {
        // What was acknowledged is in the store until that is on disk: a crash must find it again.
        let low = self.unsettled.first().map_or(deliveries.low(), |unsettled| deliveries.low().min(*unsettled));
        let (low, sent) = (low.get(), deliveries.sent().get());
        // Reading starts here the next time: entries that are gone are not passed over again.
        self.changed |= low > self.record.low.max(FIRST_ORDER) || sent > self.record.sent;
        self.record.low = low.max(self.record.low);
        self.record.sent = sent.max(self.record.sent);
    }

    /// No inbox entry is lower.
    pub(in crate::lane) fn low(&self) -> Order {
        Order::new(self.record.low)
    }

    /// Nothing higher was handed to an earlier connection.
    pub(in crate::lane) fn sent(&self) -> Order {
        Order::new(self.record.sent)
    }

    /// Epoch of publishes that are in doubt (see `godwit_core::retry`).
    pub(in crate::lane) fn retry_epoch(&self) -> u32 {
        self.record.doubt_epoch
    }

    /// A publish was accepted that would be in doubt if the connection broke.
    pub(in crate::lane) fn has_published(&mut self) {
        // Written when the connection ends; after a crash the epoch simply goes on.
        self.record.published = true;
    }

    /// Some entries were acknowledged. True every so often: then its place is worth writing down.
    pub(in crate::lane) fn count_acknowledged(&mut self, entries: usize) -> bool {
        const WRITE_PLACE_AFTER: u32 = 1_000;
        self.acknowledged += entries as u32;
        if self.acknowledged < WRITE_PLACE_AFTER {
            return false;
        }
        self.acknowledged = 0;
        if let Some(connection) = self.connection.take() {
            self.keep_place(&connection.deliveries);
            self.connection = Some(connection);
        }
        self.changed
    }

    /// Sets what it is subscribed to. True if that must get on disk, or is on its way there: commits up to `confirmed`
    /// are.
    pub(in crate::lane) fn subscribe(&mut self, filters: Filters, confirmed: Ticket) -> bool {
        self.filters = filters;
        let lasting = self.record.exists && (self.record.filters != filters.bits() || self.written_in > confirmed);
        self.changed |= lasting;
        lasting
    }

    /// There is something to write.
    pub(in crate::lane) fn is_changed(&self) -> bool {
        self.changed
    }

    /// What to write, in the commit of this ticket.
    pub(in crate::lane) fn write(&mut self, ticket: Ticket) -> &SessionRecord {
        if let Some(connection) = self.connection.take() {
            self.keep_place(&connection.deliveries);
            self.connection = Some(connection);
        }
        self.changed = false;
        self.written_in = ticket;
        self.record.filters = if self.record.exists { self.filters.bits() } else { 0 };
        &self.record
    }

    /// Nothing would be lost if it were forgotten.
    pub(in crate::lane) fn may_go(&self, confirmed: Ticket) -> bool {
        self.connection.is_none()
            && !self.changed
            && self.under_way == 0
            && self.unsettled.is_empty()
            && self.written_in <= confirmed
    }

    /// Its connection, if it is this one.
    pub(in crate::lane) fn connection(&mut self, key: ConnectionKey) -> Option<&mut SessionConnection> {
        self.connection.as_deref_mut().filter(|connection| connection.key == key)
    }
}

#[cfg(test)]
mod tests {
    use godwit_core::delivery_window::WindowLimits;

    use super::*;

    const KEY: ConnectionKey = ConnectionKey { edge: 1, connection: 1 };

    fn session() -> Session {
        Session::new(UserId::new("alice").unwrap(), DeviceId::new(1), SessionRecord::default())
    }

    fn connect(session: &mut Session, goes_on: bool, expiry_s: u32) {
        session.begin(goes_on, expiry_s, 1);
        let window = WindowLimits { count: 1, bytes: 1, packet_bytes: None };
        session.connection = Some(Box::new(SessionConnection {
            key: KEY,
            rank: 1,
            name: None,
            protocol: 5,
            expiry_s,
            ends_at_s: None,
            fingerprint: Fingerprint::default(),
            deliveries: DeliveryWindow::new(window, session.low(), session.sent()),
            receipts: Receipts::default(),
            answers: Answers::default(),
            timed: None,
            queued: false,
            is_watched: false,
            started: false,
            resume: None,
        }));
    }

    #[test]
    fn a_session_that_lasts_is_there_until_it_ends() {
        let mut it = session();
        assert!(!it.is_present(0));
        connect(&mut it, false, 60);
        assert!(it.subscribe(Filters::RAW, 0), "a lasting subscription is written");
        it.end(false, 1_000);
        assert!(it.is_changed());
        let record = it.write(1).clone();
        let it = Session::new(it.user, it.device, record);
        assert!(it.is_present(1_059) && !it.is_present(1_060));
        assert_eq!(it.filters, Filters::RAW);
    }

    #[test]
    fn a_subscription_is_not_there_before_it_is_on_disk() {
        let mut it = session();
        connect(&mut it, false, u32::MAX);
        assert!(it.subscribe(Filters::RAW, 0));
        it.write(1);
        assert!(it.subscribe(Filters::RAW, 0), "asked again while it is on its way");
        it.write(2);
        assert!(!it.subscribe(Filters::RAW, 2));
    }

    #[test]
    fn a_session_of_one_connection_writes_nothing() {
        let mut it = session();
        connect(&mut it, false, 0);
        assert!(!it.subscribe(Filters::RAW, 0));
        it.end(false, 1_000);
        assert!(!it.is_changed() && !it.is_present(1_000) && it.may_go(0));
        assert_eq!(it.filters, Filters::NONE);
    }

    #[test]
    fn a_clean_start_that_does_not_last_ends_a_lasting_session() {
        let mut it = session();
        connect(&mut it, false, u32::MAX);
        it.subscribe(Filters::RAW, 0);
        it.end(true, 0);
        it.write(1);
        connect(&mut it, false, 0);
        assert!(it.is_changed(), "or a crash would bring the subscription back");
        it.end(true, 0);
        assert!(!it.is_present(0));
        assert_eq!(it.write(2).filters, 0);
    }

    #[test]
    fn a_clean_start_ends_a_session_that_nothing_was_subscribed_in() {
        let mut it = session();
        connect(&mut it, false, u32::MAX);
        it.end(true, 0);
        let record = it.write(1).clone();
        let mut it = Session::new(it.user, it.device, record);
        assert!(it.is_present(0));
        connect(&mut it, false, 0);
        assert!(it.is_changed(), "or it would be there again once this one is forgotten");
        it.end(true, 0);
        assert!(!Session::new(it.user.clone(), it.device, it.write(2).clone()).is_present(0));
    }

    #[test]
    fn what_is_acknowledged_and_not_on_disk_is_found_again() {
        let mut it = session();
        connect(&mut it, false, u32::MAX);
        it.unsettled.insert(Order::new(3));
        if let Some(connection) = it.connection(KEY) {
            connection.deliveries.resume_at(Order::new(5));
        }
        it.end(false, 0);
        assert_eq!(it.write(1).low, 3);
    }

    #[test]
    fn saying_goodbye_ends_all_doubt() {
        let mut it = session();
        connect(&mut it, false, 0);
        it.end(true, 0);
        assert_eq!(it.retry_epoch(), 0, "nothing was published");
        connect(&mut it, false, 0);
        it.has_published();
        it.end(false, 0);
        assert_eq!(it.retry_epoch(), 0);
        connect(&mut it, true, 0);
        it.end(true, 0);
        assert_eq!(it.retry_epoch(), 1);
    }
}
