//! Unanswered publishes are counted, whatever their QoS, and a client with too many is not read until the lane has answered some.

use godwit_schemas::bus::{Deliver, DeliveryId, Reattach, Shape, up};
use tokio::time::Instant;

use super::*;

const PINGREQ: [u8; 2] = [0xC0, 0];
const PINGRESP: [u8; 2] = [0xD0, 0];

/// The number that an answer is acknowledged under.
fn order_of(nth: u64) -> u64 {
    DeliveryId::Answer(nth).to_wire()
}

fn at_most(publishes: u16) -> BrokerSettings {
    BrokerSettings { unanswered_publishes_max: publishes, ..BrokerSettings::default() }
}

fn qos_0(level: u8) -> Vec<u8> {
    publish(level, 0, "rpc", 0, &[], b"x")
}

fn answer(nth: u64) -> Deliver {
    let shape = Shape::Response.into();
    Deliver { order: order_of(nth), shape, payload: b"an answer"[..].into(), ..Deliver::default() }
}

/// The packet identifier of a delivery to `rpc` or `inbox`.
fn id_of(delivery: &[u8]) -> [u8; 2] {
    let topic = usize::from(delivery[3]);
    [delivery[4 + topic], delivery[5 + topic]]
}

#[tokio::test(start_paused = true)]
async fn qos_0_counts_until_the_lane_answers() {
    for level in [4, 5] {
        let mut world = World::start(at_most(3)).await;
        let (mut client, number) = world.connected(level).await;
        client.send(&[qos_0(level).repeat(5), PINGREQ.to_vec()].concat()).await;
        for nth in 1..=3 {
            let (_, publish) = world.lane.next_publish().await;
            assert_eq!((publish.number, publish.at_most_once, publish.packet_id), (nth, true, 0));
        }
        world.lane.quiet().await;
        world.lane.stored(number, 2).await;
        assert_eq!(world.lane.next_publish().await.1.number, 4);
        // What was answered before, or was never asked, frees nothing.
        world.lane.stored(number, 2).await;
        world.lane.stored(number, 9).await;
        world.lane.quiet().await;
        for nth in [1, 3, 4] {
            world.lane.stored(number, nth).await;
        }
        assert_eq!(world.lane.next_publish().await.1.number, 5);
        assert_eq!(client.packet().await, PINGRESP, "and nothing for the publishes");
    }
}

#[tokio::test(start_paused = true)]
async fn qos_0_and_qos_1_count_together() {
    for level in [4, 5] {
        let mut world = World::start(at_most(3)).await;
        let (mut client, number) = world.connected(level).await;
        let qos_1 = |ids: std::ops::RangeInclusive<u16>| ids.flat_map(|id| publish(level, 2, "send", id, &[], b"x"));
        client.send(&qos_1(1..=2).chain(qos_0(level)).chain(qos_1(3..=4)).collect::<Vec<_>>()).await;
        for _ in 0..3 {
            world.lane.next_publish().await;
        }
        world.lane.quiet().await;
        for (answered, next) in [(3, 3), (1, 4)] {
            world.lane.stored(number, answered).await;
            assert_eq!(world.lane.next_publish().await.1.packet_id, next);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_hang_up_publishes_are_still_bounded() {
    let mut world = World::start(at_most(3)).await;
    let (mut client, number) = world.connected(5).await;
    client.send(&qos_0(5).repeat(1_000)).await;
    drop(client);
    for nth in 1..=1_000 {
        assert_eq!(world.lane.next_publish().await.1.number, nth);
        if nth % 3 == 0 {
            world.lane.quiet().await;
            for answered in nth - 2..=nth {
                world.lane.stored(number, answered).await;
            }
        }
    }
    assert!(!world.lane.next_disconnect().await.clean);
}

#[tokio::test(start_paused = true)]
async fn unanswered_bytes_are_bounded() {
    for (level, flags) in [(4, 2), (5, 2), (5, 0)] {
        let mut world = World::start(at_most(1_000)).await;
        let client = world.dial_buffered(1 << 20);
        let (mut client, number) = world.connect_with(client, level, &[]).await;
        for id in 1..=30 {
            client.send(&publish(level, flags, "send", id, &[], &[b'x'; 16_000])).await;
        }
        // A quarter of a megabyte, and the one that is over.
        for _ in 1..=17 {
            world.lane.next_publish().await;
        }
        world.lane.quiet().await;
        for nth in 1..=13 {
            world.lane.stored(number, nth).await;
            assert_eq!(world.lane.next_publish().await.1.number, 17 + nth);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn qos_0_is_not_sent_again() {
    let mut world = World::start(at_most(3)).await;
    let (mut client, number) = world.connected(4).await;
    let kept = publish(4, 2, "send", 7, &[], b"kept");
    client.send(&[qos_0(4), kept, qos_0(4).repeat(2)].concat()).await;
    for _ in 0..3 {
        world.lane.next_publish().await;
    }
    world.lane.send(0, Reattach {}).await;
    let (_, up::Frame::Connect(_)) = world.lane.next().await else { panic!("expected a connect") };
    let (_, again) = world.lane.next_publish().await;
    assert_eq!((again.number, again.resent, &again.payload[..]), (2, true, &b"kept"[..]));
    // It counts no more: the client is read again.
    let (_, next) = world.lane.next_publish().await;
    assert_eq!((next.number, next.resent, next.at_most_once), (4, false, true));
    world.lane.quiet().await;
    // Said of the generation before: it does not free what is under way now.
    world.lane.stored(number, 1).await;
    client.send(&qos_0(4).repeat(2)).await;
    assert_eq!(world.lane.next_publish().await.1.number, 5);
    world.lane.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn with_a_busy_lane_one_publish_is_unanswered() {
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut client, number) = world.connected(5).await;
    let lane = world.edge.context.lanes()[0].clone();
    // More than is sent to a lane that takes nothing, and the batches that make it busy.
    let large = frames::Publish { payload: vec![0; 512 * 1024].into(), ..frames::Publish::default() };
    while !lane.is_busy() {
        assert!(lane.push(world.lane.generation, 999, &large));
        tokio::task::yield_now().await;
    }
    client.send(&[publish(5, 2, "send", 1, &[], b"x"), PINGREQ.to_vec()].concat()).await;
    assert!(tokio::time::timeout(BEAT, client.packet()).await.is_err(), "nothing more is read");
    while world.lane.next_publish().await.0 != number {
        world.lane.beat().await;
    }
    world.lane.stored(number, 1).await;
    assert_eq!(client.packet().await, [0x40, 2, 0, 1]);
    assert_eq!(client.packet().await, PINGRESP);
}

#[tokio::test(start_paused = true)]
async fn responses_are_acknowledged_to_the_lane() {
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut client, number) = world.connected(5).await;
    world.lane.send(number, Deliver { order: 7, ..Deliver::default() }).await;
    client.packet().await;
    for nth in 0..2 {
        world.lane.send(number, answer(nth)).await;
    }
    let [first, second] = [client.packet().await, client.packet().await].map(|packet| id_of(&packet));
    assert_eq!(first, ((order_of(0) % 65_535) as u16 + 1).to_be_bytes());
    client.send(&[0x40, 2, second[0], second[1]]).await;
    assert_eq!(world.lane.next_acks().await, [order_of(1)]);
    // An answer has no place in the inbox: an entry that comes behind it is new, and only entries are told again.
    world.lane.send(number, Deliver { order: 8, ..Deliver::default() }).await;
    assert_eq!(id_of(&client.packet().await), [0, 9]);
    world.lane.send(0, Reattach {}).await;
    let (_, up::Frame::Connect(connect)) = world.lane.next().await else { panic!("expected a connect") };
    let resume = connect.resume.unwrap();
    assert_eq!((resume.cursor, &resume.outstanding[..]), (8, &[7, 8][..]));
    client.send(&[0x40, 2, first[0], first[1]]).await;
    assert_eq!(world.lane.next_acks().await, [order_of(0)]);
}

/// A client sends all its calls at once and looks for answers then: its acknowledgements are behind what is not read. The
/// lane has one answer under way at a time.
#[tokio::test(start_paused = true)]
async fn unread_clients_have_their_responses_acknowledged() {
    let mut world = World::start(at_most(3)).await;
    let (mut client, number) = world.connected(4).await;
    client.send(&qos_0(4).repeat(10)).await;
    for nth in 1..=10 {
        world.lane.next_publish().await;
        if nth < 3 {
            continue;
        }
        // The oldest call is answered.
        world.lane.send(number, answer(nth)).await;
        let [high, low] = id_of(&client.packet().await);
        client.send(&[0x40, 2, high, low]).await;
        assert_eq!(world.lane.next_acks().await, [order_of(nth)]);
        world.lane.stored(number, nth - 2).await;
    }
    // Now they are read, and tell the lane nothing more.
    world.lane.quiet().await;
    world.lane.send(number, answer(11)).await;
    client.packet().await;
    world.lane.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn responses_too_large_for_the_client_are_acknowledged() {
    let mut world = World::start(BrokerSettings::default()).await;
    let client = world.dial();
    let (_client, number) = world.connect_with(client, 5, &[0x27, 0, 0, 0, 30]).await;
    world.lane.send(number, Deliver { payload: vec![0; 30].into(), ..answer(3) }).await;
    assert_eq!(world.lane.next_acks().await, [order_of(3)]);
}

#[tokio::test(start_paused = true)]
async fn unsolicited_acknowledgements_count_towards_the_rate() {
    let mut world = World::start(BrokerSettings { packets_per_s: 4, ..BrokerSettings::default() }).await;
    let (mut client, number) = world.connected(4).await;
    for order in 1..=60 {
        world.lane.send(number, Deliver { order, ..Deliver::default() }).await;
        let [high, low] = id_of(&client.packet().await);
        client.send(&[0x40, 2, high, low]).await;
    }
    let begun = Instant::now();
    client.send(&PINGREQ).await;
    assert_eq!(client.packet().await, PINGRESP);
    assert!(begun.elapsed() < Duration::from_millis(100), "those that were asked for do not");
    client.send(&[[0x40, 2, 0, 1].repeat(60), PINGREQ.to_vec()].concat()).await;
    assert_eq!(world.lane.beside(client.packet()).await, PINGRESP);
    assert!(begun.elapsed() > Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_closed_under_memory_pressure() {
    let settings = BrokerSettings { drain_deadline: Duration::from_secs(5), ..BrokerSettings::default() };
    let mut world = World::start(settings).await;
    let client = world.dial_buffered(1_024);
    let (mut client, number) = world.connect_with(client, 5, &[]).await;
    for order in 1..=3 {
        world.lane.send(number, Deliver { order, payload: vec![0; 60_000].into(), ..Deliver::default() }).await;
    }
    let mut sip = [0; 100];
    for _ in 0..20 {
        world.lane.beside(sleep(BEAT)).await;
        client.0.read_exact(&mut sip).await.expect("it is slow, and nobody minds");
    }
    world.edge.context.settings.pressure.set(true);
    assert!(!world.lane.next_disconnect().await.clean);
}
