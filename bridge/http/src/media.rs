//! Files over HTTP: the calls of media.proto. The bytes themselves never come this way.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use godwit_schemas::client::{self, request::Call};
use serde::Deserialize;
use serde_json::{Value, json};

use super::acting_user::{ActingUser, At, Body, JsonAnswer};
use super::problem::Problem;
use super::view::{Base64Bytes, JsonInteger};

/// A file of a message that is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFile {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    thumbnail: Base64Bytes,
    #[serde(default)]
    key: Base64Bytes,
}

impl From<NewFile> for client::Media {
    fn from(file: NewFile) -> Self {
        let NewFile { id, name, thumbnail, key } = file;
        Self { id, name, thumbnail: thumbnail.0, key: key.0, ..Self::default() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadBody {
    sha256: Base64Bytes,
    size: JsonInteger,
    content_type: String,
    #[serde(default)]
    conversation: JsonInteger,
}

pub(super) async fn create(actor: ActingUser, body: Body<UploadBody>) -> Result<impl IntoResponse, Problem> {
    let UploadBody { sha256, size, content_type, conversation } = body?.0;
    let (size, conversation) = (size.get(), conversation.get());
    let call = client::CreateUpload { sha256: sha256.0, size, content_type, conversation };
    let response = actor.call(Call::CreateUpload(call)).await?;
    Ok((StatusCode::CREATED, Json(upload(&response.upload.unwrap_or_default()))))
}

#[derive(Deserialize)]
pub(super) struct AtMedia {
    media: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadQuery {
    #[serde(default)]
    after: u32,
}

pub(super) async fn resume(
    actor: ActingUser,
    at: At<AtMedia>,
    page: Result<Query<UploadQuery>, QueryRejection>,
) -> JsonAnswer {
    let (Path(AtMedia { media }), Query(UploadQuery { after })) = (at?, page?);
    let response = actor.call(Call::GetUpload(client::GetUpload { media, after })).await?;
    Ok(Json(upload(&response.upload.unwrap_or_default())))
}

pub(super) async fn complete(actor: ActingUser, at: At<AtMedia>) -> JsonAnswer {
    let response = actor.call(Call::CompleteUpload(client::CompleteUpload { media: at?.0.media })).await?;
    Ok(Json(upload(&response.upload.unwrap_or_default())))
}

pub(super) async fn discard(actor: ActingUser, at: At<AtMedia>) -> Result<StatusCode, Problem> {
    actor.done(Call::DiscardUpload(client::DiscardUpload { media: at?.0.media })).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DownloadQuery {
    #[serde(default)]
    conversation: JsonInteger,
}

pub(super) async fn download(
    actor: ActingUser,
    at: At<AtMedia>,
    within: Result<Query<DownloadQuery>, QueryRejection>,
) -> JsonAnswer {
    let (Path(AtMedia { media }), Query(DownloadQuery { conversation })) = (at?, within?);
    let conversation = conversation.get();
    let response = actor.call(Call::DownloadLink(client::DownloadLink { media, conversation })).await?;
    Ok(Json(link(&response.download.unwrap_or_default())))
}

fn upload(upload: &client::Upload) -> Value {
    let part = |part: &client::PartLink| json!({ "part": part.part, "link": part.link.as_ref().map(link) });
    json!({
        "media": upload.media,
        "complete": upload.complete,
        "link": upload.link.as_ref().map(link),
        "part_bytes": upload.part_bytes,
        "stored": upload.stored,
        "parts": upload.parts.iter().map(part).collect::<Vec<_>>(),
    })
}

fn link(link: &client::Link) -> Value {
    let headers = link.headers.iter().map(|header| (header.name.clone(), header.value.clone().into()));
    json!({
        "method": link.method,
        "url": link.url,
        "headers": headers.collect::<serde_json::Map<_, _>>(),
        "expires_in_s": link.expires_in_s,
    })
}
