//! Whoever has a credential that is void now is out, also where the word of it got lost: the bridge was killed, the broker
//! stood still, or the thief's own noise drowned it. And when the operator is answered, not later.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use godwit_schemas::client::{ListConversations, Request, request::Call};
use prost::Message as _;
use serde_json::json;

use super::web::post;
use crate::PATIENCE;
use crate::mqtt::{Client, Packet, RESUME, VERSIONS, Version};
use crate::server::{Account, Server};

/// What an operator does against whoever has the password of alice's phone.
#[derive(Debug, Clone, Copy)]
enum Against {
    Renewed,
    DeviceReplaced,
    UserReplaced,
}

impl Against {
    const ALL: [Self; 3] = [Self::Renewed, Self::DeviceReplaced, Self::UserReplaced];

    /// The owner's credentials from here on.
    fn carry_out(self, server: &Server) -> Account {
        let run = |arguments: &[&str]| {
            let ended = server.run(arguments);
            assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
            ended.stdout
        };
        match self {
            Self::Renewed => serde_json::from_str(&run(&["device", "password", "alice", "phone"])).expect("an account"),
            Self::DeviceReplaced => {
                run(&["device", "remove", "alice", "phone"]);
                server.add_device("alice", "phone")
            }
            Self::UserReplaced => {
                run(&["user", "remove", "alice"]);
                server.add_user("alice", "phone")
            }
        }
    }

    fn reason(self) -> u8 {
        if matches!(self, Self::Renewed) { 0x87 } else { 0x98 }
    }
}

/// Whether a message that the thief sent before the operator did anything may count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// No: the bridge had it after the operator's change, if there was one.
    Late,
    /// It and the operator's change raced.
    Raced,
}

/// Waits until the server hangs up: the code of its DISCONNECT, if it sent one. Nothing else may come, but for the
/// acknowledgement of what raced.
fn shut_out(mut thief: Client, before: Before) -> Option<u8> {
    let mut reason = None;
    loop {
        match thief.try_next(PATIENCE) {
            Ok(Some(Packet::Disconnect { reason: code })) => reason = Some(code),
            Ok(Some(Packet::Puback { packet_id: BEFORE, .. })) if before == Before::Raced => (),
            Ok(Some(other)) => panic!("the thief gets {other:?}"),
            Ok(None) => panic!("the thief stays"),
            Err(_) => return reason,
        }
    }
}

/// The thief is closed, and has got and sent nothing; the owner gets in, and what was sent to it meanwhile.
fn is_over(server: &Server, against: Against, thief: Client, before: Before, owner: &Account, bob: &Account) {
    let mut at_bob = Client::connect(server.mqtt(), bob, Version::V5, RESUME);
    assert_eq!(at_bob.subscribe("inbox/#"), 1);
    assert_eq!(at_bob.publish("to/alice", b"for the owner"), 0, "{against:?}");
    assert_eq!(shut_out(thief, before), Some(against.reason()), "{against:?}");
    let mut at_alice = Client::connect(server.mqtt(), owner, Version::V5, RESUME);
    assert_eq!(at_alice.subscribe("inbox/#"), 1);
    assert_eq!(at_alice.body(), "for the owner", "{against:?}");
    assert_eq!(at_alice.publish("to/bob", b"from the owner"), 0);
    let mut body = at_bob.body();
    if before == Before::Raced && body == "stolen before" {
        body = at_bob.body();
    }
    assert_eq!(body, "from the owner", "{against:?}: nothing of the thief's before it");
}

/// The packet identifier of what the thief sends before the operator does anything.
const BEFORE: u16 = 7;

fn thief(server: &Server) -> (Client, Account) {
    let (stolen, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut thief = Client::connect(server.mqtt(), &stolen, Version::V5, RESUME);
    assert_eq!(thief.subscribe("inbox/#"), 1);
    (thief, bob)
}

#[test]
fn a_killed_bridge_forgets_nobody_s_revocation() {
    for against in Against::ALL {
        for frozen in [false, true] {
            let mut server = Server::halves(&[]);
            let (mut thief, bob) = thief(&server);
            server.kill_bridge();
            thief.send(&thief.publish_bytes(BEFORE, false, "to/bob", b"stolen before"));
            thief.settle();
            // With a broker that stands still the bridge cannot have heard of the connection when it is told.
            if frozen {
                server.signal("-STOP");
            }
            server.start_bridge();
            let owner = against.carry_out(&server);
            if frozen {
                server.signal("-CONT");
            }
            let before = if frozen { Before::Late } else { Before::Raced };
            is_over(&server, against, thief, before, &owner, &bob);
        }
    }
}

/// Longer than the bridge waits for it: ten seconds.
#[test]
fn a_broker_that_stood_still_finds_out() {
    for against in Against::ALL {
        let server = Server::halves(&[]);
        let (thief, bob) = thief(&server);
        server.signal("-STOP");
        let begun = Instant::now();
        let owner = against.carry_out(&server);
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_secs(12).saturating_sub(begun.elapsed()));
        server.signal("-CONT");
        is_over(&server, against, thief, Before::Late, &owner, &bob);
    }
}

/// The word that closes its connection may get lost among answers that the thief does not read.
#[test]
fn noise_does_not_help_a_thief() {
    for version in VERSIONS {
        let server = Server::start();
        let (stolen, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let mut thief = Client::connect(server.mqtt(), &stolen, version, RESUME);
        for filter in ["inbox/#", "rpc"] {
            assert_eq!(thief.subscribe(filter), 1);
        }
        let noise = thread::spawn(move || {
            let call = Call::ListConversations(ListConversations::default());
            let request = Request { id: 1, call: Some(call) }.encode_to_vec();
            // QoS 0, which nobody waits for.
            let topic = &b"\0\x03rpc"[..];
            let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
            let body = [topic, properties, &request].concat();
            let packets = [&[0x30, body.len() as u8][..], &body].concat().repeat(500);
            while thief.try_send(&packets).is_ok() {}
            thief
        });
        let mut at_bob = Client::connect(server.mqtt(), &bob, Version::V5, RESUME);
        (0..20).for_each(|_| assert_eq!(at_bob.publish("to/alice", b"meanwhile"), 0));
        let owner = Against::Renewed.carry_out(&server);
        // Its socket is closed under it.
        let thief = noise.join().expect("no panic");
        drop(thief);
        assert_eq!(at_bob.publish("to/alice", b"for the owner"), 0);
        let mut at_alice = Client::connect(server.mqtt(), &owner, version, RESUME);
        while at_alice.body() != "for the owner" {}
    }
}

/// While bob writes to alice as fast as he can, the thief of her password reads along; she is given another one again and
/// again, with which the thief comes back.
fn when_it_is_over(name: &str, server: &Server) {
    const ROUNDS: usize = 30;
    let (mut stolen, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let notice = std::fs::read(server.data().join("admin.json")).expect("admin.json");
    let notice: serde_json::Value = serde_json::from_slice(&notice).expect("JSON");
    let bearer = format!("Bearer {}", notice["token"].as_str().expect("a token"));
    let (said, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut took = Vec::new();
    let mut closed = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut at_bob = Client::connect(server.mqtt(), &bob, Version::V5, RESUME);
            while !done.load(Ordering::Acquire) {
                let number = said.fetch_add(1, Ordering::AcqRel) + 1;
                assert_eq!(at_bob.publish("to/alice", number.to_string().as_bytes()), 0);
            }
        });
        for _ in 0..ROUNDS {
            let mut thief = Client::connect(server.mqtt(), &stolen, Version::V5, RESUME);
            assert_eq!(thief.subscribe("inbox/#"), 1);
            thief.body();
            let reader = scope.spawn(move || {
                let mut last = 0;
                while let Ok(packet) = thief.try_next(PATIENCE) {
                    let Some(Packet::Publish(publish)) = packet else { continue };
                    last = String::from_utf8(publish.payload.clone()).expect("text").parse().expect("a number");
                    _ = thief.try_acknowledge(&publish);
                }
                (Instant::now(), last)
            });
            let begun = Instant::now();
            let path = "/v1/users/alice/devices/phone/password";
            let renewed = post(server, path, &[("authorization", &bearer)], &json!({}));
            let (answered, said_by_then) = (Instant::now(), said.load(Ordering::Acquire));
            assert_eq!(renewed.status, 201);
            stolen = serde_json::from_value(renewed.body).expect("an account");
            let (ended, last) = reader.join().expect("no panic");
            assert!(last <= said_by_then, "{name}: the thief got {last}; {said_by_then} were said when it was over");
            took.push(answered - begun);
            closed.push(ended.saturating_duration_since(answered));
        }
        done.store(true, Ordering::Release);
    });
    [&mut took, &mut closed].into_iter().for_each(|times| times.sort_unstable());
    let of = |times: &[Duration]| format!("{:?}, at most {:?}", times[ROUNDS / 2], times[ROUNDS - 1]);
    show(&format!(
        "{name}: a new password takes {}; the client sees its connection closed {} later",
        of(&took),
        of(&closed)
    ));
}

#[expect(clippy::print_stdout, reason = "what docs/operators/users.md says is measured here")]
fn show(line: &str) {
    println!("{line}");
}

#[test]
fn nothing_that_is_said_after_the_answer_reaches_a_thief() {
    when_it_is_over("one process", &Server::start());
    when_it_is_over("two processes", &Server::halves(&[]));
}
