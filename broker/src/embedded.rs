//! A broker without listeners, for streams that the caller brings: a simulation, a fuzzer, a benchmark within one process.

use std::sync::Arc;

use godwit_schemas::bus::Bus;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::bus_link;
use crate::connection_driver::ConnectionDriver;
use crate::counters::Transport;
use crate::edge::Edge;
use crate::settings::BrokerSettings;

/// A broker without listeners. It draws no random numbers: what it does follows from its input and the time, so a simulation can
/// replay it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EmbeddedBroker(Arc<Edge>);

impl EmbeddedBroker {
    /// `id`: its name on the bus, which no other edge has or had.
    pub fn new(id: u64, settings: BrokerSettings) -> Self {
        Self(Arc::new(Edge::new(id, settings)))
    }

    /// Runs its tasks on this bus for ever. Cancelling stops it.
    pub async fn run<B: Bus>(self, bus: B) {
        let edge = self.0;
        futures::join!(bus_link::run(edge.clone(), bus), edge.clone().run_clock(), edge.run_login_queue());
    }

    /// Serves one client until its connection is over. The client has no address, so the limits by network do not apply to it.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S) {
        if let Some(accepted) = self.0.accept(None, Transport::Tcp) {
            ConnectionDriver::new(stream, self.0, accepted).await;
        }
    }
}
