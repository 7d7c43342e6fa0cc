//! Groups: who may do what, and who hears of it.

use godwit_schemas::client::{Role, change};

use super::*;

/// What the devices are told, in order.
fn told(outcome: &Outcome) -> Vec<(u64, change::Change)> {
    let changes = outcome.entries.iter().map(|entry| {
        let change = Entry::decode(entry.value.clone()).unwrap();
        let change = client::Change::decode(change.content).unwrap().change.unwrap();
        (entry.device.get(), change)
    });
    changes.collect()
}

fn set_role(id: ConversationId, user: &str, role: Role) -> Call {
    Call::SetRole(client::SetRole { conversation: id.get(), user: user.into(), role: role.into() })
}

#[test]
fn groups_are_made_and_changed_by_those_who_may() {
    let mut scene = Scene::new();
    let id = scene.group(&["bob", "carol"]);
    let conversation = id.get();
    let add = |user: &str| Call::AddMember(client::AddMember { conversation, user: user.into() });
    let remove = |user: &str| Call::RemoveMember(client::RemoveMember { conversation, user: user.into() });
    let leave = || Call::Leave(client::Leave { conversation });
    let rename = |title: &str| Call::Rename(client::Rename { conversation, title: title.into() });
    let describe = || Call::Describe(client::Describe { conversation, counter: 0 });
    let mut reason = |from, call| Reason::from_u32(scene.call(from, call).0.reason);

    assert_eq!(reason("bob", add("dave")), Reason::NOT_AUTHORIZED);
    assert_eq!(reason("dave", describe()), Reason::NOT_AUTHORIZED);
    assert_eq!(reason("alice", add("bob")), Reason::IMPLEMENTATION_SPECIFIC);
    assert_eq!(reason("alice", add("nobody")), Reason::TOPIC_NAME_INVALID);
    assert_eq!(reason("alice", add("dave")), Reason::SUCCESS);
    assert_eq!(reason("alice", add("erin")), Reason::QUOTA_EXCEEDED);
    assert_eq!(reason("alice", rename(&"x".repeat(257))), Reason::IMPLEMENTATION_SPECIFIC);
    assert_eq!(reason("alice", rename("walkers")), Reason::SUCCESS);
    assert_eq!(reason("alice", remove("dave")), Reason::SUCCESS);
    assert_eq!(reason("dave", leave()), Reason::NOT_AUTHORIZED);
    assert_eq!(reason("alice", leave()), Reason::SUCCESS);
    assert_eq!(reason("bob", remove("carol")), Reason::SUCCESS, "bob inherited");
    let (response, _) = scene.call("bob", describe());
    let description = response.description.unwrap();
    assert_eq!((description.title.as_str(), description.members.len()), ("walkers", 1));
    assert_eq!(published(&scene.post("carol", To::Conversation(id), b"")).0, Reason::NOT_AUTHORIZED);
}

#[test]
fn a_removed_member_gets_its_removal_and_nothing_after() {
    let mut scene = Scene::new();
    let id = scene.group(&["bob", "carol"]);
    let remove = Call::RemoveMember(client::RemoveMember { conversation: id.get(), user: "carol".into() });
    let (_, outcome) = scene.call("alice", remove);
    assert_eq!(recipients(&outcome, EntryKind::Change), [1, 9, 2, 3]);
    assert_eq!(recipients(&scene.post("alice", To::Conversation(id), b"x"), EntryKind::Message), [9, 2]);
}

#[test]
fn roles_are_given_by_those_who_have_more() {
    let mut scene = Scene::new();
    let id = scene.group(&["bob", "carol"]);
    let mut reason = |from, call| Reason::from_u32(scene.call(from, call).0.reason);
    assert_eq!(reason("bob", set_role(id, "carol", Role::Admin)), Reason::NOT_AUTHORIZED);
    assert_eq!(reason("alice", set_role(id, "dave", Role::Admin)), Reason::IMPLEMENTATION_SPECIFIC);
    assert_eq!(reason("alice", set_role(id, "alice", Role::Member)), Reason::NOT_AUTHORIZED, "there is one owner");
    assert_eq!(reason("alice", set_role(id, "bob", Role::Admin)), Reason::SUCCESS);
    assert_eq!(reason("bob", set_role(id, "carol", Role::Owner)), Reason::NOT_AUTHORIZED);
    assert_eq!(reason("bob", set_role(id, "carol", Role::Admin)), Reason::SUCCESS);
    assert_eq!(reason("bob", set_role(id, "carol", Role::Member)), Reason::NOT_AUTHORIZED);
    let unknown = client::SetRole { conversation: id.get(), user: "bob".into(), role: 7 };
    assert_eq!(reason("alice", Call::SetRole(unknown)), Reason::IMPLEMENTATION_SPECIFIC);

    let (_, outcome) = scene.call("alice", set_role(id, "carol", Role::Owner));
    let carol = client::Member { ordinal: 2, user: "carol".into(), role: Role::Owner.into() };
    let expected: Vec<_> = [1, 9, 2, 3].map(|device| (device, change::Change::Role(carol.clone()))).into();
    assert_eq!(told(&outcome), expected);
    let roles =
        |scene: &Scene| scene.cache.conversation(id).unwrap().members.iter().map(|m| m.role).collect::<Vec<_>>();
    assert_eq!(roles(&scene), [Role::Admin, Role::Admin, Role::Owner]);
}

#[test]
fn settings_say_who_may_send_add_and_rename() {
    let mut scene = Scene::new();
    let id = scene.group(&["bob"]);
    let conversation = id.get();
    let settings = |may_send: Role, may_add: Role, may_rename: Role| {
        let settings = client::GroupSettings {
            may_send: may_send.into(),
            may_add: may_add.into(),
            may_rename: may_rename.into(),
            history_for_new: false,
        };
        Call::ChangeSettings(client::ChangeSettings { conversation, settings: Some(settings) })
    };
    let rename = || Call::Rename(client::Rename { conversation, title: "t".into() });
    let reason = |scene: &mut Scene, from, call| Reason::from_u32(scene.call(from, call).0.reason);
    let open = settings(Role::Member, Role::Member, Role::Member);
    assert_eq!(reason(&mut scene, "bob", open.clone()), Reason::NOT_AUTHORIZED);
    assert_eq!(reason(&mut scene, "bob", rename()), Reason::NOT_AUTHORIZED);
    let (response, outcome) = scene.call("alice", open);
    assert_eq!(response.reason, 0);
    assert!(matches!(told(&outcome)[..], [(1, change::Change::Settings(_)), (9, _), (2, _)]));
    assert_eq!(reason(&mut scene, "bob", rename()), Reason::SUCCESS);
    let add = Call::AddMember(client::AddMember { conversation, user: "carol".into() });
    assert_eq!(reason(&mut scene, "bob", add), Reason::SUCCESS);

    assert_eq!(reason(&mut scene, "alice", settings(Role::Admin, Role::Owner, Role::Owner)), Reason::SUCCESS);
    assert_eq!(published(&scene.post("bob", To::Conversation(id), b"x")).0, Reason::NOT_AUTHORIZED);
    assert_eq!(published(&scene.post("alice", To::Conversation(id), b"x")).0, Reason::SUCCESS);
    let unknown = client::GroupSettings { may_send: 9, ..Default::default() };
    let unknown = Call::ChangeSettings(client::ChangeSettings { conversation, settings: Some(unknown) });
    assert_eq!(reason(&mut scene, "alice", unknown), Reason::IMPLEMENTATION_SPECIFIC);
}

#[test]
fn an_invite_lets_in_until_it_is_revoked_or_over() {
    let mut scene = Scene::new();
    let id = scene.group(&["bob"]);
    let conversation = id.get();
    let create = |expires_in_s| Call::CreateInvite(client::CreateInvite { conversation, expires_in_s });
    let join = |invite: &str| Call::Join(client::Join { invite: invite.into() });
    let reason = |scene: &mut Scene, from, call| Reason::from_u32(scene.call(from, call).0.reason);
    assert_eq!(reason(&mut scene, "bob", create(0)), Reason::NOT_AUTHORIZED);
    let (response, outcome) = scene.call("alice", create(0));
    let invite = response.invites[0].invite.clone();
    assert!(outcome.durable && outcome.entries.is_empty(), "nobody is told");

    let wrong = format!("{conversation}-{:032x}", 5);
    for bad in ["", "x", "999-00", &wrong] {
        assert_eq!(reason(&mut scene, "carol", join(bad)), Reason::TOPIC_NAME_INVALID, "{bad}");
    }
    let (response, outcome) = scene.call("carol", join(&invite));
    assert_eq!((response.reason, response.conversation), (0, conversation));
    let told = told(&outcome);
    assert!(matches!(&told[..], [(1, change::Change::Added(_)), (9, _), (2, _), (3, change::Change::Opened(_))]));
    assert_eq!(reason(&mut scene, "carol", join(&invite)), Reason::IMPLEMENTATION_SPECIFIC, "a member already");

    let revoke = || Call::RevokeInvite(client::RevokeInvite { invite: invite.clone() });
    assert_eq!(reason(&mut scene, "carol", revoke()), Reason::NOT_AUTHORIZED);
    assert_eq!(reason(&mut scene, "alice", revoke()), Reason::SUCCESS);
    assert_eq!(reason(&mut scene, "dave", join(&invite)), Reason::TOPIC_NAME_INVALID);
    assert_eq!(reason(&mut scene, "alice", revoke()), Reason::TOPIC_NAME_INVALID);

    for _ in 0..16 {
        assert_eq!(reason(&mut scene, "alice", create(1)), Reason::SUCCESS);
    }
    assert_eq!(reason(&mut scene, "alice", create(1)), Reason::QUOTA_EXCEEDED);
    let list = || Call::ListInvites(client::ListInvites { conversation });
    assert_eq!(scene.call("alice", list()).0.invites.len(), 16);
    scene.now_s += 1;
    assert_eq!(reason(&mut scene, "dave", join(&invite)), Reason::TOPIC_NAME_INVALID);
    assert!(scene.call("alice", list()).0.invites.is_empty());
    assert_eq!(reason(&mut scene, "alice", create(1)), Reason::SUCCESS, "those that are over do not count");
}

#[test]
fn a_blocked_user_sees_the_first_tick_and_nothing_else() {
    let mut scene = Scene::new();
    let before = published(&scene.post("alice", To::User(user("bob")), b"before")).2;
    let group = scene.group(&["bob"]);
    scene.block("bob", "alice");
    let outcome = scene.post("alice", To::User(user("bob")), b"hello");
    let (reason, conversation, _) = published(&outcome);
    assert_eq!(reason, Reason::SUCCESS);
    assert_eq!(recipients(&outcome, EntryKind::Message), [9], "a copy for Alice's tablet");
    // What came before is acknowledged and read now: that stays untold.
    let acked = acked("bob", 2, conversation, received(before, before, &[0]), &[]);
    let read = Command::Read { origin: origin("bob"), conversation, up_to: before };
    for command in [acked, read] {
        let outcome = scene.run(command);
        assert!(!outcome.effects.iter().any(|effect| matches!(effect.kind, EffectKind::Tick { .. })));
        assert!(!outcome.changes.iter().any(|change| matches!(change, StoreChange::Receipt(..))));
    }
    // The other direction is open, and so are groups.
    assert_eq!(recipients(&scene.post("bob", To::User(user("alice")), b"x"), EntryKind::Message), [1, 9]);
    assert_eq!(recipients(&scene.post("alice", To::Conversation(group), b"x"), EntryKind::Message), [9, 2]);
}

#[test]
fn a_conversation_opened_by_a_blocked_user_is_not_noticed() {
    let mut scene = Scene::new();
    scene.block("bob", "alice");
    let open = || Call::OpenDirect(client::OpenDirect { user: "bob".into() });
    let (response, outcome) = scene.call("alice", open());
    assert_eq!((response.reason, recipients(&outcome, EntryKind::Change)), (0, vec![1, 9]));
    let (again, outcome) = scene.call("alice", open());
    assert_eq!((again.conversation, outcome.changes.len()), (response.conversation, 0));
}
