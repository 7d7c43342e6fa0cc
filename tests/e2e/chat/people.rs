//! Profiles and contacts, and who is told that somebody is online.

use godwit_schemas::client::{self, Audience, GroupsFrom, Presence, request::Call};
use prost::Message as _;
use serde_json::json;

use super::phone::Phone;
use super::user::{User, WAYS, Way};
use super::web::Web;
use crate::clients::{self, Subscriber};
use crate::mqtt::{Packet, Version};
use crate::server::Server;

/// Nobody has to wait for those who have gone.
const AT_ONCE: &[(&str, &str)] = &[("limits.offline_after_s", "0")];

fn label(user: &str, label: &str) -> Call {
    Call::AddContact(client::AddContact { user: user.into(), label: label.into() })
}

fn add(user: &str) -> Call {
    label(user, "")
}

fn block(user: &str) -> Call {
    Call::Block(client::Block { user: user.into() })
}

fn show_to(audience: Audience) -> Call {
    Call::SetProfile(client::SetProfile { presence_to: Some(audience.into()), ..Default::default() })
}

fn groups_from(from: GroupsFrom) -> Call {
    Call::SetProfile(client::SetProfile { groups_from: Some(from.into()), ..Default::default() })
}

fn listen(phone: &mut Phone) {
    assert_eq!(phone.client.subscribe("presence/+"), 1);
}

/// The next news of a user.
fn news(phone: &mut Phone, of: &str) -> Presence {
    let topic = format!("presence/{of}");
    phone.client.take(&format!("news of {of}"), |packet| match packet {
        Packet::Publish(it) if it.topic == topic => Presence::decode(&it.payload[..]).ok(),
        _ => None,
    })
}

/// What somebody is told who asks.
pub(super) fn asked(user: &mut User, of: &str) -> Presence {
    let call = Call::GetPresence(client::GetPresence { users: vec![of.into()] });
    let [presence] = &user.done(call).presences[..] else { panic!("not one presence") };
    Presence { user: String::new(), ..presence.clone() }
}

fn online() -> Presence {
    Presence { online: true, ..Default::default() }
}

/// Offline, and how long is shown: a minute may have passed in a test.
fn is_just_gone(presence: &Presence) -> bool {
    !presence.online && presence.last_seen_age_min.is_some_and(|age| age <= 2)
}

#[test]
fn a_user_has_contacts() {
    for way in WAYS {
        let server = Server::start();
        let [alice, bob] = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
        server.add_user("carol", "phone");
        let [mut alice, mut bob] = [&alice, &bob].map(|it| User::connect(&server, it, way));
        alice.done(label("carol", "C"));
        alice.done(label("bob", "Bobby"));
        alice.refused(add("nobody"), 0x90);
        alice.refused(add("alice"), 0x83);
        alice.refused(label("bob", &"x".repeat(129)), 0x83);
        bob.done(Call::SetProfile(client::SetProfile { name: Some("Bob".into()), ..Default::default() }));
        let list = |after: &str, limit| Call::ListContacts(client::ListContacts { after: after.into(), limit });
        let contact = |user: &str, label: &str, name: &str| {
            let [user, label, name] = [user, label, name].map(str::to_owned);
            client::Contact { user, label, name }
        };
        let first = alice.done(list("", 1));
        assert_eq!((first.contacts, &first.next_contact[..]), (vec![contact("bob", "Bobby", "Bob")], "bob"), "{way:?}");
        let rest = alice.done(list("bob", 0));
        assert_eq!((rest.contacts, &rest.next_contact[..]), (vec![contact("carol", "C", "")], ""));
        let remove = || Call::RemoveContact(client::RemoveContact { user: "carol".into() });
        alice.done(remove());
        alice.done(remove());
        bob.done(block("alice"));
        assert_eq!(alice.done(list("", 0)).contacts, [contact("bob", "Bobby", "")], "its name is hidden");
        assert_eq!(server.run(&["user", "remove", "bob"]).code, Some(0));
        assert_eq!(alice.done(list("", 0)).contacts, [], "a removed user is nobody's contact");
    }
}

#[test]
fn a_user_has_a_profile() {
    for way in WAYS {
        let server = Server::start();
        let [alice, bob] = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
        let web = Web::of(&server, &bob);
        let [mut alice, mut bob] = [&alice, &bob].map(|it| User::connect(&server, it, way));
        let set = |name: Option<&str>, about: Option<&str>, picture: Option<&str>| {
            let [name, about, picture] = [name, about, picture].map(|text| text.map(str::to_owned));
            Call::SetProfile(client::SetProfile { name, about, picture, ..Default::default() })
        };
        bob.done(set(Some("Bob"), None, Some("m1")));
        bob.done(set(None, Some("busy"), None));
        bob.done(show_to(Audience::Nobody));
        bob.done(groups_from(GroupsFrom::Contacts));
        bob.refused(set(Some(&"x".repeat(129)), None, None), 0x83);
        let profile = |of: &str| Call::GetProfile(client::GetProfile { user: of.into() });
        let [user, name, about, picture] = ["bob", "Bob", "busy", "m1"].map(str::to_owned);
        let (presence_to, groups_from) = (Audience::Nobody.into(), GroupsFrom::Contacts.into());
        let own = client::Profile { user, name, about, picture, presence_to, groups_from };
        assert_eq!(bob.done(profile("")).profile, Some(own.clone()), "{way:?}");
        let shown = alice.done(profile("bob")).profile.expect("a profile");
        assert_eq!(
            shown,
            client::Profile { presence_to: shown.presence_to, groups_from: shown.groups_from, ..own },
            "but for whom it shows presence to, and who may add it to groups"
        );
        web.refused("PATCH", "/profile", Some(json!({ "presence_to": "friends" })), 422);
        bob.done(block("alice"));
        alice.refused(profile("bob"), 0x90);
    }
}

#[test]
fn contacts_see_each_other_come_and_go_as_each_lets_them() {
    for way in WAYS {
        let server = Server::with(AT_ONCE);
        let accounts = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
        let [alice, bob, carol] = accounts.each_ref();
        let (mut alice, mut carol) = (User::connect(&server, alice, way), User::connect(&server, carol, way));
        for user in [&mut alice, &mut carol] {
            user.done(add("bob"));
            listen(user);
        }
        Web::of(&server, bob).done("PUT", "/contacts/alice", Some(json!({ "label": "" })));
        assert_eq!(asked(&mut alice, "nobody"), Presence::default());

        // Contacts only: Alice is one, Carol is none.
        let user = User::connect(&server, bob, way);
        assert_eq!(news(&mut alice, "bob"), online(), "{way:?}");
        assert_eq!((asked(&mut alice, "bob"), asked(&mut carol, "bob")), (online(), Presence::default()));
        user.leave();
        assert!(is_just_gone(&news(&mut alice, "bob")));
        assert!(is_just_gone(&asked(&mut alice, "bob")));
        assert_eq!(asked(&mut carol, "bob"), Presence::default());

        // Nobody: neither when it comes, nor when it was.
        let mut user = User::connect(&server, bob, way);
        assert_eq!(news(&mut alice, "bob"), online());
        user.done(show_to(Audience::Nobody));
        assert_eq!(news(&mut alice, "bob"), Presence::default(), "shown no more");
        assert_eq!(asked(&mut alice, "bob"), Presence::default());

        // Everybody, but for whom it has blocked: that looks as above.
        user.done(show_to(Audience::Everybody));
        assert_eq!([news(&mut alice, "bob"), news(&mut carol, "bob")], [online(), online()]);
        user.done(block("alice"));
        assert_eq!(news(&mut alice, "bob"), Presence::default());
        user.leave();
        assert!(is_just_gone(&news(&mut carol, "bob")));
        assert_eq!(asked(&mut alice, "bob"), Presence::default());
        alice.client.settle();
        assert!(alice.client.is_idle(), "a blocked user hears nothing");
    }
}

#[test]
fn a_phone_that_flaps_is_no_news() {
    let server = Server::with(&[("limits.offline_after_s", "1")]);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    Web::of(&server, &bob).done("PUT", "/contacts/alice", Some(json!({ "label": "" })));
    let mut alice = Phone::connect(&server, &alice, Version::V5);
    alice.done(add("bob"));
    listen(&mut alice);
    let mut phone = Phone::connect(&server, &bob, Version::V5);
    assert_eq!(news(&mut alice, "bob"), online());
    for _ in 0..5 {
        phone.client.disconnect();
        phone = Phone::connect(&server, &bob, Version::V5);
    }
    phone.client.disconnect();
    assert!(is_just_gone(&news(&mut alice, "bob")), "the next that is heard");
}

#[test]
fn when_somebody_was_last_seen_outlives_the_server_however_it_ends() {
    let mut server = Server::with(AT_ONCE);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut at_bob = Phone::connect(&server, &bob, Version::V5);
    at_bob.done(show_to(Audience::Everybody));
    let mut at_alice = Phone::connect(&server, &alice, Version::V5);
    at_bob.done(add("alice"));
    at_alice.done(add("bob"));
    listen(&mut at_alice);
    assert_eq!(news(&mut at_alice, "bob"), online(), "so it is on its way to the store too");
    // Behind it in the same lane.
    at_bob.done(show_to(Audience::Everybody));
    server.kill_and_start();
    let ask = |server: &Server, of| asked(&mut User::connect(server, &alice, Way::Mqtt(Version::V5)), of);
    assert!(is_just_gone(&ask(&server, "bob")), "killed");
    let carol = server.add_user("carol", "phone");
    let mut at_carol = Phone::connect(&server, &carol, Version::V5);
    at_carol.done(show_to(Audience::Everybody));
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert!(is_just_gone(&ask(&server, "carol")), "stopped");
}

#[test]
fn mosquitto_hears_who_is_there() {
    for version in clients::VERSIONS {
        let server = Server::with(AT_ONCE);
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        for (account, other) in [(&alice, "bob"), (&bob, "alice")] {
            Web::of(&server, account).done("PUT", &format!("/contacts/{other}"), Some(json!({ "label": "" })));
        }
        let phone = Phone::connect(&server, &bob, Version::V5);
        let mut subscriber = Subscriber::of(&server, &alice, version, "presence/+", 2);
        let topic = "presence/bob".to_owned();
        let payload = |presence: &Presence| String::from_utf8(presence.encode_to_vec()).expect("small numbers");
        assert_eq!(subscriber.next(), (topic.clone(), payload(&online())), "it was there before");
        phone.client.disconnect();
        let (of, gone) = subscriber.next();
        assert_eq!(of, topic);
        assert!(is_just_gone(&Presence::decode(gone.as_bytes()).expect("a Presence")));
        subscriber.end();
    }
}
