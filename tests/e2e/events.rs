//! Events for operators: any MQTT client on the service listener, and a webhook, hear what happens and never what is said.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::clients::lines_of;
use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Server};
use crate::webhook::{Answer, Endpoint, SECRET};
use crate::{PATIENCE, until};

/// A running `mosquitto_sub` at the service listener. Killed when dropped.
struct Reader {
    child: Child,
    lines: Receiver<String>,
}

impl Reader {
    /// Subscribed when this returns.
    fn start(server: &Server, login: Option<(&str, &str)>, filter: &str) -> Self {
        let mut command = subscriber(server, login, filter);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("mosquitto_sub starts");
        let lines = lines_of(&mut child);
        server.wait_for_log(&["a service connection subscribed", filter]);
        Self { child, lines }
    }

    /// The next event.
    fn event(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("an event");
        serde_json::from_str(&line).expect("a JSON object a line")
    }

    /// Events up to one that has this value.
    fn until(&self, key: &str, value: &str) -> Vec<Value> {
        let mut events = vec![self.event()];
        while events.last().expect("one")[key] != value {
            events.push(self.event());
        }
        events
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn subscriber(server: &Server, login: Option<(&str, &str)>, filter: &str) -> Command {
    let address = server.service();
    let mut command = Command::new("mosquitto_sub");
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-V", "311", "-t", filter]);
    if let Some((user, password)) = login {
        command.args(["-u", user, "-P", password]);
    }
    command.stdin(Stdio::null());
    command
}

/// Alice and Bob, who has fetched one message of hers.
fn exchange(server: &Server, body: &str) -> (Account, Client) {
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut at_bob = Client::connect(server.mqtt(), &bob, Version::V5, RESUME);
    assert_eq!(at_bob.subscribe("inbox/#"), 1);
    let mut at_alice = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    assert_eq!(at_alice.publish("to/bob", body.as_bytes()), 0);
    assert_eq!(at_bob.body(), body);
    (bob, at_alice)
}

/// The kinds of events, and that each kind is numbered from 1 without a gap.
fn kinds(events: &[Value]) -> Vec<&str> {
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().expect("a kind")).collect();
    for (at, event) in events.iter().enumerate() {
        let before = kinds[..at].iter().filter(|kind| **kind == kinds[at]).count() as u64;
        assert_eq!((&event["epoch"], event["number"].as_u64()), (&events[0]["epoch"], Some(before + 1)), "{event}");
    }
    kinds
}

#[test]
fn any_mqtt_client_hears_what_happens_and_never_what_is_said() {
    for start in [Server::with, Server::halves] {
        let server = start(&[("events.mqtt", "true")]);
        let reader = Reader::start(&server, None, "events/#");
        // With two processes the bridge's link may come after.
        if server.log().contains("bridge:") {
            server.wait_for_log(&["connected to the broker's bus", "events"]);
        }
        exchange(&server, "a secret");
        let events = reader.until("kind", "delivered");
        let text = Value::from(events.clone()).to_string();
        assert!(!text.contains("secret"), "{text}");
        let told = kinds(&events);
        for (kind, times) in [("account", 4), ("session", 2), ("conversation", 1), ("message", 1), ("delivered", 1)] {
            assert_eq!(told.iter().filter(|it| **it == kind).count(), times, "{text}");
        }
        let message = events.iter().find(|event| event["kind"] == "message").expect("it was told");
        assert_eq!(
            (&message["user"], message["bytes"].as_u64(), &message["sequence"]),
            (&"alice".into(), Some(8), &2.into())
        );
    }
}

/// A folder with a file of each name, which holds the name.
fn passwords(names: &[&str]) -> (TempDir, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let files = names.iter().map(|name| {
        let path = folder.path().join(name);
        fs::write(&path, name).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    });
    let files = files.collect();
    (folder, files)
}

#[test]
fn a_reader_of_events_reaches_nothing_else() {
    let (_folder, files) = passwords(&["bridge", "reader"]);
    let settings = [
        ("events.mqtt", "true"),
        ("events.kinds", "message"),
        ("service.user", "bridge"),
        ("service.password_file", &files[0]),
        ("events.user", "reader"),
        ("events.password_file", &files[1]),
    ];
    let server = Server::halves(&settings);
    let login = Some(("reader", "reader"));
    for (login, filter) in [
        (login, "#"),
        (login, "up/0"),
        (login, "edges"),
        (Some(("bridge", "bridge")), "#"),
        (Some(("reader", "bridge")), "events/#"),
        (None, "events/#"),
    ] {
        let ended = subscriber(&server, login, filter).args(["-W", "10"]).output().expect("mosquitto_sub starts");
        let denied = !ended.status.success() || String::from_utf8_lossy(&ended.stderr).contains("denied");
        assert!(denied && ended.stdout.is_empty(), "{login:?} {filter}: {ended:?}");
    }
    let address = server.service();
    for topic in ["up/0", "edges", "down/0000000000000001", "events/message"] {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-V", "311"]);
        command.args(["-u", "reader", "-P", "reader", "-q", "1", "-t", topic, "-m", "forged"]);
        assert!(!command.output().expect("mosquitto_pub starts").status.success(), "{topic}");
        server.wait_for_log(&["a service connection ended", "may not publish", topic]);
    }
    let reader = Reader::start(&server, login, "events/message");
    server.wait_for_log(&["connected to the broker's bus", "events"]);
    exchange(&server, "hello");
    assert_eq!(reader.event()["user"], "alice", "and the bridge was not disturbed");
}

#[test]
fn a_webhook_is_signed_and_repeated_until_it_is_taken_while_messages_go_on() {
    let (folder, _) = passwords(&[]);
    let secret = folder.path().join("secret");
    fs::write(&secret, SECRET).expect("written");
    let endpoint = Endpoint::start([Answer::Status(500), Answer::Redirect, Answer::WhenTold]);
    let server = Server::with(&[
        ("events.webhook_url", &endpoint.url),
        ("events.webhook_secret_file", secret.to_str().expect("UTF-8")),
        ("events.kinds", "message"),
    ]);
    let (_, mut alice) = exchange(&server, "a secret");
    let attempts = [endpoint.next(), endpoint.next(), endpoint.next()];
    for attempt in &attempts {
        assert_eq!((&attempt.id, &attempt.body), (&attempts[0].id, &attempts[0].body), "the same again");
        assert!(attempt.is_signed(), "{attempt:?}");
    }
    // It hangs: nobody but the webhook notices.
    (0..100).for_each(|_| assert_eq!(alice.publish("to/bob", b"more"), 0));
    assert!(endpoint.try_next().is_none(), "one at a time");
    endpoint.answer();
    let mut events = attempts[2].events();
    until("all have come", || {
        events.extend(endpoint.try_next().map(|taken| taken.events()).unwrap_or_default());
        events.len() == 101
    });
    assert!(kinds(&events).iter().all(|kind| *kind == "message"));
    assert!(!Value::from(events).to_string().contains("secret"));
}

#[test]
fn a_server_that_stops_posts_the_rest_and_waits_for_nobody() {
    let (folder, _) = passwords(&[]);
    let secret = folder.path().join("secret");
    fs::write(&secret, SECRET).expect("written");
    let endpoint = Endpoint::start([Answer::Status(503); 200]);
    let mut server = Server::with(&[
        ("events.webhook_url", &endpoint.url),
        ("events.webhook_secret_file", secret.to_str().expect("UTF-8")),
    ]);
    server.add_user("alice", "phone");
    endpoint.next();
    let begun = std::time::Instant::now();
    assert_eq!(server.stop(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    server.wait_for_log(&["events were dropped"]);
}

#[test]
fn a_secret_that_is_none_is_refused_before_anything_opens() {
    let (_folder, files) = passwords(&["short"]);
    let settings = [("events.webhook_url", "http://127.0.0.1:9/"), ("events.webhook_secret_file", &files[0])];
    let mut server = Server::prepare("serve", &settings);
    let (code, log) = server.try_start_again().expect_err("no secret");
    assert_eq!(code, Some(64), "{log}");
    assert!(log.contains("events.webhook_secret_file"), "{log}");
}
