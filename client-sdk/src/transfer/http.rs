//! One request to the object store, by a link that the server signed: HTTP/1.1, over TLS where the link says so, each on a
//! connection of its own. Bytes are counted as they are given to the network and come from it; a connection on which
//! nothing moves is given up.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::MediaLink;
use crate::network::traffic::{Purpose, Traffic};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(20);
/// Held between a file and the network, so that what was given counts soon after it was.
const BUFFER_BYTES: usize = 64 << 10;

/// How object stores are reached.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    pub(crate) traffic: Arc<Traffic>,
    /// A connection on which nothing moved for this long is over.
    pub(crate) silence: Duration,
    #[cfg(feature = "tls")]
    pub(crate) tls: crate::network::tls::Trust,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The network, or the other side: another attempt may succeed.
    #[error("{0}")]
    Network(String),
    /// The link is none that can be used here.
    #[error("{0}")]
    Link(String),
}

fn broken(error: impl std::error::Error) -> Trouble {
    // hyper says what was broken, and its source why.
    let why = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    Trouble::Network(format!("{error}{why}"))
}

/// An answer whose body is still to come. The connection ends with it.
pub(super) struct HttpResponse {
    pub(super) response: Response<Incoming>,
    meter: Arc<TrafficMeter>,
    silence: Duration,
    _connection: JoinSet<()>,
}

impl Http {
    /// Does what a link says. `told` hears how many bytes of the request's body were given to the network.
    pub(super) async fn ask<B>(
        &self,
        link: &MediaLink,
        more: &[(HeaderName, HeaderValue)],
        body: B,
        told: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<HttpResponse, Trouble>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (uri, request) = request(link, more, body)?;
        let meter = Arc::new(TrafficMeter {
            traffic: self.traffic.clone(),
            head: head_bytes(&request),
            written: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            told: Box::new(told),
        });
        let stream = timeout(CONNECT, self.connect(&uri)).await;
        let stream = stream.map_err(|_| Trouble::Network("the object store does not answer".to_owned()))??;
        let stream = TokioIo::new(MeteredStream { stream, meter: meter.clone() });
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(stream).await.map_err(broken)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.await) });
        let response = unless_silent(&meter, self.silence, sender.send_request(request)).await?.map_err(broken)?;
        Ok(HttpResponse { response, meter, silence: self.silence, _connection: driver })
    }

    async fn connect(&self, uri: &Uri) -> Result<Box<dyn ByteStream>, Trouble> {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        if secure { self.secure(host, stream).await } else { Ok(Box::new(stream)) }
    }

    #[cfg(feature = "tls")]
    async fn secure(&self, host: &str, stream: TcpStream) -> Result<Box<dyn ByteStream>, Trouble> {
        let stream = crate::network::tls::secured(&self.tls, host, stream).await.map_err(broken)?;
        Ok(Box::new(stream))
    }

    #[cfg(not(feature = "tls"))]
    async fn secure(&self, host: &str, _: TcpStream) -> Result<Box<dyn ByteStream>, Trouble> {
        Err(Trouble::Link(format!("https://{host}: this build has no TLS, see the feature `tls`")))
    }
}

impl HttpResponse {
    /// The next piece of the body; `None`: that was all.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        let mut body = Pin::new(self.response.body_mut());
        loop {
            let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx));
            match unless_silent(&self.meter, self.silence, frame).await? {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(error)),
                Some(Ok(frame)) => {
                    // Trailers say nothing that is needed.
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

fn request<B>(link: &MediaLink, more: &[(HeaderName, HeaderValue)], body: B) -> Result<(Uri, Request<B>), Trouble> {
    let bad = |why: &dyn std::fmt::Display| Trouble::Link(format!("a link that is none: {why}"));
    let uri: Uri = link.url.parse().map_err(|error| bad(&error))?;
    let (Some("http" | "https"), Some(authority), Some(path)) =
        (uri.scheme_str(), uri.authority(), uri.path_and_query())
    else {
        return Err(bad(&"not http:// or https://"));
    };
    let mut request = Request::builder().method(link.method.as_str()).uri(path.as_str());
    request = request.header(HOST, authority.as_str());
    for (name, value) in &link.headers {
        request = request.header(name.as_str(), value.as_str());
    }
    for (name, value) in more {
        request = request.header(name, value);
    }
    let request = request.body(body).map_err(|error| bad(&error))?;
    Ok((uri, request))
}

/// Bytes of a request before its body, as hyper writes it.
fn head_bytes<B>(request: &Request<B>) -> u64 {
    let line = request.method().as_str().len() + 1 + request.uri().to_string().len() + " HTTP/1.1\r\n".len();
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    (line + headers.sum::<usize>() + "\r\n".len()) as u64
}

/// Waits for something as long as bytes move.
async fn unless_silent<T>(
    meter: &TrafficMeter,
    silence: Duration,
    future: impl Future<Output = T>,
) -> Result<T, Trouble> {
    let mut future = pin!(future);
    let mut before = meter.moved.load(Ordering::Relaxed);
    loop {
        tokio::select! {
            done = &mut future => return Ok(done),
            () = sleep(silence) => {
                let now = meter.moved.load(Ordering::Relaxed);
                if now == before {
                    return Err(Trouble::Network("the object store is silent".to_owned()));
                }
                before = now;
            }
        }
    }
}

trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// Counts what a connection carries, above TLS.
struct TrafficMeter {
    traffic: Arc<Traffic>,
    /// Of the request.
    head: u64,
    written: AtomicU64,
    /// In both directions.
    moved: AtomicU64,
    told: Box<dyn Fn(u64) + Send + Sync>,
}

impl TrafficMeter {
    fn wrote(&self, bytes: usize) {
        self.traffic.sent(Purpose::Media, bytes);
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        let written = self.written.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if written > self.head {
            (self.told)(written - self.head);
        }
    }

    fn read(&self, bytes: usize) {
        self.traffic.received(Purpose::Media, bytes);
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

struct MeteredStream {
    stream: Box<dyn ByteStream>,
    meter: Arc<TrafficMeter>,
}

impl AsyncRead for MeteredStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.meter.read(buf.filled().len() - before);
        Poll::Ready(read)
    }
}

impl AsyncWrite for MeteredStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        if let Ok(bytes) = &written {
            self.meter.wrote(*bytes);
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn http() -> Http {
        Http {
            traffic: Arc::default(),
            silence: Duration::from_secs(5),
            #[cfg(feature = "tls")]
            tls: crate::network::tls::trusting(None).unwrap(),
        }
    }

    fn link(url: String) -> MediaLink {
        let headers = vec![("x-signed".to_owned(), "yes".to_owned())];
        MediaLink { method: "PUT".to_owned(), url, headers, expires_in: Duration::ZERO }
    }

    /// Reads a request with a body of five bytes, answers, and returns what it has read.
    async fn answered<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> String {
        let mut read = Vec::new();
        while !read.ends_with(b"hello") {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "it is cut off");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        String::from_utf8(read).unwrap()
    }

    async fn asks(http: &Http, link: &MediaLink) -> u64 {
        let (told, last) = tokio::sync::watch::channel(0);
        let length = (hyper::header::CONTENT_LENGTH, HeaderValue::from(5));
        let told = move |bytes| _ = told.send_replace(bytes);
        let mut answer = http.ask(link, &[length], Full::<Bytes>::from("hello"), told).await.unwrap();
        assert_eq!(answer.next().await.unwrap(), Some("hi".into()));
        assert_eq!(answer.next().await.unwrap(), None);
        *last.borrow()
    }

    #[tokio::test]
    async fn a_request_is_what_the_link_says_and_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (http, link) = (http(), link(format!("http://{address}/a%20b?c=d")));
        let server = async { answered(listener.accept().await.unwrap().0).await };
        let (given, read) = tokio::join!(asks(&http, &link), server);
        assert!(read.starts_with("PUT /a%20b?c=d HTTP/1.1\r\n") && read.contains("x-signed: yes\r\n"), "{read}");
        assert!(read.contains(&format!("host: {address}\r\n")), "{read}");
        assert_eq!(given, 5, "the head does not count");
        assert_eq!(http.traffic.of(Purpose::Media).sent, read.len() as u64);
    }

    #[cfg(feature = "tls")]
    #[tokio::test]
    async fn over_tls_with_a_certificate_that_it_trusts_and_no_other() {
        use tokio_rustls::rustls::ServerConfig;
        use tokio_rustls::rustls::crypto::ring;
        use tokio_rustls::rustls::pki_types::PrivateKeyDer;

        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = link(format!("https://{}/", listener.local_addr().unwrap()));

        let trusting = crate::network::tls::trusting(Some(made.cert.pem().as_bytes())).unwrap();
        let http = Http { tls: trusting, ..http() };
        let server = async { answered(acceptor.accept(listener.accept().await.unwrap().0).await.unwrap()).await };
        assert_eq!(tokio::join!(asks(&http, &link), server).0, 5);
        let stranger = super::tests::http();
        let server = async { acceptor.accept(listener.accept().await.unwrap().0).await.is_err() };
        let asked = async { stranger.ask(&link, &[], Full::<Bytes>::from(""), |_| {}).await.is_err() };
        assert_eq!(tokio::join!(asked, server), (true, true));
    }

    #[tokio::test]
    async fn who_is_silent_is_given_up_and_a_link_must_be_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = Http { silence: Duration::from_millis(20), ..http() };
        let link = |url: String| MediaLink { method: "GET".to_owned(), url, ..MediaLink::default() };
        let to = link(format!("http://{}/", listener.local_addr().unwrap()));
        let asked = silent.ask(&to, &[], Full::<Bytes>::from(""), |_| {}).await;
        assert!(matches!(asked, Err(Trouble::Network(_))));
        for bad in ["", "/path", "ftp://x/", "http://", "http://x y/"] {
            let asked = silent.ask(&link(bad.to_owned()), &[], Full::<Bytes>::from(""), |_| {}).await;
            assert!(matches!(asked, Err(Trouble::Link(_))), "{bad}");
        }
    }
}
