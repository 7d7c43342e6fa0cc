//! Push services close connections whenever they like: a connection that was told to go away is used no more, and what it did
//! not take is sent on another.

use std::convert::Infallible;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use godwit_push::providers::{ProviderSettings, Providers};
use godwit_push::{ApnsSettings, Target, Verdict};
use http_body_util::Full;
use hyper::Response;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{WALL, send, trusted};

/// Requests of a connection before it is told to go away.
const REQUESTS: usize = 10;

fn acceptor(certificate: &Path, key: &Path) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = config
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Serves a connection, which is sent GOAWAY after so many requests.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, taken: Arc<AtomicUsize>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let (enough, requests) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let tells = enough.clone();
    let service = service_fn(move |_| {
        taken.fetch_add(1, Ordering::Relaxed);
        if requests.fetch_add(1, Ordering::Relaxed) + 1 == REQUESTS {
            tells.notify_one();
        }
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let mut connection =
        pin!(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = enough.notified() => connection.as_mut().graceful_shutdown(),
    }
    // What is under way is still answered.
    _ = connection.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_told_to_go_away_lose_no_push() {
    let Some((certificate, key)) = trusted("goaway::connections_that_are_told_to_go_away_lose_no_push") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (taken, connections) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (counts, dialled, acceptor) = (taken.clone(), connections.clone(), acceptor(&certificate, &key));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            dialled.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(serve(stream, acceptor.clone(), counts.clone()));
        }
    });
    let team = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let apns = ApnsSettings {
        key: team.serialize_pem().into_bytes(),
        key_id: "KEY1234567".to_owned(),
        team_id: "TEAM123456".to_owned(),
        topics: vec!["org.example.chat".to_owned()],
        endpoint: Some(format!("https://localhost:{port}")),
    };
    let settings = ProviderSettings { apns: Some(apns), ..ProviderSettings::default() };
    let providers = Arc::new(Providers::new(settings, WALL).unwrap());
    let target = || Target::Apns { token: vec![1; 32], topic: "org.example.chat".to_owned(), sandbox: false };
    // One after the other, then twenty at a time: a push that meets the end of a connection is sent again by its caller.
    for _ in 0..100 {
        while send(&providers, target()).await != Verdict::Accepted {}
    }
    for _ in 0..10 {
        let at_once = (0..20).map(|_| async { while send(&providers, target()).await != Verdict::Accepted {} });
        futures::future::join_all(at_once).await;
    }
    assert!(taken.load(Ordering::Relaxed) >= 300);
    assert!(connections.load(Ordering::Relaxed) >= 20, "each took about {REQUESTS}");
}
