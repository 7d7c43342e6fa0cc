//! Phone numbers: messages to those that nobody has yet, and who has them.

use std::process::Command;

use godwit_schemas::client::{self, request::Call};
use serde_json::json;

use super::phone::Phone;
use super::web::{Web, base64};
use crate::mqtt::{Client, RESUME, VERSIONS, Version};
use crate::server::{Account, Server};

const NUMBER: &str = "+4930123456";

/// As a client makes it, by a program that is not ours.
fn sha256(text: &str) -> String {
    let script = format!("printf %s '{text}' | sha256sum");
    let printed = Command::new("sh").args(["-c", &script]).output().expect("sha256sum").stdout;
    String::from_utf8(printed).expect("text").split(' ').next().expect("a hash").to_owned()
}

/// Somebody registers with the number.
fn register(server: &Server, arguments: &[&str]) -> Account {
    let ended = server.run(&[&["user", "add", "--device", "phone", "--phone", NUMBER], arguments].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).expect("an account")
}

#[test]
fn a_message_to_a_number_is_delivered_when_somebody_registers_with_it() {
    for (version, named) in VERSIONS.into_iter().flat_map(|version| [(version, false), (version, true)]) {
        let mut server = Server::start();
        let alice = server.add_user("alice", "phone");
        let mut phone = Phone::connect(&server, &alice, version);
        phone.send("phone/4930123456", "from her phone");
        let message = json!({ "phone": NUMBER, "body": base64("from her computer"), "client_sequence": 1 });
        let web = Web::of(&server, &alice);
        let place = web.done("POST", "/messages", Some(message.clone()));
        assert_eq!(web.done("POST", "/messages", Some(message)), place, "a retry");
        server.kill_and_start();
        let bob = register(&server, if named { &["bob"] } else { &[] });
        assert_eq!(bob.user == "bob", named, "{}", bob.user);
        let mut inbox = Client::connect(server.mqtt(), &bob, version, RESUME);
        inbox.subscribe("inbox/+");
        for body in ["from her phone", "from her computer"] {
            assert_eq!(inbox.receive().payload, body.as_bytes(), "{version:?}");
        }
        let mut phone = Phone::connect(&server, &alice, version);
        phone.send("phone/4930123456", "registered");
        assert_eq!(inbox.receive().payload, b"registered");
        assert!(!server.log().contains("4930123456"), "a phone number is in the log");
    }
}

#[test]
fn hashes_tell_who_has_a_number() {
    let server = Server::with(&[("limits.phone_lookups_per_day", "10")]);
    let alice = server.add_user("alice", "phone");
    server.add_user("bob", "phone");
    assert_eq!(server.run(&["user", "phone", "bob", NUMBER]).code, Some(0));
    let (hash, other) = (sha256(NUMBER), sha256("+4930999999"));
    let found = json!({ "found": [{ "sha256": hash, "user": "bob", "waiting": false }] });
    let web = Web::of(&server, &alice);
    assert_eq!(web.done("POST", "/phones", Some(json!({ "sha256": [other, hash] }))), found);
    let bytes: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).expect("hex")).collect();
    let call = |count| Call::LookUpPhones(client::LookUpPhones { sha256: vec![bytes.clone().into(); count] });
    let mut phone = Phone::connect(&server, &alice, Version::V5);
    assert_eq!(phone.done(call(1)).found[0].user, "bob");
    phone.refused(call(8), 0x97);
    web.refused("POST", "/phones", Some(json!({ "sha256": vec![hash.as_str(); 8] })), 409);
    web.refused("POST", "/phones", Some(json!({ "sha256": ["abc"] })), 422);
    assert_eq!(server.run(&["user", "phone", "bob"]).code, Some(0), "takes it away");
    assert_eq!(web.done("POST", "/phones", Some(json!({ "sha256": [hash] }))), json!({ "found": [] }));
}

#[test]
fn what_is_no_number_is_refused() {
    let server = Server::start();
    let alice = server.add_user("alice", "phone");
    server.add_user("bob", "phone");
    let mut phone = Phone::connect(&server, &alice, Version::V5);
    assert_eq!(phone.client.publish("phone/030123456", b"x"), 0x90);
    let send = client::Send { to: Some(client::send::To::Phone("030".into())), ..Default::default() };
    assert_eq!(phone.client.publish("send", &prost::Message::encode_to_vec(&send)), 0x90);
    let web = Web::of(&server, &alice);
    web.refused("POST", "/messages", Some(json!({ "phone": "030123456", "body": "" })), 404);
    web.refused("POST", "/messages", Some(json!({ "body": "" })), 422);
    assert_ne!(server.run(&["user", "phone", "bob", "030123456"]).code, Some(0));
    assert_eq!(server.run(&["user", "phone", "bob", NUMBER]).code, Some(0));
    let taken = server.run(&["user", "add", "carol", "--device", "phone", "--phone", NUMBER]);
    assert!(taken.stderr.contains("another user has this phone number"), "{}", taken.stderr);
}
