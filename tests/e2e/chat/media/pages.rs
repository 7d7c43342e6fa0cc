//! Pages in browsers use links: those of the origins that may come over WebSocket.

use serde_json::json;

use super::depot::{announcement, complete, content, curl, send};
use crate::chat::web::Web;
use crate::server::Server;

const PAGE: &str = "https://chat.example.org";

/// Status, and the head of the answer.
fn ask(link: &serde_json::Value, method: &str, headers: &[&str], more: &[&str]) -> (u16, String) {
    let link = json!({ "method": method, "url": link["url"], "headers": {} });
    let headers = headers.iter().flat_map(|header| ["--header", header]);
    let arguments: Vec<_> = headers.chain(more.iter().copied()).chain(["--include"]).collect();
    let (status, answer) = curl(&link, &arguments);
    let text = String::from_utf8_lossy(&answer).to_lowercase();
    // After "100 continue", if there was one.
    let head = text.split("\r\n\r\n").filter(|part| part.starts_with("http/")).last();
    (status, head.unwrap_or_default().to_owned())
}

#[test]
fn pages_of_listed_origins_use_links() {
    let server = Server::with(&[("mqtt.websocket_origins", PAGE)]);
    let web = Web::of(&server, &server.add_user("alice", "phone"));
    server.add_user("bob", "phone");
    let photo = content(3_000, 1);
    let upload = web.done("POST", "/media", Some(announcement(&photo)));
    let link = &upload["link"];
    let origin = format!("origin: {PAGE}");
    let wanted = ["access-control-request-method: PUT", "access-control-request-headers: content-type"];

    let (status, head) = ask(link, "OPTIONS", &[&[&origin[..]][..], &wanted].concat(), &[]);
    assert_eq!(status, 204);
    assert!(head.contains(&format!("access-control-allow-origin: {PAGE}")), "{head}");
    assert!(head.contains("access-control-allow-headers: content-type"), "{head}");
    let (status, head) = ask(link, "OPTIONS", &[&["origin: https://evil.example.org"][..], &wanted].concat(), &[]);
    assert!(status == 403 && !head.contains("access-control"), "{head}");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("photo");
    std::fs::write(&file, &photo).expect("written");
    let file = ["--upload-file", file.to_str().expect("text")];
    let signed = link["headers"].as_object().expect("headers").iter();
    let signed: Vec<_> = signed.map(|(name, value)| format!("{name}: {}", value.as_str().expect("text"))).collect();
    let headers: Vec<_> = signed.iter().map(String::as_str).chain([&origin[..]]).collect();
    let (status, head) = ask(link, "PUT", &headers, &file);
    assert_eq!(status, 200, "{head}");
    let exposed = head.lines().find(|line| line.starts_with("access-control-expose-headers:"));
    assert!(head.contains("etag: ") && exposed.is_some_and(|line| line.contains("etag")), "{head}");
    let media = complete(&web, &upload);
    send(&web, "bob", &media, json!({}));

    let link = web.done("GET", &format!("/media/{media}/download"), None);
    let (status, head) = ask(&link, "GET", &[&origin, "range: bytes=0-9"], &[]);
    assert!(status == 206 && head.contains(&format!("access-control-allow-origin: {PAGE}")), "{head}");
    // A program is no page, and a page of another origin may not read what it gets.
    let (status, head) = ask(&link, "GET", &["origin: https://evil.example.org", "range: bytes=0-9"], &[]);
    assert!(status == 206 && !head.contains("access-control"), "{head}");
    // The origin opens nothing by itself.
    let bare = json!({ "url": link["url"].as_str().expect("a URL").split('?').next() });
    assert_eq!(ask(&bare, "GET", &[&origin, "range: bytes=0-9"], &[]).0, 403);
}
