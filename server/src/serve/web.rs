//! The listeners of HTTP, of the API and of the embedded object store: each plain, for this machine or a proxy, and with TLS, for
//! everybody. The certificate is that of the MQTT listeners; clients show none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use godwit_broker::tls::{self, Tls};
use godwit_http::{HttpHandshake, HttpListener, Plain, Proxies};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::settings::ServerSettings;

/// Reads the certificate, if a listener shows one.
pub(super) fn open_tls(files: Option<&tls::CertificateFiles>) -> anyhow::Result<Option<Tls>> {
    let settings = files.map(|files| tls::TlsSettings { files: files.clone(), clients: None });
    settings.map(Tls::open).transpose().context("TLS of HTTP")
}

/// Takes up new certificates, for ever.
pub(super) async fn watch(tls: Option<Tls>) {
    match tls {
        Some(tls) => tls.watch().await,
        None => std::future::pending().await,
    }
}

/// Both listeners of a service, until both have ended.
pub(super) async fn both(plain: impl Future<Output = ()>, secure: Option<impl Future<Output = ()>>) {
    let secure = async {
        if let Some(secure) = secure {
            secure.await;
        }
    };
    tokio::join!(plain, secure);
}

/// TLS comes before HTTP.
#[derive(Debug, Clone)]
pub(super) struct Secure(Tls);

impl HttpHandshake for Secure {
    type Stream = Box<dyn WebStream>;

    async fn handshake(&self, stream: TcpStream) -> Option<Self::Stream> {
        Some(Box::new(self.0.handshake(stream).await?))
    }
}

/// What requests come by.
pub(super) trait WebStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> WebStream for S {}

/// Where one service listens.
pub(super) struct WebListeners {
    pub(super) plain: HttpListener<Plain>,
    pub(super) secure: Option<HttpListener<Secure>>,
    pub(super) addresses: WebAddresses,
}

/// With the ports that were really taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct WebAddresses {
    pub(super) plain: SocketAddr,
    pub(super) secure: Option<SocketAddr>,
}

/// An address to listen on, and its key.
pub(super) type NamedAddress = (&'static str, SocketAddr);

impl WebListeners {
    /// Binds them. `secure` needs `tls`.
    pub(super) async fn open(
        name: &'static str,
        plain: NamedAddress,
        secure: Option<NamedAddress>,
        tls: Option<&Tls>,
    ) -> anyhow::Result<Self> {
        let (plain, plain_address) = bind(plain).await?;
        let (secure, secure_address) = match (secure, tls) {
            (Some(secure), Some(tls)) => {
                let (listener, address) = bind(secure).await?;
                (Some(HttpListener { name, listener, handshake: Secure(tls.clone()) }), Some(address))
            }
            _ => (None, None),
        };
        let addresses = WebAddresses { plain: plain_address, secure: secure_address };
        Ok(Self { plain: HttpListener { name, listener: plain, handshake: Plain }, secure, addresses })
    }
}

pub(super) async fn bind((key, listen): NamedAddress) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("{key}: listen on {listen}"))?;
    let address = listener.local_addr().context(key)?;
    Ok((listener, address))
}

/// Who is believed to say for whom requests over HTTP come.
pub(super) fn proxies(settings: &ServerSettings) -> Proxies {
    let networks = settings.http_proxies.clone();
    Proxies::new(settings.http_proxy_header, move |addr| networks.iter().any(|network| network.contains(addr)))
}

/// An address of this machine for a listener on all of them.
pub(super) fn reachable(mut listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listener.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listener.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listener
}
