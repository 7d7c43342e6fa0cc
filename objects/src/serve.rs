//! Connections of the embedded object store: none that is slow for long, and few by one link. Whoever accepts them bounds
//! how many.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use godwit_schemas::host;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::http::Extensions;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error, S3Result, s3_error};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::cors::{Cors, admit};
use crate::folder::Folder;
use crate::keys::Keys;
use crate::links::{self, Claim, Links};
use crate::protocol::Bucket;
use crate::read::{HeadByLink, Reading};

/// How long a client may take to send the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// A connection is closed that moves fewer bytes in such a time than that: a kibibyte a second.
const WINDOW: Duration = Duration::from_secs(60);
const WINDOW_BYTES_MIN: u64 = 60 << 10;
/// Largest body that is signed itself: it is read before the signature can be checked. Links sign none.
const SIGNED_BODY_BYTES_MAX: u64 = 2 << 20;

/// A connection, as whoever accepts it sees it.
pub trait Guest: Send + Sync {
    /// The head of a request has come. False: there are too many from there, and it is refused.
    fn begins(&self, headers: &HeaderMap) -> bool;

    /// The request has a good signature: that of a link or, if it is the `bridge`'s own, of its headers.
    fn is_known(&self, bridge: bool);
}

/// The object store, as its connections see it. Cheap to clone.
#[derive(Clone)]
pub struct ObjectServer {
    service: Arc<S3Service>,
    cors: Arc<Cors>,
    links: Arc<Links>,
}

/// What there is to know of one connection.
struct Connection {
    guest: Arc<dyn Guest>,
    /// Bytes.
    moved: AtomicU64,
    requests: AtomicU64,
    /// Nobody asks how fast it is.
    is_bridge: AtomicBool,
    link: Mutex<Option<Claim>>,
}

impl ObjectServer {
    /// One bucket of this name, open to whoever signs with these keys; pages of these origins (`*`: all) may use links.
    pub fn new(folder: Folder, bucket: String, keys: Keys, origins: Vec<String>) -> Self {
        let folder = Arc::new(folder);
        let mut service = S3ServiceBuilder::new(Bucket { name: bucket.clone(), folder: folder.clone() });
        service.set_route(Reading { bucket, folder });
        service.set_auth(SimpleAuth::from_single(keys.access, keys.secret.as_str()));
        service.set_access(Access);
        Self { service: Arc::new(service.build()), cors: Arc::new(Cors { origins }), links: Arc::default() }
    }

    /// Answers the requests of one connection, until it is too slow or `stop` is cancelled: then what has begun is finished.
    pub async fn converse(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        guest: Arc<dyn Guest>,
        stop: CancellationToken,
    ) {
        let connection = Arc::new(Connection {
            guest,
            moved: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            is_bridge: AtomicBool::new(false),
            link: Mutex::default(),
        });
        let stream = Watched { stream, connection: connection.clone() };
        let of_this = connection.clone();
        let answer = service_fn(move |request| self.clone().answer(of_this.clone(), request));
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .serve_connection(TokioIo::new(stream), answer);
        let mut serving = pin!(serving);
        let mut too_slow = pin!(until_too_slow(connection));
        tokio::select! {
            // A client that hangs up or sends no HTTP is its own business.
            _ = serving.as_mut() => return,
            () = too_slow.as_mut() => return,
            () = stop.cancelled() => serving.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = serving => {}
            () = too_slow => {}
        }
    }

    async fn answer(
        self,
        connection: Arc<Connection>,
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, S3Error> {
        connection.requests.fetch_add(1, Ordering::Relaxed);
        let hosts = request.headers().get_all(HOST).iter().map(HeaderValue::as_bytes);
        if !host::is_good(request.version() == Version::HTTP_11, hosts) {
            let mut refused = Response::new(Body::empty());
            *refused.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(refused);
        }
        if !self.is_welcome(&connection, &request) {
            let mut refused = Response::new(Body::empty());
            *refused.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            refused.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return Ok(refused);
        }
        if reads_much_unchecked(&request) {
            let mut refused = Response::new(Body::empty());
            *refused.status_mut() = StatusCode::FORBIDDEN;
            return Ok(refused);
        }
        if let Some(answer) = self.cors.preflight(&request) {
            return Ok(answer);
        }
        let origin = self.cors.origin(&request);
        request.extensions_mut().insert(connection);
        let by_link = as_get(&request);
        let mut answer = self.service.call(request.map(Body::from)).await?;
        if answer.status() == StatusCode::FORBIDDEN
            && let Some(request) = by_link
        {
            answer = self.service.call(request).await?;
        }
        if let Some(origin) = origin {
            admit(answer.headers_mut(), origin);
        }
        Ok(answer)
    }

    /// Whether there is room for another request from there, and by its link if it has one.
    fn is_welcome<B>(&self, connection: &Connection, request: &Request<B>) -> bool {
        let mut held = connection.link.lock().unwrap_or_else(PoisonError::into_inner);
        // The one before is over.
        *held = None;
        if !connection.guest.begins(request.headers()) {
            return false;
        }
        let Some(link) = links::signature(request.uri()) else { return true };
        *held = self.links.claim(link);
        held.is_some()
    }
}

/// Whoever has signed may do what the signature is for.
struct Access;

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let (has_signed, headers) = (context.credentials().is_some(), context.headers().clone());
        note_signer(has_signed, &headers, context.extensions_mut())
    }
}

/// Whose connection this is, since its request has a good signature, if it has one.
pub(crate) fn note_signer(has_signed: bool, headers: &HeaderMap, extensions: &Extensions) -> S3Result<()> {
    if !has_signed {
        return Err(s3_error!(AccessDenied, "a signature is required"));
    }
    let is_bridge = headers.contains_key(AUTHORIZATION);
    if let Some(connection) = extensions.get::<Arc<Connection>>() {
        connection.is_bridge.store(is_bridge, Ordering::Relaxed);
        connection.guest.is_known(is_bridge);
    }
    Ok(())
}

/// Whoever may GET may HEAD: the request that the signature of a link may be for.
fn as_get<B>(request: &Request<B>) -> Option<Request<Body>> {
    if request.method() != Method::HEAD || links::signature(request.uri()).is_none() {
        return None;
    }
    let mut get = Request::new(Body::empty());
    *get.uri_mut() = request.uri().clone();
    *get.version_mut() = request.version();
    *get.headers_mut() = request.headers().clone();
    *get.extensions_mut() = request.extensions().clone();
    get.extensions_mut().insert(HeadByLink);
    Some(get)
}

/// Everybody who has a link knows the access key, and could have us take in a large body to check a signature of it.
fn reads_much_unchecked<B>(request: &Request<B>) -> bool {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let length = header(CONTENT_LENGTH).map_or(Some(0), |length| length.parse::<u64>().ok());
    let has_length = !request.headers().contains_key(hyper::header::TRANSFER_ENCODING);
    let is_form = header(CONTENT_TYPE).is_some_and(|kind| kind.to_ascii_lowercase().starts_with("multipart/"));
    let is_small = has_length && length.is_some_and(|length| length <= SIGNED_BODY_BYTES_MAX);
    is_form && request.method() == Method::POST || request.headers().contains_key(AUTHORIZATION) && !is_small
}

/// Returns when a request has been under way for long and has hardly moved. (Between two requests there is less time.)
async fn until_too_slow(connection: Arc<Connection>) {
    let now = || (connection.requests.load(Ordering::Relaxed), connection.moved.load(Ordering::Relaxed));
    let (mut requests, mut moved) = now();
    loop {
        tokio::time::sleep(WINDOW).await;
        let (before, since) = (requests, moved);
        (requests, moved) = now();
        let is_slow = requests == before && moved - since < WINDOW_BYTES_MIN;
        if is_slow && !connection.is_bridge.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Counts the bytes that move.
struct Watched<S> {
    stream: S,
    connection: Arc<Connection>,
}

impl<S> Watched<S> {
    fn moved(&self, bytes: usize) {
        self.connection.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.moved(buf.filled().len() - before);
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        written.iter().for_each(|len| self.moved(*len));
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
    use super::*;

    #[test]
    fn large_bodies_are_taken_by_link_only() {
        let request = |headers: &[(&str, &str)]| {
            let request = Request::builder().method("POST");
            headers.iter().fold(request, |it, (name, value)| it.header(*name, *value)).body(()).expect("a request")
        };
        for refused in [
            &[("authorization", "x"), ("content-length", "3000000")][..],
            &[("authorization", "x"), ("transfer-encoding", "chunked")],
            &[("authorization", "x"), ("content-length", "-1")],
            &[("content-type", "Multipart/form-data; boundary=x")],
        ] {
            assert!(reads_much_unchecked(&request(refused)), "{refused:?}");
        }
        for taken in [&[("content-length", "3000000")][..], &[("authorization", "x"), ("content-length", "9")]] {
            assert!(!reads_much_unchecked(&request(taken)), "{taken:?}");
        }
    }
}
