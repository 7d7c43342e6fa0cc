//! Registration over HTTP: open to everybody, so bounded in what it reads, and limited (`registration::limits`).

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;

use super::caller::Caller;
use super::problem::Problem;
use super::{created, device, phone_number};
use crate::registration::{Refused, Registration};

/// A number, a code and a name.
const BODY_BYTES_MAX: usize = 1_024;

/// `None`: people do not register by themselves.
pub(super) fn routes(registration: Option<Registration>) -> Router {
    Router::new()
        .route("/v1/registrations", post(send_code))
        .route("/v1/registrations/verify", post(verify))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(registration)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Applicant {
    phone: String,
}

/// Answers the same whether the number is registered or not.
async fn send_code(
    State(registration): State<Option<Registration>>,
    Caller(from): Caller,
    body: Result<Json<Applicant>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let number = phone_number(&body?.0.phone)?;
    switched_on(registration)?.send_code(number, from).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    phone: String,
    code: String,
    device: String,
}

async fn verify(
    State(registration): State<Option<Registration>>,
    Caller(from): Caller,
    body: Result<Json<Proof>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(Proof { phone, code, device: name }) = body?;
    let (number, name) = (phone_number(&phone)?, device(&name)?);
    Ok(created(switched_on(registration)?.register(number, code, name, from).await?))
}

fn switched_on(registration: Option<Registration>) -> Result<Registration, Problem> {
    let off = || Problem::new(StatusCode::NOT_FOUND, "nobody registers here by themselves (registration.enabled)");
    registration.ok_or_else(off)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let text = refused.to_string();
        match refused {
            Refused::TooOften { wait_s } => Self::too_often(text, wait_s),
            Refused::WrongCode => Self::new(StatusCode::FORBIDDEN, text),
            Refused::Busy | Refused::NoRandomness(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, text),
            Refused::Account(error) => error.into(),
        }
    }
}
