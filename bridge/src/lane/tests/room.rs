//! A store that is nearly full takes nothing new, hands out what it has, and lets go of what is acknowledged.

use std::time::Duration;

use bytes::Bytes;
use godwit_schemas::bus::{Kind, Publish};
use godwit_schemas::client::{ReadReceipt, Request, request::Call};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::topic::Filters;
use prost::Message as _;

use super::edge::{Scene, to_user};
use super::{ALICE, BOB, bodies, scene};
use crate::admin::AdminError;
use godwit_store::Table;
use godwit_store::memory::MemoryStore;

/// Lanes look some times a second.
async fn set_nearly_full(scene: &Scene<MemoryStore>, nearly_full: bool) {
    scene.store.set_nearly_full(nearly_full);
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn messages_wait_in_order_and_deliveries_go_on() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.publish(ALICE, to_user(1, "bob", "one"));
    assert_eq!(scene.published(ALICE).await.reason, 0);
    set_nearly_full(&scene, true).await;
    scene.publish(ALICE, to_user(2, "bob", "two"));
    scene.publish(ALICE, to_user(3, "bob", "three"));
    let qos_0 = to_user(4, "bob", "dropped, with QoS 0");
    scene.publish(ALICE, Publish { packet_id: 0, at_most_once: true, ..qos_0 });
    assert_eq!(scene.published(ALICE).await.number, 4, "under way no more");
    assert_eq!(scene.rest(ALICE).await, [], "not answered");

    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    let deliveries = scene.deliveries(BOB).await;
    assert_eq!(bodies(&deliveries), ["one"]);
    let rows = scene.store.rows(Table::Inbox);
    scene.acknowledge(BOB, vec![deliveries[0].0]);
    scene.settle().await;
    assert_eq!(scene.store.rows(Table::Inbox), rows - 1);

    set_nearly_full(&scene, false).await;
    for number in [2, 3] {
        let published = scene.published(ALICE).await;
        assert_eq!((published.number, published.reason), (number, 0));
    }
    assert_eq!(bodies(&scene.deliveries(BOB).await), ["two", "three"]);
}

#[tokio::test(start_paused = true)]
async fn what_takes_no_room_goes_on() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    scene.publish(ALICE, to_user(1, "bob", "one"));
    let conversation = scene.published(ALICE).await.conversation;
    set_nearly_full(&scene, true).await;
    let publish = |number, kind: Kind, payload: Vec<u8>| {
        let payload = Bytes::from(payload);
        Publish { number, packet_id: number as u32, kind: kind.into(), payload, ..Default::default() }
    };
    let read = ReadReceipt { conversation, read_up_to: 2 };
    scene.publish(BOB, publish(1, Kind::Receipt, read.encode_to_vec()));
    assert_eq!(scene.published(BOB).await.reason, 0);
    let leave = Some(Call::Leave(godwit_schemas::client::Leave { conversation }));
    scene.publish(BOB, publish(2, Kind::Rpc, Request { id: 1, call: leave }.encode_to_vec()));
    assert_eq!(scene.published(BOB).await.reason, 0);

    let (bob, tv) = (UserId::new("bob").unwrap(), DeviceName::new("tv").unwrap());
    let added = scene.admin.add_user(UserId::new("carol").unwrap(), tv.clone()).await;
    assert!(matches!(added, Err(AdminError::NoRoom)), "{added:?}");
    let added = scene.admin.add_device(bob.clone(), tv).await;
    assert!(matches!(added, Err(AdminError::NoRoom)), "{added:?}");
    scene.admin.remove_user(bob).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_waits_ends_with_its_connection_and_may_come_again() {
    let mut scene = scene().await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    set_nearly_full(&scene, true).await;
    for connection in [5, 6, 7] {
        scene.enter(connection, "alice", "phone", Filters::NONE).await;
        let again = connection > 5;
        scene.publish(connection, Publish { packet_id: 9, duplicate: again, ..to_user(1, "bob", "one") });
        scene.settle().await;
    }
    set_nearly_full(&scene, false).await;
    assert_eq!(scene.published(7).await.reason, 0);
    assert_eq!(bodies(&scene.deliveries(BOB).await), ["one"]);
}
