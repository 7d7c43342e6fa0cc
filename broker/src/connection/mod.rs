//! A client's connection: the state machine of MQTT, without I/O. Inputs are packets from the client, frames from the lane, and the
//! clock; outputs are bytes for the client, and frames for the lane.
//!
//! It has no task. The connection's task ([`crate::connection_driver`]), the downlink, the login queue and the clock call it, one at
//! a time, under its lock.
//!
//! A connection passes through the [`Phase`]s in order: its CONNECT comes, it may be throttled or queued, the lane authenticates it,
//! it is connected, and it is closed. While it is connected it keeps everything that attaching again needs ([`attach`]): so a lost
//! batch or a restarted bridge costs the client nothing.
//!
//! - `input` dispatches packets and frames by type. `connect`, `publish`, `deliver`, `subscribe`, `renew` and `close` handle one verb each.
//! - `check` acts on deadlines.
//! - `publishes`, `deliveries`, `subscriptions` and `rate_limit` each keep one part of the state, and know nothing of the rest.

mod attach;
mod check;
mod close;
mod connect;
mod deliver;
mod deliveries;
mod in_flight;
mod input;
mod publish;
mod publishes;
mod rate_limit;
mod renew;
mod subscribe;
mod subscriptions;

use std::sync::Arc;
use std::task::Waker;

use bytes::BytesMut;
use godwit_schemas::bus;
use godwit_schemas::ids::{DeviceName, UserId};

use crate::accepted::AcceptedConnection;
use crate::connection_limits::ConnectionSlot;
use crate::context::EdgeContext;
use crate::counters::{Protocol, Transport};
use crate::lane_stream::{LaneStream, UpFrame};
use crate::login_queue::LoginPermit;
use crate::mqtt::Version;
use crate::timer::Ticks;
use crate::tls::CertificateIdentity;
use deliveries::OutboundDeliveries;
use publishes::InboundPublishes;
use rate_limit::RateLimit;
use subscriptions::Subscriptions;

/// While more bytes than this wait for the client's socket, nothing is read from it.
const BACKLOG_BYTES: usize = 64 * 1024;
/// Largest packet of a client that is not authenticated.
const CONNECT_BYTES_MAX: usize = 16 * 1024;

/// Where a connection stands.
#[derive(Debug)]
enum Phase {
    /// CONNECT has not come.
    AwaitingConnect,
    /// CONNECT has come, from a network with too many failed logins: it waits until this moment.
    Throttled(Box<PendingLogin>, Ticks),
    /// CONNECT waits in the login queue, until this moment at the latest.
    Queued(Box<PendingLogin>, Ticks),
    /// The lane authenticates the client.
    Authenticating(Box<PendingLogin>),
    /// CONNACK has accepted the client.
    Connected,
    /// The client has sent DISCONNECT. The lane answers what came before it, until this moment at the latest.
    Disconnecting(PendingDisconnect, Ticks),
    /// The output is written; then the client is given time to close its end.
    Closing,
    /// The connection is over.
    Closed,
}

/// What a client's DISCONNECT tells the lane.
#[derive(Debug, Clone, Copy)]
struct PendingDisconnect {
    clean: bool,
    session_expiry_s: Option<u32>,
}

/// A login that the lane has not decided.
#[derive(Debug)]
struct PendingLogin {
    /// The client's CONNECT, as the lane is told it.
    frame: bus::Connect,
    /// Held while the lane authenticates the client.
    permit: Option<LoginPermit>,
}

/// What the connection's task does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// Read from the client and handle its packets.
    Read,
    /// Read only to notice that the client closes its end. Its packets wait.
    WatchForClose,
    /// Do not read until the connection's task is woken.
    Pause,
    /// Write the output and shut down.
    Close,
    /// Drop the socket.
    Drop,
}

/// Who the client is, and what it asked for in its CONNECT.
#[derive(Debug)]
struct ClientInfo {
    user: UserId,
    device: DeviceName,
    session_expiry_s: u32,
    receive_maximum: u16,
    keep_alive_s: u16,
    problem_information: bool,
    /// The server assigned the client identifier (MQTT 5, 3.2.2.3.7).
    assigned_client_id: bool,
    /// It logged in by the authentication method "jwt", and may re-authenticate.
    uses_jwt: bool,
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct MqttConnection {
    number: u64,
    /// The span of everything that is logged for the connection: edge, connection, user, device. Disabled, and without cost, unless
    /// level `debug` is on.
    span: tracing::Span,
    version: Version,
    /// What it is counted under.
    counted: (Transport, Protocol),
    phase: Phase,
    slot: ConnectionSlot,
    /// The device that the client's certificate names, until CONNECT.
    identity: Option<Box<CertificateIdentity>>,
    rate_limit: RateLimit,
    /// The client's rate or a shortage of memory has paused reading: the check has to wake the task.
    reading_paused: bool,
    /// `None` until a CONNECT was accepted for authentication.
    client: Option<ClientInfo>,
    /// The largest packet that the client takes (MQTT-3.1.2-24).
    packet_bytes_max: u32,
    /// The lane's count of the device's connections: which of them this is.
    rank: u64,
    /// Second since 1970 at which the lane closes the connection because its token ends; `None`: never. Told when it attaches
    /// again.
    ends_at_s: Option<u32>,
    /// The number of the device, and the fingerprint of the credential, that the lane accepted. Told when it attaches again.
    device: u64,
    fingerprint: u64,
    /// The epoch of the store in which the lane accepted it.
    store_epoch: u64,
    /// A new token that the lane has not verified yet.
    renewal: Option<Box<bus::Renew>>,
    /// The stream to the lane that owns the user.
    lane: Option<Arc<LaneStream>>,
    /// The generation of that stream in which the connection is attached; 0: it is not attached.
    generation: u64,
    /// What was unanswered when the generation began has been sent again.
    attached: bool,
    publishes: InboundPublishes,
    subscriptions: Subscriptions,
    deliveries: OutboundDeliveries,
    /// Bytes for the client.
    out: BytesMut,
    waker: Option<Waker>,
    /// The task has something to do, and is woken or will be.
    woken: bool,
    accepted_at: Ticks,
    /// When the next check is due. Checks that are scheduled for earlier or later moments do nothing.
    next_check_at: Ticks,
    /// When bytes were last read from the client.
    last_read_at: Ticks,
    /// Since when the client's socket takes no bytes.
    blocked_since: Option<Ticks>,
    /// Since when more than [`BACKLOG_BYTES`] wait for the socket.
    backlog_since: Option<Ticks>,
    /// Since when a large packet is incomplete.
    large_since: Option<Ticks>,
    closing_since: Ticks,
}

impl MqttConnection {
    /// A connection of an edge, which must be checked at `next_check_at`.
    pub(crate) fn new(edge: u64, number: u64, accepted: AcceptedConnection, next_check_at: Ticks) -> Self {
        use tracing::field::Empty;
        let AcceptedConnection { at: now, transport, slot, identity } = accepted;
        Self {
            number,
            span: tracing::debug_span!("connection", edge, number, user = Empty, device = Empty),
            version: Version::V4,
            counted: (transport, Protocol::None),
            phase: Phase::AwaitingConnect,
            slot,
            identity,
            rate_limit: RateLimit::default(),
            reading_paused: false,
            client: None,
            packet_bytes_max: u32::MAX,
            rank: 0,
            ends_at_s: None,
            device: 0,
            fingerprint: 0,
            store_epoch: 0,
            renewal: None,
            lane: None,
            generation: 0,
            attached: false,
            publishes: InboundPublishes::default(),
            subscriptions: Subscriptions::default(),
            deliveries: OutboundDeliveries::default(),
            out: BytesMut::new(),
            waker: None,
            woken: false,
            accepted_at: now,
            next_check_at,
            last_read_at: now,
            blocked_since: None,
            backlog_since: None,
            large_since: None,
            closing_since: now,
        }
    }

    /// It has said what it speaks: it is counted by that from now on.
    fn count_protocol(&mut self, context: &EdgeContext) {
        self.count_out(context);
        self.counted.1 = self.version.into();
        let (transport, protocol) = self.counted;
        context.counters.open(transport, protocol).add(1);
    }

    /// It is counted no more.
    pub(crate) fn count_out(&self, context: &EdgeContext) {
        let (transport, protocol) = self.counted;
        context.counters.open(transport, protocol).sub(1);
    }

    /// The connection's task is polled, and is woken by this from now on.
    pub(crate) fn set_waker(&mut self, waker: &Waker) {
        self.woken = false;
        if self.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// Notes that the task has something to do. Returns whether that is new: then the caller must [wake](Self::wake) it.
    pub(crate) fn mark(&mut self) -> bool {
        !std::mem::replace(&mut self.woken, true)
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Takes the bytes for the client.
    pub(crate) fn take_output(&mut self) -> BytesMut {
        std::mem::take(&mut self.out)
    }

    /// The version and the size limit that the next packet is split with.
    pub(crate) fn framing(&self, context: &EdgeContext) -> (Version, usize) {
        let bytes_max = context.settings.packet_bytes_max as usize;
        let bytes_max = if self.client.is_none() { bytes_max.min(CONNECT_BYTES_MAX) } else { bytes_max };
        (self.version, bytes_max)
    }

    /// What the task does next. `unwritten`: bytes that it holds and the socket has not taken.
    pub(crate) fn next_step(&self, context: &EdgeContext, unwritten: usize) -> NextStep {
        match self.phase {
            Phase::AwaitingConnect => NextStep::Read,
            // A client that closes its end need not be authenticated, or answered.
            Phase::Queued(..) | Phase::Disconnecting(..) => NextStep::WatchForClose,
            Phase::Throttled(..) | Phase::Authenticating(_) => NextStep::Pause,
            Phase::Connected if self.out.len() + unwritten > BACKLOG_BYTES => NextStep::Pause,
            Phase::Connected if self.subscriptions.is_full() => NextStep::Pause,
            // Backpressure: what the client sends fills its own socket.
            Phase::Connected if self.publishes.is_full(self.one_publish_at_a_time(context), &context.settings) => {
                NextStep::Pause
            }
            Phase::Connected if self.rate_limit.blocked_until(&context.settings, context.now()).is_some() => {
                NextStep::Pause
            }
            Phase::Connected => NextStep::Read,
            Phase::Closing => NextStep::Close,
            Phase::Closed => NextStep::Drop,
        }
    }

    fn packet_bytes_max(&self) -> usize {
        self.packet_bytes_max as usize
    }

    /// A client may have only one publish unanswered: memory is short, or its lane does not keep up.
    fn one_publish_at_a_time(&self, context: &EdgeContext) -> bool {
        context.settings.pressure.is_on() || self.lane.as_ref().is_some_and(|lane| lane.is_busy())
    }

    /// Sends a frame to the lane. Returns whether it did: the connection is attached, and its generation is not over.
    fn send_up(&self, frame: &impl UpFrame) -> bool {
        self.lane.as_ref().is_some_and(|lane| lane.push(self.generation, self.number, frame))
    }
}
