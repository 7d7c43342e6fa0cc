//! The headline, tried hard: a server under load is killed with SIGKILL at random moments, again and again on the same
//! data; then every acknowledged message is everywhere exactly once and in order, and no other more than once.
//!
//! Six users with two devices each talk in six direct conversations and one group. Half of the senders retry as plain
//! MQTT clients do, with DUP; half count their messages (`client_sequence`). Some messages are given up after a crash,
//! as by an app that was closed. Half of the devices read raw bodies over MQTT 5, half read events over 3.1.1.
//!
//! Once it is `godwit serve` that is killed, once the bridge behind a broker: there no connection may end.
//!
//! One round of 20 kills of each belongs to every test run. `make soak` goes on with rounds, on the same data, for
//! `GODWIT_SOAK_S` seconds. `GODWIT_SOAK_SEED` repeats the choices of a run; moments still differ.

mod device;
mod record;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use godwit_schemas::client::{CreateGroup, Request, Response, request::Call};
use prost::Message as _;

use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Server};
use crate::{PATIENCE, until};
use device::Device;
use record::Record;

const USERS: usize = 6;
const KILLS_PER_ROUND: u32 = 20;
/// Most acknowledgements between a start and the next kill.
const ACKNOWLEDGED_MAX: u64 = 1_500;

/// What the devices of a round and the test share.
#[derive(Debug, Default)]
struct Shared {
    record: Mutex<Record>,
    /// No new messages; those under way are brought to an end.
    draining: AtomicBool,
    /// Everybody goes home.
    over: AtomicBool,
    acknowledged: AtomicU64,
    /// Publishes without their PUBACK, on all devices.
    pending: AtomicU64,
}

/// Ends the round also when the test fails: its threads are waited for.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// SplitMix64.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn soak_server() {
    soak("server", Server::start(), Server::kill_and_start);
}

#[test]
fn soak_bridge() {
    let devices = soak("bridge", Server::halves(&[]), |server| {
        server.kill_bridge();
        server.start_bridge();
    });
    devices.iter().for_each(|device| device.has_stayed_connected());
}

#[expect(clippy::print_stdout, reason = "the seed, and the progress of `make soak`")]
fn soak(what: &str, mut server: Server, kill: fn(&mut Server)) -> Vec<Device> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
    let seed = variable("GODWIT_SOAK_SEED").unwrap_or(time);
    println!("soak of the {what}: GODWIT_SOAK_SEED={seed}");
    let end = Instant::now() + Duration::from_secs(variable("GODWIT_SOAK_S").unwrap_or(0));
    let mut random = Random(seed);
    let mut devices = devices(&server, &mut random);
    let mut before = BTreeMap::new();
    for round in 1.. {
        let begun = Instant::now();
        let record = run_round(&mut server, kill, &mut devices, round, &mut random, before);
        before = record.check();
        let (took, summary) = (begun.elapsed(), record.summary());
        println!("soak of the {what}: round {round}, {KILLS_PER_ROUND} kills in {took:.1?}: {summary}");
        if Instant::now() >= end {
            break;
        }
    }
    assert_eq!(server.stop(), Some(0));
    devices
}

/// The users with their devices, and the group of them all.
fn devices(server: &Server, random: &mut Random) -> Vec<Device> {
    let name = |user: usize| format!("u{user}");
    let phones: Vec<_> = (0..USERS).map(|user| server.add_user(&name(user), "phone")).collect();
    let tablets: Vec<_> = (0..USERS).map(|user| server.add_device(&name(user), "tablet")).collect();
    let group = make_group(server, &phones);
    let mut devices = Vec::new();
    for (user, (phone, tablet)) in phones.into_iter().zip(tablets).enumerate() {
        let random = Random(random.below(u64::MAX));
        devices.push(Device::new(tablet, version(user + 1), None, random.clone()));
        devices.push(Device::new(phone, version(user), Some((name((user + 1) % USERS), group)), random));
    }
    devices
}

fn version(number: usize) -> Version {
    if number.is_multiple_of(2) { Version::V5 } else { Version::V4 }
}

fn make_group(server: &Server, phones: &[Account]) -> u64 {
    let users = phones[1..].iter().map(|phone| phone.user.clone()).collect();
    let call = Call::CreateGroup(CreateGroup { title: "everybody".to_owned(), users });
    let mut owner = Client::connect(server.mqtt(), &phones[0], Version::V5, RESUME);
    assert_eq!(owner.subscribe("rpc"), 1);
    assert_eq!(owner.publish("rpc", &Request { id: 1, call: Some(call) }.encode_to_vec()), 0);
    let response = Response::decode(&owner.receive().payload[..]).expect("a Response");
    assert_eq!((response.id, response.reason), (1, 0));
    response.conversation
}

/// Kills the server, lets everybody finish, and returns what was sent and received.
fn run_round(
    server: &mut Server,
    kill: fn(&mut Server),
    devices: &mut [Device],
    round: u32,
    random: &mut Random,
    before: BTreeMap<u64, u64>,
) -> Record {
    let shared = Shared { record: Mutex::new(Record::after(before)), ..Shared::default() };
    let address = server.mqtt();
    thread::scope(|scope| {
        let ending = Ending(&shared);
        for device in devices {
            let shared = &shared;
            scope.spawn(move || device.run(address, round, shared));
        }
        for _ in 0..KILLS_PER_ROUND {
            // From "before anybody is back" to "in full swing".
            let enough = shared.acknowledged.load(Ordering::Relaxed) + random.below(ACKNOWLEDGED_MAX);
            until("messages are acknowledged", || shared.acknowledged.load(Ordering::Relaxed) >= enough);
            thread::sleep(Duration::from_micros(random.below(20_000)));
            kill(server);
        }
        shared.draining.store(true, Ordering::Relaxed);
        until("what is under way is acknowledged", || shared.pending.load(Ordering::Relaxed) == 0);
        everything_is_everywhere(&shared);
        drop(ending);
    });
    shared.record.into_inner().expect("no panic")
}

/// Waits for it; a failure says what is not where.
fn everything_is_everywhere(shared: &Shared) {
    let begun = Instant::now();
    loop {
        let record = shared.record.lock().expect("no panic");
        if record.is_complete() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", record.shortfall());
        drop(record);
        thread::sleep(Duration::from_millis(50));
    }
}
