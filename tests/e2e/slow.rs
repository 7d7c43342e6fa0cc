//! Clients that never read or never acknowledge: they cost a bounded amount, others go on as if they were not there,
//! and everything that was sent to them arrives at the next connection that does its part.

use crate::mqtt::{Client, Options, RESUME, VERSIONS, Version};
use crate::server::{Account, Server};
use crate::until;

/// Messages to the slow device, 128 MiB in all.
const MESSAGES: usize = 2_048;
/// So many are under way at once.
const BATCH: usize = 16;
const BODY_BYTES: usize = 64 * 1024;
/// What the server may grow by meanwhile: far less than what it was sent, with room for the store's own buffers.
const GROWTH_KIB: u64 = 80 * 1024;
/// Small tables, so that memory shows what connections cost; and nobody is held back for sending fast, or much.
const TABLES: [(&str, &str); 5] = [
    ("store.memtable_mib", "1"),
    ("store.cache_mib", "1"),
    ("limits.packets_per_s", "0"),
    ("limits.bytes_per_s", "0"),
    ("limits.request_messages", "0"),
];

fn body(number: usize) -> Vec<u8> {
    let mut body = vec![b'x'; BODY_BYTES];
    body[..8].copy_from_slice(&(number as u64).to_be_bytes());
    body
}

fn number(body: &[u8]) -> usize {
    assert_eq!(body.len(), BODY_BYTES);
    u64::from_be_bytes(body[..8].try_into().expect("eight bytes")) as usize
}

/// Sends all messages to bob, while alice and carol go on chatting.
fn flood(server: &Server, alice: &Account, carol: &Account) {
    let mut sender = Client::connect(server.mqtt(), alice, Version::V5, RESUME);
    let mut friend = Client::connect(server.mqtt(), carol, Version::V5, RESUME);
    assert_eq!(friend.subscribe("inbox/#"), 1);
    for first in (0..MESSAGES).step_by(BATCH) {
        let ids: Vec<_> = (first..first + BATCH)
            .map(|number| {
                let id = sender.packet_id();
                sender.send(&sender.publish_bytes(id, false, "to/bob", &body(number)));
                id
            })
            .collect();
        ids.into_iter().for_each(|id| assert_eq!(sender.puback(id).0, 0));
        assert_eq!(sender.publish("to/carol", first.to_string().as_bytes()), 0);
        assert_eq!(friend.body(), first.to_string());
    }
}

/// Everything arrives in order, once, at a device that does its part.
fn everything_arrives(server: &Server, bob: &Account, version: Version) {
    let mut client = Client::connect(server.mqtt(), bob, version, RESUME);
    assert!(client.session_present);
    for expected in 0..MESSAGES {
        assert_eq!(number(&client.receive().payload), expected, "{version:?}");
    }
    client.settle();
    assert!(client.is_idle(), "nothing comes twice");
}

#[test]
fn a_client_that_never_acknowledges_is_given_one_window() {
    for version in VERSIONS {
        let server = Server::with(&[&TABLES[..], &[("limits.window_messages", "5")]].concat());
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
        let mut slow = Client::connect(server.mqtt(), &bob, version, RESUME);
        assert_eq!(slow.subscribe("inbox/#"), 1);
        let before = server.rss_anon_kib();
        flood(&server, &alice, &carol);
        let after = server.rss_anon_kib();
        assert!(after < before + GROWTH_KIB, "{version:?}: grew from {before} to {after} KiB");
        for expected in 0..5 {
            assert_eq!(number(&slow.delivery().payload), expected, "{version:?}");
        }
        slow.settle();
        assert!(slow.is_idle(), "no sixth");
        drop(slow);
        everything_arrives(&server, &bob, version);
    }
}

#[test]
fn a_client_that_never_reads_is_given_up() {
    for version in VERSIONS {
        let limits = [("limits.window_bytes", "67108864"), ("limits.drain_deadline_s", "1")];
        let server = Server::with(&[&TABLES[..], &limits].concat());
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
        let options = Options { socket_bytes: 4_096, ..RESUME };
        let mut deaf = Client::connect(server.mqtt(), &bob, version, options);
        assert_eq!(deaf.subscribe("inbox/#"), 1);
        flood(&server, &alice, &carol);
        // The server hangs up on bytes that it has not read: writing to it fails then.
        until("the server gives up a client that does not read", || deaf.try_send(&[0xC0, 0]).is_err());
        everything_arrives(&server, &bob, version);
    }
}

#[test]
fn a_client_that_only_talks_is_given_up() {
    let server = Server::with(&[&TABLES[..], &[("limits.drain_deadline_s", "1")]].concat());
    let [alice, bob] = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
    let options = Options { socket_bytes: 4_096, ..RESUME };
    let mut talker = Client::connect(server.mqtt(), &alice, Version::V5, options);
    let before = server.rss_anon_kib();
    // Each ping makes an answer that it does not take.
    let pings = [0xC0, 0].repeat(64 * 1024);
    until("the server gives up a client that does not read", || talker.try_send(&pings).is_err());
    assert!(server.rss_anon_kib() < before + GROWTH_KIB);
    Client::connect(server.mqtt(), &bob, Version::V5, RESUME).settle();
}
