//! What partitions send to each other: kept until it is taken in, over crashes, and taken in once, in order.

use bytes::Bytes;
use godwit_core::outbox::{Item, Link};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{ConversationId, DeviceId, UserId};
use godwit_schemas::partition::Partitions;
use godwit_schemas::topic::Filters;

use super::contacts::add;
use super::counted::Counted;
use super::edge::{Scene, to_user};
use super::{ALICE, knows_alice, scene};
use crate::writes;
use godwit_store::memory::MemoryStore;
use godwit_store::{Durability, Store, Table, Write, keys};

fn id(user: &str) -> UserId {
    UserId::new(user).unwrap()
}

fn link(from: &str, to: &str) -> Link {
    Link { from: Partitions::NEW.of_user(&id(from)), to: Partitions::NEW.of_user(&id(to)) }
}

async fn has(scene: &Scene<MemoryStore>, key: keys::StoreKey) -> bool {
    scene.store.multi_get(&[key]).await.unwrap()[0].is_some()
}

async fn number(scene: &Scene<MemoryStore>, key: keys::StoreKey) -> Option<u64> {
    scene.store.multi_get(&[key]).await.unwrap()[0].as_deref().and_then(keys::parse_counter)
}

/// As a crash leaves it, between the commit that sent an item and the one that takes it in.
async fn left_outside(scene: &Scene<MemoryStore>, link: Link, number: u64, item: &Item) {
    let rows = vec![
        writes::set(keys::outbox_item(link, number), Some(item.encode().into())),
        writes::set(keys::outbox_counter(link), Some(writes::counter(number))),
    ];
    scene.store.commit(rows, Durability::Synced).await.unwrap();
}

/// Users that `user` has as contacts.
async fn contacts(scene: &Scene<MemoryStore>, user: &str) -> Vec<String> {
    let list = Call::ListContacts(client::ListContacts::default());
    scene.ask(id(user), list).await.contacts.into_iter().map(|contact| contact.user).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_outside_at_a_crash_is_taken_in_once() {
    let mut scene = scene().await;
    knows_alice(&scene, "bob").await;
    let (link, item) = (link("alice", "bob"), Item::ContactGone { user: id("bob"), contact: id("alice") });
    left_outside(&scene, link, 1, &item).await;
    scene.crash().await;
    scene.settle().await;
    assert!(contacts(&scene, "bob").await.is_empty());
    assert!(!has(&scene, keys::outbox_item(link, 1)).await);
    assert_eq!(number(&scene, keys::intake_cursor(link)).await, Some(1));

    // It was taken in, and the crash came before its row went.
    assert_eq!(scene.ask(id("bob"), add("alice", "")).await.reason, 0);
    left_outside(&scene, link, 1, &item).await;
    scene.crash().await;
    scene.settle().await;
    assert_eq!(contacts(&scene, "bob").await, ["alice"]);
    assert!(!has(&scene, keys::outbox_item(link, 1)).await);

    // Numbers go on.
    left_outside(&scene, link, 2, &item).await;
    scene.crash().await;
    scene.settle().await;
    assert!(contacts(&scene, "bob").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_what_is_outside() {
    let mut scene = scene().await;
    knows_alice(&scene, "bob").await;
    let (link, device) = (link("alice", "bob"), DeviceId::new(1));
    let released = Item::Released { device, conversation: ConversationId::new(link.to.get().into()), apart: vec![] };
    // The four before it have not come.
    left_outside(&scene, link, 5, &released).await;
    scene.crash().await;
    let create = Call::CreateGroup(client::CreateGroup { title: String::new(), users: vec!["bob".to_owned()] });
    let group = ConversationId::new(scene.ask(id("alice"), create).await.conversation);
    scene.settle().await;
    let of = |user: &str| keys::membership(&id(user), group);
    assert!(has(&scene, of("alice")).await, "nothing is outside between Alice's partition and itself");
    assert!(has(&scene, keys::outbox_item(link, 6)).await && !has(&scene, of("bob")).await);

    // They were taken in.
    let cursor: Vec<Write> = vec![writes::set(keys::intake_cursor(link), Some(writes::counter(4)))];
    scene.store.commit(cursor, Durability::Synced).await.unwrap();
    scene.crash().await;
    scene.settle().await;
    assert!(has(&scene, of("bob")).await);
    assert!(!has(&scene, keys::outbox_item(link, 5)).await && !has(&scene, keys::outbox_item(link, 6)).await);
    let leave = Call::Leave(client::Leave { conversation: group.get() });
    assert_eq!(scene.ask(id("bob"), leave).await.reason, 0);
    scene.settle().await;
    assert!(!has(&scene, of("bob")).await);
    assert_eq!(number(&scene, keys::outbox_counter(link)).await, Some(6), "with nothing outside no number is given");
}

#[tokio::test(start_paused = true)]
async fn who_is_no_more_when_it_is_taken_in_is_in_nothing() {
    let mut scene = scene().await;
    let create = Call::CreateGroup(client::CreateGroup { title: String::new(), users: vec![] });
    let group = ConversationId::new(scene.ask(id("alice"), create).await.conversation);
    let membership = Item::Membership(id("carol"), group, godwit_core::membership_count::Membership::Begun);
    left_outside(&scene, link("alice", "carol"), 1, &membership).await;
    let watch = Item::Watch { contact: id("carol"), by: id("bob"), begins: true };
    left_outside(&scene, link("bob", "carol"), 1, &watch).await;
    let (table, key) = keys::contact(&id("bob"), &id("carol"));
    let rows = vec![
        Write::Put(table, key, Bytes::new()),
        writes::set(keys::contact_count(&id("bob")), Some(writes::counter(1))),
    ];
    scene.store.commit(rows, Durability::Synced).await.unwrap();
    scene.crash().await;
    scene.settle().await;
    assert!(!has(&scene, keys::membership(&id("carol"), group)).await);
    assert!(!has(&scene, keys::membership_count(&id("carol"))).await);
    assert!(contacts(&scene, "bob").await.is_empty() && !has(&scene, keys::watcher(&id("carol"), &id("bob"))).await);
    assert_eq!(number(&scene, keys::contact_count(&id("bob"))).await, Some(0));
}

#[tokio::test(start_paused = true)]
async fn who_was_let_in_while_it_was_removed_leaves_before_its_name_is_free() {
    let mut scene = scene().await;
    knows_alice(&scene, "bob").await;
    let create = Call::CreateGroup(client::CreateGroup { title: String::new(), users: vec!["bob".to_owned()] });
    let group = scene.ask(id("alice"), create).await.conversation;
    // Bob is gone, and a lane that did not know it has let him in.
    let rows = vec![
        writes::set(keys::user(&id("bob")), None),
        writes::set(keys::mark(&keys::Tombstone::User(id("bob"))), Some(Bytes::new())),
    ];
    scene.store.commit(rows, Durability::Synced).await.unwrap();
    scene.crash().await;
    scene.settle().await;
    let describe = Call::Describe(client::Describe { conversation: group, counter: 0 });
    let described = scene.ask(id("alice"), describe.clone()).await.description.unwrap();
    assert_eq!(described.members.iter().map(|member| member.user.as_str()).collect::<Vec<_>>(), ["alice"]);
    assert!(!has(&scene, keys::membership(&id("bob"), ConversationId::new(group))).await);
    assert!(!has(&scene, keys::mark(&keys::Tombstone::User(id("bob")))).await);
    scene.add("bob", "phone").await;
    assert_eq!(scene.ask(id("bob"), describe).await.reason, 0x87, "another Bob is not in it");
}

#[tokio::test(start_paused = true)]
async fn what_only_writes_rows_is_taken_in_by_the_commit_that_sends_it() {
    let mut scene = Scene::new(Counted::new()).await;
    for user in ["alice", "bob", "carol"] {
        scene.add(user, "phone").await;
    }
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.settle().await;
    scene.store.synced();
    scene.publish(ALICE, to_user(1, "bob", "opens a conversation, with two memberships"));
    assert_eq!(scene.published(ALICE).await.reason, 0);
    scene.publish(ALICE, to_user(2, "bob", "and nothing more"));
    assert_eq!(scene.published(ALICE).await.reason, 0);
    assert_eq!(scene.store.synced(), 2, "one for each message");
    for user in ["alice", "carol"] {
        assert_eq!(scene.ask(id(user), add("bob", "")).await.reason, 0);
    }
    let users = vec!["bob".to_owned(), "carol".to_owned()];
    let create = Call::CreateGroup(client::CreateGroup { title: String::new(), users });
    assert_eq!(scene.ask(id("alice"), create).await.reason, 0);
    scene.settle().await;
    for tag in *b"xXi" {
        let rows = scene.store.scan(Table::Directory, &[tag], &[tag + 1], 10, usize::MAX).await.unwrap();
        assert!(rows.is_empty(), "{rows:?}");
    }
}
