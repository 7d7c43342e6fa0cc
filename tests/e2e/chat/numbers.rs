//! Phone numbers: messages to those that nobody has yet, and who has them.

use std::process::Command;

use godwit_schemas::client::{self, request::Call};
use serde_json::json;

use super::phone::Phone;
use super::route::unhex;
use super::user::{User, WAYS, Way};
use super::web::{Web, base64};
use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Server};

const NUMBER: &str = "+4930123456";

/// As a client makes it, by a program that is not ours.
fn sha256(text: &str) -> Vec<u8> {
    let script = format!("printf %s '{text}' | sha256sum");
    let printed = Command::new("sh").args(["-c", &script]).output().expect("sha256sum").stdout;
    unhex(String::from_utf8(printed).expect("text").split(' ').next().expect("a hash"))
}

/// Somebody registers with the number.
fn register(server: &Server, arguments: &[&str]) -> Account {
    let ended = server.run(&[&["user", "add", "--device", "phone", "--phone", NUMBER], arguments].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).expect("an account")
}

#[test]
fn a_message_to_a_number_is_delivered_when_somebody_registers_with_it() {
    for (way, named) in WAYS.into_iter().flat_map(|way| [(way, false), (way, true)]) {
        let mut server = Server::start();
        let account = server.add_user("alice", "phone");
        User::connect(&server, &account, way).send("phone/4930123456", "before");
        server.kill_and_start();
        let bob = register(&server, if named { &["bob"] } else { &[] });
        assert_eq!(bob.user == "bob", named, "{}", bob.user);
        let mut inbox = Client::connect(server.mqtt(), &bob, way.version(), RESUME);
        inbox.subscribe("inbox/+");
        assert_eq!(inbox.receive().payload, b"before", "{way:?}");
        User::connect(&server, &account, way).send("phone/4930123456", "registered");
        assert_eq!(inbox.receive().payload, b"registered");
        assert!(!server.log().contains("4930123456"), "a phone number is in the log");
    }
}

#[test]
fn a_retry_to_a_number_takes_effect_once() {
    let server = Server::start();
    let alice = server.add_user("alice", "phone");
    let message = || Some(json!({ "phone": NUMBER, "body": base64("hello"), "client_sequence": 1 }));
    let web = Web::of(&server, &alice);
    let (status, place) = web.ask("POST", "/messages", message());
    let (again, same) = web.ask("POST", "/messages", message());
    assert_eq!((status, again, &same["sequence"]), (201, 200, &place["sequence"]));
    User::connect(&server, &alice, Way::Http).send("phone/4930123456", "end");
    let mut inbox = Client::connect(server.mqtt(), &register(&server, &[]), Version::V5, RESUME);
    inbox.subscribe("inbox/+");
    assert_eq!([(); 2].map(|()| inbox.receive().payload), [&b"hello"[..], b"end"]);
}

#[test]
fn hashes_tell_who_has_a_number() {
    for way in WAYS {
        let server = Server::with(&[("limits.phone_lookups_per_day", "10")]);
        let alice = server.add_user("alice", "phone");
        server.add_user("bob", "phone");
        assert_eq!(server.run(&["user", "phone", "bob", NUMBER]).code, Some(0));
        let (hash, other) = (sha256(NUMBER), sha256("+4930999999"));
        let look_up = |hashes: &[&Vec<u8>]| {
            let sha256 = hashes.iter().map(|hash| (*hash).clone().into()).collect();
            Call::LookUpPhones(client::LookUpPhones { sha256 })
        };
        let mut alice = User::connect(&server, &alice, way);
        let found = alice.done(look_up(&[&other, &hash])).found;
        let bob = client::FoundPhone { sha256: hash.clone().into(), user: "bob".into(), waiting: false };
        assert_eq!(found, [bob], "{way:?}");
        alice.refused(look_up(&[&hash; 9]), 0x97);
        alice.refused(look_up(&[&vec![0xAB, 0xC0]]), 0x83);
        assert_eq!(server.run(&["user", "phone", "bob"]).code, Some(0), "takes it away");
        assert_eq!(alice.done(look_up(&[&hash])).found, []);
    }
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
