//! What the soak of one server shows, of a cluster: NATS servers, brokers and the bridge are killed under load, and every
//! acknowledged message is everywhere exactly once and in order. Devices come back at another broker.

use std::net::SocketAddr;

use super::Cluster;
use crate::server::Account;
use crate::soak::{Random, Subject, soak};

#[test]
fn soak_cluster() {
    soak(&mut Cluster::start(2, 2));
}

impl Subject for Cluster {
    fn name(&self) -> &'static str {
        "cluster"
    }

    fn doors(&self) -> Vec<SocketAddr> {
        self.doors()
    }

    fn strike(&mut self, random: &mut Random) {
        match random.below(4) {
            0 => random.one_of(&mut self.nats).start_again(),
            // The whole bus is gone.
            1 => {
                self.nats.iter_mut().for_each(|server| server.kill());
                self.nats.iter_mut().for_each(|server| server.start_again());
            }
            2 => random.one_of(&mut self.brokers).kill_and_start(),
            _ => self.bridges[0].kill_and_start(),
        }
    }

    fn add_user(&self, user: &str, device: &str) -> Account {
        self.add_user(user, device)
    }

    fn add_device(&self, user: &str, device: &str) -> Account {
        self.add_device(user, device)
    }

    fn stop(&mut self) {
        for member in self.brokers.iter_mut().chain(&mut self.bridges) {
            assert_eq!(member.stop(), Some(0));
        }
    }
}
