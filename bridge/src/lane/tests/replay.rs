//! Replay costs what is undelivered, never what was once delivered: counted by RocksDB itself.

use std::sync::Arc;

use godwit_schemas::bus::up::Frame;
use godwit_schemas::topic::Filters;

use super::edge::{NOW_S, Scene, to_user};
use super::{ALICE, BOB, bodies};
use godwit_store::ClockS;
use godwit_store::rocks::{self, RocksSettings, RocksStore};

const DELIVERED_BEFORE: u64 = 8_000;
const SMALL: RocksSettings = RocksSettings { memtable_bytes: 64 << 20, cache_bytes: 1 << 20, reserve_bytes: 1 };

#[tokio::test(start_paused = true)]
async fn deleted_entries_do_not_slow_a_replay() {
    let folder = tempfile::tempdir().unwrap();
    let clock: ClockS = Arc::new(|| NOW_S);
    let store = RocksStore::open(folder.path(), &SMALL, clock).unwrap();
    let mut scene = Scene::new(store).await;
    scene.add("alice", "phone").await;
    scene.add("bob", "phone").await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    let mut number = 0;
    while number < DELIVERED_BEFORE {
        let publishes: Vec<_> = (1..=4).map(|n| Frame::Publish(to_user(number + n, "bob", "x"))).collect();
        number += 4;
        scene.send(ALICE, publishes);
        let mut orders = Vec::new();
        for _ in 0..4 {
            scene.published(ALICE).await;
            orders.push(scene.delivered(BOB).await.order);
        }
        scene.acknowledge(BOB, orders);
    }
    scene.settle().await;
    // Not even a crash makes the next replay walk over what is gone.
    scene.crash().await;
    scene.enter(3, "alice", "phone", Filters::NONE).await;
    for (number, body) in (1..).zip(["a", "b", "c"]) {
        scene.publish(3, to_user(number, "bob", body));
        scene.published(3).await;
    }
    let skipped = rocks::count_skipped();
    scene.enter(4, "bob", "phone", Filters::RAW).await;
    let got = scene.deliveries(4).await;
    assert_eq!(bodies(&got), ["a", "b", "c"]);
    let skipped = skipped();
    assert!(skipped < DELIVERED_BEFORE / 4, "{skipped} deleted entries were passed over");
}
