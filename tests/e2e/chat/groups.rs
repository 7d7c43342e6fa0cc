//! Groups: who may what, who comes in, who hears of it.

use godwit_schemas::client::change::Change;
use godwit_schemas::client::{self, GroupSettings, Role, request::Call};

use super::user::{User, WAYS};
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

fn add(conversation: u64, user: &str) -> Call {
    Call::AddMember(client::AddMember { conversation, user: user.into() })
}

fn settings(conversation: u64, may_send: Role) -> Call {
    let settings =
        GroupSettings { may_send: may_send.into(), may_add: Role::Member.into(), ..GroupSettings::default() };
    Call::ChangeSettings(client::ChangeSettings { conversation, settings: Some(settings) })
}

#[test]
fn roles_settings_and_their_events_come_in_the_order_of_messages() {
    for way in WAYS {
        let server = Server::start();
        let accounts = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob, mut carol] = accounts.each_ref().map(|it| User::connect(&server, it, way));
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
        carol.send_refused(&format!("send/{id}"), "me too", 0x87);
        alice.done(set_role(id, "carol", Role::Owner));
        alice.refused(set_role(id, "alice", Role::Owner), 0x87);
        carol.done(set_role(id, "alice", Role::Member));
    }
}

#[test]
fn who_is_removed_gets_nothing_after_and_who_is_added_everything_from_then_on() {
    for way in WAYS {
        let server = Server::start();
        let accounts = ["alice", "bob", "carol", "dave"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob, mut carol, mut dave] = accounts.each_ref().map(|it| User::connect(&server, it, way));
        let id = alice.done(create(&["bob", "carol"])).conversation;
        let topic = format!("send/{id}");
        alice.send(&topic, "before");
        alice.done(remove(id, "carol"));
        alice.done(add(id, "dave"));
        alice.send(&topic, "after");
        // Behind it, what carol does get.
        alice.send("to/carol", "end");
        assert!(matches!(carol.change(), (Change::Opened(_), 1, _)));
        assert_eq!(carol.message().sequence, 2, "{way:?}");
        assert!(matches!(carol.change(), (Change::Removed(2), 3, 0)));
        assert!(matches!(carol.change(), (Change::Opened(it), 1, _) if !it.group));
        assert_eq!(carol.message().body, "end");
        carol.send_refused(&topic, "still here?", 0x87);
        assert!(matches!(dave.change(), (Change::Opened(it), 4, 0) if it.members.len() == 3));
        assert_eq!(dave.message().body, "after");
        bob.done(Call::Leave(client::Leave { conversation: id }));
        assert!(matches!(dave.change(), (Change::Removed(1), 6, 1)));
    }
}

#[test]
fn an_invite_works_until_it_is_revoked() {
    for way in WAYS {
        let server = Server::start();
        let accounts = ["alice", "bob", "carol", "dave"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob, mut carol, mut dave] = accounts.each_ref().map(|it| User::connect(&server, it, way));
        let id = alice.done(create(&["bob"])).conversation;
        let invites = |expires_in_s| Call::CreateInvite(client::CreateInvite { conversation: id, expires_in_s });
        bob.refused(invites(0), 0x87);
        let made = alice.done(invites(3_600)).invites.remove(0);
        assert!(made.expires_in_s.is_some_and(|left_s| (3_500..=3_600).contains(&left_s)), "{made:?}");
        let invite = made.invite;
        let join = || Call::Join(client::Join { invite: invite.clone() });
        assert_eq!(carol.done(join()).conversation, id, "{way:?}");
        assert!(matches!(carol.change(), (Change::Opened(it), 2, 2) if it.members.len() == 3));
        alice.change();
        assert!(matches!(alice.change(), (Change::Added(it), 2, 2) if it.user == "carol"));
        let revoke = || Call::RevokeInvite(client::RevokeInvite { invite: invite.clone() });
        dave.refused(revoke(), 0x87);
        alice.done(revoke());
        dave.refused(join(), 0x90);
        assert_eq!(alice.done(Call::ListInvites(client::ListInvites { conversation: id })).invites, []);
    }
}

#[test]
fn a_group_is_described_as_its_members_left_it() {
    for way in WAYS {
        let server = Server::start();
        let accounts = ["alice", "bob", "carol", "dave"].map(|user| server.add_user(user, "phone"));
        let [mut alice, mut bob, _, mut dave] = accounts.each_ref().map(|it| User::connect(&server, it, way));
        let id = alice.done(create(&["bob", "carol"])).conversation;
        let describe = |conversation| Call::Describe(client::Describe { conversation, counter: 0 });
        let rename = |title: &str| Call::Rename(client::Rename { conversation: id, title: title.to_owned() });
        alice.done(add(id, "dave"));
        alice.done(set_role(id, "dave", Role::Admin));
        dave.done(rename("walkers"));
        dave.done(remove(id, "carol"));
        bob.done(Call::Leave(client::Leave { conversation: id }));
        let described = dave.done(describe(id)).description.expect("a description");
        assert_eq!((described.group, &described.title[..]), (true, "walkers"), "{way:?}");
        let member = |user: &str, ordinal, role: Role| client::Member { ordinal, user: user.into(), role: role.into() };
        assert_eq!(described.members, [member("alice", 0, Role::Owner), member("dave", 3, Role::Admin)]);
        dave.refused(rename(&"x".repeat(257)), 0x83);
        bob.refused(describe(id), 0x87);
        bob.refused(describe(999_999), 0x90);
    }
}
