//! Several brokers and bridges that meet on NATS, each a process with a data folder of its own.
//!
//! - `member`: one such process. `cassandra`: where the store of several bridges is.
//! - `takeover`: a bridge leads, and others stand by. `soak`: everything is killed under load.

mod cassandra;
mod member;
mod soak;
mod takeover;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use godwit_test_nats::NatsServer;

use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Ended};
use crate::until;
use cassandra::Cassandra;
use member::Member;

/// How long three nodes on one busy machine may take to agree on new tables.
const TABLES_WITHIN: Duration = Duration::from_secs(120);

/// Brokers, bridges and NATS servers. What is named first ends first.
#[derive(Debug)]
struct Cluster {
    brokers: Vec<Member>,
    bridges: Vec<Member>,
    nats: Vec<NatsServer>,
}

impl Cluster {
    /// One bridge, with its store in its data folder.
    fn alone(brokers: usize, nats: usize) -> Self {
        Self::with(brokers, 1, nats, &[("store.memtable_mib", "1".to_owned())])
    }

    /// Bridges with their store on Cassandra, one of which leads already.
    fn on(_: &Cassandra, brokers: usize, bridges: usize, nats: usize) -> Self {
        let cluster = Self::with(brokers, bridges, nats, &Cassandra::settings());
        // To make the tables may take longer than anything else.
        let begun = Instant::now();
        while !cluster.bridges.iter().any(Member::is_ready) {
            assert!(begun.elapsed() < TABLES_WITHIN, "no bridge leads");
        }
        cluster
    }

    fn with(brokers: usize, bridges: usize, nats: usize, settings: &[(&str, String)]) -> Self {
        let nats = NatsServer::cluster(nats);
        let urls: Vec<_> = nats.iter().map(NatsServer::url).collect();
        let settings = [&[("cluster.nats", urls.join(","))], settings].concat();
        let start = |role, count| {
            let mut members: Vec<_> = (0..count).map(|_| Member::prepare(role, &settings)).collect();
            members.iter_mut().for_each(Member::start);
            members
        };
        Self { brokers: start("broker", brokers), bridges: start("bridge", bridges), nats }
    }

    /// Where clients connect.
    fn doors(&self) -> Vec<SocketAddr> {
        self.brokers.iter().map(Member::mqtt).collect()
    }

    /// Which bridge leads. Waits until one does.
    fn leader(&self) -> usize {
        let mut leader = None;
        until("a bridge leads", || {
            leader = self.bridges.iter().position(Member::is_ready);
            leader.is_some()
        });
        leader.expect("it was found")
    }

    fn add(&self, arguments: &[&str]) -> Account {
        let Ended { code, stdout, stderr } = self.bridges[self.leader()].run(arguments);
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
    let cluster = Cluster::alone(2, 1);
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
    // The acknowledgement of "hi" may have come by the other broker after this connection, which is given it again then.
    let next = std::iter::repeat_with(|| again.body()).find(|body| body != "hi");
    assert_eq!(next.as_deref(), Some("where?"));
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
