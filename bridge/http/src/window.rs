//! The operator's window, over HTTP: who is connected, how inboxes are, who is in a conversation; and what can be done about it and
//! undone. What users write is not shown.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use godwit_bridge::admin::{ClientListing, ConversationReport, DeviceReport, InboxPage};
use godwit_schemas::ids::{ConversationId, Order};
use serde::{Deserialize, Serialize};

use super::acting_user::At;
use super::admin::{Operator, USERS_MAX, UserQuery};
use super::fields;
use super::problem::Problem;
use super::view::JsonInteger;

/// Most entries of a page of an inbox.
pub(super) const ENTRIES_MAX: usize = 1_000;

#[derive(Serialize)]
pub(super) struct ClientPage {
    clients: Vec<ClientListing>,
    next: Option<String>,
}

pub(super) async fn list_clients(
    Operator(admin): Operator,
    page: Result<Query<UserQuery>, QueryRejection>,
) -> Result<Json<ClientPage>, Problem> {
    let Query(UserQuery { after, limit }) = page?;
    let users_max = bounded(limit, USERS_MAX, "users")?;
    let after = after.map(|name| fields::user(&name)).transpose()?;
    let (clients, next) = admin.clients(after, users_max).await?;
    Ok(Json(ClientPage { clients, next }))
}

pub(super) async fn show_device(
    Operator(admin): Operator,
    Path((user, device)): Path<(String, String)>,
) -> Result<Json<DeviceReport>, Problem> {
    Ok(Json(admin.device(fields::user(&user)?, fields::device(&device)?).await?))
}

pub(super) async fn kick(
    Operator(admin): Operator,
    Path((user, device)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    admin.kick(fields::user(&user)?, fields::device(&device)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InboxQuery {
    #[serde(default)]
    after: JsonInteger,
    limit: Option<usize>,
}

pub(super) async fn show_inbox(
    Operator(admin): Operator,
    Path((user, device)): Path<(String, String)>,
    page: Result<Query<InboxQuery>, QueryRejection>,
) -> Result<Json<InboxPage>, Problem> {
    let Query(InboxQuery { after, limit }) = page?;
    let limit = bounded(limit, ENTRIES_MAX, "entries")?;
    let after = Order::new(after.get());
    Ok(Json(admin.inbox(fields::user(&user)?, fields::device(&device)?, after, limit).await?))
}

pub(super) async fn suspend(Operator(admin): Operator, Path(user): Path<String>) -> Result<StatusCode, Problem> {
    admin.set_suspended(fields::user(&user)?, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn resume(Operator(admin): Operator, Path(user): Path<String>) -> Result<StatusCode, Problem> {
    admin.set_suspended(fields::user(&user)?, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn show_conversation(
    Operator(admin): Operator,
    conversation: At<JsonInteger>,
) -> Result<Json<ConversationReport>, Problem> {
    Ok(Json(admin.conversation(ConversationId::new(conversation?.0.get())).await?))
}

/// How much a page is to have, within what it may.
fn bounded(limit: Option<usize>, most: usize, what: &str) -> Result<usize, Problem> {
    match limit.unwrap_or(most) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        _ => Err(Problem::new(StatusCode::BAD_REQUEST, format!("a page has 1 to {most} {what}"))),
    }
}
