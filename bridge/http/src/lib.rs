//! The HTTP API: operators' commands, what users do (`chat`, described by `openapi`), and health. Called by `godwit user`, `godwit device` and by whatever
//! manages accounts; the server hands in the listener and the token. A command that is answered is on disk.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `POST /v1/registrations`, `POST /v1/registrations/verify` | | see `registration`; need no token |
//! | `GET /healthz` | | 200: the process is alive; needs no token |
//! | `GET /readyz` | | 200: lanes, committer, store and doors answer; 503 which does not; needs no token |
//! | `GET /v1/admin/clock` | | `{time_s, wall_s, leap_s, leap_stands_s, deletes}`: see `time` |
//! | `POST /v1/admin/clock/follow` | | the same, when so much time has passed as the wall clock has leapt |
//! | `GET /v1/admin/users?after=NAME&limit=N` | | `{users: [{user, devices}], next}`, by name; `next` goes into `after` |
//! | `POST /v1/admin/users` | `{user, device, phone}`, without `phone` or `user` | 201 `{user, device, password}` |
//! | `GET /v1/admin/users/{user}` | | `{user, devices, full}`: whose inbox is full |
//! | `DELETE /v1/admin/users/{user}` | | 204 |
//! | `PUT`, `DELETE /v1/admin/users/{user}/phone` | `{phone}` | 204 |
//! | `POST /v1/admin/users/{user}/devices` | `{device}` | 201 `{user, device, password}` |
//! | `DELETE /v1/admin/users/{user}/devices/{device}` | | 204 |
//!
//! Refusals are problem details (RFC 9457): 400 or 422 what cannot be understood, 401 token, 404, 409 exists already,
//! 413 body over 64 KiB (of a message: over six times its limit), 415, 503 stopping or not done in time.

mod account;
mod acting_user;
mod admin;
mod body;
mod caller;
mod chat;
mod clock;
mod connection_slots;
mod cors;
mod credentials;
mod encryption;
mod epoch;
mod etag;
mod fields;
mod health;
mod hex;
mod idempotency;
mod media;
mod openapi;
mod operation;
mod password;
mod people;
mod phone;
mod problem;
mod push;
mod registration;
mod serve;
mod server;
mod standby;
mod stream;
mod token;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use godwit_schemas::ids::UserId;
use percent_encoding::percent_decode_str;

pub use axum::Router;
pub use axum::http::HeaderMap;
pub use caller::{ClientAddress, Proxies, ProxyHeader};
pub use connection_slots::{ConnectionSlots, HttpConnectionSlot, SlotHandle, TooMany};
pub use cors::cors;
use godwit_bridge::admin::Admin;
use godwit_bridge::audit::{Audit, AuditEntry};
use godwit_bridge::chat::Chat;
use godwit_bridge::lead::Lead;
use godwit_bridge::registration::Registration;
use godwit_bridge::token::Tokens;
use godwit_store::time::Time;
use health::Readiness;
pub use health::{Check, Checked};
pub use problem::Problem;
use problem::Why;
pub use serve::{HttpHandshake, HttpListener, Plain, UpgradedStream, accept, serve, serve_upgradable, upgraded};
pub use standby::{Handover, standby};
pub use token::AdminToken;

const BODY_BYTES_MAX: usize = 64 << 10;
/// Most bytes of JSON that a byte of a text takes: `\u0000`.
const ESCAPED_BYTES: usize = 6;
/// What else there is in the body of a message, and most that other large bodies have.
const BESIDES_BYTES: usize = 128 << 10;
/// A client gets its answer, or 503, after this time. The command may still be carried out.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// What the API is over.
pub struct Api {
    /// Operators' commands.
    pub admin: Admin,
    /// What users do.
    pub chat: Chat,
    /// How people register; `None`: not by themselves.
    pub registration: Option<Registration>,
    /// Opens the first two.
    pub token: AdminToken,
    /// Where it is noted who did not get in.
    pub audit: Audit,
    /// What verifies tokens of the operator's own accounts.
    pub tokens: Option<Arc<Tokens>>,
    /// The server's time.
    pub time: Time,
    /// That the bridge leads its cluster: otherwise nothing is answered.
    pub lead: Lead,
    /// Whether the server serves.
    pub check: Check,
    /// Largest body of a message. As JSON it may have six times as many bytes.
    pub body_bytes_max: usize,
}

/// The API as listeners offer it.
pub struct Routers {
    /// Everything: for operators, and for users who come by the same listener.
    pub all: Router,
    /// What users do, and registration: for a listener that is open to pages of browsers.
    pub of_users: Router,
}

/// The API, open to who knows the token, or a device's password.
pub fn routers(api: Api) -> Routers {
    let Api { admin, chat, registration, token, audit, tokens, time, lead, check, body_bytes_max } = api;
    let commands = openapi::routes_of_operators(admin, time);
    let context = acting_user::RouteContext { chat, keys: credentials::AuthMethods::new(token.clone(), tokens) };
    let users = openapi::routes_of_users(body_bytes_max * ESCAPED_BYTES + BESIDES_BYTES);
    let users = users.route_layer(middleware::from_fn(etag::tag)).with_state(context);
    let strangers = openapi::routes_of_registration();
    let strangers = strangers.layer(DefaultBodyLimit::max(registration::BODY_BYTES_MAX)).with_state(registration);
    let ready = Router::new().route("/readyz", get(health::ready)).with_state(Readiness::new(check));
    let document = Json(openapi::document(body_bytes_max));
    let document = get(move || std::future::ready(document.clone()));
    let of_users = users.merge(strangers).route("/v1/openapi.json", document);
    let leading = |routes: Router| routes.route_layer(middleware::from_fn_with_state(lead, standby::tell_if_leading));
    let finished = |routes: Router| dress(routes).layer(middleware::from_fn_with_state(audit, note_refusal));
    let all = guard(commands, token).merge(of_users.clone()).merge(ready);
    Routers {
        all: finished.clone()(leading.clone()(all).route("/healthz", get(health::alive))),
        of_users: finished(leading(of_users)),
    }
}

/// Lets only requests with the token through to the routes so far.
fn guard(routes: Router, token: AdminToken) -> Router {
    routes.route_layer(middleware::from_fn_with_state(token, require_token))
}

/// Bounds and problem details for everything.
fn dress(routes: Router) -> Router {
    routes
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "no such path") })
        .method_not_allowed_fallback(|| async { Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no such method here") })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(limit_time))
}

async fn require_token(State(token): State<AdminToken>, request: Request, next: Next) -> Response {
    if token.opens(request.headers().get(header::AUTHORIZATION)) {
        request.extensions().get::<SlotHandle>().iter().for_each(|slot_handle| slot_handle.is_administrator());
        return next.run(request).await;
    }
    Problem::unauthorized("this needs the administrator's token").into_response()
}

/// Who has shown no credentials, or wrong ones.
async fn note_refusal(State(audit): State<Audit>, request: Request, next: Next) -> Response {
    let from = request.extensions().get::<ClientAddress>().and_then(|caller| caller.0);
    let user = request.uri().path().strip_prefix("/v1/users/").and_then(|rest| rest.split('/').next());
    let user = user.and_then(|name| UserId::new(&percent_decode_str(name).decode_utf8().ok()?).ok());
    let response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED {
        let user = user.map(|user| user.to_string());
        let why = response.extensions().get().map_or("credentials", |Why(why)| why);
        audit.note(|| AuditEntry { user, reason: Some(why), ..AuditEntry::from("http_refused", from) });
    }
    response
}

async fn limit_time(request: Request, next: Next) -> Response {
    let late = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not done in time").into_response();
    tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::rejection::JsonRejection;
    use axum::routing::post;
    use tower::ServiceExt as _;

    use super::admin::NewDevice;
    use super::*;

    async fn answer(request: Request) -> (StatusCode, Response) {
        let token = AdminToken::new("open sesame");
        let echo = |body: Result<Json<NewDevice>, JsonRejection>| async {
            body.map(|new| new.0.device).map_err(Problem::from)
        };
        let forever = || std::future::pending::<()>();
        let routes = Router::new().route("/echo", post(echo)).route("/forever", get(forever));
        let routes = dress(guard(routes, token).route("/healthz", get(health::alive)));
        let response = routes.oneshot(request).await.expect("infallible");
        (response.status(), response)
    }

    fn echo(body: impl Into<Body>) -> Request {
        let request = Request::post("/echo").header("authorization", "Bearer open sesame");
        request.header("content-type", "application/json").body(body.into()).expect("a request")
    }

    #[tokio::test]
    async fn commands_need_the_token_and_health_does_not() {
        let (status, response) = answer(Request::post("/echo").body(Body::empty()).expect("a request")).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
        assert_eq!(challenges, ["Basic realm=\"godwit\"", "Bearer realm=\"godwit\""]);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(answer(Request::get("/healthz").body(Body::empty()).expect("a request")).await.0, StatusCode::OK);
        assert_eq!(answer(echo(r#"{"device":"phone"}"#)).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn what_cannot_be_understood_is_told_apart() {
        assert_eq!(answer(echo("{")).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(answer(echo("{}")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer(echo(r#"{"device":"a","b":1}"#)).await.0, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer(echo(vec![b' '; BODY_BYTES_MAX + 1])).await.0, StatusCode::PAYLOAD_TOO_LARGE);
        let mut untyped = echo("{}");
        untyped.headers_mut().remove("content-type");
        assert_eq!(answer(untyped).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let get = Request::get("/echo").header("authorization", "Bearer open sesame").body(Body::empty());
        assert_eq!(answer(get.expect("a request")).await.0, StatusCode::METHOD_NOT_ALLOWED);
        let (status, response) = answer(Request::get("/nowhere").body(Body::empty()).expect("a request")).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_forever_is_given_up() {
        let request = Request::get("/forever").header("authorization", "bearer open sesame").body(Body::empty());
        assert_eq!(answer(request.expect("a request")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
}
