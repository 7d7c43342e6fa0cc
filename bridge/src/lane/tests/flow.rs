//! What goes down to an edge waits in the store while the edge does not take it, or memory is short.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use godwit_core::decide::Rules;
use godwit_schemas::bus::Publish;
use godwit_schemas::flow;
use godwit_schemas::topic::Filters;

use super::edge::{LANES, NOW_S, Scene, settings, to_user};
use super::{ALICE, BOB};
use crate::BridgeSettings;
use crate::memory::Shortage;
use godwit_store::Table;
use godwit_store::memory::MemoryStore;

const BODY: usize = 50_000;
/// What Alice has not fetched: that her message opened the conversation.
const OPENING: usize = 1;

/// Alice and Bob are connected; Bob may have several large messages in flight.
async fn large_bodies(memory: Shortage) -> Scene<MemoryStore> {
    let rules = Rules { body_bytes_max: BODY, ..settings().rules };
    let settings = BridgeSettings { rules, window_bytes: 4 * BODY as u32, inbox_bytes: 0, memory, ..settings() };
    let mut scene = Scene::with(MemoryStore::new(Arc::new(|| NOW_S)), settings).await;
    for (connection, user, filters) in [(ALICE, "alice", Filters::NONE), (BOB, "bob", Filters::RAW)] {
        scene.add(user, "phone").await;
        scene.enter(connection, user, "phone", filters).await;
    }
    scene
}

impl Scene<MemoryStore> {
    /// Alice sends Bob a large message, which is stored.
    async fn send_large(&mut self, number: u64) {
        self.publish(ALICE, Publish { payload: vec![b'x'; BODY].into(), ..to_user(number, "bob", "") });
        assert_eq!(self.published(ALICE).await.reason, 0);
    }

    /// Bob acknowledges what has come to him: so many messages.
    async fn take_all(&mut self) -> usize {
        let orders: Vec<_> = self.deliveries(BOB).await.into_iter().map(|(order, _)| order).collect();
        let count = orders.len();
        self.acknowledge(BOB, orders);
        count
    }
}

#[tokio::test(start_paused = true)]
async fn deliveries_wait_in_the_store_until_the_edge_has_taken_some() {
    let mut scene = large_bodies(Shortage::default()).await;
    scene.says_how_far(false);
    let (sent, mut got) = (100, 0);
    for number in 1..=sent {
        scene.send_large(number as u64).await;
        got += scene.take_all().await;
    }
    let room = flow::share(LANES) / BODY;
    assert!((room..room + 2).contains(&got), "{got}");
    scene.settle().await;
    assert_eq!(scene.store.rows(Table::Inbox), OPENING + sent - got);
    // It takes them after all.
    scene.says_how_far(true);
    while got < sent {
        let more = scene.take_all().await;
        assert!(more > 0 || got == room || got == room + 1, "{got}");
        got += more;
    }
    scene.settle().await;
    assert_eq!(scene.store.rows(Table::Inbox), OPENING);
}

#[tokio::test(start_paused = true)]
async fn while_memory_is_short_a_device_is_handed_a_little_at_a_time() {
    let is_short = Arc::new(AtomicBool::new(false));
    let asked = is_short.clone();
    let mut scene = large_bodies(Shortage::asking(move || asked.load(Ordering::Relaxed))).await;
    for (short, at_once) in [(false, 4), (true, 2), (false, 4)] {
        is_short.store(short, Ordering::Relaxed);
        for number in 1..=8 {
            scene.send_large(number).await;
        }
        assert_eq!(scene.deliveries(BOB).await.len(), at_once);
        // Nothing is lost of the rest.
        scene.crash().await;
        for (connection, user, filters) in [(ALICE, "alice", Filters::NONE), (BOB, "bob", Filters::RAW)] {
            scene.enter(connection, user, "phone", filters).await;
        }
        let mut got = 0;
        while got < 8 {
            let more = scene.take_all().await;
            assert!((1..=at_once).contains(&more), "{more}");
            got += more;
        }
        scene.settle().await;
        assert_eq!(scene.store.rows(Table::Inbox), OPENING);
    }
}
