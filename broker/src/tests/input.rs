//! Bad input: no bytes make the broker panic, hang, or hold more than one packet.

use godwit_schemas::bus::Connected;

use super::*;
use crate::mqtt::{Version, auth, decode, packet as framing, publish as wire};

/// xorshift64*: the same bytes in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Decodes as a connection does. Nothing may panic, and every round takes bytes.
fn decode_all(bytes: &[u8], version: Version) {
    let mut buffer = bytes::BytesMut::from(bytes);
    loop {
        let before = buffer.len();
        let Ok(Some(packet)) = framing::split(&mut buffer, version, 4_096) else { return };
        assert!(buffer.len() < before);
        // Only whether they return is asked.
        match packet.kind {
            framing::PacketType::Connect => {
                if let Ok(version) = decode::version(&packet) {
                    _ = decode::connect(packet, version);
                }
            }
            framing::PacketType::Publish => _ = wire::read(packet, version),
            framing::PacketType::Subscribe | framing::PacketType::Unsubscribe => {
                if let Ok(subscription) = decode::subscription(packet, version) {
                    subscription.filters.iter().for_each(|(filter, _)| _ = decode::is_well_formed(filter));
                }
            }
            framing::PacketType::Disconnect => _ = decode::disconnect(packet, version),
            framing::PacketType::Auth => _ = auth::read(packet),
            _ => _ = decode::packet_id(packet, version),
        }
    }
}

/// One good packet of each kind.
fn good(level: u8) -> Vec<Vec<u8>> {
    let properties = [0x11, 0, 0, 0, 60, 0x21, 0, 5, 0x26, 0, 1, b'k', 0, 1, b'v', 0x15, 0, 1, b'm', 0x16, 0, 1, b'd'];
    let will = {
        let head = [&string("MQTT")[..], &[level, 0xEE, 0, 10]].concat();
        let will_properties = [0x18, 0, 0, 0, 1, 0x01, 1, 0x03, 0, 1, b't', 0x08, 0, 1, b'r', 0x09, 0, 1, b'c'];
        let will = [props(level, &will_properties), string("gone"), string("bye")].concat();
        packet(0x10, &[&head, &props(level, &[]), &string("phone"), &will, &string("alice"), &string("secret")])
    };
    vec![
        connect(level, &properties),
        will,
        publish(level, 2, "send", 1, &[0x02, 0, 0, 0, 9, 0x23, 0, 1, 0x09, 0, 1, b'c', 0x01, 1], b"payload"),
        publish(level, 0xD, "to/bob", 2, &[0x26, 0, 1, b'k', 0, 1, b'v'], b""),
        subscribe(level, 3, &[("inbox", 1), ("inbox/#", 0x2E)]),
        packet(0xA2, &[&[0, 4], &props(level, &[]), &string("inbox"), &string("rpc")]),
        packet(0x40, &[&[0, 5, 0x10], &props(level, &[0x1F, 0, 1, b'x'])]),
        vec![0x40, 2, 0, 5],
        vec![0x62, 2, 0, 6],
        vec![0xC0, 0],
        packet(0xF0, &[&[0x19], &props(level, &[0x15, 0, 1, b'm', 0x16, 0, 1, b'd', 0x1F, 0, 1, b'r'])]),
        packet(0xE0, &[&[4], &props(level, &[0x11, 0, 0, 0, 9])]),
        vec![0xE0, 0],
    ]
}

#[test]
fn random_bytes_do_not_panic() {
    let mut random = Random(1);
    for _ in 0..200_000 {
        let len = random.below(40);
        let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        if len > 1 && random.below(2) == 0 {
            bytes[1] = (len - 2) as u8;
        }
        decode_all(&bytes, Version::V4);
        decode_all(&bytes, Version::V5);
    }
}

#[test]
fn mutated_packets_do_not_panic() {
    let mut random = Random(2);
    let corpus = [good(4), good(5)].concat();
    for round in 0..400_000 {
        let mut bytes = corpus[round % corpus.len()].clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = random.next() as u8,
                1 => bytes[at] ^= 1 << random.below(8),
                2 => bytes.insert(at, random.next() as u8),
                _ if bytes.len() > 2 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        // Mostly with a length that fits, or decoding would end at the framing.
        if random.below(4) > 0 && bytes.len() > 2 && bytes.len() < 130 {
            bytes[1] = (bytes.len() - 2) as u8;
        }
        decode_all(&bytes, Version::V4);
        decode_all(&bytes, Version::V5);
    }
}

#[tokio::test(start_paused = true)]
async fn connections_survive_mutated_packets() {
    let mut random = Random(3);
    let mut world = World::start(BrokerSettings::default()).await;
    for round in 0..2_000 {
        let level = 4 + (round % 2) as u8;
        let corpus = good(level);
        let mut client = world.dial();
        client.send(&connect(level, &[])).await;
        let number = loop {
            if let (number, up::Frame::Connect(_)) = world.lane.next().await {
                break number;
            }
        };
        world.lane.send(number, Connected::default()).await;
        client.packet().await;
        for _ in 0..5 {
            let mut bytes = corpus[random.below(corpus.len())].clone();
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
            // The server may have hung up by now.
            _ = client.0.write_all(&bytes).await;
        }
        drop(client);
        while let (_, up::Frame::Publish(_) | up::Frame::Subscribe(_) | up::Frame::Acks(_)) = world.lane.next().await {}
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.edge.context.counters.connections.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_packet_over_the_limit_is_refused_before_its_body() {
    let mut world = World::start(BrokerSettings::default()).await;
    let (mut v5, _) = world.connected(5).await;
    v5.send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).await;
    assert_eq!(v5.goodbye().await, 0x95);
    // What comes after is thrown away, so that the answer is not lost to a reset.
    v5.send(&[0; 50_000]).await;
    v5.closed().await;
    world.lane.next_disconnect().await;
    let (mut v4, _) = world.connected(4).await;
    v4.send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).await;
    v4.closed().await;
}

#[tokio::test(start_paused = true)]
async fn malformed_packets_close_with_a_reason() {
    let topic_with_wildcard = publish(5, 2, "to/+", 1, &[], b"x");
    let bad_utf8 = packet(0x32, &[&[0, 1, 0xFF, 0, 1, 0]]);
    let nul = publish(5, 2, "a\0b", 1, &[], b"x");
    let id_0 = publish(5, 2, "send", 0, &[], b"x");
    let cases: [(&[u8], u8); 12] = [
        (&[0x20, 2, 0, 0], 0x82),
        (&[0xB0, 4, 0, 1, 0, 0], 0x82),
        (&[0xF0, 0], 0x82),
        (&[0x36, 2, 0, 0], 0x81),
        (&[0x50, 2, 0, 1], 0x82),
        (&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], 0x81),
        (&connect(5, &[]), 0x82),
        (&topic_with_wildcard, 0x90),
        (&bad_utf8, 0x81),
        (&nul, 0x81),
        (&id_0, 0x81),
        (&packet(0x82, &[&[0, 1, 0]]), 0x82),
    ];
    for (bytes, reason) in cases {
        let mut world = World::start(BrokerSettings::default()).await;
        let (mut client, _) = world.connected(5).await;
        client.send(bytes).await;
        assert_eq!(client.goodbye().await, reason, "{bytes:x?}");
        client.closed().await;
        let mut world = World::start(BrokerSettings::default()).await;
        let (mut client, _) = world.connected(4).await;
        client.send(bytes).await;
        client.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn packets_may_come_in_single_bytes() {
    let mut world = World::start(BrokerSettings::default()).await;
    let mut client = world.dial();
    for byte in connect(5, &[]) {
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    let (number, _) = world.lane.next().await;
    world.lane.send(number, Connected::default()).await;
    client.packet().await;
    for byte in publish(5, 2, "to/bob", 1, &[], &[7; 200]) {
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(&world.lane.next_publish().await.1.payload[..], [7; 200]);
}

#[test]
fn an_idle_connection_is_small() {
    use crate::edge::ConnectionHandle;
    let task = size_of::<ConnectionDriver<tokio::net::TcpStream>>();
    let peer = size_of::<ConnectionHandle>();
    assert!(task <= 128, "{task}");
    assert!(peer <= 640, "{peer}");
}
