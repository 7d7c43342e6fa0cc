//! A bridge leads and others stand by, on Cassandra. Without Cassandra (`GODWIT_TEST_CASSANDRA`, see `make test-cluster`) these
//! tests say so, and pass.

use std::time::{Duration, Instant};

use super::Cluster;
use super::cassandra::Cassandra;
use crate::mqtt::{Client, RESUME, Version};

/// How long clients may have to wait for the next leader.
pub(super) const WITHIN: Duration = Duration::from_secs(10);

/// Alice and bob, at different brokers.
fn chat(cluster: &Cluster) -> (Client, Client) {
    let (alice, bob) = (cluster.add_user("alice", "phone"), cluster.add_user("bob", "phone"));
    let doors = cluster.doors();
    let alice = Client::connect(doors[0], &alice, Version::V5, RESUME);
    let mut bob = Client::connect(doors[1], &bob, Version::V5, RESUME);
    assert_eq!(bob.subscribe("inbox/#"), 1);
    (alice, bob)
}

#[test]
fn a_standby_takes_over_and_no_connection_ends() {
    let Some(cassandra) = Cassandra::of_environment() else { return };
    let mut cluster = Cluster::on(&cassandra, 2, 2, 1);
    let (mut alice, mut bob) = chat(&cluster);
    let leader = cluster.leader();
    let standby = &cluster.bridges[1 - leader];
    let answer = standby.get("/v1/openapi.json").expect("it answers");
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"5".parse().expect("a header")));
    assert_eq!(standby.get("/healthz").expect("it answers").status(), 200);
    let told = standby.run(&["user", "list"]);
    assert!(told.code == Some(1) && told.stderr.contains("standby"), "{}", told.stderr);
    let status = standby.run(&["cluster", "status", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&status.stdout).expect(&status.stderr);
    let states: Vec<_> = told["members"].as_array().expect("members").iter().map(|member| &member["state"]).collect();
    assert!(told["term"] == 1 && states.len() == 2 && states.contains(&&"leading".into()), "{told}");
    assert_eq!(alice.publish("to/bob", b"one"), 0);
    assert_eq!(bob.body(), "one");
    // Killed, ...
    cluster.bridges[leader].process().kill();
    let begun = Instant::now();
    assert_eq!(alice.publish("to/bob", b"two"), 0);
    assert!(begun.elapsed() < WITHIN, "{:?}", begun.elapsed());
    assert_eq!(bob.body(), "two");
    cluster.bridges[leader].start();
    // ... and stopped in good order: then nobody waits for a silence.
    let leader = 1 - leader;
    assert_eq!(cluster.leader(), leader);
    assert_eq!(cluster.bridges[leader].stop(), Some(0));
    assert_eq!(alice.publish("to/bob", b"three"), 0);
    assert_eq!(bob.body(), "three");
    assert_eq!(cluster.leader(), 1 - leader);
}

#[test]
fn a_leader_that_was_frozen_ends_when_it_wakes_up() {
    let Some(cassandra) = Cassandra::of_environment() else { return };
    let mut cluster = Cluster::on(&cassandra, 2, 2, 1);
    let (mut alice, mut bob) = chat(&cluster);
    assert_eq!(alice.publish("to/bob", b"one"), 0);
    let leader = cluster.leader();
    cluster.bridges[leader].process().signal("-STOP");
    assert_eq!(alice.publish("to/bob", b"two"), 0);
    cluster.bridges[leader].process().signal("-CONT");
    assert_eq!(cluster.bridges[leader].ended(), Some(75));
    assert_eq!([bob.body(), bob.body()], ["one", "two"]);
    assert_eq!(alice.publish("to/bob", b"three"), 0);
    assert_eq!(bob.body(), "three");
}
