//! A broker with listeners: starts its tasks, watches them, and stops them in order.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use godwit_schemas::bus::Bus;
use godwit_schemas::reason::Reason;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::counters::{BrokerCounters, BrokerQueues};
use crate::edge::Edge;
use crate::handshake::Handshake;
use crate::settings::{BrokerSettings, ListenerSettings};
use crate::timer::TICK;
use crate::tls::{Tls, TlsError};
use crate::websocket_door::WebSocketDoor;
use crate::{bus_link, listener};

/// How often a stopping broker looks whether all frames are on the bus.
const FLUSH_INTERVAL: Duration = Duration::from_millis(1);

/// Why a broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address is taken, or not this machine's.
    #[error("listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The operating system gives no random numbers.
    #[error("choose a name on the bus: {0}")]
    Random(getrandom::Error),
    /// A listener has TLS, and there is no certificate.
    #[error("TLS without a certificate")]
    NoCertificate,
    /// The certificate cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
}

/// A task that should run until the broker stops has ended before. The process should end too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the task of the {0} ended")]
pub struct BrokerFailed(&'static str);

/// A running broker. Dropping it stops it at once; [`Broker::stop`] lets it say goodbye.
#[derive(Debug)]
pub struct Broker {
    edge: Arc<Edge>,
    listeners: Vec<ListenerSettings>,
    /// Stops the listeners and the handshakes.
    accepting: CancellationToken,
    /// Stops everything else.
    running: CancellationToken,
    listener_tasks: TaskTracker,
    connections: TaskTracker,
    failure: watch::Sender<Option<BrokerFailed>>,
    tls: Option<Tls>,
}

/// Starts a broker on this bus. Must be called within a Tokio runtime. Returns when all listeners are bound.
///
/// # Errors
/// [`BrokerError`]; then nothing was started.
pub async fn start<B: Bus>(settings: BrokerSettings, bus: B) -> Result<Broker, BrokerError> {
    let id = getrandom::u64().map_err(BrokerError::Random)?;
    if settings.tls.is_none() && settings.listeners.iter().any(|listener| listener.tls) {
        return Err(BrokerError::NoCertificate);
    }
    let tls = settings.tls.clone().map(Tls::open).transpose()?;
    let bound = listener::bind_all(&settings.listeners).map_err(|(addr, error)| BrokerError::Listen(addr, error))?;
    let broker = Broker {
        listeners: bound.iter().map(|bound| bound.settings).collect(),
        edge: Arc::new(Edge::new(id, settings)),
        accepting: CancellationToken::new(),
        running: CancellationToken::new(),
        listener_tasks: TaskTracker::new(),
        connections: TaskTracker::new(),
        failure: watch::Sender::new(None),
        tls,
    };
    let edge = &broker.edge;
    tokio::spawn(broker.watched("bus", &broker.running, bus_link::run(edge.clone(), bus)));
    tokio::spawn(broker.watched("clock", &broker.running, edge.clone().run_clock()));
    tokio::spawn(broker.watched("logins", &broker.running, edge.clone().run_login_queue()));
    for bound in bound {
        let ListenerSettings { addr, tls: with_tls, websocket } = bound.settings;
        tracing::info!(%addr, tls = with_tls, websocket, "listening");
        let handshake = Handshake::of(&bound.settings, broker.tls.as_ref(), edge);
        let accept =
            listener::run(bound, handshake, edge.clone(), broker.connections.clone(), broker.accepting.clone());
        broker.listener_tasks.spawn(broker.watched("listener", &broker.accepting, accept));
    }
    if let Some(tls) = broker.tls.clone() {
        tokio::spawn(broker.watched("certificates", &broker.running, tls.watch()));
    }
    Ok(broker)
}

impl Broker {
    /// Wraps a task that should run until `stop`. If it ends or panics before, the broker has failed.
    fn watched<T: Future<Output = ()>>(
        &self,
        name: &'static str,
        stop: &CancellationToken,
        task: T,
    ) -> impl Future<Output = ()> + use<T> {
        let (stop, failure) = (stop.clone(), self.failure.clone());
        async move {
            let ended = stop.run_until_cancelled_owned(AssertUnwindSafe(task).catch_unwind()).await;
            if ended.is_some() {
                failure.send_replace(Some(BrokerFailed(name)));
            }
        }
    }

    /// Waits until the broker has failed: it no longer serves clients as it should, and the process should end. Cancel safe.
    pub async fn failed(&self) -> BrokerFailed {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await.map(|failure| *failure) {
            Ok(Some(failed)) => failed,
            _ => std::future::pending().await,
        }
    }

    /// Has the certificate files read at once, rather than within a minute. Returns before they are read.
    pub fn reload_certificates(&self) {
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }

    /// A door for WebSockets that another listener accepts.
    pub fn websocket_door(&self) -> WebSocketDoor {
        WebSocketDoor { edge: self.edge.clone(), connections: self.connections.clone() }
    }

    /// A health check of this broker.
    pub fn health(&self) -> BrokerHealth {
        BrokerHealth(self.edge.clone())
    }

    /// The listeners, in the order of [`BrokerSettings::listeners`], with the ports that were really taken.
    pub fn listeners(&self) -> &[ListenerSettings] {
        &self.listeners
    }

    /// What it counts, for whoever reads it from time to time.
    pub fn metrics(&self) -> BrokerMetrics {
        BrokerMetrics(self.edge.clone())
    }

    /// Stops the broker: accepts no connection any more, closes all (MQTT 5: DISCONNECT 0x8B) and tells the lanes. Returns when
    /// that is done, after `deadline` at the latest.
    pub async fn stop(self, deadline: Duration) {
        self.accepting.cancel();
        self.listener_tasks.close();
        self.connections.close();
        let context = &self.edge.context;
        let closed = async {
            self.listener_tasks.wait().await;
            for handle in self.edge.connections() {
                handle.connection.lock().close(context, Reason::SERVER_SHUTTING_DOWN);
            }
            self.connections.wait().await;
            while !context.lanes().iter().all(|lane| lane.is_empty()) {
                tokio::time::sleep(FLUSH_INTERVAL).await;
            }
        };
        if tokio::time::timeout(deadline, closed).await.is_err() {
            tracing::warn!(connections = context.counters.connections.get(), "stopped before all was told");
        }
        self.running.cancel();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.accepting.cancel();
        self.running.cancel();
    }
}

/// What a broker counts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BrokerMetrics(Arc<Edge>);

impl BrokerMetrics {
    /// What is counted as it happens.
    pub fn counters(&self) -> &BrokerCounters {
        &self.0.context.counters
    }

    /// How much there is in its queues. Takes a few locks for a moment.
    pub fn queues(&self) -> BrokerQueues {
        self.0.queues()
    }
}

/// Checks whether a broker serves its clients. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BrokerHealth(Arc<Edge>);

impl BrokerHealth {
    /// Waits until the broker's clock has advanced, for a second at most. Cancel safe.
    ///
    /// # Errors
    /// What does not work: no bridge is known, or the clock does not advance.
    pub async fn check(&self) -> Result<(), &'static str> {
        let context = &self.0.context;
        if context.lanes().is_empty() {
            return Err("the broker has not heard of a bridge");
        }
        let before = context.now();
        let advanced = async {
            while context.now() == before {
                tokio::time::sleep(TICK / 4).await;
            }
        };
        let advanced = tokio::time::timeout(Duration::from_secs(1), advanced).await;
        advanced.map_err(|_| "the broker's clock does not move")
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use godwit_bus::local::LocalBus;

    use super::*;

    async fn broker() -> Broker {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let settings = BrokerSettings { listeners: vec![ListenerSettings::plain(any)], ..BrokerSettings::default() };
        start(settings, LocalBus::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_task_that_panics_or_ends_fails_the_broker() {
        let broker = broker().await;
        broker.watched("listener", &broker.running, async { panic!("as a test has it") }).await;
        assert_eq!(broker.failed().await, BrokerFailed("listener"));
        broker.watched("clock", &broker.running, async {}).await;
        assert_eq!(broker.failed().await, BrokerFailed("clock"));
    }

    #[tokio::test]
    async fn a_task_that_is_stopped_is_no_failure() {
        let broker = broker().await;
        let stop = CancellationToken::new();
        stop.cancel();
        broker.watched("listener", &stop, std::future::pending()).await;
        assert!(broker.failure.borrow().is_none());
    }

    #[tokio::test]
    async fn without_a_bridge_a_broker_is_not_ready() {
        assert_eq!(broker().await.health().check().await, Err("the broker has not heard of a bridge"));
    }
}
