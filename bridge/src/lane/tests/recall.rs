//! What was left of a message is found wherever it is, and finding it holds up nobody.

use std::collections::BTreeMap;

use godwit_schemas::bus::up;
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;

use super::counted::Counted;
use super::edge::{Scene, calling, settings};
use super::{ALICE, BOB, bodies};
use crate::BridgeSettings;
use godwit_store::Table;

const CAROL: u64 = 3;

async fn scene(devices: usize) -> Scene<Counted> {
    let settings = BridgeSettings {
        inbox_entries: 1_000_000,
        inbox_bytes: 0,
        devices_per_user_max: 16,
        window_messages: 1_000,
        window_bytes: 10_000_000,
        unanswered_publishes_max: 100_000,
        ..settings()
    };
    let mut scene = Scene::with(Counted::new(), settings).await;
    for user in ["alice", "carol", "dave"] {
        scene.add(user, "phone").await;
    }
    for device in 0..devices {
        scene.add("bob", &format!("device-{device:02}")).await;
    }
    scene
}

fn recall(conversation: u64, sequence: u64) -> Call {
    Call::Recall(client::Recall { conversation, sequence })
}

/// Copies that wait, by conversation and sequence.
async fn copies(scene: &Scene<Counted>) -> BTreeMap<(u64, u64), usize> {
    use godwit_core::entry::{Entry, EntryKind};
    let rows = godwit_store::Store::scan(&scene.store, Table::Inbox, &[], &[0xFF; 16], usize::MAX, usize::MAX);
    let entries = rows.await.unwrap().into_iter().map(|(_, value)| Entry::decode(value).unwrap());
    let mut copies = BTreeMap::new();
    for entry in entries.filter(|entry| entry.kind == EntryKind::Message) {
        *copies.entry((entry.conversation.get(), entry.sequence.get())).or_default() += 1;
    }
    copies
}

#[tokio::test(start_paused = true)]
async fn every_copy_is_found_wherever_it_stands() {
    const MESSAGES: u64 = 700;
    let mut scene = scene(4).await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    scene.enter(CAROL, "carol", "phone", Filters::NONE).await;
    // In some stretches the messages of two senders are mixed, in others not.
    let (mut of_alice, mut of_carol, mut sent) = (0, 0, 0);
    for (alices, carols) in [(MESSAGES - 100, 0), (10, 500), (90, 3)] {
        of_alice = scene.send_messages(ALICE, "bob", 1 + sent, alices).await;
        sent += alices;
        if carols > 0 {
            of_carol = scene.send_messages(CAROL, "bob", 1 + 1_000 * sent, carols).await;
        }
    }
    // One of Bob's devices has some of them already: all but one of the first hundred.
    scene.enter(BOB, "bob", "device-01", Filters::RAW).await;
    let window = scene.deliveries(BOB).await;
    let orders: Vec<_> = window.iter().map(|(order, _)| *order).take(100).collect();
    scene.acknowledge(BOB, orders.iter().copied().filter(|order| *order != orders[50]).collect());
    scene.settle().await;
    scene.disconnect(BOB, false);
    scene.settle().await;
    let mut expected = copies(&scene).await;
    assert_eq!(expected.len() as u64, MESSAGES + 503);
    let sequences = [2, 3, 50, 51, 52, 101, 102, 300, 600, 602, 611, 612, 650, MESSAGES + 1];
    for (number, sequence) in (10_000..).zip(sequences) {
        assert_eq!(scene.call(ALICE, number, recall(of_alice, sequence)).await.reason, 0, "{sequence}");
        assert!(expected.remove(&(of_alice, sequence)).is_some());
        assert_eq!(copies(&scene).await, expected, "{sequence}");
    }
    let not_hers = scene.call(ALICE, 20_000, recall(of_carol, 10)).await;
    assert_eq!(Reason::from_u32(not_hers.reason), Reason::NOT_AUTHORIZED);
    let edit = Call::Edit(client::Edit { conversation: of_alice, sequence: 2, body: "?".into(), mls_epoch: 0 });
    assert_eq!(scene.call(ALICE, 20_001, edit).await.reason, 0, "nothing of it is left");
    scene.enter(BOB, "bob", "device-01", Filters::RAW).await;
    assert!(!bodies(&scene.deliveries(BOB).await).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_recent_message_is_found_at_once_and_its_copies_beside_it() {
    const MESSAGES: u64 = 3_000;
    const DEVICES: usize = 12;
    let mut scene = scene(DEVICES).await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    let conversation = scene.send_messages(ALICE, "bob", 1, MESSAGES).await;
    let cost = async |scene: &mut Scene<Counted>, sequence| {
        let before = scene.store.rows_read();
        assert_eq!(scene.call(ALICE, 10_000 + sequence, recall(conversation, sequence)).await.reason, 0);
        scene.store.rows_read() - before
    };
    let recent = cost(&mut scene, MESSAGES - 5).await;
    assert!(recent < 1_000, "{recent}");
    let old = cost(&mut scene, 10).await;
    assert!(old < MESSAGES as usize + 1_000, "{old}: what waits in one inbox, not in all");
    // To edit it, it must only be known whose it is.
    let before = scene.store.rows_read();
    let edit = Call::Edit(client::Edit { conversation, sequence: MESSAGES - 6, body: "better".into(), mls_epoch: 0 });
    assert_eq!(scene.call(ALICE, 90_000, edit).await.reason, 0);
    assert!(scene.store.rows_read() - before < 300, "{}", scene.store.rows_read() - before);
}

#[tokio::test(start_paused = true)]
async fn others_messages_do_not_wait_for_recalls() {
    const RECALLS: u64 = 30;
    const MESSAGES: u64 = 4_000;
    let mut scene = scene(15).await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.enter(CAROL, "carol", "phone", Filters::NONE).await;
    let conversation = scene.send_messages(ALICE, "bob", 1, MESSAGES).await;
    scene.send_messages(CAROL, "dave", 1, 1).await;
    let before = scene.store.rows_read();
    // The oldest: all that came later is read in vain.
    let recalls = (2..2 + RECALLS).map(|it| up::Frame::Publish(calling(10_000 + it, recall(conversation, it))));
    scene.send(ALICE, recalls);
    let mut worst = 0;
    for number in 2..20 {
        let before = scene.store.rows_read();
        scene.send_messages(CAROL, "dave", number, 1).await;
        worst = worst.max(scene.store.rows_read() - before);
    }
    scene.settle().await;
    let all = scene.store.rows_read() - before;
    assert!(all > 30_000, "{all}: there was much to do");
    assert!(worst < 8_000, "{worst} of {all} rows were read while a message of somebody else's waited");
    let waiting = copies(&scene).await;
    assert!(waiting.keys().filter(|(of, _)| *of == conversation).map(|(_, it)| *it).eq(2 + RECALLS..=MESSAGES + 1));
}

#[tokio::test(start_paused = true)]
async fn commands_about_one_message_keep_their_order() {
    let mut scene = scene(2).await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    let conversation = scene.send_messages(ALICE, "bob", 1, 3).await;
    let edit = |number, sequence, body: &'static str| {
        let edit = client::Edit { conversation, sequence, body: body.into(), mls_epoch: 0 };
        up::Frame::Publish(calling(number, Call::Edit(edit)))
    };
    let take_back = |number, sequence| up::Frame::Publish(calling(number, recall(conversation, sequence)));
    let frames = [edit(11, 3, "one"), take_back(12, 2), edit(13, 3, "two"), take_back(14, 3), edit(15, 3, "three")];
    scene.send(ALICE, frames);
    for (number, reason) in [(11, 0), (12, 0), (13, 0), (14, 0)] {
        assert_eq!(scene.answered(ALICE, number).await.1.reason, reason, "{number}");
    }
    scene.answered(ALICE, 15).await;
    scene.enter(BOB, "bob", "device-00", Filters::EVENTS).await;
    let events = scene.deliveries(BOB).await.into_iter().filter_map(|(_, event)| {
        use client::{change::Change, event::Event};
        use prost::Message;
        match client::Event::decode(event).unwrap().event.unwrap() {
            Event::Change(change) => match change.change.unwrap() {
                Change::Recalled(3) => Some("recalled".to_owned()),
                Change::Edited(it) if it.sequence == 3 => Some(String::from_utf8(it.body.to_vec()).unwrap()),
                _ => None,
            },
            _ => None,
        }
    });
    assert_eq!(events.collect::<Vec<_>>(), ["one", "two", "recalled", "three"]);
}
