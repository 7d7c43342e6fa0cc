//! The real program on a real disk that fails: full, read-only, damaged. It refuses or stops and says why, acknowledges
//! nothing that it does not keep, and has everything that it acknowledged when the disk is well again.
//!
//! - `mount`: a small disk of a test's own (root only; others are told that these tests did nothing).
//! - `full`, `read_only`, `damaged`: one file for each; `private`: who may read it.

mod damaged;
mod full;
mod mount;
mod private;
mod read_only;

use crate::PATIENCE;
use crate::mqtt::{Client, Packet, RESUME, Version};
use crate::server::{Account, Server};

/// Alice writes, bob is away until somebody looks.
struct Chat {
    alice: Account,
    bob: Account,
    /// Acknowledged bodies.
    acknowledged: Vec<Vec<u8>>,
    /// Not acknowledged: there at most once.
    doubtful: Vec<Vec<u8>>,
}

impl Chat {
    fn new(server: &Server) -> Self {
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let mut at_bob = Client::connect(server.mqtt(), &bob, Version::V5, RESUME);
        assert_eq!(at_bob.subscribe("inbox/#"), 1);
        Self { alice, bob, acknowledged: Vec::new(), doubtful: Vec::new() }
    }

    fn at_alice(&self, server: &Server) -> Client {
        Client::connect(server.mqtt(), &self.alice, Version::V5, RESUME)
    }

    /// Publishes up to `count` bodies of this size; false if the server hung up before, or is gone.
    fn send(&mut self, server: &Server, count: usize, bytes: usize) -> bool {
        let Ok(mut alice) = Client::try_open(server.mqtt(), Version::V5, 0) else { return false };
        if !matches!(alice.login(&self.alice, RESUME), Ok((0, _))) {
            return false;
        }
        for _ in 0..count {
            let body = body(self.acknowledged.len(), bytes);
            let id = alice.packet_id();
            let sent = alice.try_send(&alice.publish_bytes(id, false, "to/bob", &body));
            match sent.and_then(|()| alice.try_next(PATIENCE)) {
                Ok(Some(Packet::Puback { packet_id, reason: 0, .. })) if packet_id == id => {
                    self.acknowledged.push(body);
                }
                Ok(Some(Packet::Disconnect { .. })) | Err(_) => {
                    self.doubtful.push(body);
                    return false;
                }
                other => panic!("{other:?}"),
            }
        }
        true
    }

    /// Takes and acknowledges all there is, up to a message that is sent behind it; what comes before an end of the
    /// connection, if that comes first.
    fn received(&self, server: &Server) -> Result<Vec<Vec<u8>>, Vec<Vec<u8>>> {
        const END: &[u8] = b"end";
        let mut alice = self.at_alice(server);
        if alice.try_send(&alice.publish_bytes(60_000, false, "to/bob", END)).is_err() {
            return Err(Vec::new());
        }
        let mut received = Vec::new();
        let mut bob = Client::open(server.mqtt(), Version::V5);
        if bob.login(&self.bob, RESUME).is_err() {
            return Err(received);
        }
        loop {
            match bob.try_next(PATIENCE) {
                Ok(Some(Packet::Publish(publish))) if publish.payload == END => return Ok(received),
                Ok(Some(Packet::Publish(publish))) => {
                    received.push(publish.payload.clone());
                    if bob.try_acknowledge(&publish).is_err() {
                        return Err(received);
                    }
                }
                Ok(Some(Packet::Disconnect { .. })) | Err(_) => return Err(received),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Every acknowledged message is with bob, once and in order, and of the others none twice. Those may stand anywhere.
    fn check(&self, server: &Server) {
        let received = self.received(server).unwrap_or_else(|some| panic!("cut off after {}", some.len()));
        let (mut found, mut doubtful) = (0, self.doubtful.clone());
        for body in &received {
            if self.acknowledged.get(found) == Some(body) {
                found += 1;
                continue;
            }
            let doubted = doubtful.iter().position(|it| it == body);
            doubtful.remove(doubted.unwrap_or_else(|| panic!("another than message {found} of {}", received.len())));
        }
        assert_eq!(found, self.acknowledged.len(), "{} arrive", received.len());
    }
}

/// Bytes that do not compress, different for each number.
fn body(number: usize, bytes: usize) -> Vec<u8> {
    let mut state = number as u64 ^ 0x9E37_79B9_7F4A_7C15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// Waits for the server to end by itself: with this code, having said all of this in one line.
fn ends_saying(server: &mut Server, words: &[&str]) {
    assert_eq!(server.ended(), Some(1));
    server.wait_for_log(words);
}
