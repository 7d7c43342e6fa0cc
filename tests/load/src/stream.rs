//! One client on a stream that is no socket: what holds more connections than a process may open files, and what fills
//! a store from within. Counterpart of [`crate::wire`], which is for sockets and for speed.

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::handshake::check_connack;
use crate::packet::{self, ConnectPacket, Packet};
use crate::target::Account;

/// An MQTT client on any asynchronous stream. Takes no more memory after it is made, if nothing longer than its buffer is written.
pub(crate) struct StreamClient<S> {
    stream: S,
    read: Box<[u8]>,
    filled: usize,
    /// What [`Self::flush`] writes.
    pub(crate) out: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> StreamClient<S> {
    /// `buffer_bytes`: at least the longest packet that comes.
    pub(crate) fn new(stream: S, buffer_bytes: usize) -> Self {
        let read = vec![0; buffer_bytes].into_boxed_slice();
        Self { stream, read, filled: 0, out: Vec::with_capacity(buffer_bytes) }
    }

    /// Says CONNECT, and SUBSCRIBE, and waits for the answers.
    ///
    /// # Errors
    /// Refused, or the stream is over.
    pub(crate) async fn connect(&mut self, account: &Account, filter: &str) -> Result<()> {
        let Account { user, device, password } = account;
        let connect = ConnectPacket { client_id: device, user, password, clean_session: true, keep_alive_s: 0 };
        packet::connect(&mut self.out, &connect);
        packet::subscribe(&mut self.out, 1, filter);
        self.flush().await?;
        let mut answers = 0;
        while answers < 2 {
            self.wait().await?;
            self.take(|_, packet| {
                match packet {
                    Packet::Connack { code, .. } => check_connack(account, code)?,
                    Packet::Suback { code, .. } => ensure!(code <= 2, "the subscription to {filter:?} is refused"),
                    _ => return Ok(()),
                }
                answers += 1;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Waits until something has arrived. Nothing is lost if it is cancelled.
    ///
    /// # Errors
    /// The stream is over.
    pub(crate) async fn wait(&mut self) -> Result<()> {
        let bytes = self.stream.read(&mut self.read[self.filled..]).await.context("read from the server")?;
        ensure!(bytes > 0, "closed by the server");
        self.filled += bytes;
        Ok(())
    }

    /// Hands over what has arrived, packet by packet, with the buffer for answers.
    ///
    /// # Errors
    /// Not a packet for a client, or longer than the buffer, or the handler's.
    pub(crate) fn take(&mut self, mut handler: impl FnMut(&mut Vec<u8>, Packet<'_>) -> Result<()>) -> Result<()> {
        let mut used = 0;
        while let Some((packet, length)) = packet::read(&self.read[used..self.filled], self.read.len())? {
            handler(&mut self.out, packet)?;
            used += length;
        }
        self.read.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(())
    }

    /// Writes what is in `out`.
    ///
    /// # Errors
    /// The stream is over.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        let written = self.stream.write_all(&self.out).await;
        self.out.clear();
        written.context("write to the server")
    }
}
