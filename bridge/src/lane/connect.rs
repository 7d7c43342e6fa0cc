//! Connections begin, are attached again, are taken over, and end.

use std::cmp::min;

use godwit_core::command::ConnectionKey;
use godwit_core::fact::Fact;
use godwit_core::record::SessionRecord;
use godwit_core::session::{Deliveries, Window};
use godwit_schemas::bus::{self, Bus, down::Frame};
use godwit_schemas::ids::{DeviceId, DeviceName, UserId};
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;
use tracing::{debug, warn};

use super::Lane;
use super::read::decoded;
use super::receipts::Receipts;
use super::session::{Connection, Session};
use crate::audit::Entry;
use crate::mail::Done;
use crate::password::{self, Known};
use crate::store::{Store, StoreError, Write, keys};
use crate::token;
use crate::writes;

/// Whether somebody gets in.
pub(super) enum Entrance {
    /// As this device; second since 1970 at which the connection ends with its token, 0: not.
    In(UserId, DeviceId, u32),
    /// And why; the second is for the audit.
    Refused(Reason, &'static str),
    /// What its token names is being made.
    Later,
}

impl<S: Store, B: Bus> Lane<S, B> {
    pub(super) async fn connect(&mut self, key: ConnectionKey, connect: bus::Connect) -> Result<(), StoreError> {
        if UserId::new(&connect.user).is_ok_and(|user| !self.is_home_of(&user)) {
            // An edge that heard late of a bridge with another number of lanes. It will hear of this one.
            warn!(lane = self.number, user = connect.user, "a connection came to a lane that does not own its user");
            return Ok(());
        }
        let (device, ends_at_s) = match self.authenticate(key, &connect).await? {
            Entrance::In(user, device, ends_at_s) => {
                self.note_login(&connect, None);
                self.session(user, device).await?;
                (device, ends_at_s)
            }
            Entrance::Later => return Ok(()),
            Entrance::Refused(reason, why) => {
                // The edge, which knows the address, tells the operator.
                self.note_login(&connect, Some(why));
                debug!(user = connect.user, device = connect.device, reason = reason.get(), why, "connection refused");
                let connected = bus::Connected { reason: reason.into(), ..Default::default() };
                self.edges.push(key, Frame::Connected(connected));
                return Ok(());
            }
        };
        let Some(rank) = self.rank_of(device, &connect) else {
            self.edges.push(key, Frame::Close(bus::Close { reason: Reason::SESSION_TAKEN_OVER.into() }));
            return Ok(());
        };
        let was_connected = self.sessions.get(&device).is_some_and(|session| session.connection.is_some());
        self.take_over(device, key);
        let (now_s, window) = (self.now_s, self.window(&connect));
        let name = DeviceName::new(&connect.device).ok().filter(|_| self.tells);
        let Some(session) = self.sessions.get_mut(&device) else { return Ok(()) };
        let goes_on = connect.resume.is_some() || (!connect.clean_start && session.is_present(now_s));
        session.begin(goes_on, connect.session_expiry_s, rank);
        if let Some(resume) = &connect.resume {
            session.filters = Filters::from_bits(resume.filters);
        }
        let (user, attached_again) = (session.user.clone(), connect.resume.is_some());
        let deliveries = Deliveries::new(window, session.low(), session.sent());
        let up = name.clone().map(|device| Fact::Session { user: session.user.clone(), device, up: true });
        session.connection = Some(Box::new(Connection {
            key,
            rank,
            name,
            protocol: connect.protocol,
            expiry_s: connect.session_expiry_s,
            ends_at_s,
            deliveries,
            receipts: Receipts::behind(),
            queued: false,
            started: false,
            resume: connect.resume.map(Box::new),
        }));
        let filters = session.filters;
        self.connections.insert(key, device);
        if ends_at_s > 0 {
            self.ends.insert((ends_at_s, key));
        }
        self.has_come(&user, device, was_connected);
        self.listens(device, attached_again);
        self.note_change(device);
        let connected =
            bus::Connected { reason: 0, session_present: goes_on, filters: filters.bits(), rank, ends_at_s };
        self.edges.push(key, Frame::Connected(connected));
        self.next.facts.extend(up);
        self.hunger(device);
        Ok(())
    }

    /// Who this is, or why it may not connect. A connection that was accepted before needs no password again, and one
    /// whose certificate the edge has verified none at all.
    async fn authenticate(&mut self, key: ConnectionKey, connect: &bus::Connect) -> Result<Entrance, StoreError> {
        let refused = Ok(Entrance::Refused(Reason::BAD_USER_NAME_OR_PASSWORD, "credentials"));
        let (Ok(user), Ok(name)) = (UserId::new(&connect.user), DeviceName::new(&connect.device)) else {
            return refused;
        };
        if connect.resume.is_none()
            && !connect.verified
            && let Some(tokens) = self.settings.tokens.clone()
            && token::looks_like_one(&connect.password)
        {
            return self.admit_by_token(&tokens, key, connect, (user, name)).await;
        }
        let record = self.user_record(&user).await?.unwrap_or_default();
        let device = record.devices.iter().find(|device| device.name == name.as_str());
        let known = match connect.resume {
            Some(_) => Some(Known::Current),
            None if connect.verified => Some(Known::Current),
            None => password::known(device, &user, &name, &connect.password),
        };
        let Some((device, known)) = device.zip(known) else { return refused };
        let device = DeviceId::new(device.id);
        if known == Known::Next {
            self.next_password_is_used(&user, record, device);
        }
        let ends_at_s = connect.resume.as_ref().map_or(0, |resume| resume.ends_at_s);
        Ok(Entrance::In(user, device, ends_at_s))
    }

    /// For the audit. A connection that is attached again logs in no more.
    fn note_login(&self, connect: &bus::Connect, refused: Option<&'static str>) {
        if connect.resume.is_some() {
            return;
        }
        self.settings.audit.note(|| Entry {
            event: if refused.is_some() { "login_refused" } else { "login" },
            user: Some(connect.user.clone()),
            device: Some(connect.device.clone()),
            address: Some(connect.address.clone()).filter(|address| !address.is_empty()),
            with: Some(match connect.verified {
                true => "certificate",
                false if self.settings.tokens.is_some() && token::looks_like_one(&connect.password) => "token",
                false => "password",
            }),
            reason: refused,
            ..Entry::default()
        });
    }

    /// Brings the session into memory.
    async fn session(&mut self, user: UserId, device: DeviceId) -> Result<(), StoreError> {
        if !self.sessions.contains_key(&device) {
            let stored = self.store.multi_get(&[keys::session(device)]).await?.pop().flatten();
            let record = stored.and_then(|value| decoded::<SessionRecord>("session", &device, &value));
            self.sessions.insert(device, Session::new(user, device, record.unwrap_or_default()));
        }
        Ok(())
    }

    fn is_home_of(&self, user: &UserId) -> bool {
        self.lane_of(user) == self.number
    }

    /// The rank of a connection. `None`: an edge attaches it again, and the client itself has connected since on another
    /// edge, of which the first has not heard yet.
    fn rank_of(&mut self, device: DeviceId, connect: &bus::Connect) -> Option<u64> {
        let known = self.sessions.get(&device).map_or(0, Session::rank);
        match &connect.resume {
            Some(resume) => Some(resume.rank).filter(|rank| *rank >= known),
            None => {
                // A store brought back from a copy may know fewer starts than there were.
                self.last_rank = (self.last_rank + 1).max(known + 1);
                Some(self.last_rank)
            }
        }
    }

    /// The device's earlier connection, if it has one, ends (MQTT-3.1.4-3).
    fn take_over(&mut self, device: DeviceId, by: ConnectionKey) {
        let Some(session) = self.sessions.get_mut(&device) else { return };
        let user = session.user.clone();
        let Some(old) = session.end(false, self.now_s) else { return };
        self.note_end(user, &old);
        self.connections.remove(&old.key);
        if old.key != by {
            self.edges.push(old.key, Frame::Close(bus::Close { reason: Reason::SESSION_TAKEN_OVER.into() }));
        }
    }

    fn window(&self, connect: &bus::Connect) -> Window {
        /// What an event adds to a body, at the most.
        const EVENT_BYTES: u32 = 48;
        let entry_bytes = connect.payload_bytes_max.saturating_sub(EVENT_BYTES).max(1);
        Window {
            count: min(connect.receive_maximum.max(1), self.settings.window_messages),
            bytes: self.settings.window_bytes,
            entry_bytes: if connect.payload_bytes_max == 0 { u32::MAX } else { entry_bytes },
        }
    }

    pub(super) async fn subscribe(&mut self, key: ConnectionKey, subscribe: &bus::Subscribe) -> Result<(), StoreError> {
        let Some(device) = self.connections.get(&key).copied() else { return Ok(()) };
        let filters = Filters::from_bits(subscribe.filters);
        let Some(session) = self.sessions.get_mut(&device) else { return Ok(()) };
        let user = session.user.clone();
        if let Some(connection) = session.connection(key) {
            // What was passed over while nothing was asked for is in the store.
            connection.deliveries.set_behind();
            connection.receipts.set_behind();
        }
        let mut durable = session.subscribe(filters, self.confirmed);
        self.listens(device, false);
        self.note_change(device);
        if filters.wants_events() {
            durable |= self.reads_events(&user, device).await?;
        }
        if durable {
            self.when_durable(Done::Subscribed(key, subscribe.token));
        } else {
            self.edges.push(key, Frame::Subscribed(bus::Subscribed { token: subscribe.token }));
        }
        self.hunger(device);
        Ok(())
    }

    pub(super) fn disconnect(&mut self, key: ConnectionKey, disconnect: &bus::Disconnect) {
        self.arriving.remove(&key);
        let Some(device) = self.connections.remove(&key) else { return };
        let Some(session) = self.sessions.get_mut(&device) else { return };
        if let (Some(connection), Some(expiry_s)) =
            (session.connection(key), disconnect.session_expiry_plus_one_s.checked_sub(1))
        {
            connection.expiry_s = u32::try_from(expiry_s).unwrap_or(u32::MAX);
        }
        let user = session.user.clone();
        if let Some(ended) = session.end(disconnect.clean, self.now_s) {
            self.has_gone(&user, device);
            self.note_end(user, &ended);
        }
        self.settle_departure(device);
    }

    fn note_end(&mut self, user: UserId, ended: &Connection) {
        self.ends.remove(&(ended.ends_at_s, ended.key));
        let down = ended.name.clone().map(|device| Fact::Session { user, device, up: false });
        self.next.facts.extend(down);
    }

    /// All connections of an edge have ended, without a word.
    pub(super) fn end_connections_of(&mut self, edge: u64) {
        self.arriving.retain(|key, _| key.edge != edge);
        let of_edge: Vec<_> = self.connections.keys().filter(|key| key.edge == edge).copied().collect();
        if !of_edge.is_empty() {
            debug!(edge = format!("{edge:016x}"), connections = of_edge.len(), "connections ended by their edge");
        }
        for key in of_edge {
            self.disconnect(key, &bus::Disconnect::default());
        }
    }

    /// Forgets a session without a connection, now or when nothing of it is under way any more.
    fn settle_departure(&mut self, device: DeviceId) {
        self.note_change(device);
        match self.sessions.get(&device) {
            Some(session) if session.may_go(self.confirmed) => {
                self.sessions.remove(&device);
            }
            Some(_) => self.leaving.push(device),
            None => {}
        }
    }

    /// Forgets sessions that had something under way and have no more.
    pub(super) fn forget_the_departed(&mut self) {
        let (sessions, confirmed) = (&mut self.sessions, self.confirmed);
        self.leaving.retain(|device| match sessions.get(device) {
            Some(session) if session.may_go(confirmed) => {
                sessions.remove(device);
                false
            }
            Some(session) => session.connection.is_none(),
            None => false,
        });
    }

    /// Sees to it that a changed session is written.
    pub(super) fn note_change(&mut self, device: DeviceId) {
        if self.sessions.get(&device).is_some_and(Session::is_changed) {
            self.dirty.insert(device);
        }
    }

    pub(super) fn write_sessions(&mut self, out: &mut Vec<Write>) {
        let ticket = self.sealed + 1;
        for device in std::mem::take(&mut self.dirty) {
            if let Some(session) = self.sessions.get_mut(&device) {
                out.push(writes::put(keys::session(device), session.write(ticket)));
            }
        }
    }

    /// Closes a device's connection, for this reason. Its session goes on.
    pub(super) fn dismiss(&mut self, device: DeviceId, reason: Reason) {
        let Some(session) = self.sessions.get_mut(&device) else { return };
        let user = session.user.clone();
        let Some(ended) = session.end(false, self.now_s) else { return };
        self.close(user, device, &ended, reason);
        self.settle_departure(device);
    }

    /// Closes a device's connection and forgets its session: the device is being removed.
    pub(super) fn cut(&mut self, device: DeviceId) {
        self.dirty.remove(&device);
        let Some(mut session) = self.sessions.remove(&device) else { return };
        if let Some(connection) = session.end(false, self.now_s) {
            self.close(session.user, device, &connection, Reason::ADMINISTRATIVE_ACTION);
        }
    }

    /// A connection is over because we say so.
    fn close(&mut self, user: UserId, device: DeviceId, ended: &Connection, reason: Reason) {
        self.connections.remove(&ended.key);
        self.edges.push(ended.key, Frame::Close(bus::Close { reason: reason.into() }));
        self.has_gone(&user, device);
        self.note_end(user, ended);
    }
}
