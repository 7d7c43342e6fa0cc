//! The three ticks, as a sender's device sees them in `inbox`: stored is its PUBACK, delivered follows from the
//! receiver's PUBACK, read from the receiver's `receipt`. And what MQTT 3.1.1 cannot say in PUBACK.

use godwit_schemas::client::event::Event;
use godwit_schemas::client::{self, Message, ReadReceipt, Receipt, Refusal};
use prost::Message as _;

use crate::mqtt::{Client, RESUME, VERSIONS, Version};
use crate::server::{Account, Server};

/// The next event, acknowledged.
fn event(client: &mut Client) -> Event {
    let publish = client.receive();
    assert_eq!(publish.topic, "inbox");
    client::Event::decode(&publish.payload[..]).expect("an Event").event.expect("one of the kinds")
}

/// The next receipt; changes and messages are passed over.
fn receipt(client: &mut Client) -> Receipt {
    loop {
        if let Event::Receipt(receipt) = event(client) {
            return receipt;
        }
    }
}

/// The next that says something new. One whose acknowledgement crossed a newer one may be told twice.
fn newer(client: &mut Client, than: Receipt) -> Receipt {
    loop {
        let next = receipt(client);
        if next != than {
            return next;
        }
    }
}

fn read(client: &mut Client, conversation: u64, read_up_to: u64) -> u8 {
    client.publish("receipt", &ReadReceipt { conversation, read_up_to }.encode_to_vec())
}

fn reader(server: &Server, account: &Account, version: Version, filter: &str) -> Client {
    let mut client = Client::connect(server.mqtt(), account, version, RESUME);
    assert_eq!(client.subscribe(filter), 1);
    client
}

#[test]
fn delivered_follows_the_receivers_puback_and_read_its_receipt() {
    for version in VERSIONS {
        let server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let mut alice = reader(&server, &alice, version, "inbox");
        let mut bob = reader(&server, &bob, version, "inbox/#");
        assert_eq!(alice.publish("to/bob", b"hello"), 0);
        let message = bob.delivery();
        let conversation = message.conversation();
        assert!(matches!(event(&mut alice), Event::Change(change) if change.conversation == conversation));

        // Not acknowledged: nothing is delivered yet. The answer to another publish comes first.
        assert_eq!(alice.publish("to/bob", b"a second"), 0);
        bob.acknowledge(&message);
        let tick = |delivered_up_to, read_up_to| Receipt { conversation, member: 1, delivered_up_to, read_up_to };
        assert_eq!(receipt(&mut alice), tick(2, 0), "{version:?}");
        bob.receive();
        assert_eq!(newer(&mut alice, tick(2, 0)), tick(3, 0), "{version:?}");

        assert_eq!(read(&mut bob, conversation, 3), 0);
        assert_eq!(newer(&mut alice, tick(3, 0)), tick(3, 3), "{version:?}");
        // Going back has no effect; beyond the last message is the last message.
        assert_eq!(read(&mut bob, conversation, 2), 0);
        assert_eq!(alice.publish("to/bob", b"a third"), 0);
        assert_eq!(read(&mut bob, conversation, 99), 0);
        assert_eq!(newer(&mut alice, tick(3, 3)), tick(4, 4), "{version:?}");
    }
}

#[test]
fn what_its_sender_knows_to_be_delivered_is_not_delivered_again_after_a_crash() {
    for version in VERSIONS {
        let mut server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let mut sender = reader(&server, &alice, version, "inbox");
        let mut at_bob = reader(&server, &bob, version, "inbox/#");
        assert_eq!(sender.publish("to/bob", b"hello"), 0);
        assert_eq!(at_bob.body(), "hello");
        assert_eq!(receipt(&mut sender).delivered_up_to, 2);
        // Both are connected: nothing is written because a session ends.
        server.kill_and_start();
        let mut sender = reader(&server, &alice, version, "inbox");
        assert_eq!(sender.publish("to/bob", b"end"), 0);
        assert_eq!(reader(&server, &bob, version, "inbox/#").body(), "end", "{version:?}");
    }
}

#[test]
fn receipts_wait_for_the_sender_as_one() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut sender = reader(&server, &alice, Version::V5, "inbox");
    for body in 0..20_u8 {
        assert_eq!(sender.publish("to/bob", &[body]), 0);
    }
    assert!(matches!(event(&mut sender), Event::Change(_)));
    sender.settle();
    drop(sender);

    let mut bob = reader(&server, &bob, Version::V5, "inbox/#");
    let received: Vec<_> = (0..20).map(|_| bob.receive().conversation()).collect();
    let conversation = received[0];
    bob.settle();
    for read_up_to in 2..=21 {
        assert_eq!(read(&mut bob, conversation, read_up_to), 0);
    }
    // Twenty deliveries and twenty receipts are one event now. Behind it comes bob's answer.
    assert_eq!(bob.publish("to/alice", b"answer"), 0);
    let mut sender = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    // The session has its subscription still.
    assert!(sender.session_present);
    let mut receipts = Vec::new();
    let mut messages = 0;
    while receipts.is_empty() || messages == 0 {
        match event(&mut sender) {
            Event::Receipt(receipt) => receipts.push(receipt),
            Event::Message(Message { sender, body, .. }) => {
                assert_eq!((sender, &body[..]), (1, &b"answer"[..]));
                messages += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    let all = Receipt { conversation, member: 1, delivered_up_to: 21, read_up_to: 21 };
    assert_eq!(receipts, [all]);
    // And nothing follows: the next event is about the next message.
    sender.settle();
    assert_eq!(sender.publish("to/bob", b"end"), 0);
    bob.receive();
    assert_eq!(receipt(&mut sender), Receipt { delivered_up_to: 23, ..all });
}

#[test]
fn the_readers_other_devices_learn_what_was_read() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let laptop = server.add_device("bob", "laptop");
    let mut alice = reader(&server, &alice, Version::V5, "inbox");
    let mut bob = reader(&server, &bob, Version::V5, "inbox/#");
    let mut laptop = reader(&server, &laptop, Version::V5, "inbox");
    assert_eq!(alice.publish("to/bob", b"hello"), 0);
    let conversation = bob.receive().conversation();
    assert_eq!(read(&mut bob, conversation, 2), 0);
    let seen = Receipt { conversation, member: 1, delivered_up_to: 2, read_up_to: 2 };
    assert_eq!(receipt(&mut laptop), seen);
}

#[test]
fn a_refusal_comes_as_an_event_where_puback_cannot_say_it() {
    let server = Server::start();
    let (alice, _) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut alice = reader(&server, &alice, Version::V4, "inbox");
    let cases: [(&str, &[u8], u32); 4] = [
        ("to/nobody", b"hello", 0x90),
        ("send/123456", b"hello", 0x90),
        ("send", b"\xFF\xFF", 0x99),
        ("receipt", b"\x08", 0x99),
    ];
    for (topic, payload, expected) in cases {
        let id = alice.packet_id();
        alice.send(&alice.publish_bytes(id, false, topic, payload));
        assert_eq!(alice.puback(id).0, 0, "{topic}");
        let Event::Refusal(Refusal { packet_id, reason, text, .. }) = event(&mut alice) else { panic!("{topic}") };
        assert_eq!((packet_id, reason), (id.into(), expected), "{topic}: {text}");
        assert!(!text.is_empty());
    }
}
