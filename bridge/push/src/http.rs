//! Requests to push services: HTTP/2 where the other side speaks it, HTTP/1.1 otherwise, over connections that are kept. A
//! connection that was told to go away is used no more (hyper sees to that), and one that does not answer pings is closed.
//! Redirections are not followed, nothing is taken from the environment, and of an answer no more is read than is asked for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::WallClock;
use crate::guard::{Guard, Resolve};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a push service may take to answer.
const ANSWER: Duration = Duration::from_secs(15);
/// A connection on which nothing comes for so long is asked for a sign...
const PING_AFTER: Duration = Duration::from_secs(30);
/// ...and closed if it gives none.
const PING_WITHIN: Duration = Duration::from_secs(10);
/// Unused connections are kept for so long.
const IDLE: Duration = Duration::from_secs(300);
/// Of an answer no more is read than this.
pub(crate) const ANSWER_BYTES_MAX: usize = 1_024;
/// Bounds of how long a push service may ask to be left alone.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// What a push service said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Its beginning.
    pub(crate) body: Bytes,
    /// When it came, since 1970.
    pub(crate) came_at: Duration,
}

impl Answer {
    /// When to come back, if it says so: 1 second to 1 hour.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let asked = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let until = httpdate::parse_http_date(text).ok()?;
                until.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(self.came_at)
            }
        };
        Some(asked.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX))
    }
}

/// There is no answer. Says nothing of whom was asked.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
pub(crate) struct NoAnswer;

/// Sends requests. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client<Connector, Full<Bytes>>,
    wall: WallClock,
}

impl Http {
    /// `guard`: of URLs that users chose; `None`: the operator chose all of them.
    pub(crate) fn new(resolver: Arc<dyn Resolve>, guard: Option<Guard>, wall: WallClock) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(2)
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PING_WITHIN)
            .build(Connector { resolver, guard, tls: TlsConnector::from(tls()) });
        Self { client, wall }
    }

    /// Sends a request, and reads up to `bytes_max` bytes of the answer.
    ///
    /// # Errors
    /// [`NoAnswer`]: whether the request arrived is not known.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>, bytes_max: usize) -> Result<Answer, NoAnswer> {
        let asked = async {
            let (head, body) = self.client.request(request).await.map_err(|_| NoAnswer)?.into_parts();
            // A body that is longer, or breaks off, is one that says nothing.
            let body = Limited::new(body, bytes_max).collect().await.map_or_else(|_| Bytes::new(), |it| it.to_bytes());
            Ok(Answer { status: head.status, headers: head.headers, body, came_at: (self.wall)() })
        };
        timeout(ANSWER, asked).await.map_err(|_| NoAnswer)?
    }
}

fn tls() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of all versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Makes connections, only to where the guard lets it.
#[derive(Clone)]
struct Connector {
    resolver: Arc<dyn Resolve>,
    guard: Option<Guard>,
    tls: TlsConnector,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    async fn connect(self, uri: Uri) -> io::Result<Stream> {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host).to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let mut addresses = self.resolver.resolve(host.clone(), port).await?;
        if let Some(guard) = &self.guard {
            addresses = guard.allowed(addresses)?;
        }
        // To these addresses and no others: a name may be another machine's a moment later.
        let stream = TcpStream::connect(&addresses[..]).await?;
        stream.set_nodelay(true)?;
        if !secure {
            return Ok(Stream::Plain(TokioIo::new(stream)));
        }
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(TokioIo::new(self.tls.connect(name, stream).await?))))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Stream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.clone().connect(uri);
        Box::pin(async move { timeout(CONNECT, connecting).await? })
    }
}

/// A connection.
enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Tls(stream) if stream.inner().get_ref().1.alpn_protocol() == Some(b"h2") => {
                Connected::new().negotiated_h2()
            }
            Self::Plain(_) | Self::Tls(_) => Connected::new(),
        }
    }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, into),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_bounded_in_both_forms() {
        let came_at = Duration::from_secs(1_700_000_000);
        let asked = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            Answer { status: StatusCode::TOO_MANY_REQUESTS, headers, body: Bytes::new(), came_at }.retry_after()
        };
        assert_eq!(asked("30"), Some(Duration::from_secs(30)));
        assert_eq!(asked("0"), Some(RETRY_AFTER_MIN));
        assert_eq!(asked("99999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(RETRY_AFTER_MIN));
        assert_eq!(asked("Wed, 21 Oct 2099 07:28:00 GMT"), Some(RETRY_AFTER_MAX));
        assert_eq!(asked("soon"), None);
    }
}
