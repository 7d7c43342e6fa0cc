//! PUBLISH both ways, subscriptions, and what each costs at the most.

use std::time::Duration;

use godwit_schemas::bus::{Connected, Deliver, Kind, Published, Shape, Subscribed, up};
use godwit_schemas::topic::Filters;
use tokio::time::{Instant, sleep};

use super::*;

/// PUBACK in its shortest form.
fn puback(packet_id: u8) -> [u8; 4] {
    [0x40, 2, 0, packet_id]
}

#[tokio::test(start_paused = true)]
async fn answers_leave_in_the_order_of_the_publishes() {
    for level in [4, 5] {
        let mut world = World::start(Settings::default()).await;
        let (mut client, number) = world.connected(level).await;
        for id in 1..=3 {
            client.send(&publish(level, 2, "send", id, &[], b"x")).await;
        }
        for id in 1..=3 {
            let (_, publish) = world.lane.next_publish().await;
            assert_eq!((publish.number, publish.packet_id), (id, id as u32));
        }
        for id in [3, 3, 2, 9, 1] {
            world.lane.stored(number, id).await;
        }
        for id in 1..=3 {
            assert_eq!(client.packet().await, puback(id));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn destinations_and_properties_go_up() {
    let mut world = World::start(Settings::default()).await;
    let (mut client, _) = world.connected(5).await;
    client.send(&publish(5, 0xA, "to/bob", 1, &[2, 0, 0, 0, 60], b"hello")).await;
    let (_, first) = world.lane.next_publish().await;
    assert_eq!((first.kind(), first.user.as_str(), &first.payload[..]), (Kind::ToUser, "bob", &b"hello"[..]));
    assert!(first.duplicate && first.expires_in_s == 60 && !first.resent);
    client.send(&publish(5, 2, "send/65", 2, &[], b"")).await;
    let (_, second) = world.lane.next_publish().await;
    assert_eq!((second.kind(), second.conversation, second.number), (Kind::ToConversation, 65, 2));
    client.send(&publish(5, 2, "rpc", 3, &[9, 0, 1, b'c', 0x26, 0, 1, b'k', 0, 1, b'v'], b"")).await;
    let (_, third) = world.lane.next_publish().await;
    assert_eq!((third.kind(), &third.correlation[..]), (Kind::Rpc, &b"c"[..]));
    client.send(&publish(5, 0, "receipt", 0, &[], b"r")).await;
    let (_, fourth) = world.lane.next_publish().await;
    assert_eq!((fourth.kind(), fourth.number), (Kind::Receipt, 0));
}

#[tokio::test(start_paused = true)]
async fn mqtt_5_is_told_where_a_message_stands_or_why_it_does_not() {
    let mut world = World::start(Settings::default()).await;
    let (mut client, number) = world.connected(5).await;
    client.send(&[publish(5, 2, "send", 1, &[], b"x"), publish(5, 2, "send", 2, &[], b"x")].concat()).await;
    world.lane.next_publish().await;
    world.lane.next_publish().await;
    let stored = Published { number: 1, conversation: 65, sequence: 12, ..Published::default() };
    world.lane.send(number, stored).await;
    assert!(client.packet().await.ends_with(&[&[0x26, 0, 2][..], b"at", &[0, 5], b"65/12"].concat()));
    let refused = Published { number: 2, reason: 0x87, text: "not a member".to_owned(), ..Published::default() };
    world.lane.send(number, refused).await;
    let refusal = client.packet().await;
    assert_eq!(refusal[4], 0x87);
    assert!(refusal.ends_with(b"not a member"));
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_no_details_gets_none_and_3_1_1_never() {
    let mut world = World::start(Settings::default()).await;
    let mut client = world.dial();
    client.send(&connect(5, &[0x17, 0])).await;
    let (number, _) = world.lane.next().await;
    world.lane.send(number, Connected::default()).await;
    client.packet().await;
    let (mut old, old_number) = world.connected(4).await;
    for (client, number, level, refusal) in
        [(&mut client, number, 5, &[0x40, 3, 0, 2, 0x87][..]), (&mut old, old_number, 4, &[0x40, 2, 0, 2])]
    {
        client.send(&[publish(level, 2, "send", 1, &[], b"x"), publish(level, 2, "send", 2, &[], b"x")].concat()).await;
        world.lane.next_publish().await;
        world.lane.next_publish().await;
        let stored = Published { number: 1, conversation: 65, sequence: 12, ..Published::default() };
        world.lane.send(number, stored).await;
        assert_eq!(client.packet().await, puback(1));
        let refused = Published { number: 2, reason: 0x87, text: "no".to_owned(), ..Published::default() };
        world.lane.send(number, refused).await;
        assert_eq!(client.packet().await, refusal);
    }
}

#[tokio::test(start_paused = true)]
async fn qos_2() {
    let mut world = World::start(Settings::default()).await;
    let (mut client, number) = world.connected(5).await;
    client.send(&publish(5, 4, "send", 7, &[], b"x")).await;
    world.lane.next_publish().await;
    world.lane.stored(number, 1).await;
    assert_eq!(client.packet().await, [0x50, 2, 0, 7]);
    // Again before PUBREL: no effect.
    client.send(&publish(5, 0xC, "send", 7, &[], b"x")).await;
    assert_eq!(client.packet().await, [0x50, 2, 0, 7]);
    world.lane.quiet().await;
    client.send(&[0x62, 2, 0, 7]).await;
    assert_eq!(client.packet().await, [0x70, 2, 0, 7]);
    // The identifier is free again.
    client.send(&publish(5, 4, "send", 7, &[], b"y")).await;
    assert_eq!(world.lane.next_publish().await.1.number, 2);
    world.lane.send(number, Published { number: 2, reason: 0x87, ..Published::default() }).await;
    assert_eq!(client.packet().await, [0x50, 3, 0, 7, 0x87]);
    // A refusal ends it: the next one is new.
    client.send(&publish(5, 4, "send", 7, &[], b"z")).await;
    assert_eq!(world.lane.next_publish().await.1.number, 3);
    // PUBREL of what nobody remembers is answered.
    client.send(&[0x62, 2, 0, 9]).await;
    assert_eq!(client.packet().await, [0x70, 2, 0, 9]);
}

#[tokio::test(start_paused = true)]
async fn topics_of_others_are_refused() {
    let mut world = World::start(Settings::default()).await;
    let (mut client, number) = world.connected(5).await;
    client.send(&publish(5, 2, "send", 1, &[], b"x")).await;
    client.send(&publish(5, 2, "c/bob/phone/inbox", 2, &[], b"x")).await;
    client.send(&publish(5, 2, "to/b/c", 3, &[], b"x")).await;
    client.send(&publish(5, 0, "up/0", 0, &[], b"x")).await;
    world.lane.next_publish().await;
    world.lane.stored(number, 1).await;
    assert_eq!(client.packet().await, puback(1));
    assert_eq!(client.packet().await[4], 0x87);
    assert_eq!(client.packet().await[4], 0x90);
    world.lane.quiet().await;
    let (mut client, _) = world.connected(4).await;
    client.send(&publish(4, 2, "c/bob/phone/inbox", 2, &[], b"x")).await;
    client.closed().await;
    assert!(!world.lane.next_disconnect().await.clean);
}

#[tokio::test(start_paused = true)]
async fn retain() {
    let mut world = World::start(Settings::default()).await;
    let (mut client, _) = world.connected(4).await;
    client.send(&publish(4, 3, "send", 1, &[], b"x")).await;
    world.lane.next_publish().await;
    let (mut client, _) = world.connected(5).await;
    client.send(&publish(5, 3, "send", 1, &[], b"x")).await;
    assert_eq!(client.packet().await, [0xE0, 1, 0x9A]);
}

#[tokio::test(start_paused = true)]
async fn unanswered_publishes_are_bounded() {
    let mut world = World::start(Settings { unanswered_publishes_max: 2, ..Settings::default() }).await;
    let three = |level| (1..=3).flat_map(|id| publish(level, 2, "send", id, &[], b"x")).collect::<Vec<_>>();
    let (mut client, _) = world.connected(5).await;
    client.send(&three(5)).await;
    assert_eq!(client.packet().await, [0xE0, 1, 0x93]);
    world.lane.next_publish().await;
    world.lane.next_publish().await;
    world.lane.next_disconnect().await;

    // 3.1.1: the socket pushes back until there is an answer.
    let (mut client, number) = world.connected(4).await;
    client.send(&[three(4), vec![0xC0, 0]].concat()).await;
    world.lane.next_publish().await;
    world.lane.next_publish().await;
    world.lane.quiet().await;
    world.lane.stored(number, 1).await;
    assert_eq!(client.packet().await, puback(1));
    assert_eq!(world.lane.next_publish().await.1.number, 3);
    world.lane.stored(number, 2).await;
    assert_eq!(client.packet().await, puback(2));
    assert_eq!(client.packet().await, [0xD0, 0]);
}

#[tokio::test(start_paused = true)]
async fn topic_aliases_upward() {
    let mut world = World::start(Settings::default()).await;
    let (mut client, _) = world.connected(5).await;
    client.send(&publish(5, 2, "to/bob", 1, &[0x23, 0, 16], b"x")).await;
    client.send(&publish(5, 2, "", 2, &[0x23, 0, 16], b"y")).await;
    world.lane.next_publish().await;
    let (_, second) = world.lane.next_publish().await;
    assert_eq!((second.user.as_str(), &second.payload[..]), ("bob", &b"y"[..]));
    client.send(&publish(5, 2, "send", 3, &[0x23, 0, 17], b"x")).await;
    assert_eq!(client.packet().await, [0xE0, 1, 0x94]);
    world.lane.next_disconnect().await;
    let (mut client, _) = world.connected(5).await;
    client.send(&publish(5, 2, "", 2, &[0x23, 0, 1], b"y")).await;
    assert_eq!(client.packet().await, [0xE0, 1, 0x82]);
}

#[tokio::test(start_paused = true)]
async fn subscriptions() {
    let mut world = World::start(Settings::default()).await;
    let (mut v5, number) = world.connected(5).await;
    let asked = [("inbox", 1), ("inbox/#", 2), ("inbox", 0), ("#", 1), ("$share/g/inbox", 1), ("a#", 1), ("rpc", 1)];
    v5.send(&subscribe(5, 1, &asked)).await;
    let (_, up::Frame::Subscribe(frame)) = world.lane.next().await else { panic!("expected a subscribe") };
    assert_eq!(frame.filters, Filters::EVENTS.with(Filters::RAW_TREE).with(Filters::RPC).bits());
    world.lane.send(number, Subscribed { token: frame.token }).await;
    assert_eq!(v5.packet().await, [0x90, 10, 0, 1, 0, 1, 1, 0x83, 0x87, 0x9E, 0x8F, 1]);

    v5.send(&packet(0xA2, &[&[0, 2, 0], &string("inbox"), &string("inbox/+")])).await;
    let (_, up::Frame::Subscribe(frame)) = world.lane.next().await else { panic!("expected a subscribe") };
    assert_eq!(frame.filters, Filters::RAW_TREE.with(Filters::RPC).bits());
    world.lane.send(number, Subscribed { token: frame.token }).await;
    assert_eq!(v5.packet().await, [0xB0, 5, 0, 2, 0, 0, 0x11]);

    let (mut v4, number) = world.connected(4).await;
    v4.send(&subscribe(4, 3, &[("#", 1), ("inbox", 0)])).await;
    assert_eq!(v4.packet().await, [0x90, 4, 0, 3, 0x80, 0x80]);
    v4.send(&[subscribe(4, 4, &[("inbox/+", 1)]), packet(0xA2, &[&[0, 5], &string("inbox/+")])].concat()).await;
    world.lane.next().await;
    let (_, up::Frame::Subscribe(frame)) = world.lane.next().await else { panic!("expected a subscribe") };
    assert_eq!(frame.filters, 0);
    // The last set stands for the earlier ones.
    world.lane.send(number, Subscribed { token: frame.token }).await;
    assert_eq!(v4.packet().await, [0x90, 3, 0, 4, 1]);
    assert_eq!(v4.packet().await, [0xB0, 2, 0, 5]);
}

fn entry(order: u64) -> Deliver {
    Deliver { order, payload: b"x"[..].into(), ..Deliver::default() }
}

#[tokio::test(start_paused = true)]
async fn deliveries_and_their_acknowledgements() {
    let mut world = World::start(Settings::default()).await;
    let (mut v4, number) = world.connected(4).await;
    world.lane.send(number, Deliver { duplicate: true, ..entry(65_536) }).await;
    assert_eq!(v4.packet().await, [&[0x3A, 10, 0, 5][..], b"inbox", &[0, 2], b"x"].concat());
    let raw = Deliver { conversation: 65, sequence: 3, sender: "bob".to_owned(), ..entry(65_537) };
    let raw = Deliver { shape: Shape::Raw.into(), ..raw };
    world.lane.send(number, raw.clone()).await;
    assert_eq!(v4.packet().await, [&[0x32, 13, 0, 8][..], b"inbox/65", &[0, 3], b"x"].concat());
    // A receipt and an answer take identifiers too; an order that was given before is ignored.
    world.lane.send(number, entry(65_536)).await;
    world.lane.send(number, entry(1 << 63)).await;
    world.lane.send(number, Deliver { shape: Shape::Response.into(), ..entry(0) }).await;
    let (receipt, response) = (v4.packet().await, v4.packet().await);
    let receipt_id = u16::from_be_bytes([receipt[9], receipt[10]]);
    assert_eq!(u64::from(receipt_id), 1 + (1_u64 << 63) % 65_535);
    assert_eq!(response, [&[0x32, 8, 0, 3][..], b"rpc", &[0, 1], b"x"].concat());
    // All in one go: told in one frame. What is not known is ignored, and the answer is nobody's.
    let acks = [puback(3), puback(2), puback(9), puback(1), [0x40, 2, receipt[9], receipt[10]]].concat();
    v4.send(&acks).await;
    assert_eq!(world.lane.next_acks().await, [65_537, 65_536, 1 << 63]);

    let (mut v5, number) = world.connected(5).await;
    let raw = Deliver { expires_in_plus_one_s: 61, ..raw };
    world.lane.send(number, raw).await;
    let from = [&[0x26, 0, 4][..], b"from", &[0, 3], b"bob", &[0x26, 0, 3], b"seq", &[0, 1], b"3"].concat();
    let body = [&[0, 8][..], b"inbox/65", &[0, 3, 26, 2, 0, 0, 0, 60], &from[..], b"x"].concat();
    assert_eq!(v5.packet().await, packet(0x32, &[&body]));
    // An error code acknowledges too.
    v5.send(&[0x40, 3, 0, 3, 0x80]).await;
    assert_eq!(world.lane.next_acks().await, [65_537]);
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_right_before_the_end_counts() {
    let mut world = World::start(Settings::default()).await;
    for last in [&[0xE0, 0][..], &[0x20, 0]] {
        let (mut client, number) = world.connected(4).await;
        world.lane.send(number, entry(1)).await;
        client.packet().await;
        client.send(&[&puback(2), last].concat()).await;
        assert_eq!(world.lane.next_acks().await, [1]);
        world.lane.next_disconnect().await;
    }
}

#[tokio::test(start_paused = true)]
async fn packet_identifiers_in_use_are_passed_over() {
    let mut world = World::start(Settings::default()).await;
    let (mut client, number) = world.connected(4).await;
    for order in [1, 65_536] {
        world.lane.send(number, entry(order)).await;
    }
    assert_eq!(client.packet().await[9..11], [0, 2]);
    assert_eq!(client.packet().await[9..11], [0, 3]);
}

#[tokio::test(start_paused = true)]
async fn what_the_client_takes_is_respected() {
    let mut world = World::start(Settings::default()).await;
    let mut client = world.dial();
    // Receive maximum 1, maximum packet size 30, two topic aliases.
    client.send(&connect(5, &[0x21, 0, 1, 0x27, 0, 0, 0, 30, 0x22, 0, 2])).await;
    let (number, _) = world.lane.next().await;
    world.lane.send(number, Connected::default()).await;
    client.packet().await;
    world.lane.send(number, entry(1)).await;
    world.lane.send(number, Deliver { payload: vec![0; 30].into(), ..entry(2) }).await;
    world.lane.send(number, entry(3)).await;
    assert_eq!(client.packet().await, [&[0x32, 14, 0, 5][..], b"inbox", &[0, 2, 3, 0x23, 0, 1], b"x"].concat());
    client.send(&puback(2)).await;
    assert_eq!(client.packet().await, [&[0x32, 9, 0, 0, 0, 4, 3, 0x23, 0, 1][..], b"x"].concat());
    assert_eq!(world.lane.next_acks().await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_acknowledges_is_given_up() {
    let mut world = World::start(Settings::default()).await;
    let mut client = world.dial();
    client.send(&connect(5, &[0x21, 0, 1])).await;
    let (number, _) = world.lane.next().await;
    world.lane.send(number, Connected::default()).await;
    client.packet().await;
    for _ in 0..258 {
        world.lane.send(number, Deliver { shape: Shape::Response.into(), ..entry(0) }).await;
    }
    assert_eq!(client.packet().await[..2], [0x32, 9]);
    assert_eq!(client.packet().await, [0xE0, 1, 0x97]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_closed() {
    let mut world = World::start(Settings::default()).await;
    let mut client = world.dial_buffered(64);
    let mut connect = connect(4, &[]);
    connect[11] = 0;
    client.send(&connect).await;
    let (number, _) = world.lane.next().await;
    world.lane.send(number, Connected::default()).await;
    client.packet().await;
    let started = Instant::now();
    for order in 1..100 {
        world.lane.send(number, entry(order)).await;
    }
    assert!(!world.lane.next_disconnect().await.clean);
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(30) && waited < Duration::from_secs(45), "{waited:?}");
    assert_eq!(world.edge.counters.connections.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_not_closed() {
    let mut world = World::start(Settings::default()).await;
    let mut client = world.dial_buffered(64);
    client.send(&connect(4, &[])).await;
    let (number, _) = world.lane.next().await;
    world.lane.send(number, Connected::default()).await;
    client.packet().await;
    for order in 1..50 {
        world.lane.send(number, entry(order)).await;
    }
    for _ in 1..50 {
        sleep(Duration::from_secs(5)).await;
        assert_eq!(client.packet().await[0], 0x32);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_while_much_is_unwritten() {
    let mut world = World::start(Settings::default()).await;
    let (client, _) = world.connected(4).await;
    let (mut reader, mut writer) = tokio::io::split(client.0);
    let pings = tokio::spawn(async move {
        for _ in 0..1_000 {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &[0xC0, 0].repeat(1_000)).await.unwrap();
        }
        writer
    });
    sleep(Duration::from_secs(1)).await;
    assert!(!pings.is_finished(), "a million pings wait in the client");
    let mut pongs = vec![0; 2_000_000];
    tokio::io::AsyncReadExt::read_exact(&mut reader, &mut pongs).await.unwrap();
    pings.await.unwrap();
}

/// As with TLS: what a stream has taken may have still to go.
#[tokio::test(start_paused = true)]
async fn a_stream_that_holds_bytes_back_is_flushed() {
    let settings = Settings { drain_deadline: Duration::from_secs(5), ..Settings::default() };
    let mut world = World::start(settings).await;
    let (near, far) = tokio::io::duplex(16);
    world.serve(tokio::io::BufWriter::with_capacity(64 * 1024, far));
    let mut client = Client(near);
    client.send(&connect(4, &[])).await;
    let (number, _) = world.lane.next().await;
    world.lane.send(number, Connected::default()).await;
    assert_eq!(client.packet().await[0], 0x20);
    let payload = Bytes::from(vec![7; 1_000]);
    world.lane.send(number, Deliver { order: 1, payload: payload.clone(), ..Deliver::default() }).await;
    assert!(client.packet().await.ends_with(&payload));
    world.lane.send(number, Deliver { order: 2, payload, ..Deliver::default() }).await;
    // Nothing more is read: it is closed, since what it was given does not go.
    world.lane.next_disconnect().await;
}
