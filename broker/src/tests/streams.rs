//! Generations of a lane's stream: clients do not notice a lost batch, a silent lane or a restarted bridge.

use std::time::Duration;

use godwit_schemas::bus::{Close, Connect, Connected, Deliver, Published, Reattach, Subscribed, up};
use tokio::time::sleep;

use super::*;

/// A connection with all kinds of things under way: publish 2 and a SUBSCRIBE unanswered, order 5 outstanding.
async fn busy() -> (World, Client, u64) {
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut client, number) = world.connected(4).await;
    client.send(&[publish(4, 2, "send", 1, &[], b"a"), publish(4, 2, "send", 2, &[], b"b")].concat()).await;
    client.send(&subscribe(4, 3, &[("inbox", 1)])).await;
    for _ in 0..3 {
        world.lane.next().await;
    }
    world.lane.stored(number, 1).await;
    assert_eq!(client.packet().await, [0x40, 2, 0, 1]);
    for order in [4, 5, 1 << 63] {
        world.lane.send(number, Deliver { order, ..Deliver::default() }).await;
        client.packet().await;
    }
    client.send(&[0x40, 2, 0, 5]).await;
    assert_eq!(world.lane.next_acks().await, [4]);
    (world, client, number)
}

/// The next generation begins with what [`busy`] has under way; then things go on.
async fn attached_again(world: &mut World, client: &mut Client, number: u64) {
    let before = world.lane.generation;
    let (connection, up::Frame::Connect(connect)) = world.lane.next().await else { panic!("expected a connect") };
    assert!(world.lane.generation > before);
    let Connect { resume: Some(resume), password, user, .. } = connect else { panic!("expected a resume") };
    assert_eq!((connection, user.as_str(), password.len()), (number, "alice", 0));
    assert_eq!((resume.cursor, &resume.outstanding[..], resume.filters), (5, &[5][..], 1));
    let (_, again) = world.lane.next_publish().await;
    assert_eq!((again.number, again.resent, &again.payload[..]), (2, true, &b"b"[..]));
    let (_, up::Frame::Subscribe(subscribe)) = world.lane.next().await else { panic!("expected a subscribe") };
    world.lane.send(number, Connected::default()).await;
    world.lane.stored(number, 2).await;
    world.lane.send(number, Subscribed { token: subscribe.token }).await;
    assert_eq!(client.packet().await, [0x40, 2, 0, 2]);
    assert_eq!(client.packet().await, [0x90, 3, 0, 3, 1]);
    client.send(&publish(4, 2, "send", 3, &[], b"c")).await;
    let (_, next) = world.lane.next_publish().await;
    assert_eq!((next.number, next.resent), (3, false));
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_stream_begins_a_generation() {
    let (mut world, mut client, number) = busy().await;
    world.lane.sent += 1;
    world.lane.stored(number, 2).await;
    attached_again(&mut world, &mut client, number).await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_before_a_heartbeat_begins_a_generation() {
    let (mut world, mut client, number) = busy().await;
    world.lane.sent += 1;
    world.lane.batch(Vec::new()).await;
    attached_again(&mut world, &mut client, number).await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_can_ask_for_a_new_generation() {
    let (mut world, mut client, number) = busy().await;
    world.lane.send(0, Reattach {}).await;
    attached_again(&mut world, &mut client, number).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_lane_is_attached_again_when_it_is_heard() {
    let (mut world, mut client, number) = busy().await;
    sleep(Duration::from_secs(4)).await;
    world.lane.batch(Vec::new()).await;
    attached_again(&mut world, &mut client, number).await;
}

#[tokio::test(start_paused = true)]
async fn frames_for_a_silent_lane_are_discarded() {
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut client, number) = world.connected(4).await;
    sleep(Duration::from_secs(5)).await;
    client.send(&[publish(4, 2, "send", 1, &[], b"a"), publish(4, 0, "send", 0, &[], b"b")].concat()).await;
    sleep(Duration::from_millis(1)).await;
    let mut beats = 0;
    while let Some(payload) = world.lane.rx.try_next() {
        assert_eq!(UpBatch::decode(payload).unwrap().frames, []);
        beats += 1;
    }
    assert!(beats > 2 && world.edge.context.lanes()[0].is_empty());
    world.lane.beat().await;
    let (connection, up::Frame::Connect(connect)) = world.lane.next().await else { panic!("expected a connect") };
    assert!(connection == number && connect.resume.is_some());
    assert_eq!(world.lane.next_publish().await.1.payload[..], b"a"[..]);
    world.lane.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_bridge_closes_no_connection() {
    let (mut world, mut client, number) = busy().await;
    world.lane.epoch += 1;
    world.lane.hello().await;
    attached_again(&mut world, &mut client, number).await;
    world.lane.hello().await;
    world.lane.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_bridge_that_was_succeeded_tells_nothing() {
    let (mut world, mut client, number) = busy().await;
    let before = (world.lane.epoch, world.lane.term, world.lane.generation);
    // The next one is heard by a batch first, which is for a generation that it knows nothing of.
    (world.lane.epoch, world.lane.term) = (8, 3);
    world.lane.batch(Vec::new()).await;
    (world.lane.epoch, world.lane.term, world.lane.generation) = before;
    // Nor does the old one take its place again.
    world.lane.hello().await;
    world.lane.send(number, Deliver { order: 6, ..Deliver::default() }).await;
    world.lane.quiet().await;
    (world.lane.epoch, world.lane.term) = (8, 3);
    world.lane.hello().await;
    // Order 6 is not among what is outstanding.
    attached_again(&mut world, &mut client, number).await;
    (world.lane.epoch, world.lane.term) = (7, 2);
    world.lane.hello().await;
    world.lane.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn repeated_and_old_batches_are_ignored() {
    let (mut world, mut client, number) = busy().await;
    let frame = |order| {
        let deliver = Answer::from(Deliver { order, ..Deliver::default() });
        vec![frames::Down { connection: number, frame: Some(deliver.0) }]
    };
    world.lane.batch(frame(6)).await;
    world.lane.generation -= 1;
    world.lane.sent += 1;
    world.lane.batch(frame(7)).await;
    world.lane.generation += 1;
    world.lane.epoch += 1;
    world.lane.batch(frame(8)).await;
    world.lane.epoch -= 1;
    world.lane.batch(frame(9)).await;
    assert_eq!(client.packet().await[9..11], [0, 10]);
    world.lane.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn an_edge_without_connections_sends_heartbeats() {
    let mut world = World::start(BrokerSettings::default()).await;
    let mut beats = 0;
    while beats < 3 {
        let batch = UpBatch::decode(world.lane.rx.next().await.unwrap()).unwrap();
        assert_eq!((batch.edge, batch.sequence, batch.frames.len()), (9, 0, 0));
        beats += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_survive_an_absent_bridge() {
    let (mut world, mut client, number) = busy().await;
    // The generation is over for the lane's queue, but not known to anybody yet: as when a batch was lost.
    world.edge.context.lanes()[0].retire();
    client.send(&[0x40, 2, 0, 6]).await;
    client.send(&publish(4, 2, "send", 9, &[], b"z")).await;
    sleep(Duration::from_millis(100)).await;
    world.lane.send(0, Reattach {}).await;
    let (_, up::Frame::Connect(connect)) = world.lane.next().await else { panic!("expected a connect") };
    let resume = connect.resume.unwrap();
    assert_eq!((resume.cursor, resume.outstanding.len()), (5, 0));
    assert_eq!(world.lane.next_publish().await.1.number, 2);
    let (_, late) = world.lane.next_publish().await;
    assert_eq!((late.number, late.resent), (3, true));
    let refused = Published { number: 2, reason: 0x80, ..Published::default() };
    world.lane.send(number, refused).await;
    assert_eq!(client.packet().await, [0x40, 2, 0, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_resumed_connection_that_is_refused_is_closed() {
    let (mut world, mut client, number) = busy().await;
    world.lane.send(0, Reattach {}).await;
    for _ in 0..3 {
        world.lane.next().await;
    }
    world.lane.send(number, Connected { reason: 0x87, ..Connected::default() }).await;
    client.closed().await;
    world.lane.next_disconnect().await;
    world.lane.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_reattached_connection_shows_its_credential() {
    let mut world = World::start(BrokerSettings::default()).await;
    let mut client = world.dial();
    client.send(&connect(4, &[])).await;
    let (number, _) = world.lane.next().await;
    world
        .lane
        .send(number, Connected { device: 77, fingerprint: u64::MAX, store_epoch: 5, ..Connected::default() })
        .await;
    client.packet().await;
    for _ in 0..2 {
        world.lane.send(0, Reattach {}).await;
        let (_, up::Frame::Connect(again)) = world.lane.next().await else { panic!("expected a connect") };
        let resume = again.resume.expect("a resume");
        assert_eq!((resume.device, resume.fingerprint, resume.store_epoch), (77, u64::MAX, 5));
        // What a lane of another version might leave out is not forgotten.
        world.lane.send(number, Connected::default()).await;
    }
}

/// What has not been handed to a client's socket is not for whoever is there.
#[tokio::test(start_paused = true)]
async fn a_client_closed_by_the_lane_gets_nothing_more() {
    for reason in [0x87, 0x98] {
        let mut world = World::start(BrokerSettings::default()).await;
        let (mut client, number) = world.connected(5).await;
        let deliver = |order| Deliver { order, payload: Bytes::from_static(b"x"), ..Deliver::default() };
        let frames = [Answer::from(deliver(1)), Answer::from(deliver(2)), Answer::from(Close { reason })];
        world.lane.sent += 1;
        let down = |answer: Answer| frames::Down { connection: number, frame: Some(answer.0) };
        world.lane.batch(frames.into_iter().map(down).collect()).await;
        assert_eq!(client.goodbye().await, reason as u8);
        client.closed().await;
        world.lane.next_disconnect().await;
    }
}

#[tokio::test(start_paused = true)]
async fn reattachment_sends_connects_first_in_order() {
    let mut world = World::start(BrokerSettings::default()).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (mut client, number) = world.connected(4).await;
        client.send(&publish(4, 2, "send", 1, &[], b"x")).await;
        world.lane.next().await;
        clients.push((client, number));
    }
    world.lane.send(0, Reattach {}).await;
    for (_, number) in &clients {
        let (connection, frame) = world.lane.next().await;
        assert!(matches!(frame, up::Frame::Connect(_)) && connection == *number);
    }
    for (_, number) in &clients {
        assert_eq!(world.lane.next_publish().await.0, *number);
    }
}
