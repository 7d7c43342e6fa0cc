//! Who wants to break it: slow, many, malformed, greedy, guessing. What counts is not how long the attacker has to wait but
//! that two bystanders go on exchanging messages, that new ones get in, and that the server does not grow.
//!
//! How long the bystanders' messages took is told, before and meanwhile (`make attack`, or `--nocapture`); it decides no
//! test. `GODWIT_ATTACKS` says how many packets `packets` sends and how many calls `calls` makes, `GODWIT_SLOW` how many
//! connections `slow` has; in every test run it is a few thousand and a thousand.

mod calls;
mod greedy;
mod guesses;
mod memory;
mod names;
mod packets;
mod slow;
mod strangers;
mod tokens;

use std::thread;
use std::time::{Duration, Instant};

use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Server};

/// Messages before the attack, for comparison.
const BEFORE: usize = 50;
/// Messages of one chat.
const CHAT: usize = 20;

/// Two who are there while somebody attacks.
struct Bystanders {
    alice: Client,
    bob: Client,
    sent: usize,
    /// How long each message took from Alice until Bob had it, and Alice knew that it was stored.
    before: Vec<Duration>,
    meanwhile: Vec<Duration>,
}

impl Bystanders {
    fn meet(server: &Server) -> Self {
        let [alice, bob] = ["alice", "bob"].map(|user| {
            let account = server.add_user(user, "phone");
            Client::connect(server.mqtt(), &account, Version::V5, RESUME)
        });
        let mut it = Self { alice, bob, sent: 0, before: Vec::new(), meanwhile: Vec::new() };
        assert_eq!(it.bob.subscribe("inbox/#"), 1);
        (0..BEFORE).for_each(|_| it.exchange());
        it.before = std::mem::take(&mut it.meanwhile);
        it
    }

    /// Messages come through.
    fn chat(&mut self) {
        (0..CHAT).for_each(|_| self.exchange());
    }

    fn exchange(&mut self) {
        self.sent += 1;
        let text = format!("message {}", self.sent);
        let begun = Instant::now();
        assert_eq!(self.alice.publish("to/bob", text.as_bytes()), 0);
        assert_eq!(self.bob.body(), text);
        self.meanwhile.push(begun.elapsed());
    }

    /// They chat as long as the attack lasts.
    fn go_on_during<T: Send>(&mut self, attack: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let attack = scope.spawn(attack);
            while !attack.is_finished() {
                self.exchange();
            }
            self.exchange();
            attack.join().expect("the attack went as it should")
        })
    }
}

impl Drop for Bystanders {
    #[expect(clippy::print_stdout, reason = "what `make attack` is for")]
    fn drop(&mut self) {
        println!(
            "  bystanders' messages before: {}; meanwhile: {}",
            spread(&mut self.before),
            spread(&mut self.meanwhile)
        );
    }
}

/// How long things took: the middle, the slowest in a hundred, and the slowest.
fn spread(took: &mut [Duration]) -> String {
    took.sort_unstable();
    let Some(last) = took.len().checked_sub(1) else { return "none".to_owned() };
    let [p50, p99, max] = [last / 2, last * 99 / 100, last].map(|at| took[at].as_secs_f64() * 1_000.0);
    format!("{} with p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms", last + 1)
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
