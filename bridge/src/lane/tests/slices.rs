//! Who asks for much waits behind itself. Counted in what a lane reads while somebody else's message is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use godwit_core::retention::{History, Policy};
use godwit_schemas::bus::{Publish, Resume, down::Frame, up};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::topic::Filters;

use super::counted::Counted;
use super::edge::{Scene, settings, to_user};
use super::{ALICE, BOB};
use crate::BridgeSettings;
use crate::admin::AdminError;
use crate::chat::Principal;
use crate::memory::Shortage;
use godwit_store::{Durability, Store as _, Table, Write, keys};

const CAROL: u64 = 3;
/// Most rows that may be read while a message is under way: some rounds' worth.
const WORST: usize = 8_000;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

async fn scene(history: History) -> Scene<Counted> {
    scene_with(history, Shortage::default()).await
}

async fn scene_with(history: History, memory: Shortage) -> Scene<Counted> {
    let mut settings = BridgeSettings {
        inbox_entries: 1_000_000,
        inbox_bytes: 0,
        unanswered_publishes_max: 100_000,
        memory,
        ..settings()
    };
    settings.rules.history = Policy::up_to(history);
    let mut scene = Scene::with(Counted::new(), settings).await;
    for user in ["alice", "bob", "carol", "dave"] {
        scene.add(user, "phone").await;
    }
    scene.enter(CAROL, "carol", "phone", Filters::NONE).await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene
}

/// Most rows that are read while a message of Carol's is under way, of ten; and those that are read in all, with what is
/// left to be done then.
async fn meanwhile(scene: &mut Scene<Counted>) -> (usize, usize) {
    let begin = scene.store.rows_read();
    let mut worst = 0;
    for number in 10..20 {
        let before = scene.store.rows_read();
        scene.send_messages(CAROL, "dave", number, 1).await;
        worst = worst.max(scene.store.rows_read() - before);
    }
    scene.settle().await;
    (worst, scene.store.rows_read() - begin)
}

#[tokio::test(start_paused = true)]
async fn others_messages_do_not_wait_for_history() {
    let mut scene = scene(History::Forever).await;
    scene.send_messages(CAROL, "dave", 1, 1).await;
    let body: &'static str = "x".repeat(900).leak();
    scene.send(ALICE, (1..=500).map(|number| up::Frame::Publish(to_user(number, "bob", body))));
    let mut conversation = 0;
    for _ in 0..500 {
        conversation = scene.published(ALICE).await.conversation;
    }
    let call = || Call::GetHistory(client::GetHistory { conversation, oldest_first: true, ..Default::default() });
    // Of two users, as many as may wait.
    let asking = ["alice", "bob"].map(|name| {
        let asks = (0..30).map(|_| {
            let (chat, call) = (scene.chat.clone(), call());
            async move { chat.call(user(name), Principal::Administrator, call).await }
        });
        tokio::spawn(futures::future::join_all(asks.collect::<Vec<_>>()))
    });
    let (worst, all) = meanwhile(&mut scene).await;
    for it in asking {
        let answers = it.await.unwrap();
        assert!(answers.iter().all(|it| it.as_ref().is_ok_and(|it| it.reason == 0 && it.history.len() == 100)));
    }
    assert!(all > 6_000, "{all}");
    assert!(worst < all / 2, "{worst} of {all}");
}

#[tokio::test(start_paused = true)]
async fn others_messages_do_not_wait_while_an_inbox_is_erased() {
    let mut scene = scene(History::None).await;
    scene.add("bob", "tablet").await;
    scene.send_messages(CAROL, "dave", 1, 1).await;
    scene.send_messages(ALICE, "bob", 1, 20_000).await;
    let admin = scene.admin.clone();
    let removed =
        tokio::spawn(async move { admin.remove_device(user("bob"), DeviceName::new("tablet").unwrap()).await });
    let (worst, all) = meanwhile(&mut scene).await;
    removed.await.unwrap().unwrap();
    assert!(all > 20_000 && worst < WORST, "{worst} of {all}");
    assert_eq!(scene.inboxes().await.iter().filter(|(_, keys)| keys.len() > 20_000).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn others_messages_do_not_wait_while_somebody_leaves_everything() {
    const GROUPS: usize = 1_500;
    let mut scene = scene(History::Forever).await;
    scene.send_messages(CAROL, "dave", 1, 1).await;
    for _ in 0..GROUPS {
        let create = client::CreateGroup { title: String::new(), users: vec!["bob".into()] };
        assert_eq!(scene.ask(user("alice"), Call::CreateGroup(create)).await.reason, 0);
    }
    let chat = scene.chat.clone();
    let erase = Call::EraseAccount(client::EraseAccount {});
    let erased = tokio::spawn(async move { chat.call(user("alice"), Principal::Administrator, erase).await });
    // A name is nobody's before everything of it is cleared away.
    tokio::task::yield_now().await;
    let (worst, all) = meanwhile(&mut scene).await;
    assert_eq!(erased.await.unwrap().unwrap().reason, 0);
    assert!(worst < all / 2, "{worst} of {all}");
    let list = scene.ask(user("bob"), Call::ListConversations(client::ListConversations::default())).await;
    let members = list.conversations.iter().map(|it| it.description.as_ref().unwrap().members.len());
    assert_eq!(members.collect::<Vec<_>>(), [1; 100]);
    scene.add("alice", "phone").await;
    let list = scene.ask(user("alice"), Call::ListConversations(client::ListConversations::default())).await;
    assert!(list.conversations.is_empty());
}

#[tokio::test(start_paused = true)]
async fn clearing_a_deserted_conversation_goes_on_after_a_crash() {
    for crashes in [false, true] {
        let mut scene = scene(History::Forever).await;
        scene.send_messages(CAROL, "dave", 1, 1).await;
        let create = client::CreateGroup { title: String::new(), users: vec!["bob".into()] };
        let conversation = scene.ask(user("alice"), Call::CreateGroup(create)).await.conversation;
        let to_group = |number| Publish {
            number,
            kind: godwit_schemas::bus::Kind::ToConversation.into(),
            conversation,
            payload: "x".into(),
            ..Default::default()
        };
        scene.send(ALICE, (1..=5_000).map(|number| up::Frame::Publish(to_group(number))));
        for _ in 0..5_000 {
            assert_eq!(scene.published(ALICE).await.reason, 0);
        }
        for name in ["alice", "bob"] {
            let leave = Call::Leave(client::Leave { conversation });
            assert_eq!(scene.ask(user(name), leave).await.reason, 0);
        }
        if crashes {
            scene.crash().await;
            scene.enter(CAROL, "carol", "phone", Filters::NONE).await;
        }
        let (worst, all) = meanwhile(&mut scene).await;
        assert!(worst < WORST, "{worst} of {all}");
        let left = scene.store.store.rows(Table::Messages);
        assert_eq!(left, 1 + 11, "Carol's and Dave's conversation");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_is_nobodys_while_it_is_cleared_away() {
    let mut scene = scene(History::None).await;
    let password = scene.password("alice", "phone");
    // Much to be done before.
    scene.add("bob", "tablet").await;
    scene.send_messages(ALICE, "bob", 1, 5_000).await;
    let admin = scene.admin.clone();
    let bob = tokio::spawn(async move { admin.remove_user(user("bob")).await });
    let admin = scene.admin.clone();
    let alice = tokio::spawn(async move { admin.remove_user(user("alice")).await });
    let mut refused = 0;
    let added = loop {
        match scene.admin.add_user(user("alice"), DeviceName::new("phone").unwrap()).await {
            Err(AdminError::BeingRemoved(_) | AdminError::UserExists(_)) => refused += 1,
            added => break added.unwrap(),
        }
        tokio::task::yield_now().await;
    };
    assert!(refused > 0 && added.password.as_bytes() != password);
    let contact = Call::AddContact(client::AddContact { user: "carol".into(), label: String::new() });
    assert_eq!(scene.ask(user("alice"), contact).await.reason, 0);
    bob.await.unwrap().unwrap();
    alice.await.unwrap().unwrap();
    scene.settle().await;
    let contacts = scene.ask(user("alice"), Call::ListContacts(client::ListContacts::default())).await.contacts;
    assert_eq!(contacts.len(), 1, "the new one's own");
}

#[tokio::test(start_paused = true)]
async fn nothing_that_reads_much_is_done_while_memory_is_short() {
    let short = Arc::new(AtomicBool::new(false));
    let asked = short.clone();
    let mut scene = scene_with(History::Forever, Shortage::asking(move || asked.load(Ordering::Relaxed))).await;
    let conversation = scene.send_messages(ALICE, "bob", 1, 10).await;
    short.store(true, Ordering::Relaxed);
    let call = Call::GetHistory(client::GetHistory { conversation, ..Default::default() });
    let chat = scene.chat.clone();
    let asked = tokio::spawn(async move { chat.call(user("bob"), Principal::Administrator, call).await });
    scene.send_messages(ALICE, "bob", 11, 1).await;
    scene.settle().await;
    assert!(!asked.is_finished());
    short.store(false, Ordering::Relaxed);
    assert_eq!(asked.await.unwrap().unwrap().history.len(), 12, "the next tick sees it");
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_is_passed_over_once() {
    let mut scene = scene(History::None).await;
    // As if they had: the clock of these tests stands still.
    scene.send_messages(ALICE, "bob", 1, 100).await;
    let bob = scene.inboxes().await.into_iter().find(|(_, keys)| keys.len() > 100).unwrap();
    let last = keys::parse_order(bob.1.last().unwrap()).unwrap();
    let writes = bob.1.iter().map(|key| Write::Delete(Table::Inbox, key.to_vec())).collect();
    scene.store.commit(writes, Durability::Synced).await.unwrap();
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    assert_eq!(scene.deliveries(BOB).await, []);
    scene.disconnect(BOB, false);
    scene.settle().await;
    let record = scene.store.multi_get(&[keys::session(bob.0)]).await.unwrap().pop().flatten().unwrap();
    let low = <godwit_core::stored::SessionRecord as prost::Message>::decode(record).unwrap().low;
    assert!(low > last.get(), "{low}: the next connection begins behind it");
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    scene.send_messages(ALICE, "bob", 1_000, 1).await;
    assert_eq!(scene.deliveries(BOB).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reattached_connection_is_compared_with_its_inbox_in_pieces() {
    let mut scene = scene(History::None).await;
    scene.send_messages(CAROL, "dave", 1, 1).await;
    // All but the last are too large for Bob's phone.
    let large: &'static str = "x".repeat(900).leak();
    scene.send(ALICE, (1..=10_000).map(|number| up::Frame::Publish(to_user(number, "bob", large))));
    for _ in 0..10_000 {
        assert_eq!(scene.published(ALICE).await.reason, 0);
    }
    scene.send_messages(ALICE, "bob", 20_000, 1).await;
    let small = godwit_schemas::bus::Connect { packet_bytes_max: Some(500), ..scene.connect_frame("bob", "phone") };
    assert_eq!(scene.connect(BOB, small.clone()).await.reason, 0);
    scene.subscribe(BOB, Filters::RAW).await;
    let last = scene.delivered(BOB).await;
    scene.next_generation();
    let resume = Resume {
        cursor: last.order,
        outstanding: vec![last.order],
        filters: Filters::RAW.bits(),
        ..Default::default()
    };
    let resume = scene.resume_frame(BOB, "bob", "phone", resume);
    let connect = godwit_schemas::bus::Connect { packet_bytes_max: Some(500), ..resume };
    let carol = scene.resume_frame(CAROL, "carol", "phone", Resume::default());
    scene.begin_to_connect(BOB, connect);
    assert_eq!(scene.connect(CAROL, carol).await.reason, 0);
    let (worst, all) = meanwhile(&mut scene).await;
    assert!(all > 10_000 && worst < WORST, "{worst} of {all}");
    let frames = scene.rest(BOB).await;
    assert!(!frames.iter().any(|frame| matches!(frame, Frame::Deliver(_))), "the edge has it still");
    scene.acknowledge(BOB, vec![last.order]);
    scene.settle().await;
    let inboxes = scene.inboxes().await;
    assert!(inboxes.iter().any(|(_, keys)| keys.len() == 10_000), "what is too large waits");
}
