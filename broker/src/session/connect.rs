//! CONNECT and CONNACK.

use bytes::Bytes;
use godwit_schemas::bus;
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use super::{Client, Login, Phase, Session};
use crate::edge::Edge;
use crate::logins::{self, Place, Turn};
use crate::mqtt::auth::METHOD;
use crate::mqtt::frame::Frame;
use crate::mqtt::publish::OVERHEAD_MAX;
use crate::mqtt::{Version, codec};
use crate::tls::Identity;

/// "Bad authentication method".
const BAD_METHOD: u32 = 0x8C;

impl Session {
    pub(super) fn connect(&mut self, edge: &Edge, frame: Frame) {
        match codec::version(&frame) {
            Ok(version) => self.version = version,
            Err(connack) => {
                edge.counters.refused.add(1);
                self.out.extend_from_slice(&connack.unwrap_or_default());
                return self.closing(edge);
            }
        }
        match codec::connect(frame, self.version).and_then(|connect| self.admit(edge, connect)) {
            Ok(()) => {}
            // In 3.1.1 there is no code for a packet that is wrong in itself (MQTT-3.1.4-1).
            Err(Reason::MALFORMED_PACKET) if self.version == Version::V4 => self.closing(edge),
            Err(Reason::NOT_AUTHORIZED) => self.refuse(edge, Reason::NOT_AUTHORIZED, "wills are not supported"),
            Err(Reason::SERVER_BUSY) => self.refuse_for_now(edge),
            Err(reason) => self.refuse(edge, reason, ""),
        }
    }

    /// Checks what needs no lane, and asks the lane.
    fn admit(&mut self, edge: &Edge, connect: codec::Connect) -> Result<(), Reason> {
        let renews = connect.method.is_some();
        let has_method = edge.settings.tokens.is_some() && self.identity.is_none();
        if renews && (connect.method.as_deref() != Some(METHOD) || !has_method) {
            return Err(Reason::from_u32(BAD_METHOD));
        }
        let identity = self.identity.take();
        let verified = identity.is_some();
        let (user, device) = match identity {
            Some(identity) => self.certified(&connect, *identity)?,
            None => self.named(edge, &connect)?,
        };
        if connect.has_will {
            tracing::info!(%user, %device, "refused a connection with a will");
            return Err(Reason::NOT_AUTHORIZED);
        }
        if edge.settings.pressure.is_on() {
            return Err(Reason::SERVER_BUSY);
        }
        let partition = Partition::of_user(&user);
        self.deliveries.set_aliases(connect.topic_alias_max);
        let client = Client {
            user,
            device,
            partition,
            session_expiry_s: connect.session_expiry_s,
            packet_bytes_max: connect.packet_bytes_max,
            receive_maximum: connect.receive_maximum,
            keep_alive_s: connect.keep_alive_s,
            problem_information: connect.problem_information,
            named_by_us: connect.client_id.is_empty(),
            renews,
        };
        let frame = bus::Connect {
            password: if verified { Bytes::new() } else { connect.password.into() },
            clean_start: connect.clean_start,
            verified,
            address: self.stay.addr.map(|addr| addr.to_string()).unwrap_or_default(),
            ..self.connect_frame(&client)
        };
        let login = Box::new(Login { frame, place: None });
        self.client = Some(client);
        match self.stay.wait(edge.now()).filter(|_| !verified) {
            None => self.queue_up(edge, login),
            Some(wait) => {
                let until = edge.now().after(wait);
                self.phase = Phase::Held(login, until);
                self.look_at(edge, until);
            }
        }
        Ok(())
    }

    /// Who the client says it is. What it leaves out it may have said in its token.
    fn named(&self, edge: &Edge, connect: &codec::Connect) -> Result<(UserId, DeviceName), Reason> {
        let asked = connect.user.is_empty() || connect.client_id.is_empty();
        let claims = edge.settings.tokens.as_ref().filter(|_| asked);
        let in_token = claims.map(|claims| claims.read(&connect.password)).unwrap_or_default();
        let user = if connect.user.is_empty() { &in_token.user } else { &connect.user };
        let user = UserId::new(user).map_err(|_| Reason::BAD_USER_NAME_OR_PASSWORD)?;
        if connect.password.is_empty() {
            return Err(Reason::BAD_USER_NAME_OR_PASSWORD);
        }
        let device = if self.may_be_named(connect) { &in_token.device } else { &connect.client_id };
        Ok((user, DeviceName::new(device).map_err(|_| Reason::CLIENT_IDENTIFIER_NOT_VALID)?))
    }

    /// The client has no identifier, and need not have one: in 3.1.1 only with a clean session (MQTT-3.1.3-8).
    fn may_be_named(&self, connect: &codec::Connect) -> bool {
        connect.client_id.is_empty() && (self.version == Version::V5 || connect.clean_start)
    }

    /// Who the client's certificate says it is. CONNECT need not say it again, and must not say something else.
    fn certified(&self, connect: &codec::Connect, identity: Identity) -> Result<(UserId, DeviceName), Reason> {
        let Identity { user, device } = identity;
        if !connect.user.is_empty() && connect.user != user.as_str() {
            return Err(Reason::BAD_USER_NAME_OR_PASSWORD);
        }
        match connect.client_id.as_str() {
            "" if self.may_be_named(connect) => Ok((user, device)),
            name if name == device.as_str() => Ok((user, device)),
            _ => Err(Reason::CLIENT_IDENTIFIER_NOT_VALID),
        }
    }

    /// The client has waited long enough.
    pub(super) fn release(&mut self, edge: &Edge) {
        match std::mem::replace(&mut self.phase, Phase::Gone) {
            Phase::Held(login, _) => {
                // Waiting was ours; the lane has its time.
                self.accepted_at = edge.now();
                self.queue_up(edge, login);
            }
            other => self.phase = other,
        }
    }

    /// Asks the lane, when it is this client's turn.
    fn queue_up(&mut self, edge: &Edge, mut login: Box<Login>) {
        match edge.logins.arrive(self.number) {
            Turn::Now(place) => {
                login.place = Some(place);
                self.ask(edge, login);
            }
            Turn::Later => {
                let until = edge.now().after(edge.settings.connect_deadline / 4);
                self.phase = Phase::Queued(login, until);
                self.look_at(edge, until);
            }
            Turn::Never => self.refuse_for_now(edge),
        }
    }

    /// It is this client's turn to log in, if it is still there.
    pub(crate) fn has_its_turn(&mut self, edge: &Edge, place: Place) {
        match std::mem::replace(&mut self.phase, Phase::Gone) {
            Phase::Queued(mut login, _) => {
                login.place = Some(place);
                self.ask(edge, login);
            }
            other => self.phase = other,
        }
    }

    fn ask(&mut self, edge: &Edge, mut login: Box<Login>) {
        self.lane = self.client.as_ref().and_then(|client| edge.lane_of(client.partition));
        if let Some(generation) = self.lane.as_ref().and_then(|lane| lane.join(self.number, &login.frame)) {
            self.generation = generation;
            self.attached = true;
        } else {
            // All who wait for a lane that is away are told to it when it comes.
            login.place = None;
        }
        self.phase = Phase::Asking(login);
    }

    /// There are too many, or there is too little memory: the client may come back.
    pub(super) fn refuse_for_now(&mut self, edge: &Edge) {
        self.refuse(edge, Reason::SERVER_BUSY, &logins::busy(self.number));
    }

    /// What is the same whether the client connects or the edge reattaches it.
    pub(super) fn connect_frame(&self, client: &Client) -> bus::Connect {
        let payload_bytes_max = match client.packet_bytes_max {
            u32::MAX => 0,
            limit => limit.saturating_sub(OVERHEAD_MAX as u32).max(1),
        };
        bus::Connect {
            user: client.user.as_str().to_owned(),
            device: client.device.as_str().to_owned(),
            session_expiry_s: client.session_expiry_s,
            receive_maximum: client.receive_maximum.into(),
            protocol: if self.version == Version::V4 { 4 } else { 5 },
            payload_bytes_max,
            ..bus::Connect::default()
        }
    }

    /// The lane's answer to a CONNECT, or to a reattachment.
    pub(super) fn connected(&mut self, edge: &Edge, connected: &bus::Connected) {
        let reason = Reason::from_u32(connected.reason);
        match self.phase {
            Phase::Asking(_) if reason.is_success() => {
                self.phase = Phase::Open;
                self.rank = connected.rank;
                self.ends_at_s = connected.ends_at_s;
                self.heard_at = edge.now();
                self.stay.is_known();
                self.subscriptions.begin(Filters::from_bits(connected.filters));
                let settings = &edge.settings;
                let keep_alive_s = self.spread_keep_alive(edge);
                let named_by_us = self.client.as_ref().filter(|client| client.named_by_us);
                let renews = self.client.as_ref().is_some_and(|client| client.renews);
                let offer = codec::Offer {
                    receive_maximum: settings.unanswered_publishes_max,
                    packet_bytes_max: settings.packet_bytes_max,
                    topic_alias_max: settings.topic_alias_max,
                    keep_alive_s,
                    client_id: named_by_us.map(|client| client.device.as_str().to_owned()),
                    method: renews.then_some(METHOD),
                };
                self.out.extend_from_slice(&codec::welcome(self.version, connected.session_present, &offer));
            }
            Phase::Asking(_) => {
                // The lane has not taken the connection: there is nothing to take leave of.
                self.generation = 0;
                if reason == Reason::BAD_USER_NAME_OR_PASSWORD {
                    self.stay.has_failed(edge.now());
                }
                self.refuse(edge, reason, "");
            }
            Phase::Open if !reason.is_success() => self.close(edge, reason),
            _ => {}
        }
    }

    /// What the client has to keep alive instead of what it asked for. `None`: that.
    fn spread_keep_alive(&mut self, edge: &Edge) -> Option<u16> {
        let client = self.client.as_mut().filter(|_| self.version == Version::V5 && edge.logins.is_busy())?;
        client.keep_alive_s = logins::keep_alive_s(self.number, client.keep_alive_s);
        (client.keep_alive_s > 0).then_some(client.keep_alive_s)
    }

    pub(super) fn refuse(&mut self, edge: &Edge, reason: Reason, text: &str) {
        edge.counters.refused.add(1);
        if let Some(Client { user, device, .. }) = &self.client {
            let addr = self.stay.addr.map(tracing::field::display);
            tracing::info!(%user, %device, addr, reason = reason.get(), "refused a connection");
        }
        self.out.extend_from_slice(&codec::refusal(self.version, reason, text));
        self.leave(false, None);
        self.closing(edge);
    }
}
