//! The bytes within the frames, as a stream.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::{Code, Decoder, Kind, head};

/// See the module above. What is written with one call is one frame.
#[derive(Debug)]
pub struct WebSocket<S> {
    inner: S,
    decoder: Decoder,
    /// The client has said that it closes.
    closed: bool,
    /// We have.
    closing: bool,
    /// Head of the frame that is being written, from where on it is not written yet, and its size.
    head: [u8; 10],
    head_at: u8,
    head_size: u8,
    /// Bytes of that frame's payload that are not written yet.
    owed: usize,
    /// Control frames that wait for the end of that frame.
    control: BytesMut,
}

impl<S> WebSocket<S> {
    /// The upgrade is done.
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            decoder: Decoder::default(),
            closed: false,
            closing: false,
            head: [0; 10],
            head_at: 0,
            head_size: 0,
            owed: 0,
            control: BytesMut::new(),
        }
    }

    fn push(&mut self, kind: Kind, payload: &[u8]) {
        let (head, size) = head(kind, payload.len());
        self.control.extend_from_slice(&head[..usize::from(size)]);
        self.control.extend_from_slice(payload);
    }

    fn close(&mut self, code: Code) {
        if !std::mem::replace(&mut self.closing, true) {
            self.push(Kind::Close, &(code as u16).to_be_bytes());
        }
    }
}

impl<S: AsyncWrite + Unpin> WebSocket<S> {
    /// Writes the control frames, unless another frame is being written.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.owed == 0 && !self.control.is_empty() {
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

    /// Writes what is left of the head and some of the payload; returns how much of the payload.
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
        while !this.closed {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                break;
            }
            let decoded = this.decoder.decode(&mut buf.filled_mut()[before..]);
            let kept = match &decoded {
                Ok((kept, controls)) => {
                    // One answer waits at the most: who asks again before it is sent has no right to two (section 5.5.3).
                    if let Some(payload) = controls.ping.as_ref().filter(|_| this.control.is_empty() && !this.closing) {
                        this.push(Kind::Pong, payload);
                    }
                    if controls.close {
                        this.closed = true;
                        this.close(Code::Normal);
                    }
                    *kept
                }
                Err(code) => {
                    this.close(*code);
                    0
                }
            };
            buf.set_filled(before + kept);
            // What the socket does not take now waits for the next flush.
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
        if self.owed == 0 {
            ready!(self.poll_control(cx))?;
            if self.closing {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            (self.head, self.head_size) = head(Kind::Binary, buf.len());
            (self.head_at, self.owed) = (0, buf.len());
        }
        let payload = &buf[..buf.len().min(self.owed)];
        let written = ready!(self.poll_frame(cx, payload))?;
        self.owed -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_control(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close(Code::Normal);
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

    #[tokio::test]
    async fn frames_both_ways_through_a_pipe_of_a_few_bytes() {
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
    async fn a_close_is_answered_and_is_the_end() {
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
    async fn text_is_told_why_it_is_closed() {
        let (near, mut client) = duplex(100);
        let mut server = WebSocket::new(near);
        client.write_all(&masked(0x81, b"text")).await.unwrap();
        assert_eq!(server.read_u8().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        expect(&mut client, &[0x88, 2, 0x03, 0xEB]).await;
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<WebSocket<()>>() <= 144, "{}", size_of::<WebSocket<()>>());
    }
}
