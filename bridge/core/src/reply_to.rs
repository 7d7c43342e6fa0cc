//! Where the answer to a publish or a request goes.

use std::num::NonZeroU16;

use godwit_schemas::ids::DeviceId;

/// A device's connection: what an edge calls it, and which edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey {
    /// The edge, by the number it chose when it started.
    pub edge: u64,
    /// The connection's number there.
    pub connection: u64,
}

/// A publish of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishKey {
    /// The connection; when it has ended, nobody is answered.
    pub connection: ConnectionKey,
    /// The publish's number there.
    pub number: u64,
    /// The client's own name for it. `None`: QoS 0.
    pub packet_id: Option<NonZeroU16>,
}

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyTo {
    /// To this device, on the connection of its publish.
    Connection(DeviceId, PublishKey),
    /// To the request over HTTP that has this number in its lane.
    Http(u64),
}

impl ReplyTo {
    /// The number of the request over HTTP, if it is one.
    pub fn http(self) -> Option<u64> {
        match self {
            Self::Http(number) => Some(number),
            Self::Connection(..) => None,
        }
    }
}
