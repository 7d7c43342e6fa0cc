//! What a blocked user does in the direct conversation reaches nobody but itself. (Over MQTT and HTTP, call by call:
//! tests/e2e/chat/blocked.rs.)

use godwit_schemas::client::change;

use super::*;
use crate::reaction::StoredReaction;
use crate::retention::{History, Policy};

/// Alice and Bob have written to each other, with history; then Bob has blocked Alice. Alice's message is 2.
fn scene() -> (Scene, ConversationId) {
    let mut scene = Scene::new();
    scene.rules.history = Policy::up_to(History::Forever);
    let outcome = scene.post("alice", To::User(user("bob")), b"seen");
    let id = published(&outcome).1;
    scene.found.row = rows(&outcome).pop();
    scene.post("bob", To::User(user("alice")), b"answer");
    scene.block("bob", "alice");
    (scene, id)
}

fn rows(outcome: &Outcome) -> Vec<Entry> {
    let rows = outcome.changes.iter().filter_map(stored).flatten();
    rows.map(|row| Entry::decode(row).unwrap()).collect()
}

fn own(outcome: &Outcome) -> Option<Option<Entry>> {
    outcome.changes.iter().find_map(|change| match change {
        StoreChange::OwnMessage(_, _, value) => Some(value.clone().map(|value| Entry::decode(value).unwrap())),
        _ => None,
    })
}

fn calls(id: ConversationId, sequence: u64) -> [Call; 4] {
    let conversation = id.get();
    let retention = Some(client::Retention { history_days_plus_one: 1, expires_in_s: 5 });
    [
        Call::Edit(client::Edit { conversation, sequence, body: Bytes::from_static(b"edited"), mls_epoch: 0 }),
        Call::React(client::React { conversation, sequence, reaction: "+".into(), ..Default::default() }),
        Call::Recall(client::Recall { conversation, sequence }),
        Call::SetRetention(client::SetRetention { conversation, retention }),
    ]
}

#[test]
fn every_change_is_accepted_and_tells_her_own_devices_alone() {
    for sequence in [2, 4] {
        for call in calls(ConversationId::new(0), sequence) {
            let (mut scene, id) = scene();
            let unseen = scene.post("alice", To::User(user("bob")), b"unseen");
            assert_eq!(published(&unseen).2, Seq::new(4));
            if sequence == 4 {
                scene.found.row = rows(&unseen).pop();
            }
            let before = scene.cache.conversation(id).unwrap().clone();
            let call = calls(id, sequence).into_iter().find(|it| same(it, &call)).unwrap();
            let (response, outcome) = scene.call("alice", call.clone());
            assert_eq!((response.reason, recipients(&outcome, EntryKind::Change)), (0, vec![1, 9]), "{call:?}");
            let rows = rows(&outcome);
            assert!(rows.iter().all(|row| row.unseen), "what both see is as it was: {rows:?}");
            assert!(
                !outcome
                    .changes
                    .iter()
                    .any(|change| matches!(change, StoreChange::Reaction(..) | StoreChange::Unshared(..)))
            );
            let now = scene.cache.conversation(id).unwrap();
            let bob = |it: &Conversation| {
                let bob = it.member(&user("bob")).unwrap();
                let unread = it.asked(bob).unread(&it.recent, [], |_| true);
                (unread, bob.watermark, bob.hidden, it.last_shown(bob), it.retention_of(bob), it.retention)
            };
            assert_eq!(bob(now), bob(&before), "{call:?}");
        }
    }
}

fn same(one: &Call, other: &Call) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

#[test]
fn what_she_changes_while_blocked_is_hers_until_unblocked() {
    let (mut scene, id) = scene();
    let [edit, react, recall, _] = calls(id, 2);
    let (_, outcome) = scene.call("alice", edit.clone());
    let edited = own(&outcome).flatten().expect("her view");
    assert_eq!((&edited.content[..], edited.edited, edited.sequence), (&b"edited"[..], true, Seq::new(2)));
    let reacted =
        StoreChange::OwnReaction(id, Seq::new(2), Ordinal::new(0), Some((u32::MAX, StoredReaction::new("+".into()))));
    assert!(scene.call("alice", react.clone()).1.changes.contains(&reacted));
    let (_, outcome) = scene.call("alice", recall.clone());
    assert_eq!(own(&outcome).flatten().map(|own| own.kind), Some(EntryKind::Recalled));
    assert_eq!(scene.call("alice", edit.clone()).0.reason, Reason::TOPIC_NAME_INVALID.into(), "to her it is gone");
    // Bob lets her be heard again: what she does now is done.
    scene.cache.insert_user(user("bob"), Some(record_of(&user("bob"))));
    let (response, outcome) = scene.call("alice", edit);
    assert_eq!((response.reason, own(&outcome)), (0, Some(None)));
    assert_eq!(rows(&outcome).iter().map(|row| row.unseen).collect::<Vec<_>>(), [false, false]);
    assert!(scene.call("alice", react).1.changes.contains(&StoreChange::OwnReaction(
        id,
        Seq::new(2),
        Ordinal::new(0),
        None
    )));
    let (_, outcome) = scene.call("alice", recall);
    assert_eq!((rows(&outcome)[0].kind, recipients(&outcome, EntryKind::Change)), (EntryKind::Recalled, vec![1, 9, 2]));
}

#[test]
fn what_waits_for_him_is_not_taken_back_by_her() {
    let (mut scene, id) = scene();
    let copies = vec![(DeviceId::new(2), Order::new(40)), (DeviceId::new(9), Order::new(41))];
    scene.found.copies = copies;
    let [_, _, recall, _] = calls(id, 2);
    let (_, outcome) = scene.call("alice", recall);
    let gone =
        |device, order| outcome.changes.contains(&StoreChange::EntryGone(DeviceId::new(device), Order::new(order)));
    assert!(gone(9, 41) && !gone(2, 40));
}

#[test]
fn a_recall_takes_nothing_from_a_count_that_it_was_not_in() {
    let (mut scene, id) = scene();
    let outcome = scene.post("alice", To::User(user("bob")), b"unseen");
    scene.found.row = rows(&outcome).pop();
    let [_, _, recall, _] = calls(id, 4);
    assert_eq!(scene.unread("bob", id), 1, "her first");
    assert_eq!(scene.call("alice", recall).0.reason, 0);
    assert_eq!(scene.unread("bob", id), 1);
}

#[test]
fn her_own_retention_holds_for_her_until_one_reaches_both() {
    let (mut scene, id) = scene();
    let [.., set] = calls(id, 2);
    assert_eq!(scene.call("alice", set).0.reason, 0);
    let shown = |scene: &mut Scene, by| {
        let (response, _) =
            scene.call(by, Call::Describe(client::Describe { conversation: id.get(), ..Default::default() }));
        response.description.unwrap().retention
    };
    let hers = Some(client::Retention { history_days_plus_one: 1, expires_in_s: 5 });
    assert_eq!((shown(&mut scene, "alice"), shown(&mut scene, "bob")), (hers, None));
    let outcome = scene.post("alice", To::Conversation(id), b"x");
    assert_eq!(Entry::decode(outcome.entries[0].value.clone()).unwrap().expires_at_s, NOW_S + 5);
    assert!(rows(&outcome).is_empty(), "no history for her");
    assert_eq!(rows(&scene.post("bob", To::Conversation(id), b"x")).len(), 1);
    let (record, state) = scene.cache.conversation(id).unwrap().to_records();
    assert_eq!(Conversation::from_records(id, &record, &state).as_ref(), scene.cache.conversation(id));
    let his = client::Retention { history_days_plus_one: 8, expires_in_s: 0 };
    let set = Call::SetRetention(client::SetRetention { conversation: id.get(), retention: Some(his) });
    assert_eq!(scene.call("bob", set).0.reason, 0);
    assert_eq!((shown(&mut scene, "alice"), shown(&mut scene, "bob")), (Some(his), Some(his)));
}

#[test]
fn she_adds_him_to_no_group_and_is_refused_like_anybody() {
    let (mut scene, _) = scene();
    let create = || Call::CreateGroup(client::CreateGroup { title: "g".into(), users: vec!["bob".into()] });
    let blocked = scene.call("alice", create()).0;
    let record = UserRecord { groups_from: client::GroupsFrom::Nobody.into(), ..record_of(&user("bob")) };
    scene.cache.insert_user(user("bob"), Some(record));
    let unwanted = scene.call("alice", create()).0;
    assert_eq!((blocked.reason, &blocked.text), (u32::from(Reason::NOT_AUTHORIZED), &unwanted.text));
    assert_eq!(blocked.reason, unwanted.reason);
}

#[test]
fn between_the_two_there_are_no_ticks() {
    let (mut scene, id) = scene();
    let read = |who| Command::Read { origin: origin(who), conversation: id, up_to: Seq::new(3) };
    assert_eq!(told(&scene.run(read("alice"))), [9], "her own tablet, which is not to show it as new");
    assert_eq!(told(&scene.run(read("bob"))), [0; 0]);
}

#[test]
fn a_conversation_that_she_opens_is_nothing_to_him_at_first() {
    let mut scene = Scene::new();
    scene.block("bob", "alice");
    let id = published(&scene.post("alice", To::User(user("bob")), b"unseen")).1;
    let shown = |scene: &Scene, name: &str| {
        let it = scene.cache.conversation(id).unwrap();
        it.last_shown(it.member(&user(name)).unwrap()).get()
    };
    assert_eq!((shown(&scene, "alice"), shown(&scene, "bob")), (2, 0));
    let (record, state) = scene.cache.conversation(id).unwrap().to_records();
    assert_eq!(Conversation::from_records(id, &record, &state).as_ref(), scene.cache.conversation(id));
    scene.post("bob", To::User(user("alice")), b"leave me alone");
    assert_eq!((shown(&scene, "alice"), shown(&scene, "bob")), (3, 3));
    let (_, outcome) = scene.call("bob", Call::Recall(client::Recall { conversation: id.get(), sequence: 3 }));
    assert!(outcome.entries.iter().all(|entry| {
        let change = client::Change::decode(Entry::decode(entry.value.clone()).unwrap().content).unwrap();
        matches!(change.change, Some(change::Change::Recalled(3)))
    }));
    assert_eq!(recipients(&outcome, EntryKind::Change), [1, 9, 2], "the other way round everything goes through");
}
