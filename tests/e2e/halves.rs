//! `godwit broker` and `godwit bridge` as two processes: the bridge may come and go, and no client notices more than a
//! pause.

use crate::mqtt::{Client, RESUME, VERSIONS, Version};
use crate::server::Server;

#[test]
fn the_two_processes_serve_as_one_does() {
    for version in VERSIONS {
        let server = Server::halves(&[]);
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let mut alice = Client::connect(server.mqtt(), &alice, version, RESUME);
        let mut bob = Client::connect(server.mqtt(), &bob, version, RESUME);
        assert_eq!(bob.subscribe("inbox/#"), 1);
        assert_eq!(alice.publish("to/bob", b"hello"), 0);
        assert_eq!(bob.body(), "hello");
        assert_eq!(bob.publish("to/alice", b"hi"), 0);
    }
}

#[test]
fn a_killed_bridge_drops_no_connection_and_no_publish() {
    for version in VERSIONS {
        let mut server = Server::halves(&[]);
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let mut alice = Client::connect(server.mqtt(), &alice, version, RESUME);
        let mut bob = Client::connect(server.mqtt(), &bob, version, RESUME);
        assert_eq!(bob.subscribe("inbox/#"), 1);
        let mut expected = Vec::new();
        let mut received = Vec::new();
        for round in 0..5 {
            // Identical payloads under identifiers that come again: each is a message of its own.
            for id in [1, 2, 1, 2] {
                alice.send(&alice.publish_bytes(id, false, "to/bob", b"same"));
                assert_eq!(alice.puback(id).0, 0);
                expected.push("same".to_owned());
            }
            // Some are under way while the bridge dies, and some are sent while there is none.
            let publish = |alice: &mut Client, ids: std::ops::Range<u16>| {
                ids.for_each(|id| alice.send(&alice.publish_bytes(id, false, "to/bob", b"same")));
            };
            publish(&mut alice, 10..15);
            server.kill_bridge();
            publish(&mut alice, 15..20);
            alice.settle();
            bob.settle();
            server.start_bridge();
            (10..20).for_each(|id| assert_eq!(alice.puback(id).0, 0, "round {round}"));
            expected.extend((10..20).map(|_| "same".to_owned()));
            let marker = format!("end of round {round}");
            assert_eq!(alice.publish("to/bob", marker.as_bytes()), 0);
            expected.push(marker.clone());
            while received.last() != Some(&marker) {
                received.push(bob.body());
            }
            assert_eq!(received, expected, "{version:?}");
        }
    }
}

#[test]
fn what_was_delivered_and_not_acknowledged_is_not_delivered_twice_on_the_same_connection() {
    let mut server = Server::halves(&[]);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut alice = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    let mut at_bob = Client::connect(server.mqtt(), &bob, Version::V5, RESUME);
    assert_eq!(at_bob.subscribe("inbox/#"), 1);
    for body in ["one", "two", "three"] {
        assert_eq!(alice.publish("to/bob", body.as_bytes()), 0);
    }
    let held = [at_bob.delivery(), at_bob.delivery(), at_bob.delivery()];
    server.kill_bridge();
    // Acknowledged while there is no bridge.
    at_bob.acknowledge(&held[0]);
    at_bob.settle();
    server.start_bridge();
    assert_eq!(alice.publish("to/bob", b"four"), 0);
    assert_eq!(at_bob.body(), "four");
    at_bob.settle();
    drop(at_bob);

    // What was not acknowledged comes again, and only that.
    let mut at_bob = Client::connect(server.mqtt(), &bob, Version::V5, RESUME);
    let again = [at_bob.receive(), at_bob.receive()];
    assert_eq!(again.each_ref().map(|it| (&it.payload[..], it.duplicate)), [(&b"two"[..], true), (b"three", true)]);
    assert_eq!(again.each_ref().map(|it| it.packet_id), [held[1].packet_id, held[2].packet_id]);
    assert_eq!(alice.publish("to/bob", b"end"), 0);
    assert_eq!(at_bob.body(), "end");
}

#[test]
fn a_client_that_comes_while_there_is_no_bridge_is_served_when_it_is_back() {
    let mut server = Server::halves(&[]);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    server.kill_bridge();
    let address = server.mqtt();
    let waiting = std::thread::spawn(move || {
        let mut alice = Client::connect(address, &alice, Version::V5, RESUME);
        alice.publish("to/bob", b"hello")
    });
    server.start_bridge();
    assert_eq!(waiting.join().expect("no panic"), 0);
    let mut bob = Client::connect(server.mqtt(), &bob, Version::V5, RESUME);
    assert_eq!(bob.subscribe("inbox/#"), 1);
    assert_eq!(bob.body(), "hello");
}
