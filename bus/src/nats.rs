//! The bus of a cluster, over core NATS. The only module that names `async_nats`.
//!
//! Core NATS delivers at most once, and keeps nothing: that is all a bus must do. Each link is a connection of its own, so a
//! reader that lags slows down no other link. While a connection is lost, the library connects again, to any of the servers,
//! and what is published meanwhile is lost.
//!
//! The topic `up/3` is the subject `godwit.up.3`, with the prefix that the operator has chosen.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::connection::State;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{SelectAll, select_all};
use godwit_schemas::bus::{self, Bus, LinkClosed};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::payload_queue::{Dropped, PayloadReceiver, PayloadSender, payload_queue};

/// What the servers' `max_payload` must be at least: a batch is closed at 512 KiB, and its last frame is at most a packet of
/// 2 MiB.
pub const PAYLOAD_BYTES_MIN: usize = 4 << 20;
/// Payloads that wait for the socket; a full queue holds up the publisher. Streams bound how many bytes that are.
const UNSENT_MAX: usize = 64;
/// Payloads that wait for [`forward`], which takes them as they come.
const UNFORWARDED_MAX: usize = 16_384;
/// A server is asked for a sign of life so often. After three without an answer the connection is lost.
const PING: Duration = Duration::from_secs(1);
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
const RECONNECT_AFTER: Duration = Duration::from_millis(250);

/// Where the NATS servers are, and how to get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsSettings {
    /// Like `nats://nats-1:4222` or `tls://nats-1:4222`; at least one. Servers that these tell of are not asked.
    pub servers: Vec<String>,
    /// User and password.
    pub login: Option<(String, String)>,
    /// PEM file with the authorities that sign the servers' certificates; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Of all subjects.
    pub prefix: String,
}

/// Checks how a server is named.
///
/// # Errors
/// What is wrong, for the operator.
pub fn check_server(url: &str) -> Result<(), String> {
    parse_server(url).map(drop)
}

fn parse_server(url: &str) -> Result<ServerAddr, String> {
    let refused = || format!("{url:?} is not like nats://nats-1:4222, or tls://nats-1:4222");
    let server: ServerAddr = url.parse().map_err(|_| refused())?;
    let is_good = url.starts_with("nats://") || url.starts_with("tls://");
    if !is_good || server.host().is_empty() {
        return Err(refused());
    }
    if server.has_user_pass() {
        return Err(format!("{:?} has a password in it: name it in a file", server.host()));
    }
    Ok(server)
}

/// Checks a prefix of subjects.
///
/// # Errors
/// What is wrong, for the operator.
pub fn check_prefix(prefix: &str) -> Result<(), String> {
    let good = |part: &str| {
        !part.is_empty() && part.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_'))
    };
    if prefix.split('.').all(good) {
        return Ok(());
    }
    Err(format!("{prefix:?} is not made of letters, digits, \"-\" and \"_\", with single dots between them"))
}

/// What no waiting helps against.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NatsRefused {
    /// A server is not named as it should be.
    #[error("{0}")]
    Server(String),
    /// The servers do not let us in.
    #[error("the NATS servers refuse this login")]
    Login,
    /// Batches would be lost.
    #[error(
        "the NATS server {server} takes payloads of at most {max_payload} bytes: set `max_payload: 8MB` on all NATS servers"
    )]
    MaxPayload {
        /// Its name.
        server: String,
        /// What it takes.
        max_payload: usize,
    },
}

/// Why there is no connection.
enum ConnectFailure {
    Refused(NatsRefused),
    /// Nothing answers, or not as it should.
    Unreachable(String),
}

/// The bus. Cheap to clone; links are opened within a Tokio runtime.
#[derive(Debug, Clone)]
pub struct NatsBus(Arc<Servers>);

#[derive(Debug)]
struct Servers {
    addresses: Vec<ServerAddr>,
    settings: NatsSettings,
}

impl NatsBus {
    /// A bus on these servers; nothing is connected yet.
    ///
    /// # Errors
    /// [`NatsRefused::Server`].
    pub fn new(settings: NatsSettings) -> Result<Self, NatsRefused> {
        let addresses = settings.servers.iter().map(|url| parse_server(url)).collect::<Result<_, _>>();
        Ok(Self(Arc::new(Servers { addresses: addresses.map_err(NatsRefused::Server)?, settings })))
    }

    /// Connects once, so that an operator hears at the start what will never work. Servers that cannot be reached may come yet:
    /// that is no error.
    ///
    /// # Errors
    /// [`NatsRefused`].
    pub async fn check(&self) -> Result<(), NatsRefused> {
        match self.connect("check").await {
            Ok(_) => Ok(()),
            Err(ConnectFailure::Refused(refused)) => Err(refused),
            Err(ConnectFailure::Unreachable(error)) => {
                warn!(error, "no NATS server can be reached yet");
                Ok(())
            }
        }
    }

    async fn connect(&self, name: &str) -> Result<(Client, watch::Receiver<bool>), ConnectFailure> {
        let NatsSettings { login, ca, .. } = &self.0.settings;
        let (connected, is_connected) = watch::channel(true);
        let link = name.to_owned();
        let mut options = ConnectOptions::new()
            .name(format!("godwit {name}"))
            .client_capacity(UNSENT_MAX)
            .subscription_capacity(UNFORWARDED_MAX)
            .ping_interval(PING)
            .connection_timeout(CONNECT_DEADLINE)
            .reconnect_delay_callback(|attempts| if attempts > 1 { RECONNECT_AFTER } else { Duration::ZERO })
            .ignore_discovered_servers()
            .event_callback(move |event| {
                tell(&link, &event, &connected);
                std::future::ready(())
            });
        if let Some((user, password)) = login {
            options = options.user_and_password(user.clone(), password.clone());
        }
        if let Some(ca) = ca {
            options = options.add_root_certificates(ca.clone());
        }
        let client = options.connect(&self.0.addresses[..]).await.map_err(|error| match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                ConnectFailure::Refused(NatsRefused::Login)
            }
            _ => ConnectFailure::Unreachable(error.to_string()),
        })?;
        let max_payload = client.max_payload();
        if max_payload < PAYLOAD_BYTES_MIN {
            let server = client.server_info().server_name;
            return Err(ConnectFailure::Refused(NatsRefused::MaxPayload { server, max_payload }));
        }
        Ok((client, is_connected))
    }

    fn subject(&self, topic: &str) -> String {
        format!("{}.{}", self.0.settings.prefix, topic.replace('/', "."))
    }
}

/// Logs what happens to a connection, and says whether it is there.
fn tell(link: &str, event: &Event, connected: &watch::Sender<bool>) {
    match event {
        Event::Connected if !connected.send_replace(true) => info!(link, "connected to NATS again"),
        Event::Disconnected => {
            connected.send_replace(false);
            warn!(link, "connection to NATS lost");
        }
        Event::SlowConsumer(_) => warn!(link, "payloads from NATS were not taken in time, and are lost"),
        Event::ServerError(error) => warn!(link, %error, "NATS reports an error"),
        _ => {}
    }
}

impl Bus for NatsBus {
    type Tx = NatsTx;
    type Rx = NatsRx;

    /// Tries until it succeeds: what [`NatsBus::check`] refuses, an operator may put right while this waits.
    async fn open(&self, name: &str, topics: &[String]) -> Result<(NatsTx, NatsRx), LinkClosed> {
        loop {
            match self.connect(name).await {
                Ok((client, connected)) => {
                    let subscriptions = self.subscribe(&client, topics).await?;
                    let (payloads, queue) = payload_queue();
                    let forwarding = tokio::spawn(forward(name.to_owned(), subscriptions, payloads));
                    info!(link = name, "connected to NATS");
                    let tx = NatsTx { bus: self.clone(), client, connected };
                    return Ok((tx, NatsRx { queue, forwarding: AbortOnDropHandle::new(forwarding) }));
                }
                Err(ConnectFailure::Refused(error)) => error!(link = name, %error, "NATS cannot be used, trying again"),
                Err(ConnectFailure::Unreachable(error)) => {
                    warn!(link = name, error, "NATS cannot be reached, trying again");
                }
            }
            sleep(RECONNECT_AFTER).await;
        }
    }
}

impl NatsBus {
    async fn subscribe(&self, client: &Client, topics: &[String]) -> Result<SelectAll<Subscriber>, LinkClosed> {
        let mut subscriptions = Vec::new();
        for topic in topics {
            let subscribed = client.subscribe(self.subject(topic)).await;
            subscriptions.push(subscribed.map_err(|error| LinkClosed(error.to_string()))?);
        }
        client.flush().await.map_err(|error| LinkClosed(error.to_string()))?;
        Ok(select_all(subscriptions))
    }
}

/// Takes payloads as they come, so that the library's queue, which counts payloads and not bytes, is empty.
async fn forward(link: String, mut subscriptions: SelectAll<Subscriber>, payloads: PayloadSender) {
    let mut lags = false;
    while let Some(message) = subscriptions.next().await {
        match payloads.push(message.payload) {
            Ok(()) => lags = false,
            Err(Dropped::ReaderGone) => return,
            Err(Dropped::ReaderLags) => {
                if !std::mem::replace(&mut lags, true) {
                    warn!(link, "a reader of the bus lags: it misses payloads");
                }
            }
        }
    }
}

/// Sending half of a link.
#[derive(Debug)]
pub struct NatsTx {
    bus: NatsBus,
    client: Client,
    connected: watch::Receiver<bool>,
}

impl bus::Tx for NatsTx {
    /// Waits while the server does not take what was published before. Without a connection the payload is lost.
    async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), LinkClosed> {
        if self.client.connection_state() != State::Connected {
            return Ok(());
        }
        let bytes = payload.len();
        let published = tokio::select! {
            biased;
            published = self.client.publish(self.bus.subject(topic), payload) => published,
            _ = self.connected.wait_for(|connected| !connected) => return Ok(()),
        };
        match published {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                let max_payload = self.client.max_payload();
                error!(bytes, max_payload, topic, "a batch is larger than the NATS server's max_payload, and is lost");
                Ok(())
            }
            Err(error) => Err(LinkClosed(error.to_string())),
        }
    }
}

/// Receiving half of a link.
#[derive(Debug)]
pub struct NatsRx {
    queue: PayloadReceiver,
    #[expect(dead_code, reason = "held until the link is dropped")]
    forwarding: AbortOnDropHandle<()>,
}

impl bus::Rx for NatsRx {
    async fn next(&mut self) -> Result<Bytes, LinkClosed> {
        self.queue.next().await.ok_or_else(|| LinkClosed("it reads no topic".to_owned()))
    }

    fn try_next(&mut self) -> Option<Bytes> {
        self.queue.try_next()
    }
}

#[cfg(test)]
mod tests;
