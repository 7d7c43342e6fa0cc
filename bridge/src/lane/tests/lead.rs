//! A bridge that may have been succeeded tells nobody anything, and takes nothing in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use godwit_schemas::bus::down;
use godwit_schemas::topic::Filters;
use godwit_store::memory::MemoryStore;

use super::edge::{Scene, settings, to_user};
use super::{ALICE, BOB, NOW_S};
use crate::BridgeSettings;
use crate::lead::Lead;

#[tokio::test(start_paused = true)]
async fn what_comes_while_the_lead_is_in_doubt_waits_until_it_is_confirmed() {
    let confirmed = Arc::new(AtomicBool::new(true));
    let asked = confirmed.clone();
    let lead = Lead::new(3, move || asked.load(Ordering::Relaxed));
    let settings = BridgeSettings { lead, ..settings() };
    let mut scene = Scene::with(MemoryStore::new(Arc::new(|| NOW_S)), settings).await;
    for user in ["alice", "bob"] {
        scene.add(user, "phone").await;
    }
    scene.enter(ALICE, "alice", "phone", Filters::EVENTS).await;
    confirmed.store(false, Ordering::Relaxed);
    scene.publish(ALICE, to_user(1, "bob", "hello"));
    let login = scene.connect_frame("bob", "phone");
    scene.begin_to_connect(BOB, login);
    for connection in [ALICE, BOB] {
        assert_eq!(scene.rest(connection).await, [], "connection {connection}");
    }
    confirmed.store(true, Ordering::Relaxed);
    assert_eq!(scene.published(ALICE).await.reason, 0);
    let connected = |frame: &down::Frame| match frame {
        down::Frame::Connected(connected) => Some(connected.reason),
        _ => None,
    };
    assert_eq!(scene.expect(BOB, connected).await, 0);
}
