//! Who wants to break it: slow, many, malformed, greedy. What counts is not how long the attacker has to wait but that two
//! bystanders go on exchanging messages, that new ones get in, and that the server does not grow.
//!
//! `GODWIT_ATTACKS` says how many packets `packets` sends; in every test run it is a few thousand.

mod greedy;
mod memory;
mod packets;
mod slow;

use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Server};

/// Two who are there while somebody attacks.
struct Bystanders {
    alice: Client,
    bob: Client,
    sent: usize,
}

impl Bystanders {
    fn meet(server: &Server) -> Self {
        let [alice, bob] = ["alice", "bob"].map(|user| {
            let account = server.add_user(user, "phone");
            Client::connect(server.mqtt(), &account, Version::V5, RESUME)
        });
        let mut it = Self { alice, bob, sent: 0 };
        assert_eq!(it.bob.subscribe("inbox/#"), 1);
        it.chat();
        it
    }

    /// A message comes through.
    fn chat(&mut self) {
        self.sent += 1;
        let text = format!("message {}", self.sent);
        assert_eq!(self.alice.publish("to/bob", text.as_bytes()), 0);
        assert_eq!(self.bob.body(), text);
    }
}

/// Somebody new gets in.
fn lets_in(server: &Server, account: &Account) {
    Client::connect(server.mqtt(), account, Version::V5, RESUME).settle();
}

/// Numbers that look random, and are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit as u64) as usize
    }
}
