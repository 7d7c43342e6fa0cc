//! The doors: listeners, one light task for each connection, and the bus, within one process or on rumqttd's router.
//!
//! A broker knows MQTT and nothing of what messages mean: a client's packets become frames for the lane that owns its
//! user, and the lane's frames become packets (`godwit_schemas::bus`). It is called by the server, which hands it a
//! [`Bus`]. It promises that no client can stop it, make it hold more than a bounded amount for it, or see another's
//! topics; that answers leave in the order of the publishes; and that a lost batch or a restarted bridge closes no
//! connection.
//!
//! The path of a packet: `listener` accepts, `greeting` sees to PROXY headers, TLS and WebSocket, `connection` moves bytes,
//! `mqtt` gives them meaning, `session` decides, `lane` gathers, `link` publishes; and back from `link` over `session` to
//! `connection`.

mod connection;
pub mod counters;
mod edge;
mod greeting;
pub mod guests;
mod lane;
mod link;
mod listener;
pub mod local_bus;
mod logins;
mod mqtt;
pub mod pressure;
pub mod proxy;
pub mod router_bus;
mod session;
mod timer;
pub mod tls;
pub mod token;
pub mod websocket;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use godwit_schemas::bus::Bus;
use godwit_schemas::reason::Reason;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use counters::Counters;
use edge::Edge;
use greeting::{Arrival, Greeting};
use tls::Tls;

/// How often a stopping broker looks whether all frames are on the bus.
const FLUSH: Duration = Duration::from_millis(1);

/// A place where clients are listened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Port 0: any free one.
    pub addr: SocketAddr,
    /// Clients begin with a TLS handshake.
    pub tls: bool,
    /// What they say then is WebSocket, with MQTT in it.
    pub websocket: bool,
}

impl Listen {
    /// MQTT and nothing around it.
    pub fn plain(addr: SocketAddr) -> Self {
        Self { addr, tls: false, websocket: false }
    }
}

/// What a broker is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients are listened for.
    pub listen: Vec<Listen>,
    /// What is shown where they begin with TLS. `None`: there is no such place.
    pub tls: Option<tls::Settings>,
    /// Origins of the web pages that may come over WebSocket, as browsers say them; `*`: any. What says no origin, as
    /// programs that are no browsers do, may come.
    pub origins: Vec<String>,
    /// Most clients that are in the middle of a TLS handshake or a WebSocket upgrade; further ones wait to be accepted.
    pub greetings_max: usize,
    /// Most CONNECTs that the lanes are asked about at once; further ones wait their turn. 0 means 1.
    pub logins_max: usize,
    /// Set while the process is short of memory.
    pub pressure: pressure::Pressure,
    /// Networks of the proxies in front, whose connections begin with a header that says who their client is; nobody else
    /// may connect. `None`: there are no proxies.
    pub proxies: Option<Vec<proxy::Network>>,
    /// What names the user and the device in the tokens of those who do not name them in CONNECT. `None`: there are no tokens.
    pub tokens: Option<token::Claims>,
    /// What may come from one network, and how many may not have said yet who they are.
    pub guests: guests::Limits,
    /// Packets a client may send in a second on average, acknowledgements apart, and bytes; 0: as many as it likes. What
    /// is over is read later.
    pub packets_per_s: u32,
    /// See `packets_per_s`.
    pub bytes_per_s: u32,
    /// How long a client may go on sending more than that before it is closed; zero: for ever.
    pub over_rate: Duration,
    /// Largest packet a client may send, in bytes.
    pub packet_bytes_max: u32,
    /// Most connections at a time; further ones are closed as soon as they are accepted.
    pub connections_max: u64,
    /// How long a client may take from connecting to being welcome.
    pub connect_deadline: Duration,
    /// Most QoS 1 and 2 publishes of a connection that may wait for their answer: MQTT 5's Receive Maximum. 0 means 1.
    pub unanswered_publishes_max: u16,
    /// Most topic aliases a client may use.
    pub topic_alias_max: u16,
    /// How long a client's socket may take nothing while something waits for it.
    pub drain_deadline: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![Listen::plain(SocketAddr::from(([127, 0, 0, 1], 1883)))],
            tls: None,
            origins: Vec::new(),
            greetings_max: 4_096,
            logins_max: 16,
            pressure: pressure::Pressure::default(),
            proxies: None,
            tokens: None,
            guests: guests::Limits::default(),
            packets_per_s: 0,
            bytes_per_s: 0,
            over_rate: Duration::from_secs(60),
            packet_bytes_max: 96 * 1024,
            connections_max: 1_000_000,
            connect_deadline: Duration::from_secs(10),
            unanswered_publishes_max: 64,
            topic_alias_max: 16,
            drain_deadline: Duration::from_secs(30),
        }
    }
}

/// Why a broker cannot be.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address is taken, or not this machine's.
    #[error("listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The operating system gives no random numbers.
    #[error("choose a name on the bus: {0}")]
    Random(getrandom::Error),
    /// There is to be TLS without a certificate.
    #[error("TLS without a certificate")]
    NoCertificate,
    /// The certificate cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] tls::TlsError),
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    edge: Arc<Edge>,
    listening: Vec<Listen>,
    /// Stops the listeners.
    accepting: CancellationToken,
    /// Stops everything else.
    running: CancellationToken,
    listeners: TaskTracker,
    connections: TaskTracker,
}

/// Opens the doors. Must be called within a Tokio runtime; returns when all listeners are bound.
///
/// # Errors
/// [`BrokerError`]; then nothing was started.
pub async fn start<B: Bus>(mut settings: Settings, bus: B) -> Result<Broker, BrokerError> {
    settings.unanswered_publishes_max = settings.unanswered_publishes_max.max(1);
    let id = getrandom::u64().map_err(BrokerError::Random)?;
    if settings.tls.is_none() && settings.listen.iter().any(|listen| listen.tls) {
        return Err(BrokerError::NoCertificate);
    }
    let tls = settings.tls.clone().map(Tls::open).transpose()?;
    let doors = listener::bind(&settings.listen)?;
    let broker = Broker {
        listening: doors.iter().map(|door| door.listen).collect(),
        edge: Arc::new(Edge::new(id, settings)),
        accepting: CancellationToken::new(),
        running: CancellationToken::new(),
        listeners: TaskTracker::new(),
        connections: TaskTracker::new(),
    };
    let edge = &broker.edge;
    tokio::spawn(broker.running.clone().run_until_cancelled_owned(link::run(edge.clone(), bus)));
    tokio::spawn(broker.running.clone().run_until_cancelled_owned(timer::run(edge.clone())));
    tokio::spawn(broker.running.clone().run_until_cancelled_owned(logins::run(edge.clone())));
    for door in doors {
        let Listen { addr, tls: with_tls, websocket } = door.listen;
        tracing::info!(%addr, tls = with_tls, websocket, "listening");
        let greeting = Greeting::of(&door.listen, tls.as_ref(), edge);
        let accept = listener::run(door, greeting, edge.clone(), broker.connections.clone(), broker.accepting.clone());
        broker.listeners.spawn(broker.accepting.clone().run_until_cancelled_owned(accept));
    }
    if let Some(tls) = tls {
        tokio::spawn(broker.running.clone().run_until_cancelled_owned(tls.watch()));
    }
    Ok(broker)
}

impl Broker {
    /// Where it listens, in the order of [`Settings::listen`], with the ports that were really taken.
    pub fn listening(&self) -> &[Listen] {
        &self.listening
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<Counters> {
        self.edge.counters.clone()
    }

    /// Closes the doors: accepts nobody, sends everybody away (MQTT 5: DISCONNECT 0x8B), tells the lanes, and waits
    /// until that is done, but not longer than `deadline`.
    pub async fn stop(self, deadline: Duration) {
        self.accepting.cancel();
        self.listeners.close();
        self.connections.close();
        let told = async {
            self.listeners.wait().await;
            for peer in self.edge.peers() {
                peer.session.lock().close(&self.edge, Reason::SERVER_SHUTTING_DOWN);
            }
            self.connections.wait().await;
            while !self.edge.lanes().iter().all(|lane| lane.is_empty()) {
                tokio::time::sleep(FLUSH).await;
            }
        };
        if tokio::time::timeout(deadline, told).await.is_err() {
            tracing::warn!(connections = self.edge.counters.connections.get(), "stopped before all was told");
        }
        self.running.cancel();
    }
}

/// A broker without listeners, for streams that come from elsewhere. Nothing in it is drawn at random: what it does
/// follows from what comes in and when, so a simulation can replay it.
#[derive(Debug, Clone)]
pub struct Doors(Arc<Edge>);

impl Doors {
    /// `id`: its name on the bus, which no other edge has or had.
    pub fn new(id: u64, settings: Settings) -> Self {
        Self(Arc::new(Edge::new(id, settings)))
    }

    /// Keeps it on the bus, for ever.
    pub async fn run<B: Bus>(self, bus: B) {
        futures::join!(link::run(self.0.clone(), bus), timer::run(self.0.clone()), logins::run(self.0));
    }

    /// Serves one client until it is gone. It comes from nowhere, and so counts in no network's limits.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S) {
        if let Some(arrival) = Arrival::now(&self.0, None) {
            connection::Connection::new(stream, self.0, arrival).await;
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.accepting.cancel();
        self.running.cancel();
    }
}
