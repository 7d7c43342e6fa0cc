//! The bus on rumqttd's router: the only place that names it.
//!
//! Links within this process hand payloads over without copying. With a service address, `service` carries the same
//! topics to a bridge in another process. The router keeps the last megabytes of each topic and lets a reader that is
//! further behind skip them: the streams of bus.proto notice and recover.

mod access;
mod service;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt as _;
use godwit_schemas::bus::{self, Bus, LinkClosed};
use parking_lot::Mutex;
use rumqttd::local::{LinkBuilder, LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet};
use rumqttd::{Notification, Router, RouterConfig, SegmentConfig};

use crate::listener;
pub use access::{Access, Login};

/// Most links at a time.
const LINKS_MAX: usize = 256;
/// What the router keeps of a topic: so many segments of so many bytes. Another 200 batches wait in the reader's link.
/// The router does not count what it adds to a payload, about 400 bytes: it keeps 40 MB of the smallest batches.
const SEGMENTS: usize = 16;
const SEGMENT_BYTES: usize = 512 * 1024;

/// Why there is no bus.
#[derive(Debug, thiserror::Error)]
pub enum RouterBusError {
    /// The service address is taken, or not this machine's.
    #[error("listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
}

/// Opens links; built where the router's channel can be named: nowhere outside rumqttd.
type Open = dyn Fn(&str) -> Result<(LinkTx, LinkRx), LinkClosed> + Send + Sync;

/// A bus within this process. Cheap to clone. The router ends with the process.
#[derive(Clone)]
pub struct RouterBus(Arc<Open>);

impl fmt::Debug for RouterBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RouterBus")
    }
}

impl RouterBus {
    /// Starts a router and, with an address, the private service listener there (port 0: any free one; the one it got
    /// is returned), for whom `access` lets in. Must be called within a Tokio runtime; the listener ends with it.
    ///
    /// # Errors
    /// [`RouterBusError::Listen`].
    pub fn start(service: Option<SocketAddr>, access: Access) -> Result<(Self, Option<SocketAddr>), RouterBusError> {
        let bound = service.map(|addr| listener::bind_one(addr).map_err(|error| RouterBusError::Listen(addr, error)));
        let bound = bound.transpose()?;
        let router_tx = Router::new(0, config()).spawn();
        let open = move |name: &str| {
            let (tx, rx, _) = LinkBuilder::new(name, router_tx.clone()).build().map_err(closed)?;
            Ok((tx, rx))
        };
        let bus = Self(Arc::new(open));
        let service = bound.map(|(listener, addr)| {
            tracing::info!(%addr, "the service listener is open");
            tokio::spawn(service::run(listener, bus.0.clone(), access));
            addr
        });
        Ok((bus, service))
    }
}

fn config() -> RouterConfig {
    // Hellos are many and small, and only the next one matters.
    let hellos = SegmentConfig { max_segment_size: 16 * 1024, max_segment_count: 1 };
    // Whoever is far behind with events has lost some already.
    let events = format!("{}/#", bus::EVENTS);
    let few = SegmentConfig { max_segment_size: SEGMENT_BYTES, max_segment_count: 4 };
    RouterConfig {
        max_connections: LINKS_MAX,
        max_outgoing_packet_count: 200,
        max_segment_size: SEGMENT_BYTES,
        max_segment_count: SEGMENTS,
        custom_segment: Some(HashMap::from([(bus::EDGES.to_owned(), hellos), (events, few)])),
        ..RouterConfig::default()
    }
}

impl Bus for RouterBus {
    type Tx = Tx;
    type Rx = Rx;

    async fn open(&self, name: &str, topics: &[String]) -> Result<(Tx, Rx), LinkClosed> {
        let (tx, rx) = open(&*self.0, name)?;
        for topic in topics {
            tx.subscribe(topic)?;
        }
        Ok((tx, rx))
    }
}

fn open(open: &Open, name: &str) -> Result<(Tx, Rx), LinkClosed> {
    let (tx, rx) = open(name)?;
    let link = Arc::new(Link(Mutex::new(tx)));
    Ok((Tx { link: link.clone(), topics: HashMap::new() }, Rx { rx, _link: link }))
}

fn closed(error: LinkError) -> LinkClosed {
    LinkClosed(error.to_string())
}

/// What both halves hold. The router notices that a link is gone only when it is told.
struct Link(Mutex<LinkTx>);

impl Drop for Link {
    fn drop(&mut self) {
        let goodbye = Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection };
        // It never waits; and a router that is gone needs no goodbye.
        _ = self.0.get_mut().send(Packet::Disconnect(goodbye, None)).now_or_never();
    }
}

/// Sending half of a link.
pub struct Tx {
    link: Arc<Link>,
    /// Topics as the router wants them.
    topics: HashMap<String, Bytes>,
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl Tx {
    /// What is published to this topic arrives at the receiving half from now on.
    fn subscribe(&self, topic: &str) -> Result<(), LinkClosed> {
        self.link.0.lock().subscribe(topic).map(|_| ()).map_err(closed)
    }

    /// It does no more.
    fn unsubscribe(&self, filter: &str) -> Result<(), LinkClosed> {
        self.link.0.lock().unsubscribe(filter).map(|_| ()).map_err(closed)
    }
}

impl bus::Tx for Tx {
    /// Blocks for a moment when the router has a thousand things to do.
    async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), LinkClosed> {
        let name = match self.topics.get(topic) {
            Some(name) => name.clone(),
            None => self.topics.entry(topic.to_owned()).or_insert_with(|| topic.to_owned().into()).clone(),
        };
        self.link.0.lock().publish(name, payload).map(|_| ()).map_err(closed)
    }
}

/// Receiving half of a link.
pub struct Rx {
    rx: LinkRx,
    _link: Arc<Link>,
}

impl fmt::Debug for Rx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rx").field(&self.rx.id()).finish()
    }
}

impl Rx {
    async fn next_with_topic(&mut self) -> Result<(Bytes, Bytes), LinkClosed> {
        loop {
            match self.rx.next().await.map_err(closed)? {
                Some(Notification::Forward(forward)) => return Ok((forward.publish.topic, forward.publish.payload)),
                // The router has put this link aside until it asks for more.
                Some(Notification::Unschedule) => self.rx.wake().await.map_err(closed)?,
                _ => {}
            }
        }
    }

    fn try_next_with_topic(&mut self) -> Option<(Bytes, Bytes)> {
        loop {
            match self.rx.recv_deadline(Instant::now()).ok()? {
                Some(Notification::Forward(forward)) => return Some((forward.publish.topic, forward.publish.payload)),
                Some(Notification::Unschedule) => self.rx.ready().ok()?,
                _ => {}
            }
        }
    }
}

impl bus::Rx for Rx {
    async fn next(&mut self) -> Result<Bytes, LinkClosed> {
        self.next_with_topic().await.map(|(_, payload)| payload)
    }

    fn try_next(&mut self) -> Option<Bytes> {
        self.try_next_with_topic().map(|(_, payload)| payload)
    }
}
