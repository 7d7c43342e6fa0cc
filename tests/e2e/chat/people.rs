//! Profiles and contacts, and who is told that somebody is online.

use godwit_schemas::client::{self, Audience, Presence, request::Call};
use prost::Message as _;
use serde_json::{Value, json};

use super::phone::Phone;
use super::web::Web;
use crate::clients::{self, Subscriber};
use crate::mqtt::{Packet, VERSIONS, Version};
use crate::server::Server;

/// Nobody has to wait for those who have gone.
const AT_ONCE: &[(&str, &str)] = &[("limits.offline_after_s", "0")];

fn add(user: &str) -> Call {
    Call::AddContact(client::AddContact { user: user.into(), label: String::new() })
}

fn show_to(audience: Audience) -> Call {
    Call::SetProfile(client::SetProfile { presence_to: Some(audience.into()), ..Default::default() })
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
fn asked(phone: &mut Phone, of: &str) -> Presence {
    let call = Call::GetPresence(client::GetPresence { users: vec![of.into()] });
    let [presence] = &phone.done(call).presences[..] else { panic!("not one presence") };
    Presence { user: String::new(), ..presence.clone() }
}

fn online() -> Presence {
    Presence { online: true, ..Default::default() }
}

/// Offline, and how long is shown: a minute may have passed in a test.
fn is_just_gone(presence: &Presence) -> bool {
    !presence.online && (1..=3).contains(&presence.last_seen_plus_one_min)
}

#[test]
fn a_user_has_contacts_and_a_profile() {
    for version in VERSIONS {
        let server = Server::start();
        let [alice, bob] = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
        server.add_user("carol", "phone");
        let (mut phone, web) = (Phone::connect(&server, &alice, version), Web::of(&server, &alice));
        phone.done(Call::AddContact(client::AddContact { user: "carol".into(), label: "C".into() }));
        web.done("PUT", "/contacts/bob", Some(json!({ "label": "Bobby" })));
        phone.refused(add("nobody"), 0x90);
        phone.refused(add("alice"), 0x83);
        web.refused("PUT", "/contacts/nobody", Some(json!({ "label": "" })), 404);
        web.refused("PUT", "/contacts/bob", Some(json!({ "label": "x".repeat(129) })), 422);

        let at_bob = Web::of(&server, &bob);
        at_bob.done("PATCH", "/profile", Some(json!({ "name": "Bob", "picture": "m1" })));
        at_bob.done("PATCH", "/profile", Some(json!({ "about": "busy", "presence_to": "nobody" })));
        at_bob.refused("PATCH", "/profile", Some(json!({ "name": "x".repeat(129) })), 422);
        at_bob.refused("PATCH", "/profile", Some(json!({ "presence_to": "friends" })), 422);
        let profile = |presence_to: Value| json!({ "user": "bob", "name": "Bob", "about": "busy", "picture": "m1", "presence_to": presence_to });
        assert_eq!(at_bob.done("GET", "/profile", None), profile("nobody".into()));
        assert_eq!(web.done("GET", "/people/bob/profile", None), profile(Value::Null));
        let shown = phone.done(Call::GetProfile(client::GetProfile { user: "bob".into() })).profile.expect("a profile");
        assert_eq!((&shown.name[..], &shown.about[..], &shown.picture[..]), ("Bob", "busy", "m1"), "{version:?}");

        let page = web.done("GET", "/contacts?limit=1", None);
        let first = json!({ "contacts": [{ "user": "bob", "label": "Bobby", "name": "Bob" }], "next": "bob" });
        assert_eq!(page, first);
        let list = || Call::ListContacts(client::ListContacts { after: "bob".into(), limit: 0 });
        let rest = phone.done(list());
        let carol = client::Contact { user: "carol".into(), label: "C".into(), name: String::new() };
        assert_eq!((rest.contacts, &rest.next_contact[..]), (vec![carol], ""));
        phone.done(Call::RemoveContact(client::RemoveContact { user: "carol".into() }));
        web.done("DELETE", "/contacts/carol", None);
        assert!(phone.done(list()).contacts.is_empty());

        at_bob.done("PUT", "/blocked/alice", None);
        phone.refused(Call::GetProfile(client::GetProfile { user: "bob".into() }), 0x90);
        web.refused("GET", "/people/bob/profile", None, 404);
        assert_eq!(web.done("GET", "/contacts", None)["contacts"][0]["name"], "", "its name is hidden");
        assert_eq!(server.run(&["user", "remove", "bob"]).code, Some(0));
        assert_eq!(web.done("GET", "/contacts", None)["contacts"], json!([]), "a removed user is nobody's contact");
    }
}

#[test]
fn contacts_see_each_other_come_and_go_as_each_lets_them() {
    for version in VERSIONS {
        let server = Server::with(AT_ONCE);
        let accounts = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
        let [alice, bob, carol] = accounts.each_ref();
        let (mut alice, mut carol) = (Phone::connect(&server, alice, version), Phone::connect(&server, carol, version));
        let (web, at_bob) = (Web::of(&server, &accounts[0]), Web::of(&server, bob));
        let over_http = || web.done("GET", "/presence?users=bob,nobody", None)["presences"].clone();
        let http = |user: &str, online, age| json!({ "user": user, "online": online, "last_seen_age_min": age });
        for phone in [&mut alice, &mut carol] {
            phone.done(add("bob"));
            listen(phone);
        }
        at_bob.done("PUT", "/contacts/alice", Some(json!({ "label": "" })));

        // Contacts only: Alice is one, Carol is none.
        let phone = Phone::connect(&server, bob, version);
        assert_eq!(news(&mut alice, "bob"), online(), "{version:?}");
        assert_eq!((asked(&mut alice, "bob"), asked(&mut carol, "bob")), (online(), Presence::default()));
        assert_eq!(over_http(), json!([http("bob", true, None::<u32>), http("nobody", false, None)]));
        phone.client.disconnect();
        assert!(is_just_gone(&news(&mut alice, "bob")));
        assert!(is_just_gone(&asked(&mut alice, "bob")));
        assert!(over_http()[0]["last_seen_age_min"].as_u64().is_some_and(|age| age <= 2));
        assert_eq!(asked(&mut carol, "bob"), Presence::default());

        // Nobody: neither when it comes, nor when it was.
        let mut phone = Phone::connect(&server, bob, version);
        assert_eq!(news(&mut alice, "bob"), online());
        phone.done(show_to(Audience::Nobody));
        assert_eq!(news(&mut alice, "bob"), Presence::default(), "shown no more");
        assert_eq!(over_http(), json!([http("bob", false, None::<u32>), http("nobody", false, None)]));

        // Everybody, but for whom it has blocked: that looks as above.
        phone.done(show_to(Audience::Everybody));
        assert_eq!([news(&mut alice, "bob"), news(&mut carol, "bob")], [online(), online()]);
        phone.done(Call::Block(client::Block { user: "alice".into() }));
        assert_eq!(news(&mut alice, "bob"), Presence::default());
        phone.client.disconnect();
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
    assert!(is_just_gone(&asked(&mut Phone::connect(&server, &alice, Version::V5), "bob")), "killed");
    let carol = server.add_user("carol", "phone");
    let mut at_carol = Phone::connect(&server, &carol, Version::V5);
    at_carol.done(show_to(Audience::Everybody));
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert!(is_just_gone(&asked(&mut Phone::connect(&server, &alice, Version::V5), "carol")), "stopped");
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
