//! What counts as unread: messages of others above the read mark that are there still.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use godwit_core::recent::PLACES;
use godwit_schemas::bus::{Kind, Publish};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::UserId;
use godwit_schemas::topic::Filters;
use prost::Message as _;

use super::edge::{NOW_S, Scene, settings, to_user};
use super::{ALICE, BOB, scene};
use crate::BridgeSettings;
use godwit_store::Table;
use godwit_store::memory::MemoryStore;

async fn ask(scene: &Scene<MemoryStore>, user: &str, call: Call) -> client::Response {
    scene.ask(UserId::new(user).unwrap(), call).await
}

/// Of alice and bob.
async fn unread(scene: &Scene<MemoryStore>) -> [u64; 2] {
    let list = client::ListConversations::default();
    let [alice, bob] = ["alice", "bob"].map(|user| ask(scene, user, Call::ListConversations(list)));
    [alice.await, bob.await].map(|answer| answer.conversations[0].unread)
}

async fn say(scene: &mut Scene<MemoryStore>, connection: u64, numbers: std::ops::Range<u64>) -> u64 {
    let to = if connection == ALICE { "bob" } else { "alice" };
    let mut conversation = 0;
    for number in numbers {
        scene.publish(connection, to_user(number, to, "hello"));
        conversation = scene.published(connection).await.conversation;
    }
    conversation
}

async fn read(scene: &mut Scene<MemoryStore>, number: u64, conversation: u64, read_up_to: u64) {
    let payload = client::ReadReceipt { conversation, read_up_to }.encode_to_vec().into();
    scene.publish(BOB, Publish { number, kind: Kind::Receipt.into(), payload, ..Default::default() });
    assert_eq!(scene.published(BOB).await.reason, 0);
}

#[tokio::test(start_paused = true)]
async fn only_what_others_said_and_what_is_there_still_is_unread() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.enter(BOB, "bob", "phone", Filters::NONE).await;
    // The opening is 1, hers are 2 to 6, his 7 to 11.
    let conversation = say(&mut scene, ALICE, 1..6).await;
    say(&mut scene, BOB, 1..6).await;
    assert_eq!(unread(&scene).await, [5, 5]);
    read(&mut scene, 6, conversation, 3).await;
    assert_eq!(unread(&scene).await, [5, 3]);
    read(&mut scene, 7, conversation, 6).await;
    assert_eq!(unread(&scene).await, [5, 0], "his own are none");

    // 12: edited. 13: reacted to. 14 and 15: messages, of which 16 takes the second back.
    let edit = client::Edit { conversation, sequence: 6, body: "better".into(), mls_epoch: 0 };
    assert_eq!(ask(&scene, "alice", Call::Edit(edit)).await.reason, 0);
    let react = client::React { conversation, sequence: 6, reaction: "+1".into(), ..Default::default() };
    assert_eq!(ask(&scene, "alice", Call::React(react)).await.reason, 0);
    assert_eq!(unread(&scene).await, [5, 0], "changes are none");
    say(&mut scene, ALICE, 6..8).await;
    assert_eq!(unread(&scene).await, [5, 2]);
    let recall = client::Recall { conversation, sequence: 15 };
    assert_eq!(ask(&scene, "alice", Call::Recall(recall)).await.reason, 0);
    assert_eq!(unread(&scene).await, [5, 1]);
    read(&mut scene, 8, conversation, 14).await;
    assert_eq!(unread(&scene).await, [5, 0], "he has read the last one that is left");

    scene.publish(ALICE, Publish { expires_in_s: Some(60), ..to_user(8, "bob", "soon gone") });
    scene.published(ALICE).await;
    assert_eq!(unread(&scene).await, [5, 1]);
    scene.crash().await;
    assert_eq!(unread(&scene).await, [5, 1]);
    scene.now_s.fetch_add(60, Ordering::Relaxed);
    assert_eq!(unread(&scene).await, [5, 0], "it has expired");
}

#[tokio::test(start_paused = true)]
async fn counting_costs_a_conversation_few_rows() {
    let settings = BridgeSettings { inbox_entries: 10_000, inbox_bytes: 0, ..settings() };
    let mut scene = Scene::with(MemoryStore::new(Arc::new(|| NOW_S)), settings).await;
    for user in ["alice", "bob"] {
        scene.add(user, "phone").await;
    }
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    let before = scene.store.rows(Table::Conversations);
    say(&mut scene, ALICE, 1..2 * PLACES).await;
    assert_eq!(unread(&scene).await, [0, PLACES]);
    let rows = scene.store.rows(Table::Conversations) - before;
    assert!(rows <= 80, "{rows} rows");
}
