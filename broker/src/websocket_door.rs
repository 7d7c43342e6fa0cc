//! A door for WebSockets that a listener of HTTP has accepted: the page's listener, where a WebSocket is one path among others.
//! The same limits hold as at the broker's own listeners. The listener asks for a place first, and hands the stream in when it has
//! answered the request.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;

use crate::accepted::AcceptedConnection;
use crate::connection_driver::ConnectionDriver;
use crate::counters::Transport;
use crate::edge::Edge;
use crate::listener;
use crate::rejections::RejectCause;
use crate::websocket::{UpgradeError, WebSocket};

/// Takes WebSockets in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WebSocketDoor {
    pub(crate) edge: Arc<Edge>,
    pub(crate) connections: TaskTracker,
}

/// A place for a connection whose stream is still to come. Dropping it gives the place back.
#[derive(Debug)]
pub struct WebSocketPlace {
    door: WebSocketDoor,
    accepted: AcceptedConnection,
}

impl WebSocketDoor {
    /// A place for a client with this address. `None`: it was rejected, by the limits of connections.
    pub fn place(&self, from: Option<IpAddr>) -> Option<WebSocketPlace> {
        let accepted =
            listener::has_room(&self.edge, from).then(|| self.edge.accept(from, Transport::WebSocket)).flatten()?;
        Some(WebSocketPlace { door: self.clone(), accepted })
    }

    /// Notes that a request was refused.
    pub fn refused(&self, from: Option<IpAddr>, error: &UpgradeError) {
        let is_origin = matches!(error, UpgradeError::Origin(_));
        let cause = if is_origin { RejectCause::Origin } else { RejectCause::WebSocketUpgrade };
        self.edge.reject(from, cause, error);
    }
}

impl WebSocketPlace {
    /// Serves the client in a task of its own. `stream`: what follows the answer to its request.
    pub fn take<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let Self { door, accepted } = self;
        door.connections.spawn(ConnectionDriver::new(WebSocket::new(stream), door.edge, accepted));
    }
}
