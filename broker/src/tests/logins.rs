//! Many logins at once: the login queue as clients see it.

use godwit_schemas::bus::{Connected, up};
use tokio::time::Instant;

use super::*;

const BUSY: &str = "busy: try again in ";

fn one_at_a_time() -> BrokerSettings {
    BrokerSettings { logins_max: 1, ..BrokerSettings::default() }
}

impl World {
    /// So many clients of this level that want to log in.
    async fn crowd(&self, count: usize, level: u8) -> Vec<Client> {
        let mut clients: Vec<_> = (0..count).map(|_| self.dial()).collect();
        for client in &mut clients {
            client.send(&connect(level, &[])).await;
        }
        clients
    }

    /// The next login that the lane is asked about.
    async fn asked(&mut self) -> u64 {
        match self.lane.next().await {
            (number, up::Frame::Connect(_)) => number,
            other => panic!("expected a connect, got {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn logins_are_authenticated_one_after_the_other() {
    let mut world = World::start(one_at_a_time()).await;
    let mut clients = world.crowd(3, 4).await;
    for client in &mut clients {
        let number = world.asked().await;
        world.lane.quiet().await;
        world.lane.send(number, Connected::default()).await;
        assert_eq!(client.packet().await, [0x20, 2, 0, 0]);
    }
    world.lane.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_waiting_login_that_hangs_up_is_not_sent_to_the_lane() {
    let mut world = World::start(one_at_a_time()).await;
    let mut clients = world.crowd(4, 4).await;
    let first = world.asked().await;
    let mut last = clients.pop().unwrap();
    drop(clients);
    world.lane.quiet().await;
    world.lane.send(first, Connected::default()).await;
    let number = world.asked().await;
    assert_eq!(number, first + 3);
    assert_eq!(world.lane.next().await.0, first, "it takes its leave");
    world.lane.send(number, Connected { reason: 0x86, ..Connected::default() }).await;
    assert_eq!(last.packet().await, [0x20, 2, 0, 4]);
    let (_client, number) = world.connected(4).await;
    assert_eq!(number, first + 4, "and so does who is refused");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_waits_too_long_is_told_to_come_back() {
    let mut world = World::start(one_at_a_time()).await;
    let [mut slow, mut v4, mut v5] = [world.dial(), world.dial(), world.dial()];
    slow.send(&connect(5, &[])).await;
    world.asked().await;
    v4.send(&connect(4, &[])).await;
    v5.send(&connect(5, &[])).await;
    let began = Instant::now();
    assert_eq!(v4.packet().await, [0x20, 2, 0, 3]);
    let connack = v5.packet().await;
    assert_eq!(connack[2..4], [0, 0x89]);
    let text = String::from_utf8_lossy(&connack);
    let (_, rest) = text.split_once(BUSY).unwrap();
    let seconds: u32 = rest.strip_suffix(" s").unwrap().parse().unwrap();
    assert!((5..=20).contains(&seconds));
    let waited = began.elapsed();
    assert!(waited.as_secs_f32() > 2.0 && waited.as_secs_f32() < 3.0, "a quarter of ten seconds: {waited:?}");
    for client in [&mut v4, &mut v5] {
        client.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn connack_spreads_keep_alives_while_logins_wait() {
    let mut world = World::start(one_at_a_time()).await;
    let server_keep_alive =
        |connack: &[u8]| connack.windows(2).position(|it| it == [0x13, 0]).map(|at| connack[at + 2]);
    let mut told = Vec::new();
    // They keep alive ten seconds.
    let mut clients = world.crowd(9, 5).await;
    for client in &mut clients {
        let number = world.asked().await;
        world.lane.send(number, Connected::default()).await;
        told.push(server_keep_alive(&client.packet().await));
    }
    assert_eq!(told.pop(), Some(None), "nobody waits behind the last");
    assert!(told.iter().all(|it| it.is_some_and(|it| (8..=10).contains(&it))), "{told:?}");
    assert!(told.iter().any(|it| *it != told[0]), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn logins_without_a_lane_reach_it_when_it_comes() {
    let mut world = World::without_bridge(one_at_a_time()).await;
    let mut clients = world.crowd(3, 4).await;
    world.lane.quiet().await;
    world.lane.hello().await;
    for _ in 0..3 {
        let number = world.asked().await;
        world.lane.send(number, Connected::default()).await;
    }
    for client in &mut clients {
        assert_eq!(client.packet().await, [0x20, 2, 0, 0]);
    }
}
