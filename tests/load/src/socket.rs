//! A client's socket, with or without TLS, as `wire` uses it: non-blocking, and emptied by every read that does not fill
//! its buffer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mio::net::TcpStream;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use socket2::SockRef;

/// What all clients that use TLS share.
#[derive(Debug, Clone)]
pub struct ClientTls(Arc<ClientConfig>);

impl ClientTls {
    /// Trusts the certificates of a PEM file, and nothing else.
    ///
    /// # Errors
    /// It cannot be read, or holds no certificates.
    pub fn trusting(file: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).with_context(|| file.display().to_string())? {
            roots.add(certificate.with_context(|| file.display().to_string())?)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

/// A client's socket, with or without TLS.
pub(crate) enum ClientSocket {
    Plain(TcpStream),
    Tls(TcpStream, Box<ClientConnection>),
}

impl ClientSocket {
    pub(crate) fn new(socket: TcpStream, to: IpAddr, tls: Option<&ClientTls>) -> Result<Self> {
        let Some(ClientTls(config)) = tls else { return Ok(Self::Plain(socket)) };
        let session = ClientConnection::new(config.clone(), ServerName::from(to))?;
        Ok(Self::Tls(socket, Box::new(session)))
    }

    /// Closes it so that the server is told at once, and nothing waits on this side.
    pub(crate) fn reset(self) {
        let (Self::Plain(socket) | Self::Tls(socket, _)) = self;
        // A socket that is closed already takes no options.
        _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    }
}

impl Read for ClientSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (socket, session) = match self {
            Self::Plain(socket) => return socket.read(buffer),
            Self::Tls(socket, session) => (socket, session),
        };
        let mut filled = 0;
        while filled < buffer.len() {
            match session.reader().read(&mut buffer[filled..]) {
                Ok(0) => return Ok(filled),
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => match session.read_tls(socket) {
                    Ok(_) => _ = session.process_new_packets().map_err(io::Error::other)?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
        // A handshake has its own to say.
        match write_tls(socket, session) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ if filled == 0 => Err(ErrorKind::WouldBlock.into()),
            _ => Ok(filled),
        }
    }
}

impl Write for ClientSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(_, session) => match session.writer().write(bytes)? {
                0 => self.flush().and(Err(ErrorKind::WouldBlock.into())),
                taken => Ok(taken),
            },
        }
    }

    /// `WouldBlock`: there is more, which is written when the socket can take it.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(socket, session) => write_tls(socket, session),
        }
    }
}

fn write_tls(socket: &mut TcpStream, session: &mut ClientConnection) -> io::Result<()> {
    while session.wants_write() {
        session.write_tls(socket)?;
    }
    Ok(())
}
