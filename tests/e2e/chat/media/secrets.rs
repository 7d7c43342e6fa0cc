//! What is secret stays out of the log, however much is logged.

use std::fs;

use serde_json::{Value, json};

use super::depot::{announcement, complete, content, get, put, put_all, send};
use super::moto::{KEYS, Moto};
use crate::chat::web::{Web, base64, notice};
use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Server};

fn signature(link: &Value) -> String {
    let (_, behind) = link["url"].as_str().expect("a URL").split_once("X-Amz-Signature=").expect("a signature");
    behind.split('&').next().expect("a signature").to_owned()
}

/// A file goes up and down, in one piece and in parts; returns what signatures there were.
fn use_links(server: &Server, account: &Account) -> Vec<String> {
    let web = Web::of(server, account);
    let mut links = Vec::new();
    for bytes in [content(900, 1), content(9_000, 2)] {
        let announced = web.done("POST", "/media", Some(announcement(&bytes)));
        links.push(announced["link"].clone());
        links.extend(announced["parts"].as_array().expect("parts").iter().map(|part| part["link"].clone()));
        put_all(&announced, &bytes);
        let media = complete(&web, &announced);
        // Who may see a message that refers to it has it.
        send(&web, &account.user, &media, json!({}));
        links.push(web.done("GET", &format!("/media/{media}/download"), None));
        let (status, body) = get(links.last().expect("a link"));
        assert_eq!((status, body), (200, bytes));
    }
    links.retain(|link| link.is_object());
    // Not quite right, and late: what it should have been is not told either.
    for link in &links {
        let mut bad = link.clone();
        bad["url"] = link["url"].as_str().expect("a URL").replace("X-Amz-Expires=", "X-Amz-Expires=1").into();
        put(&bad, b"x");
        get(&bad);
    }
    links.iter().map(signature).collect()
}

#[test]
fn the_log_at_its_loudest_tells_no_secret() {
    let moto = Moto::start();
    let elsewhere = [("media.endpoint", &moto.url[..]), ("media.bucket", "files")];
    for settings in [&[][..], &elsewhere] {
        let loud = [("log.level", "trace"), ("media.multipart_bytes", "1024")];
        let mut server = Server::within(&KEYS, &[&loud, settings].concat());
        let account = server.add_user("alice", "phone");
        let mut secrets = use_links(&server, &account);
        Client::connect(server.mqtt(), &account, Version::V5, RESUME).settle();
        let Account { user, device, password } = &account;
        secrets.extend([password.clone(), base64(&format!("{user}/{device}:{password}")), notice(&server).token]);
        secrets.extend(
            fs::read_to_string(server.data().join("media.keys"))
                .iter()
                .flat_map(|keys| keys.lines().nth(1))
                .map(str::to_owned),
        );
        assert_eq!(server.stop(), Some(0));
        let log = server.log();
        assert!(log.contains("DEBUG"), "it is loud");
        let told: Vec<_> = secrets.iter().filter(|secret| log.contains(*secret)).collect();
        assert!(secrets.len() > 10 && told.is_empty(), "{told:?}");
        assert!(!log.contains("X-Amz-Signature") && !log.contains("authorization"));
    }
}
