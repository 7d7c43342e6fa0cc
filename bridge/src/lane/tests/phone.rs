//! Messages to phone numbers that nobody has yet, and who gets them.

use std::sync::Arc;

use bytes::Bytes;
use godwit_schemas::bus::{Kind, Publish, Published, down::Frame};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{ConversationId, DeviceName, Seq, UserId};
use godwit_schemas::phone::PhoneNumber;
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use super::edge::{INBOX_ENTRIES, Scene, settings, to_user};
use super::{ALICE, BOB, NOW_S, bodies, knows_alice, scene};
use crate::admin::AdminError;
use crate::lane::BridgeSettings;
use crate::phone::hash;
use godwit_store::memory::MemoryStore;
use godwit_store::{Durability, Store, Table, Write, keys};

const NUMBER: &str = "+4930123456";

fn number() -> PhoneNumber {
    PhoneNumber::parse(NUMBER).unwrap()
}

fn to_phone(number: u64, body: &'static str) -> Publish {
    Publish { kind: Kind::ToPhone.into(), user: NUMBER.to_owned(), ..to_user(number, "", body) }
}

fn id(user: &str) -> UserId {
    UserId::new(user).unwrap()
}

fn look_up() -> Call {
    Call::LookUpPhones(client::LookUpPhones { sha256: vec![hash(number()).to_vec().into()] })
}

/// Alice has written three messages to a number that nobody has.
async fn written() -> Scene<MemoryStore> {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    for (number, body) in (1..).zip(["1", "2", "3"]) {
        scene.publish(ALICE, to_phone(number, body));
    }
    for sequence in 2..5 {
        let published = scene.published(ALICE).await;
        assert_eq!((published.reason, published.sequence), (0, sequence));
    }
    scene
}

/// The answer to Alice's publish of this number.
async fn answer(scene: &mut Scene<MemoryStore>, number: u64) -> Published {
    let picked = scene.expect(ALICE, |frame| match frame {
        Frame::Published(published) if published.number == number => Some(published.clone()),
        _ => None,
    });
    picked.await
}

async fn all(scene: &mut Scene<MemoryStore>, connection: u64) -> Vec<String> {
    let mut got = Vec::new();
    loop {
        let page = scene.deliveries(connection).await;
        if page.is_empty() {
            return got;
        }
        got.extend(bodies(&page).into_iter().map(str::to_owned));
        scene.acknowledge(connection, page.iter().map(|(order, _)| *order).collect());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_written_to_a_number_waits_for_who_registers_with_it() {
    let mut scene = written().await;
    scene.crash().await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    let waiting = scene.call(ALICE, 1, look_up()).await.found;
    assert!(waiting[0].waiting && waiting[0].user.starts_with("n-"), "{waiting:?}");
    scene.enter(BOB, "bob", "phone", Filters::RPC).await;
    assert_eq!(scene.call(BOB, 1, look_up()).await.found, [], "nobody else knows");
    let carol = scene.admin.register(None, DeviceName::new("phone").unwrap(), number()).await.unwrap();
    assert_eq!(carol.user, waiting[0].user);
    scene.knows(&carol);
    scene.enter(3, &carol.user, "phone", Filters::RAW).await;
    assert_eq!(all(&mut scene, 3).await, ["1", "2", "3"]);
    let found = scene.call(BOB, 2, look_up()).await.found;
    assert_eq!((found[0].user.as_str(), found[0].waiting), (carol.user.as_str(), false));
    scene.publish(ALICE, to_phone(9, "4"));
    assert_eq!(answer(&mut scene, 9).await.sequence, 5, "the same conversation");
}

#[tokio::test(start_paused = true)]
async fn who_has_another_name_gets_it_too_and_nothing_is_left() {
    let mut scene = written().await;
    // Alice and Bob have spoken before, under his name; his number comes later.
    scene.publish(ALICE, to_user(4, "bob", "by name"));
    assert_eq!(scene.published(ALICE).await.reason, 0);
    scene.admin.set_phone(id("bob"), Some(number())).await.unwrap();
    scene.publish(ALICE, to_phone(5, "4"));
    assert_eq!(scene.published(ALICE).await.reason, 0);
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    assert_eq!(all(&mut scene, BOB).await, ["by name", "1", "2", "3", "4"]);
    let users = scene.admin.users(None, 10).await.unwrap();
    assert_eq!(users.iter().map(|user| user.user.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);
    scene.subscribe(ALICE, Filters::RAW.with(Filters::RPC)).await;
    assert_eq!(all(&mut scene, ALICE).await, ["1", "2", "3"], "they were sent once more, not by her phone");
    scene.settle().await;
    assert_eq!(scene.store.rows(Table::Inbox), 0);
}

#[tokio::test(start_paused = true)]
async fn handing_over_resumes_after_a_full_inbox_and_sends_once() {
    let mut scene = written().await;
    knows_alice(&scene, "bob").await;
    for at in 1..u64::from(INBOX_ENTRIES) {
        scene.publish(ALICE, to_user(at + 10, "bob", "filler"));
        assert_eq!(scene.published(ALICE).await.reason, 0);
    }
    scene.settle().await;
    let refused = scene.admin.set_phone(id("bob"), Some(number())).await;
    assert!(matches!(refused, Err(AdminError::InboxFull(_))), "{refused:?}");
    scene.crash().await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    let before = all(&mut scene, BOB).await.into_iter().filter(|body| body != "filler");
    let before: Vec<_> = before.collect();
    scene.settle().await;
    scene.admin.set_phone(id("bob"), Some(number())).await.unwrap();
    let after = all(&mut scene, BOB).await;
    assert_eq!([before, after].concat(), ["1", "2", "3"]);
}

/// Of what a sender's own devices have no room for others are not deprived, nor is anybody blamed for another's inbox.
#[tokio::test(start_paused = true)]
async fn a_senders_full_inbox_does_not_hold_up_a_handing_over() {
    let mut scene = written().await;
    scene.add("alice", "tablet").await;
    scene.add("carol", "phone").await;
    scene.enter(3, "carol", "phone", Filters::NONE).await;
    // The last ones may be refused already.
    for number in 1..=u64::from(INBOX_ENTRIES) {
        scene.publish(3, to_user(number, "alice", "filler"));
        scene.published(3).await;
    }
    scene.settle().await;
    scene.publish(3, to_user(1_000, "alice", "one more"));
    assert_eq!(Reason::from_u32(scene.published(3).await.reason), Reason::QUOTA_EXCEEDED);
    scene.admin.set_phone(id("bob"), Some(number())).await.unwrap();
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    assert_eq!(all(&mut scene, BOB).await, ["1", "2", "3"]);
}

/// More than a page of an inbox waits for the number.
#[tokio::test(start_paused = true)]
async fn damaged_or_expired_entries_hold_up_no_handing_over() {
    const MESSAGES: u64 = 150;
    let mut scene =
        Scene::with(MemoryStore::new(Arc::new(|| NOW_S)), BridgeSettings { inbox_entries: 1_000, ..settings() }).await;
    for (user, device) in [("alice", "phone"), ("alice", "tablet"), ("alice", "laptop"), ("bob", "phone")] {
        scene.add(user, device).await;
    }
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    // Large, and for three devices: its body is kept apart.
    let large: &'static str = "x".repeat(900).leak();
    let mut places = Vec::new();
    for number in 1..=MESSAGES {
        scene.publish(ALICE, to_phone(number, if number == 60 { large } else { "small" }));
        places.push(answer(&mut scene, number).await);
    }
    scene.settle().await;
    let body = &places[59];
    let (table, key) = keys::message(ConversationId::new(body.conversation), Seq::new(body.sequence));
    let mut writes = vec![Write::Delete(table, key)];
    for (_, inbox) in scene.inboxes().await {
        let damaged = inbox.get(30).map(|key| Write::Put(Table::Inbox, key.to_vec(), Bytes::from_static(&[0xFF])));
        writes.extend(damaged);
    }
    scene.store.commit(writes, Durability::Synced).await.unwrap();
    scene.admin.set_phone(id("bob"), Some(number())).await.unwrap();
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    assert_eq!(all(&mut scene, BOB).await, vec!["small"; MESSAGES as usize - 2]);
}

#[tokio::test(start_paused = true)]
async fn a_number_has_one_user_until_it_gives_it_back() {
    let mut scene = scene().await;
    scene.admin.set_phone(id("bob"), Some(number())).await.unwrap();
    scene.admin.set_phone(id("bob"), Some(number())).await.unwrap();
    let taken = scene.admin.set_phone(id("alice"), Some(number())).await;
    assert!(matches!(taken, Err(AdminError::PhoneTaken)), "{taken:?}");
    let taken = scene.admin.register(Some(id("carol")), DeviceName::new("phone").unwrap(), number()).await;
    assert!(matches!(taken, Err(AdminError::PhoneTaken)), "{taken:?}");
    assert!(matches!(scene.admin.user(id("carol")).await, Err(AdminError::NoUser(_))));
    scene.admin.remove_user(id("bob")).await.unwrap();
    scene.settle().await;
    scene.admin.set_phone(id("alice"), Some(number())).await.unwrap();
    scene.admin.set_phone(id("alice"), Some(PhoneNumber::parse("+4930654321").unwrap())).await.unwrap();
    scene.add("dave", "phone").await;
    scene.admin.set_phone(id("dave"), Some(number())).await.unwrap();
    scene.admin.set_phone(id("dave"), None).await.unwrap();
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    assert_eq!(scene.call(ALICE, 1, look_up()).await.found, []);
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_up_all_numbers() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    // 100 a day; a message to a new number costs 50.
    scene.publish(ALICE, to_phone(1, "hello"));
    assert_eq!(scene.published(ALICE).await.reason, 0);
    let many = |count| Call::LookUpPhones(client::LookUpPhones { sha256: vec![vec![7; 32].into(); count] });
    let reasons = async |scene: &mut Scene<MemoryStore>, number, call| scene.call(ALICE, number, call).await.reason;
    assert_eq!(reasons(&mut scene, 2, many(51)).await, u32::from(Reason::QUOTA_EXCEEDED));
    assert_eq!(reasons(&mut scene, 3, many(50)).await, 0);
    let other = Publish { user: "+4930999999".to_owned(), ..to_phone(4, "hello") };
    scene.publish(ALICE, other);
    assert_eq!(Reason::from_u32(answer(&mut scene, 4).await.reason), Reason::QUOTA_EXCEEDED);
    scene.publish(ALICE, to_phone(5, "known by now"));
    assert_eq!(answer(&mut scene, 5).await.reason, 0);
    assert_eq!(reasons(&mut scene, 6, many(0)).await, u32::from(Reason::IMPLEMENTATION_SPECIFIC));
    let short = Call::LookUpPhones(client::LookUpPhones { sha256: vec!["short".into()] });
    assert_eq!(reasons(&mut scene, 7, short).await, u32::from(Reason::IMPLEMENTATION_SPECIFIC));
}

#[tokio::test(start_paused = true)]
async fn nobody_who_waits_is_added_to_a_group() {
    let mut scene = written().await;
    let waiting = scene.call(ALICE, 10, look_up()).await.found[0].user.clone();
    let call = Call::CreateGroup(client::CreateGroup { title: "trip".into(), users: vec![waiting] });
    assert_eq!(Reason::from_u32(scene.call(ALICE, 11, call).await.reason), Reason::TOPIC_NAME_INVALID);
}
