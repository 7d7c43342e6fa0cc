//! Calls are counted before they are carried out: what is under way is bounded, whatever a client sends, and nothing is
//! read for who does not wait for it.

use std::collections::BTreeMap;

use godwit_schemas::bus::{Disconnect, Publish, Shape, down::Frame, up};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::UserId;
use godwit_schemas::reason::Reason;
use godwit_schemas::topic::Filters;
use prost::Message;

use super::counted::Counted;
use super::edge::{Scene, calling, settings, to_user};
use super::{ALICE, BOB};
use crate::BridgeSettings;
use crate::chat::Principal;
use godwit_store::Table;

/// Answers that may be unacknowledged.
const ANSWERS: usize = 16;
/// Conversations of Alice's.
const CONVERSATIONS: usize = 40;

async fn scene() -> Scene<Counted> {
    let settings = BridgeSettings { inbox_entries: 10_000, ..settings() };
    let mut scene = Scene::with(Counted::new(), settings).await;
    for user in ["alice", "bob"] {
        scene.add(user, "phone").await;
    }
    for _ in 0..CONVERSATIONS {
        let create = client::CreateGroup { title: "one of many".into(), users: vec!["bob".into()] };
        assert_eq!(scene.ask(UserId::new("alice").unwrap(), Call::CreateGroup(create)).await.reason, 0);
    }
    scene
}

fn list() -> Call {
    Call::ListConversations(client::ListConversations::default())
}

fn lists(numbers: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = up::Frame> {
    numbers.map(|number| up::Frame::Publish(calling(number, list())))
}

fn at_most_once(publish: Publish) -> up::Frame {
    up::Frame::Publish(Publish { at_most_once: true, packet_id: 0, ..publish })
}

/// Orders of answers by the id of the call, and the numbers of publishes that were answered.
fn sorted(frames: Vec<Frame>) -> (BTreeMap<u64, u64>, Vec<u64>) {
    let (mut answers, mut published) = (BTreeMap::new(), Vec::new());
    for frame in frames {
        match frame {
            Frame::Deliver(deliver) if deliver.shape() == Shape::Response => {
                let response = client::Response::decode(deliver.payload).unwrap();
                assert_eq!(answers.insert(response.id, deliver.order), None, "answered twice");
            }
            Frame::Published(it) => published.push(it.number),
            other => panic!("{other:?}"),
        }
    }
    (answers, published)
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_not_read() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    let before = scene.store.rows_read();
    let goodbye = up::Frame::Disconnect(Disconnect::default());
    scene.send(ALICE, lists(1..=100).chain([goodbye]));
    assert_eq!(scene.rest(ALICE).await, []);
    assert!(scene.store.rows_read() - before < CONVERSATIONS, "{}", scene.store.rows_read() - before);

    scene.enter(3, "alice", "phone", Filters::EVENTS).await;
    let before = scene.store.rows_read();
    scene.send(3, lists(1..=100));
    let rest = scene.rest(3).await.into_iter().filter(|it| matches!(it, Frame::Published(it) if it.reason == 0));
    assert_eq!(rest.count(), 100, "all are acknowledged to who has not subscribed");
    assert!(scene.store.rows_read() - before < CONVERSATIONS, "{}", scene.store.rows_read() - before);
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_earlier_answers_and_messages_do_not() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    let message = up::Frame::Publish(to_user(101, "bob", "hello"));
    scene.send(ALICE, lists(1..=100).chain([message]));
    let (mut answers, mut published) = sorted(scene.rest(ALICE).await);
    assert_eq!(answers.len(), ANSWERS);
    assert!(published.contains(&101), "{published:?}");
    let mut orders: Vec<u64> = answers.values().copied().collect();
    while !orders.is_empty() {
        scene.acknowledge(ALICE, orders);
        let (more, also_published) = sorted(scene.rest(ALICE).await);
        assert!(more.len() <= ANSWERS);
        orders = more.values().copied().collect();
        answers.extend(more);
        published.extend(also_published);
    }
    assert!(answers.keys().copied().eq(1..=100));
    published.sort_unstable();
    assert!(published.into_iter().eq(1..=101));
}

#[tokio::test(start_paused = true)]
async fn a_changing_call_keeps_its_place_and_waits_for_answer_room() {
    let mut scene = scene().await;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    let label = |number| {
        let label = client::LabelDevice { device: "phone".into(), label: format!("label {number}") };
        up::Frame::Publish(calling(number, Call::LabelDevice(label)))
    };
    let message = up::Frame::Publish(to_user(31, "bob", "hello"));
    scene.send(ALICE, (1..=30).map(label).chain([message]));
    let (answers, published) = sorted(scene.rest(ALICE).await);
    assert!(answers.keys().copied().eq(1..=ANSWERS as u64), "{answers:?}");
    assert_eq!(published.len(), ANSWERS, "the message waits behind them");
    scene.acknowledge(ALICE, answers.into_values().collect());
    let (answers, published) = sorted(scene.rest(ALICE).await);
    assert!(answers.keys().copied().eq(ANSWERS as u64 + 1..=30));
    assert!(published.contains(&31), "{published:?}");
    // Whoever does not listen for answers has nothing to acknowledge.
    scene.acknowledge(ALICE, answers.into_values().collect());
    scene.subscribe(ALICE, Filters::NONE).await;
    scene.send(ALICE, (41..=90).map(label));
    assert_eq!(sorted(scene.rest(ALICE).await).1.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_lane_takes_no_more_than_an_edge_may_have_under_way() {
    let mut scene = scene().await;
    let most = settings().unanswered_publishes_max as u64;
    scene.enter(ALICE, "alice", "phone", Filters::RPC).await;
    // An edge that does not count. With QoS 0 what is too much is dropped, and its place in a count is free.
    scene.send(ALICE, (1..=9_000).map(|number| at_most_once(calling(number, list()))));
    let (answers, published) = sorted(scene.rest(ALICE).await);
    assert_eq!(answers.len(), ANSWERS);
    assert_eq!(published.len() as u64, 9_000 - most + ANSWERS as u64);
    // With QoS 1 a client that was let send more than that is at fault, or its edge is.
    scene.enter(BOB, "bob", "phone", Filters::RPC).await;
    scene.send(BOB, lists(1..=most));
    assert_eq!(sorted(scene.rest(BOB).await).0.len(), ANSWERS);
    scene.send(BOB, lists(most + 1..=most + 2 * ANSWERS as u64));
    let rest = scene.rest(BOB).await;
    let Some(Frame::Close(close)) = rest.last() else { panic!("{rest:?}") };
    assert_eq!(Reason::from_u32(close.reason), Reason::QUOTA_EXCEEDED);
}

#[tokio::test(start_paused = true)]
async fn what_earlier_connections_have_under_way_counts() {
    let mut scene = scene().await;
    let most = settings().unanswered_publishes_max;
    // All before the bridge has answered anything: each takes over from the one before.
    let mut sent = 0;
    for connection in 20..24 {
        let connect = scene.connect_frame("alice", "phone");
        scene.begin_to_connect(connection, connect);
        scene.send(connection, (1..=100).map(|number| up::Frame::Publish(to_user(number, "bob", "x"))));
        sent += 100;
    }
    scene.settle().await;
    assert!(scene.rest(23).await.len() > 100, "the last one is served");
    let stored = scene.store.store.rows(Table::Inbox) - 2 * CONVERSATIONS;
    assert!(stored > most && stored < sent, "{stored}");
}

#[tokio::test(start_paused = true)]
async fn of_one_user_only_so_many_requests_wait_over_http() {
    let scene = scene().await;
    let alice = || UserId::new("alice").unwrap();
    let ask = |_| scene.chat.call(alice(), Principal::Administrator, list());
    let answers = futures::future::join_all((0..100).map(ask)).await;
    let refused = |it: &client::Response| Reason::from_u32(it.reason) == Reason::MESSAGE_RATE_TOO_HIGH;
    let (refused, done): (Vec<_>, Vec<_>) = answers.into_iter().map(Result::unwrap).partition(refused);
    assert!(done.len() >= 32 && refused.len() >= 60, "{} were refused", refused.len());
    assert!(done.iter().all(|it| it.conversations.len() == CONVERSATIONS));

    // Those whose client has gone are not read for.
    let before = scene.store.rows_read();
    {
        let ask = |_| Box::pin(scene.chat.call(alice(), Principal::Administrator, list()));
        let mut gone: Vec<_> = (0..20).map(ask).collect();
        gone.iter_mut().for_each(|it| assert!(futures::FutureExt::now_or_never(it).is_none()));
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(scene.store.rows_read() - before < CONVERSATIONS, "{}", scene.store.rows_read() - before);
}
