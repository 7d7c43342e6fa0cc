//! The HTTP API.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use tower::ServiceExt as _;

use crate::server::{Server, TOKEN};

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// A request of an administrator: a byte for its method, then its path up to a line break, then its body.
pub async fn http(data: &[u8]) {
    let Some((method, rest)) = data.split_first() else { return };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (path, body) = rest.split_at(end);
    let request = Request::builder()
        .method(METHODS[usize::from(*method) % METHODS.len()].clone())
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.get(1..).unwrap_or_default().to_vec()));
    // Hyper says what no request can be.
    let Ok(request) = request else { return };
    let server = Server::start().await;
    let Ok(response) = server.api.clone().oneshot(request).await;
    let (status, kind) = (response.status(), response.headers().get(header::CONTENT_TYPE).cloned());
    assert!(status != StatusCode::INTERNAL_SERVER_ERROR && status != StatusCode::SERVICE_UNAVAILABLE, "{status}");
    if !status.is_success() && status != StatusCode::NOT_MODIFIED {
        assert_eq!(kind.as_ref().map(|kind| kind.as_bytes()), Some(&b"application/problem+json"[..]), "{status}");
    }
    assert!(to_bytes(response.into_body(), 1 << 20).await.is_ok(), "a body that ends");
    server.serves_others().await;
}
