//! P3 at the level of MQTT: a PUBLISH that is sent again with DUP takes effect once, one that merely looks the same is
//! another message.

use crate::mqtt::{CLEAN, Client, RESUME, VERSIONS, Version};
use crate::server::{Account, Server};

/// Alice, who sends, and bob, who is there and receives.
fn chat(version: Version) -> (Server, Account, Client) {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let bob = receiver(&server, &bob, version);
    (server, alice, bob)
}

fn receiver(server: &Server, bob: &Account, version: Version) -> Client {
    let mut bob = Client::connect(server.mqtt(), bob, version, RESUME);
    assert_eq!(bob.subscribe("inbox/#"), 1);
    bob
}

/// Alice connects, sends this, and gets PUBACK for packet 7.
fn send(server: &Server, alice: &Account, version: Version, duplicate: bool, body: &str) -> Client {
    let mut client = Client::connect(server.mqtt(), alice, version, RESUME);
    client.send(&client.publish_bytes(7, duplicate, "to/bob", body.as_bytes()));
    assert_eq!(client.puback(7).0, 0);
    client
}

#[test]
fn sent_again_with_dup_on_a_new_connection_it_takes_effect_once() {
    for version in VERSIONS {
        let (server, alice, mut bob) = chat(version);
        drop(send(&server, &alice, version, false, "hello"));
        drop(send(&server, &alice, version, true, "hello"));
        drop(send(&server, &alice, version, true, "hello"));
        drop(send(&server, &alice, version, false, "end"));
        assert_eq!([bob.body(), bob.body()], ["hello", "end"], "{version:?}");
    }
}

#[test]
fn sent_again_with_dup_after_a_crash_of_the_server_it_takes_effect_once() {
    for version in VERSIONS {
        let mut server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        drop(send(&server, &alice, version, false, "hello"));
        server.kill_and_start();
        drop(send(&server, &alice, version, true, "hello"));
        drop(send(&server, &alice, version, false, "end"));
        let mut bob = receiver(&server, &bob, version);
        assert_eq!([bob.body(), bob.body()], ["hello", "end"], "{version:?}");
    }
}

#[test]
fn a_dup_whose_first_attempt_never_came_is_a_message() {
    for version in VERSIONS {
        let (server, alice, mut bob) = chat(version);
        drop(send(&server, &alice, version, true, "hello"));
        assert_eq!(bob.body(), "hello", "{version:?}");
    }
}

#[test]
fn the_same_bytes_without_dup_are_another_message() {
    for version in VERSIONS {
        let (server, alice, mut bob) = chat(version);
        let mut client = send(&server, &alice, version, false, "hello");
        client.send(&client.publish_bytes(7, false, "to/bob", b"hello"));
        assert_eq!(client.puback(7).0, 0);
        drop(client);
        drop(send(&server, &alice, version, false, "hello"));
        drop(send(&server, &alice, version, false, "end"));
        assert_eq!([bob.body(), bob.body(), bob.body(), bob.body()], ["hello", "hello", "hello", "end"], "{version:?}");
    }
}

#[test]
fn after_a_goodbye_nothing_is_in_doubt_and_an_old_looking_dup_is_new() {
    for version in VERSIONS {
        let (server, alice, mut bob) = chat(version);
        send(&server, &alice, version, false, "hello").disconnect();
        send(&server, &alice, version, true, "hello").disconnect();
        drop(send(&server, &alice, version, false, "end"));
        assert_eq!([bob.body(), bob.body(), bob.body()], ["hello", "hello", "end"], "{version:?}");
    }
}

#[test]
fn a_clean_start_does_not_make_a_retry_a_new_message() {
    for version in VERSIONS {
        let (server, alice, mut bob) = chat(version);
        for duplicate in [false, true] {
            let mut client = Client::connect(server.mqtt(), &alice, version, CLEAN);
            client.send(&client.publish_bytes(7, duplicate, "to/bob", b"hello"));
            assert_eq!(client.puback(7).0, 0);
        }
        drop(send(&server, &alice, version, false, "end"));
        assert_eq!([bob.body(), bob.body()], ["hello", "end"], "{version:?}");
    }
}

#[test]
fn the_answer_to_a_retry_says_where_the_message_stands() {
    let (server, alice, _bob) = chat(Version::V5);
    let mut places = Vec::new();
    for duplicate in [false, true] {
        let mut client = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
        client.send(&client.publish_bytes(7, duplicate, "to/bob", b"hello"));
        places.push(client.puback(7));
    }
    assert!(matches!(places[0], (0, Some((_, 2)))), "{places:?}");
    assert_eq!(places[0], places[1]);
}
