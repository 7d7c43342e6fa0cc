//! P1, P2 and P3 across a SIGKILL at a named moment (see `godwit_store::crash`): after the next start every
//! acknowledged message arrives, in order, and no message is two. (Kills in full swing, at these moments and at any
//! other, are in the soak.)

use std::time::{Duration, SystemTime};

use godwit_schemas::client::{Send, send::To};
use prost::Message as _;

use crate::mqtt::{Client, Packet, RESUME, VERSIONS, Version};
use crate::server::{Account, Server};
use crate::{PATIENCE, until};

/// Publishes from alice to bob, and what of it arrived.
struct Chat {
    server: Server,
    alice: Account,
    bob: Account,
    sent: Vec<String>,
    /// Sequence and body, as bob's app keeps them.
    received: Vec<(u64, String)>,
}

impl Chat {
    fn new() -> Self {
        let server = Server::with(&[("store.memtable_mib", "1")]);
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        Client::connect(server.mqtt(), &bob, Version::V5, RESUME).subscribe("inbox/#");
        Self { server, alice, bob, sent: Vec::new(), received: Vec::new() }
    }

    fn at_alice(&self) -> Client {
        Client::connect(self.server.mqtt(), &self.alice, Version::V5, RESUME)
    }

    /// Acknowledged messages that wait for bob.
    fn send(&mut self, count: usize) {
        let mut alice = self.at_alice();
        for _ in 0..count {
            let body = format!("message {}", self.sent.len());
            assert_eq!(alice.publish("to/bob", body.as_bytes()), 0);
            self.sent.push(body);
        }
    }

    /// Acknowledged messages that nobody will get.
    fn send_brief(&self, count: usize) {
        let mut alice = self.at_alice();
        for number in 1..=count {
            let to = Some(To::User("bob".to_owned()));
            let body = format!("brief {number}").into();
            let send = Send { to, body, expires_in_s: 1, ..Send::default() };
            assert_eq!(alice.publish("send", &send.encode_to_vec()), 0);
        }
    }

    /// Bob comes, takes and acknowledges what there is until the server dies or everything is there.
    fn receive(&mut self) {
        let mut bob = Client::open(self.server.mqtt(), Version::V5);
        // It may die so early that CONNACK has not left.
        let Ok((0, true)) = bob.login(&self.bob, RESUME) else { return };
        while self.received.len() < self.sent.len() {
            let Ok(packet) = bob.try_next(PATIENCE) else { return };
            let Some(Packet::Publish(publish)) = packet else { panic!("not a message: {packet:?}") };
            // Acknowledged just before a crash, it may come again.
            if self.received.last().is_none_or(|(last, _)| publish.seq > *last) {
                let body = String::from_utf8(publish.payload.clone()).expect("text");
                self.received.push((publish.seq, body));
            }
            if bob.try_acknowledge(&publish).is_err() {
                return;
            }
        }
    }

    /// Everything is with bob, once and in order, and nothing comes behind it.
    fn check(mut self) {
        self.send(1);
        self.receive();
        let bodies: Vec<_> = self.received.into_iter().map(|(_, body)| body).collect();
        assert_eq!(bodies, self.sent);
    }
}

/// Alice publishes `before` messages, and one at which the server dies; then she does as a client does.
fn dies_in_a_commit(point: &str, is_stored: bool) {
    for version in VERSIONS {
        // Beyond what connecting writes.
        for nth in [5, 12] {
            let mut chat = Chat::new();
            chat.server.kill();
            chat.server.start_armed(&format!("{point}:{nth}"));
            let mut alice = Client::connect(chat.server.mqtt(), &chat.alice, version, RESUME);
            let mut id = 0;
            // How many commits a message takes is not said anywhere.
            let lost = loop {
                id += 1;
                let body = format!("message {id}");
                let sent = alice.try_send(&alice.publish_bytes(id, false, "to/bob", body.as_bytes()));
                match sent.and_then(|()| alice.try_next(PATIENCE)) {
                    Ok(Some(Packet::Puback { reason: 0, .. })) => chat.sent.push(body),
                    Err(_) => break body,
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(chat.server.ended(), None, "killed");
            chat.server.start_again();
            if is_stored {
                // Not acknowledged, and there all the same: at most once, also when it is tried again.
                let mut alice = Client::connect(chat.server.mqtt(), &chat.alice, version, RESUME);
                alice.send(&alice.publish_bytes(id, true, "to/bob", lost.as_bytes()));
                assert_eq!(alice.puback(id).0, 0);
                chat.sent.push(lost);
            }
            chat.check();
        }
    }
}

#[test]
fn killed_before_a_commit_nothing_was_acknowledged_and_nothing_is_there() {
    dies_in_a_commit("before-commit", false);
}

#[test]
fn killed_between_commit_and_puback_a_retry_takes_no_second_effect() {
    dies_in_a_commit("after-commit", true);
}

#[test]
fn killed_in_the_middle_of_a_replay_it_goes_on_where_it_was() {
    let mut chat = Chat::new();
    chat.send(600);
    for nth in [1, 300, 2] {
        chat.server.kill();
        chat.server.start_armed(&format!("replay:{nth}"));
        let before = chat.received.len();
        chat.receive();
        assert_eq!(chat.server.ended(), None, "killed");
        // More than a window of 256 lies before the 300th; of what was read with it nothing went out.
        assert_eq!(chat.received.len() > before, nth > 256);
        chat.server.start_again();
    }
    chat.check();
}

/// Four files of what waits are what RocksDB compacts; each start after a kill writes one. Two devices wait: files that
/// are not of the same span of keys would only be moved.
fn dies_in_compaction(point: &str) {
    for nth in [1, 60] {
        let mut chat = Chat::new();
        chat.server.add_device("bob", "tablet");
        for _ in 0..4 {
            chat.send(20);
            chat.send_brief(20);
            chat.server.kill();
            if chat.sent.len() < 80 {
                chat.server.start_again();
            }
        }
        let expired = SystemTime::now() + Duration::from_secs(2);
        until("the brief ones expire", || SystemTime::now() > expired);
        chat.server.start_and_die(&format!("{point}:{nth}"));
        chat.server.start_again();
        chat.check();
    }
}

#[test]
fn killed_in_a_compaction() {
    dies_in_compaction("compaction");
}

#[test]
fn killed_while_expired_entries_are_dropped() {
    dies_in_compaction("expiry");
}

#[test]
fn killed_while_it_stops() {
    let mut chat = Chat::new();
    chat.server.kill();
    chat.server.start_armed("shutdown");
    chat.send(20);
    assert_eq!(chat.server.stop(), None, "killed");
    chat.server.start_again();
    chat.check();
}
