//! Users who have themselves erased: what is left is what others hold.

use std::sync::Arc;

use godwit_core::retention::{History, Policy};
use godwit_schemas::bus::{Publish, down::Frame};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{Order, UserId};
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use super::edge::{NOW_S, Scene, settings, to_user};
use super::{ALICE, BOB, knows_alice};
use crate::chat::Principal;
use godwit_store::memory::MemoryStore;
use godwit_store::{Store as _, Table, Write, keys};

/// Kept apart where it is for many.
const LARGE: &str = match std::str::from_utf8(&[b'#'; 600]) {
    Ok(text) => text,
    Err(_) => "",
};

async fn scene(history: History) -> Scene<MemoryStore> {
    let mut settings = settings();
    settings.rules.history = Policy::up_to(history);
    let mut scene = Scene::with(MemoryStore::new(Arc::new(|| NOW_S)), settings).await;
    for user in ["alice", "bob", "carol", "dave"] {
        scene.add(user, "phone").await;
    }
    scene
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

async fn erase(scene: &Scene<MemoryStore>, name: &str) -> Reason {
    Reason::from_u32(scene.ask(user(name), Call::EraseAccount(client::EraseAccount {})).await.reason)
}

async fn create(scene: &Scene<MemoryStore>, by: &str, users: &[&str]) -> u64 {
    let users = users.iter().map(|name| (*name).to_owned()).collect();
    scene.ask(user(by), Call::CreateGroup(client::CreateGroup { title: "of us".into(), users })).await.conversation
}

async fn history(scene: &Scene<MemoryStore>, name: &str, conversation: u64) -> client::Response {
    scene.ask(user(name), Call::GetHistory(client::GetHistory { conversation, ..Default::default() })).await
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_who_is_erased_but_what_others_hold() {
    for kept in [History::None, History::Forever] {
        let mut scene = scene(kept).await;
        scene.enter(ALICE, "alice", "phone", Filters::EVENTS).await;
        scene.enter(BOB, "bob", "phone", Filters::NONE).await;
        scene.publish(ALICE, to_user(1, "bob", "for bob"));
        let direct = scene.published(ALICE).await.conversation;
        scene.publish(ALICE, to_user(2, "alice", "for herself"));
        scene.published(ALICE).await;
        scene.publish(BOB, to_user(1, "alice", "for alice"));
        scene.published(BOB).await;
        for call in [
            Call::Block(client::Block { user: "carol".into() }),
            Call::SetProfile(client::SetProfile { name: Some("Alice A.".into()), ..Default::default() }),
            Call::AddContact(client::AddContact { user: "bob".into(), label: "B".into() }),
        ] {
            assert_eq!(scene.ask(user("alice"), call).await.reason, 0);
        }
        let contact = Call::AddContact(client::AddContact { user: "alice".into(), label: "A".into() });
        assert_eq!(scene.ask(user("bob"), contact).await.reason, 0);
        let group = create(&scene, "alice", &["bob", "carol", "dave"]).await;
        let to_group = Publish {
            kind: godwit_schemas::bus::Kind::ToConversation.into(),
            conversation: group,
            ..to_user(3, "", LARGE)
        };
        scene.publish(ALICE, to_group);
        scene.published(ALICE).await;

        assert_eq!(erase(&scene, "alice").await, Reason::SUCCESS, "{kept:?}");
        let close = scene.expect(ALICE, |frame| match frame {
            Frame::Close(close) => Some(close.reason),
            _ => None,
        });
        assert_eq!(Reason::from_u32(close.await), Reason::ADMINISTRATIVE_ACTION);
        // Also what is written later, of who was online.
        tokio::time::sleep(std::time::Duration::from_secs(600)).await;
        scene.settle().await;
        for (table, key) in scene.store.rows_with(b"alice") {
            let others = match table {
                Table::Inbox => true,
                Table::Messages => [direct, group].iter().any(|id| key.starts_with(&id.to_be_bytes())),
                Table::Directory | Table::Conversations | Table::Receipts | Table::Media => false,
            };
            assert!(others, "{kept:?}: {table:?} {}", key.escape_ascii());
        }
        assert!(scene.store.rows_with(b"for herself").is_empty() && scene.store.rows_with(b"Alice A.").is_empty());
        assert_eq!(erase(&scene, "alice").await, Reason::TOPIC_NAME_INVALID, "once");
        // The edge was silent meanwhile.
        scene.next_generation();
        scene.enter(BOB, "bob", "phone", Filters::NONE).await;
        // Bob has what he had, and cannot answer.
        let left = history(&scene, "bob", direct).await;
        assert_eq!((left.reason, left.history.len()), (0, if kept == History::None { 0 } else { 4 }));
        scene.publish(BOB, to_user(2, "alice", "?"));
        assert_eq!(Reason::from_u32(scene.published(BOB).await.reason), Reason::TOPIC_NAME_INVALID);
        let to_direct = Publish {
            kind: godwit_schemas::bus::Kind::ToConversation.into(),
            conversation: direct,
            ..to_user(3, "", "?")
        };
        scene.publish(BOB, to_direct);
        assert_eq!(Reason::from_u32(scene.published(BOB).await.reason), Reason::TOPIC_NAME_INVALID);

        // Who takes the name inherits nothing.
        scene.add("alice", "phone").await;
        let list = Call::ListConversations(client::ListConversations::default());
        assert!(scene.ask(user("alice"), list).await.conversations.is_empty());
        assert!(scene.ask(user("alice"), Call::ListBlocked(client::ListBlocked {})).await.users.is_empty());
        for conversation in [direct, group] {
            let refused = history(&scene, "alice", conversation).await.reason;
            assert_eq!(Reason::from_u32(refused), Reason::NOT_AUTHORIZED);
        }
        scene.enter(5, "alice", "phone", Filters::EVENTS).await;
        assert_eq!(scene.deliveries(5).await, []);
        scene.publish(BOB, to_user(4, "alice", "hello"));
        assert_ne!(scene.published(BOB).await.conversation, direct);
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_deserted_conversation_only_undelivered_messages_stay() {
    let mut scene = scene(History::Forever).await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    let group = create(&scene, "alice", &["bob", "carol", "dave"]).await;
    let send = |number, body| Publish {
        kind: godwit_schemas::bus::Kind::ToConversation.into(),
        conversation: group,
        ..to_user(number, "", body)
    };
    for (number, body) in [(1, "small"), (2, LARGE)] {
        scene.publish(ALICE, send(number, body));
        scene.published(ALICE).await;
    }
    let react = client::React { conversation: group, sequence: 2, reaction: "+1".into(), ..Default::default() };
    assert_eq!(scene.ask(user("bob"), Call::React(react)).await.reason, 0);
    // Carol has fetched nothing, and leaves; the others are erased.
    assert_eq!(scene.ask(user("carol"), Call::Leave(client::Leave { conversation: group })).await.reason, 0);
    for name in ["bob", "dave", "alice"] {
        assert_eq!(erase(&scene, name).await, Reason::SUCCESS);
    }
    scene.settle().await;
    assert_eq!(scene.store.rows(Table::Messages), 1, "the body that Carol has still to get");
    assert!(scene.store.rows_with(b"of us").iter().all(|(table, _)| *table == Table::Inbox), "its title");
    scene.enter(3, "carol", "phone", Filters::RAW).await;
    let got = scene.deliveries(3).await;
    assert_eq!(super::bodies(&got)[..2], ["small", LARGE]);
    let again = history(&scene, "carol", group).await.reason;
    assert_eq!(Reason::from_u32(again), Reason::TOPIC_NAME_INVALID);
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_left_to_be_cleared_is_cleared_by_the_next_start() {
    let mut scene = scene(History::Forever).await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.publish(ALICE, to_user(1, "bob", "hello"));
    let conversation = scene.published(ALICE).await.conversation;
    let inbox = scene.store.rows(Table::Inbox);
    // As a crash leaves it between the commit that ends something and the one that clears it away.
    let device =
        scene.store.scan(Table::Inbox, &[], &[0xFF], 1, usize::MAX).await.unwrap()[0].0[..8].try_into().unwrap();
    let device = keys::Tombstone::Device(godwit_schemas::ids::DeviceId::new(u64::from_be_bytes(device)));
    let conversation = keys::Tombstone::Conversation(godwit_schemas::ids::ConversationId::new(conversation));
    let gone = keys::Tombstone::User(user("carol"));
    let left = keys::profile(&user("carol"));
    let marks = [left.clone(), keys::mark(&gone), keys::mark(&device), keys::mark(&conversation)];
    let marks = marks.map(|(table, key)| Write::Put(table, key, bytes::Bytes::new()));
    scene.store.commit(marks.to_vec(), godwit_store::Durability::Synced).await.unwrap();
    scene.crash().await;
    scene.settle().await;
    assert_eq!(scene.store.rows(Table::Messages), 0);
    assert!(scene.store.rows(Table::Inbox) < inbox);
    assert_eq!(scene.store.multi_get(&[left]).await.unwrap(), [None]);
    let (from, to) = keys::marks();
    assert!(scene.store.scan(Table::Directory, &from, &to, 10, usize::MAX).await.unwrap().is_empty(), "once");
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_listed_by_pages_where_history_does_not_keep_it() {
    let mut scene = scene(History::None).await;
    for user in ["bob", "carol"] {
        knows_alice(&scene, user).await;
    }
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    create(&scene, "alice", &["bob", "carol", "dave"]).await;
    for number in 1..=150 {
        let body = if number == 7 { LARGE } else { "hello" };
        scene.publish(ALICE, to_user(number, if number > 90 { "carol" } else { "bob" }, body));
        scene.published(ALICE).await;
        scene.settle().await;
    }
    let waiting = async |device: &str, after| {
        scene.chat.waiting(user("bob"), Principal::Administrator, device.to_owned(), Order::new(after)).await.unwrap()
    };
    let first = waiting("phone", 0).await;
    let second = waiting("phone", first.next).await;
    let third = waiting("phone", second.next).await;
    // The openings of the group and of the direct conversation are changes.
    let pages = [&first, &second, &third].map(|page| page.history.len());
    assert_eq!((pages, third.next), ([64, 28, 0], 0));
    assert_eq!(Reason::from_u32(waiting("watch", 0).await.reason), Reason::TOPIC_NAME_INVALID);
}
