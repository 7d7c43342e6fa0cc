//! The bus on rumqttd's router, for a broker and a bridge in two processes, and for readers of events. The only module that names
//! rumqttd.
//!
//! Links within this process hand payloads over without copying. With a service address, `service` carries the same topics to other
//! processes. The router keeps the last megabytes of each topic. A reader that falls behind further skips payloads; the streams of
//! bus.proto notice the gap and recover.

mod access;
mod link;
mod service;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use godwit_schemas::bus::{self, Bus, LinkClosed};
use rumqttd::local::LinkBuilder;
use rumqttd::{Router, RouterConfig, SegmentConfig};

use crate::listener;
use link::OpenLink;

pub use access::{ServiceAccess, ServiceLogin};
pub use link::{RouterRx, RouterTx};

/// Most links at a time.
const LINKS_MAX: usize = 256;
/// Segments that the router keeps of a topic, and their size. Another 200 batches wait in the reader's link. The router does not
/// count the 400 bytes or so that it adds to each payload: of the smallest batches it keeps 40 MB.
const SEGMENTS: usize = 16;
const SEGMENT_BYTES: usize = 512 * 1024;

/// Why the bus cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RouterBusError {
    /// The service address is taken, or not this machine's.
    #[error("listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
}

/// A bus within this process. Cheap to clone. The router ends with the process.
#[derive(Clone)]
pub struct RouterBus(Arc<OpenLink>);

impl fmt::Debug for RouterBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RouterBus")
    }
}

impl RouterBus {
    /// Starts a router and, with an address, the private service listener (port 0: any free one) for clients that `access` lets in.
    /// Returns the bus, and the address that was bound. Must be called within a Tokio runtime; the listener ends with the runtime.
    ///
    /// # Errors
    /// [`RouterBusError::Listen`].
    pub fn start(
        service: Option<SocketAddr>,
        access: ServiceAccess,
    ) -> Result<(Self, Option<SocketAddr>), RouterBusError> {
        let bound = service.map(|addr| listener::bind(addr).map_err(|error| RouterBusError::Listen(addr, error)));
        let bound = bound.transpose()?;
        let router_tx = Router::new(0, config()).spawn();
        let open = move |name: &str| {
            let (tx, rx, _) = LinkBuilder::new(name, router_tx.clone()).build().map_err(link::closed)?;
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
    // Bridges announce themselves often, and only the last announcement matters.
    let hellos = SegmentConfig { max_segment_size: 16 * 1024, max_segment_count: 1 };
    // A reader of events that is far behind has missed some already.
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
    type Tx = RouterTx;
    type Rx = RouterRx;

    async fn open(&self, name: &str, topics: &[String]) -> Result<(RouterTx, RouterRx), LinkClosed> {
        let (tx, rx) = link::open(&*self.0, name)?;
        for topic in topics {
            tx.subscribe(topic)?;
        }
        Ok((tx, rx))
    }
}
