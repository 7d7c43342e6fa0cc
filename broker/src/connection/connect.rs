//! CONNECT and CONNACK: what is checked here, what the lane is asked, and what its answer means.
//!
//! A CONNECT is decoded and checked. After too many failed logins of its network it is throttled; it waits in the login queue; then
//! the lane authenticates it.

use std::borrow::Cow;

use bytes::Bytes;
use godwit_schemas::bus;
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use super::in_flight::IN_FLIGHT_MAX;
use super::{ClientInfo, MqttConnection, PendingLogin, Phase};
use crate::context::EdgeContext;
use crate::login_queue::{self, Admission, LoginPermit};
use crate::mqtt::auth::METHOD;
use crate::mqtt::packet::RawPacket;
use crate::mqtt::{Version, connack, decode};
use crate::tls::CertificateIdentity;

/// The reason for which a CONNECT is refused, and a text for the client, in English.
type ConnectRefusal = (Reason, Cow<'static, str>);

fn refused<T>(reason: Reason, text: impl Into<Cow<'static, str>>) -> Result<T, ConnectRefusal> {
    Err((reason, text.into()))
}

impl MqttConnection {
    /// Handles a CONNECT.
    pub(super) fn handle_connect(&mut self, context: &EdgeContext, packet: RawPacket) {
        match decode::version(&packet) {
            Ok(version) => {
                self.version = version;
                self.count_protocol(context);
            }
            Err(connack) => {
                context.counters.refused_logins.count(Reason::UNSUPPORTED_PROTOCOL_VERSION);
                self.out.extend_from_slice(&connack.unwrap_or_default());
                return self.start_closing(context);
            }
        }
        let connect =
            decode::connect(packet, self.version).or_else(|reason| refused(reason, self.reason_text(context, reason)));
        match connect.and_then(|connect| self.begin_login(context, connect)) {
            Ok(()) => {}
            // MQTT 3.1.1 has no code for a malformed packet (MQTT-3.1.4-1).
            Err((Reason::MALFORMED_PACKET, _)) if self.version == Version::V4 => self.start_closing(context),
            Err((Reason::SERVER_BUSY, _)) => self.refuse_busy(context),
            Err((reason, text)) => self.refuse(context, reason, &text),
        }
    }

    /// Checks what can be checked without the lane, and starts the login.
    fn begin_login(&mut self, context: &EdgeContext, connect: decode::ConnectPacket) -> Result<(), ConnectRefusal> {
        self.packet_bytes_max = connect.packet_bytes_max;
        let uses_jwt = connect.method.is_some();
        let has_method = context.settings.tokens.is_some() && self.identity.is_none();
        if uses_jwt && (connect.method.as_deref() != Some(METHOD) || !has_method) {
            return refused(
                Reason::BAD_AUTHENTICATION_METHOD,
                "the only authentication method is jwt, where there is one",
            );
        }
        let identity = self.identity.take();
        let verified = identity.is_some();
        let (user, device) = match identity {
            Some(identity) => self.certified(&connect, *identity)?,
            None => self.named(context, &connect)?,
        };
        if connect.has_will {
            tracing::info!(%user, %device, "refused a connection with a will");
            return refused(Reason::NOT_AUTHORIZED, "wills are not supported");
        }
        if context.settings.pressure.is_on() {
            return refused(Reason::SERVER_BUSY, "");
        }
        self.span.record("user", user.as_str()).record("device", device.as_str());
        self.deliveries.set_aliases(connect.topic_alias_max);
        let client = ClientInfo {
            user,
            device,
            session_expiry_s: connect.session_expiry_s,
            receive_maximum: connect.receive_maximum,
            keep_alive_s: connect.keep_alive_s,
            problem_information: connect.problem_information,
            assigned_client_id: connect.client_id.is_empty(),
            uses_jwt,
        };
        let frame = bus::Connect {
            password: if verified { Bytes::new() } else { connect.password },
            clean_start: connect.clean_start,
            verified,
            address: self.slot.addr.map(|addr| addr.to_string()).unwrap_or_default(),
            ..self.connect_frame(&client)
        };
        let login = Box::new(PendingLogin { frame, permit: None });
        self.client = Some(client);
        match self.slot.login_delay(context.now()).filter(|_| !verified) {
            None => self.queue_login(context, login),
            Some(delay) => self.enter(context, Phase::Throttled(login, context.now().after(delay))),
        }
        Ok(())
    }

    /// The user and device that the client names. What CONNECT leaves out, its token may name.
    fn named(
        &self,
        context: &EdgeContext,
        connect: &decode::ConnectPacket,
    ) -> Result<(UserId, DeviceName), ConnectRefusal> {
        let is_incomplete = connect.user.is_empty() || connect.client_id.is_empty();
        let claims = context.settings.tokens.as_ref().filter(|_| is_incomplete);
        let in_token =
            claims.map(|claims| claims.read(&String::from_utf8_lossy(&connect.password))).unwrap_or_default();
        let user = if connect.user.is_empty() { &in_token.user } else { &connect.user };
        let user = match UserId::new(user) {
            Ok(user) => user,
            Err(_) if user.is_empty() => return refused(Reason::BAD_USER_NAME_OR_PASSWORD, "no user name"),
            Err(rule) => return refused(Reason::BAD_USER_NAME_OR_PASSWORD, format!("user name: {rule}")),
        };
        if connect.password.is_empty() {
            return refused(Reason::BAD_USER_NAME_OR_PASSWORD, "no password");
        }
        let device = if self.may_assign_client_id(connect) { &in_token.device } else { &connect.client_id };
        match DeviceName::new(device) {
            Ok(device) => Ok((user, device)),
            Err(_) if device.is_empty() => {
                refused(Reason::CLIENT_IDENTIFIER_NOT_VALID, "no client identifier: it names the device")
            }
            Err(rule) => refused(Reason::CLIENT_IDENTIFIER_NOT_VALID, format!("client identifier: {rule}")),
        }
    }

    /// The client has no identifier, and need not have one. In MQTT 3.1.1 it needs a clean session for that (MQTT-3.1.3-8).
    fn may_assign_client_id(&self, connect: &decode::ConnectPacket) -> bool {
        connect.client_id.is_empty() && (self.version == Version::V5 || connect.clean_start)
    }

    /// The user and device that the client's certificate names. CONNECT may leave them out, and must not name others.
    fn certified(
        &self,
        connect: &decode::ConnectPacket,
        identity: CertificateIdentity,
    ) -> Result<(UserId, DeviceName), ConnectRefusal> {
        let CertificateIdentity { user, device } = identity;
        if !connect.user.is_empty() && connect.user != user.as_str() {
            return refused(Reason::BAD_USER_NAME_OR_PASSWORD, "the certificate names another user");
        }
        match connect.client_id.as_str() {
            "" if self.may_assign_client_id(connect) => Ok((user, device)),
            name if name == device.as_str() => Ok((user, device)),
            _ => refused(Reason::CLIENT_IDENTIFIER_NOT_VALID, "the certificate names another device"),
        }
    }

    /// The delay of a throttled login is over.
    pub(super) fn end_throttle(&mut self, context: &EdgeContext) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Throttled(login, _) => {
                // The delay does not count towards the connect deadline.
                self.accepted_at = context.now();
                self.queue_login(context, login);
            }
            other => self.phase = other,
        }
    }

    /// Has the lane authenticate the client, at once or when the login queue admits it.
    fn queue_login(&mut self, context: &EdgeContext, mut login: Box<PendingLogin>) {
        match context.login_queue.admit(self.number) {
            Admission::Admitted(permit) => {
                login.permit = Some(permit);
                self.authenticate(context, login);
            }
            Admission::Queued => {
                let until = context.now().after(context.settings.connect_deadline / 4);
                self.enter(context, Phase::Queued(login, until));
            }
            Admission::Full => self.refuse_busy(context),
        }
    }

    /// The login queue admits the client. The permit is dropped if the client is gone.
    pub(crate) fn admit(&mut self, context: &EdgeContext, permit: LoginPermit) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Queued(mut login, _) => {
                login.permit = Some(permit);
                self.authenticate(context, login);
            }
            other => self.phase = other,
        }
    }

    /// Has the lane authenticate the client.
    fn authenticate(&mut self, context: &EdgeContext, mut login: Box<PendingLogin>) {
        self.lane = self.client.as_ref().and_then(|client| context.lane_of(&client.user));
        if let Some(generation) = self.lane.as_ref().and_then(|lane| lane.join(self.number, &login.frame)) {
            self.generation = generation;
            self.attached = true;
        } else {
            // The lane is away: it is told of this login when it is attached to, without a permit.
            login.permit = None;
        }
        self.enter(context, Phase::Authenticating(login));
    }

    /// Refuses a client because there are too many or memory is short, and tells it when to come back.
    pub(super) fn refuse_busy(&mut self, context: &EdgeContext) {
        self.refuse(context, Reason::SERVER_BUSY, &login_queue::busy_text(self.number));
    }

    /// The fields of the Connect frame that are the same at login and at reattachment.
    pub(super) fn connect_frame(&self, client: &ClientInfo) -> bus::Connect {
        bus::Connect {
            user: client.user.as_str().to_owned(),
            device: client.device.as_str().to_owned(),
            session_expiry_s: client.session_expiry_s,
            receive_maximum: u32::from(client.receive_maximum).min(IN_FLIGHT_MAX as u32),
            protocol: if self.version == Version::V4 { 4 } else { 5 },
            packet_bytes_max: Some(self.packet_bytes_max).filter(|bytes| *bytes < u32::MAX),
            ..bus::Connect::default()
        }
    }

    /// Handles the lane's answer to a login or a reattachment.
    pub(super) fn handle_connected(&mut self, context: &EdgeContext, connected: &bus::Connected) {
        let reason = Reason::from_u32(connected.reason);
        match self.phase {
            Phase::Authenticating(_) if reason.is_success() => self.accept(context, connected),
            Phase::Authenticating(_) => {
                // The lane does not know the connection, so it is not told of its end.
                self.generation = 0;
                if reason == Reason::BAD_USER_NAME_OR_PASSWORD {
                    self.slot.login_failed(context.now());
                }
                let text = self.reason_text(context, reason);
                self.refuse_with_log(context, reason, &text, &connected.why);
            }
            Phase::Connected if !reason.is_success() => self.close_by_lane(context, reason),
            _ => {}
        }
    }

    /// Sends CONNACK: the client is connected.
    fn accept(&mut self, context: &EdgeContext, connected: &bus::Connected) {
        let settings = &context.settings;
        let keep_alive_s = self.spread_keep_alive(context);
        let assigned_client_id = self.client.as_ref().filter(|client| client.assigned_client_id);
        let uses_jwt = self.client.as_ref().is_some_and(|client| client.uses_jwt);
        let offer = connack::ConnackOffer {
            receive_maximum: settings.unanswered_publishes_max,
            packet_bytes_max: settings.packet_bytes_max,
            topic_alias_max: settings.topic_alias_max,
            keep_alive_s,
            client_id: assigned_client_id.map(|client| client.device.as_str().to_owned()),
            method: uses_jwt.then_some(METHOD),
            server: (connected.server > 0).then_some((connected.server, connected.store_epoch)),
        };
        let connack = connack::accepted(self.version, connected.session_present, &offer, self.packet_bytes_max());
        if connack.len() > self.packet_bytes_max() {
            // The client takes no CONNACK with what it has to know (MQTT-3.1.2-24).
            return self.refuse(context, Reason::PACKET_TOO_LARGE, "");
        }
        self.rank = connected.rank;
        self.ends_at_s = connected.ends_at_s;
        (self.device, self.fingerprint) = (connected.device, connected.fingerprint);
        self.store_epoch = connected.store_epoch;
        self.last_read_at = context.now();
        self.slot.authenticated();
        context.counters.logins(self.version.into()).increment();
        self.subscriptions.begin(Filters::from_bits(connected.filters));
        self.enter(context, Phase::Connected);
        self.out.extend_from_slice(&connack);
    }

    /// The keep alive that the server assigns, in seconds. `None`: the one that the client asked for.
    fn spread_keep_alive(&mut self, context: &EdgeContext) -> Option<u16> {
        let client = self.client.as_mut().filter(|_| self.version == Version::V5 && context.login_queue.is_busy())?;
        client.keep_alive_s = login_queue::keep_alive_s(self.number, client.keep_alive_s);
        (client.keep_alive_s > 0).then_some(client.keep_alive_s)
    }

    /// Refuses the client with a CONNACK, and closes the connection.
    pub(super) fn refuse(&mut self, context: &EdgeContext, reason: Reason, text: &str) {
        self.refuse_with_log(context, reason, text, text);
    }

    /// `why`: the reason for the log, which may say more than `text` says to the client.
    fn refuse_with_log(&mut self, context: &EdgeContext, reason: Reason, text: &str, why: &str) {
        context.counters.refused_logins.count(reason);
        let addr = self.slot.addr.map(tracing::field::display);
        if let Some(ClientInfo { user, device, .. }) = &self.client {
            tracing::info!(%user, %device, addr, %reason, why, "refused a connection");
        }
        self.out.extend_from_slice(&connack::refused(self.version, reason, text, self.packet_bytes_max()));
        self.end_and_close(context);
    }
}
