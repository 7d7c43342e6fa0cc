//! Validators for what is read over and over (RFC 9110, 8.8.3 and 13.1.2): every JSON answer to a GET has an `ETag`, and
//! whoever has it already is answered with 304 and no body.
//!
//! It is a weak one: how old a message is changes every second, and is no change. There is none for writing (`If-Match`): a
//! lane decides long after the answer was made, and each change sets one thing in the order of all.

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use super::hex::hex;

/// The field of a message that is left out of its hash.
const AGE: &[u8] = b"\"age_s\":";

/// Middleware: adds an `ETag` to JSON answers, and answers with 304 if the client has the same.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let known = (request.method() == Method::GET).then(|| request.headers().get(header::IF_NONE_MATCH).cloned());
    let response = next.run(request).await;
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|it| it == "application/json");
    // What is streamed has no size, and no tag.
    let whole = response.body().size_hint().exact().is_some();
    let (Some(known), StatusCode::OK, true, true) = (known, response.status(), json, whole) else { return response };
    let (mut head, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let tag = tag_of(&body);
    let unchanged = known.is_some_and(|known| matches(&known, &tag));
    validate(&mut head.headers, &tag);
    if unchanged {
        let headers = [header::ETAG, header::CACHE_CONTROL].map(|name| (name.clone(), head.headers[name].clone()));
        return (StatusCode::NOT_MODIFIED, HeaderMap::from_iter(headers)).into_response();
    }
    Response::from_parts(head, Body::from(body))
}

/// Nobody but the user may keep the answer, and it must be asked again whether it still holds.
fn validate(headers: &mut HeaderMap, tag: &str) {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
}

/// Of the answer without ages. In JSON nothing but a field looks like one: quotes within strings are escaped.
fn tag_of(body: &Bytes) -> String {
    let mut hash = Sha256::new();
    let mut rest = &body[..];
    while let Some(at) = rest.windows(AGE.len()).position(|window| window == AGE) {
        let (before, after) = rest.split_at(at + AGE.len());
        hash.update(before);
        let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest = &after[digits..];
    }
    hash.update(rest);
    format!("W/\"{}\"", hex(&hash.finalize()[..16]))
}

/// The weak comparison of `If-None-Match`.
fn matches(known: &HeaderValue, tag: &str) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    known.to_str().is_ok_and(|known| known.split(',').any(|it| it.trim() == "*" || weak(it) == weak(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_no_change_and_everything_else_is() {
        let tag = |text: &str| tag_of(&Bytes::copy_from_slice(text.as_bytes()));
        let young = tag(r#"{"messages":[{"age_s":9,"body":"aGk="},{"age_s":0,"body":""}]}"#);
        assert_eq!(young, tag(r#"{"messages":[{"age_s":10,"body":"aGk="},{"age_s":1,"body":""}]}"#));
        assert_ne!(young, tag(r#"{"messages":[{"age_s":9,"body":"aGl="},{"age_s":0,"body":""}]}"#));
        assert_ne!(tag(r#"{"title":"\"age_s\":1"}"#), tag(r#"{"title":"\"age_s\":2"}"#), "a title may look like one");
        assert!(young.starts_with("W/\"") && young.len() == 2 + 2 + 32);
    }

    #[test]
    fn any_of_the_tags_that_a_client_has_may_match() {
        let tag = "W/\"ab\"";
        for known in ["W/\"ab\"", "\"ab\"", "*", "\"x\", W/\"ab\""] {
            assert!(matches(&HeaderValue::from_static(known), tag), "{known}");
        }
        for other in ["", "ab", "\"abc\"", "W/\"x\""] {
            assert!(!matches(&HeaderValue::from_static(other), tag), "{other}");
        }
    }
}
