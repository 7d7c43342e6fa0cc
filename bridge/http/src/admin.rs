//! `/v1/admin/users`: operators' commands. Each answer follows when the command is on disk.

use std::convert::Infallible;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use godwit_bridge::admin::{Admin, UserListing};
use godwit_bridge::audit::Actor;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::token::TokenHolder;
use super::{fields, password};

/// Most users of a page.
pub(super) const USERS_MAX: usize = 1_000;

/// Operators' commands in the name of whoever has sent the request.
pub(super) struct Operator(pub(super) Admin);

impl FromRequestParts<Admin> for Operator {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Infallible> {
        let by = match parts.extensions.get() {
            Some(TokenHolder::Operator { name, .. }) => Actor::Operator(*name),
            Some(TokenHolder::Administrator) | None => Actor::Administrator,
        };
        Ok(Self(admin.clone().by(by)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserQuery {
    pub(super) after: Option<String>,
    pub(super) limit: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct UserList {
    users: Vec<UserListing>,
    next: Option<String>,
}

pub(super) async fn list_users(
    Operator(admin): Operator,
    page: Result<Query<UserQuery>, QueryRejection>,
) -> Result<Json<UserList>, Problem> {
    let Query(UserQuery { after, limit }) = page?;
    let limit = limit.unwrap_or(USERS_MAX);
    if !(1..=USERS_MAX).contains(&limit) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, format!("a page has 1 to {USERS_MAX} users")));
    }
    let after = after.map(|name| fields::user(&name)).transpose()?;
    let users = admin.users(after, limit).await?;
    let next = users.last().filter(|_| users.len() == limit).map(|last| last.user.clone());
    Ok(Json(UserList { users, next }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    user: Option<String>,
    device: String,
    phone: Option<String>,
}

pub(super) async fn add_user(
    Operator(admin): Operator,
    body: Result<Json<NewUser>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(new) = body?;
    let (name, device) = (new.user.as_deref().map(fields::user).transpose()?, fields::device(&new.device)?);
    Ok(password::created(match (name, new.phone) {
        (name, Some(number)) => admin.register(name, device, fields::phone_number(&number)?).await?,
        (Some(name), None) => admin.add_user(name, device).await?,
        (None, None) => return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "neither user nor phone")),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPhone {
    phone: String,
}

pub(super) async fn set_phone(
    Operator(admin): Operator,
    Path(name): Path<String>,
    body: Result<Json<NewPhone>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let number = fields::phone_number(&body?.0.phone)?;
    admin.set_phone(fields::user(&name)?, Some(number)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove_phone(Operator(admin): Operator, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    admin.set_phone(fields::user(&name)?, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn show_user(
    Operator(admin): Operator,
    Path(name): Path<String>,
) -> Result<Json<UserListing>, Problem> {
    Ok(Json(admin.user(fields::user(&name)?).await?))
}

pub(super) async fn remove_user(Operator(admin): Operator, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    admin.remove_user(fields::user(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDevice {
    pub(super) device: String,
}

pub(super) async fn add_device(
    Operator(admin): Operator,
    Path(name): Path<String>,
    body: Result<Json<NewDevice>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(new) = body?;
    Ok(password::created(admin.add_device(fields::user(&name)?, fields::device(&new.device)?).await?))
}

pub(super) async fn remove_device(
    Operator(admin): Operator,
    Path((of, name)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    admin.remove_device(fields::user(&of)?, fields::device(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
