//! What comes before MQTT on some doors: a TLS handshake, a WebSocket upgrade. Called by the listeners, in a task of its
//! own for each client, which ends where the connection's begins: what a handshake needs is free when it is done.
//!
//! A client that takes its time costs a task and a place among [`Settings::greetings_max`](crate::Settings), for as long
//! as it may take from connecting to being welcome; never the next client's turn.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::Listen;
use crate::connection::Connection;
use crate::edge::Edge;
use crate::timer::Ticks;
use crate::tls::Tls;
use crate::websocket::upgrade;

/// The steps of a door. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    tls: Option<Tls>,
    websocket: bool,
}

impl Greeting {
    /// `None`: clients begin with MQTT.
    pub(crate) fn of(listen: &Listen, tls: Option<&Tls>) -> Option<Self> {
        let tls = tls.filter(|_| listen.tls).cloned();
        (tls.is_some() || listen.websocket).then_some(Self { tls, websocket: listen.websocket })
    }

    /// Goes through the steps and hands the client on.
    pub(crate) async fn greet(
        self,
        stream: TcpStream,
        edge: Arc<Edge>,
        place: OwnedSemaphorePermit,
        connections: TaskTracker,
    ) {
        let deadline = edge.settings.connect_deadline;
        let guest = Guest { arrived: edge.now(), edge, connections };
        // Who is not through in time is dropped.
        _ = timeout(deadline, self.steps(stream, guest)).await;
        drop(place);
    }

    async fn steps(self, stream: TcpStream, guest: Guest) -> Option<()> {
        match self.tls {
            None => guest.enter(stream, self.websocket).await,
            Some(tls) => guest.enter(tls.accept(stream).await?, self.websocket).await,
        }
    }
}

/// Who is being greeted.
struct Guest {
    arrived: Ticks,
    edge: Arc<Edge>,
    connections: TaskTracker,
}

impl Guest {
    async fn enter<S>(self, stream: S, websocket: bool) -> Option<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if websocket {
            let stream = upgrade(stream, &self.edge.settings.origins).await?;
            self.connections.spawn(Connection::new(stream, self.edge, self.arrived));
        } else {
            self.connections.spawn(Connection::new(stream, self.edge, self.arrived));
        }
        Some(())
    }
}
