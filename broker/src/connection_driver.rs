//! A connection's task: moves bytes between a stream and its [`MqttConnection`](crate::connection::MqttConnection). It is generic over the stream, so TLS and WebSocket
//! need nothing from it.
//!
//! It is a future written by hand, to be small: an idle connection holds no buffer, for reading or for writing.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::accepted::AcceptedConnection;
use crate::connection::NextStep;
use crate::edge::{ConnectionHandle, Edge};
use crate::mqtt::packet;

/// Most bytes that one read takes.
const READ_BYTES: usize = 16 * 1024;

/// The future that drives one connection until it is over. Dropping it ends the connection.
pub(crate) struct ConnectionDriver<S> {
    stream: S,
    edge: Arc<Edge>,
    handle: Arc<ConnectionHandle>,
    /// Bytes of a packet that is not complete, or packets that must wait.
    read: BytesMut,
    /// Bytes that the socket has not taken yet.
    write: Bytes,
    /// The stream (TLS, WebSocket) holds bytes that its socket has not taken yet.
    stream_holds_bytes: bool,
    is_shut_down: bool,
}

impl<S> ConnectionDriver<S> {
    /// Registers the connection. It is in the registry until this is dropped.
    pub(crate) fn new(stream: S, edge: Arc<Edge>, accepted: AcceptedConnection) -> Self {
        let handle = edge.register(accepted);
        Self {
            stream,
            edge,
            handle,
            read: BytesMut::new(),
            write: Bytes::new(),
            stream_holds_bytes: false,
            is_shut_down: false,
        }
    }

    /// Hands what was read to the connection, packet by packet, as long as it takes packets.
    fn handle_input(&mut self) -> NextStep {
        let context = &self.edge.context;
        let mut connection = self.handle.connection.lock();
        loop {
            let next = connection.next_step(context, self.write.len());
            if next != NextStep::Read || self.read.is_empty() {
                connection.settle(context, self.write.len());
                return next;
            }
            let (version, bytes_max) = connection.framing(context);
            match packet::split(&mut self.read, version, bytes_max) {
                Ok(Some(packet)) => connection.handle_packet(context, Ok(packet)),
                Ok(None) => {
                    connection.settle(context, self.write.len());
                    return if connection.defer_partial_packet(context, self.read.len()) {
                        NextStep::Pause
                    } else {
                        next
                    };
                }
                Err(reason) => connection.handle_packet(context, Err(reason)),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ConnectionDriver<S> {
    /// Writes all output. `Ready` with the number of bytes, when the socket has taken all of it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut total = 0;
        loop {
            if self.write.is_empty() {
                self.write = self.handle.connection.lock().take_output().freeze();
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
                    self.handle.connection.lock().write_blocked(self.write.len(), self.edge.context.now());
                    return Poll::Pending;
                }
            };
            self.write.advance(taken);
            total += taken;
            self.edge.context.counters.bytes_out.add(taken as u64);
            self.handle.connection.lock().written(taken, self.write.len(), self.edge.context.now());
        }
    }

    /// Flushes the stream. One with TLS reports bytes as taken that its socket did not take.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_pending() || self.stream_holds_bytes {
            self.stream_holds_bytes = flushed.is_pending();
            let (mut connection, now) = (self.handle.connection.lock(), self.edge.context.now());
            if self.stream_holds_bytes { connection.write_blocked(0, now) } else { connection.written(0, 0, now) }
        }
        flushed
    }

    /// Reads once, and drops the bytes unless `keep`. `Ready(Ok(0))`: the client has closed its end.
    fn poll_read(&mut self, cx: &mut Context<'_>, keep: bool) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::<u8>::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled();
        if keep && !bytes.is_empty() {
            self.read.extend_from_slice(bytes);
            self.edge.context.counters.bytes_in.add(bytes.len() as u64);
            self.handle.connection.lock().bytes_read(self.edge.context.now());
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// Writes all output, shuts the stream down, and reads until the client closes its end. Closing a socket with unread bytes
    /// would reset the connection, and the client would lose the last packet.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write(cx))?;
        if !self.is_shut_down {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.is_shut_down = true;
        }
        while ready!(self.poll_read(cx, false))? > 0 {}
        Poll::Ready(Ok(()))
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let next = self.handle_input();
            if self.read.is_empty() {
                self.read = BytesMut::new();
            }
            match next {
                NextStep::Drop => {
                    // TLS and WebSocket have a last message. It is sent if the socket takes it at once.
                    _ = Pin::new(&mut self.stream).poll_shutdown(cx);
                    return Poll::Ready(Ok(()));
                }
                NextStep::Close => return self.poll_close(cx),
                NextStep::Read | NextStep::WatchForClose | NextStep::Pause => {}
            }
            let written = self.poll_write(cx)?;
            let is_full = next == NextStep::WatchForClose && self.read.len() >= READ_BYTES;
            if next == NextStep::Pause || is_full {
                match written {
                    // Writing may have made room to handle more input.
                    Poll::Ready(1..) => continue,
                    _ => return Poll::Pending,
                }
            }
            if ready!(self.poll_read(cx, true))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for ConnectionDriver<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.handle.connection.lock().set_waker(cx.waker());
        // An error of the socket ends the connection, as its close does.
        self.poll_run(cx).map(|_| ())
    }
}

impl<S> Drop for ConnectionDriver<S> {
    fn drop(&mut self) {
        self.handle.connection.lock().end();
        self.edge.remove(self.handle.number);
    }
}
