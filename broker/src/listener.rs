//! Listening sockets for clients. The accept loop never waits for what a client sends: handshakes and connections have tasks of
//! their own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection_driver::ConnectionDriver;
use crate::counters::Transport;
use crate::edge::Edge;
use crate::handshake::Handshake;
use crate::rejections::RejectCause;
use crate::settings::ListenerSettings;

/// Connections that the operating system may keep for us to accept.
const BACKLOG: i32 = 4_096;
/// After so many connections in a row the accept loop yields, so that connected clients do not wait for new ones.
const ACCEPTED_IN_A_ROW: u32 = 16;
/// Pause after a failure to accept: most likely there are no more file descriptors.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// A bound listener.
pub(crate) struct BoundListener {
    listener: TcpListener,
    /// As configured, with the port that was really taken.
    pub(crate) settings: ListenerSettings,
}

/// Binds all listeners, or none.
///
/// # Errors
/// The address that cannot be bound, and why.
pub(crate) fn bind_all(listeners: &[ListenerSettings]) -> Result<Vec<BoundListener>, (SocketAddr, io::Error)> {
    let bind = |settings: &ListenerSettings| {
        let (listener, addr) = bind(settings.addr).map_err(|error| (settings.addr, error))?;
        Ok(BoundListener { listener, settings: ListenerSettings { addr, ..*settings } })
    };
    listeners.iter().map(bind).collect()
}

/// Binds one address (port 0: any free one). Returns the address that was taken.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let local = listener.local_addr()?;
    Ok((listener, local))
}

/// Accepts connections for ever, and spawns their tasks on `connections`. `accepting` ends the handshakes that are under way.
pub(crate) async fn run(
    bound: BoundListener,
    handshake: Option<Handshake>,
    edge: Arc<Edge>,
    connections: TaskTracker,
    accepting: CancellationToken,
) {
    let mut in_a_row: u32 = 0;
    loop {
        in_a_row = in_a_row.wrapping_add(1);
        if in_a_row.is_multiple_of(ACCEPTED_IN_A_ROW) {
            tokio::task::yield_now().await;
        }
        match bound.listener.accept().await {
            Ok((stream, from)) if has_room(&edge, Some(from.ip())) => {
                // It fails only on a socket that is closed already.
                _ = stream.set_nodelay(true);
                match &handshake {
                    None => {
                        if let Some(accepted) = edge.accept(Some(from.ip()), Transport::Tcp) {
                            connections.spawn(ConnectionDriver::new(stream, edge.clone(), accepted));
                        }
                    }
                    Some(handshake) => {
                        let Some(incoming) = handshake.incoming(&edge, from.ip()) else { continue };
                        // Without a permit, further connections wait in the system's accept queue.
                        let Ok(permit) = edge.handshakes.clone().acquire_owned().await else { return };
                        let run = handshake.clone().run(stream, incoming, edge.clone(), permit, connections.clone());
                        connections.spawn(accepting.clone().run_until_cancelled_owned(run));
                    }
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "accept a connection");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}

/// Counts an accepted connection, or rejects it because there are too many.
pub(crate) fn has_room(edge: &Edge, from: Option<IpAddr>) -> bool {
    let context = &edge.context;
    let full = context.counters.connections.get() >= context.settings.connections_max;
    if full {
        edge.reject(from, RejectCause::Connections, "");
    } else {
        context.counters.accepted.increment();
    }
    !full
}
