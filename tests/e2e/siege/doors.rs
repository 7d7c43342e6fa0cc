//! Connections over HTTP that take places and time: half a head, a body byte by byte, an answer that is not read.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::mallory::hold;
use super::{besiege, server, size};
use crate::chat::media::depot::{announcement, content, put_all, upload};
use crate::chat::web::Web;

#[test]
fn half_requests_hold_the_http_api() {
    let server = server(&[]);
    let [user, _] = ["carol", "dave"].map(|user| server.add_user(user, "phone"));
    let web = Web::of(&server, &user);
    besiege("600 half requests over HTTP", &server, || {
        let count = size(300, 60);
        let heads = hold(server.http(), count, b"GET /v1/users/carol/conversations HTTP/1.1\r\nHo");
        let body = b"POST /v1/registrations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{";
        let mut bodies = hold(server.http(), count, body);
        for _ in 0..size(20, 3) {
            for stream in &mut bodies {
                _ = stream.write_all(b" ");
            }
            let (status, _) = web.ask("GET", "/conversations", None);
            assert_eq!(status, 200, "others are served");
            thread::sleep(Duration::from_millis(size(200, 20) as u64));
        }
        drop((heads, bodies));
    });
}

#[test]
fn one_link_on_many_slow_connections_holds_the_object_store() {
    let server = server(&[]);
    let [carol, mallory] = ["carol", "mallory"].map(|user| server.add_user(user, "phone"));
    let (web, mallory) = (Web::of(&server, &carol), Web::of(&server, &mallory));
    let photo = content(100_000, 1);
    let announced = mallory.done("POST", "/media", Some(announcement(&content(100_000, 2))));
    let link = &announced["link"];
    let url = link["url"].as_str().expect("a URL");
    let path = url.split_once("//").and_then(|(_, rest)| rest.split_once('/')).expect("a path").1;
    let headers = link["headers"].as_object().into_iter().flatten();
    let headers: String =
        headers.map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap_or_default())).collect();
    let begin = format!("PUT /{path} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Length: 100000\r\n\r\nx", server.media());
    besiege("one link on 256 slow connections", &server, || {
        let mut slow = hold(server.media(), size(256, 64), begin.as_bytes());
        for n in 0..size(10, 2) {
            for stream in &mut slow {
                _ = stream.write_all(b"x");
            }
            let media = upload(&web, &content(50_000, 10 + n as u32));
            assert!(!media.is_empty());
        }
    });
    // Who was announced still gets through by the same link when the slow ones are gone.
    let mine: Value = web.done("POST", "/media", Some(announcement(&photo)));
    put_all(&mine, &photo);
}
