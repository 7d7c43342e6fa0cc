//! An S3 server that was not written here: moto, of PyPI. It believes every signature, and wants parts of 5 MiB unless told.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::depot::{announcement, complete, content, curl, get, put, put_all, send, upload};
use crate::chat::web::Web;
use crate::clients::python;
use crate::server::Server;

/// It believes every one.
pub(crate) const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "access"), ("AWS_SECRET_ACCESS_KEY", "secret")];

/// Killed when dropped.
pub(crate) struct Moto {
    process: Child,
    pub(crate) url: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Moto {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(python());
        command.args(["-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]);
        command.env("S3_UPLOAD_PART_MIN_SIZE", "1024").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("python starts");
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let url = lines.find_map(|line| line.split_once("Running on ").map(|(_, url)| url.trim().to_owned()));
        // What it logs further must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let moto = Self { process, url: url.expect("it runs; `make test` installs it") };
        assert_eq!(moto.ask("PUT", "/files").0, 200);
        moto
    }

    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let link = json!({ "method": method, "url": format!("{}{path}", self.url), "headers": {} });
        let (status, body) = curl(&link, &[]);
        (status, String::from_utf8(body).expect("text"))
    }

    /// Objects, and uploads in parts that are not finished.
    pub(crate) fn holds(&self) -> (usize, usize) {
        let count = |path, what| self.ask("GET", path).1.matches(what).count();
        (count("/files?list-type=2", "<Contents>"), count("/files?uploads", "<Upload>"))
    }
}

#[test]
fn another_s3_server_serves_as_well() {
    let moto = Moto::start();
    let settings = [
        ("media.endpoint", &moto.url[..]),
        ("media.bucket", "files"),
        ("media.multipart_bytes", "4096"),
        ("media.grace_s", "0"),
    ];
    let mut server = Server::within(&KEYS, &settings);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let (small, large) = (content(3_000, 1), content(10_000, 2));
    let web = Web::of(&server, &alice);
    let media = upload(&web, &small);

    let begun = web.done("POST", "/media", Some(announcement(&large)));
    assert_eq!(put(&begun["parts"][1]["link"], &large[4_096..8_192]), 200);
    server.kill_and_start();
    let web = Web::of(&server, &alice);
    let resumed = web.done("POST", "/media", Some(announcement(&large)));
    assert_eq!((&resumed["media"], &resumed["stored"]), (&begun["media"], &json!([2])));
    put_all(&resumed, &large);
    let film = complete(&web, &resumed);
    let (conversation, sequence) = send(&web, "bob", &film, json!({}));
    let (_, other) = send(&web, "bob", &media, json!({}));
    for (media, bytes) in [(&media, &small), (&film, &large)] {
        let link = Web::of(&server, &bob).done("GET", &format!("/media/{media}/download"), None);
        assert_eq!(get(&link), (200, bytes.clone()));
    }

    // Whatever it believes of a link: what is there is compared with what was announced.
    let wrong = web.done("POST", "/media", Some(announcement(&content(9_000, 3))));
    put_all(&wrong, &content(9_000, 4));
    let path = format!("/media/{}", wrong["media"].as_str().expect("a name"));
    web.refused("POST", &format!("{path}/complete"), None, 422);
    web.refused("GET", &path, None, 404);
    let given_up = web.done("POST", "/media", Some(announcement(&content(9_000, 5))));
    web.done("DELETE", &format!("/media/{}", given_up["media"].as_str().expect("a name")), None);
    crate::until("what is not wanted goes", || moto.holds() == (2, 0));
    for sequence in [sequence, other] {
        web.done("DELETE", &format!("/conversations/{conversation}/messages/{sequence}"), None);
    }
    crate::until("all of it goes", || moto.holds() == (0, 0));
}
