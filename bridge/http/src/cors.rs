//! What lets pages in browsers use the API: cross-origin resource sharing (the Fetch standard, 3.2), for pages of the origins
//! that may come over WebSocket too. What operators do is not for pages.

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, request::Parts};
use godwit_schemas::origin::is_listed;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Where pages may send requests to: everywhere below these paths.
const PATHS: [&str; 3] = ["/v1/users/", "/v1/registrations", "/v1/openapi.json"];
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// How long a browser may remember what it may do.
const MAX_AGE: Duration = Duration::from_secs(3_600);

/// Pages of these origins (`*`: all) may. They name a user by a header of their own, never by what a browser knows.
pub fn cors(origins: Vec<String>) -> CorsLayer {
    let may = move |origin: &HeaderValue, request: &Parts| {
        PATHS.iter().any(|path| request.uri.path().starts_with(path)) && is_listed(&origins, origin.as_bytes())
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(may))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH, IDEMPOTENCY_KEY])
        .expose_headers([RETRY_AFTER, ETAG])
        .max_age(MAX_AGE)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::extract::Request;
    use axum::response::Response;
    use tower::ServiceExt as _;

    use super::*;

    const PAGE: &str = "https://chat.example.org";

    async fn ask(method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
        let routes = Router::new().fallback(|| async { ([(RETRY_AFTER, "1")], "hello") });
        let routes = routes.layer(cors(vec![PAGE.to_owned()]));
        routes.oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible")
    }

    fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
        response.headers().get(name).map(|value| value.to_str().expect("text"))
    }

    #[tokio::test]
    async fn pages_of_listed_origins_may_do_what_users_do() {
        let preflight = [("access-control-request-method", "PATCH"), ("access-control-request-headers", "x")];
        for path in ["/v1/users/alice/profile", "/v1/registrations", "/v1/registrations/verify", "/v1/openapi.json"] {
            let asked = ask(Method::OPTIONS, path, &[&[("origin", PAGE)], &preflight[..]].concat()).await;
            assert_eq!(header(&asked, "access-control-allow-origin"), Some(PAGE), "{path}");
            assert!(header(&asked, "access-control-allow-methods").is_some_and(|it| it.contains("PATCH")));
            let allowed = header(&asked, "access-control-allow-headers").expect("headers");
            for name in ["authorization", "content-type", "if-none-match", "idempotency-key"] {
                assert!(allowed.contains(name), "{allowed}");
            }
            let answer = ask(Method::GET, path, &[("origin", PAGE)]).await;
            assert_eq!(header(&answer, "access-control-allow-origin"), Some(PAGE), "{path}");
            assert!(header(&answer, "access-control-expose-headers").is_some_and(|it| it.contains("retry-after")));
            assert_eq!(header(&answer, "access-control-allow-credentials"), None);
        }
    }

    #[tokio::test]
    async fn other_pages_and_what_operators_do_are_not_let_in() {
        for (path, origin) in [
            ("/v1/users/alice/profile", "https://evil.example.org"),
            ("/v1/admin/users", PAGE),
            ("/v1/admin/users/alice", PAGE),
            ("/healthz", PAGE),
            ("/readyz", PAGE),
        ] {
            for method in [Method::OPTIONS, Method::GET] {
                let asked = ask(method, path, &[("origin", origin), ("access-control-request-method", "GET")]).await;
                assert_eq!(header(&asked, "access-control-allow-origin"), None, "{path} {origin}");
            }
        }
    }
}
