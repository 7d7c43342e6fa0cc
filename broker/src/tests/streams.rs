//! Generations: what a lost batch, a silent lane and a restarted bridge cost (nothing that a client sees).

use std::time::Duration;

use godwit_schemas::bus::{Connect, Connected, Deliver, Published, Reattach, Subscribed, up};
use tokio::time::sleep;

use super::*;

/// A connection with all kinds of things under way: publish 2 and a SUBSCRIBE unanswered, order 5 outstanding.
async fn busy() -> (World, Client, u64) {
    let mut world = World::start(Settings::default()).await;
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
async fn a_hole_in_the_stream_begins_a_generation() {
    let (mut world, mut client, number) = busy().await;
    world.lane.sent += 1;
    world.lane.stored(number, 2).await;
    attached_again(&mut world, &mut client, number).await;
}

#[tokio::test(start_paused = true)]
async fn a_hole_before_a_heartbeat_begins_a_generation() {
    let (mut world, mut client, number) = busy().await;
    world.lane.sent += 1;
    world.lane.batch(Vec::new()).await;
    attached_again(&mut world, &mut client, number).await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_lacks_something_asks_for_a_generation() {
    let (mut world, mut client, number) = busy().await;
    world.lane.send(0, Reattach {}).await;
    attached_again(&mut world, &mut client, number).await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_was_silent_is_attached_again_when_it_is_heard() {
    let (mut world, mut client, number) = busy().await;
    sleep(Duration::from_secs(4)).await;
    world.lane.batch(Vec::new()).await;
    attached_again(&mut world, &mut client, number).await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_bridge_closes_nobody() {
    let (mut world, mut client, number) = busy().await;
    world.lane.epoch += 1;
    world.lane.hello().await;
    attached_again(&mut world, &mut client, number).await;
    world.lane.hello().await;
    world.lane.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn doubled_and_old_batches_are_ignored() {
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
async fn a_lane_is_told_that_an_edge_without_connections_is_there() {
    let mut world = World::start(Settings::default()).await;
    let mut beats = 0;
    while beats < 3 {
        let batch = UpBatch::decode(world.lane.rx.next().await.unwrap()).unwrap();
        assert_eq!((batch.edge, batch.sequence, batch.frames.len()), (9, 0, 0));
        beats += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledged_while_the_bridge_is_away_is_acknowledged() {
    let (mut world, mut client, number) = busy().await;
    // The generation is over for the lane's queue, but not known to anybody yet: as when a batch was lost.
    world.edge.lanes()[0].retire();
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
}

#[tokio::test(start_paused = true)]
async fn connects_go_first_in_the_order_of_their_numbers() {
    let mut world = World::start(Settings::default()).await;
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
