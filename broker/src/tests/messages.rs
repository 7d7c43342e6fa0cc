//! PUBLISH in both directions, subscriptions, and their bounds.

use std::time::Duration;

use godwit_schemas::bus::{Connected, Deliver, Kind, Published, Shape, Subscribed, up};
use godwit_schemas::client::Properties;
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
        let mut world = World::start(BrokerSettings::default()).await;
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
async fn publishes_reach_the_lane_with_their_properties() {
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut client, _) = world.connected(5).await;
    client.send(&publish(5, 0xA, "to/bob", 1, &[2, 0, 0, 0, 60], b"hello")).await;
    let (_, first) = world.lane.next_publish().await;
    assert_eq!((first.kind(), first.user.as_str(), &first.payload[..]), (Kind::ToUser, "bob", &b"hello"[..]));
    assert!(first.duplicate && first.expires_in_s == Some(60) && !first.resent);
    client.send(&publish(5, 2, "send/65", 2, &[], b"")).await;
    let (_, second) = world.lane.next_publish().await;
    assert_eq!((second.kind(), second.conversation, second.number), (Kind::ToConversation, 65, 2));
    client.send(&publish(5, 2, "rpc", 3, &[9, 0, 1, b'c', 0x26, 0, 1, b'k', 0, 1, b'v'], b"")).await;
    let (_, third) = world.lane.next_publish().await;
    assert_eq!((third.kind(), &third.correlation()[..]), (Kind::Rpc, &b"c"[..]));
    client.send(&publish(5, 0, "receipt", 0, &[], b"r")).await;
    let (_, fourth) = world.lane.next_publish().await;
    assert_eq!((fourth.kind(), fourth.number, fourth.packet_id), (Kind::Receipt, 4, 0));
    assert!(fourth.at_most_once && !third.at_most_once);
}

/// Payload format, content type, response topic, correlation data, and two user properties of one name.
const TOLD: &[u8] =
    b"\x01\x01\x03\x00\x03t/p\x08\x00\x07send/65\x09\x00\x01c\x26\x00\x01k\x00\x011\x26\x00\x01k\x00\x012";

#[tokio::test(start_paused = true)]
async fn properties_reach_raw_readers_of_mqtt_5() {
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut client, number) = world.connected(5).await;
    let mut sent = Vec::new();
    for (id, topic) in [(1, "to/bob"), (2, "send/65"), (3, "phone/4930123456")] {
        client.send(&publish(5, 2, topic, id, TOLD, b"hello")).await;
        sent.push(world.lane.next_publish().await.1);
    }
    assert!(sent.iter().all(|it| it.extras == sent[0].extras && it.correlation().is_empty()));
    let told = Properties::decode(sent[0].properties()).unwrap();
    assert_eq!((told.payload_format, told.user_properties.len()), (Some(1), 2));
    // These are the server's to read: nobody is told what stands beside them.
    for (id, topic) in [(4, "send"), (5, "rpc")] {
        client.send(&publish(5, 2, topic, id, TOLD, b"hello")).await;
        let (_, publish) = world.lane.next_publish().await;
        assert!(publish.properties().is_empty() && publish.correlation() == "c");
    }

    let raw = Deliver { conversation: 65, sequence: 3, sender: "bob".to_owned(), ..entry(65_537) };
    let raw = Deliver { shape: Shape::Raw.into(), extras: sent[0].extras.clone(), ..raw };
    world.lane.send(number, raw.clone()).await;
    let own = b"\x26\x00\x04from\x00\x03bob\x26\x00\x03seq\x00\x013";
    let properties = [TOLD, own].concat();
    let body = [&string("inbox/65")[..], &[0, 3], &props(5, &properties), b"x"].concat();
    assert_eq!(client.packet().await, packet(0x32, &[&body]));
    let (mut v4, number) = world.connected(4).await;
    world.lane.send(number, raw).await;
    assert_eq!(v4.packet().await, packet(0x32, &[&string("inbox/65"), &[0, 3], b"x"]));
}

#[tokio::test(start_paused = true)]
async fn puback_of_mqtt_5_has_the_place_or_the_reason() {
    let mut world = World::start(BrokerSettings::default()).await;
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
async fn details_are_left_out_unless_wanted() {
    let mut world = World::start(BrokerSettings::default()).await;
    let mut client = world.dial();
    client.send(&connect(5, &[0x17, 0])).await;
    let (number, _) = world.lane.next().await;
    world.lane.send(number, Connected::default()).await;
    client.packet().await;
    let (mut old, old_number) = world.connected(4).await;
    for (client, number, level, refusal) in
        [(&mut client, number, 5, &[0x40, 4, 0, 2, 0x87, 0][..]), (&mut old, old_number, 4, &[0x40, 2, 0, 2])]
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
async fn qos_2_is_answered_and_repeated_without_effect() {
    let mut world = World::start(BrokerSettings::default()).await;
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
    assert_eq!(client.packet().await, [0x50, 4, 0, 7, 0x87, 0]);
    // A refusal ends it: the next one is new.
    client.send(&publish(5, 4, "send", 7, &[], b"z")).await;
    assert_eq!(world.lane.next_publish().await.1.number, 3);
    // PUBREL of what nobody remembers is answered.
    client.send(&[0x62, 2, 0, 9]).await;
    assert_eq!(client.packet().await, [0x70, 2, 0, 9]);
}

#[tokio::test(start_paused = true)]
async fn topics_of_others_are_refused() {
    let mut world = World::start(BrokerSettings::default()).await;
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
async fn retained_publishes_are_refused_in_mqtt_5() {
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut client, _) = world.connected(4).await;
    client.send(&publish(4, 3, "send", 1, &[], b"x")).await;
    world.lane.next_publish().await;
    let (mut client, _) = world.connected(5).await;
    client.send(&publish(5, 3, "send", 1, &[], b"x")).await;
    assert_eq!(client.goodbye().await, 0x9A);
}

#[tokio::test(start_paused = true)]
async fn unanswered_publishes_are_bounded() {
    let mut world = World::start(BrokerSettings { unanswered_publishes_max: 2, ..BrokerSettings::default() }).await;
    let three = |level| (1..=3).flat_map(|id| publish(level, 2, "send", id, &[], b"x")).collect::<Vec<_>>();
    // The socket pushes back until there is an answer, also where Receive Maximum says how many there may be.
    for level in [4, 5] {
        let (mut client, number) = world.connected(level).await;
        client.send(&[three(level), vec![0xC0, 0]].concat()).await;
        world.lane.next_publish().await;
        world.lane.next_publish().await;
        world.lane.quiet().await;
        world.lane.stored(number, 1).await;
        assert_eq!(client.packet().await, puback(1));
        assert_eq!(world.lane.next_publish().await.1.number, 3);
        world.lane.stored(number, 2).await;
        assert_eq!(client.packet().await, puback(2));
        assert_eq!(client.packet().await, [0xD0, 0]);
        drop(client);
        world.lane.next_disconnect().await;
    }
}

/// Answers to QoS 2 make room too, although PUBREL has still to come: it stands behind what is not read.
#[tokio::test(start_paused = true)]
async fn qos_2_beyond_receive_maximum_is_taken_in_turn() {
    let mut world = World::start(BrokerSettings { unanswered_publishes_max: 2, ..BrokerSettings::default() }).await;
    for level in [4, 5] {
        let (mut client, number) = world.connected(level).await;
        let publishes = (1..=5).flat_map(|id| publish(level, 4, "send", id, &[], b"x"));
        let releases = (1..=5).flat_map(|id| [0x62, 2, 0, id]);
        client.send(&publishes.chain(releases).collect::<Vec<_>>()).await;
        for id in 1..=5 {
            world.lane.next_publish().await;
            world.lane.stored(number, id).await;
        }
        let mut answers = Vec::new();
        for _ in 0..10 {
            answers.push(client.packet().await);
        }
        for kind in [0x50, 0x70] {
            let ids: Vec<_> = answers.iter().filter(|packet| packet[0] == kind).map(|packet| packet[3]).collect();
            assert_eq!(ids, [1, 2, 3, 4, 5], "{kind:#x}");
        }
        drop(client);
        world.lane.next_disconnect().await;
    }
}

#[tokio::test(start_paused = true)]
async fn topic_aliases_of_clients_are_resolved() {
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut client, _) = world.connected(5).await;
    client.send(&publish(5, 2, "to/bob", 1, &[0x23, 0, 16], b"x")).await;
    client.send(&publish(5, 2, "", 2, &[0x23, 0, 16], b"y")).await;
    world.lane.next_publish().await;
    let (_, second) = world.lane.next_publish().await;
    assert_eq!((second.user.as_str(), &second.payload[..]), ("bob", &b"y"[..]));
    client.send(&publish(5, 2, "send", 3, &[0x23, 0, 17], b"x")).await;
    assert_eq!(client.goodbye().await, 0x94);
    world.lane.next_disconnect().await;
    let (mut client, _) = world.connected(5).await;
    client.send(&publish(5, 2, "", 2, &[0x23, 0, 1], b"y")).await;
    assert_eq!(client.goodbye().await, 0x82);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_answered_when_the_lane_has_them() {
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut v5, number) = world.connected(5).await;
    let asked = [
        ("inbox", 1),
        ("inbox/#", 2),
        ("inbox", 0),
        ("#", 1),
        ("$share/g/inbox", 1),
        ("a#", 1),
        ("rpc", 0),
        ("live/+", 0),
    ];
    v5.send(&subscribe(5, 1, &asked)).await;
    let (_, up::Frame::Subscribe(frame)) = world.lane.next().await else { panic!("expected a subscribe") };
    let inbox = Filters::EVENTS.with(Filters::RAW_TREE);
    assert_eq!(frame.filters, inbox.with(Filters::RPC).with(Filters::LIVE).bits());
    world.lane.send(number, Subscribed { token: frame.token }).await;
    let suback = v5.packet().await;
    assert!(suback.ends_with(&[1, 1, 1, 0x87, 0x9E, 0x8F, 1, 0]), "{suback:02X?}");
    assert!(String::from_utf8_lossy(&suback).contains("subscribe to inbox, inbox/+"), "{suback:02X?}");

    v5.send(&packet(0xA2, &[&[0, 2, 0], &string("inbox"), &string("inbox/+")])).await;
    let (_, up::Frame::Subscribe(frame)) = world.lane.next().await else { panic!("expected a subscribe") };
    assert_eq!(frame.filters, Filters::RAW_TREE.with(Filters::RPC).with(Filters::LIVE).bits());
    world.lane.send(number, Subscribed { token: frame.token }).await;
    assert_eq!(v5.packet().await, [0xB0, 5, 0, 2, 0, 0, 0x11]);

    let (mut v4, number) = world.connected(4).await;
    v4.send(&subscribe(4, 3, &[("#", 1), ("inbox/7", 0)])).await;
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

/// Nothing in an inbox is dropped, so a client that asks for QoS 0 is granted more; what is worth nothing later is QoS 0.
#[tokio::test(start_paused = true)]
async fn a_subscription_with_qos_0_is_granted_qos_1() {
    let mut world = World::start(BrokerSettings::default()).await;
    let filters = [("inbox", 1), ("inbox/+", 1), ("inbox/#", 1), ("rpc", 1), ("live/+", 0), ("presence/+", 0)];
    for level in [4, 5] {
        for wants_text in [true, false] {
            let properties: &[u8] = if level == 4 || wants_text { &[] } else { &[0x17, 0] };
            let client = world.dial();
            let (mut client, number) = world.connect_with(client, level, properties).await;
            for (filter, granted) in filters {
                client.send(&subscribe(level, 1, &[(filter, 0)])).await;
                let (_, up::Frame::Subscribe(frame)) = world.lane.next().await else { panic!("expected a subscribe") };
                world.lane.send(number, Subscribed { token: frame.token }).await;
                let suback = client.packet().await;
                assert_eq!(suback.last(), Some(&granted), "{filter}");
                let says = String::from_utf8_lossy(&suback).contains("granted with QoS 1: nothing in an inbox");
                assert_eq!(says, level == 5 && wants_text && granted == 1, "{filter}");
            }
            drop(client);
            world.lane.next_disconnect().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_suback_that_the_client_cannot_take_is_not_sent() {
    let mut world = World::start(BrokerSettings::default()).await;
    let client = world.dial();
    let (mut client, number) = world.connect_with(client, 5, &[0x27, 0, 0, 0, 30]).await;
    client.send(&subscribe(5, 1, &[("nothing", 1); 24])).await;
    assert_eq!(client.packet().await[..5], [0x90, 27, 0, 1, 0], "without a text");
    client.send(&subscribe(5, 1, &[("inbox", 1); 26])).await;
    assert_eq!(client.goodbye().await, 0x95);
    world.lane.next_disconnect().await;
    let client = world.dial();
    let (mut client, _) = world.connect_with(client, 5, &[0x27, 0, 0, 0, 30]).await;
    client.send(&packet(0xA2, &[&[0, 1, 0], &string("inbox").repeat(26)])).await;
    assert_eq!(client.goodbye().await, 0x95);
    _ = number;
}

fn entry(order: u64) -> Deliver {
    Deliver { order, payload: b"x"[..].into(), ..Deliver::default() }
}

#[tokio::test(start_paused = true)]
async fn deliveries_are_sent_and_acknowledged() {
    let mut world = World::start(BrokerSettings::default()).await;
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
    let raw = Deliver { expires_in_s: Some(60), ..raw };
    world.lane.send(number, raw).await;
    let from = [&[0x26, 0, 4][..], b"from", &[0, 3], b"bob", &[0x26, 0, 3], b"seq", &[0, 1], b"3"].concat();
    let body = [&[0, 8][..], b"inbox/65", &[0, 3, 26, 2, 0, 0, 0, 60], &from[..], b"x"].concat();
    assert_eq!(v5.packet().await, packet(0x32, &[&body]));
    // An error code acknowledges too.
    v5.send(&[0x40, 3, 0, 3, 0x80]).await;
    assert_eq!(world.lane.next_acks().await, [65_537]);
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_right_before_the_end_count() {
    let mut world = World::start(BrokerSettings::default()).await;
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
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut client, number) = world.connected(4).await;
    for order in [1, 65_536] {
        world.lane.send(number, entry(order)).await;
    }
    assert_eq!(client.packet().await[9..11], [0, 2]);
    assert_eq!(client.packet().await[9..11], [0, 1], "another one");
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_the_client_are_respected() {
    let mut world = World::start(BrokerSettings::default()).await;
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
async fn a_client_that_never_acknowledges_is_closed() {
    let mut world = World::start(BrokerSettings::default()).await;
    let mut client = world.dial();
    client.send(&connect(5, &[0x21, 0, 1])).await;
    let (number, _) = world.lane.next().await;
    world.lane.send(number, Connected::default()).await;
    client.packet().await;
    for _ in 0..258 {
        world.lane.send(number, Deliver { shape: Shape::Response.into(), ..entry(0) }).await;
    }
    assert_eq!(client.packet().await[..2], [0x32, 9]);
    assert_eq!(client.goodbye().await, 0x97);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_closed() {
    let mut world = World::start(BrokerSettings::default()).await;
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
    assert_eq!(world.edge.context.counters.connections.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_not_closed() {
    let mut world = World::start(BrokerSettings::default()).await;
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
    let mut world = World::start(BrokerSettings { packets_per_s: 0, ..BrokerSettings::default() }).await;
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
    let settings = BrokerSettings { drain_deadline: Duration::from_secs(5), ..BrokerSettings::default() };
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
