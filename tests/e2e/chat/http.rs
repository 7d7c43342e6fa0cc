//! The HTTP API itself: who gets in, and what a request says.

use serde_json::json;

use super::phone::Phone;
use super::web::{Web, base64};
use crate::mqtt::Version;
use crate::server::{Account, Server};

#[test]
fn only_the_user_itself_and_administrators_get_in() {
    let server = Server::start();
    let (alice, _) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    Web::of(&server, &alice).done("GET", "/devices", None);
    Web::administrator(&server, "alice").done("GET", "/devices", None);
    Web::administrator(&server, "nobody").refused("GET", "/devices", None, 404);
    Web::administrator(&server, "..").refused("GET", "/devices", None, 422);
    let basic = |text: &str| format!("Basic {}", base64(text));
    let password = &alice.password;
    let cases = [
        ("alice", String::new(), 401),
        ("alice", "Bearer x".to_owned(), 401),
        ("alice", basic("alice/phone:wrong"), 401),
        ("alice", basic(&format!("alice/tv:{password}")), 401),
        ("alice", basic(&format!("alice/a b:{password}")), 401),
        ("alice", basic(&format!("alice:{password}")), 401),
        ("bob", basic(&format!("alice/phone:{password}")), 403),
        ("bob", basic(&format!("bob/phone:{password}")), 401),
    ];
    for (user, authorization, status) in cases {
        Web::new(&server, user, authorization.clone()).refused("GET", "/devices", None, status);
    }
    let web = Web::of(&server, &alice);
    web.refused("POST", "/conversations", Some(json!({ "user": "bob", "more": 1 })), 422);
    web.refused("GET", "/conversations?limit=x", None, 400);
    web.refused("PUT", "/conversations", None, 405);
}

#[test]
fn a_text_is_a_text_and_a_body_is_base64() {
    let server = Server::with(&[("retention.history", "forever")]);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let web = Web::of(&server, &alice);
    let sent = web.done("POST", "/messages", Some(json!({ "user": "bob", "text": "good" })));
    let messages = format!("/conversations/{}/messages", sent["conversation"]);
    let answer = json!({ "text": "gr\u{fc}n", "reply_to": sent["sequence"] });
    let second = web.done("POST", &messages, Some(answer));
    // Three bytes that are no text.
    web.done("POST", "/messages", Some(json!({ "user": "bob", "body": "good", "reply_to": sent["sequence"] })));
    web.done("PUT", &format!("{messages}/{}", second["sequence"]), Some(json!({ "text": "blau" })));
    let history = Web::of(&server, &bob).done("GET", &format!("{messages}?oldest_first=true"), None);
    let all = history["messages"].as_array().expect("messages");
    let told: Vec<_> = all.iter().filter(|it| it.get("body").is_some()).map(|it| (&it["body"], &it["text"])).collect();
    let (good, blue) = (json!(base64("good")), json!(base64("blau")));
    let expected = [(&good, &json!("good")), (&blue, &json!("blau")), (&json!("good"), &json!(null))];
    assert_eq!(told, expected);
    assert_eq!(all.iter().filter(|it| it["reply_to"] == sent["sequence"]).count(), 2);
    for (path, mut body) in [("/messages", json!({ "user": "bob" })), (&messages[..], json!({}))] {
        web.refused("POST", path, Some(body.clone()), 422);
        body["text"] = "a".into();
        body["body"] = "good".into();
        web.refused("POST", path, Some(body), 422);
    }
    web.refused("POST", &messages, Some(json!({ "text": "a", "user": "bob" })), 422);
    web.refused("POST", "/messages", Some(json!({ "text": "a" })), 422);
    web.refused("POST", "/messages", Some(json!({ "text": "a", "user": "bob", "phone": "+4930123456" })), 422);
    web.refused("POST", "/messages", Some(json!({ "text": "a", "user": "bob", "media": [{ "id": "none" }] })), 404);
}

#[test]
fn a_body_may_be_as_large_as_over_mqtt() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let web = Web::of(&server, &alice);
    let mut phone = Phone::connect(&server, &bob, Version::V5);
    web.done("POST", "/messages", Some(json!({ "user": "bob", "text": "hi" })));
    phone.change();
    phone.message();
    let most = 65_536;
    // The second one has six bytes of JSON each.
    for text in ["a".repeat(most), "\u{0}".repeat(most)] {
        for content in [json!({ "user": "bob", "text": text }), json!({ "user": "bob", "body": base64(&text) })] {
            web.done("POST", "/messages", Some(content));
            assert!(phone.message().body == text.as_bytes());
        }
        web.refused("POST", "/messages", Some(json!({ "user": "bob", "text": format!("{text}a") })), 409);
    }
    let hashes = |count: usize| json!({ "sha256": vec!["0".repeat(64); count] });
    web.done("POST", "/phones", Some(hashes(1_000)));
    web.refused("POST", "/phones", Some(hashes(1_001)), 422);
}

#[test]
fn a_path_is_decoded_once() {
    let server = Server::start();
    let web = |user: &str, account: &Account| {
        let Account { user: name, device, password } = account;
        Web::new(&server, user, format!("Basic {}", base64(&format!("{name}/{device}:{password}"))))
    };
    let ann = server.add_user("ann@example.org", "phone@home");
    for user in ["ann@example.org", "ann%40example.org", "%61nn@example%2Eorg"] {
        web(user, &ann).done("GET", "/devices", None);
        web(user, &ann).done("PUT", "/devices/phone%40home", Some(json!({ "label": user })));
    }
    web("ann%2540example.org", &ann).refused("GET", "/devices", None, 422);
    web("ann%2Fexample.org", &ann).refused("GET", "/devices", None, 422);
    web("%FF", &ann).refused("GET", "/devices", None, 400);
}

#[test]
fn pages_of_listed_origins_use_the_api() {
    const PAGE: &str = "https://chat.example.org";
    let server = Server::with(&[("mqtt.websocket_origins", PAGE)]);
    let alice = server.add_user("alice", "phone");
    let web = Web::of(&server, &alice);
    let allowed = |origin: &str, path: &str| {
        let (_, headers, _) = web.get(path, &[("origin", origin)]);
        headers.get("access-control-allow-origin").map(|it| it.to_str().expect("text").to_owned())
    };
    assert_eq!(allowed(PAGE, "/devices"), Some(PAGE.to_owned()));
    assert_eq!(allowed(PAGE, "/no-such-path"), Some(PAGE.to_owned()), "a refusal can be read too");
    assert_eq!(allowed("https://evil.example.org", "/devices"), None);
}
