//! Memory pressure: what the broker refuses and defers while memory is short.

use std::time::Duration;

use godwit_schemas::bus::{Deliver, Published};
use tokio::time::sleep;

use super::*;

#[tokio::test(start_paused = true)]
async fn under_pressure_logins_are_refused() {
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut friend, number) = world.connected(5).await;
    world.edge.context.settings.pressure.set(true);
    let unauthenticated: Vec<_> = (0..128).map(|_| world.dial()).collect();
    assert!(world.edge.accept(None, Transport::Tcp).is_none(), "enough of them");
    drop(unauthenticated);
    sleep(Duration::from_millis(1)).await;
    for (level, told) in [(4, 3), (5, 0x89)] {
        let mut client = world.dial();
        client.send(&connect(level, &[])).await;
        assert_eq!(client.packet().await[3], told);
        client.closed().await;
    }
    friend.send(&publish(5, 2, "send", 1, &[], b"x")).await;
    assert_eq!(world.lane.next_publish().await.0, number, "who is in goes on");
    world.edge.context.settings.pressure.set(false);
    world.connected(5).await;
}

#[tokio::test(start_paused = true)]
async fn under_pressure_a_client_has_one_publish_unanswered() {
    for level in [4, 5] {
        let mut world = World::start(BrokerSettings::default()).await;
        let (mut client, number) = world.connected(level).await;
        world.edge.context.settings.pressure.set(true);
        let publishes: Vec<_> = (1..=3).flat_map(|id| publish(level, 2, "send", id, &[], b"x")).collect();
        client.send(&publishes).await;
        for nth in 1..=3 {
            assert_eq!(world.lane.next_publish().await.1.number, nth);
            world.lane.quiet().await;
            world.lane.send(number, Published { number: nth, ..Published::default() }).await;
            assert_eq!(client.packet().await, [0x40, 2, 0, nth as u8]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn under_pressure_a_large_packet_waits_for_a_time() {
    let settings = BrokerSettings { drain_deadline: Duration::from_secs(5), ..BrokerSettings::default() };
    let mut world = World::start(settings).await;
    let (mut client, _) = world.connected(5).await;
    let large = publish(5, 2, "send", 1, &[], &[b'x'; 16_000]);
    world.edge.context.settings.pressure.set(true);
    client.send(&large[..8_000]).await;
    sleep(Duration::from_millis(1)).await;
    client.send(&large[8_000..]).await;
    world.lane.quiet().await;
    world.edge.context.settings.pressure.set(false);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.lane.next_publish().await.1.payload.len(), 16_000);
    // One that came before, and stands still.
    client.send(&publish(5, 2, "send", 2, &[], &[b'x'; 16_000])[..10_000]).await;
    sleep(Duration::from_secs(6)).await;
    client.send(b"x").await;
    world.edge.context.settings.pressure.set(true);
    assert_eq!(client.goodbye().await, 0x97);
}

#[tokio::test(start_paused = true)]
async fn under_pressure_a_blocked_client_is_closed() {
    let mut world = World::start(BrokerSettings::default()).await;
    let mut client = world.dial_buffered(1_024);
    client.send(&connect(4, &[])).await;
    let (number, _) = world.lane.next().await;
    world.lane.send(number, frames::Connected::default()).await;
    assert_eq!(client.packet().await, [0x20, 2, 0, 0]);
    let deliver = |order| Deliver { order, payload: vec![b'x'; 40_000].into(), ..Deliver::default() };
    world.edge.context.settings.pressure.set(true);
    for order in 1..=3 {
        world.lane.send(number, deliver(order)).await;
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.edge.context.counters.deliveries.get(), 3);
    world.lane.send(number, deliver(4)).await;
    world.lane.next_disconnect().await;
}
