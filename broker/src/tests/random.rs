//! Random bytes, and packets that are nearly right, through all decoders of what a client sends: none panics or reads beyond a packet.
//! `GODWIT_ATTACKS` is the number of packets; `make attack` takes a million.

use bytes::BytesMut;

use super::*;
use crate::mqtt::packet::{self, PacketType, RawPacket};
use crate::mqtt::{Version, auth, decode, publish as reader};

const PACKETS: usize = 50_000;

fn count() -> usize {
    std::env::var("GODWIT_ATTACKS").ok().map_or(PACKETS, |text| text.parse().expect("GODWIT_ATTACKS is a number"))
}

/// Numbers that look random, and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    /// Changes a packet a little, or makes one up.
    fn mutate(&mut self, good: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = good[self.below(good.len())].clone();
        match self.below(4) {
            0 => bytes = (0..self.below(80)).map(|_| self.byte()).collect(),
            1 => {
                let at = self.below(bytes.len() + 1);
                (0..self.below(20)).for_each(|_| bytes.insert(at, self.byte()));
            }
            2 => bytes.truncate(self.below(bytes.len() + 1)),
            _ => {}
        }
        for _ in 0..self.below(4) {
            let Some(len) = bytes.len().checked_sub(1) else { break };
            let at = self.below(len + 1);
            bytes[at] = self.byte();
        }
        // Often the length is right after all: otherwise little would get further than that.
        if self.below(2) == 0 && (2..130).contains(&bytes.len()) {
            bytes[1] = (bytes.len() - 2) as u8;
        }
        bytes
    }
}

/// What reads each kind of packet.
fn read(frame: RawPacket, version: Version) {
    match frame.kind {
        PacketType::Connect => {
            if decode::version(&frame).is_ok_and(|it| it == version) {
                _ = decode::connect(frame, version);
            }
        }
        PacketType::Publish => _ = reader::read(frame, version),
        PacketType::Subscribe | PacketType::Unsubscribe => _ = decode::subscription(frame, version),
        PacketType::Disconnect => _ = decode::disconnect(frame, version),
        PacketType::Puback | PacketType::Pubrec | PacketType::Pubrel | PacketType::Pubcomp => {
            _ = decode::packet_id(frame, version)
        }
        PacketType::Auth => _ = auth::read(frame),
        PacketType::Pingreq => {}
    }
}

#[test]
fn packets_are_read_or_refused() {
    let mut dice = Dice(1);
    for n in 0..count() {
        let (level, version) = if n % 2 == 0 { (4, Version::V4) } else { (5, Version::V5) };
        let good = [
            connect(level, &[0x11, 0, 0, 1, 0]),
            publish(level, 2, "to/bob", 7, &[0x23, 0, 1], b"hello"),
            publish(level, 0, "live/1", 0, &[], b""),
            subscribe(level, 8, &[("inbox/#", 1), ("rpc", 1)]),
            packet(0xA2, &[&[0, 9], &props(level, &[]), &string("inbox/#")]),
            packet(0x40, &[&[0, 1]]),
            packet(0xE0, &[&[4, 5, 0x11, 0, 0, 0, 1]]),
        ];
        let mut buffer = BytesMut::from(&dice.mutate(&good)[..]);
        loop {
            let before = buffer.len();
            match packet::split(&mut buffer, version, 1_000) {
                Ok(Some(frame)) => {
                    assert_eq!(frame.bytes.len() + buffer.len(), before);
                    read(frame, version);
                }
                Ok(None) | Err(_) => break,
            }
        }
    }
}

#[tokio::test]
async fn headers_of_proxies_are_read_or_refused() {
    let mut dice = Dice(2);
    let good = [[&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C"[..], &[192, 0, 2, 7, 10, 0, 0, 1, 1, 2, 3, 4]].concat()];
    for _ in 0..count() / 10 {
        let bytes = dice.mutate(&good);
        let mut left = &bytes[..];
        _ = crate::proxy::read_header(&mut left).await;
    }
}
