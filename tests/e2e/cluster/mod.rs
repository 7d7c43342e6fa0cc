//! Several brokers and bridges that meet on NATS, each a process with a data folder of its own.
//!
//! - `member`: one such process. `soak`: everything is killed under load.

mod member;
mod soak;

use std::net::SocketAddr;

use godwit_test_nats::NatsServer;

use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Ended};
use member::Member;

/// One bridge, with its store in its data folder, behind several brokers. What is dropped first ends first.
#[derive(Debug)]
struct Cluster {
    brokers: Vec<Member>,
    bridges: Vec<Member>,
    nats: Vec<NatsServer>,
}

impl Cluster {
    /// With so many brokers and NATS servers.
    fn start(brokers: usize, nats: usize) -> Self {
        let nats = NatsServer::cluster(nats);
        let urls: Vec<_> = nats.iter().map(NatsServer::url).collect();
        let settings = [("cluster.nats", urls.join(",")), ("store.memtable_mib", "1".to_owned())];
        let start = |role| {
            let mut member = Member::prepare(role, &settings);
            member.start();
            member
        };
        let brokers = (0..brokers).map(|_| start("broker")).collect();
        Self { brokers, bridges: vec![start("bridge")], nats }
    }

    /// Where clients connect.
    fn doors(&self) -> Vec<SocketAddr> {
        self.brokers.iter().map(Member::mqtt).collect()
    }

    fn add(&self, arguments: &[&str]) -> Account {
        let Ended { code, stdout, stderr } = self.bridges[0].run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
        serde_json::from_str(&stdout).expect("an account")
    }

    fn add_user(&self, user: &str, device: &str) -> Account {
        self.add(&["user", "add", user, "--device", device])
    }

    fn add_device(&self, user: &str, device: &str) -> Account {
        self.add(&["device", "add", user, device])
    }
}

#[test]
fn clients_at_different_brokers_chat() {
    let cluster = Cluster::start(2, 1);
    let (alice, bob) = (cluster.add_user("alice", "phone"), cluster.add_user("bob", "phone"));
    let doors = cluster.doors();
    let mut at_alice = Client::connect(doors[0], &alice, Version::V5, RESUME);
    let mut at_bob = Client::connect(doors[1], &bob, Version::V4, RESUME);
    assert_eq!((at_alice.subscribe("inbox/#"), at_bob.subscribe("inbox/#")), (1, 1));
    assert_eq!(at_alice.publish("to/bob", b"hello"), 0);
    assert_eq!(at_bob.body(), "hello");
    assert_eq!(at_bob.publish("to/alice", b"hi"), 0);
    assert_eq!(at_alice.body(), "hi");
    // The later connection of a device counts, also at another broker.
    let mut again = Client::connect(doors[1], &alice, Version::V5, RESUME);
    assert_eq!(at_alice.closed(), Some(0x8E), "taken over");
    assert_eq!(at_bob.publish("to/alice", b"where?"), 0);
    assert_eq!(again.body(), "where?");
}

#[test]
fn a_server_in_one_process_is_not_part_of_a_cluster() {
    let nats = NatsServer::start();
    let mut member = Member::prepare("serve", &[("cluster.nats", nats.url())]);
    let (code, log) = member.try_start().expect_err("refused");
    assert_eq!(code, Some(64));
    assert!(log.contains("cluster.nats: `godwit serve` is a whole server in one process"), "{log}");
    let Ended { code, stderr, .. } = member.run(&["check-config"]);
    assert_eq!(code, Some(0), "brokers and bridges may have these settings: {stderr}");
}

#[test]
fn nats_that_would_lose_batches_is_refused() {
    let nats = NatsServer::with_max_payload("1MB");
    for role in ["broker", "bridge"] {
        let (code, log) = Member::prepare(role, &[("cluster.nats", nats.url())]).try_start().expect_err("refused");
        assert_eq!(code, Some(1));
        assert!(log.contains("takes payloads of at most 1048576 bytes: set `max_payload: 8MB`"), "{log}");
    }
}
