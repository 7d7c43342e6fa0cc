//! One connection to the server. The only modules that name rumqttc: `v5`, and `v4` as a fallback. The engine makes a new
//! [`MqttLink`] for each connection and is its only user.
//!
//! What rumqttc is known for, and why it does not happen here:
//!
//! - **Publish and poll in one task wait for each other.** Nothing here waits to hand a request over: requests go into
//!   rumqttc's own queue between two polls, and no more of them than it takes.
//! - **A request that breaks the connection is repeated for ever, and what was pending is cleared at a reconnection
//!   without a session.** A link is one connection: when it breaks it is dropped with all its state, and what is to be
//!   repeated is decided from the outbox.
//! - **Two publishes get one packet identifier.** Identifiers are the engine's; rumqttc gives only the first one, to
//!   SUBSCRIBE, which the engine never uses. There are never as many publishes unanswered as rumqttc takes, at which
//!   point it would hold acknowledgements back as well.
//! - **A cancelled poll loses a packet.** [`MqttLink::next`] may be cancelled only while [`MqttLink::is_idle`].
//! - **An aliased topic is empty, a dead connection is noticed after two keep-alives, pings are sent in the middle of
//!   traffic.** Aliases are resolved here, and the engine pings.

pub(crate) mod backoff;
mod diagnosis;
pub(crate) mod endpoint;
pub(crate) mod keepalive;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod traffic;
mod v4;
mod v5;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godwit_schemas::ids::{ConversationId, Seq, UserId};
use godwit_schemas::reason::Reason;

use self::endpoint::ServerAddress;
use self::traffic::{Purpose, Traffic};
use crate::ledger::ServerIdentity;

/// Packet identifier of SUBSCRIBE: rumqttc's first.
pub(crate) const FIRST_PACKET_ID: u16 = 2;
/// The last one that the engine uses.
pub(crate) const LAST_PACKET_ID: u16 = 250;
/// What rumqttc is told to take: more than the engine uses.
const INFLIGHT: u16 = 255;
/// What it subscribes to always, and with live signals.
const FILTERS: [&str; 4] = ["inbox", "rpc", "live/+", "presence/+"];
const ALWAYS: usize = 2;
/// Largest packet this client takes.
const PACKET_BYTES_MAX: u32 = 1 << 20;
/// Topics that the server may abbreviate: `inbox` and `rpc`.
const TOPIC_ALIASES: u16 = 2;

/// Version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT 5, and 3.1.1 if that is all the other side speaks.
    Auto,
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1.
    V311,
}

/// What every connection of a client has in common. Not `Debug`: it has a password.
#[derive(Clone)]
pub(crate) struct ConnectOptions {
    pub(crate) endpoint: ServerAddress,
    pub(crate) user: String,
    pub(crate) device: String,
    /// Which of the device's passwords is tried.
    pub(crate) password: String,
    /// What the server is told: it waits half as long again.
    pub(crate) keep_alive: Duration,
    /// Until CONNACK.
    pub(crate) timeout: Duration,
    /// Each packet at once, rather than several in one segment when the network is slow.
    pub(crate) nodelay: bool,
    pub(crate) traffic: Arc<Traffic>,
    #[cfg(feature = "tls")]
    pub(crate) tls: tls::Trust,
}

/// What goes up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutboundPacket {
    Publish {
        packet_id: u16,
        again: bool,
        topic: &'static str,
        payload: Bytes,
        purpose: Purpose,
    },
    Ack {
        packet_id: u16,
        purpose: Purpose,
    },
    /// To `inbox` and `rpc`, and with `live` to what others do right now.
    Subscribe {
        live: bool,
    },
    /// From what others do right now.
    UnsubscribeLive,
    /// QoS 0, to `live/<conversation>`.
    Signal {
        conversation: ConversationId,
        body: Bytes,
    },
    Ping,
    Goodbye,
}

/// What comes down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InboundPacket {
    Welcome {
        session_present: bool,
        unanswered_max: u16,
        packet_bytes_max: u32,
        /// Which server this is, if it says so.
        origin: Option<ServerIdentity>,
    },
    /// With QoS 0 the packet identifier is 0, and nobody waits for an acknowledgement.
    Publish {
        packet_id: u16,
        topic: Topic,
        payload: Bytes,
    },
    Answer {
        packet_id: u16,
        answer: PublishAck,
    },
    Subscribed(bool),
    Unsubscribed,
    Pong,
    /// Nothing came: something was written.
    Written,
}

/// A topic that this client is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Topic {
    Inbox,
    Rpc,
    Live(ConversationId),
    Presence(UserId),
    Other,
}

impl Topic {
    fn parse(name: &[u8]) -> Self {
        match name {
            b"inbox" => Self::Inbox,
            b"rpc" => Self::Rpc,
            _ => {
                let below = |level: &[u8]| name.strip_prefix(level).and_then(|rest| std::str::from_utf8(rest).ok());
                let live = below(b"live/").and_then(|id| id.parse().ok()).map(|id| Self::Live(ConversationId::new(id)));
                let presence = || below(b"presence/").and_then(|user| UserId::new(user).ok()).map(Self::Presence);
                live.or_else(presence).unwrap_or(Self::Other)
            }
        }
    }

    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::Inbox | Self::Other => Purpose::Messages,
            Self::Rpc => Purpose::Calls,
            Self::Live(_) | Self::Presence(_) => Purpose::Signals,
        }
    }
}

/// What PUBACK says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublishAck {
    pub(crate) reason: u8,
    pub(crate) text: String,
    /// Where the message stands, if it is told.
    pub(crate) at: Option<(ConversationId, Seq)>,
    /// The server took it before, and all of its count up to this number.
    pub(crate) repeated: Option<u64>,
    /// The epoch that the conversation is in, if it was refused for the one that it was sealed in.
    pub(crate) mls_epoch: Option<u64>,
    /// Of the packet.
    pub(crate) bytes: usize,
}

/// How a connection ended, or why there was none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectionLost {
    #[error("the server refused the connection with {:#04x}", .0.get())]
    Refused(Reason),
    /// As from a server that does not speak MQTT 5; also when a network breaks at that moment.
    #[error("the connection was closed instead of an answer to CONNECT")]
    NoWelcome,
    #[error("the server closed the connection with {:#04x}", .0.get())]
    Closed(Reason),
    #[error("no connection can be made: {0}")]
    Unreachable(String),
    #[error("the certificate is not trusted: {0}")]
    NotTrusted(String),
    #[error("no MQTT is spoken there: {0}")]
    NotMqtt(String),
    #[error("another server: {found:016x} instead of {expected:016x}")]
    OtherServer { expected: u64, found: u64 },
    #[error("the server asked to come back in {0:?}")]
    Later(Duration),
    #[error("{0}")]
    Broken(String),
}

/// A connection in either version of MQTT.
pub(crate) enum MqttLink {
    V5(Box<v5::LinkV5>),
    V4(Box<v4::LinkV4>),
}

impl MqttLink {
    /// A connection that is made with the first [`Self::next`], which says `Welcome` or why not.
    pub(crate) fn new(dial: &ConnectOptions, protocol: Protocol) -> Self {
        match protocol {
            Protocol::V311 => Self::V4(Box::new(v4::LinkV4::new(dial))),
            Protocol::Auto | Protocol::V5 => Self::V5(Box::new(v5::LinkV5::new(dial))),
        }
    }

    /// Puts something in the queue. Sent as [`Self::next`] is called.
    pub(crate) fn push(&mut self, up: OutboundPacket) {
        match self {
            Self::V5(link) => link.push(up),
            Self::V4(link) => link.push(up),
        }
    }

    /// Nothing waits to be written.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Self::V5(link) => link.unwritten == 0,
            Self::V4(link) => link.unwritten == 0,
        }
    }

    /// In this version of MQTT the server cannot say which one it is before it is asked.
    pub(crate) fn is_silent_about_server(&self) -> bool {
        matches!(self, Self::V4(_))
    }

    /// The next thing that happens. Cancel safe if the link [is idle](Self::is_idle), and not otherwise.
    ///
    /// # Errors
    /// [`ConnectionLost`]: drop it.
    pub(crate) async fn next(&mut self) -> Result<InboundPacket, ConnectionLost> {
        match self {
            Self::V5(link) => link.next().await,
            Self::V4(link) => link.next().await,
        }
    }
}

/// The filters to subscribe to.
fn filters(live: bool) -> &'static [&'static str] {
    if live { &FILTERS } else { &FILTERS[..ALWAYS] }
}

/// Reads `<conversation>/<sequence>`.
fn place(at: &str) -> Option<(ConversationId, Seq)> {
    let (conversation, sequence) = at.split_once('/')?;
    Some((ConversationId::new(conversation.parse().ok()?), Seq::new(sequence.parse().ok()?)))
}
