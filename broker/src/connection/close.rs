//! How a connection ends: by the client's DISCONNECT, by the server, by the lane, or because the socket is gone.

use std::borrow::Cow;

use godwit_schemas::bus;
use godwit_schemas::reason::Reason;

use super::check::LINGER;
use super::{MqttConnection, PendingDisconnect, Phase};
use crate::context::EdgeContext;
use crate::login_queue;
use crate::mqtt::{Version, encode};

/// First byte of a CONNACK.
const CONNACK: u8 = 0x20;

impl MqttConnection {
    /// The client has sent DISCONNECT. What it sent before is answered first.
    pub(super) fn begin_disconnect(&mut self, context: &EdgeContext, pending: PendingDisconnect) {
        self.enter(context, Phase::Disconnecting(pending, context.now().after(LINGER)));
        self.finish_disconnect(context);
    }

    /// Closes the connection if the client has sent DISCONNECT and everything before it is answered.
    pub(super) fn finish_disconnect(&mut self, context: &EdgeContext) {
        let is_disconnecting = matches!(self.phase, Phase::Disconnecting(..));
        if is_disconnecting && self.publishes.is_empty() && self.subscriptions.is_answered() {
            self.end_and_close(context);
        }
    }

    pub(super) fn end_and_close(&mut self, context: &EdgeContext) {
        self.end();
        self.start_closing(context);
    }

    /// Closes the connection from the server's side, and tells the client the reason as far as its version of MQTT can.
    pub(crate) fn close(&mut self, context: &EdgeContext, reason: Reason) {
        match self.phase {
            Phase::Throttled(..) | Phase::Queued(..) | Phase::Authenticating(_) => {
                let text = self.reason_text(context, reason);
                return self.refuse(context, reason, &text);
            }
            Phase::Connected => {}
            Phase::AwaitingConnect => return self.drop_silently(),
            Phase::Disconnecting(..) => return self.end_and_close(context),
            Phase::Closing | Phase::Closed => return,
        }
        context.counters.closed.count(reason);
        if self.version == Version::V5 {
            let (text, bytes_max) = (self.reason_text(context, reason), self.packet_bytes_max());
            encode::disconnect(&mut self.out, reason, &text, bytes_max);
        }
        self.end_and_close(context);
    }

    /// Closes the connection because the lane says so. If the device or its credential is void, the client gets nothing more: output
    /// that it was not given yet is dropped, except the CONNACK that stands first.
    pub(super) fn close_by_lane(&mut self, context: &EdgeContext, reason: Reason) {
        let has_connack = self.out.first() != Some(&CONNACK);
        if has_connack && matches!(reason, Reason::NOT_AUTHORIZED | Reason::ADMINISTRATIVE_ACTION) {
            self.out.clear();
        }
        self.close(context, reason);
    }

    /// The text that goes with a reason code: English, where the code alone would leave people guessing.
    pub(super) fn reason_text(&self, context: &EdgeContext, reason: Reason) -> Cow<'static, str> {
        match reason {
            Reason::MALFORMED_PACKET => "a packet is malformed".into(),
            Reason::BAD_USER_NAME_OR_PASSWORD => "no such user and device with this password".into(),
            Reason::NOT_AUTHORIZED => "what the device logged in with is good no more".into(),
            Reason::SERVER_UNAVAILABLE => "the server is not ready, come back".into(),
            Reason::KEEP_ALIVE_TIMEOUT => "nothing came for one and a half times the keep alive".into(),
            Reason::SESSION_TAKEN_OVER => "another connection of this device has taken its place".into(),
            Reason::TOPIC_NAME_INVALID => "a topic has no wildcards".into(),
            Reason::PACKET_TOO_LARGE => "a packet is larger than the server takes".into(),
            Reason::ADMINISTRATIVE_ACTION => {
                "the device has been removed, or an operator has ended the connection".into()
            }
            Reason::BANNED => "the user is suspended".into(),
            Reason::RETAIN_NOT_SUPPORTED => "retained messages are not supported".into(),
            Reason::MESSAGE_RATE_TOO_HIGH => "more packets or bytes a second than are allowed, for too long".into(),
            Reason::SERVER_SHUTTING_DOWN => {
                login_queue::shutting_down_text(self.number, context.counters.connections.get()).into()
            }
            _ => "".into(),
        }
    }

    /// Has the task write the output and wait until the client closes its end.
    pub(super) fn start_closing(&mut self, context: &EdgeContext) {
        self.closing_since = context.now();
        self.enter(context, Phase::Closing);
        self.mark();
        self.wake();
    }

    /// Ends the connection: tells the lane, if it knows the connection. A client that has sent DISCONNECT leaves as it said; any other
    /// has vanished.
    pub(crate) fn end(&mut self) {
        let (clean, session_expiry_s) = match &self.phase {
            Phase::Disconnecting(pending, _) => (pending.clean, pending.session_expiry_s),
            _ => (false, None),
        };
        if matches!(self.phase, Phase::Authenticating(_) | Phase::Connected | Phase::Disconnecting(..)) {
            self.send_acknowledged();
            self.send_up(&bus::Disconnect { clean, session_expiry_s });
            self.generation = 0;
        }
        self.phase = Phase::Closed;
    }

    /// Has the task drop the socket, without a word to the client.
    pub(super) fn drop_silently(&mut self) {
        self.phase = Phase::Closed;
        self.mark();
        self.wake();
    }
}
