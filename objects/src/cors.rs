//! What lets a browser's pages use links: cross-origin resource sharing (the Fetch standard, 3.2). Pages of the origins that
//! are listed may; a link is still all that opens an object.

use godwit_schemas::origin::is_listed;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request, Response, StatusCode};

/// What links are for.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, PUT");
/// What a page may read of an answer, besides what it always may.
const EXPOSED: HeaderValue = HeaderValue::from_static("accept-ranges, content-length, content-range, etag");
/// How long a browser may remember what it may do.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("3600");

/// Whose pages may use links.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cors {
    /// Like `https://chat.example.org`; `*`: all.
    pub(crate) origins: Vec<String>,
}

impl Cors {
    /// The request's origin, if its pages may.
    pub(crate) fn origin<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        let origin = request.headers().get(ORIGIN)?;
        is_listed(&self.origins, origin.as_bytes()).then(|| origin.clone())
    }

    /// The answer to a browser that asks what a page may do, before it does it.
    pub(crate) fn preflight<B, A: Default>(&self, request: &Request<B>) -> Option<Response<A>> {
        let headers = request.headers();
        if request.method() != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut answer = Response::new(A::default());
        let Some(origin) = self.origin(request) else {
            *answer.status_mut() = StatusCode::FORBIDDEN;
            return Some(answer);
        };
        *answer.status_mut() = StatusCode::NO_CONTENT;
        admit(answer.headers_mut(), origin);
        answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.headers_mut().insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
        // What a link wants to be sent differs, and its signature says whether it was.
        if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        Some(answer)
    }
}

/// Pages of this origin may read the answer.
pub(crate) fn admit(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(origins: &[&str], method: &str, headers: &[(&str, &str)]) -> Option<Response<()>> {
        let cors = Cors { origins: origins.iter().map(|it| (*it).to_owned()).collect() };
        let request = Request::builder().method(method);
        let request = headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
        cors.preflight(&request.body(()).expect("a request"))
    }

    #[test]
    fn pages_of_listed_origins_may_ask() {
        let page = [
            ("origin", "https://chat.example.org"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-amz-checksum-sha256"),
        ];
        for origins in [&["https://other.example.org", "https://chat.example.org"][..], &["*"]] {
            let answer = ask(origins, "OPTIONS", &page).expect("an answer");
            let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
            assert_eq!(answer.status(), 204);
            assert_eq!(header("access-control-allow-origin"), "https://chat.example.org");
            assert_eq!(header("access-control-allow-headers"), "x-amz-checksum-sha256");
            assert!(header("access-control-allow-methods").contains("PUT"));
        }
        for origins in [&[][..], &["https://chat.example.org.evil.org"], &["http://chat.example.org"]] {
            let refused = ask(origins, "OPTIONS", &page).expect("an answer");
            assert_eq!((refused.status().as_u16(), refused.headers().len()), (403, 0));
        }
        assert!(ask(&["*"], "OPTIONS", &page[..1]).is_none(), "no preflight");
        assert!(ask(&["*"], "PUT", &page).is_none());
    }
}
