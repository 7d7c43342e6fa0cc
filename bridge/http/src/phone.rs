//! Phone numbers over HTTP: who has them, and messages to whoever does. And messages to users by name, since that is the
//! same but for the recipient.

use axum::Json;
use axum::response::IntoResponse;
use godwit_schemas::client::{self, request::Call};
use serde::Deserialize;
use serde_json::json;

use super::acting_user::{ActingUser, Body, JsonAnswer};
use super::chat::NewMessage;
use super::fields::senseless;
use super::hex::hex;
use super::problem::Problem;
use super::view;

pub(super) async fn send(actor: ActingUser, body: Body<NewMessage>) -> Result<impl IntoResponse, Problem> {
    let mut new = body?.0;
    let to = new.recipient()?.ok_or_else(|| senseless("neither `user` nor `phone`"))?;
    actor.send(new.to(to)?).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hashes {
    sha256: Vec<view::Hash>,
}

pub(super) async fn look_up(actor: ActingUser, body: Body<Hashes>) -> JsonAnswer {
    let sha256 = body?.0.sha256.into_iter().map(|hash| hash.0).collect();
    let response = actor.call(Call::LookUpPhones(client::LookUpPhones { sha256 })).await?;
    let found = response
        .found
        .iter()
        .map(|found| json!({ "sha256": hex(&found.sha256), "user": found.user, "waiting": found.waiting }));
    Ok(Json(json!({ "found": found.collect::<Vec<_>>() })))
}
