//! Listening sockets. Accepting never waits for what a client says: that happens in the connection's own task.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::Connection;
use crate::edge::Edge;
use crate::greeting::{Arrival, Greeting};
use crate::{BrokerError, Listen};

/// Connections that the operating system may keep for us to accept.
const BACKLOG: i32 = 4_096;
/// After so many in a row others have their turn: those who are in are not to wait for those who come.
const IN_A_ROW: u32 = 16;
/// Pause after a failure to accept: it is most likely out of file descriptors.
const BACK_OFF: Duration = Duration::from_millis(250);

/// A bound listener.
pub(crate) struct Door {
    listener: TcpListener,
    /// Where it listens, with the port that was really taken.
    pub(crate) listen: Listen,
}

/// Binds all of them, or none.
pub(crate) fn bind(doors: &[Listen]) -> Result<Vec<Door>, BrokerError> {
    let bind = |listen: &Listen| {
        let (listener, addr) = bind_one(listen.addr).map_err(|error| BrokerError::Listen(listen.addr, error))?;
        Ok(Door { listener, listen: Listen { addr, ..*listen } })
    };
    doors.iter().map(bind).collect()
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

/// Accepts for ever. Without a greeting clients begin with MQTT.
pub(crate) async fn run(
    door: Door,
    greeting: Option<Greeting>,
    edge: Arc<Edge>,
    connections: TaskTracker,
    accepting: CancellationToken,
) {
    let mut in_a_row: u32 = 0;
    loop {
        in_a_row = in_a_row.wrapping_add(1);
        if in_a_row.is_multiple_of(IN_A_ROW) {
            tokio::task::yield_now().await;
        }
        match door.listener.accept().await {
            Ok((stream, from)) if has_room(&edge) => {
                // A socket that cannot be told has gone already.
                _ = stream.set_nodelay(true);
                match &greeting {
                    None => {
                        if let Some(arrival) = Arrival::now(&edge, Some(from.ip())) {
                            connections.spawn(Connection::new(stream, edge.clone(), arrival));
                        }
                    }
                    Some(greeting) => {
                        let Some(guest) = greeting.meet(&edge, from.ip()) else { continue };
                        // Whoever comes while as many are being greeted as may be waits in the system's queue.
                        let Ok(place) = edge.greetings.clone().acquire_owned().await else { return };
                        let greet = greeting.clone().greet(stream, guest, edge.clone(), place, connections.clone());
                        connections.spawn(accepting.clone().run_until_cancelled_owned(greet));
                    }
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
