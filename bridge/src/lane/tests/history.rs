//! What is kept of messages, who sees it, and what is left of one that was taken back.

use std::sync::Arc;

use godwit_core::retention::{History, Policy};
use godwit_schemas::bus::{Kind, Publish};
use godwit_schemas::client::event::Event;
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::UserId;
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use super::edge::{INBOX_ENTRIES, NOW_S, Scene, settings, to_user};
use super::{ALICE, BOB, bodies, knows_alice, scene};
use crate::BridgeSettings;
use godwit_store::Table;
use godwit_store::memory::MemoryStore;

async fn remembering() -> Scene<MemoryStore> {
    let mut settings: BridgeSettings = settings();
    settings.rules.history = Policy::up_to(History::Days(30));
    let mut scene = Scene::with(MemoryStore::new(Arc::new(|| NOW_S)), settings).await;
    for user in ["alice", "bob", "carol"] {
        scene.add(user, "phone").await;
    }
    scene
}

async fn call(scene: &Scene<MemoryStore>, user: &str, call: Call) -> client::Response {
    scene.ask(UserId::new(user).unwrap(), call).await
}

fn history(conversation: u64, before: u64, after: u64, oldest_first: bool, limit: u32) -> Call {
    Call::GetHistory(client::GetHistory { conversation, before, after, oldest_first, limit })
}

/// Sequences of a page, and where the next begins.
fn page(response: &client::Response) -> (Vec<u64>, u64) {
    let sequences = response.history.iter().map(|event| match event.event.as_ref().unwrap() {
        Event::Message(message) => message.sequence,
        Event::Change(change) => change.sequence,
        other => panic!("{other:?}"),
    });
    (sequences.collect(), response.next)
}

async fn summaries(scene: &Scene<MemoryStore>, user: &str) -> Vec<client::Summary> {
    call(scene, user, Call::ListConversations(client::ListConversations { after: 0, limit: 0 })).await.conversations
}

fn recall(conversation: u64, sequence: u64) -> Call {
    Call::Recall(client::Recall { conversation, sequence })
}

#[tokio::test(start_paused = true)]
async fn history_is_read_by_pages_from_both_ends() {
    let mut scene = remembering().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    let mut conversation = 0;
    for number in 1..=9 {
        scene.publish(ALICE, to_user(number, "bob", "hello"));
        conversation = scene.published(ALICE).await.conversation;
    }
    // The opening is 1, the messages are 2 to 10.
    let cases = [
        (history(conversation, 0, 0, false, 4), (vec![10, 9, 8, 7], 7)),
        (history(conversation, 7, 0, false, 4), (vec![6, 5, 4, 3], 3)),
        (history(conversation, 3, 0, false, 4), (vec![2, 1], 0)),
        (history(conversation, 0, 0, true, 4), (vec![1, 2, 3, 4], 4)),
        (history(conversation, 0, 4, true, 4), (vec![5, 6, 7, 8], 8)),
        (history(conversation, 0, 8, true, 4), (vec![9, 10], 0)),
        (history(conversation, 8, 3, false, 0), (vec![7, 6, 5, 4], 0)),
        (history(conversation, u64::MAX, u64::MAX, false, u32::MAX), (vec![], 0)),
        (history(conversation, 1, 0, true, 1), (vec![], 0)),
    ];
    for (it, expected) in cases {
        assert_eq!(page(&call(&scene, "bob", it.clone()).await), expected, "{it:?}");
    }
    let stranger = call(&scene, "carol", history(conversation, 0, 0, false, 0)).await;
    assert_eq!(Reason::from_u32(stranger.reason), Reason::NOT_AUTHORIZED);
    let nowhere = call(&scene, "carol", history(999, 0, 0, false, 0)).await;
    assert_eq!(Reason::from_u32(nowhere.reason), Reason::TOPIC_NAME_INVALID);
}

#[tokio::test(start_paused = true)]
async fn the_list_tells_what_is_last_and_unread_until_it_is_deleted() {
    let mut scene = remembering().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    for (number, to) in (1..).zip(["bob", "bob", "carol"]) {
        scene.publish(ALICE, to_user(number, to, "hello"));
        scene.published(ALICE).await;
    }
    let of_bob = summaries(&scene, "bob").await;
    let [bobs] = &of_bob[..] else { panic!("{of_bob:?}") };
    assert_eq!((bobs.last_sequence, bobs.unread, bobs.read_up_to), (3, 2, 0));
    let Some(Event::Message(last)) = &bobs.last.as_ref().unwrap().event else { panic!() };
    assert_eq!((&last.body[..], last.sequence), (&b"hello"[..], 3));
    assert_eq!(bobs.description.as_ref().unwrap().members.len(), 2);
    let of_alice = summaries(&scene, "alice").await;
    assert_eq!(of_alice.iter().map(|it| it.unread).collect::<Vec<_>>(), [0, 0]);
    // By pages of one.
    let one = |after| Call::ListConversations(client::ListConversations { after, limit: 1 });
    let first = call(&scene, "alice", one(0)).await;
    let second = call(&scene, "alice", one(first.next)).await;
    assert_eq!([&first.conversations[..], &second.conversations[..]].concat(), of_alice);
    assert!(call(&scene, "alice", one(second.next)).await.conversations.is_empty());

    let conversation = bobs.conversation;
    let delete = Call::DeleteConversation(client::DeleteConversation { conversation });
    assert_eq!(call(&scene, "bob", delete).await.reason, 0);
    assert!(summaries(&scene, "bob").await.is_empty());
    assert!(call(&scene, "bob", history(conversation, 0, 0, false, 0)).await.history.is_empty());
    assert_eq!(page(&call(&scene, "alice", history(conversation, 0, 0, true, 0)).await).0, [1, 2, 3]);
    scene.publish(ALICE, to_user(9, "bob", "again"));
    scene.published(ALICE).await;
    assert_eq!(summaries(&scene, "bob").await[0].unread, 1);
    assert_eq!(page(&call(&scene, "bob", history(conversation, 0, 0, true, 0)).await).0, [4]);
}

#[tokio::test(start_paused = true)]
async fn a_new_member_sees_what_the_group_lets_it_see() {
    let mut scene = remembering().await;
    let create = client::CreateGroup { title: String::new(), users: vec!["bob".into()] };
    let conversation = call(&scene, "alice", Call::CreateGroup(create)).await.conversation;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    let send = |number| Publish {
        number,
        kind: Kind::ToConversation.into(),
        conversation,
        payload: "x".into(),
        ..Default::default()
    };
    scene.publish(ALICE, send(1));
    scene.published(ALICE).await;
    let add = Call::AddMember(client::AddMember { conversation, user: "carol".into() });
    assert_eq!(call(&scene, "alice", add).await.reason, 0);
    scene.publish(ALICE, send(2));
    scene.published(ALICE).await;
    let all = || history(conversation, 0, 0, true, 0);
    assert_eq!(page(&call(&scene, "carol", all()).await).0, [3, 4]);
    let settings = client::GroupSettings { history_for_new: true, ..Default::default() };
    let change = Call::ChangeSettings(client::ChangeSettings { conversation, settings: Some(settings) });
    assert_eq!(call(&scene, "alice", change).await.reason, 0);
    assert_eq!(page(&call(&scene, "carol", all()).await).0, [1, 2, 3, 4, 5]);
    let remove = Call::RemoveMember(client::RemoveMember { conversation, user: "carol".into() });
    assert_eq!(call(&scene, "alice", remove).await.reason, 0);
    assert_eq!(Reason::from_u32(call(&scene, "carol", all()).await.reason), Reason::NOT_AUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn an_undelivered_message_that_is_taken_back_is_never_delivered() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    for (number, body) in (1..).zip(["one", "oops", "three"]) {
        scene.publish(ALICE, to_user(number, "bob", body));
    }
    let mut places = Vec::new();
    for _ in 0..3 {
        places.push(scene.published(ALICE).await);
    }
    let oops = &places[1];
    // While it is being sent again and again, nothing is found half way.
    scene.publish(ALICE, to_user(4, "bob", "four"));
    assert_eq!(scene.call(ALICE, 5, recall(oops.conversation, oops.sequence)).await.reason, 0);
    scene.crash().await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    assert_eq!(bodies(&scene.deliveries(BOB).await), ["one", "three", "four"]);
    let again = call(&scene, "bob", recall(oops.conversation, places[0].sequence)).await;
    assert_eq!(Reason::from_u32(again.reason), Reason::NOT_AUTHORIZED, "it waits, so it is known to be Alice's");
}

#[tokio::test(start_paused = true)]
async fn history_shows_what_became_of_a_message() {
    let mut scene = remembering().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    for (number, body) in (1..).zip(["first", "second"]) {
        scene.publish(ALICE, to_user(number, "bob", body));
    }
    let conversation = scene.published(ALICE).await.conversation;
    scene.published(ALICE).await;
    let react = |text: &str| {
        Call::React(client::React { conversation, sequence: 2, reaction: text.into(), ..Default::default() })
    };
    for (user, text) in [("bob", "?"), ("bob", "+1"), ("alice", "!")] {
        assert_eq!(call(&scene, user, react(text)).await.reason, 0);
    }
    let edit = client::Edit { conversation, sequence: 2, body: "better".into(), mls_epoch: 0 };
    assert_eq!(call(&scene, "alice", Call::Edit(edit)).await.reason, 0);
    assert_eq!(call(&scene, "alice", recall(conversation, 3)).await.reason, 0);
    let found = call(&scene, "bob", history(conversation, 4, 1, true, 0)).await.history;
    let messages = found.into_iter().map(|event| match event.event {
        Some(Event::Message(message)) => message,
        other => panic!("{other:?}"),
    });
    let messages: Vec<_> = messages.collect();
    let reaction = |member, text: &str| client::Reaction { member, reaction: text.into(), ..Default::default() };
    assert_eq!((&messages[0].body[..], messages[0].edited), (&b"better"[..], true));
    assert_eq!(messages[0].reactions, [reaction(0, "!"), reaction(1, "+1")]);
    assert_eq!((messages[1].body.len(), messages[1].recalled), (0, true));
    assert_eq!(call(&scene, "alice", recall(conversation, 2)).await.reason, 0);
    // Rows: the opening, two tombstones, three reactions, an edit and two recalls; no reaction is left.
    assert_eq!(scene.store.rows(Table::Messages), 9);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_back_does_not_fill_an_inbox() {
    let mut scene = scene().await;
    knows_alice(&scene, "bob").await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    let mut conversation = 0;
    for number in 1..u64::from(INBOX_ENTRIES) {
        scene.publish(ALICE, to_user(number, "bob", "hello"));
        conversation = scene.published(ALICE).await.conversation;
    }
    for sequence in 10..20 {
        assert_eq!(scene.call(ALICE, 200 + sequence, recall(conversation, sequence)).await.reason, 0);
    }
    scene.settle().await;
    // Ten messages went, ten changes came.
    scene.enter(BOB, "bob", "phone", Filters::EVENTS).await;
    let mut fetched = 0;
    while fetched < INBOX_ENTRIES / 4 {
        let orders: Vec<_> = scene.deliveries(BOB).await.into_iter().map(|(order, _)| order).collect();
        fetched += orders.len() as u32;
        scene.acknowledge(BOB, orders);
        scene.settle().await;
    }
    scene.enter(3, "alice", "phone", Filters::NONE).await;
    scene.publish(3, to_user(1, "bob", "there is room again"));
    assert_eq!(scene.published(3).await.reason, 0);
}
