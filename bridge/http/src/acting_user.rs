//! The extractor of the routes of users: in whose name a request acts, read from its path and its credentials, before anything
//! of its body is read. What it says is asked of the user's lane, which checks the credentials.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{FromRequestParts, Path, RawPathParams};
use axum::http::StatusCode;
use axum::http::request::Parts;
use godwit_bridge::chat::{Chat, Principal, ShuttingDown};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::UserId;
use godwit_schemas::reason::Reason;
use serde_json::{Value, json};

use super::connection_slots::SlotHandle;
use super::credentials::{AuthMethods, RequestCredentials};
use super::fields::bad_name;
use super::idempotency::IdempotencyKey;
use super::problem::Problem;
use super::{epoch, view};

/// What the routes need.
#[derive(Clone)]
pub(super) struct RouteContext {
    pub(super) chat: Chat,
    pub(super) keys: AuthMethods,
}

/// The user in whose name a request acts, if it may: the `{user}` of the path.
pub(super) struct ActingUser {
    pub(super) user: UserId,
    pub(super) context: RouteContext,
    pub(super) credentials: RequestCredentials,
    key: IdempotencyKey,
    /// With which the caller reckons; 0: it does not say.
    epoch: u64,
    slot_handle: Option<SlotHandle>,
}

impl FromRequestParts<RouteContext> for ActingUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &RouteContext) -> Result<Self, Problem> {
        let path = RawPathParams::from_request_parts(parts, context).await;
        let path = path.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
        let name = path.iter().find(|(name, _)| *name == "user").map(|(_, user)| user);
        let user = UserId::new(name.unwrap_or_default()).map_err(bad_name)?;
        let credentials = context.keys.read(parts, &user)?;
        let key = IdempotencyKey::read(&parts.headers)?;
        let epoch = epoch::believed_epoch(&parts.headers)?;
        let slot_handle = parts.extensions.get().cloned();
        Ok(Self { user, context: context.clone(), credentials, key, epoch, slot_handle })
    }
}

impl ActingUser {
    pub(super) async fn call(&self, call: Call) -> Result<client::Response, Problem> {
        let answer = self.context.chat.call(self.user.clone(), self.credentials.who(), call).await;
        self.is_known(&answer);
        answered(answer)
    }

    /// Its connection is no stranger's any more, if the credentials were good: they were looked at before anything else but
    /// whether there is time.
    fn is_known(&self, answer: &Result<client::Response, ShuttingDown>) {
        let Some(slot_handle) = &self.slot_handle else { return };
        let reason = answer.as_ref().map_or(Reason::SERVER_BUSY, |answer| Reason::from_u32(answer.reason));
        match self.credentials.who() {
            _ if matches!(reason, Reason::BAD_USER_NAME_OR_PASSWORD | Reason::SERVER_BUSY) => {}
            Principal::Administrator | Principal::Operator(_) => slot_handle.is_administrator(),
            _ => slot_handle.is_user(&self.user),
        }
    }

    /// Sends a message; it is on disk when this returns where it stands. 201: it is new; 200: it was sent before.
    pub(super) async fn send(self, message: client::Send) -> Result<(StatusCode, Json<Value>), Problem> {
        let message = client::Send { epoch: self.epoch, ..self.key.count(message) };
        let answer = self.context.chat.send(self.user.clone(), self.credentials.who(), message).await;
        self.is_known(&answer);
        let response = answered(answer)?;
        let mut place = json!({ "conversation": response.conversation, "sequence": view::next(response.sequence) });
        if !response.repeated {
            return Ok((StatusCode::CREATED, Json(place)));
        }
        place["repeated"] = true.into();
        place["last_client_sequence"] = response.last_client_sequence.into();
        Ok((StatusCode::OK, Json(place)))
    }

    pub(super) async fn done(self, call: Call) -> Result<StatusCode, Problem> {
        self.call(call).await.map(|_| StatusCode::NO_CONTENT)
    }
}

pub(super) fn answered(answer: Result<client::Response, ShuttingDown>) -> Result<client::Response, Problem> {
    let response = answer.map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    if response.reason == 0 { Ok(response) } else { Err(Problem::of_reason(response.reason, response.text)) }
}

pub(super) type JsonAnswer = Result<Json<Value>, Problem>;
pub(super) type Body<T> = Result<Json<T>, JsonRejection>;
pub(super) type At<T> = Result<Path<T>, PathRejection>;
