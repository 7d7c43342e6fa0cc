//! A device's new password over HTTP.

use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use godwit_bridge::admin::DeviceCredentials;
use godwit_schemas::client::{self, request::Call};
use serde::Deserialize;

use super::acting_user::ActingUser;
use super::problem::Problem;

#[derive(Deserialize)]
pub(super) struct OfDevice {
    device: String,
}

pub(super) async fn renew(
    actor: ActingUser,
    at: Result<Path<OfDevice>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let device = at?.0.device;
    let call = client::RenewPassword { device: device.clone() };
    let password = actor.call(Call::RenewPassword(call)).await?.password;
    Ok(created(DeviceCredentials { user: actor.user.to_string(), device, password }))
}

/// A password is shown once, and no cache may keep it.
pub(super) fn created(credentials: DeviceCredentials) -> impl IntoResponse {
    (StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(credentials))
}
