//! Listening sockets. Accepting never waits for a client: all that takes time happens in the connection's own task.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::BrokerError;
use crate::connection::Connection;
use crate::edge::Edge;

/// Connections that the operating system may keep for us to accept.
const BACKLOG: i32 = 4_096;
/// Pause after a failure to accept: it is most likely out of file descriptors.
const BACK_OFF: Duration = Duration::from_millis(250);

/// Binds all of them, or none.
pub(crate) fn bind(addrs: &[SocketAddr]) -> Result<Vec<(TcpListener, SocketAddr)>, BrokerError> {
    addrs.iter().map(|&addr| bind_one(addr).map_err(|error| BrokerError::Listen(addr, error))).collect()
}

/// Binds one, and tells its address (port 0: any free one).
pub(crate) fn bind_one(addr: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let local = listener.local_addr()?;
    Ok((listener, local))
}

/// Accepts for ever.
pub(crate) async fn run(listener: TcpListener, edge: Arc<Edge>, connections: TaskTracker) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => admit(stream, &edge, &connections),
            Err(error) => {
                tracing::error!(%error, "accept a connection");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

fn admit(stream: TcpStream, edge: &Arc<Edge>, connections: &TaskTracker) {
    if edge.counters.connections.get() >= edge.settings.connections_max {
        edge.counters.refused.add(1);
        return;
    }
    edge.counters.accepted.add(1);
    // A socket that cannot be told has gone already.
    _ = stream.set_nodelay(true);
    connections.spawn(Connection::new(stream, edge.clone()));
}
