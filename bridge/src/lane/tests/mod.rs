//! The bridge as an edge sees it, on a store in memory and paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use godwit_schemas::bus::{Acks, Publish, Published, Resume, down::Frame, up};
use godwit_schemas::client::{self, event, request::Call};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;
use prost::Message;

use self::edge::{INBOX_BYTES, INBOX_ENTRIES, NOW_S, Scene, WINDOW, to_user};
use godwit_store::memory::MemoryStore;
use godwit_store::{ClockS, Table};

mod account;
mod alike;
mod bodies;
mod calls;
mod commits;
mod contacts;
mod counted;
mod edge;
mod encrypted_walk;
mod erase;
mod events;
mod exchange;
mod flow;
mod grown;
mod history;
mod keys;
mod lead;
mod memberships;
mod numbers;
mod pages;
mod phone;
mod presence;
mod pushes;
mod recall;
mod replay;
mod revoked;
mod room;
mod slices;
mod trace;
mod unread;

async fn scene() -> Scene<MemoryStore> {
    scene_by(Arc::new(|| NOW_S)).await
}

/// With another clock.
async fn scene_by(clock: ClockS) -> Scene<MemoryStore> {
    let mut scene = Scene::new(MemoryStore::new(clock)).await;
    scene.add("alice", "phone").await;
    scene.add("bob", "phone").await;
    scene
}

/// The user has Alice as a contact: to it she is no stranger, whose messages take but half of an inbox.
async fn knows_alice(scene: &Scene<MemoryStore>, user: &str) {
    let add = client::AddContact { user: "alice".into(), label: String::new() };
    assert_eq!(scene.ask(UserId::new(user).unwrap(), Call::AddContact(add)).await.reason, 0);
}

const ALICE: u64 = 1;
const BOB: u64 = 2;

fn bodies(deliveries: &[(u64, bytes::Bytes)]) -> Vec<&str> {
    deliveries.iter().map(|(_, body)| std::str::from_utf8(body).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn only_the_right_password_enters() {
    let mut scene = scene().await;
    scene.add("alice", "tablet").await;
    let right = scene.connect_frame("alice", "phone");
    let wrong = [
        ("alice", "phone", "x".into()),
        ("alice", "phone", "".into()),
        ("alice", "phone", scene.password("alice", "tablet")),
        ("alice", "watch", right.password.clone()),
        ("carol", "phone", right.password.clone()),
    ];
    for (user, device, password) in wrong {
        let connect = godwit_schemas::bus::Connect {
            user: user.to_owned(),
            device: device.to_owned(),
            password,
            ..right.clone()
        };
        let connected = scene.connect(ALICE, connect).await;
        assert_eq!(Reason::from_u32(connected.reason), Reason::BAD_USER_NAME_OR_PASSWORD, "{user} {device}");
    }
    assert_eq!(scene.connect(ALICE, right).await.reason, 0);
}

#[tokio::test(start_paused = true)]
async fn who_was_verified_at_the_edge_needs_a_device_and_no_password() {
    let mut scene = scene().await;
    let alice = scene.connect_frame("alice", "phone");
    let verified = godwit_schemas::bus::Connect { password: "".into(), verified: true, ..alice };
    for (user, device, reason) in [("alice", "watch", 0x86), ("carol", "phone", 0x86), ("alice", "phone", 0)] {
        let (user, device) = (user.to_owned(), device.to_owned());
        let connect = godwit_schemas::bus::Connect { user, device, ..verified.clone() };
        assert_eq!(scene.connect(ALICE, connect).await.reason, reason);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_serves_nobody_elses_users() {
    let mut scene = scene().await;
    let connect = scene.connect_frame("alice", "phone");
    scene.send_to_another_lane(ALICE, up::Frame::Connect(connect.clone()));
    assert!(scene.rest(ALICE).await.is_empty());
    assert_eq!(scene.connect(ALICE, connect).await.reason, 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_for_its_device_and_leaves_when_acknowledged() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.publish(ALICE, to_user(1, "bob", "hello"));
    let published = scene.published(ALICE).await;
    assert_eq!((published.reason, published.sequence), (0, 2));
    scene.crash().await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    let deliver = scene.delivered(BOB).await;
    assert_eq!((deliver.payload, deliver.sender.as_str()), ("hello".into(), "alice"));
    scene.acknowledge(BOB, vec![deliver.order]);
    scene.settle().await;
    // What is left is Alice's: the opening of the conversation.
    assert_eq!(scene.store.rows(Table::Inbox), 1);
    scene.disconnect(BOB, true);
    scene.enter(3, "bob", "phone", Filters::RAW).await;
    assert_eq!(scene.deliveries(3).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_resumed_with_what_it_was_subscribed_to() {
    let mut scene = scene().await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    scene.disconnect(BOB, false);
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.publish(ALICE, to_user(1, "bob", "hello"));
    let connect = scene.connect_frame("bob", "phone");
    let connected = scene.connect(3, connect.clone()).await;
    assert!(connected.session_present);
    assert_eq!(Filters::from_bits(connected.filters), Filters::RAW);
    assert_eq!(bodies(&scene.deliveries(3).await), ["hello"]);
    let connected = scene.connect(4, godwit_schemas::bus::Connect { clean_start: true, ..connect }).await;
    assert!(!connected.session_present);
    assert_eq!(connected.filters, 0);
    let close = scene.expect(3, |frame| match frame {
        Frame::Close(close) => Some(close.reason),
        _ => None,
    });
    assert_eq!(Reason::from_u32(close.await), Reason::SESSION_TAKEN_OVER);
    assert_eq!(scene.deliveries(4).await, [], "not before it has subscribed");
    scene.subscribe(4, Filters::RAW_TREE).await;
    let again = scene.delivered(4).await;
    assert_eq!((again.payload, again.duplicate), ("hello".into(), true), "a clean start does not empty the inbox");
}

#[tokio::test(start_paused = true)]
async fn a_device_gets_a_window_and_the_rest_when_it_acknowledges() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    for (number, body) in (1..).zip(["1", "2", "3", "4", "5", "6", "7", "8", "9"]) {
        scene.publish(ALICE, to_user(number, "bob", body));
        assert_eq!(scene.published(ALICE).await.reason, 0);
    }
    let first = scene.deliveries(BOB).await;
    assert_eq!(bodies(&first), ["1", "2", "3", "4"]);
    scene.acknowledge(BOB, first.iter().map(|(order, _)| *order).collect());
    let second = scene.deliveries(BOB).await;
    assert_eq!(bodies(&second), ["5", "6", "7", "8"]);
    scene.acknowledge(BOB, second.iter().map(|(order, _)| *order).collect());
    assert_eq!(bodies(&scene.deliveries(BOB).await), ["9"]);
}

#[tokio::test(start_paused = true)]
async fn a_repetition_takes_effect_once() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.publish(ALICE, to_user(7, "bob", "hello"));
    let first = scene.published(ALICE).await;
    scene.disconnect(ALICE, false);
    // The client did not see the answer and repeats itself under the same packet identifier.
    scene.enter(3, "alice", "phone", Filters::NONE).await;
    let again = Publish { packet_id: 7, duplicate: true, ..to_user(1, "bob", "hello") };
    scene.publish(3, again.clone());
    let known = Published { number: 1, repeated_up_to: Some(0), ..first.clone() };
    assert_eq!(scene.published(3).await, known, "and is told so");
    // Without DUP it is another message.
    scene.publish(3, Publish { packet_id: 7, ..to_user(2, "bob", "hello") });
    assert_eq!(scene.published(3).await.sequence, first.sequence + 1);
    // After a goodbye nothing is in doubt.
    scene.disconnect(3, true);
    scene.enter(4, "alice", "phone", Filters::NONE).await;
    scene.publish(4, again);
    assert_eq!(scene.published(4).await.sequence, first.sequence + 2);
}

#[tokio::test(start_paused = true)]
async fn a_repetition_waits_for_its_first_attempt() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    // All before the bridge has answered anything.
    let connect = scene.connect_frame("alice", "phone");
    scene.send(
        ALICE,
        [
            godwit_schemas::bus::up::Frame::Publish(to_user(1, "bob", "hello")),
            godwit_schemas::bus::up::Frame::Publish(to_user(2, "bob", "world")),
        ],
    );
    assert_eq!(scene.connect(3, connect).await.reason, 0);
    scene.publish(3, Publish { duplicate: true, ..to_user(1, "bob", "hello") });
    scene.publish(3, Publish { duplicate: true, ..to_user(2, "bob", "world") });
    scene.publish(3, to_user(3, "bob", "!"));
    let mut sequences = Vec::new();
    for _ in 0..3 {
        sequences.push(scene.published(3).await.sequence);
    }
    assert_eq!(sequences, [2, 3, 4]);
    assert_eq!(scene.rest(ALICE).await.len(), 1, "only the takeover");
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_stays_refused() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    // The edge repeats itself before the bridge has answered; meanwhile the recipient comes.
    let frames = [to_user(1, "carol", "hello"), Publish { resent: true, ..to_user(1, "carol", "hello") }];
    scene.send(ALICE, frames.map(up::Frame::Publish));
    let reason = scene.published(ALICE).await.reason;
    assert_eq!(Reason::from_u32(reason), Reason::TOPIC_NAME_INVALID);
    scene.add("carol", "phone").await;
    assert!(scene.rest(ALICE).await.is_empty(), "answered once");
    assert_eq!(scene.store.rows(Table::Inbox), 0);
}

#[tokio::test(start_paused = true)]
async fn an_edge_repeats_exactly_what_was_not_answered() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.publish(ALICE, to_user(1, "bob", "22.5"));
    let first = scene.published(ALICE).await;
    // The bridge dies with the answer on its way, and with a second publish that it never saw: a client that uses the
    // same packet identifier again for the same bytes.
    scene.crash().await;
    scene.resume(ALICE, "alice", "phone", Resume::default()).await;
    scene.publish(ALICE, Publish { resent: true, ..to_user(1, "bob", "22.5") });
    scene.publish(ALICE, Publish { resent: true, packet_id: 1, ..to_user(2, "bob", "22.5") });
    assert_eq!(scene.published(ALICE).await, first);
    let second = scene.published(ALICE).await;
    assert_eq!((second.number, second.sequence), (2, first.sequence + 1));
}

/// Found by the simulator, seed 22286: frames of an edge that its client had left arrived when the client had come and
/// gone through another, and took effect once more.
#[tokio::test(start_paused = true)]
async fn what_a_client_repeated_elsewhere_is_not_carried_out_again() {
    for (crashes, says_more) in [(false, false), (true, false), (true, true)] {
        let mut scene = scene().await;
        scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
        // The edge keeps the publish, and its frame is lost. The client repeats it on another connection, and goes.
        scene.enter(3, "alice", "phone", Filters::NONE).await;
        scene.publish(3, Publish { packet_id: 7, duplicate: true, ..to_user(1, "bob", "hello") });
        let stored = scene.published(3).await;
        if says_more {
            scene.publish(3, Publish { packet_id: 7, ..to_user(2, "bob", "world") });
            scene.published(3).await;
        }
        if crashes {
            scene.crash().await;
        } else {
            scene.disconnect(3, false);
            scene.settle().await;
            scene.next_generation();
        }
        let connect = scene.resume_frame(ALICE, "alice", "phone", Resume::default());
        let again = Publish { packet_id: 7, resent: true, ..to_user(1, "bob", "hello") };
        let late = Publish { packet_id: 7, ..to_user(2, "bob", "late") };
        let frames = [up::Frame::Connect(connect), up::Frame::Publish(again), up::Frame::Publish(late)];
        scene.send(ALICE, frames);
        let rest = scene.rest(ALICE).await;
        assert!(matches!(rest.last(), Some(Frame::Close(_))), "{rest:?}");
        scene.enter(4, "alice", "phone", Filters::NONE).await;
        scene.publish(4, to_user(1, "bob", "next"));
        assert_eq!(scene.published(4).await.sequence, stored.sequence + 1 + u64::from(says_more));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reattached_connection_goes_on_where_it_was() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    for (number, body) in (1..).zip(["1", "2", "3"]) {
        scene.publish(ALICE, to_user(number, "bob", body));
        scene.published(ALICE).await;
    }
    let orders: Vec<_> = scene.deliveries(BOB).await.into_iter().map(|(order, _)| order).collect();
    // Bob acknowledged the first, and the edge could not tell the bridge.
    scene.crash().await;
    let resume = Resume {
        cursor: orders[2],
        outstanding: orders[1..].to_vec(),
        filters: Filters::RAW.bits(),
        ..Default::default()
    };
    scene.resume(BOB, "bob", "phone", resume).await;
    assert_eq!(scene.deliveries(BOB).await, [], "the edge has them still");
    scene.resume(ALICE, "alice", "phone", Resume::default()).await;
    scene.publish(ALICE, to_user(4, "bob", "4"));
    let fourth = scene.deliveries(BOB).await;
    assert_eq!(bodies(&fourth), ["4"]);
    scene.acknowledge(BOB, vec![orders[1], orders[2], fourth[0].0]);
    scene.settle().await;
    assert_eq!(scene.store.rows(Table::Inbox), 1, "Alice's");
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_right_after_a_reattachment_counts() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    for (number, body) in (1..).zip(["1", "2", "3", "4", "5"]) {
        scene.publish(ALICE, to_user(number, "bob", body));
        scene.published(ALICE).await;
    }
    let orders: Vec<_> = scene.deliveries(BOB).await.into_iter().map(|(order, _)| order).collect();
    scene.next_generation();
    let resume =
        Resume { cursor: orders[3], outstanding: orders.clone(), filters: Filters::RAW.bits(), ..Default::default() };
    let connect = scene.resume_frame(BOB, "bob", "phone", resume);
    // Both are there before the bridge has looked into the inbox.
    scene.send(BOB, [up::Frame::Connect(connect), up::Frame::Acks(Acks { orders })]);
    assert_eq!(bodies(&scene.deliveries(BOB).await), ["5"]);
}

#[tokio::test(start_paused = true)]
async fn ticks_reach_the_sender_and_an_unread_one_is_overwritten() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::EVENTS).await;
    scene.disconnect(ALICE, false);
    scene.enter(3, "alice", "phone", Filters::EVENTS).await;
    scene.publish(3, to_user(1, "bob", "hello"));
    let place = scene.published(3).await;
    let opening = scene.deliveries(3).await;
    scene.acknowledge(3, opening.iter().map(|(order, _)| *order).collect());
    scene.settle().await;
    scene.disconnect(3, false);
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    let order = scene.delivered(BOB).await.order;
    scene.acknowledge(BOB, vec![order]);
    scene.settle().await;
    let receipt = client::ReadReceipt { conversation: place.conversation, read_up_to: place.sequence };
    let read = Publish {
        number: 1,
        kind: godwit_schemas::bus::Kind::Receipt.into(),
        payload: receipt.encode_to_vec().into(),
        ..Default::default()
    };
    scene.publish(BOB, read);
    assert_eq!(scene.published(BOB).await.reason, 0);
    assert_eq!(scene.store.rows(Table::Receipts), 1, "delivered was overwritten by read");
    scene.crash().await;
    scene.enter(5, "alice", "phone", Filters::EVENTS).await;
    let ticks = scene.deliveries(5).await;
    assert_eq!(ticks.len(), 1);
    let Some(event::Event::Receipt(receipt)) = client::Event::decode(ticks[0].1.clone()).unwrap().event else {
        panic!("not a receipt")
    };
    assert_eq!((receipt.delivered_up_to, receipt.read_up_to), (place.sequence, place.sequence));
    scene.acknowledge(5, vec![ticks[0].0]);
    scene.settle().await;
    assert_eq!(scene.store.rows(Table::Receipts), 0);
}

/// Seed 1795533917585: the number of a tick that was handed out before a crash was given to a newer one after it.
#[tokio::test(start_paused = true)]
async fn an_acknowledgement_from_before_a_crash_ends_no_newer_tick() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::EVENTS).await;
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    let mut places = Vec::new();
    for number in 1..=2 {
        scene.publish(ALICE, to_user(number, "bob", "hello"));
        places.push(scene.published(ALICE).await);
    }
    let opening = scene.deliveries(ALICE).await;
    scene.acknowledge(ALICE, opening.iter().map(|(order, _)| *order).collect());
    let both = scene.deliveries(BOB).await;
    scene.acknowledge(BOB, vec![both[0].0]);
    let older = scene.deliveries(ALICE).await;
    assert_eq!(older.len(), 1);
    scene.crash().await;
    scene.enter(5, "bob", "phone", Filters::RAW).await;
    let second = scene.deliveries(5).await;
    scene.acknowledge(5, vec![second[0].0]);
    scene.settle().await;
    let resume = Resume { filters: Filters::EVENTS.bits(), outstanding: vec![older[0].0], ..Default::default() };
    scene.resume(ALICE, "alice", "phone", resume).await;
    scene.acknowledge(ALICE, vec![older[0].0]);
    let newer = scene.deliveries(ALICE).await;
    assert_eq!(scene.store.rows(Table::Receipts), 1, "Alice has not the newer one yet");
    scene.acknowledge(ALICE, vec![newer[0].0]);
    scene.settle().await;
    assert_eq!(scene.store.rows(Table::Receipts), 0);
    assert_eq!(places[1].sequence, places[0].sequence + 1);
}

#[tokio::test(start_paused = true)]
async fn a_resumed_session_gets_the_ticks_it_missed() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::EVENTS).await;
    scene.publish(ALICE, to_user(1, "bob", "hello"));
    scene.published(ALICE).await;
    let opening = scene.deliveries(ALICE).await;
    scene.acknowledge(ALICE, opening.iter().map(|(order, _)| *order).collect());
    scene.settle().await;
    scene.disconnect(ALICE, false);
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    let order = scene.delivered(BOB).await.order;
    scene.acknowledge(BOB, vec![order]);
    scene.settle().await;
    let connect = scene.connect_frame("alice", "phone");
    assert!(scene.connect(3, connect).await.session_present);
    let ticks = scene.deliveries(3).await;
    assert_eq!(ticks.len(), 1, "without subscribing again");
    scene.acknowledge(3, vec![ticks[0].0]);
    scene.settle().await;
    assert_eq!(scene.store.rows(Table::Receipts), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_why_and_mqtt_3_1_1_hears_it_as_an_event() {
    let mut scene = scene().await;
    let connect = godwit_schemas::bus::Connect { protocol: 4, ..scene.connect_frame("alice", "phone") };
    scene.connect(ALICE, connect).await;
    scene.subscribe(ALICE, Filters::EVENTS).await;
    scene.publish(ALICE, Publish { packet_id: 40, ..to_user(1, "nobody", "x") });
    let published = scene.published(ALICE).await;
    assert_eq!(Reason::from_u32(published.reason), Reason::TOPIC_NAME_INVALID);
    let event = client::Event::decode(scene.delivered(ALICE).await.payload).unwrap();
    let Some(event::Event::Refusal(refusal)) = event.event else { panic!("not a refusal") };
    assert_eq!((refusal.packet_id, refusal.reason), (40, published.reason));
    for kind in [godwit_schemas::bus::Kind::Send, godwit_schemas::bus::Kind::Receipt, godwit_schemas::bus::Kind::Rpc] {
        scene.publish(ALICE, Publish { kind: kind.into(), ..to_user(2, "", "\u{7f}not protobuf") });
        let reason = Reason::from_u32(scene.published(ALICE).await.reason);
        assert_eq!(reason, Reason::PAYLOAD_FORMAT_INVALID, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_takes_no_more_until_a_quarter_is_fetched() {
    let mut scene = scene().await;
    knows_alice(&scene, "bob").await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    let mut number = 0;
    let mut send = async |scene: &mut Scene<MemoryStore>, connection| {
        number += 1;
        scene.publish(connection, to_user(number, "bob", "hello"));
        let reason = Reason::from_u32(scene.published(connection).await.reason);
        scene.settle().await;
        reason
    };
    // The opening is an entry too.
    for _ in 1..INBOX_ENTRIES {
        assert_eq!(send(&mut scene, ALICE).await, Reason::SUCCESS);
    }
    assert_eq!(send(&mut scene, ALICE).await, Reason::QUOTA_EXCEEDED);
    assert_eq!(scene.store.rows(Table::Inbox) as u32, 1 + INBOX_ENTRIES, "and Alice's opening");
    scene.crash().await;
    scene.enter(3, "alice", "phone", Filters::NONE).await;
    assert_eq!(send(&mut scene, 3).await, Reason::QUOTA_EXCEEDED, "not forgotten");
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    let mut fetched = 1;
    while fetched < INBOX_ENTRIES / 4 {
        let orders: Vec<_> = scene.deliveries(BOB).await.into_iter().map(|(order, _)| order).collect();
        assert_eq!(send(&mut scene, 3).await, Reason::QUOTA_EXCEEDED);
        fetched += orders.len() as u32;
        scene.acknowledge(BOB, orders);
        scene.settle().await;
    }
    assert_eq!(send(&mut scene, 3).await, Reason::SUCCESS);
}

#[tokio::test(start_paused = true)]
async fn an_inbox_is_full_of_bytes_until_a_quarter_is_fetched() {
    const BODY_BYTES: u64 = 1_000;
    let mut scene = scene().await;
    knows_alice(&scene, "bob").await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    let body: &'static str = "x".repeat(BODY_BYTES as usize).leak();
    let mut number = 0;
    let mut send = async |scene: &mut Scene<MemoryStore>, connection| {
        number += 1;
        scene.publish(connection, to_user(number, "bob", body));
        let reason = Reason::from_u32(scene.published(connection).await.reason);
        scene.settle().await;
        reason
    };
    for _ in 0..INBOX_BYTES / BODY_BYTES {
        assert_eq!(send(&mut scene, ALICE).await, Reason::SUCCESS);
    }
    assert_eq!(send(&mut scene, ALICE).await, Reason::QUOTA_EXCEEDED);
    scene.crash().await;
    scene.enter(3, "alice", "phone", Filters::NONE).await;
    assert_eq!(send(&mut scene, 3).await, Reason::QUOTA_EXCEEDED, "not forgotten");
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    let mut fetched = 0;
    while fetched < INBOX_BYTES / 4 {
        let deliveries = scene.deliveries(BOB).await;
        assert_eq!(send(&mut scene, 3).await, Reason::QUOTA_EXCEEDED);
        fetched += deliveries.iter().map(|(_, body)| body.len() as u64).sum::<u64>();
        scene.acknowledge(BOB, deliveries.into_iter().map(|(order, _)| order).collect());
        scene.settle().await;
    }
    assert_eq!(send(&mut scene, 3).await, Reason::SUCCESS);
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_whose_entries_expire_is_full_no_more() {
    let now_s = Arc::new(AtomicU32::new(NOW_S));
    let clock = now_s.clone();
    let mut scene = scene_by(Arc::new(move || clock.load(Ordering::Relaxed))).await;
    knows_alice(&scene, "bob").await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    for number in 1..=u64::from(INBOX_ENTRIES) {
        scene.publish(ALICE, Publish { expires_in_s: Some(60), ..to_user(number, "bob", "hello") });
        scene.published(ALICE).await;
        scene.settle().await;
    }
    scene.publish(ALICE, to_user(1_000, "bob", "hello"));
    assert_eq!(Reason::from_u32(scene.published(ALICE).await.reason), Reason::QUOTA_EXCEEDED);
    now_s.fetch_add(60, Ordering::Relaxed);
    // It is counted now and then.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    scene.publish(ALICE, to_user(1_001, "bob", "hello"));
    assert_eq!(scene.published(ALICE).await.reason, 0);
}

/// Seed 1796100003473: nothing was left to read, and what had been acknowledged was not on disk yet.
#[tokio::test(start_paused = true)]
async fn a_caught_up_inbox_is_measured_after_pending_acknowledgements() {
    let now_s = Arc::new(AtomicU32::new(NOW_S));
    let clock = now_s.clone();
    let mut scene = scene_by(Arc::new(move || clock.load(Ordering::Relaxed))).await;
    knows_alice(&scene, "bob").await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    for number in 1..u64::from(INBOX_ENTRIES) {
        let expires_in_s = (number > u64::from(WINDOW)).then_some(60);
        scene.publish(ALICE, Publish { expires_in_s, ..to_user(number, "bob", "hello") });
        assert_eq!(scene.published(ALICE).await.reason, 0);
    }
    scene.enter(BOB, "bob", "phone", Filters::RAW).await;
    let window = scene.deliveries(BOB).await;
    now_s.fetch_add(60, Ordering::Relaxed);
    scene.acknowledge(BOB, window.into_iter().map(|(order, _)| order).collect());
    scene.settle().await;
    scene.publish(ALICE, to_user(1_000, "bob", "hello"));
    assert_eq!(scene.published(ALICE).await.reason, 0);
}

#[tokio::test(start_paused = true)]
async fn a_removed_device_leaves_nothing_behind() {
    let mut scene = scene().await;
    scene.add("bob", "tablet").await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    scene.publish(ALICE, to_user(1, "bob", "hello"));
    scene.published(ALICE).await;
    scene.enter(BOB, "bob", "tablet", Filters::EVENTS).await;
    assert_eq!(scene.store.rows(Table::Inbox), 1 + 2 * 2);
    let (bob, tablet) = (UserId::new("bob").unwrap(), DeviceName::new("tablet").unwrap());
    scene.admin.remove_device(bob.clone(), tablet.clone()).await.unwrap();
    assert!(scene.admin.remove_device(bob.clone(), tablet).await.is_err(), "twice");
    assert_eq!(scene.store.rows(Table::Inbox), 1 + 2);
    let close = scene.expect(BOB, |frame| match frame {
        Frame::Close(close) => Some(close.reason),
        _ => None,
    });
    assert_eq!(Reason::from_u32(close.await), Reason::ADMINISTRATIVE_ACTION);
    scene.publish(ALICE, to_user(2, "bob", "again"));
    scene.published(ALICE).await;
    assert_eq!(scene.store.rows(Table::Inbox), 1 + 3);

    scene.admin.remove_user(bob.clone()).await.unwrap();
    assert!(scene.admin.user(bob).await.is_err());
    assert_eq!(scene.store.rows(Table::Inbox), 2, "Alice's: opened, removed");
    scene.publish(ALICE, to_user(3, "bob", "?"));
    assert_eq!(Reason::from_u32(scene.published(ALICE).await.reason), Reason::TOPIC_NAME_INVALID);
    scene.disconnect(ALICE, true);
    scene.settle().await;
    scene.admin.remove_user(UserId::new("alice").unwrap()).await.unwrap();
    assert_eq!(scene.store.rows(Table::Inbox), 0);
    let sessions = scene.admin.users(None, 10).await.unwrap();
    assert!(sessions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_user_who_comes_is_known_at_once_to_those_who_asked_before() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::NONE).await;
    for (number, name) in (1..).zip(["carol", "dave", "erin", "frank", "grace"]) {
        let refused = Reason::TOPIC_NAME_INVALID;
        scene.publish(ALICE, to_user(2 * number, name, "x"));
        assert_eq!(Reason::from_u32(scene.published(ALICE).await.reason), refused, "{name}");
        scene.add(name, "phone").await;
        scene.publish(ALICE, to_user(2 * number + 1, name, "x"));
        assert_eq!(scene.published(ALICE).await.reason, 0, "{name}");
    }
}
