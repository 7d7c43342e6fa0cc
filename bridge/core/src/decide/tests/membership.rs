//! A user is in so many conversations and no more.

use super::*;

fn open(with: &str) -> Call {
    Call::OpenDirect(client::OpenDirect { user: with.into() })
}

fn create(with: &[&str]) -> Call {
    Call::CreateGroup(client::CreateGroup {
        title: "g".into(),
        users: with.iter().map(|user| (*user).to_owned()).collect(),
    })
}

/// Everybody has everybody as a contact: strangers may do less.
fn acquainted() -> Scene {
    let mut scene = Scene::new();
    let names = ["alice", "bob", "carol", "dave", "erin"];
    scene.contacts = names.iter().flat_map(|one| names.map(|other| (user(one), user(other)))).collect();
    scene
}

/// Two conversations are as many as a user may be in. Alice is in as many: with Bob and Carol, and with Bob alone.
fn scene() -> (Scene, ConversationId) {
    let mut scene = acquainted();
    scene.rules.conversations_per_user = 2;
    let group = scene.group(&["bob", "carol"]);
    assert_eq!(published(&scene.post("alice", To::User(user("bob")), b"hi")).0, Reason::SUCCESS);
    scene.cache.seal();
    (scene, group)
}

fn refused(scene: &mut Scene, from: &str, call: Call, who: &str) {
    let (response, outcome) = scene.call(from, call);
    assert_eq!(Reason::from_u32(response.reason), Reason::QUOTA_EXCEEDED);
    assert!(response.text.starts_with(who), "{}", response.text);
    assert!(outcome.entries.is_empty() && outcome.changes.is_empty());
}

#[test]
fn who_is_in_enough_opens_and_joins_no_more_and_is_not_added() {
    let (mut scene, group) = scene();
    for call in [open("dave"), create(&["dave"])] {
        refused(&mut scene, "alice", call, "you are");
    }
    for call in [open("alice"), create(&["alice"]), create(&["erin", "bob"])] {
        refused(&mut scene, "dave", call, "another user");
    }
    let outcome = scene.post("alice", To::User(user("dave")), b"hi");
    assert_eq!(published(&outcome).0, Reason::QUOTA_EXCEEDED);
    assert!(outcome.changes.is_empty());

    let (created, _) = scene.call("carol", create(&["dave"]));
    let conversation = created.conversation;
    let add = Call::AddMember(client::AddMember { conversation, user: "bob".into() });
    refused(&mut scene, "carol", add, "another user");
    let (invited, _) = scene.call("carol", Call::CreateInvite(client::CreateInvite { conversation, expires_in_s: 0 }));
    let join = || Call::Join(client::Join { invite: invited.invites[0].invite.clone() });
    refused(&mut scene, "bob", join(), "you are");

    // What there is goes on, and a place that is left is free again.
    assert_eq!(published(&scene.post("alice", To::Conversation(group), b"hi")).0, Reason::SUCCESS);
    assert_eq!(published(&scene.post("bob", To::User(user("alice")), b"hi")).0, Reason::SUCCESS);
    let (left, _) = scene.call("bob", Call::Leave(client::Leave { conversation: group.get() }));
    assert_eq!(left.reason, 0);
    scene.cache.seal();
    assert_eq!(scene.call("bob", join()).0.reason, 0);
}

#[test]
fn what_a_batch_decides_counts_before_it_is_on_disk() {
    let mut scene = acquainted();
    scene.rules.conversations_per_user = 1;
    assert_eq!(scene.call("alice", open("bob")).0.reason, 0);
    refused(&mut scene, "alice", open("carol"), "you are");
    assert_eq!(scene.cache.membership_count(&user("alice")).conversations, 1);
}

#[test]
fn a_conversation_with_oneself_is_one() {
    let mut scene = acquainted();
    scene.rules.conversations_per_user = 2;
    assert_eq!(scene.call("alice", open("alice")).0.reason, 0);
    assert_eq!(scene.call("alice", open("bob")).0.reason, 0);
    refused(&mut scene, "alice", open("carol"), "you are");
}

#[test]
fn without_a_limit_nobody_is_refused() {
    let mut scene = Scene::new();
    scene.crowds.insert(user("alice"), MembershipCount { conversations: u64::MAX - 1, ..MembershipCount::default() });
    assert_eq!(scene.call("alice", open("bob")).0.reason, 0);
}

#[test]
fn who_is_over_a_limit_that_was_lowered_keeps_what_there_is() {
    let (mut scene, group) = scene();
    scene.rules.conversations_per_user = 1;
    assert_eq!(published(&scene.post("alice", To::Conversation(group), b"hi")).0, Reason::SUCCESS);
    assert_eq!(scene.call("alice", open("bob")).0.reason, 0, "that is there");
    refused(&mut scene, "alice", open("dave"), "you are");
}

#[test]
fn who_is_removed_is_counted_out_once() {
    let (mut scene, group) = scene();
    let outcome = scene.run(Command::Forget { user: user("carol"), conversation: group });
    let count = outcome
        .outgoing
        .iter()
        .filter(|outgoing| matches!(outgoing.item, Item::Membership(_, _, Membership::Ended)))
        .count();
    assert_eq!(count, 1);
}
