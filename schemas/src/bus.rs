//! Frames between edges and lanes, and the bus that carries them.
//!
//! The frames are generated from `proto/godwit/bus.proto`, which tells how streams recover from loss. The traits say
//! what a bus must do: very little. It may lose, double and reorder payloads.

use std::future::Future;

use ::bytes::Bytes;

use crate::ids::Order;

pub use frames::*;

#[allow(missing_docs, unreachable_pub, reason = "generated; the .proto file is the documentation")]
mod frames {
    include!(concat!(env!("OUT_DIR"), "/godwit.bus.rs"));
}

/// Topic on which the bridge announces itself to all edges.
pub const EDGES: &str = "edges";

/// Topics of events for operators begin with it; the rest is their kind.
pub const EVENTS: &str = "events";

const ANSWERS_FROM: u64 = 1 << 62;
const RECEIPTS_FROM: u64 = 1 << 63;

/// What a delivery is acknowledged under. On the wire it is `Deliver.order`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryId {
    /// Nothing: nobody waits for the acknowledgement.
    None,
    /// An inbox entry.
    Entry(Order),
    /// The answer to a call, by its number in the lane. It has no place in the inbox's order.
    Answer(u64),
    /// A receipt, by its number in the lane. It has no place in the inbox's order.
    Receipt(u64),
}

impl DeliveryId {
    /// From the wire.
    pub const fn from_wire(order: u64) -> Self {
        match order {
            0 => Self::None,
            RECEIPTS_FROM.. => Self::Receipt(order - RECEIPTS_FROM),
            ANSWERS_FROM.. => Self::Answer(order - ANSWERS_FROM),
            _ => Self::Entry(Order::new(order)),
        }
    }

    /// For the wire. Numbers of answers and receipts are below 2^62.
    pub const fn to_wire(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Entry(order) => order.get(),
            Self::Answer(number) => ANSWERS_FROM + number,
            Self::Receipt(number) => RECEIPTS_FROM + number,
        }
    }
}

impl Extras {
    /// `None`: there is nothing in them.
    pub fn of(correlation: Bytes, properties: Bytes) -> Option<Box<Self>> {
        let is_empty = correlation.is_empty() && properties.is_empty();
        (!is_empty).then(|| Box::new(Self { correlation, properties }))
    }
}

impl Publish {
    /// MQTT 5 correlation data; empty: none.
    pub fn correlation(&self) -> Bytes {
        self.extras.as_ref().map(|extras| extras.correlation.clone()).unwrap_or_default()
    }

    /// An encoded [`client::Properties`](crate::client::Properties); empty: none.
    pub fn properties(&self) -> Bytes {
        self.extras.as_ref().map(|extras| extras.properties.clone()).unwrap_or_default()
    }
}

/// Topic of a lane's incoming batches.
pub fn up(lane: u32) -> String {
    format!("up/{lane}")
}

/// Topic of an edge's incoming batches.
pub fn down(edge: u64) -> String {
    format!("down/{edge:016x}")
}

/// The bus cannot be reached any more. Whoever holds the link opens a new one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("bus link closed: {0}")]
pub struct LinkClosed(pub String);

/// Opens links to a publish/subscribe bus.
pub trait Bus: Clone + Send + Sync + 'static {
    /// Sending half of a link.
    type Tx: Tx;
    /// Receiving half of a link.
    type Rx: Rx;

    /// Opens a link that receives what is published to `topics` (no wildcards) from now on.
    ///
    /// `name` is unique on the bus. Retries on its own when the bus is remote and not reachable yet.
    ///
    /// # Errors
    /// The bus is gone for good.
    fn open(
        &self,
        name: &str,
        topics: &[String],
    ) -> impl Future<Output = Result<(Self::Tx, Self::Rx), LinkClosed>> + Send;
}

/// Sending half of a link.
pub trait Tx: Send + 'static {
    /// Hands one payload to the bus, in order. Returning promises nothing about delivery.
    ///
    /// # Errors
    /// The link is closed.
    fn publish(&mut self, topic: &str, payload: Bytes) -> impl Future<Output = Result<(), LinkClosed>> + Send;
}

/// Receiving half of a link.
pub trait Rx: Send + 'static {
    /// The next payload. Cancel safe.
    ///
    /// # Errors
    /// The link is closed.
    fn next(&mut self) -> impl Future<Output = Result<Bytes, LinkClosed>> + Send;

    /// The next payload if one is there.
    fn try_next(&mut self) -> Option<Bytes>;
}
