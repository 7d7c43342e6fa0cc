//! A device's new password over HTTP.

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::IntoResponse;
use axum::routing::post;
use godwit_schemas::client::{self, request::Call};
use serde::Deserialize;

use super::chat::{Actor, Context};
use super::created;
use super::problem::Problem;
use crate::admin::Credentials;

pub(super) fn routes() -> Router<Context> {
    Router::new().route("/v1/users/{user}/devices/{device}/password", post(renew))
}

#[derive(Deserialize)]
struct OfDevice {
    device: String,
}

async fn renew(actor: Actor, at: Result<Path<OfDevice>, PathRejection>) -> Result<impl IntoResponse, Problem> {
    let device = at?.0.device;
    let call = client::RenewPassword { device: device.clone() };
    let password = actor.call(Call::RenewPassword(call)).await?.password;
    Ok(created(Credentials { user: actor.user.to_string(), device, password }))
}
