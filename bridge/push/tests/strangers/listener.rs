//! A listener over plain HTTP/1.1 that keeps what it is asked, and answers what it was told to.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What it was asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

#[derive(Default)]
struct Kept {
    answers: Mutex<VecDeque<(u16, String)>>,
    requests: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
}

/// See the module.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    kept: Arc<Kept>,
}

impl Listener {
    /// Answers these, one after the other: status and body.
    pub(crate) async fn start(answers: Vec<(u16, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Arc::new(Kept { answers: Mutex::new(answers.into()), ..Kept::default() });
        let keeps = kept.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                keeps.connections.fetch_add(1, Ordering::Relaxed);
                let keeps = keeps.clone();
                let serve = service_fn(move |request| answer(keeps.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), serve));
            }
        });
        Self { address, kept }
    }

    pub(crate) fn requests(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.kept.requests.lock().unwrap())
    }

    pub(crate) fn connections(&self) -> usize {
        self.kept.connections.load(Ordering::Relaxed)
    }
}

async fn answer(kept: Arc<Kept>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    let path = head.uri.path().to_owned();
    kept.requests.lock().unwrap().push(Asked { path, headers: head.headers, body });
    let (status, body) = kept.answers.lock().unwrap().pop_front().unwrap();
    Ok(Response::builder().status(status).body(Full::new(body.into())).unwrap())
}
