//! Two bystanders: Anna sends to Ben, 200 messages in a second, whether or not earlier ones have arrived.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::PATIENCE;
use crate::mqtt::{Client, Packet, RESUME, Version};
use crate::server::Server;

/// Between two messages.
const PACE: Duration = Duration::from_millis(5);
/// Below the server's Receive Maximum (128): a client that keeps to it waits here.
const UNANSWERED_MAX: usize = 100;

/// Part of a siege.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Before,
    During,
    After,
}

const PHASES: [(Phase, &str); 3] = [(Phase::Before, "before"), (Phase::During, "during"), (Phase::After, "after")];

/// See the module.
pub(super) struct Pair {
    anna: Client,
    ben: Client,
}

/// When a message was due, in which phase, and when it arrived.
struct Sent {
    phase: usize,
    due: Instant,
    arrived: Option<Instant>,
}

#[derive(Default)]
struct Shared {
    phase: AtomicUsize,
    over: AtomicBool,
    messages: Mutex<Vec<Sent>>,
}

/// A chat that is going on.
pub(super) struct Chat<'scope> {
    shared: &'static Shared,
    sender: ScopedJoinHandle<'scope, usize>,
    receiver: ScopedJoinHandle<'scope, ()>,
}

impl Pair {
    pub(super) fn meet(server: &Server) -> Self {
        let [anna, mut ben] = ["anna", "ben"].map(|user| {
            let account = server.add_user(user, "phone");
            Client::connect(server.mqtt(), &account, Version::V5, RESUME)
        });
        assert_eq!(ben.subscribe("inbox/#"), 1);
        Self { anna, ben }
    }

    pub(super) fn start<'scope>(self, scope: &'scope Scope<'scope, '_>) -> Chat<'scope> {
        // One for each siege of a process that ends after it.
        let shared: &'static Shared = Box::leak(Box::default());
        let Self { anna, ben } = self;
        let sender = scope.spawn(move || send(anna, shared));
        let receiver = scope.spawn(move || receive(ben, shared));
        Chat { shared, sender, receiver }
    }
}

impl Chat<'_> {
    pub(super) fn enter(&self, phase: Phase) {
        self.shared.phase.store(phase as usize, Ordering::SeqCst);
    }

    /// All that was sent has arrived.
    pub(super) fn finish(self) -> Report {
        self.shared.over.store(true, Ordering::SeqCst);
        let sent = self.sender.join().expect("every message is stored");
        self.receiver.join().expect("every message arrives");
        let messages = self.shared.messages.lock().expect("no panic");
        assert_eq!(messages.iter().filter(|message| message.arrived.is_some()).count(), sent);
        Report(PHASES.map(|(phase, name)| Line::of(name, &messages, phase as usize)))
    }
}

/// Sends until it is over, and until all is acknowledged; returns how many messages.
fn send(mut anna: Client, shared: &Shared) -> usize {
    let begun = Instant::now();
    let (mut sent, mut unanswered) = (0_usize, 0_usize);
    loop {
        let due = begun + PACE * sent as u32;
        let over = shared.over.load(Ordering::SeqCst);
        if over && unanswered == 0 {
            return sent;
        }
        let waits = over || unanswered >= UNANSWERED_MAX;
        let wait = if waits { PATIENCE } else { due.saturating_duration_since(Instant::now()) };
        if wait > Duration::ZERO {
            match anna.try_next(wait).expect("the connection stays") {
                Some(Packet::Puback { reason, .. }) => {
                    assert_eq!(reason, 0, "stored");
                    unanswered -= 1;
                }
                Some(_) => {}
                None => assert!(!waits, "no PUBACK within {PATIENCE:?}"),
            }
            continue;
        }
        let phase = shared.phase.load(Ordering::SeqCst);
        shared.messages.lock().expect("no panic").push(Sent { phase, due, arrived: None });
        let id = anna.packet_id();
        let publish = anna.publish_bytes(id, false, "to/ben", &(sent as u64).to_be_bytes());
        anna.send(&publish);
        (sent, unanswered) = (sent + 1, unanswered + 1);
    }
}

/// Receives until it is over and nothing is missing. In order, and nothing twice.
fn receive(mut ben: Client, shared: &Shared) {
    let mut next = 0_u64;
    loop {
        let all = next as usize == shared.messages.lock().expect("no panic").len();
        if all && shared.over.load(Ordering::SeqCst) {
            return;
        }
        let packet =
            ben.try_next(if all { Duration::from_millis(20) } else { PATIENCE }).expect("the connection stays");
        match packet {
            Some(Packet::Publish(publish)) => {
                ben.acknowledge(&publish);
                assert_eq!(publish.payload, next.to_be_bytes(), "in order");
                shared.messages.lock().expect("no panic")[next as usize].arrived = Some(Instant::now());
                next += 1;
            }
            Some(_) => {}
            None => assert!(all, "nothing came within {PATIENCE:?}"),
        }
        if all {
            thread::yield_now();
        }
    }
}

/// What the bystanders noticed.
pub(super) struct Report([Line; 3]);

impl Report {
    pub(super) fn longest_silence(&self) -> Duration {
        self.0.iter().map(|line| line.silence).max().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

struct Line {
    name: &'static str,
    messages: usize,
    p50: Duration,
    p99: Duration,
    max: Duration,
    /// Longest time in which nothing arrived.
    silence: Duration,
}

impl Line {
    /// Of messages that were due in this phase. A silence counts where it ends.
    fn of(name: &'static str, messages: &[Sent], phase: usize) -> Self {
        let mut took = Vec::new();
        let mut silence = Duration::ZERO;
        let mut before: Option<Instant> = None;
        for message in messages {
            let Some(arrived) = message.arrived else { continue };
            if message.phase == phase {
                took.push(arrived.saturating_duration_since(message.due));
                silence =
                    silence.max(before.map_or(Duration::ZERO, |before| arrived.saturating_duration_since(before)));
            }
            before = Some(arrived);
        }
        took.sort_unstable();
        let at = |percent: usize| took.get(took.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
        Self { name, messages: took.len(), p50: at(50), p99: at(99), max: at(100), silence }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, messages, .. } = self;
        let [p50, p99, max, silence] =
            [self.p50, self.p99, self.max, self.silence].map(|it| it.as_secs_f64() * 1_000.0);
        write!(
            f,
            "{name:<7} {messages:>6} messages: p50 {p50:>7.1} ms, p99 {p99:>7.1} ms, max {max:>7.1} ms, longest silence \
             {silence:>7.1} ms"
        )
    }
}
