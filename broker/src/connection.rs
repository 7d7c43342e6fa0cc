//! One connection's task: moves bytes between a stream and its [`Session`]. Generic over the stream, so that TLS and
//! WebSocket need nothing from here.
//!
//! Written as a future by hand, to be small: an idle connection holds no buffer, for reading or for writing.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::edge::{Edge, Peer};
use crate::greeting::Arrival;
use crate::mqtt::frame;
use crate::session::{Next, Session};

/// Bytes that one read takes at the most.
const READ_BYTES: usize = 16 * 1024;

/// Drives a stream until it is over.
pub(crate) struct Connection<S> {
    stream: S,
    edge: Arc<Edge>,
    peer: Arc<Peer>,
    /// Bytes of a packet that is not all there, or packets that have to wait.
    read: BytesMut,
    /// Bytes that the socket has still to take.
    write: Bytes,
    /// The stream holds bytes that its socket has still to take.
    holds: bool,
    shut: bool,
}

impl<S> Connection<S> {
    /// A connection of whoever arrived.
    pub(crate) fn new(stream: S, edge: Arc<Edge>, arrival: Arrival) -> Self {
        let peer = edge.admit(arrival);
        Self { stream, edge, peer, read: BytesMut::new(), write: Bytes::new(), holds: false, shut: false }
    }

    /// Feeds what was read to the session, packet by packet, as long as it takes packets.
    fn feed(&mut self) -> Next {
        let mut session = self.peer.session.lock();
        loop {
            let next = session.next(&self.edge, self.write.len());
            if next != Next::Read || self.read.is_empty() {
                session.flush_acknowledged();
                return next;
            }
            let (version, bytes_max) = session.framing(&self.edge);
            match frame::split(&mut self.read, version, bytes_max) {
                Ok(Some(packet)) => session.packet(&self.edge, Ok(packet)),
                Ok(None) => {
                    session.flush_acknowledged();
                    return if session.must_wait(&self.edge, self.read.len()) { Next::Wait } else { next };
                }
                Err(reason) => session.packet(&self.edge, Err(reason)),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Writes what there is. `Ready` when all of it is taken, with how many bytes that were.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut total = 0;
        loop {
            if self.write.is_empty() {
                self.write = self.peer.session.lock().take_output().freeze();
            }
            if self.write.is_empty() {
                self.write = Bytes::new();
                ready!(self.poll_flush(cx))?;
                return Poll::Ready(Ok(total));
            }
            let taken = match Pin::new(&mut self.stream).poll_write(cx, &self.write) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(taken) => taken?,
                Poll::Pending => {
                    self.peer.session.lock().wrote(true, self.edge.now());
                    return Poll::Pending;
                }
            };
            self.write.advance(taken);
            total += taken;
            self.edge.counters.bytes_out.add(taken);
            self.peer.session.lock().wrote(false, self.edge.now());
        }
    }

    /// Streams with TLS hold what their socket did not take, and say that they have taken it.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_pending() || self.holds {
            self.holds = flushed.is_pending();
            self.peer.session.lock().wrote(self.holds, self.edge.now());
        }
        flushed
    }

    /// Reads once. `Ready(Ok(0))`: the client has hung up.
    fn poll_receive(&mut self, cx: &mut Context<'_>, keep: bool) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::<u8>::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled();
        if keep && !bytes.is_empty() {
            self.read.extend_from_slice(bytes);
            self.edge.counters.bytes_in.add(bytes.len());
            self.peer.session.lock().heard(self.edge.now());
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// Shuts down and waits for the client to hang up: closing on bytes that are not read would reset the connection
    /// and take the last packet with it.
    fn poll_hang_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        if !self.shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.shut = true;
        }
        while ready!(self.poll_receive(cx, false))? > 0 {}
        Poll::Ready(Ok(()))
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let next = self.feed();
            if self.read.is_empty() {
                self.read = BytesMut::new();
            }
            match next {
                Next::Drop => {
                    // A last word where there is one, in TLS and in WebSocket; nobody waits for it to get through.
                    _ = Pin::new(&mut self.stream).poll_shutdown(cx);
                    return Poll::Ready(Ok(()));
                }
                Next::Close => return self.poll_hang_up(cx),
                Next::Read | Next::Listen | Next::Wait => {}
            }
            let drained = self.poll_drain(cx)?;
            let enough = next == Next::Listen && self.read.len() >= READ_BYTES;
            if next == Next::Wait || enough {
                match drained {
                    // Writing may have made room to go on.
                    Poll::Ready(1..) => continue,
                    _ => return Poll::Pending,
                }
            }
            if ready!(self.poll_receive(cx, true))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.peer.session.lock().listen(cx.waker());
        // How a socket fails tells nothing that closing it does not.
        self.poll_run(cx).map(|_| ())
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        Session::leave(&mut self.peer.session.lock(), false, None);
        self.edge.remove(self.peer.number);
    }
}
