//! Operators' commands on a server that clients are connected to. (What the commands print and how they fail is in
//! server/tests.)

use std::sync::mpsc;

use crate::PATIENCE;
use crate::mqtt::{Client, Packet, RESUME, VERSIONS, Version};
use crate::server::{Account, Server};

fn refused(server: &Server, arguments: &[&str], code: i32, words: &str) {
    let ended = server.run(arguments);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{arguments:?}: {}", ended.stderr);
    assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
}

fn receiver(server: &Server, account: &Account) -> Client {
    let mut client = Client::connect(server.mqtt(), account, Version::V5, RESUME);
    assert_eq!(client.subscribe("inbox/#"), 1);
    client
}

#[test]
fn commands_say_what_is_wrong_and_change_nothing() {
    let server = Server::start();
    server.add_user("alice", "phone");
    server.add_device("alice", "laptop");
    refused(&server, &["user", "add", "alice", "--device", "tv"], 1, "\"alice\" exists");
    refused(&server, &["device", "add", "alice", "phone"], 1, "\"phone\"");
    refused(&server, &["device", "add", "nobody", "phone"], 1, "\"nobody\"");
    refused(&server, &["device", "remove", "alice", "watch"], 1, "\"watch\"");
    refused(&server, &["user", "remove", "nobody"], 1, "\"nobody\"");
    refused(&server, &["user", "add", "a/b", "--device", "phone"], 64, "\"a/b\"");
    refused(&server, &["device", "add", "alice", ""], 64, "device name");
    assert_eq!(server.run(&["user", "list"]).stdout, r#"{"user":"alice","devices":["phone","laptop"]}"#);
}

#[test]
fn a_removed_device_is_cut_off_at_once_and_its_inbox_is_gone() {
    for version in VERSIONS {
        let server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let stolen = server.add_device("bob", "laptop");
        let mut alice = Client::connect(server.mqtt(), &alice, version, RESUME);
        let mut at_bob = receiver(&server, &bob);
        let thief = Client::connect(server.mqtt(), &stolen, version, RESUME);
        assert_eq!(alice.publish("to/bob", b"secret"), 0);
        assert_eq!(at_bob.body(), "secret");

        assert_eq!(server.run(&["device", "remove", "bob", "laptop"]).code, Some(0));
        assert_eq!(thief.closed(), (version == Version::V5).then_some(0x98), "{version:?}");
        let refusal = Client::open(server.mqtt(), Version::V5).login(&stolen, RESUME).expect("CONNACK");
        assert_eq!(refusal, (0x86, false));

        // A device of the same name is another device: nothing waits for it.
        let anew = server.add_device("bob", "laptop");
        assert_ne!(anew.password, stolen.password);
        let mut anew = receiver(&server, &anew);
        assert_eq!(alice.publish("to/bob", b"later"), 0);
        assert_eq!([anew.body(), at_bob.body()], ["later", "later"], "{version:?}");
    }
}

#[test]
fn a_removed_user_is_gone_for_everybody() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut alice = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    let mut at_bob = receiver(&server, &bob);
    assert_eq!(alice.publish("to/bob", b"hello"), 0);
    let conversation = at_bob.receive().conversation();

    assert_eq!(server.run(&["user", "remove", "bob"]).code, Some(0));
    assert_eq!(at_bob.closed(), Some(0x98));
    assert_eq!(alice.publish("to/bob", b"anybody?"), 0x90);
    assert_eq!(alice.publish(&format!("send/{conversation}"), b"anybody?"), 0x90);

    // Another bob is another user, in another conversation.
    let bob = server.add_user("bob", "phone");
    let mut at_bob = receiver(&server, &bob);
    assert_eq!(alice.publish("to/bob", b"hello, stranger"), 0);
    let first = at_bob.receive();
    assert_eq!(first.payload, b"hello, stranger");
    assert_ne!(first.conversation(), conversation);
}

#[test]
fn a_second_server_on_the_same_data_is_told_so_and_the_first_goes_on() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut at_bob = receiver(&server, &bob);
    refused(&server, &["serve"], 1, "is held by another server that runs");
    refused(&server, &["bridge"], 1, "is held by another server that runs");
    let mut alice = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    assert_eq!(alice.publish("to/bob", b"hello"), 0);
    assert_eq!(at_bob.body(), "hello");
}

#[test]
fn a_server_that_is_stopped_says_goodbye_and_loses_nothing() {
    for version in VERSIONS {
        let mut server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let mut sender = Client::connect(server.mqtt(), &alice, version, RESUME);
        let idle = receiver(&server, &bob);
        // Stopped while publishes stream in. What was acknowledged must be there; the rest may be.
        let (count, counted) = mpsc::channel();
        let sending = std::thread::spawn(move || {
            for number in 0_u32.. {
                let id = sender.packet_id();
                let sent = sender.try_send(&sender.publish_bytes(id, false, "to/bob", number.to_string().as_bytes()));
                let answer = sent.and_then(|()| sender.try_next(PATIENCE));
                if !matches!(answer, Ok(Some(Packet::Puback { .. }))) {
                    break;
                }
                // The test may have failed.
                _ = count.send(number);
            }
        });
        assert!((0..50).all(|_| counted.recv_timeout(PATIENCE).is_ok()), "publishes are acknowledged");
        assert_eq!(server.stop(), Some(0), "{version:?}");
        assert_eq!(idle.closed(), Some(0x8B));
        sending.join().expect("no panic");
        let acknowledged = counted.iter().last().map_or(50, |number| number + 1);
        server.start_again();

        let mut sender = Client::connect(server.mqtt(), &alice, version, RESUME);
        assert_eq!(sender.publish("to/bob", b"end"), 0);
        let mut client = Client::connect(server.mqtt(), &bob, Version::V5, RESUME);
        assert!(client.session_present);
        let mut bodies = Vec::new();
        while bodies.last().is_none_or(|last| last != "end") {
            bodies.push(client.body());
        }
        let numbers = (0..bodies.len() - 1).map(|number| number.to_string());
        let expected: Vec<_> = numbers.chain(["end".to_owned()]).collect();
        assert_eq!(bodies, expected, "{version:?}");
        assert!(bodies.len() > acknowledged as usize, "{version:?}: {acknowledged} were acknowledged");
    }
}
