//! Connections begin, are attached again, are taken over, and end.

use std::cmp::min;

use godwit_core::delivery_window::{DeliveryWindow, WindowLimits};
use godwit_core::event::DomainEvent;
use godwit_core::reply_to::ConnectionKey;
use godwit_schemas::bus::{self, Bus, down::Frame};
use godwit_schemas::ids::{DeviceId, DeviceName, UserId};
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;
use tracing::{debug, warn};

use crate::lane::Lane;
use crate::lane::connection::authenticate::Admitted;
use crate::lane::connection::session::SessionConnection;
use crate::lane::context::Context;
use crate::lane::delivery::receipts::Receipts;
use crate::lane::publish::calls::Answers;
use crate::messages::LaneMessage;
use godwit_store::{Store, StoreError};

impl<S: Store> Context<S> {
    fn window(&self, connect: &bus::Connect) -> WindowLimits {
        WindowLimits {
            count: min(connect.receive_maximum.max(1), self.settings.window_messages),
            bytes: self.settings.window_bytes,
            packet_bytes: connect.packet_bytes_max,
        }
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    pub(in crate::lane) async fn connect(
        &mut self,
        key: ConnectionKey,
        connect: bus::Connect,
    ) -> Result<(), StoreError> {
        if UserId::new(&connect.user).is_ok_and(|user| !self.context.is_home_of(&user)) {
            // An edge that heard late of a bridge with another number of lanes. It will hear of this one.
            warn!(
                lane = self.context.number,
                user = connect.user,
                "a connection came to a lane that does not own its user"
            );
            return Ok(());
        }
        let admitted = match &connect.resume {
            Some(resume) => self.state.authenticate_again(&self.context, &connect, resume).await?,
            None => self.authenticate(&connect).await?,
        };
        match admitted {
            Ok(admitted) if connect.resume.is_none() && !self.may_arrive(admitted.device, key) => {
                self.connections.arriving.insert(key, connect);
            }
            Ok(admitted) => self.begin_connection(key, connect, admitted).await?,
            Err((reason, why)) => {
                // The edge, which knows the address, tells the operator.
                self.context.note_login(&connect, Some(why));
                debug!(user = connect.user, device = connect.device, %reason, why, "connection refused");
                let connected = bus::Connected { reason: reason.into(), why: why.to_owned(), ..Default::default() };
                self.edges.push(key, Frame::Connected(connected));
            }
        }
        Ok(())
    }

    /// Whether all lanes know the device as it is. If not, [`Self::arrive`] is called when they do.
    fn may_arrive(&mut self, device: DeviceId, key: ConnectionKey) -> bool {
        self.connections.revocations.when_known(device, LaneMessage::Arrive(key)).is_some()
    }

    /// The device's session goes on, or begins, with this connection, which takes the place of an earlier one.
    async fn begin_connection(
        &mut self,
        key: ConnectionKey,
        connect: bus::Connect,
        Admitted { user, device, fingerprint, ends_at_s }: Admitted,
    ) -> Result<(), StoreError> {
        self.context.note_login(&connect, None);
        self.connections.session(&self.context, user, device).await?;
        let Some(rank) = self.connections.rank_of(device, &connect) else {
            self.connections.revocations.close(&mut self.edges, key, device, Reason::SESSION_TAKEN_OVER);
            return Ok(());
        };
        let was_connected = self.connections.sessions.get(&device).is_some_and(|session| session.connection.is_some());
        self.take_over(device, key);
        let (now_s, window) = (self.context.now_s, self.context.window(&connect));
        let name = DeviceName::new(&connect.device).ok().filter(|_| self.round.notes_events());
        let Some(session) = self.connections.sessions.get_mut(&device) else { return Ok(()) };
        let goes_on = connect.resume.is_some() || (!connect.clean_start && session.is_present(now_s));
        session.begin(goes_on, connect.session_expiry_s, rank);
        session.is_seen(now_s);
        self.delivery.backlogs.set_idle(device, false);
        if let Some(resume) = &connect.resume {
            session.filters = Filters::from_bits(resume.filters);
        }
        let (user, attached_again) = (session.user.clone(), connect.resume.is_some());
        let deliveries = DeliveryWindow::new(window, session.low(), session.sent());
        let up = name.clone().map(|device| DomainEvent::Session { user: session.user.clone(), device, up: true });
        session.connection = Some(Box::new(SessionConnection {
            key,
            rank,
            name,
            protocol: connect.protocol,
            expiry_s: connect.session_expiry_s,
            ends_at_s,
            fingerprint,
            deliveries,
            receipts: Receipts::behind(),
            answers: Answers::new(connect.packet_bytes_max),
            timed: None,
            queued: false,
            is_watched: false,
            started: false,
            resume: connect.resume.map(Box::new),
        }));
        let filters = session.filters;
        self.connections.by_key.insert(key, device);
        self.connections.ends.extend(ends_at_s.map(|ends_at_s| (ends_at_s, key)));
        self.presence.has_come(&user, device, was_connected);
        self.presence.listens(&self.context, &self.connections, device, attached_again);
        self.connections.note_change(device);
        let connected = bus::Connected {
            reason: 0,
            session_present: goes_on,
            filters: filters.bits(),
            rank,
            ends_at_s,
            device: device.get(),
            fingerprint: fingerprint.get(),
            server: self.context.origin.server,
            store_epoch: self.context.origin.epoch,
            why: String::new(),
        };
        self.edges.push(key, Frame::Connected(connected));
        self.round.note_all(up);
        self.delivery.schedule_read(&mut self.connections, device);
        Ok(())
    }

    /// The device's earlier connection, if it has one, ends (MQTT-3.1.4-3).
    fn take_over(&mut self, device: DeviceId, by: ConnectionKey) {
        let Some(session) = self.connections.sessions.get_mut(&device) else { return };
        let user = session.user.clone();
        let Some(old) = session.end(false, self.context.now_s) else { return };
        self.connections.note_end(&mut self.round, user, &old);
        self.connections.by_key.remove(&old.key);
        if old.key != by {
            self.connections.revocations.close(&mut self.edges, old.key, device, Reason::SESSION_TAKEN_OVER);
        }
    }

    /// All lanes know its device.
    pub(in crate::lane) async fn arrive(&mut self, key: ConnectionKey) -> Result<(), StoreError> {
        match self.connections.arriving.remove(&key) {
            Some(connect) => self.connect(key, connect).await,
            // It has gone meanwhile.
            None => Ok(()),
        }
    }
}
