//! Groups: who may what, who comes in, who hears of it.

use godwit_schemas::client::change::Change;
use godwit_schemas::client::{self, GroupSettings, Role, request::Call};
use serde_json::json;

use super::phone::Phone;
use super::web::Web;
use crate::mqtt::VERSIONS;
use crate::server::Server;

fn create(users: &[&str]) -> Call {
    let users = users.iter().map(|user| (*user).to_owned()).collect();
    Call::CreateGroup(client::CreateGroup { title: "hikers".into(), users })
}

fn set_role(conversation: u64, user: &str, role: Role) -> Call {
    Call::SetRole(client::SetRole { conversation, user: user.into(), role: role.into() })
}

fn remove(conversation: u64, user: &str) -> Call {
    Call::RemoveMember(client::RemoveMember { conversation, user: user.into() })
}

fn settings(conversation: u64, may_send: Role) -> Call {
    let settings =
        GroupSettings { may_send: may_send.into(), may_add: Role::Member.into(), ..GroupSettings::default() };
    Call::ChangeSettings(client::ChangeSettings { conversation, settings: Some(settings) })
}

#[test]
fn roles_settings_and_their_events_come_in_the_order_of_messages() {
    for version in VERSIONS {
        let server = Server::start();
        let accounts = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob, mut carol] = accounts.each_ref().map(|it| Phone::connect(&server, it, version));
        let id = alice.done(create(&["bob", "carol"])).conversation;
        for phone in [&mut alice, &mut bob, &mut carol] {
            assert!(matches!(phone.change(), (Change::Opened(_), 1, 0)));
        }
        bob.refused(settings(id, Role::Admin), 0x87);
        alice.done(set_role(id, "bob", Role::Admin));
        bob.done(settings(id, Role::Admin));
        alice.send(&format!("send/{id}"), "only admins may write");
        for phone in [&mut bob, &mut carol] {
            let (change, sequence, by) = phone.change();
            assert!(matches!(change, Change::Role(it) if it.user == "bob" && it.role() == Role::Admin));
            assert_eq!((sequence, by), (2, 0));
            assert!(matches!(phone.change(), (Change::Settings(_), 3, 1)));
            let message = phone.message();
            assert_eq!((message.sequence, &message.body[..]), (4, &b"only admins may write"[..]));
        }
        let refused = if version == crate::mqtt::Version::V5 { 0x87 } else { 0 };
        assert_eq!(carol.client.publish(&format!("send/{id}"), b"me too"), refused, "{version:?}");
        alice.done(set_role(id, "carol", Role::Owner));
        alice.refused(set_role(id, "alice", Role::Owner), 0x87);
        carol.done(set_role(id, "alice", Role::Member));
    }
}

#[test]
fn who_is_removed_gets_nothing_after_and_who_is_added_everything_from_then_on() {
    let server = Server::start();
    let accounts = ["alice", "bob", "carol", "dave"].map(|user| server.add_user(user, "phone"));
    let [mut alice, mut bob, mut carol, mut dave] =
        accounts.each_ref().map(|it| Phone::connect(&server, it, crate::mqtt::Version::V5));
    let id = alice.done(create(&["bob", "carol"])).conversation;
    let topic = format!("send/{id}");
    alice.send(&topic, "before");
    alice.done(remove(id, "carol"));
    alice.done(Call::AddMember(client::AddMember { conversation: id, user: "dave".into() }));
    alice.send(&topic, "after");
    // Behind it, what carol does get.
    alice.send("to/carol", "end");
    assert!(matches!(carol.change(), (Change::Opened(_), 1, _)));
    assert_eq!(carol.message().sequence, 2);
    assert!(matches!(carol.change(), (Change::Removed(2), 3, 0)));
    assert!(matches!(carol.change(), (Change::Opened(it), 1, _) if !it.group));
    assert_eq!(carol.message().body, "end");
    assert_eq!(carol.client.publish(&topic, b"still here?"), 0x87);
    assert!(matches!(dave.change(), (Change::Opened(it), 4, 0) if it.members.len() == 3));
    assert_eq!(dave.message().body, "after");
    bob.done(Call::Leave(client::Leave { conversation: id }));
    assert!(matches!(dave.change(), (Change::Removed(1), 6, 1)));
}

#[test]
fn an_invite_works_until_it_is_revoked_over_both_ways() {
    let server = Server::start();
    let accounts = ["alice", "bob", "carol", "dave"].map(|user| server.add_user(user, "phone"));
    let [mut alice, _, mut carol, mut dave] =
        accounts.each_ref().map(|it| Phone::connect(&server, it, crate::mqtt::Version::V5));
    let [web, bobs, _, daves] = accounts.each_ref().map(|it| Web::of(&server, it));
    let id = alice.done(create(&["bob"])).conversation;
    let path = format!("/conversations/{id}");
    bobs.refused("POST", &format!("{path}/invites"), Some(json!({})), 403);
    let made = web.done("POST", &format!("{path}/invites"), Some(json!({ "expires_in_s": 3_600 })));
    let invite = made["invite"].as_str().expect("an invite").to_owned();
    assert!(made["expires_in_s"].as_u64().is_some_and(|left| (3_500..=3_600).contains(&left)));
    assert_eq!(carol.done(Call::Join(client::Join { invite: invite.clone() })).conversation, id);
    assert!(matches!(carol.change(), (Change::Opened(it), 2, 2) if it.members.len() == 3));
    alice.change();
    assert!(matches!(alice.change(), (Change::Added(it), 2, 2) if it.user == "carol"));
    daves.refused("DELETE", &format!("/invites/{invite}"), None, 403);
    web.done("DELETE", &format!("/invites/{invite}"), None);
    daves.refused("POST", &format!("/invites/{invite}"), None, 404);
    dave.refused(Call::Join(client::Join { invite }), 0x90);
    assert_eq!(web.done("GET", &format!("{path}/invites"), None), json!({ "invites": [] }));

    // The rest of a group's life, over HTTP.
    web.done("POST", &format!("{path}/members"), Some(json!({ "user": "dave" })));
    web.done("PUT", &format!("{path}/members/dave"), Some(json!({ "role": "admin" })));
    daves.done("PATCH", &path, Some(json!({ "title": "walkers" })));
    daves.done("DELETE", &format!("{path}/members/carol"), None);
    bobs.done("DELETE", &format!("{path}/members/bob"), None);
    let description = daves.done("GET", &path, None);
    assert_eq!(description["title"], "walkers");
    let member = |user: &str, ordinal, role: &str| json!({ "user": user, "ordinal": ordinal, "role": role });
    assert_eq!(description["members"], json!([member("alice", 0, "owner"), member("dave", 3, "admin")]));
    bobs.refused("GET", &path, None, 403);
    bobs.refused("GET", "/conversations/999999", None, 404);
    bobs.refused("GET", "/conversations/x", None, 404);
}
