//! Requests by link, and a look at the embedded object store's folder.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use godwit_schemas::client;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::chat::web::{Web, base64};
use crate::server::Server;

/// Bytes that are like no others of the same length.
pub(crate) fn content(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503)) >> 13) as u8)
        .collect()
}

pub(crate) fn announcement(bytes: &[u8]) -> Value {
    let sha256 = STANDARD.encode(Sha256::digest(bytes));
    json!({ "sha256": sha256, "size": bytes.len(), "content_type": "image/jpeg" })
}

pub(crate) fn create_upload(bytes: &[u8]) -> client::CreateUpload {
    let (sha256, content_type) = (Sha256::digest(bytes).to_vec().into(), "image/jpeg".to_owned());
    client::CreateUpload { sha256, size: bytes.len() as u64, content_type, conversation: 0 }
}

/// Announces, uploads and completes; returns the name.
pub(crate) fn upload(web: &Web, bytes: &[u8]) -> String {
    let upload = web.done("POST", "/media", Some(announcement(bytes)));
    put_all(&upload, bytes);
    complete(web, &upload)
}

pub(crate) fn complete(web: &Web, upload: &Value) -> String {
    let media = upload["media"].as_str().expect("a name").to_owned();
    assert_eq!(web.done("POST", &format!("/media/{media}/complete"), None)["complete"], true);
    media
}

/// Uploads what there are links for.
pub(crate) fn put_all(upload: &Value, bytes: &[u8]) {
    if upload["link"].is_object() {
        assert_eq!(put(&upload["link"], bytes), 200);
    }
    for part in upload["parts"].as_array().expect("parts") {
        assert_eq!(put(&part["link"], part_of(upload, part, bytes)), 200);
    }
}

pub(crate) fn part_of<'a>(upload: &Value, part: &Value, bytes: &'a [u8]) -> &'a [u8] {
    let (number, size) = (part["part"].as_u64().expect("a number"), upload["part_bytes"].as_u64().expect("bytes"));
    let from = (number as usize - 1) * size as usize;
    &bytes[from..bytes.len().min(from + size as usize)]
}

/// A link as JSON, from the one in a response.
pub(crate) fn shown(link: &client::Link) -> Value {
    let headers = link.headers.iter().map(|header| (header.name.clone(), header.value.clone().into()));
    json!({ "method": link.method, "url": link.url, "headers": headers.collect::<serde_json::Map<_, _>>() })
}

/// PUT by link; returns the status.
pub(crate) fn put(link: &Value, bytes: &[u8]) -> u16 {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, bytes).expect("written");
    curl(link, &["--upload-file", file.to_str().expect("text")]).0
}

/// GET by link; returns status and body.
pub(crate) fn get(link: &Value) -> (u16, Vec<u8>) {
    curl(link, &[])
}

pub(crate) fn curl(link: &Value, arguments: &[&str]) -> (u16, Vec<u8>) {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--output",
        "-",
        "--write-out",
        "%{stderr}%{http_code}",
    ]);
    command.args(["--request", link["method"].as_str().expect("a method")]);
    for (name, value) in link["headers"].as_object().into_iter().flatten() {
        command.args(["--header", &format!("{name}: {}", value.as_str().expect("text"))]);
    }
    let output = command.args(arguments).arg(link["url"].as_str().expect("a URL")).output().expect("curl runs");
    let status = String::from_utf8_lossy(&output.stderr);
    (status.parse().unwrap_or_else(|_| panic!("curl: {status}")), output.stdout)
}

/// Opens the direct conversation and sends a message with this file; returns conversation and sequence.
pub(crate) fn send(web: &Web, to: &str, media: &str, more: Value) -> (u64, u64) {
    let id =
        web.done("POST", "/conversations", Some(json!({ "user": to })))["conversation"].as_u64().expect("a number");
    let mut message = json!({ "body": base64("look"), "media": [{ "id": media, "name": "pic.jpg" }] });
    message.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let sent = web.done("POST", &format!("/conversations/{id}/messages"), Some(message));
    (id, sent["sequence"].as_u64().expect("a place"))
}

/// Number of files below a folder of the embedded object store.
pub(crate) fn files(server: &Server, folder: &str) -> usize {
    fn count(folder: &Path) -> usize {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
        entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
    }
    count(&server.data().join("media").join(folder))
}
