//! P3 at the level of MQTT: a PUBLISH that is sent again with DUP takes effect once, one that merely looks the same is
//! another message. So does a number, and who sends is told that it was known.

use godwit_schemas::client::{self, Send, request::Call, send};
use prost::Message as _;

use crate::chat::phone::Phone;
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

/// A counted message to bob.
fn number(counter: u64, client_sequence: u64, body: &str) -> Vec<u8> {
    let (to, body) = (Some(send::To::User("bob".into())), body.as_bytes().to_vec().into());
    Send { to, client_sequence, counter, body, ..Send::default() }.encode_to_vec()
}

#[test]
fn who_sends_an_old_number_is_told_that_nothing_was_sent() {
    let (server, alice, mut bob) = chat(Version::V5);
    let mut client = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    let mut send = |counter, client_sequence, body: &str| {
        let id = client.packet_id();
        client.send(&client.publish_bytes(id, false, "send", &number(counter, client_sequence, body)));
        client.puback_of_repetition(id)
    };
    assert_eq!([send(0, 9, "nine"), send(0, 9, "nine"), send(0, 3, "three")], [(0, None), (0, Some(9)), (0, Some(9))]);
    for mistake in [u64::MAX, 1 << 63] {
        assert_eq!(send(0, mistake, "a mistake"), (0x83, None));
    }
    assert_eq!([send(5, 1, "another count"), send(0, 10, "ten")], [(0, None); 2], "nobody is silenced");
    assert_eq!([bob.body(), bob.body(), bob.body()], ["nine", "another count", "ten"]);
}

#[test]
fn who_repeats_by_dup_is_told_that_it_was_known() {
    let (server, alice, _bob) = chat(Version::V5);
    for (duplicate, told) in [(false, None), (true, Some(0))] {
        let mut client = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
        client.send(&client.publish_bytes(7, duplicate, "to/bob", b"hello"));
        assert_eq!(client.puback_of_repetition(7), (0, told));
    }
}

#[test]
fn a_device_can_ask_how_far_it_has_counted() {
    let (server, alice, mut bob) = chat(Version::V5);
    let mut phone = Phone::connect(&server, &alice, Version::V5);
    assert_eq!(phone.client.publish("send", &number(0, 41, "x")), 0);
    let conversation = bob.delivery().conversation();
    let told = |phone: &mut Phone, counter| {
        phone.done(Call::Describe(client::Describe { conversation, counter })).last_client_sequence
    };
    assert_eq!([0, 5].map(|counter| told(&mut phone, counter)), [41, 0]);
    let mut tablet = Phone::connect(&server, &server.add_device("alice", "tablet"), Version::V5);
    assert_eq!(told(&mut tablet, 0), 0);
}

/// Every call whose answer carries something answers its repetition with the same.
#[test]
fn a_repeated_call_is_answered_with_what_the_first_made() {
    for version in VERSIONS {
        let (server, alice, _bob) = chat(version);
        let mut phone = Phone::connect(&server, &alice, version);
        let group = client::CreateGroup { title: "walk".into(), users: vec!["bob".into()] };
        let first = phone.done(Call::CreateGroup(group.clone()));
        let invite = client::CreateInvite { conversation: first.conversation, expires_in_s: 0 };
        for (id, call) in [(60, Call::CreateGroup(group)), (61, Call::CreateInvite(invite))] {
            let answers = [false, true].map(|duplicate| {
                let request = client::Request { id: u64::from(id), call: Some(call.clone()) };
                let mut phone = Phone::connect(&server, &alice, version);
                phone.client.send(&phone.client.publish_bytes(id, duplicate, "rpc", &request.encode_to_vec()));
                phone.response()
            });
            assert_eq!((answers[0].reason, &answers[0]), (0, &answers[1]), "{version:?}");
        }
        let list = client::ListInvites { conversation: first.conversation };
        let mut phone = Phone::connect(&server, &alice, version);
        assert_eq!(phone.done(Call::ListInvites(list)).invites.len(), 1);
    }
}

#[test]
fn a_retry_takes_effect_once_also_if_its_sender_has_left_and_come_back() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut owner = Phone::connect(&server, &alice, Version::V5);
    let group = client::CreateGroup { title: "walk".into(), users: vec!["bob".into()] };
    let conversation = owner.done(Call::CreateGroup(group)).conversation;
    let mut member = Phone::connect(&server, &bob, Version::V5);
    let send = |client_sequence: u64, body: &str| {
        let (to, body) = (Some(send::To::Conversation(conversation)), body.as_bytes().to_vec().into());
        Send { to, client_sequence, body, ..Send::default() }.encode_to_vec()
    };
    assert_eq!(member.client.publish("send", &send(1, "hello")), 0);
    member.done(Call::Leave(client::Leave { conversation }));
    owner.done(Call::AddMember(client::AddMember { conversation, user: "bob".into() }));
    let id = member.client.packet_id();
    member.client.send(&member.client.publish_bytes(id, false, "send", &send(1, "hello")));
    assert_eq!(member.client.puback_of_repetition(id), (0, Some(1)));
    assert_eq!(member.client.publish("send", &send(2, "end")), 0);
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "end") {
        if let client::event::Event::Message(message) = owner.event() {
            heard.push(String::from_utf8(message.body.to_vec()).expect("text"));
        }
    }
    assert_eq!(heard, ["hello", "end"]);
}
