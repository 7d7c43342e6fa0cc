//! Listening sockets. Accepting never waits for a client: all that takes time happens in the connection's own task.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::BrokerError;
use crate::connection::Connection;
use crate::edge::Edge;
use crate::tls::Tls;

/// Connections that the operating system may keep for us to accept.
const BACKLOG: i32 = 4_096;
/// Pause after a failure to accept: it is most likely out of file descriptors.
const BACK_OFF: Duration = Duration::from_millis(250);

/// A bound listener.
pub(crate) struct Door {
    listener: TcpListener,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// Clients begin with a TLS handshake.
    pub(crate) tls: Option<Tls>,
}

/// Binds all of them, or none.
pub(crate) fn bind(doors: Vec<(SocketAddr, Option<Tls>)>) -> Result<Vec<Door>, BrokerError> {
    let bind = |(addr, tls)| {
        let (listener, addr) = bind_one(addr).map_err(|error| BrokerError::Listen(addr, error))?;
        Ok(Door { listener, addr, tls })
    };
    doors.into_iter().map(bind).collect()
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
pub(crate) async fn run(door: Door, edge: Arc<Edge>, connections: TaskTracker, accepting: CancellationToken) {
    loop {
        match door.listener.accept().await {
            Ok((stream, _)) if has_room(&edge) => {
                // A socket that cannot be told has gone already.
                _ = stream.set_nodelay(true);
                match &door.tls {
                    None => drop(connections.spawn(Connection::new(stream, edge.clone()))),
                    Some(tls) => greet(stream, tls.clone(), &edge, &connections, &accepting),
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "accept a connection");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

fn has_room(edge: &Edge) -> bool {
    let full = edge.counters.connections.get() >= edge.settings.connections_max;
    if full {
        edge.counters.refused.add(1)
    } else {
        edge.counters.accepted.add(1)
    }
    !full
}

/// In two tasks, so that what a handshake needs is free when it is done.
fn greet(stream: TcpStream, tls: Tls, edge: &Arc<Edge>, connections: &TaskTracker, accepting: &CancellationToken) {
    let (edge, then) = (edge.clone(), connections.clone());
    connections.spawn(accepting.clone().run_until_cancelled_owned(async move {
        if let Some(stream) = tls.accept(stream).await {
            then.spawn(Connection::new(stream, edge));
        }
    }));
}
