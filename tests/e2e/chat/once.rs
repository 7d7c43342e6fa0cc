//! P3 over HTTP: a message that is posted again takes effect once, and whoever posts is told which of the two it was.

use serde_json::{Value, json};

use super::web::{Web, base64};
use crate::mqtt::{Client, RESUME, Version};
use crate::server::Server;

fn counted(client_sequence: u64, body: &str) -> Value {
    json!({ "body": base64(body), "client_sequence": client_sequence })
}

fn repeated(conversation: u64, sequence: Option<u64>, last: u64) -> Value {
    json!({
        "conversation": conversation, "sequence": sequence, "repeated": true, "last_client_sequence": last,
    })
}

/// Alice's high number silenced bob, who was told that his message was stored.
#[test]
fn users_without_a_device_do_not_count_together() {
    let server = Server::start();
    let (account, _) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let [alice, bob] = ["alice", "bob"].map(|user| Web::administrator(&server, user));
    let mut phone = Client::connect(server.mqtt(), &account, Version::V5, RESUME);
    phone.subscribe("inbox/#");
    let place =
        alice.done("POST", "/messages", Some(json!({ "user": "bob", "body": base64("1"), "client_sequence": 100 })));
    let id = place["conversation"].as_u64().expect("a conversation");
    let path = format!("/conversations/{id}/messages");
    let place = |sequence: u64| json!({ "conversation": id, "sequence": sequence });
    assert_eq!(bob.ask("POST", &path, Some(counted(1, "2"))), (201, place(3)));
    assert_eq!(bob.ask("POST", &path, Some(counted(1, "2"))), (200, repeated(id, Some(3), 1)));
    assert_eq!(alice.ask("POST", &path, Some(counted(99, "old"))), (200, repeated(id, None, 100)));
    let described = alice.done("GET", &format!("/conversations/{id}"), None);
    assert_eq!(described["last_client_sequence"], 100);
    assert_eq!(alice.ask("POST", &path, Some(counted(101, "3"))), (201, place(4)));
    // A device's count is another.
    let with_device = Web::of(&server, &account);
    assert_eq!(with_device.ask("POST", &path, Some(counted(1, "not to itself"))), (201, place(5)));
    alice.refused("POST", &path, Some(counted(u64::MAX, "a mistake")), 422);
    alice.done("POST", &path, Some(counted(102, "end")));
    assert_eq!([(); 4].map(|()| phone.body()), ["1", "2", "3", "end"]);
}

#[test]
fn a_message_with_an_idempotency_key_is_sent_once() {
    let mut server = Server::start();
    let (account, _) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut phone = Client::connect(server.mqtt(), &account, Version::V5, RESUME);
    phone.subscribe("inbox/#");
    drop(phone);
    let bob = Web::administrator(&server, "bob");
    let message = |body: &str| json!({ "user": "alice", "body": base64(body) });
    let (status, place) = bob.post_once("/messages", "\"4bf0\"", message("one"));
    assert_eq!((status, place["sequence"].as_u64()), (201, Some(2)));
    server.kill_and_start();
    let bob = Web::administrator(&server, "bob");
    let id = place["conversation"].as_u64().expect("a conversation");
    assert_eq!(bob.post_once("/messages", "4bf0", message("one")), (200, repeated(id, Some(2), 1)));
    for (key, sequence) in [("4bf1", 3), ("worker", 4)] {
        let (status, place) = bob.post_once("/messages", key, message(key));
        assert_eq!((status, place["sequence"].as_u64()), (201, Some(sequence)));
    }
    let path = format!("/conversations/{id}/messages");
    assert_eq!(bob.post_once(&path, "worker", counted(2, "a key may count")).0, 201);
    assert_eq!(bob.post_once(&path, "worker", counted(1, "worker")), (200, repeated(id, None, 2)));
    assert_eq!(bob.post_once(&path, "", counted(1, "x")).0, 400);
    let mut phone = Client::connect(server.mqtt(), &account, Version::V5, RESUME);
    assert_eq!([(); 4].map(|()| phone.body()), ["one", "4bf1", "worker", "a key may count"]);
}
