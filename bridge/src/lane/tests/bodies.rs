//! Large bodies: on disk once, until the last device has them.

use godwit_schemas::bus::{Kind, Publish};
use godwit_schemas::client::{CreateGroup, request::Call};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use super::edge::{INBOX_BYTES, Scene};
use super::{ALICE, BOB, knows_alice, scene};
use godwit_store::Table;
use godwit_store::memory::MemoryStore;

const CAROL: u64 = 3;

fn large(number: u64, conversation: u64) -> Publish {
    let payload = vec![b'x'; 900].into();
    Publish { number, kind: Kind::ToConversation.into(), conversation, payload, ..Default::default() }
}

/// A group of Alice, Bob and Carol, whose opening everybody has; one large message waits for Bob's two devices and Carol.
async fn waiting() -> (Scene<MemoryStore>, u64) {
    let mut scene = scene().await;
    scene.add("bob", "tablet").await;
    scene.add("carol", "phone").await;
    knows_alice(&scene, "bob").await;
    knows_alice(&scene, "carol").await;
    scene.enter(ALICE, "alice", "phone", Filters::RAW.with(Filters::RPC)).await;
    let users = vec!["bob".to_owned(), "carol".to_owned()];
    let group = scene.call(ALICE, 1, Call::CreateGroup(CreateGroup { title: String::new(), users })).await;
    for (connection, user, device) in [(BOB, "bob", "phone"), (CAROL, "carol", "phone"), (9, "bob", "tablet")] {
        scene.enter(connection, user, device, Filters::RAW).await;
        scene.settle().await;
        scene.disconnect(connection, true);
    }
    scene.settle().await;
    assert_eq!(scene.store.rows(Table::Inbox), 0);
    scene.publish(ALICE, large(2, group.conversation));
    scene.published(ALICE).await;
    scene.published(ALICE).await;
    assert_eq!((scene.store.rows(Table::Inbox), scene.store.rows(Table::Messages)), (3, 2));
    assert!(scene.store.bytes(Table::Inbox) < 3 * 64);
    (scene, group.conversation)
}

#[tokio::test(start_paused = true)]
async fn a_large_body_is_stored_once_and_goes_with_its_last_holder() {
    let (mut scene, _) = waiting().await;
    scene.crash().await;
    for (connection, user, device, left) in [(4, "bob", "phone", 2), (5, "carol", "phone", 2), (6, "bob", "tablet", 0)]
    {
        scene.enter(connection, user, device, Filters::RAW).await;
        let got = scene.delivered(connection).await;
        assert_eq!(got.payload, vec![b'x'; 900]);
        scene.acknowledge(connection, vec![got.order]);
        scene.settle().await;
        assert_eq!(scene.store.rows(Table::Messages), left, "{user} {device}");
        // Not even the memory of who has it survives in the bridge.
        scene.crash().await;
    }
    assert_eq!(scene.store.rows(Table::Inbox), 0);
}

#[tokio::test(start_paused = true)]
async fn a_removed_device_holds_no_body() {
    let (mut scene, _) = waiting().await;
    let (bob, carol) = (UserId::new("bob").unwrap(), UserId::new("carol").unwrap());
    scene.admin.remove_device(bob.clone(), DeviceName::new("tablet").unwrap()).await.unwrap();
    scene.admin.remove_user(carol).await.unwrap();
    scene.settle().await;
    assert_eq!(scene.store.rows(Table::Messages), 2, "the phone has still to get it");
    scene.admin.remove_device(bob, DeviceName::new("phone").unwrap()).await.unwrap();
    scene.settle().await;
    assert_eq!(scene.store.rows(Table::Messages), 0);
}

#[tokio::test(start_paused = true)]
async fn a_window_counts_bodies_that_are_kept_apart() {
    let (mut scene, conversation) = waiting().await;
    // The window of these tests has room for 100,000 bytes and 4 deliveries; a reference is not what is counted.
    for number in 3..8 {
        scene.publish(ALICE, large(number, conversation));
        scene.published(ALICE).await;
    }
    scene.enter(4, "bob", "phone", Filters::RAW).await;
    let first = scene.deliveries(4).await;
    assert_eq!(first.len(), 4);
    scene.acknowledge(4, first.iter().map(|(order, _)| *order).collect());
    let rest = scene.deliveries(4).await;
    assert!(rest.len() == 2 && rest.iter().all(|(_, body)| body.len() == 900));
}

#[tokio::test(start_paused = true)]
async fn a_body_kept_apart_counts_in_each_inbox_that_waits_for_it() {
    let (mut scene, conversation) = waiting().await;
    let last = 1 + INBOX_BYTES.div_ceil(900);
    for number in 3..=last {
        scene.publish(ALICE, large(number, conversation));
        assert_eq!(scene.published(ALICE).await.reason, 0, "{number}");
        scene.settle().await;
    }
    assert!((scene.store.bytes(Table::Inbox) as u64) < INBOX_BYTES);
    for number in [last + 1, last + 2] {
        scene.publish(ALICE, large(number, conversation));
        assert_eq!(Reason::from_u32(scene.published(ALICE).await.reason), Reason::QUOTA_EXCEEDED);
        // It is counted now and then.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}
