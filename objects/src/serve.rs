//! Connections of the embedded object store: none that is silent for long. Whoever accepts them bounds how many.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::cors::{Cors, admit};
use crate::folder::Folder;
use crate::keys::Keys;
use crate::protocol::Bucket;

/// How long a client may take to send the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// A connection on which nothing moved for this long is closed.
const SILENCE: Duration = Duration::from_secs(60);
/// Largest body that is signed itself: it is read before the signature can be checked. Links sign none.
const SIGNED_BODY_BYTES_MAX: u64 = 2 << 20;

/// The object store, as its connections see it. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    service: Arc<S3Service>,
    cors: Arc<Cors>,
}

impl Objects {
    /// One bucket of this name, open to whoever signs with these keys; pages of these origins (`*`: all) may use links.
    pub fn new(folder: Folder, bucket: String, keys: Keys, origins: Vec<String>) -> Self {
        let mut service = S3ServiceBuilder::new(Bucket { name: bucket, folder: Arc::new(folder) });
        service.set_auth(SimpleAuth::from_single(keys.access, keys.secret.as_str()));
        Self { service: Arc::new(service.build()), cors: Arc::new(Cors { origins }) }
    }

    /// Answers the requests of one connection, until it has been silent for a minute or `stop` is cancelled: then what has
    /// begun is finished.
    pub async fn converse(self, stream: TcpStream, stop: CancellationToken) {
        let moved = Arc::new(AtomicU64::new(0));
        let stream = Watched { stream, moved: moved.clone() };
        let answer = service_fn(move |request| self.clone().answer(request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .serve_connection(TokioIo::new(stream), answer);
        let mut connection = pin!(connection);
        let mut silence = pin!(until_silent(moved));
        tokio::select! {
            // A client that hangs up or sends no HTTP is its own business.
            _ = connection.as_mut() => return,
            () = silence.as_mut() => return,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = connection => {}
            () = silence => {}
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, S3Error> {
        if reads_much_unchecked(&request) {
            let mut refused = Response::new(Body::empty());
            *refused.status_mut() = StatusCode::FORBIDDEN;
            return Ok(refused);
        }
        if let Some(answer) = self.cors.preflight(&request) {
            return Ok(answer);
        }
        let origin = self.cors.origin(&request);
        let mut answer = self.service.call(request.map(Body::from)).await?;
        if let Some(origin) = origin {
            admit(answer.headers_mut(), origin);
        }
        Ok(answer)
    }
}

/// Everybody who has a link knows the access key, and could have us take in a large body to check a signature of it.
fn reads_much_unchecked<B>(request: &Request<B>) -> bool {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let length = header(CONTENT_LENGTH).map_or(Some(0), |length| length.parse::<u64>().ok());
    let has_length = !request.headers().contains_key(hyper::header::TRANSFER_ENCODING);
    let is_form = header(CONTENT_TYPE).is_some_and(|kind| kind.to_ascii_lowercase().starts_with("multipart/"));
    let is_small = has_length && length.is_some_and(|length| length <= SIGNED_BODY_BYTES_MAX);
    is_form && request.method() == hyper::Method::POST || request.headers().contains_key(AUTHORIZATION) && !is_small
}

async fn until_silent(moved: Arc<AtomicU64>) {
    let mut before = 0;
    loop {
        tokio::time::sleep(SILENCE).await;
        let now = moved.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

/// Counts the bytes that move.
struct Watched {
    stream: TcpStream,
    moved: Arc<AtomicU64>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.moved.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        if let Ok(len) = &written {
            self.moved.fetch_add(*len as u64, Ordering::Relaxed);
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
