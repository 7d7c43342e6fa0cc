//! What is done to a message after it was sent, and what is kept of it.

use godwit_schemas::client::{Role, change};

use super::*;
use crate::reaction::StoredReaction;
use crate::retention::{History, Policy};

const DAY_S: u32 = 24 * 3_600;

fn kept(outcome: &Outcome) -> Vec<Option<Entry>> {
    outcome.changes.iter().filter_map(stored).map(|row| row.map(|row| Entry::decode(row).unwrap())).collect()
}

fn told(outcome: &Outcome) -> Option<change::Change> {
    let entry = outcome.entries.iter().map(|entry| Entry::decode(entry.value.clone()).unwrap()).next()?;
    client::Change::decode(entry.content).unwrap().change
}

fn recall(id: ConversationId, sequence: u64) -> Call {
    Call::Recall(client::Recall { conversation: id.get(), sequence })
}

fn edit(id: ConversationId, sequence: u64, body: &'static [u8]) -> Call {
    Call::Edit(client::Edit { conversation: id.get(), sequence, body: Bytes::from_static(body), mls_epoch: 0 })
}

fn react(id: ConversationId, sequence: u64, reaction: &str) -> Call {
    Call::React(client::React { conversation: id.get(), sequence, reaction: reaction.into(), ..Default::default() })
}

#[test]
fn history_keeps_messages_and_changes_for_its_days() {
    for (history, end_s) in [(History::Days(2), NOW_S + 2 * DAY_S), (History::Forever, u32::MAX)] {
        let mut scene = Scene::new();
        scene.rules.history = Policy::up_to(history);
        let outcome = scene.post("alice", To::User(user("bob")), b"hello");
        let kinds: Vec<_> = kept(&outcome).into_iter().flatten().map(|it| (it.kind, it.expires_at_s)).collect();
        assert_eq!(kinds, [(EntryKind::Change, end_s), (EntryKind::Message, end_s)]);
        assert!(outcome.entries.iter().all(|entry| entry.reference.is_none()), "small ones stand in inboxes as well");
        let group = scene.group(&["bob", "carol"]);
        let outcome = scene.post("alice", To::Conversation(group), &[7; 600]);
        assert!(
            !outcome.changes.iter().any(|change| matches!(change, StoreChange::Holders(..))),
            "history keeps it anyway"
        );
    }
}

#[test]
fn members_agree_on_less_than_the_server_keeps() {
    let mut scene = Scene::new();
    scene.rules.history = Policy::up_to(History::Forever);
    let id = published(&scene.post("alice", To::User(user("bob")), b"hello")).1;
    let retention = client::Retention { history_days_plus_one: 1, expires_in_s: 60 };
    let call = Call::SetRetention(client::SetRetention { conversation: id.get(), retention: Some(retention) });
    let (response, outcome) = scene.call("bob", call);
    assert_eq!((response.reason, told(&outcome)), (0, Some(change::Change::Retention(retention))));
    let outcome = scene.post("alice", To::User(user("bob")), b"gone in a minute");
    assert!(kept(&outcome).is_empty());
    let entry = Entry::decode(outcome.entries[0].value.clone()).unwrap();
    assert_eq!((entry.expires_at_s, entry.limited), (NOW_S + 60, true));
    let group = scene.group(&["bob"]);
    let call = Call::SetRetention(client::SetRetention { conversation: group.get(), retention: Some(retention) });
    assert_eq!(Reason::from_u32(scene.call("bob", call).0.reason), Reason::NOT_AUTHORIZED);
}

#[test]
fn what_is_taken_back_before_delivery_is_never_delivered() {
    let mut scene = Scene::new();
    let (_, id, sequence) = published(&scene.post("alice", To::User(user("bob")), b"oops"));
    let copy = Entry { conversation: id, sequence, stored_at_s: NOW_S, ..Entry::default() };
    let copies = vec![(DeviceId::new(2), Order::new(40)), (DeviceId::new(9), Order::new(41))];
    scene.found = MessageCopies { row: None, copies, copy: Some(copy), ..MessageCopies::default() };
    let reason = |scene: &mut Scene, from, call| Reason::from_u32(scene.call(from, call).0.reason);
    assert_eq!(reason(&mut scene, "bob", recall(id, 2)), Reason::NOT_AUTHORIZED);
    scene.cache.seal();
    let (response, outcome) = scene.call("alice", recall(id, 2));
    assert_eq!(response.reason, 0);
    for gone in [(2, 40), (9, 41)] {
        assert!(outcome.changes.contains(&StoreChange::EntryGone(DeviceId::new(gone.0), Order::new(gone.1))));
    }
    assert_eq!(told(&outcome), Some(change::Change::Recalled(2)));
    assert_eq!(scene.unread("bob", id), 0);
    assert_eq!(reason(&mut scene, "alice", recall(id, 2)), Reason::TOPIC_NAME_INVALID, "in the same batch");
}

#[test]
fn a_body_that_is_kept_apart_goes_with_its_recall() {
    let mut scene = Scene::new();
    let id = scene.group(&["bob", "carol"]);
    let outcome = scene.post("alice", To::Conversation(id), &[7; 600]);
    let place = (id, published(&outcome).2);
    scene.found = MessageCopies { row: kept(&outcome).remove(0), ..MessageCopies::default() };
    let (_, outcome) = scene.call("alice", recall(id, place.1.get()));
    assert_eq!(kept(&outcome), [None]);
    assert_eq!(scene.cache.holders(place), None);
}

#[test]
fn history_keeps_a_tombstone_and_what_was_edited() {
    let mut scene = Scene::new();
    scene.rules.history = Policy::up_to(History::Forever);
    let id = scene.group(&["bob", "carol"]);
    let outcome = scene.post("bob", To::Conversation(id), b"first");
    let sequence = published(&outcome).2.get();
    scene.found.row = kept(&outcome).remove(0);
    let (_, outcome) = scene.call("bob", edit(id, sequence, b"second"));
    let row = kept(&outcome).remove(0).unwrap();
    assert_eq!((&row.content[..], row.edited, row.sequence.get()), (&b"second"[..], true, sequence));
    let edited = client::Edited { sequence, body: Bytes::from_static(b"second"), mls_epoch: 0 };
    assert_eq!(told(&outcome), Some(change::Change::Edited(edited)));

    let reason = |scene: &mut Scene, from, call| Reason::from_u32(scene.call(from, call).0.reason);
    assert_eq!(reason(&mut scene, "alice", edit(id, sequence, b"x")), Reason::NOT_AUTHORIZED, "not even an admin");
    assert_eq!(reason(&mut scene, "carol", recall(id, sequence)), Reason::NOT_AUTHORIZED);
    scene.now_s += RULES.recall_window_s + 1;
    assert_eq!(reason(&mut scene, "bob", edit(id, sequence, b"x")), Reason::NOT_AUTHORIZED, "too late");
    assert_eq!(reason(&mut scene, "bob", recall(id, sequence)), Reason::NOT_AUTHORIZED, "too late");
    let (response, outcome) = scene.call("alice", recall(id, sequence));
    assert_eq!(response.reason, 0, "an admin may always");
    let row = kept(&outcome).remove(0).unwrap();
    assert_eq!((row.kind, row.content.len()), (EntryKind::Recalled, 0));
    assert!(outcome.changes.contains(&StoreChange::ReactionsGone(id, Seq::new(sequence))));
    assert_eq!(reason(&mut scene, "bob", react(id, sequence, "+")), Reason::TOPIC_NAME_INVALID, "in the same batch");
    scene.cache.seal();
    scene.found.row = Some(row);
    assert_eq!(reason(&mut scene, "bob", react(id, sequence, "+")), Reason::TOPIC_NAME_INVALID, "it is gone");
    for call in [edit(id, 99, b""), recall(id, 0), react(id, 99, "+"), react(id, sequence, &"x".repeat(33))] {
        assert!(!reason(&mut scene, "bob", call).is_success());
    }
}

#[test]
fn a_member_has_one_reaction_and_only_history_keeps_it() {
    let mut scene = Scene::new();
    let id = scene.group(&["bob"]);
    let (_, outcome) = scene.call("bob", react(id, 1, "+1"));
    let reacted = client::Reacted { sequence: 1, reaction: "+1".into(), ..Default::default() };
    assert_eq!(told(&outcome), Some(change::Change::Reacted(reacted)));
    assert!(!outcome.changes.iter().any(|change| matches!(change, StoreChange::Reaction(..))));
    scene.rules.history = Policy::up_to(History::Forever);
    for (text, expected) in [("+1", Some((u32::MAX, StoredReaction::new("+1".into())))), ("", None)] {
        let (_, outcome) = scene.call("bob", react(id, 1, text));
        assert!(outcome.changes.contains(&StoreChange::Reaction(id, Seq::new(1), Ordinal::new(1), expected)));
    }
}

#[test]
fn a_conversation_is_deleted_for_oneself() {
    let mut scene = Scene::new();
    let (_, id, sequence) = published(&scene.post("alice", To::User(user("bob")), b"hello"));
    let delete = Call::DeleteConversation(client::DeleteConversation { conversation: id.get() });
    let (response, outcome) = scene.call("bob", delete.clone());
    assert_eq!((response.reason, outcome.entries.len()), (0, 0), "nobody is told");
    let member = |name: &str| scene.cache.conversation(id).unwrap().member(&user(name)).unwrap().clone();
    let (alice, bob) = (member("alice"), member("bob"));
    assert_eq!((bob.hidden, bob.watermark.read, scene.unread("bob", id)), (sequence, sequence, 0));
    assert_eq!((alice.hidden, alice.role), (Seq::default(), Role::Member));
    assert_eq!(Reason::from_u32(scene.call("carol", delete).0.reason), Reason::NOT_AUTHORIZED);
}
