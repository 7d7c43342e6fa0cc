//! What strangers may do to a user, over MQTT and over HTTP: requests, groups, and whose inbox they fill.

use godwit_schemas::client::change::Change;
use godwit_schemas::client::{self, GroupsFrom, request::Call};

use super::user::{User, WAYS};
use crate::mqtt::{Client, RESUME};
use crate::server::Server;
use crate::until;

fn create(users: &[&str]) -> Call {
    let users = users.iter().map(|user| (*user).to_owned()).collect();
    Call::CreateGroup(client::CreateGroup { title: "g".into(), users })
}

fn add_contact(user: &str) -> Call {
    Call::AddContact(client::AddContact { user: user.into(), label: String::new() })
}

/// Whether the conversation is a request, as the list and its description say.
fn is_request(user: &mut User, conversation: u64) -> bool {
    let described = user
        .done(Call::Describe(client::Describe { conversation, ..Default::default() }))
        .description
        .expect("a description");
    let listed = user.done(Call::ListConversations(client::ListConversations::default())).conversations;
    let listed = listed.into_iter().find(|it| it.conversation == conversation).and_then(|it| it.description);
    assert_eq!(listed.map(|it| it.request), Some(described.request));
    described.request
}

#[test]
fn strangers_messages_wait_so_many_at_a_time_until_the_other_side_accepts_or_fetches_them() {
    for way in WAYS {
        let server = Server::with(&[("limits.request_messages", "3")]);
        let accounts = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
        let mut alice = User::connect(&server, &accounts[0], way);
        for body in ["one", "two", "three"] {
            alice.send("to/bob", body);
        }
        alice.send_refused("to/bob", "four", 0x97);
        // It is fetched: nobody answers, and it goes on.
        let mut bob = User::connect(&server, &accounts[1], way);
        assert!(matches!(bob.change(), (Change::Opened(it), 1, 0) if it.request), "{way:?}");
        for body in ["one", "two", "three"] {
            assert_eq!(bob.message().body, body);
        }
        bob.client.settle();
        let id = alice.done(Call::OpenDirect(client::OpenDirect { user: "bob".into() })).conversation;
        assert!(is_request(&mut bob, id) && !is_request(&mut alice, id));
        alice.send("to/bob", "five");
        bob.leave();
        alice.send("to/bob", "six");
        alice.send("to/bob", "seven");
        alice.send_refused("to/bob", "eight", 0x97);
        let mut bob = User::connect(&server, &accounts[1], way);
        bob.done(Call::Accept(client::Accept { conversation: id }));
        assert!(!is_request(&mut bob, id));
        bob.leave();
        for _ in 0..5 {
            alice.send("to/bob", "as many as there are");
        }
    }
}

#[test]
fn a_contact_is_no_stranger() {
    for way in WAYS {
        let server = Server::with(&[("limits.request_messages", "1")]);
        let accounts = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob, mut carol] = accounts.each_ref().map(|it| User::connect(&server, it, way));
        bob.done(add_contact("carol"));
        for _ in 0..3 {
            carol.send("to/bob", "hello");
        }
        alice.send("to/bob", "hello");
        alice.send_refused("to/bob", "hello?", 0x97);
        let id = alice.done(Call::OpenDirect(client::OpenDirect { user: "bob".into() })).conversation;
        assert!(is_request(&mut bob, id));
        bob.done(add_contact("alice"));
        until("what she has opened is accepted", || !is_request(&mut bob, id));
        alice.send("to/bob", "hello!");
    }
}

#[test]
fn a_user_says_who_may_add_it_to_groups_and_strangers_do_not_so_often() {
    for way in WAYS {
        let server = Server::with(&[("limits.stranger_adds_per_day", "2")]);
        let accounts = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob, mut carol] = accounts.each_ref().map(|it| User::connect(&server, it, way));
        let from = |from: GroupsFrom| {
            Call::SetProfile(client::SetProfile { groups_from: Some(from.into()), ..Default::default() })
        };
        bob.done(add_contact("carol"));
        bob.done(from(GroupsFrom::Nobody));
        carol.refused(create(&["bob"]), 0x87);
        bob.done(from(GroupsFrom::Contacts));
        carol.done(create(&["bob"]));
        alice.refused(create(&["bob"]), 0x87);
        let conversation = alice.done(create(&["carol"])).conversation;
        let add = || Call::AddMember(client::AddMember { conversation, user: "bob".into() });
        alice.refused(add(), 0x87);
        let invited = alice.done(Call::CreateInvite(client::CreateInvite { conversation, expires_in_s: 0 }));
        bob.done(Call::Join(client::Join { invite: invited.invites[0].invite.clone() }));
        assert!(!is_request(&mut bob, conversation), "{way:?}");
        bob.done(from(GroupsFrom::Everybody));
        let request = alice.done(create(&["bob"])).conversation;
        assert!(is_request(&mut bob, request));
        alice.done(create(&["bob"]));
        alice.refused(create(&["bob"]), 0x97);
        bob.done(Call::Leave(client::Leave { conversation: request }));
        alice.refused(create(&["bob"]), 0x97);
        carol.done(create(&["bob"]));
    }
}

/// Issue: an old device that is never there was filled with empty messages, and nobody could write to the user, nor to any
/// group that it was in.
#[test]
fn an_outsider_silences_nobody() {
    for way in WAYS {
        let server = Server::with(&[("limits.inbox_entries", "100"), ("limits.request_messages", "0")]);
        let accounts = ["alice", "victim", "mallory"].map(|user| server.add_user(user, "phone"));
        server.add_device("victim", "old");
        let [mut alice, mut victim] = [0, 1].map(|index| User::connect(&server, &accounts[index], way));
        let group = alice.done(create(&["victim"])).conversation;
        let topic = format!("send/{group}");
        assert!(matches!(victim.change(), (Change::Opened(_), 1, 0)));
        victim.send(&topic, "hello, alice");
        // Mallory fills what she may of it; the phone takes it all.
        let mut mallory = Client::connect(server.mqtt(), &accounts[2], way.version(), RESUME);
        for number in 0..200 {
            mallory.publish("to/victim", b"");
            if number % 10 == 9 {
                victim.client.settle();
                while !victim.client.is_idle() {
                    victim.client.receive();
                }
            }
        }
        alice.send(&topic, "hello, victim");
        loop {
            if let client::event::Event::Message(message) = victim.event()
                && message.conversation == group
            {
                break assert_eq!(message.body, "hello, victim", "{way:?}");
            }
        }
        let devices = victim.done(Call::ListDevices(client::ListDevices {})).devices;
        assert!(devices.iter().all(|device| !device.inbox_full), "half of it is not hers: {devices:?}");
        // Friends fill the old one: it is left out, and says so; the phone gets everything.
        for _ in 0..100 {
            alice.send(&topic, "more");
            assert_eq!(victim.message().body, "more");
        }
        let devices = victim.done(Call::ListDevices(client::ListDevices {})).devices;
        let full: Vec<_> = devices.iter().map(|it| (&it.device[..], it.inbox_full)).collect();
        assert_eq!(full, [("phone", false), ("old", true)], "{way:?}");
        assert!(devices[0].full_age_s.is_none() && devices[1].full_age_s.is_some());
        server.wait_for_log(&["an inbox is full"]);
        let notice = super::web::notice(&server);
        let uri = format!("{}/v1/admin/users/victim", notice.url);
        let shown = ureq::get(uri).header("authorization", format!("Bearer {}", notice.token)).call();
        let shown = shown.expect("an answer").body_mut().read_to_string().expect("a body");
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(shown["full"], serde_json::json!(["old"]));
    }
}
