//! Refusals as problem details (RFC 9457), the one shape of every error of the HTTP API.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use godwit_bridge::admin::AdminError;
use godwit_bridge::password;
use godwit_schemas::reason::Reason;
use serde_json::json;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    retry_after_s: Option<u32>,
    /// What operators are told and clients are not.
    why: Option<Why>,
}

/// Why credentials are not good: an extension of the response, for the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Why(pub(super) &'static str);

impl Problem {
    /// A refusal; `detail` is for the person who sent the request.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after_s: None, why: None }
    }
}

impl Problem {
    /// A refusal by a lane: an MQTT 5 reason code, and a sentence.
    pub(super) fn of_reason(reason: u32, text: String) -> Self {
        let status = match Reason::from_u32(reason) {
            Reason::BAD_USER_NAME_OR_PASSWORD => {
                return match password::as_why(&text) {
                    Some(why) => Self::unauthorized(password::NOT_GOOD).because(why),
                    None => Self::unauthorized(text),
                };
            }
            // The user's own requests wait: one of them is through in a moment.
            Reason::MESSAGE_RATE_TOO_HIGH => return Self::too_often(text, 1),
            Reason::NOT_AUTHORIZED => StatusCode::FORBIDDEN,
            Reason::TOPIC_NAME_INVALID => StatusCode::NOT_FOUND,
            Reason::SERVER_BUSY => StatusCode::SERVICE_UNAVAILABLE,
            Reason::QUOTA_EXCEEDED => StatusCode::CONFLICT,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, text)
    }

    /// What is refused now may be worth another try after so many seconds.
    pub(super) fn for_now(status: StatusCode, detail: impl Into<String>, wait_s: u32) -> Self {
        Self { retry_after_s: Some(wait_s), ..Self::new(status, detail) }
    }

    /// As [`Self::for_now`], since the client asks for too much.
    pub(super) fn too_often(detail: impl Into<String>, wait_s: u32) -> Self {
        Self::for_now(StatusCode::TOO_MANY_REQUESTS, detail, wait_s)
    }

    /// Another try is worth it in a moment.
    pub(super) fn is_for_now(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// Credentials are missing or wrong.
    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// For the audit alone.
    pub(super) fn because(self, why: &'static str) -> Self {
        Self { why: Some(Why(why)), ..self }
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        // A path that names nothing there could be: numbers that are none.
        Self::new(StatusCode::NOT_FOUND, rejection.body_text())
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let status = match error {
            AdminError::BadName(_) => StatusCode::UNPROCESSABLE_ENTITY,
            AdminError::NoUser(_) | AdminError::NoDevice(..) | AdminError::NoConversation(_) => StatusCode::NOT_FOUND,
            AdminError::UserExists(_)
            | AdminError::BeingRemoved(_)
            | AdminError::DeviceExists(..)
            | AdminError::PhoneTaken
            | AdminError::InboxFull(_)
            | AdminError::TooManyDevices(..) => StatusCode::CONFLICT,
            AdminError::NoRoom => StatusCode::INSUFFICIENT_STORAGE,
            AdminError::NoRandomness(_) | AdminError::PhoneBusy | AdminError::ShuttingDown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self::new(status, error.to_string())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Refused");
        let body = json!({ "title": title, "status": self.status.as_u16(), "detail": self.detail });
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            for challenge in ["Basic realm=\"godwit\"", "Bearer realm=\"godwit\""] {
                response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
        }
        if let Some(why) = self.why {
            response.extensions_mut().insert(why);
        }
        if let Some(wait_s) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, wait_s.into());
        }
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::super::openapi::OF_LANES;
    use godwit_schemas::ids::{DeviceName, UserId};

    use super::*;

    #[test]
    fn what_a_lane_refuses_is_described() {
        for reason in 0..=0xFF {
            let status = Problem::of_reason(reason, String::new()).status.as_u16();
            assert!(OF_LANES.contains(&status), "reason {reason:#x}: {status}");
        }
    }

    #[test]
    fn each_refusal_has_its_status() {
        let user = || UserId::new("alice").expect("a name");
        let device = DeviceName::new("phone").expect("a name");
        let check = |error: AdminError, status| {
            let text = error.to_string();
            assert_eq!(Problem::from(error), Problem::new(status, text));
        };
        check(AdminError::NoUser(user()), StatusCode::NOT_FOUND);
        check(AdminError::NoDevice(user(), device.clone()), StatusCode::NOT_FOUND);
        check(AdminError::UserExists(user()), StatusCode::CONFLICT);
        check(AdminError::BeingRemoved(user()), StatusCode::CONFLICT);
        check(AdminError::DeviceExists(user(), device), StatusCode::CONFLICT);
        check(AdminError::TooManyDevices(user(), 16), StatusCode::CONFLICT);
        check(AdminError::PhoneTaken, StatusCode::CONFLICT);
        check(AdminError::PhoneBusy, StatusCode::SERVICE_UNAVAILABLE);
        check(AdminError::InboxFull(user()), StatusCode::CONFLICT);
        check(AdminError::NoRoom, StatusCode::INSUFFICIENT_STORAGE);
        check(AdminError::ShuttingDown, StatusCode::SERVICE_UNAVAILABLE);
        let bad = UserId::new("").expect_err("no name");
        check(AdminError::BadName(bad), StatusCode::UNPROCESSABLE_ENTITY);
    }
}
