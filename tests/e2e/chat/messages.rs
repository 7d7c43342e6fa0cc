//! What becomes of messages: history, and what is done to them after they were sent.

use std::fs;
use std::path::Path;

use godwit_schemas::client::change::Change;
use godwit_schemas::client::event::Event;
use godwit_schemas::client::{self, request::Call};
use serde_json::{Value, json};

use super::phone::Phone;
use super::web::{Web, base64};
use crate::mqtt::{VERSIONS, Version};
use crate::server::Server;

fn list() -> Call {
    Call::ListConversations(client::ListConversations { after: 0, limit: 0 })
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
        at_bob.done(Call::React(client::React { conversation: id, sequence: 2, reaction: "+1".into() }));
        at_alice.done(Call::Edit(client::Edit { conversation: id, sequence: 3, body: "two!".into() }));
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
    for version in VERSIONS {
        let server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let (mut alice, web) = (Phone::connect(&server, &alice, version), Web::of(&server, &alice));
        for body in ["one", "oops", "worse", "four"] {
            alice.send("to/bob", body);
        }
        let (Change::Opened(_), _, _) = alice.change() else { panic!("not the opening") };
        let id = alice.done(Call::OpenDirect(client::OpenDirect { user: "bob".into() })).conversation;
        alice.done(Call::Recall(client::Recall { conversation: id, sequence: 3 }));
        web.done("DELETE", &format!("/conversations/{id}/messages/4"), None);
        let mut bob = Phone::connect(&server, &bob, version);
        bob.change();
        assert_eq!([bob.message().body, bob.message().body], ["one", "four"], "{version:?}");
        for recalled in [3, 4] {
            assert!(matches!(bob.change(), (Change::Recalled(sequence), _, 0) if sequence == recalled));
        }
        bob.refused(Call::Recall(client::Recall { conversation: id, sequence: 99 }), 0x90);
    }
}

#[test]
fn a_reply_an_edit_and_a_reaction_reach_the_other_side() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let web = Web::of(&server, &bob);
    let mut alice = Phone::connect(&server, &alice, Version::V5);
    alice.send("to/bob", "hello");
    alice.change();
    let id = alice.done(Call::OpenDirect(client::OpenDirect { user: "bob".into() })).conversation;
    let path = format!("/conversations/{id}/messages");
    let sent = web.done("POST", &path, Some(json!({ "body": base64("hi"), "reply_to": 2, "client_sequence": 1 })));
    assert_eq!(sent, json!({ "conversation": id, "sequence": 3 }));
    let again = web.done("POST", &path, Some(json!({ "body": base64("hi"), "reply_to": 2, "client_sequence": 1 })));
    assert_eq!(again, sent, "a retry takes effect once, and is told where it stands");
    let reply = alice.message();
    assert_eq!((&reply.body[..], reply.reply_to, reply.sender), (&b"hi"[..], 2, 1));
    web.done("PUT", &format!("{path}/3"), Some(json!({ "body": base64("hi there") })));
    assert!(matches!(alice.change().0, Change::Edited(it) if it.sequence == 3 && it.body == "hi there"));
    web.done("PUT", &format!("{path}/2/reaction"), Some(json!({ "reaction": "+1" })));
    assert!(matches!(alice.change().0, Change::Reacted(it) if it.sequence == 2 && it.reaction == "+1"));
    web.refused("PUT", &format!("{path}/2/reaction"), Some(json!({ "reaction": "x".repeat(33) })), 422);
}

#[test]
fn members_agree_that_messages_vanish() {
    let server = Server::with(&[("retention.history", "forever")]);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let (mut alice, web) = (Phone::connect(&server, &alice, Version::V5), Web::of(&server, &bob));
    let id = alice.done(Call::OpenDirect(client::OpenDirect { user: "bob".into() })).conversation;
    let path = format!("/conversations/{id}");
    let retention = json!({ "retention": { "history_days": 30, "expires_in_s": 1 } });
    web.done("PATCH", &path, Some(retention.clone()));
    assert_eq!(web.done("GET", &path, None)["retention"], retention["retention"]);
    alice.send("to/bob", "gone in a second");
    let kept = || web.done("GET", &format!("{path}/messages"), None)["messages"].as_array().map_or(0, Vec::len);
    crate::until("the message vanishes from history", || kept() == 2);
    let mut bob = Phone::connect(&server, &bob, Version::V5);
    assert!(matches!(bob.change().0, Change::Opened(_)));
    assert!(matches!(bob.change().0, Change::Retention(_)));
    alice.send("to/bob", "quick");
    assert_eq!(bob.message().body, "quick", "what had vanished is not delivered either");
}

#[test]
fn members_agree_on_more_history_than_usual() {
    let server = Server::with(&[("retention.history", "none"), ("retention.history_max", "30")]);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let (mut alice, web) = (Phone::connect(&server, &alice, Version::V5), Web::of(&server, &bob));
    alice.send("to/bob", "before");
    let id = alice.done(Call::OpenDirect(client::OpenDirect { user: "bob".into() })).conversation;
    let retention = client::Retention { history_days_plus_one: 8, expires_in_s: 0 };
    alice.done(Call::SetRetention(client::SetRetention { conversation: id, retention: Some(retention) }));
    alice.send("to/bob", "kept");
    let path = format!("/conversations/{id}");
    let kept = || web.done("GET", &format!("{path}/messages"), None)["messages"].clone();
    assert_eq!(kept().as_array().map(Vec::len), Some(2), "the change, and what came after it: {}", kept());
    assert_eq!(kept()[0]["body"], base64("kept"));
    web.done("PATCH", &path, Some(json!({ "retention": { "history_days": 0, "expires_in_s": 0 } })));
    assert_eq!(kept(), json!([]));
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
fn is_in(folder: &Path, needle: &[u8]) -> bool {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.into_iter().any(|path| match path.is_dir() {
        true => is_in(&path, needle),
        // The store may have dropped a file meanwhile.
        false => fs::read(&path).unwrap_or_default().windows(needle.len()).any(|window| window == needle),
    })
}
