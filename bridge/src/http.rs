//! The HTTP API of the bridge: operators' commands, what users do (`chat`, described by `openapi`), and health. Called by `godwit user`, `godwit device` and by whatever
//! manages accounts; the server hands in the listener and the token. A command that is answered is on disk.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `POST /v1/registrations`, `POST /v1/registrations/verify` | | see `registration`; need no token |
//! | `GET /healthz` | | 200; needs no token |
//! | `GET /v1/admin/users?after=NAME&limit=N` | | `{users: [{user, devices}], next}`, by name; `next` goes into `after` |
//! | `POST /v1/admin/users` | `{user, device, phone}`, without `phone` or `user` | 201 `{user, device, password}` |
//! | `GET /v1/admin/users/{user}` | | `{user, devices}` |
//! | `DELETE /v1/admin/users/{user}` | | 204 |
//! | `PUT`, `DELETE /v1/admin/users/{user}/phone` | `{phone}` | 204 |
//! | `POST /v1/admin/users/{user}/devices` | `{device}` | 201 `{user, device, password}` |
//! | `DELETE /v1/admin/users/{user}/devices/{device}` | | 204 |
//!
//! Refusals are problem details (RFC 9457): 400 or 422 what cannot be understood, 401 token, 404, 409 exists already,
//! 413 body over 64 KiB, 415, 503 stopping or not done in time.

mod account;
mod caller;
mod chat;
mod credentials;
mod etag;
mod media;
mod openapi;
mod password;
mod people;
mod phone;
mod problem;
mod registration;
mod serve;
mod token;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use godwit_schemas::ids::{BadName, DeviceName, UserId};
use godwit_schemas::phone::PhoneNumber;
use serde::{Deserialize, Serialize};

use crate::admin::{Admin, AdminError, Credentials, UserListing};
use crate::audit::{Audit, Entry};
use crate::chat::Chat;
use crate::registration::Registration;
use crate::token::Tokens;
use caller::Caller;
pub use caller::Proxies;
pub use problem::Problem;
pub use serve::{accept, serve};
pub use token::AdminToken;

const BODY_BYTES_MAX: usize = 64 << 10;
const USERS_MAX: usize = 1_000;
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
}

/// The API, open to who knows the token, or a device's password.
pub fn router(Api { admin, chat, registration, token, audit, tokens }: Api) -> Router {
    let commands = Router::new()
        .route("/v1/admin/users", get(list_users).post(add_user))
        .route("/v1/admin/users/{user}", get(show_user).delete(remove_user))
        .route("/v1/admin/users/{user}/phone", put(set_phone).delete(remove_phone))
        .route("/v1/admin/users/{user}/devices", post(add_device))
        .route("/v1/admin/users/{user}/devices/{device}", delete(remove_device))
        .with_state(admin);
    let context = chat::Context { chat, keys: credentials::Keys::new(token.clone(), tokens) };
    let users = chat::routes(context.clone()).merge(account::routes(context));
    let users = users.route_layer(middleware::from_fn(etag::tag));
    let open = Router::new().route("/healthz", get(health)).route("/v1/openapi.json", get(openapi::document));
    let all = guard(commands, token).merge(users).merge(registration::routes(registration)).merge(open);
    dress(all).layer(middleware::from_fn_with_state(audit, note_refusal))
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
        return next.run(request).await;
    }
    Problem::unauthorized("this needs the administrator's token").into_response()
}

/// Who has shown no credentials, or wrong ones.
async fn note_refusal(State(audit): State<Audit>, request: Request, next: Next) -> Response {
    let from = request.extensions().get::<Caller>().and_then(|caller| caller.0);
    let user = request.uri().path().strip_prefix("/v1/users/").and_then(|rest| rest.split('/').next());
    let user = user.and_then(|name| UserId::new(name).ok());
    let response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED {
        let user = user.map(|user| user.to_string());
        audit.note(|| Entry { user, reason: Some("credentials"), ..Entry::from("http_refused", from) });
    }
    response
}

async fn limit_time(request: Request, next: Next) -> Response {
    let late = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not done in time").into_response();
    tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await.unwrap_or_else(late)
}

async fn health() -> &'static str {
    "ok\n"
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Users {
    users: Vec<UserListing>,
    next: Option<String>,
}

async fn list_users(
    State(admin): State<Admin>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Users>, Problem> {
    let Query(Page { after, limit }) = page?;
    let limit = limit.unwrap_or(USERS_MAX).clamp(1, USERS_MAX);
    let after = after.map(|name| user(&name)).transpose()?;
    let users = admin.users(after, limit).await?;
    let next = users.last().filter(|_| users.len() == limit).map(|last| last.user.clone());
    Ok(Json(Users { users, next }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    user: Option<String>,
    device: String,
    phone: Option<String>,
}

async fn add_user(
    State(admin): State<Admin>,
    body: Result<Json<NewUser>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(new) = body?;
    let (name, device) = (new.user.as_deref().map(user).transpose()?, device(&new.device)?);
    Ok(created(match (name, new.phone) {
        (name, Some(number)) => admin.register(name, device, phone_number(&number)?).await?,
        (Some(name), None) => admin.add_user(name, device).await?,
        (None, None) => return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "neither user nor phone")),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPhone {
    phone: String,
}

async fn set_phone(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    body: Result<Json<NewPhone>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let number = phone_number(&body?.0.phone)?;
    admin.set_phone(user(&name)?, Some(number)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_phone(State(admin): State<Admin>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    admin.set_phone(user(&name)?, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn show_user(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Json<UserListing>, Problem> {
    Ok(Json(admin.user(user(&name)?).await?))
}

async fn remove_user(State(admin): State<Admin>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    admin.remove_user(user(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDevice {
    device: String,
}

async fn add_device(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    body: Result<Json<NewDevice>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(new) = body?;
    Ok(created(admin.add_device(user(&name)?, device(&new.device)?).await?))
}

async fn remove_device(
    State(admin): State<Admin>,
    Path((of, name)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    admin.remove_device(user(&of)?, device(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn user(name: &str) -> Result<UserId, AdminError> {
    UserId::new(name).map_err(BadName::into)
}

fn device(name: &str) -> Result<DeviceName, AdminError> {
    DeviceName::new(name).map_err(BadName::into)
}

fn phone_number(text: &str) -> Result<PhoneNumber, Problem> {
    PhoneNumber::parse(text).map_err(|bad| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, bad.to_string()))
}

/// A password is shown once, and no cache may keep it.
fn created(credentials: Credentials) -> impl IntoResponse {
    (StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(credentials))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower::ServiceExt as _;

    use super::*;

    async fn answer(request: Request) -> (StatusCode, Response) {
        let token = AdminToken::new("open sesame");
        let echo = |body: Result<Json<NewDevice>, JsonRejection>| async {
            body.map(|new| new.0.device).map_err(Problem::from)
        };
        let forever = || std::future::pending::<()>();
        let routes = Router::new().route("/echo", post(echo)).route("/forever", get(forever));
        let routes = dress(guard(routes, token).route("/healthz", get(health)));
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
