//! The headline, tried hard: a server under load is killed with SIGKILL, again and again on the same data: at random
//! moments, at named ones (`godwit_store::crash`), and while it starts; then every acknowledged message is everywhere exactly once and in order, and no other more than once.
//!
//! Six users with two devices each talk in six direct conversations and one group. Half of the senders retry as plain
//! MQTT clients do, with DUP; half count their messages (`client_sequence`). Some messages are given up after a crash,
//! as by an app that was closed. Half of the devices read raw bodies over MQTT 5, half read events over 3.1.1.
//!
//! Once it is `godwit serve` that is killed, once the bridge behind a broker: there no connection may end; and once the
//! broker before a bridge.
//!
//! One round of 20 kills of each belongs to every test run. `make soak` goes on with rounds, on the same data, until
//! `GODWIT_SOAK_KILLS` have been killed in all. `GODWIT_SOAK_SEED` repeats the choices of a run; moments still differ.

mod device;
mod record;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use godwit_schemas::client::{CreateGroup, Request, Response, request::Call};
use prost::Message as _;

use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Half, Server};
use crate::{PATIENCE, until};
use device::Device;
use record::Record;

const USERS: usize = 6;
const KILLS_PER_ROUND: u32 = 20;
/// Small tables, so that they are written and compacted often.
const SETTINGS: &[(&str, &str)] = &[("store.memtable_mib", "1")];
/// Named points, and the most passings before the last.
const POINTS: [(&str, u64); 4] = [("before-commit", 300), ("after-commit", 300), ("replay", 20), ("compaction", 50)];

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
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    pub(crate) fn one_of<'a, T>(&mut self, these: &'a mut [T]) -> &'a mut T {
        let which = self.below(these.len() as u64);
        &mut these[which as usize]
    }
}

pub(crate) fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// What devices talk through while parts of it are killed.
pub(crate) trait Subject {
    /// For the log.
    fn name(&self) -> &'static str;
    /// Where devices connect.
    fn doors(&self) -> Vec<SocketAddr>;
    /// Most acknowledgements between a start and the next strike.
    fn acknowledged_max(&self) -> u64 {
        1_500
    }
    /// Kills a part, and starts it again.
    fn strike(&mut self, random: &mut Random);
    /// `godwit user add`
    fn add_user(&self, user: &str, device: &str) -> Account;
    /// `godwit device add`
    fn add_device(&self, user: &str, device: &str) -> Account;
    /// Ends it in good order.
    fn stop(&mut self);
}

/// A server of which one half is killed.
struct Victim {
    name: &'static str,
    server: Server,
    half: Half,
    /// Has points at which it can die by itself.
    has_points: bool,
}

/// How many soaks share the kills of `make soak`.
const SOAKS: u64 = 3;

#[test]
fn soak_server() {
    let server = Server::with(SETTINGS);
    soak(&mut Victim { name: "server", server, half: Half::Doors, has_points: true });
}

#[test]
fn soak_bridge() {
    let server = Server::halves(SETTINGS);
    let devices = soak(&mut Victim { name: "bridge", server, half: Half::Memory, has_points: true });
    devices.iter().for_each(|device| device.has_stayed_connected());
}

#[test]
fn soak_broker() {
    let server = Server::halves(SETTINGS);
    soak(&mut Victim { name: "broker", server, half: Half::Doors, has_points: false });
}

impl Subject for Victim {
    fn name(&self) -> &'static str {
        self.name
    }

    fn doors(&self) -> Vec<SocketAddr> {
        vec![self.server.mqtt()]
    }

    /// Kills it in one of three ways.
    fn strike(&mut self, random: &mut Random) {
        let Self { server, half, .. } = self;
        server.kill_half(*half);
        match random.below(4) {
            0 => {
                let moment = Duration::from_micros(random.below(100_000));
                server.stumble(*half, None, moment);
            }
            1 if self.has_points => {
                let (point, most) = POINTS[random.below(POINTS.len() as u64) as usize];
                let point = format!("{point}:{}", 1 + random.below(most));
                // Nobody may be behind enough for a replay, nor the tables due to be compacted.
                server.stumble(*half, Some(&point), Duration::from_secs(1));
            }
            _ => {}
        }
        server.start_half(*half);
    }

    fn add_user(&self, user: &str, device: &str) -> Account {
        self.server.add_user(user, device)
    }

    fn add_device(&self, user: &str, device: &str) -> Account {
        self.server.add_device(user, device)
    }

    fn stop(&mut self) {
        assert_eq!(self.server.stop(), Some(0));
    }
}

/// Rounds of kills, each followed by a look at everything.
#[expect(clippy::print_stdout, reason = "the seed, and the progress of `make soak`")]
pub(crate) fn soak(subject: &mut impl Subject) -> Vec<Device> {
    let what = subject.name();
    let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
    let seed = variable("GODWIT_SOAK_SEED").unwrap_or(time);
    println!("soak of the {what}: GODWIT_SOAK_SEED={seed}");
    let kills = variable("GODWIT_SOAK_KILLS").unwrap_or(0).div_ceil(SOAKS);
    let mut random = Random(seed);
    let mut devices = devices(subject, &mut random);
    let mut before = BTreeMap::new();
    for round in 1.. {
        let begun = Instant::now();
        let record = run_round(subject, &mut devices, round, &mut random, before);
        before = record.check();
        let (took, summary) = (begun.elapsed(), record.summary());
        println!("soak of the {what}: round {round}, {KILLS_PER_ROUND} kills in {took:.1?}: {summary}");
        if u64::from(round * KILLS_PER_ROUND) >= kills {
            break;
        }
    }
    subject.stop();
    devices
}

/// The users with their devices, and the group of them all.
fn devices(subject: &impl Subject, random: &mut Random) -> Vec<Device> {
    let name = |user: usize| format!("u{user}");
    let phones: Vec<_> = (0..USERS).map(|user| subject.add_user(&name(user), "phone")).collect();
    let tablets: Vec<_> = (0..USERS).map(|user| subject.add_device(&name(user), "tablet")).collect();
    let group = make_group(subject.doors()[0], &phones);
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

fn make_group(door: SocketAddr, phones: &[Account]) -> u64 {
    let users = phones[1..].iter().map(|phone| phone.user.clone()).collect();
    let call = Call::CreateGroup(CreateGroup { title: "everybody".to_owned(), users });
    let mut owner = Client::connect(door, &phones[0], Version::V5, RESUME);
    assert_eq!(owner.subscribe("rpc"), 1);
    assert_eq!(owner.publish("rpc", &Request { id: 1, call: Some(call) }.encode_to_vec()), 0);
    let response = Response::decode(&owner.receive().payload[..]).expect("a Response");
    assert_eq!((response.id, response.reason), (1, 0));
    response.conversation
}

/// Kills parts, lets everybody finish, and returns what was sent and received.
fn run_round(
    subject: &mut impl Subject,
    devices: &mut [Device],
    round: u32,
    random: &mut Random,
    before: BTreeMap<u64, u64>,
) -> Record {
    let shared = Shared { record: Mutex::new(Record::after(before)), ..Shared::default() };
    let doors = &subject.doors()[..];
    thread::scope(|scope| {
        let ending = Ending(&shared);
        for device in devices {
            let shared = &shared;
            scope.spawn(move || device.run(doors, round, shared));
        }
        for _ in 0..KILLS_PER_ROUND {
            // From "before anybody is back" to "in full swing".
            let enough = shared.acknowledged.load(Ordering::Relaxed) + random.below(subject.acknowledged_max());
            until("messages are acknowledged", || shared.acknowledged.load(Ordering::Relaxed) >= enough);
            thread::sleep(Duration::from_micros(random.below(20_000)));
            subject.strike(random);
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
