//! How many conversations a user is in, counted over lanes and crashes.

use std::sync::Arc;

use godwit_core::decide::Rules;
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{ConversationId, UserId};
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use super::edge::{Scene, settings, to_user};
use super::{ALICE, NOW_S, knows_alice};
use crate::BridgeSettings;
use godwit_store::memory::MemoryStore;
use godwit_store::{Store, keys};

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

fn id(user: &str) -> UserId {
    UserId::new(user).unwrap()
}

/// Everybody may be in two conversations.
async fn scene() -> Scene<MemoryStore> {
    let rules = Rules { conversations_per_user: 2, ..settings().rules };
    let mut scene = Scene::with(MemoryStore::new(Arc::new(|| NOW_S)), BridgeSettings { rules, ..settings() }).await;
    for user in USERS {
        scene.add(user, "phone").await;
    }
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene
}

async fn send(scene: &mut Scene<MemoryStore>, connection: u64, number: u64, user: &str) -> Reason {
    scene.publish(connection, to_user(number, user, "hello"));
    Reason::from_u32(scene.published(connection).await.reason)
}

/// As it is written.
async fn counts(scene: &Scene<MemoryStore>) -> [u64; 4] {
    let keys = USERS.map(|user| keys::membership_count(&id(user)));
    let found = scene.store.multi_get(&keys).await.unwrap();
    let crowd = |value: &Option<bytes::Bytes>| value.as_deref().and_then(keys::parse_crowd).unwrap_or_default();
    let mut counts = found.iter().map(|value| crowd(value).conversations);
    std::array::from_fn(|_| counts.next().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_user_is_in_so_many_conversations_also_after_a_crash() {
    let mut scene = scene().await;
    assert_eq!(send(&mut scene, ALICE, 1, "bob").await, Reason::SUCCESS);
    assert_eq!(send(&mut scene, ALICE, 2, "carol").await, Reason::SUCCESS);
    assert_eq!(send(&mut scene, ALICE, 3, "dave").await, Reason::QUOTA_EXCEEDED);
    scene.crash().await;
    scene.enter(3, "alice", "phone", Filters::NONE).await;
    scene.enter(4, "dave", "phone", Filters::NONE).await;
    assert_eq!(send(&mut scene, 3, 1, "dave").await, Reason::QUOTA_EXCEEDED);
    assert_eq!(send(&mut scene, 4, 1, "alice").await, Reason::QUOTA_EXCEEDED);
    assert_eq!(send(&mut scene, 3, 2, "bob").await, Reason::SUCCESS, "that is there");
    assert_eq!(counts(&scene).await, [2, 1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_or_is_removed_is_counted_no_more() {
    let mut scene = scene().await;
    // A stranger brings him into no more than half of his two.
    knows_alice(&scene, "bob").await;
    let users = vec!["bob".to_owned(), "carol".to_owned()];
    let create = Call::CreateGroup(client::CreateGroup { title: String::new(), users });
    let group = ConversationId::new(scene.ask(id("alice"), create).await.conversation);
    assert_eq!(send(&mut scene, ALICE, 1, "bob").await, Reason::SUCCESS);
    assert_eq!(counts(&scene).await, [2, 2, 1, 0]);
    let leave = Call::Leave(client::Leave { conversation: group.get() });
    assert_eq!(scene.ask(id("bob"), leave).await.reason, 0);
    assert_eq!(counts(&scene).await, [2, 1, 1, 0]);
    scene.admin.remove_user(id("alice")).await.unwrap();
    scene.settle().await;
    assert_eq!(counts(&scene).await, [0, 1, 1, 0]);
    // Whoever is called so next begins anew.
    scene.add("alice", "phone").await;
    scene.enter(5, "alice", "phone", Filters::NONE).await;
    assert_eq!(send(&mut scene, 5, 1, "dave").await, Reason::SUCCESS);
    assert_eq!(counts(&scene).await, [1, 1, 1, 1]);
}
