//! What becomes of messages: history, and what is done to them after they were sent.

use std::fs;
use std::path::Path;

use godwit_schemas::client::change::Change;
use godwit_schemas::client::event::Event;
use godwit_schemas::client::{self, request::Call};
use prost::Message as _;
use serde_json::{Value, json};

use super::phone::Phone;
use super::user::{User, WAYS};
use super::web::{Web, base64};
use crate::mqtt::{VERSIONS, Version};
use crate::server::Server;

fn list() -> Call {
    Call::ListConversations(client::ListConversations { after: 0, limit: 0 })
}

fn open_direct(user: &str) -> Call {
    Call::OpenDirect(client::OpenDirect { user: user.into() })
}

#[test]
fn history_is_the_same_over_both_ways_on_every_device() {
    for version in VERSIONS {
        let mut server = Server::with(&[("retention.history", "forever")]);
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let mut at_alice = Phone::connect(&server, &alice, version);
        for body in ["one", "two", "three"] {
            at_alice.send("to/bob", body);
        }
        let mut at_bob = Phone::connect(&server, &bob, version);
        at_bob.change();
        let id = at_bob.message().conversation;
        let path = format!("/conversations/{id}");
        at_bob.done(Call::React(client::React {
            conversation: id,
            sequence: 2,
            reaction: "+1".into(),
            ..Default::default()
        }));
        at_alice.done(Call::Edit(client::Edit { conversation: id, sequence: 3, body: "two!".into(), mls_epoch: 0 }));
        at_alice.done(Call::Recall(client::Recall { conversation: id, sequence: 4 }));
        server.kill_and_start();

        // A device that is new has all of it.
        let tablet = server.add_device("bob", "tablet");
        let mut tablet = Phone::connect(&server, &tablet, version);
        let call = client::GetHistory { conversation: id, after: 1, before: 5, oldest_first: true, limit: 0 };
        let history = tablet.done(Call::GetHistory(call)).history;
        let messages = history.into_iter().filter_map(|event| match event.event {
            Some(Event::Message(message)) => Some(message),
            _ => None,
        });
        let messages: Vec<_> = messages.collect();
        let shown: Vec<_> =
            messages.iter().map(|it| (&it.body[..], it.edited, it.recalled, it.reactions.len())).collect();
        let expected: [(&[u8], bool, bool, usize); 3] =
            [(b"one", false, false, 1), (b"two!", true, false, 0), (b"", false, true, 0)];
        assert_eq!(shown, expected, "{version:?}");

        let web = Web::of(&server, &bob);
        let page = web.done("GET", &format!("{path}/messages?oldest_first=true&after=1&limit=3"), None);
        let bodies: Vec<_> =
            page["messages"].as_array().expect("messages").iter().map(|it| it["body"].clone()).collect();
        assert_eq!(bodies, [base64("one"), base64("two!"), String::new()].map(Value::from));
        assert_eq!(
            (page["messages"][0]["reactions"][0]["reaction"].as_str(), page["next"].as_u64()),
            (Some("+1"), Some(4))
        );
        let newest = web.done("GET", &format!("{path}/messages?limit=1"), None);
        assert_eq!(newest["messages"][0]["change"], json!({ "recalled": 4 }));

        let summary = &tablet.done(list()).conversations[0];
        assert_eq!((summary.unread, summary.read_up_to, summary.last_sequence), (2, 0, 7));
        web.done("PUT", &format!("{path}/read"), Some(json!({ "sequence": 7 })));
        let shown = web.done("GET", "/conversations", None);
        assert_eq!((shown["conversations"][0]["unread"].as_u64(), shown["next"].as_u64()), (Some(0), None));
        web.done("DELETE", &path, None);
        assert!(tablet.done(list()).conversations.is_empty(), "on every device");
        assert_eq!(Phone::connect(&server, &alice, version).done(list()).conversations.len(), 1);
    }
}

#[test]
fn a_message_that_was_taken_back_in_time_is_never_delivered() {
    for way in WAYS {
        let server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let mut alice = User::connect(&server, &alice, way);
        for body in ["one", "oops", "three"] {
            alice.send("to/bob", body);
        }
        let id = alice.done(open_direct("bob")).conversation;
        let recall = |sequence| Call::Recall(client::Recall { conversation: id, sequence });
        alice.done(recall(3));
        let mut bob = User::connect(&server, &bob, way);
        bob.change();
        assert_eq!([bob.message().body, bob.message().body], ["one", "three"], "{way:?}");
        assert!(matches!(bob.change(), (Change::Recalled(3), _, 0)));
        bob.refused(recall(99), 0x90);
    }
}

#[test]
fn an_edit_and_a_reaction_reach_the_other_side() {
    for way in WAYS {
        // Without history the server may know of a message no more, and leaves it to the devices whose it was.
        let server = Server::with(&[("retention.history", "forever")]);
        let accounts = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob] = accounts.each_ref().map(|it| User::connect(&server, it, way));
        alice.send("to/bob", "hello");
        bob.send("to/alice", "hi");
        let id = bob.done(open_direct("alice")).conversation;
        let edit =
            |sequence| Call::Edit(client::Edit { conversation: id, sequence, body: "hi there".into(), mls_epoch: 0 });
        let react = |reaction: &str| {
            Call::React(client::React {
                conversation: id,
                sequence: 2,
                reaction: reaction.into(),
                ..Default::default()
            })
        };
        bob.done(edit(3));
        bob.done(react("+1"));
        alice.change();
        assert_eq!(alice.message().body, "hi");
        assert!(matches!(alice.change().0, Change::Edited(it) if it.sequence == 3 && it.body == "hi there"), "{way:?}");
        assert!(matches!(alice.change().0, Change::Reacted(it) if it.sequence == 2 && it.reaction == "+1"));
        bob.refused(edit(2), 0x87);
        bob.refused(Call::Recall(client::Recall { conversation: id, sequence: 2 }), 0x87);
        bob.refused(react(&"x".repeat(33)), 0x83);
    }
}

#[test]
fn a_reply_names_what_it_replies_to_and_a_retry_takes_effect_once() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let web = Web::of(&server, &bob);
    let mut alice = Phone::connect(&server, &alice, Version::V5);
    alice.send("to/bob", "hello");
    alice.change();
    let id = alice.done(open_direct("bob")).conversation;
    let path = format!("/conversations/{id}/messages");
    let message = || Some(json!({ "body": base64("hi"), "reply_to": 2, "client_sequence": 1 }));
    let sent = web.done("POST", &path, message());
    assert_eq!(sent, json!({ "conversation": id, "sequence": 3 }));
    let again = json!({ "conversation": id, "sequence": 3, "repeated": true, "last_client_sequence": 1 });
    assert_eq!(web.ask("POST", &path, message()), (200, again), "a retry is told where it stands, and that it is one");
    let reply = alice.message();
    assert_eq!((&reply.body[..], reply.reply_to, reply.sender), (&b"hi"[..], 2, 1));

    let mut bob = Phone::connect(&server, &bob, Version::V5);
    let send = client::Send {
        to: Some(client::send::To::Conversation(id)),
        client_sequence: 2,
        body: "and over MQTT".into(),
        reply_to: 3,
        ..Default::default()
    };
    assert_eq!([(); 2].map(|()| bob.client.publish("send", &send.encode_to_vec())), [0, 0]);
    bob.send("to/alice", "end");
    let reply = alice.message();
    assert_eq!((&reply.body[..], reply.reply_to), (&b"and over MQTT"[..], 3));
    assert_eq!(alice.message().body, "end", "the retry was none");
}

fn set_retention(conversation: u64, history_days_plus_one: u32, expires_in_s: u32) -> Call {
    let retention = Some(client::Retention { history_days_plus_one, expires_in_s });
    Call::SetRetention(client::SetRetention { conversation, retention })
}

/// Bodies of messages in history, oldest first.
fn kept(user: &mut User, conversation: u64) -> Vec<String> {
    let call = client::GetHistory { conversation, oldest_first: true, ..Default::default() };
    let events = user.done(Call::GetHistory(call)).history.into_iter();
    let bodies = events.filter_map(|event| match event.event {
        Some(Event::Message(it)) => Some(String::from_utf8(it.body.to_vec()).expect("text")),
        _ => None,
    });
    bodies.collect()
}

#[test]
fn members_agree_that_messages_vanish() {
    for way in WAYS {
        let server = Server::with(&[("retention.history", "forever")]);
        let (alice, account) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let mut alice = User::connect(&server, &alice, way);
        let id = alice.done(open_direct("bob")).conversation;
        alice.done(set_retention(id, 31, 1));
        let described = alice.done(Call::Describe(client::Describe { conversation: id, counter: 0 })).description;
        let retention = described.and_then(|it| it.retention).expect("a retention");
        assert_eq!((retention.history_days_plus_one, retention.expires_in_s), (31, 1), "{way:?}");
        alice.send("to/bob", "gone in a second");
        crate::until("the message vanishes from history", || kept(&mut alice, id).is_empty());
        let mut bob = User::connect(&server, &account, way);
        assert!(matches!(bob.change().0, Change::Opened(_)));
        assert!(matches!(bob.change().0, Change::Retention(_)));
        alice.send("to/bob", "quick");
        assert_eq!(bob.message().body, "quick", "what had vanished is not delivered either");
        alice.refused(set_retention(999_999, 0, 1), 0x90);
    }
}

#[test]
fn members_agree_on_more_history_than_usual() {
    for way in WAYS {
        let server = Server::with(&[("retention.history", "none"), ("retention.history_max", "30")]);
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let (mut alice, mut bob) = (User::connect(&server, &alice, way), User::connect(&server, &bob, way));
        alice.send("to/bob", "before");
        let id = alice.done(open_direct("bob")).conversation;
        alice.done(set_retention(id, 8, 0));
        alice.send("to/bob", "kept");
        assert_eq!(kept(&mut bob, id), ["kept"], "{way:?}");
        bob.done(set_retention(id, 1, 0));
        assert!(kept(&mut alice, id).is_empty());
    }
}

#[test]
fn the_list_of_conversations_tells_what_is_unread_and_what_was_deleted() {
    for way in WAYS {
        let server = Server::with(&[("retention.history", "forever")]);
        let accounts = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob] = accounts.each_ref().map(|it| User::connect(&server, it, way));
        for body in ["one", "two"] {
            alice.send("to/bob", body);
        }
        let summary = bob.done(list()).conversations.remove(0);
        assert_eq!((summary.unread, summary.read_up_to, summary.last_sequence), (2, 0, 3), "{way:?}");
        let last = summary.last.and_then(|it| it.event);
        assert!(matches!(last, Some(Event::Message(it)) if it.body == "two"));
        let id = summary.conversation;
        bob.done(Call::DeleteConversation(client::DeleteConversation { conversation: id }));
        assert!(bob.done(list()).conversations.is_empty());
        assert!(kept(&mut bob, id).is_empty());
        assert_eq!(kept(&mut alice, id), ["one", "two"], "for oneself only");
        alice.send("to/bob", "three");
        assert_eq!(bob.done(list()).conversations[0].unread, 1, "it is there again");
        bob.refused(Call::DeleteConversation(client::DeleteConversation { conversation: 999_999 }), 0x90);
    }
}

#[test]
fn nothing_is_left_on_disk_of_a_body_that_every_device_has() {
    // Large enough to be kept apart, and to be found as it is whatever the store does to it.
    let body: String =
        (0..2_000_u32).map(|n| char::from(b'!' + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 90)).collect();
    let mut server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let (laptop, at_alice) = (server.add_device("bob", "laptop"), server.add_device("alice", "tv"));
    let mut alice = Phone::connect(&server, &alice, Version::V5);
    alice.send("to/bob", &body);
    let needle = &body.as_bytes()[..48];
    assert!(is_in(server.data(), needle), "it waits");
    for account in [bob, laptop, at_alice] {
        let mut phone = Phone::connect(&server, &account, Version::V5);
        phone.change();
        assert_eq!(phone.message().body, body);
        phone.client.settle();
        phone.client.disconnect();
    }
    alice.client.disconnect();
    // What was deleted leaves the log and the tables when they are written anew: here, when the server ends.
    assert_eq!(server.stop(), Some(0));
    assert!(!is_in(server.data(), needle), "it is gone");
}

/// Whether bytes stand in a file of a folder, or below it.
pub(crate) fn is_in(folder: &Path, needle: &[u8]) -> bool {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.into_iter().any(|path| match path.is_dir() {
        true => is_in(&path, needle),
        // The store may have dropped a file meanwhile.
        false => fs::read(&path).unwrap_or_default().windows(needle.len()).any(|window| window == needle),
    })
}
