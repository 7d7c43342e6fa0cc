//! Fields of requests that are more than their JSON type: names and phone numbers, and fields that do not go together.

use axum::http::StatusCode;
use godwit_bridge::admin::AdminError;
use godwit_schemas::ids::{BadName, DeviceName, UserId};
use godwit_schemas::phone::PhoneNumber;

use super::problem::Problem;

pub(super) fn user(name: &str) -> Result<UserId, AdminError> {
    UserId::new(name).map_err(BadName::into)
}

pub(super) fn device(name: &str) -> Result<DeviceName, AdminError> {
    DeviceName::new(name).map_err(BadName::into)
}

pub(super) fn phone_number(text: &str) -> Result<PhoneNumber, Problem> {
    PhoneNumber::parse(text).map_err(|bad| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, bad.to_string()))
}

pub(super) fn bad_name(error: BadName) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
}

/// What is in a body does not go together.
pub(super) fn senseless(detail: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}
