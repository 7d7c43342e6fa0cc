//! What a broker counts. It is cheap enough to be counted for every packet; the server reads it.

use godwit_metrics::{Counter, Gauge};
use godwit_schemas::reason::Reason;

use crate::mqtt::Version;
pub use crate::rejections::RejectCause;

/// What connections come over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP, without TLS.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket, without TLS at this server's MQTT listeners: also those that a listener of HTTP has accepted.
    WebSocket,
    /// WebSocket over TLS.
    WebSocketTls,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Tls, Self::WebSocket, Self::WebSocketTls];

    /// As metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
            Self::WebSocketTls => "websocket_tls",
        }
    }

    pub(crate) fn of(tls: bool, websocket: bool) -> Self {
        match (tls, websocket) {
            (false, false) => Self::Tcp,
            (true, false) => Self::Tls,
            (false, true) => Self::WebSocket,
            (true, true) => Self::WebSocketTls,
        }
    }
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// It has not said so: no CONNECT has come.
    None,
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.
    V5,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::V4, Self::V5];

    /// As metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::V4 => "3.1.1",
            Self::V5 => "5",
        }
    }
}

impl From<Version> for Protocol {
    fn from(version: Version) -> Self {
        match version {
            Version::V4 => Self::V4,
            Version::V5 => Self::V5,
        }
    }
}

/// One counter for each reason code that is no success.
#[derive(Debug)]
pub struct ReasonCounters([Counter; 128]);

impl Default for ReasonCounters {
    fn default() -> Self {
        Self([const { Counter::new() }; 128])
    }
}

impl ReasonCounters {
    /// Counts a reason. A success counts nothing.
    pub(crate) fn count(&self, reason: Reason) {
        if let Some(counter) = reason.get().checked_sub(0x80).and_then(|place| self.0.get(usize::from(place))) {
            counter.increment();
        }
    }

    /// How often this was the reason.
    pub fn get(&self, reason: Reason) -> u64 {
        reason.get().checked_sub(0x80).and_then(|place| self.0.get(usize::from(place))).map_or(0, Counter::get)
    }

    /// How often there was any.
    pub fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// Since the start of the process, except what is open now.
#[derive(Debug, Default)]
pub struct BrokerCounters {
    /// Connections that are open now, whether or not they have sent CONNECT.
    pub connections: Gauge,
    /// The same by transport and protocol.
    open: [[Gauge; Protocol::ALL.len()]; Transport::ALL.len()],
    /// TCP connections that were accepted.
    pub accepted: Counter,
    /// Connections that were rejected before their CONNECT, by cause.
    rejected: [Counter; RejectCause::ALL.len()],
    /// Clients that were let in, by protocol.
    logins: [Counter; Protocol::ALL.len()],
    /// CONNECTs that were refused.
    pub refused_logins: ReasonCounters,
    /// Connected clients that the server has closed.
    pub closed: ReasonCounters,
    /// Connected clients that were dropped because their socket took nothing.
    pub dropped: Counter,
    /// PUBLISH packets that were read from clients.
    pub publishes: Counter,
    /// Publishes with QoS 1 or 2 that were refused.
    pub refused_publishes: ReasonCounters,
    /// Publishes with QoS 0 that were dropped because their lane does not keep up.
    pub dropped_publishes: Counter,
    /// PUBLISH packets that were sent to clients.
    pub deliveries: Counter,
    /// Bytes of MQTT that were read from clients.
    pub bytes_in: Counter,
    /// Bytes of MQTT that were written to clients.
    pub bytes_out: Counter,
    /// Times at which the link to the bus was lost.
    pub bus_losses: Counter,
    /// Generations of streams that were begun: at the start of each lane, and whenever one had a gap.
    pub generations: Counter,
}

impl BrokerCounters {
    /// Connections that are open now.
    pub fn open(&self, transport: Transport, protocol: Protocol) -> &Gauge {
        &self.open[transport as usize][protocol as usize]
    }

    /// Connections that were rejected before their CONNECT.
    pub fn rejected(&self, cause: RejectCause) -> &Counter {
        &self.rejected[cause as usize]
    }

    /// Clients that were let in.
    pub fn logins(&self, protocol: Protocol) -> &Counter {
        &self.logins[protocol as usize]
    }
}

/// How much there is in an edge's queues right now.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct BrokerQueues {
    /// Connections without CONNACK.
    pub unauthenticated: usize,
    /// Networks whose failed logins are remembered.
    pub failed_networks: usize,
    /// Clients in a handshake before MQTT.
    pub handshakes: usize,
    /// CONNECTs that a lane is asked about.
    pub authenticating: usize,
    /// CONNECTs that wait for that.
    pub waiting_logins: usize,
    /// The streams to lanes, by the lane's number.
    pub lanes: Vec<StreamQueue>,
}

/// How much there is in a stream from an edge to a lane.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct StreamQueue {
    /// Batches that wait.
    pub batches: usize,
    /// Bytes that were sent and that the lane has not taken.
    pub bytes_on_the_way: usize,
}
