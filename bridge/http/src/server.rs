//! Which server this is, and its epoch: how long its memory has gone on without a break.

use axum::Json;
use godwit_schemas::client::{self, request::Call};
use serde_json::json;

use super::acting_user::{ActingUser, JsonAnswer};

pub(super) async fn show(actor: ActingUser) -> JsonAnswer {
    let response = actor.call(Call::GetServer(client::GetServer {})).await?;
    let server = response.server.unwrap_or_default();
    let encryption = match server.encryption() {
        client::Encryption::Off => "off",
        client::Encryption::Allowed => "allowed",
        client::Encryption::Required => "required",
    };
    let client::Server { server, epoch, numbers_above, .. } = server;
    let (server, epoch) = (hex(server), hex(epoch));
    Ok(Json(json!({ "server": server, "epoch": epoch, "numbers_above": numbers_above, "encryption": encryption })))
}

/// As MQTT's CONNACK has it.
fn hex(number: u64) -> String {
    format!("{number:016x}")
}
