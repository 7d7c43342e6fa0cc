//! Phone numbers over HTTP: who has them, and messages to whoever does. And messages to users by name, since that is the
//! same but for the recipient.

use axum::extract::rejection::JsonRejection;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use godwit_schemas::client::{self, request::Call};
use serde::Deserialize;
use serde_json::json;

use super::chat::{Actor, Answer, Body, Context};
use super::problem::Problem;
use super::view;

pub(super) fn routes() -> Router<Context> {
    Router::new().route("/v1/users/{user}/messages", post(send)).route("/v1/users/{user}/phones", post(look_up))
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Recipient {
    User(String),
    Phone(String),
}

#[derive(Deserialize)]
struct NewMessage {
    #[serde(flatten)]
    to: Recipient,
    body: view::Bytes,
    #[serde(default)]
    client_sequence: u64,
    #[serde(default)]
    expires_in_s: u32,
}

async fn send(actor: Actor, body: Result<Json<NewMessage>, JsonRejection>) -> Result<impl IntoResponse, Problem> {
    let Json(NewMessage { to, body, client_sequence, expires_in_s }) = body?;
    let to = match to {
        Recipient::User(user) => client::send::To::User(user),
        Recipient::Phone(number) => client::send::To::Phone(number),
    };
    let message = client::Send { to: Some(to), client_sequence, body: body.0, expires_in_s, ..Default::default() };
    actor.send(message).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hashes {
    sha256: Vec<view::Hash>,
}

async fn look_up(actor: Actor, body: Body<Hashes>) -> Answer {
    let sha256 = body?.0.sha256.into_iter().map(|hash| hash.0).collect();
    let response = actor.call(Call::LookUpPhones(client::LookUpPhones { sha256 })).await?;
    let found = response
        .found
        .iter()
        .map(|found| json!({ "sha256": view::hex(&found.sha256), "user": found.user, "waiting": found.waiting }));
    Ok(Json(json!({ "found": found.collect::<Vec<_>>() })))
}
