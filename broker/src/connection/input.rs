//! Packets from the client, and frames from the lane: what each type does.

use godwit_schemas::bus::down;
use godwit_schemas::reason::Reason;

use super::{BACKLOG_BYTES, MqttConnection, PendingDisconnect, Phase};
use crate::context::EdgeContext;
use crate::mqtt::packet::{PacketType, RawPacket};
use crate::mqtt::{decode, encode};
use crate::timer::Ticks;

impl MqttConnection {
    /// Bytes were read from the socket.
    pub(crate) fn bytes_read(&mut self, now: Ticks) {
        self.last_read_at = now;
    }

    /// The socket took `bytes`. `unwritten` more are in the task's buffer.
    pub(crate) fn written(&mut self, bytes: usize, unwritten: usize, now: Ticks) {
        if bytes > 0 {
            tracing::trace!(parent: &self.span, connection = self.number, bytes, unwritten, "written to the socket");
        }
        self.blocked_since = None;
        self.note_backlog(unwritten, now);
    }

    /// The socket takes no bytes now. `unwritten` are in the task's buffer.
    pub(crate) fn write_blocked(&mut self, unwritten: usize, now: Ticks) {
        self.blocked_since.get_or_insert(now);
        self.note_backlog(unwritten, now);
    }

    fn note_backlog(&mut self, unwritten: usize, now: Ticks) {
        let is_behind = self.out.len() + unwritten > BACKLOG_BYTES;
        self.backlog_since = if is_behind { self.backlog_since.or(Some(now)) } else { None };
    }

    /// Handles a packet from the client, or the reason for which its bytes are no packet.
    pub(crate) fn handle_packet(&mut self, context: &EdgeContext, packet: Result<RawPacket, Reason>) {
        let span = self.span.clone();
        let _entered = span.enter();
        self.large_since = None;
        let handled = match (&self.phase, packet) {
            (Phase::AwaitingConnect, Ok(packet)) if packet.kind == PacketType::Connect => {
                return self.handle_connect(context, packet);
            }
            // A client that does not begin with CONNECT gets no answer (MQTT 5, 3.1.4; MQTT-3.1.0-1).
            (Phase::AwaitingConnect, _) => return self.drop_silently(),
            (Phase::Connected, Ok(packet)) => self.handle_connected_packet(context, packet),
            (Phase::Connected, Err(reason)) => Err(reason),
            (
                Phase::Throttled(..)
                | Phase::Queued(..)
                | Phase::Authenticating(_)
                | Phase::Disconnecting(..)
                | Phase::Closing
                | Phase::Closed,
                _,
            ) => return,
        };
        if let Err(reason) = handled {
            self.close(context, reason);
        }
    }

    /// # Errors
    /// The reason to close the connection with.
    fn handle_connected_packet(&mut self, context: &EdgeContext, packet: RawPacket) -> Result<(), Reason> {
        let version = self.version;
        let bytes = packet.bytes.len();
        if packet.kind == PacketType::Puback {
            // The server bounds the number of acknowledgements that it asks for; only others count.
            let is_asked_for = self.handle_puback(context, decode::packet_id(packet, version)?);
            return if is_asked_for { Ok(()) } else { self.count_packet(context, bytes) };
        }
        self.count_packet(context, bytes)?;
        match packet.kind {
            // A second CONNECT (MQTT-3.1.0-2); answers to publishes with QoS 2, which the server never sends.
            PacketType::Connect | PacketType::Pubrec | PacketType::Pubcomp => return Err(Reason::PROTOCOL_ERROR),
            PacketType::Publish => self.handle_publish(context, packet)?,
            PacketType::Puback => {}
            PacketType::Pubrel => {
                let packet_id = decode::packet_id(packet, version)?;
                self.publishes.release(packet_id);
                encode::pubcomp(&mut self.out, packet_id);
            }
            PacketType::Subscribe => self.handle_subscribe(decode::subscription(packet, version)?)?,
            PacketType::Unsubscribe => self.handle_unsubscribe(decode::subscription(packet, version)?)?,
            PacketType::Pingreq => encode::pingresp(&mut self.out),
            PacketType::Auth => self.handle_auth(packet)?,
            PacketType::Disconnect => self.handle_disconnect(context, packet)?,
        }
        Ok(())
    }

    fn handle_disconnect(&mut self, context: &EdgeContext, packet: RawPacket) -> Result<(), Reason> {
        let disconnect = decode::disconnect(packet, self.version)?;
        let asked_expiry_s = self.client.as_ref().map_or(0, |client| client.session_expiry_s);
        // MQTT 5, 3.14.2.2.2.
        if asked_expiry_s == 0 && disconnect.session_expiry_s.is_some_and(|expiry| expiry > 0) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let clean = !disconnect.abrupt && self.publishes.is_empty();
        let pending = PendingDisconnect { clean, session_expiry_s: disconnect.session_expiry_s };
        self.begin_disconnect(context, pending);
        Ok(())
    }

    /// Counts a packet towards the client's rate. Pauses reading if the rate is exceeded.
    ///
    /// # Errors
    /// The client has exceeded its rate for too long.
    fn count_packet(&mut self, context: &EdgeContext, bytes: usize) -> Result<(), Reason> {
        let (settings, now) = (&context.settings, context.now());
        self.rate_limit.add(settings, now, bytes);
        let Some(until) = self.rate_limit.blocked_until(settings, now) else { return Ok(()) };
        if self.rate_limit.should_close(settings, now) {
            return Err(Reason::MESSAGE_RATE_TOO_HIGH);
        }
        // It may have been given another burst.
        let until = self.rate_limit.blocked_until(settings, now).unwrap_or(until);
        self.reading_paused = true;
        self.schedule_check(context, until);
        Ok(())
    }

    /// Handles a frame from the lane.
    pub(crate) fn handle_frame(&mut self, context: &EdgeContext, frame: down::Frame) {
        let span = self.span.clone();
        let _entered = span.enter();
        match frame {
            down::Frame::Connected(connected) => self.handle_connected(context, &connected),
            down::Frame::Published(published) => self.handle_published(context, published),
            down::Frame::Deliver(deliver) => self.handle_deliver(context, deliver),
            down::Frame::Subscribed(subscribed) => self.subscriptions.answered(subscribed.token, &mut self.out),
            down::Frame::Close(close) => self.close_by_lane(context, Reason::from_u32(close.reason)),
            down::Frame::Renewed(renewed) => self.handle_renewed(&renewed),
            down::Frame::Reattach(_) => {}
        }
        self.finish_disconnect(context);
    }
}
