//! What the soak of one server shows, of a cluster: its parts are killed or frozen under load, and every acknowledged message is
//! everywhere exactly once and in order. Devices come back at another broker.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::cassandra::{self, Cassandra};
use super::member::Member;
use super::{Cluster, takeover};
use crate::server::Account;
use crate::soak::{Random, Subject, soak};

/// Most that something is frozen for.
const FROZEN_MS_MAX: u64 = 30_000;

#[test]
fn soak_cluster() {
    soak(&mut Alone(Cluster::alone(2, 2)));
}

#[test]
fn soak_takeovers() {
    let Some(cassandra) = Cassandra::of_environment() else { return };
    let cluster = Cluster::on(&cassandra, 2, 3, 3);
    soak(&mut Takeovers { cluster, cassandra });
}

/// A cluster of which one bridge has the store.
struct Alone(Cluster);

impl Subject for Alone {
    fn name(&self) -> &'static str {
        "cluster with one bridge"
    }

    fn doors(&self) -> Vec<SocketAddr> {
        self.0.doors()
    }

    fn strike(&mut self, random: &mut Random) {
        let Self(Cluster { brokers, bridges, nats }) = self;
        match random.below(4) {
            0 => random.one_of(nats).start_again(),
            // The whole bus is gone.
            1 => {
                nats.iter_mut().for_each(|server| server.kill());
                nats.iter_mut().for_each(|server| server.start_again());
            }
            2 => random.one_of(brokers).kill_and_start(),
            _ => random.one_of(bridges).kill_and_start(),
        }
    }

    fn add_user(&self, user: &str, device: &str) -> Account {
        self.0.add_user(user, device)
    }

    fn add_device(&self, user: &str, device: &str) -> Account {
        self.0.add_device(user, device)
    }

    fn stop(&mut self) {
        self.0.stop();
    }
}

/// A cluster of which any part may fail.
struct Takeovers {
    cluster: Cluster,
    cassandra: Cassandra,
}

impl Subject for Takeovers {
    fn name(&self) -> &'static str {
        "cluster with standbys"
    }

    fn doors(&self) -> Vec<SocketAddr> {
        self.cluster.doors()
    }

    /// Cassandra on one machine is slow.
    fn acknowledged_max(&self) -> u64 {
        300
    }

    fn strike(&mut self, random: &mut Random) {
        let frozen_for = Duration::from_millis(random.below(FROZEN_MS_MAX));
        let Self { cluster, cassandra } = self;
        match random.below(8) {
            0 | 1 => {
                let leader = cluster.leader();
                cluster.bridges[leader].process().kill();
                cluster.has_another_leader_than(leader);
                cluster.bridges[leader].start();
            }
            2 | 3 => {
                let leader = cluster.leader();
                let begun = Instant::now();
                cluster.bridges[leader].process().signal("-STOP");
                cluster.has_another_leader_than(leader);
                thread::sleep(frozen_for.saturating_sub(begun.elapsed()));
                cluster.bridges[leader].process().signal("-CONT");
                // It ends by itself, and a supervisor starts it again.
                assert_eq!(cluster.bridges[leader].ended(), Some(75));
                cluster.bridges[leader].start();
            }
            4 => random.one_of(&mut cluster.brokers).kill_and_start(),
            5 => {
                let broker = random.one_of(&mut cluster.brokers);
                broker.process().signal("-STOP");
                thread::sleep(frozen_for / 2);
                broker.process().signal("-CONT");
            }
            6 => {
                let server = random.one_of(&mut cluster.nats);
                server.signal("-STOP");
                thread::sleep(frozen_for / 2);
                server.start_again();
            }
            _ => {
                let node = 1 + random.below(cassandra::COUNT);
                if random.below(2) == 0 {
                    cassandra.tell("kill", node);
                    thread::sleep(frozen_for / 4);
                    cassandra.tell("restart", node);
                } else {
                    cassandra.tell("pause", node);
                    thread::sleep(frozen_for / 2);
                    cassandra.tell("resume", node);
                }
            }
        }
    }

    fn add_user(&self, user: &str, device: &str) -> Account {
        self.cluster.add_user(user, device)
    }

    fn add_device(&self, user: &str, device: &str) -> Account {
        self.cluster.add_device(user, device)
    }

    fn stop(&mut self) {
        self.cluster.stop();
    }
}

impl Cluster {
    /// Waits for a takeover, which must not take longer than it may.
    fn has_another_leader_than(&self, before: usize) {
        let begun = Instant::now();
        let others = || self.bridges.iter().enumerate().filter(|(bridge, _)| *bridge != before);
        while !others().any(|(_, bridge)| bridge.is_ready()) {
            assert!(begun.elapsed() < takeover::WITHIN, "no bridge has taken over within {:?}", takeover::WITHIN);
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(&mut self) {
        for member in self.brokers.iter_mut().chain(&mut self.bridges) {
            assert_eq!(Member::stop(member), Some(0));
        }
    }
}
