//! A connection's stream that ends when its client takes nothing for too long, and knows whether anything was said yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::Sleep;

/// Longest that a last word may take.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A stream whose writes end when the client takes nothing for too long.
pub(super) struct TimedStream<T> {
    inner: T,
    /// How long its client may take nothing.
    drain_deadline: Duration,
    /// While it takes nothing: until when it may.
    stuck: Option<Pin<Box<Sleep>>>,
    was_asked: bool,
    has_answered: bool,
}

impl<T: AsyncWrite + Unpin> TimedStream<T> {
    pub(super) fn new(inner: T, drain_deadline: Duration) -> Self {
        Self { inner, drain_deadline, stuck: None, was_asked: false, has_answered: false }
    }

    /// Tells a client that has begun its first request, and has not got to the end of its head or body in time (RFC 9110,
    /// 15.5.9).
    pub(super) async fn is_too_late(&mut self) {
        const ANSWER: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        if self.was_asked && !self.has_answered {
            _ = tokio::time::timeout(LAST_WORD, self.inner.write_all(ANSWER)).await;
        }
    }

    /// What came of an attempt to write.
    fn wrote(&mut self, wrote: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.stuck = None;
            self.has_answered = true;
            return wrote;
        }
        let deadline = self.drain_deadline;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(deadline)));
        stuck.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for TimedStream<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.was_asked |= buf.filled().len() > before;
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for TimedStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(wrote, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wrote(wrote, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
