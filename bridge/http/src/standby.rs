//! What a bridge answers that does not lead its cluster: `/healthz` as always, and to everything else that another bridge
//! leads, or none yet. A load balancer that asks `/readyz` sends nobody here.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use godwit_bridge::lead::Lead;
use tower::ServiceExt as _;

use super::health;
use super::problem::Problem;

/// After how many seconds a client may ask again: a standby takes over in about so many.
const RETRY_AFTER_S: u32 = 5;

/// The routes of a standby, and what hands all requests over when it leads.
pub fn standby() -> (Router, Handover) {
    let handover = Handover::default();
    let router = Router::new()
        .route("/healthz", get(health::alive))
        .fallback(|| async { not_leading("this bridge is a standby: ask the one that leads") })
        .layer(middleware::from_fn_with_state(handover.clone(), hand_over));
    (router, handover)
}

/// Where requests to a standby go when it leads.
#[derive(Debug, Clone, Default)]
pub struct Handover(Arc<OnceLock<Router>>);

impl Handover {
    /// From now on this router answers. The first one that is given counts.
    pub fn to(&self, router: Router) {
        self.0.get_or_init(|| router);
    }
}

async fn hand_over(State(Handover(leading)): State<Handover>, request: Request, next: Next) -> Response {
    match leading.get() {
        Some(router) => match router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None => next.run(request).await,
    }
}

/// Lets no answer out of a bridge that may have been succeeded while it made it.
pub(super) async fn tell_if_leading(State(lead): State<Lead>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if lead.is_confirmed() {
        return response;
    }
    not_leading("this bridge cannot tell right now whether it still leads").into_response()
}

fn not_leading(why: &'static str) -> Problem {
    Problem::for_now(StatusCode::SERVICE_UNAVAILABLE, why, RETRY_AFTER_S)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::body::Body;

    use super::*;

    async fn ask(router: &Router, path: &str) -> Response {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        router.clone().oneshot(request).await.expect("infallible")
    }

    #[tokio::test]
    async fn a_standby_is_alive_and_serves_when_it_leads() {
        let (standby, handover) = standby();
        assert_eq!(ask(&standby, "/healthz").await.status(), StatusCode::OK);
        for path in ["/readyz", "/v1/admin/users", "/v1/openapi.json", "/nowhere"] {
            let refused = ask(&standby, path).await;
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(refused.headers()["retry-after"], "5");
            assert_eq!(refused.headers()["content-type"], "application/problem+json");
        }
        handover.to(Router::new().route("/readyz", get(|| async { "ready" })));
        assert_eq!(ask(&standby, "/readyz").await.status(), StatusCode::OK);
        assert_eq!(ask(&standby, "/nowhere").await.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn what_was_found_out_while_the_lead_was_lost_is_not_told() {
        let confirmed = Arc::new(AtomicBool::new(true));
        let lead = Lead::new(1, {
            let confirmed = confirmed.clone();
            move || confirmed.load(Ordering::Relaxed)
        });
        // As if the process had been frozen in the middle.
        let frozen = get(move || async move { confirmed.store(false, Ordering::Relaxed) });
        let routes = Router::new().route("/now", get(|| async {})).route("/frozen", frozen);
        let routes = routes.layer(middleware::from_fn_with_state(lead, tell_if_leading));
        assert_eq!(ask(&routes, "/now").await.status(), StatusCode::OK);
        assert_eq!(ask(&routes, "/frozen").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask(&routes, "/now").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
