//! What comes before MQTT on some doors: a proxy's header, a TLS handshake, a WebSocket upgrade. Called by the listeners,
//! in a task of its own for each client, which ends where the connection's begins: what a handshake needs is free when it
//! is done.
//!
//! A client that takes its time costs a task and a place among [`Settings::greetings_max`](crate::Settings), for as long
//! as it may take from connecting to being welcome; never the next client's turn.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::Listen;
use crate::connection::Connection;
use crate::edge::Edge;
use crate::guests::Stay;
use crate::proxy;
use crate::timer::Ticks;
use crate::tls::{Identity, Tls};
use crate::websocket::upgrade;

/// Whoever has arrived, as its connection wants to know it.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Ticks,
    pub(crate) stay: Stay,
    /// Of its certificate.
    pub(crate) identity: Option<Box<Identity>>,
}

impl Arrival {
    /// Somebody arrives from there. `None`: it may not, since there are too many.
    pub(crate) fn now(edge: &Edge, from: Option<IpAddr>) -> Option<Self> {
        let from = from.map(|addr| addr.to_canonical());
        let Some(stay) = edge.guests.enter(from) else {
            edge.counters.refused.add(1);
            tracing::debug!(addr = from.map(tracing::field::display), "turned away: too many");
            return None;
        };
        Some(Self { at: edge.now(), stay, identity: None })
    }
}

/// Who is to be greeted.
#[derive(Debug)]
pub(crate) enum Guest {
    Arrived(Arrival),
    /// Its proxy has still to say who it is.
    BehindProxy,
}

/// The steps of a door. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    proxied: bool,
    tls: Option<Tls>,
    websocket: bool,
}

impl Greeting {
    /// `None`: clients begin with MQTT.
    pub(crate) fn of(listen: &Listen, tls: Option<&Tls>, edge: &Edge) -> Option<Self> {
        let tls = tls.filter(|_| listen.tls).cloned();
        let it = Self { proxied: edge.settings.proxies.is_some(), tls, websocket: listen.websocket };
        (it.proxied || it.tls.is_some() || it.websocket).then_some(it)
    }

    /// Looks who comes from there. `None`: nobody who may.
    pub(crate) fn meet(&self, edge: &Edge, from: IpAddr) -> Option<Guest> {
        match &edge.settings.proxies {
            None => Arrival::now(edge, Some(from)).map(Guest::Arrived),
            Some(proxies) if proxies.iter().any(|network| network.contains(from)) => Some(Guest::BehindProxy),
            Some(_) => {
                edge.counters.refused.add(1);
                tracing::debug!(addr = %from, "turned away: no proxy that is believed");
                None
            }
        }
    }

    /// Goes through the steps and hands the client on.
    pub(crate) async fn greet(
        self,
        stream: TcpStream,
        guest: Guest,
        edge: Arc<Edge>,
        place: OwnedSemaphorePermit,
        connections: TaskTracker,
    ) {
        let deadline = edge.settings.connect_deadline;
        // Who is not through in time is dropped.
        _ = timeout(deadline, self.steps(stream, guest, edge, connections)).await;
        drop(place);
    }

    async fn steps(self, mut stream: TcpStream, guest: Guest, edge: Arc<Edge>, connections: TaskTracker) -> Option<()> {
        let mut arrival = match guest {
            Guest::Arrived(arrival) => arrival,
            Guest::BehindProxy => Arrival::now(&edge, proxy::read_header(&mut stream).await.ok()?)?,
        };
        let door = Inner { websocket: self.websocket, edge, connections };
        match self.tls {
            None => door.enter(stream, arrival).await,
            Some(tls) => {
                let (stream, identity) = tls.accept(stream).await?;
                arrival.identity = identity.map(Box::new);
                door.enter(stream, arrival).await
            }
        }
    }
}

/// The last step.
struct Inner {
    websocket: bool,
    edge: Arc<Edge>,
    connections: TaskTracker,
}

impl Inner {
    async fn enter<S>(self, stream: S, arrival: Arrival) -> Option<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if self.websocket {
            let stream = upgrade(stream, &self.edge.settings.origins).await?;
            self.connections.spawn(Connection::new(stream, self.edge, arrival));
        } else {
            self.connections.spawn(Connection::new(stream, self.edge, arrival));
        }
        Some(())
    }
}
