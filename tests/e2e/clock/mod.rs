//! P2 when somebody sets the wall clock: nothing that was acknowledged is lost by it, and ages stay right. The clock of the
//! server's process alone is set while it runs, by a library that is preloaded (`ahead.c`); its steady clock is left alone.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use godwit_schemas::client::{self, Send, event, send::To};
use prost::Message as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::identity::issuer::{Issuer, now_s};
use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Server};
use crate::until;

const FORTY_DAYS_S: i64 = 40 * 24 * 3_600;
/// Before 1980.
const NOT_SET_S: i64 = -50 * 365 * 24 * 3_600;

/// The wall clock of a server.
pub(crate) struct Clock {
    folder: TempDir,
}

impl Clock {
    pub(crate) fn ahead_by(seconds: i64) -> Self {
        let it = Self { folder: tempfile::tempdir().expect("a folder") };
        it.set(seconds);
        it
    }

    /// From now on it is so far ahead.
    fn set(&self, seconds: i64) {
        // It is read again and again: never half of it.
        let (new, file) = (self.folder.path().join("new"), self.file());
        fs::write(&new, seconds.to_string()).and_then(|()| fs::rename(&new, &file)).expect("written");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }

    fn server(&self, settings: &[(&str, &str)]) -> Server {
        let mut server = Server::prepare("serve", settings);
        server.set_variables(&self.environment());
        server.start_again();
        server
    }

    /// What sets the clock of a server.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.to_str().expect("text").to_owned();
        [("LD_PRELOAD", text(self.library())), ("GODWIT_TEST_CLOCK", text(self.file()))]
    }

    /// What sets the clock of whoever it is loaded into.
    fn library(&self) -> PathBuf {
        let library = self.folder.path().join("ahead.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/clock/ahead.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
        assert!(compiled.is_ok_and(|status| status.success()), "it compiles");
        library
    }
}

/// Alice writes to Bob, who has several devices.
struct Chat {
    clock: Clock,
    server: Server,
    alice: Account,
    bobs: Vec<Account>,
}

impl Chat {
    fn new(ahead_s: i64, settings: &[(&str, &str)]) -> Self {
        let clock = Clock::ahead_by(ahead_s);
        let server = clock.server(settings);
        let alice = server.add_user("alice", "phone");
        let mut bobs = vec![server.add_user("bob", "one")];
        bobs.extend(["two", "three"].map(|name| server.add_device("bob", name)));
        let it = Self { clock, server, alice, bobs };
        for bob in 0..it.bobs.len() {
            it.at(&it.bobs[bob]).subscribe("inbox");
        }
        it
    }

    fn at(&self, account: &Account) -> Client {
        Client::connect(self.server.mqtt(), account, Version::V5, RESUME)
    }

    fn send(&self, body: &str, expires_in_s: u32) {
        let to = Some(To::User("bob".to_owned()));
        let send = Send { to, body: body.to_owned().into(), expires_in_s, ..Send::default() };
        assert_eq!(self.at(&self.alice).publish("send", &send.encode_to_vec()), 0, "{body}");
    }

    /// Bodies that this device of Bob's is given up to `last`, and how old they are.
    fn fetch(&self, bob: usize, last: &str) -> Vec<(String, u64)> {
        let mut client = self.at(&self.bobs[bob]);
        let mut fetched = Vec::new();
        while fetched.last().is_none_or(|(body, _)| body != last) {
            let event = client::Event::decode(&client.receive().payload[..]).expect("an Event").event;
            if let Some(event::Event::Message(message)) = event {
                fetched.push((String::from_utf8(message.body.into()).expect("text"), message.age_s));
            }
        }
        client.settle();
        fetched
    }

    fn set_clock(&self, seconds: i64, words: &str) {
        self.clock.set(seconds);
        self.server.wait_for_log(&[words]);
    }
}

const LEAPT: &str = "the wall clock has leapt";
const IS_BACK: &str = "where it was before its leap";
const STAYS: &str = "stays where it has leapt to";

fn bodies(fetched: &[(String, u64)]) -> Vec<&str> {
    for (body, age_s) in fetched {
        assert!(*age_s < 600, "{body} is {age_s} s old");
    }
    fetched.iter().map(|(body, _)| &body[..]).collect()
}

#[test]
fn forty_days_forward_for_a_moment_and_nothing_is_lost() {
    let mut chat = Chat::new(0, &[("retention.history", "30")]);
    chat.send("before", 0);
    chat.send("for an hour", 3_600);
    chat.set_clock(FORTY_DAYS_S, LEAPT);
    chat.send("meanwhile", 0);
    assert_eq!(bodies(&chat.fetch(0, "meanwhile")), ["before", "for an hour", "meanwhile"]);
    // What a start makes of it: tables are compacted, and the server was not off for forty days.
    chat.server.kill_and_start();
    chat.set_clock(0, IS_BACK);
    assert_eq!(bodies(&chat.fetch(1, "meanwhile")), ["before", "for an hour", "meanwhile"]);
    chat.server.kill_and_start();
    chat.send("after", 0);
    assert_eq!(bodies(&chat.fetch(2, "after")), ["before", "for an hour", "meanwhile", "after"]);
}

#[test]
fn what_has_its_time_expires_whatever_the_clock_says() {
    for ahead_s in [FORTY_DAYS_S, -FORTY_DAYS_S] {
        let chat = Chat::new(0, &[]);
        chat.set_clock(ahead_s, LEAPT);
        chat.send("brief", 1);
        chat.send("lasting", 0);
        let sent = Instant::now();
        until("its life is over, by a clock that nobody sets", || sent.elapsed() > Duration::from_secs(3));
        assert_eq!(bodies(&chat.fetch(0, "lasting")), ["lasting"], "{ahead_s}");
    }
}

#[test]
fn a_clock_that_stays_where_it_was_set_to_makes_nothing_older() {
    let mut chat = Chat::new(0, &[("clock.leap_hold_s", "1")]);
    chat.send("before", 0);
    chat.set_clock(FORTY_DAYS_S, STAYS);
    assert_eq!(bodies(&chat.fetch(0, "before")), ["before"]);
    assert_eq!(chat.server.stop(), Some(0));
    chat.server.start_again();
    assert_eq!(bodies(&chat.fetch(1, "before")), ["before"]);
}

#[test]
fn a_start_in_1970_before_the_network_time_loses_nothing() {
    let mut chat = Chat::new(NOT_SET_S, &[("clock.leap_hold_s", "1")]);
    chat.send("in 1970", 0);
    chat.set_clock(0, STAYS);
    assert_eq!(bodies(&chat.fetch(0, "in 1970")), ["in 1970"]);
    chat.server.kill();
    chat.clock.set(NOT_SET_S);
    chat.server.start_again();
    chat.send("in 1970 again", 0);
    chat.server.kill();
    chat.clock.set(0);
    chat.server.start_again();
    assert_eq!(bodies(&chat.fetch(1, "in 1970 again")), ["in 1970", "in 1970 again"]);
}

#[test]
fn an_operator_may_say_that_the_time_has_passed() {
    let chat = Chat::new(0, &[]);
    let clock = |command: &str| {
        let ended = chat.server.run(&["clock", command]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        serde_json::from_str::<Value>(&ended.stdout).expect("JSON")
    };
    chat.send("before", 0);
    let standing = clock("show");
    assert_eq!((&standing["leap_s"], &standing["deletes"]), (&Value::Null, &json!(true)), "{standing}");
    chat.set_clock(FORTY_DAYS_S, LEAPT);
    let standing = clock("show");
    let leap_s = standing["leap_s"].as_i64().expect("a number");
    assert!((leap_s - FORTY_DAYS_S).abs() < 60, "{standing}");
    assert_eq!(standing["deletes"], json!(false));
    let standing = clock("follow");
    assert_eq!((&standing["leap_s"], &standing["deletes"]), (&Value::Null, &json!(true)), "{standing}");
    chat.send("after", 0);
    assert_eq!(bodies(&chat.fetch(0, "after")), ["after"]);
}

#[test]
fn tokens_are_judged_by_the_clock_as_it_is_now() {
    let (issuer, clock) = (Issuer::new(), Clock::ahead_by(0));
    let settings = issuer.settings(&[]);
    let settings: Vec<_> = settings.iter().map(|(key, value)| (&key[..], &value[..])).collect();
    let server = clock.server(&settings);
    server.add_user("alice", "phone");
    let claims = json!({ "iss": "tests", "aud": "chat", "sub": "alice", "device": "phone", "exp": now_s() + 600 });
    let alice = Account { user: "alice".to_owned(), device: "phone".to_owned(), password: issuer.token(&claims) };
    let login = || Client::open(server.mqtt(), Version::V5).login(&alice, RESUME).expect("CONNACK").0;
    assert_eq!(login(), 0);
    clock.set(7_200);
    assert_eq!(login(), 0x86);
    clock.set(0);
    let mut client = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    client.settle();
    // It ends with its token, by the wall clock too.
    clock.set(7_200);
    assert_eq!(client.closed(), Some(0x87));
}
