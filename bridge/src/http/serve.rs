//! Connections of the HTTP API. Keeps their cost bounded: so many at once, each gone after a while, a silent one soon.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caller::Proxies;

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

/// Answers requests until `stop` is cancelled; then finishes those that have begun. Who wants this to end by a certain
/// time drops the future: connections that are left end with the runtime.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    proxies: Proxies,
    connections_max: usize,
    stop: CancellationToken,
) {
    let converse = |stream: TcpStream, stop| {
        let peer = stream.peer_addr().ok().map(|addr| addr.ip());
        let proxies = proxies.clone();
        let router = router.clone().layer(middleware::from_fn(move |mut request: Request, next: Next| {
            let caller = proxies.caller(peer, request.headers());
            request.extensions_mut().insert(caller);
            next.run(request)
        }));
        converse(stream, router, stop)
    };
    accept("HTTP", listener, connections_max, stop, converse).await;
}

/// Accepts connections until `stop` is cancelled, at most so many at once, further ones wait; each is what `converse`
/// makes of it. Then waits for those that are left. `name`: of the listener, for the log.
pub async fn accept<C: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    listener: TcpListener,
    connections_max: usize,
    stop: CancellationToken,
    converse: impl Fn(TcpStream, CancellationToken) -> C,
) {
    let places = Arc::new(Semaphore::new(connections_max));
    let connections = TaskTracker::new();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let conversation = converse(stream, stop.clone());
                connections.spawn(async move {
                    conversation.await;
                    drop(place);
                });
            }
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

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router, stop: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        // A client that hangs up or sends no HTTP is its own business.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    _ = tokio::time::timeout(GRACE, connection).await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    fn connect() -> (DuplexStream, CancellationToken) {
        let (client, server) = duplex(1_024);
        let stop = CancellationToken::new();
        let routes =
            Router::new().route("/", get(|| async { "hello" })).route("/big", get(|| async { "x".repeat(100_000) }));
        tokio::spawn(converse(server, routes, stop.clone()));
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
        assert!(!read_all(&mut client).await.contains("hello"));
        assert!(begun.elapsed() <= HEAD_DEADLINE + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_cut_off() {
        let (mut client, _stop) = connect();
        client.write_all(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("written");
        let write_on = async { while client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.is_ok() {} };
        let cut_off = tokio::time::timeout(LIFETIME + GRACE + Duration::from_secs(1), write_on).await;
        assert!(cut_off.is_ok());
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
