//! Bytes at random, and packets that are nearly right, on a live listener.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::{Bystanders, Dice, lets_in};
use crate::PATIENCE;
use crate::mqtt::{CLEAN, VERSIONS, Version, connect};
use crate::server::{Account, Server};

const PACKETS: usize = 4_000;

fn count() -> usize {
    std::env::var("GODWIT_ATTACKS").ok().map_or(PACKETS, |text| text.parse().expect("GODWIT_ATTACKS is a number"))
}

/// Packets as a client may send them.
fn good(version: Version) -> Vec<Vec<u8>> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let packet = |first: u8, parts: &[&[u8]]| {
        let body = parts.concat();
        [&[first, body.len() as u8][..], &body].concat()
    };
    vec![
        packet(0x32, &[&[0, 7], b"to/dave", &[0, 1], properties, b"hello"]),
        packet(0x34, &[&[0, 4], b"send", &[0, 2], properties, &[10, 2, 8, 1]]),
        packet(0x30, &[&[0, 6], b"live/1", properties, b"typing"]),
        packet(0x32, &[&[0, 3], b"rpc", &[0, 3], properties, &[8, 1, 18, 0]]),
        packet(0x32, &[&[0, 7], b"receipt", &[0, 4], properties, &[8, 65, 16, 1]]),
        packet(0x82, &[&[0, 5], properties, &[0, 7], b"inbox/#", &[1]]),
        packet(0xA2, &[&[0, 6], properties, &[0, 7], b"inbox/#"]),
        packet(0x40, &[&[0, 1]]),
        packet(0x62, &[&[0, 2]]),
        vec![0xC0, 0],
        vec![0xE0, 0],
    ]
}

/// One of them, mostly with something wrong in it.
fn mutated(dice: &mut Dice, good: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = good[dice.below(good.len())].clone();
    match dice.below(6) {
        0 => {}
        1 => packet.truncate(dice.below(packet.len()) + 1),
        2 => packet.extend((0..dice.below(40)).map(|_| dice.roll() as u8)),
        3 => packet = (0..dice.below(60) + 1).map(|_| dice.roll() as u8).collect(),
        _ => {
            for _ in 0..=dice.below(3) {
                let at = dice.below(packet.len());
                packet[at] = dice.roll() as u8;
            }
        }
    }
    packet
}

/// One connection: welcomed or not, a few packets, and whatever is answered.
fn attack(server: &Server, account: &Account, version: Version, dice: &mut Dice) -> usize {
    let mut stream = TcpStream::connect(server.mqtt()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let good = good(version);
    let mut bytes = connect(version, account, CLEAN);
    if dice.below(4) == 0 {
        let at = dice.below(bytes.len());
        bytes[at] = dice.roll() as u8;
    }
    let packets = dice.below(8) + 1;
    for _ in 0..packets {
        bytes.extend(mutated(dice, &good));
    }
    // It may be closed in the middle of this.
    _ = stream.write_all(&bytes);
    _ = stream.shutdown(std::net::Shutdown::Write);
    _ = stream.read_to_end(&mut Vec::new());
    packets
}

#[test]
fn what_is_nearly_mqtt_breaks_nothing_and_takes_no_memory() {
    let server = Server::start();
    let mut others = Bystanders::meet(&server);
    let mallory = server.add_user("mallory", "phone");
    server.add_user("dave", "phone");
    let mut dice = Dice(7);
    let mut send = |packets: usize| {
        let (mut sent, mut round) = (0, 0);
        while sent < packets {
            sent += attack(&server, &mallory, VERSIONS[round % 2], &mut dice);
            round += 1;
        }
        sent
    };
    // What the first ones cost is the heap that the others use again.
    let mut sent = others.go_on_during(|| send(count() / 10));
    let before = server.rss_anon_kib();
    sent += others.go_on_during(|| send(count() - count() / 10));
    lets_in(&server, &mallory);
    let grown = server.rss_anon_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB more after {sent} packets");
    assert!(!server.log().contains("panicked"), "nothing panicked");
}
