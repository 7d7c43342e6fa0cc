//! What precedes MQTT on a connection: a PROXY header, a TLS handshake, a WebSocket upgrade, as far as the listener has them.
//!
//! Each handshake runs in a task of its own that ends where the connection's task begins, so its buffers are free when it is done.
//! A slow client holds one of [`handshakes_max`](crate::BrokerSettings::handshakes_max) permits, until the connect deadline at the
//! latest; it never delays another client's handshake.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::accepted::AcceptedConnection;
use crate::connection_driver::ConnectionDriver;
use crate::counters::Transport;
use crate::edge::Edge;
use crate::proxy;
use crate::rejections::RejectCause;
use crate::settings::ListenerSettings;
use crate::tls::Tls;
use crate::websocket::{UpgradeError, upgrade};

/// A TCP connection that begins with a handshake.
#[derive(Debug)]
pub(crate) enum IncomingConnection {
    /// It comes from the client itself, within the connection limits.
    Accepted(AcceptedConnection),
    /// It comes from a proxy: the limits apply to the address in the proxy's header.
    BehindProxy,
}

/// The steps of one listener's handshakes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Handshake {
    tls: Option<Tls>,
    websocket: bool,
}

impl Handshake {
    /// The handshake of a listener. `None`: connections begin with MQTT.
    pub(crate) fn of(listener: &ListenerSettings, tls: Option<&Tls>, edge: &Edge) -> Option<Self> {
        let tls = tls.filter(|_| listener.tls).cloned();
        let is_proxied = edge.context.settings.proxies.is_some();
        let handshake = Self { tls, websocket: listener.websocket };
        (is_proxied || handshake.tls.is_some() || handshake.websocket).then_some(handshake)
    }

    fn transport(&self) -> Transport {
        Transport::of(self.tls.is_some(), self.websocket)
    }

    /// Decides by its address whether a connection may begin its handshake. `None`: it was rejected.
    pub(crate) fn incoming(&self, edge: &Edge, from: IpAddr) -> Option<IncomingConnection> {
        match &edge.context.settings.proxies {
            None => edge.accept(Some(from), self.transport()).map(IncomingConnection::Accepted),
            Some(proxies) if proxies.iter().any(|network| network.contains(from)) => {
                Some(IncomingConnection::BehindProxy)
            }
            Some(_) => {
                edge.reject(Some(from), RejectCause::NotAProxy, "");
                None
            }
        }
    }

    /// Runs the steps, and spawns the connection's task on `connections` if they succeed. Otherwise the connection is rejected and
    /// closed.
    pub(crate) async fn run(
        self,
        stream: TcpStream,
        incoming: IncomingConnection,
        edge: Arc<Edge>,
        permit: OwnedSemaphorePermit,
        connections: TaskTracker,
    ) {
        let deadline = edge.context.settings.connect_deadline;
        let from = stream.peer_addr().ok().map(|addr| addr.ip());
        match timeout(deadline, self.steps(stream, incoming, edge.clone(), connections)).await {
            Ok(Ok(()) | Err(None)) => {}
            Ok(Err(Some(HandshakeError { addr, cause, detail }))) => edge.reject(addr.or(from), cause, detail),
            Err(_) => edge.reject(from, RejectCause::Deadline, ""),
        }
        drop(permit);
    }

    async fn steps(
        self,
        mut stream: TcpStream,
        incoming: IncomingConnection,
        edge: Arc<Edge>,
        connections: TaskTracker,
    ) -> HandshakeResult {
        let mut accepted = match incoming {
            IncomingConnection::Accepted(accepted) => accepted,
            IncomingConnection::BehindProxy => {
                let header = proxy::read_header(&mut stream).await;
                let from = header.map_err(|error| handshake_error(None, RejectCause::NoProxyHeader, &error))?;
                edge.accept(from, self.transport()).ok_or(None)?
            }
        };
        let addr = accepted.slot.addr;
        let last = LastStep { websocket: self.websocket, edge, connections };
        match self.tls {
            None => last.run(stream, accepted).await,
            Some(tls) => {
                let result = tls.accept(stream).await;
                let (stream, identity) =
                    result.map_err(|error| handshake_error(addr, RejectCause::TlsHandshake, &error))?;
                accepted.identity = identity.map(Box::new);
                last.run(stream, accepted).await
            }
        }
    }
}

/// `Err(None)`: the client has hung up, or the rejection is logged already.
type HandshakeResult = Result<(), Option<HandshakeError>>;

/// A step that failed, and is to be logged as a rejection.
struct HandshakeError {
    addr: Option<IpAddr>,
    cause: RejectCause,
    detail: String,
}

/// `None`: the client has hung up, which is no failure.
fn handshake_error(addr: Option<IpAddr>, cause: RejectCause, error: &io::Error) -> Option<HandshakeError> {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => None,
        _ => Some(HandshakeError { addr, cause, detail: error.to_string() }),
    }
}

/// The WebSocket upgrade, if the listener has it, and the start of the connection's task. Generic over what TLS made of the stream.
struct LastStep {
    websocket: bool,
    edge: Arc<Edge>,
    connections: TaskTracker,
}

impl LastStep {
    async fn run<S>(self, stream: S, accepted: AcceptedConnection) -> HandshakeResult
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if self.websocket {
            let addr = accepted.slot.addr;
            let stream = upgrade(stream, &self.edge.context.settings.origins).await.map_err(|error| {
                let error = error?;
                let is_origin = matches!(error, UpgradeError::Origin(_));
                let cause = if is_origin { RejectCause::Origin } else { RejectCause::WebSocketUpgrade };
                Some(HandshakeError { addr, cause, detail: error.to_string() })
            })?;
            self.connections.spawn(ConnectionDriver::new(stream, self.edge, accepted));
        } else {
            self.connections.spawn(ConnectionDriver::new(stream, self.edge, accepted));
        }
        Ok(())
    }
}
