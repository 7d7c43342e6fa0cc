//! P5: a device reaches its own topics and nothing else; a conversation is its members'.

use crate::mqtt::{Client, RESUME, VERSIONS, Version};
use crate::server::{Account, Server};

/// Filters that are nobody's, another's, or not possible, with MQTT 5's answer.
pub(crate) const FILTERS: [(&str, u8); 17] = [
    ("#", 0x87),
    ("+", 0x87),
    ("+/+", 0x87),
    ("c/bob/phone/inbox", 0x87),
    ("c/bob/+/inbox", 0x87),
    ("inbox/65", 0x87),
    ("to/#", 0x87),
    ("$SYS/#", 0x87),
    ("up/0", 0x87),
    ("edges", 0x87),
    ("$share/g/inbox", 0x9E),
    ("inbox/#/x", 0x8F),
    ("$share//inbox", 0x9E),
    ("/inbox", 0x87),
    ("inbox//#", 0x87),
    ("inb%6Fx", 0x87),
    ("inb\u{43E}x", 0x87),
];

/// Topics that are nobody's or another's, with MQTT 5's answer.
pub(crate) const TOPICS: [(&str, u8); 17] = [
    ("c/bob/phone/inbox", 0x87),
    ("inbox", 0x87),
    ("inbox/65", 0x87),
    ("$SYS/broker", 0x87),
    ("up/0", 0x87),
    ("edges", 0x87),
    ("to/../bob", 0x90),
    ("to/", 0x90),
    ("send/x", 0x90),
    ("$share/g/to/bob", 0x87),
    ("/to/bob", 0x87),
    ("to//bob", 0x90),
    ("to/bob/", 0x90),
    ("to/b%6Fb", 0x90),
    ("to%2Fbob", 0x87),
    // Cyrillic o, and a slash that is none.
    ("to/b\u{43E}b", 0x90),
    ("to\u{2215}bob", 0x87),
];

/// Bob is connected and would see what reaches him.
fn victim(server: &Server, version: Version) -> (Account, Client) {
    let bob = server.add_user("bob", "phone");
    let mut client = Client::connect(server.mqtt(), &bob, version, RESUME);
    assert_eq!(client.subscribe("inbox/#"), 1);
    (bob, client)
}

#[test]
fn a_subscription_to_anything_else_fails_and_is_logged() {
    for version in VERSIONS {
        let server = Server::start();
        let mallory = server.add_user("mallory", "phone");
        let (bob, mut at_bob) = victim(&server, version);
        let mut client = Client::connect(server.mqtt(), &mallory, version, RESUME);
        for (filter, reason) in FILTERS {
            let expected = if version == Version::V5 { reason } else { 0x80 };
            assert_eq!(client.subscribe(filter), expected, "{version:?} {filter}");
            server.wait_for_log(&["refused a subscription", "mallory", &format!("{filter:?}")]);
        }
        // QoS 0 would mean that messages may be lost on the way.
        assert_eq!(client.subscribe_with("inbox/#", 0), 1);
        // What goes on beside it does not reach mallory, whose own inbox works.
        let alice = server.add_user("alice", "phone");
        let mut alice = Client::connect(server.mqtt(), &alice, version, RESUME);
        assert_eq!(alice.publish("to/bob", b"secret"), 0);
        assert_eq!(at_bob.body(), "secret", "{bob:?}");
        assert_eq!(client.subscribe("inbox/#"), 1);
        assert_eq!(alice.publish("to/mallory", b"for you"), 0);
        assert_eq!(client.body(), "for you");
    }
}

#[test]
fn a_publish_to_anything_else_is_refused_and_logged() {
    for version in VERSIONS {
        let server = Server::start();
        let mallory = server.add_user("mallory", "phone");
        let (_, mut at_bob) = victim(&server, version);
        for (topic, reason) in TOPICS {
            let mut client = Client::connect(server.mqtt(), &mallory, version, RESUME);
            client.send(&client.publish_bytes(5, false, topic, b"forged"));
            if version == Version::V5 {
                assert_eq!(client.puback(5).0, reason, "{topic}");
                client.settle();
            } else {
                assert_eq!(client.closed(), None, "{topic}: closed without a word");
            }
            server.wait_for_log(&["refused a publish", "mallory", &format!("{topic:?}")]);
        }
        let mut client = Client::connect(server.mqtt(), &mallory, version, RESUME);
        assert_eq!(client.publish("to/bob", b"honest"), 0);
        assert_eq!(at_bob.body(), "honest");
    }
}

#[test]
fn who_is_no_member_neither_sends_nor_reads_nor_marks_as_read() {
    let server = Server::start();
    let (alice, mallory) = (server.add_user("alice", "phone"), server.add_user("mallory", "phone"));
    let (_, mut at_bob) = victim(&server, Version::V5);
    let mut alice = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    assert_eq!(alice.publish("to/bob", b"hello"), 0);
    let conversation = at_bob.receive().conversation();
    let mut client = Client::connect(server.mqtt(), &mallory, Version::V5, RESUME);
    assert_eq!(client.publish(&format!("send/{conversation}"), b"forged"), 0x87);
    // Fields of ReadReceipt: conversation and sequence.
    let receipt = [&[8][..], &varint(conversation), &[16, 2]].concat();
    assert_eq!(client.publish("receipt", &receipt), 0x87);
    assert_eq!(alice.publish("to/bob", b"end"), 0);
    assert_eq!(at_bob.body(), "end");
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7F {
        bytes.push(0x80 | (value & 0x7F) as u8);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
