//! The payload of WebSocket frames as a stream of bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::frame::{CloseCode, FrameDecoder, Opcode, header};

/// Most bytes in a second that carry nothing: pings, pongs, frames without payload, heads that are more than four times what
/// follows. Limits of packets and their bytes do not count these.
const BARE_BYTES_PER_S: usize = 1 << 20;

/// A stream of the payload of WebSocket frames. Each write becomes one binary frame.
#[derive(Debug)]
pub struct WebSocket<S> {
    inner: S,
    decoder: FrameDecoder,
    /// The client has sent a close frame.
    close_received: bool,
    /// The server has sent one.
    close_sent: bool,
    /// Header of the frame that is being written, the position up to which it is written, and its size.
    head: [u8; 10],
    head_at: u8,
    head_size: u8,
    /// Bytes of that frame's payload that are not written yet.
    unwritten: usize,
    /// Control frames that wait until that frame is written.
    control: BytesMut,
    /// Bytes that carry nothing, in the second that began then.
    bare: usize,
    since: Instant,
}

impl<S> WebSocket<S> {
    /// The stream behind a finished upgrade.
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            decoder: FrameDecoder::default(),
            close_received: false,
            close_sent: false,
            head: [0; 10],
            head_at: 0,
            head_size: 0,
            unwritten: 0,
            control: BytesMut::new(),
            bare: 0,
            since: Instant::now(),
        }
    }

    /// So many bytes have come, and so many of them are payload. True: too many carry nothing.
    fn is_too_bare(&mut self, read: usize, payload: usize) -> bool {
        let now = Instant::now();
        if now - self.since >= Duration::from_secs(1) {
            (self.since, self.bare) = (now, 0);
        }
        self.bare = (self.bare + read - payload).saturating_sub(payload.saturating_mul(4));
        self.bare > BARE_BYTES_PER_S
    }

    fn push(&mut self, opcode: Opcode, payload: &[u8]) {
        let (head, size) = header(opcode, payload.len());
        self.control.extend_from_slice(&head[..usize::from(size)]);
        self.control.extend_from_slice(payload);
    }

    fn close(&mut self, code: CloseCode) {
        if !std::mem::replace(&mut self.close_sent, true) {
            self.push(Opcode::Close, &(code as u16).to_be_bytes());
        }
    }
}

impl<S: AsyncWrite + Unpin> WebSocket<S> {
    /// Writes the control frames, unless another frame is being written.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unwritten == 0 && !self.control.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.control))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.control.advance(written),
            }
            if self.control.is_empty() {
                self.control = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the rest of the header and some of the payload. Returns how many bytes of the payload.
    fn poll_frame(&mut self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let head = &self.head[self.head_at.into()..self.head_size.into()];
            let written = if head.is_empty() {
                ready!(Pin::new(&mut self.inner).poll_write(cx, payload))?
            } else {
                // Together, so that they leave in one segment.
                let both = [IoSlice::new(head), IoSlice::new(payload)];
                ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, &both))?
            };
            let of_head = written.min(head.len());
            self.head_at += of_head as u8;
            if written > of_head || written == 0 {
                return Poll::Ready(Ok(written - of_head));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.close_received {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            let read = buf.filled().len() - before;
            if read == 0 {
                break;
            }
            let mut decoded = this.decoder.decode(&mut buf.filled_mut()[before..]);
            if decoded.as_ref().is_ok_and(|(kept, _)| this.is_too_bare(read, *kept)) {
                decoded = Err(CloseCode::Policy);
            }
            let kept = match &decoded {
                Ok((kept, controls)) => {
                    // At most one pong waits: further pings until it is sent need no answer of their own (section 5.5.3).
                    if let Some(payload) =
                        controls.ping.as_ref().filter(|_| this.control.is_empty() && !this.close_sent)
                    {
                        this.push(Opcode::Pong, payload);
                    }
                    if controls.close {
                        this.close_received = true;
                        this.close(CloseCode::Normal);
                    }
                    *kept
                }
                Err(code) => {
                    this.close(*code);
                    0
                }
            };
            buf.set_filled(before + kept);
            // Bytes that the socket does not take now wait for the next flush.
            if let Poll::Ready(Err(error)) = this.poll_control(cx) {
                return Poll::Ready(Err(error));
            }
            if decoded.is_err() {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if kept > 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.unwritten == 0 {
            ready!(self.poll_control(cx))?;
            if self.close_sent {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            (self.head, self.head_size) = header(Opcode::Binary, buf.len());
            (self.head_at, self.unwritten) = (0, buf.len());
        }
        let payload = &buf[..buf.len().min(self.unwritten)];
        let written = ready!(self.poll_frame(cx, payload))?;
        self.unwritten -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_control(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close(CloseCode::Normal);
        ready!(self.poll_control(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    async fn expect(client: &mut DuplexStream, bytes: &[u8]) {
        let mut came = vec![0; bytes.len()];
        client.read_exact(&mut came).await.unwrap();
        assert_eq!(came, bytes);
    }

    /// A client's frame with a mask of zeros.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_carry_nothing_may_not_come_without_end() {
        let (near, mut client) = duplex(64 << 10);
        let mut server = WebSocket::new(near);
        let serve = tokio::spawn(async move {
            let mut came = Vec::new();
            (server.read_to_end(&mut came).await.map_err(|error| error.kind()), came)
        });
        let pong = masked(0x8A, &[b'x'; 125]);
        let a_second = BARE_BYTES_PER_S / pong.len();
        for _ in 0..3 {
            client.write_all(&pong.repeat(a_second)).await.unwrap();
            // What is carried makes up for its head, however small.
            client.write_all(&masked(0x82, b"ab").repeat(BARE_BYTES_PER_S / 4)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        client.write_all(&pong.repeat(a_second)).await.unwrap();
        // It ends before it has taken all of these.
        while client.write_all(&pong).await.is_ok() {}
        let (ended, came) = serve.await.unwrap();
        assert_eq!(ended.unwrap_err(), io::ErrorKind::InvalidData);
        assert_eq!(came.len(), 3 * 2 * (BARE_BYTES_PER_S / 4));
        expect(&mut client, &[0x88, 2, 0x03, 0xF0]).await;
    }

    #[tokio::test]
    async fn frames_pass_both_ways_through_a_small_pipe() {
        let (near, mut client) = duplex(3);
        let mut server = WebSocket::new(near);
        let body: Vec<u8> = (0..200).collect();
        let sent = body.clone();
        let serve = tokio::spawn(async move {
            server.write_all(&sent).await.unwrap();
            let mut hello = [0; 5];
            server.read_exact(&mut hello).await.unwrap();
            server.shutdown().await.unwrap();
            assert_eq!(server.read(&mut [0; 5]).await.unwrap(), 0, "the client has closed");
            hello
        });
        expect(&mut client, &[&[0x82, 126, 0, 200][..], &body].concat()).await;
        client.write_all(&[masked(0x02, b"he"), masked(0x89, b""), masked(0x80, b"llo")].concat()).await.unwrap();
        expect(&mut client, &[0x8A, 0, 0x88, 2, 0x03, 0xE8]).await;
        client.write_all(&masked(0x88, &[0x03, 0xE8])).await.unwrap();
        assert_eq!(&serve.await.unwrap(), b"hello");
    }

    #[tokio::test]
    async fn a_close_frame_is_answered_and_ends_the_stream() {
        let (near, mut client) = duplex(100);
        let mut server = WebSocket::new(near);
        client.write_all(&[masked(0x82, b"x"), masked(0x88, b"")].concat()).await.unwrap();
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"x");
        expect(&mut client, &[0x88, 2, 0x03, 0xE8]).await;
        assert!(server.write_all(b"late").await.is_err());
    }

    #[tokio::test]
    async fn a_text_frame_is_closed_with_its_code() {
        let (near, mut client) = duplex(100);
        let mut server = WebSocket::new(near);
        client.write_all(&masked(0x81, b"text")).await.unwrap();
        assert_eq!(server.read_u8().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        expect(&mut client, &[0x88, 2, 0x03, 0xEB]).await;
    }

    #[test]
    fn an_idle_stream_is_small() {
        assert!(size_of::<WebSocket<()>>() <= 144, "{}", size_of::<WebSocket<()>>());
    }
}
