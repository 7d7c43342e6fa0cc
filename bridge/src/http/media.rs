//! Files over HTTP: the calls of media.proto. The bytes themselves never come this way.

use axum::Json;
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use godwit_schemas::client::{self, request::Call};
use serde::Deserialize;
use serde_json::{Value, json};

use super::chat::{Actor, Answer, At, Body, Context};
use super::problem::Problem;
use super::view::{Bytes, base64};

pub(super) fn routes() -> Router<Context> {
    const ONE: &str = "/v1/users/{user}/media/{media}";
    Router::new()
        .route("/v1/users/{user}/media", post(create))
        .route(ONE, get(resume).delete(discard))
        .route(&format!("{ONE}/complete"), post(complete))
        .route(&format!("{ONE}/download"), get(download))
}

/// A file of a message that is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFile {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    thumbnail: Bytes,
    #[serde(default)]
    key: Bytes,
}

impl From<NewFile> for client::Media {
    fn from(file: NewFile) -> Self {
        let NewFile { id, name, thumbnail, key } = file;
        Self { id, name, thumbnail: thumbnail.0, key: key.0, ..Self::default() }
    }
}

/// A file of a message.
pub(super) fn file(it: &client::Media) -> Value {
    json!({
        "id": it.id,
        "name": it.name,
        "thumbnail": base64(&it.thumbnail),
        "key": base64(&it.key),
        "size": it.size,
        "content_type": it.content_type,
        "sha256": base64(&it.sha256),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUpload {
    sha256: Bytes,
    size: u64,
    content_type: String,
    #[serde(default)]
    conversation: u64,
}

async fn create(actor: Actor, body: Body<NewUpload>) -> Result<impl IntoResponse, Problem> {
    let NewUpload { sha256, size, content_type, conversation } = body?.0;
    let call = client::CreateUpload { sha256: sha256.0, size, content_type, conversation };
    let response = actor.call(Call::CreateUpload(call)).await?;
    Ok((StatusCode::CREATED, Json(upload(&response.upload.unwrap_or_default()))))
}

#[derive(Deserialize)]
struct AtMedia {
    media: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: u32,
}

async fn resume(actor: Actor, at: At<AtMedia>, page: Result<Query<After>, QueryRejection>) -> Answer {
    let (Path(AtMedia { media }), Query(After { after })) = (at?, page?);
    let response = actor.call(Call::GetUpload(client::GetUpload { media, after })).await?;
    Ok(Json(upload(&response.upload.unwrap_or_default())))
}

async fn complete(actor: Actor, at: At<AtMedia>) -> Answer {
    let response = actor.call(Call::CompleteUpload(client::CompleteUpload { media: at?.0.media })).await?;
    Ok(Json(upload(&response.upload.unwrap_or_default())))
}

async fn discard(actor: Actor, at: At<AtMedia>) -> Result<StatusCode, Problem> {
    actor.done(Call::DiscardUpload(client::DiscardUpload { media: at?.0.media })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Within {
    #[serde(default)]
    conversation: u64,
}

async fn download(actor: Actor, at: At<AtMedia>, within: Result<Query<Within>, QueryRejection>) -> Answer {
    let (Path(AtMedia { media }), Query(Within { conversation })) = (at?, within?);
    let response = actor.call(Call::DownloadLink(client::DownloadLink { media, conversation })).await?;
    Ok(Json(link(&response.download.unwrap_or_default())))
}

fn upload(it: &client::Upload) -> Value {
    let part = |it: &client::PartLink| json!({ "part": it.part, "link": it.link.as_ref().map(link) });
    json!({
        "media": it.media,
        "complete": it.complete,
        "link": it.link.as_ref().map(link),
        "part_bytes": it.part_bytes,
        "stored": it.stored,
        "parts": it.parts.iter().map(part).collect::<Vec<_>>(),
    })
}

fn link(it: &client::Link) -> Value {
    let headers = it.headers.iter().map(|header| (header.name.clone(), header.value.clone().into()));
    json!({
        "method": it.method,
        "url": it.url,
        "headers": headers.collect::<serde_json::Map<_, _>>(),
        "expires_in_s": it.expires_in_s,
    })
}
