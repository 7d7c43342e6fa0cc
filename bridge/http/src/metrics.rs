//! What the HTTP API counts: requests by method, route and status, and how long they take. A route is the pattern of a path, so
//! there are as many as the API has, whatever clients ask for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use godwit_metrics::Histogram;
use tokio::time::Instant;

/// Up to so many microseconds, from a millisecond to the deadline of a request.
const MICROS: &[u64] = &[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
    30_000_000,
];
/// What a path counts as that no route has.
const NO_ROUTE: &str = "none";

/// How requests are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKind {
    /// In capitals; "other": none that any route has.
    pub method: &'static str,
    /// Such as `/v1/users/{user}`; "none": there is no such path.
    pub route: String,
    /// Of the answer.
    pub status: u16,
}

/// What is counted of requests. One for all listeners of a process.
#[derive(Debug)]
pub struct HttpMetrics {
    requests: Mutex<HashMap<RequestKind, u64>>,
    /// From the head of a request to the head of its answer.
    pub duration: Histogram,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self { requests: Mutex::default(), duration: Histogram::new(MICROS) }
    }
}

impl HttpMetrics {
    /// How many requests of each kind were answered, in the order of the kinds.
    pub fn requests(&self) -> Vec<(RequestKind, u64)> {
        let mut requests: Vec<_> = self.table().iter().map(|(kind, count)| (kind.clone(), *count)).collect();
        requests.sort_unstable();
        requests
    }

    fn table(&self) -> MutexGuard<'_, HashMap<RequestKind, u64>> {
        // Nothing in here can panic half way.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a request when it is answered. One that its client gives up is not counted.
pub(super) async fn count(State(metrics): State<Arc<HttpMetrics>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = name(request.method());
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
    let kind = RequestKind { method, route, status: response.status().as_u16() };
    *metrics.table().entry(kind).or_default() += 1;
    metrics.duration.time(began.elapsed());
    response
}

fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn requests_are_counted_by_route_and_never_by_path() {
        let metrics = Arc::new(HttpMetrics::default());
        let routes = Router::new()
            .route("/users/{user}", get(|| async { StatusCode::NO_CONTENT }))
            .layer(middleware::from_fn_with_state(metrics.clone(), count));
        for (method, path) in [
            ("GET", "/users/alice"),
            ("GET", "/users/bob"),
            ("DELETE", "/users/bob"),
            ("GET", "/nowhere"),
            ("BREW", "/users/alice"),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
            routes.clone().oneshot(request).await.expect("infallible");
        }
        let counted: Vec<_> = metrics.requests();
        let counted: Vec<_> =
            counted.iter().map(|(kind, count)| (kind.method, &*kind.route, kind.status, *count)).collect();
        let all = [
            ("DELETE", "/users/{user}", 405, 1),
            ("GET", "/users/{user}", 204, 2),
            ("GET", "none", 404, 1),
            ("other", "/users/{user}", 405, 1),
        ];
        assert_eq!(counted, all);
        assert_eq!(metrics.duration.read().count(), 5);
    }
}
