//! Connections of the HTTP API. Their cost is bounded: each connection ends after a while, one that is silent or takes nothing
//! ends soon, and one that waits for its client is evicted when others need its slot (`connection_slots`).

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, Version, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use godwit_schemas::host;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Layer as _, Service, ServiceExt as _};
use tower_http::cors::CorsLayer;

use super::body::{BodyTimeout, TimedBody};
use super::connection_slots::{ConnectionSlots, HttpConnectionSlot, NoSlot, SlotHandle, TooMany};
use super::problem::Problem;
use super::stream::TimedStream;

/// How long a client may take to send the head of a request, or to begin its next one.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Largest head of a request, and most that is buffered.
const BUFFER_BYTES_MAX: usize = 16 << 10;
/// After this time a connection ends with its next answer.
const LIFETIME: Duration = Duration::from_secs(120);
/// How long an answer may take to leave, then.
const GRACE: Duration = Duration::from_secs(40);
/// Pause when no connection can be accepted, for want of file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// When a network has more than its share of the slots.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Answers requests until `stop` is cancelled; then finishes those that have begun. Who wants this to end by a certain
/// time drops the future: connections that are left end with the runtime. `cors`: whose pages may read what is answered.
/// `drain_deadline`: how long a client may take nothing of an answer.
pub async fn serve<G: HttpHandshake>(
    door: HttpListener<G>,
    router: Router,
    cors: CorsLayer,
    slots: Arc<ConnectionSlots>,
    drain_deadline: Duration,
    stop: CancellationToken,
) {
    let conversation = move |stream, slot, stop| {
        let stream = TimedStream::new(stream, drain_deadline);
        converse(stream, router.clone(), cors.clone(), slot, stop)
    };
    accept(door, slots, stop, conversation).await;
}

/// The same for a router with routes that hand connections over to another protocol ([`upgraded`]). Who is slow is cut off without
/// a last word.
pub async fn serve_upgradable<G: HttpHandshake>(
    door: HttpListener<G>,
    router: Router,
    slots: Arc<ConnectionSlots>,
    drain_deadline: Duration,
    stop: CancellationToken,
) {
    let conversation = move |stream, slot: HttpConnectionSlot, stop: CancellationToken| {
        let stream = TimedStream::new(stream, drain_deadline);
        let router = router.clone();
        async move {
            let service =
                answering(router, &slot).map_request(|request: hyper::Request<Incoming>| request.map(Body::new));
            let connection = configured().serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
            let mut connection = pin!(connection.with_upgrades());
            tokio::select! {
                // A client that hangs up or sends no HTTP is its own business.
                _ = connection.as_mut() => {}
                () = slot.handle().evicted() => {}
                () = lifetime(&stop) => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        _ = tokio::time::timeout(GRACE, connection) => {}
                        () = slot.handle().evicted() => {}
                    }
                }
            }
        }
    };
    accept(door, slots, stop, conversation).await;
}

/// A connection that was handed over to another protocol.
pub type UpgradedStream = TokioIo<Upgraded>;

/// Resolves when the answer with status 101 to this request has left. `None`: it did not, or the listener is none of
/// [`serve_upgradable`].
pub fn upgraded(request: &mut Request) -> impl Future<Output = Option<UpgradedStream>> + Send + use<> {
    let upgrade = hyper::upgrade::on(request);
    async move { upgrade.await.ok().map(TokioIo::new) }
}

/// What a connection goes through before its first request: a TLS handshake, or nothing.
pub trait HttpHandshake: Clone + Send + Sync + 'static {
    /// What requests come by then.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// `None`: it is not to be talked to. Not waited for longer than for the head of a request.
    fn handshake(&self, stream: TcpStream) -> impl Future<Output = Option<Self::Stream>> + Send;
}

/// No handshake: requests follow at once.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl HttpHandshake for Plain {
    type Stream = TcpStream;

    async fn handshake(&self, stream: TcpStream) -> Option<TcpStream> {
        Some(stream)
    }
}

/// Where connections come in.
#[derive(Debug)]
pub struct HttpListener<G> {
    /// For the log.
    pub name: &'static str,
    /// A bound socket.
    pub listener: TcpListener,
    /// What comes first.
    pub handshake: G,
}

/// Accepts connections until `stop` is cancelled, as far as there are slots; each is what `converse` makes of it. Then
/// waits for those that are left.
pub async fn accept<G: HttpHandshake, C: Future<Output = ()> + Send + 'static>(
    HttpListener { name, listener, handshake }: HttpListener<G>,
    slots: Arc<ConnectionSlots>,
    stop: CancellationToken,
    converse: impl Fn(G::Stream, HttpConnectionSlot, CancellationToken) -> C + Clone + Send + 'static,
) {
    let connections = TaskTracker::new();
    loop {
        let next = async {
            let (stream, addr) = listener.accept().await?;
            std::io::Result::Ok((slot_for(&slots, addr.ip()).await, stream))
        };
        let accepted = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((Some(slot), stream)) => {
                let (handshake, converse, stop) = (handshake.clone(), converse.clone(), stop.clone());
                connections.spawn(async move {
                    if let Some(stream) = complete_handshake(&handshake, stream, &slot, &stop).await {
                        converse(stream, slot, stop).await;
                    }
                });
            }
            Ok((None, stream)) => turn_away(stream),
            Err(error) => {
                tracing::warn!(%error, "{name}: cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Completes the handshake within [`HEAD_DEADLINE`].
async fn complete_handshake<G: HttpHandshake>(
    handshake: &G,
    stream: TcpStream,
    slot: &HttpConnectionSlot,
    stop: &CancellationToken,
) -> Option<G::Stream> {
    tokio::select! {
        done = tokio::time::timeout(HEAD_DEADLINE, handshake.handshake(stream)) => done.ok().flatten(),
        () = slot.handle().evicted() => None,
        () = stop.cancelled() => None,
    }
}

/// Waits for a slot. `None`: the network has more than its share.
async fn slot_for(slots: &Arc<ConnectionSlots>, addr: std::net::IpAddr) -> Option<HttpConnectionSlot> {
    loop {
        match slots.acquire(Some(addr)) {
            Ok(slot) => return Some(slot),
            Err(NoSlot::NetworkFull) => return None,
            Err(NoSlot::Full) => slots.room().await,
        }
    }
}

/// Tells why, if that can be told at once.
fn turn_away(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        _ = stream.write(TOO_MANY);
    }
}

async fn converse(
    mut stream: TimedStream<impl AsyncRead + AsyncWrite + Unpin>,
    router: Router,
    cors: CorsLayer,
    slot: HttpConnectionSlot,
    stop: CancellationToken,
) {
    // Outermost, so that a page can read every refusal.
    let service = cors.layer(answering(router, &slot));
    let service = service.map_request(|request: hyper::Request<Incoming>| request.map(Body::new));
    let too_late = {
        let connection = configured().serve_connection(TokioIo::new(&mut stream), TowerToHyperService::new(service));
        let mut connection = pin!(connection);
        tokio::select! {
            // A client that hangs up or sends no HTTP is its own business.
            ended = connection.as_mut() => ended.is_err_and(|error| error.is_timeout()),
            () = slot.handle().evicted() => true,
            () = lifetime(&stop) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    _ = tokio::time::timeout(GRACE, connection) => false,
                    () = slot.handle().evicted() => true,
                }
            }
        }
    };
    if too_late {
        stream.is_too_late().await;
    }
}

/// Around the router, not around each of its routes: a connection must not cost a copy of them all.
fn answering(
    router: Router,
    slot: &HttpConnectionSlot,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + use<> {
    let slot_handle = slot.handle().clone();
    middleware::from_fn(move |request: Request, next: Next| answer(slot_handle.clone(), request, next)).layer(router)
}

fn configured() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(BUFFER_BYTES_MAX);
    builder
}

/// Until the connection is to end with its next answer.
async fn lifetime(stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(LIFETIME) => {}
    }
}

/// One request of a connection, whose body has to come in time.
async fn answer(slot_handle: SlotHandle, mut request: Request, next: Next) -> Response {
    slot_handle.waits_for_server();
    let caller = match slot_handle.begin_request(request.headers()) {
        Ok(caller) => caller,
        Err(TooMany) => {
            slot_handle.is_answered();
            return Problem::too_often("too many requests from there at once", 1).into_response();
        }
    };
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(slot_handle.clone());
    let late = BodyTimeout::default();
    let request = request.map(|body| Body::new(TimedBody::new(body, slot_handle.clone(), late.clone())));
    let hosts = request.headers().get_all(header::HOST).iter().map(HeaderValue::as_bytes);
    let mut response = if host::is_good(request.version() == Version::HTTP_11, hosts) {
        next.run(request).await
    } else {
        Problem::new(StatusCode::BAD_REQUEST, "a request has one header Host, with a host and a port").into_response()
    };
    if late.is() {
        response = Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time").into_response();
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    slot_handle.is_answered();
    response
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::super::body;
    use super::super::caller::{Proxies, ProxyHeader};
    use super::super::connection_slots;
    use super::super::cors::cors;
    use super::*;

    const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

    fn nobody() -> Proxies {
        Proxies::new(ProxyHeader::XForwardedFor, |_| false)
    }

    fn connect() -> (DuplexStream, CancellationToken) {
        connect_to(&ConnectionSlots::new(256, nobody()))
    }

    fn connect_to(slots: &Arc<ConnectionSlots>) -> (DuplexStream, CancellationToken) {
        let (client, server) = duplex(1_024);
        let stop = CancellationToken::new();
        let routes = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/echo", post(|body: String| async { body }))
            .route("/big", get(|| async { "x".repeat(100_000) }));
        let slot = slots.acquire(Some([192, 0, 2, 1].into())).expect("a slot");
        tokio::spawn(converse(TimedStream::new(server, DRAIN_DEADLINE), routes, cors(Vec::new()), slot, stop.clone()));
        (client, stop)
    }

    async fn read_all(client: &mut DuplexStream) -> String {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("an answer");
        String::from_utf8(answer).expect("text")
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_cut_off() {
        let (mut client, _stop) = connect();
        let begun = Instant::now();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ").await.expect("written");
        assert!(read_all(&mut client).await.starts_with("HTTP/1.1 408 "));
        assert!(begun.elapsed() <= HEAD_DEADLINE + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_cut_off() {
        let (mut client, _stop) = connect();
        client.write_all(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("written");
        let write_on = async { while client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.is_ok() {} };
        let cut_off = tokio::time::timeout(DRAIN_DEADLINE + Duration::from_secs(1), write_on).await;
        assert!(cut_off.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_an_answer_slowly_gets_all_of_it() {
        let (mut client, _stop) = connect();
        client.write_all(b"GET /big HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("written");
        let mut taken = vec![0; 5_000];
        for _ in 0..4 {
            tokio::time::sleep(DRAIN_DEADLINE - Duration::from_secs(1)).await;
            client.read_exact(&mut taken).await.expect("more");
        }
        assert!(read_all(&mut client).await.ends_with(&"x".repeat(79_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_to_come_in_time() {
        let (mut client, _stop) = connect();
        let head = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";
        client.write_all(head).await.expect("written");
        let begun = Instant::now();
        let dribble = async {
            while client.write_all(b"x").await.is_ok() && begun.elapsed() < body::DEADLINE {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            read_all(&mut client).await
        };
        let answer = dribble.await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("did not come in time"), "{answer}");
        assert!(answer.contains("connection: close") && begun.elapsed() <= body::DEADLINE + Duration::from_secs(1));
        let (mut client, _stop) = connect();
        let last = String::from_utf8_lossy(head).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        client.write_all(last.as_bytes()).await.expect("written");
        for _ in 0..10 {
            tokio::time::sleep(body::DEADLINE / 11).await;
            client.write_all(&[b'x'; 100]).await.expect("written");
        }
        assert!(read_all(&mut client).await.ends_with(&"x".repeat(1_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_has_one_host() {
        for (head, status) in [
            ("GET / HTTP/1.1\r\nhost: a\r\n", "200"),
            ("GET / HTTP/1.1\r\n", "400"),
            ("GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n", "400"),
            ("GET / HTTP/1.1\r\nhost: a/b\r\n", "400"),
            ("GET / HTTP/1.0\r\n", "200"),
        ] {
            let (mut client, _stop) = connect();
            client.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.expect("written");
            let answer = read_all(&mut client).await;
            assert_eq!(answer.split(' ').nth(1), Some(status), "{head}: {answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_makes_room_for_who_comes() {
        for said in ["GET / HT", "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx"] {
            // One slot for a network.
            let slots = ConnectionSlots::new(4, nobody());
            let (mut slow, _stop) = connect_to(&slots);
            slow.write_all(said.as_bytes()).await.expect("written");
            tokio::time::sleep(connection_slots::GRACE).await;
            let (mut client, _stop) = connect_to(&slots);
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("written");
            assert!(read_all(&mut client).await.ends_with("hello"));
            assert!(read_all(&mut slow).await.starts_with("HTTP/1.1 408 "), "{said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_ends_idle_connections() {
        let (mut client, stop) = connect();
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("written");
        let mut first = [0; 15];
        client.read_exact(&mut first).await.expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        let stopped = Instant::now();
        stop.cancel();
        assert!(read_all(&mut client).await.ends_with("hello"));
        assert!(stopped.elapsed() < Duration::from_secs(1));
    }
}
