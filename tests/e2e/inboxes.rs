//! Inboxes have a limit: who sends to a user whose only one is full is refused, nothing in it is dropped, and it goes on when
//! the device has fetched. (Of several devices: `chat/strangers.rs`.)

use godwit_schemas::client::{self, Refusal, event::Event, request::Call};
use prost::Message as _;

use crate::chat::phone::Phone;
use crate::mqtt::{CLEAN, Client, Packet, RESUME, VERSIONS, Version};
use crate::server::{Account, Server};
use crate::until;

/// Alice, who hears of refusals in both versions.
struct Alice(Client);

impl Alice {
    /// Sends to bob; returns how the server takes it.
    fn send(&mut self, body: &[u8]) -> u32 {
        let Self(client) = self;
        let id = client.packet_id();
        client.send(&client.publish_bytes(id, false, "to/bob", body));
        let (reason, at) = client.puback(id);
        if client.version == Version::V5 {
            assert_eq!(at.is_some(), reason == 0);
            return reason.into();
        }
        // What is told of a refusal is told before what is answered later.
        client.settle();
        loop {
            let next = client.try_next(std::time::Duration::from_millis(1)).expect("a connection");
            let Some(Packet::Publish(publish)) = next else { return 0 };
            client.acknowledge(&publish);
            let event = client::Event::decode(&publish.payload[..]).expect("an event").event;
            if let Some(Event::Refusal(Refusal { packet_id, reason, text, .. })) = event {
                assert_eq!((packet_id, text.is_empty()), (id.into(), false));
                return reason;
            }
        }
    }
}

/// Bob has Alice as a contact: a stranger fills but half of his inbox.
fn knows_alice(server: &Server, bob: &Account) {
    let mut phone = Phone::connect(server, bob, Version::V5);
    phone.done(Call::AddContact(client::AddContact { user: "alice".into(), label: String::new() }));
    phone.client.disconnect();
}

/// Fills bob's inbox with messages of this size, until `limit` refuses; returns how many it took.
fn fills(version: Version, limit: (&str, &str), body_bytes: usize) -> usize {
    let server = Server::with(&[limit]);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    knows_alice(&server, &bob);
    let mut alice = Alice(Client::connect(server.mqtt(), &alice, version, RESUME));
    assert_eq!(alice.0.subscribe("inbox"), 1);
    let body = vec![b'x'; body_bytes];
    let mut taken = 0;
    let refused = loop {
        match alice.send(&body) {
            0 => taken += 1,
            reason => break reason,
        }
    };
    assert_eq!(refused, 0x97);
    let mut at_bob = Client::connect(server.mqtt(), &bob, version, CLEAN);
    assert_eq!(at_bob.subscribe("inbox/#"), 1);
    for number in 0..taken {
        assert_eq!(at_bob.receive().payload.len(), body_bytes, "{number} of {taken}");
    }
    at_bob.settle();
    assert!(at_bob.is_idle(), "nothing of what was refused");
    until("there is room again", || alice.send(b"at last") == 0);
    assert_eq!(at_bob.body(), "at last");
    taken
}

#[test]
fn an_inbox_takes_so_many_entries() {
    for version in VERSIONS {
        let taken = fills(version, ("limits.inbox_entries", "100"), 10);
        // The opening of the conversation is one too; what is under way when it becomes full goes in.
        assert!((99..110).contains(&taken), "{version:?}: {taken}");
    }
}

#[test]
fn an_inbox_takes_so_many_bytes() {
    for version in VERSIONS {
        let taken = fills(version, ("limits.inbox_bytes", "1000000"), 60_000);
        assert!((17..27).contains(&taken), "{version:?}: {taken}");
    }
}

#[test]
fn without_a_limit_of_bytes_an_inbox_takes_them_all() {
    let server = Server::with(&[("limits.inbox_bytes", "0")]);
    let (alice, _) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut alice = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    let body = vec![b'x'; 60_000];
    (0..30).for_each(|_| assert_eq!(alice.publish("to/bob", &body), 0));
}
