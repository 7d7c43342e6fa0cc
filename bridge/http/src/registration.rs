//! Registration over HTTP: open to everybody, so bounded in what it reads, and limited (`registration::limits`).

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use godwit_bridge::registration::{Registration, RegistrationRefusal};
use serde::Deserialize;

use super::caller::ClientAddress;
use super::fields::{device, phone_number};
use super::password::created;
use super::problem::Problem;

/// A number, a code and a name.
pub(super) const BODY_BYTES_MAX: usize = 1_024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Applicant {
    phone: String,
}

/// Answers the same whether the number is registered or not.
pub(super) async fn send_code(
    State(registration): State<Option<Registration>>,
    ClientAddress(from): ClientAddress,
    body: Result<Json<Applicant>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let number = phone_number(&body?.0.phone)?;
    switched_on(registration)?.send_code(number, from).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proof {
    phone: String,
    code: String,
    device: String,
}

pub(super) async fn verify(
    State(registration): State<Option<Registration>>,
    ClientAddress(from): ClientAddress,
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

impl From<RegistrationRefusal> for Problem {
    fn from(refused: RegistrationRefusal) -> Self {
        let text = refused.to_string();
        match refused {
            RegistrationRefusal::TooOften { wait_s } => Self::too_often(text, wait_s),
            RegistrationRefusal::WrongCode => Self::new(StatusCode::FORBIDDEN, text),
            RegistrationRefusal::Busy | RegistrationRefusal::NoRandomness(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
            }
            RegistrationRefusal::Account(error) => error.into(),
        }
    }
}
