//! Metrics of a running server: exact numbers for known traffic, and what Prometheus' own tools say of them.

mod monitoring;
mod scrape;

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Server};
use crate::until;

use scrape::{Scrape, scrape, scrape_as};

/// The folder of the source.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";

/// The opening of the conversation waits for the device that has subscribed to nothing.
const WAITS: f64 = 1.0;

/// What five messages from a client of 3.1.1 to two devices of one of MQTT 5 move, and by how much.
const MOVED: [(&str, f64); 11] = [
    (r#"godwit_mqtt_logins_total{protocol="3.1.1"}"#, 1.0),
    (r#"godwit_mqtt_logins_total{protocol="5"}"#, 2.0),
    (r#"godwit_mqtt_connections{transport="tcp",protocol="5"}"#, 2.0),
    (r#"godwit_mqtt_connections{transport="tcp",protocol="3.1.1"}"#, 1.0),
    ("godwit_mqtt_received_publishes_total", 6.0),
    (r#"godwit_mqtt_refused_publishes_total{reason="0x87"}"#, 1.0),
    (r#"godwit_mqtt_refused_logins_total{reason="0x86"}"#, 1.0),
    ("godwit_stored_messages_total", 5.0),
    // Who reads raw bodies does not get the change that opens the conversation: it is settled.
    ("godwit_acknowledged_entries_total", 10.0),
    ("godwit_stored_entries_total", 13.0),
    ("godwit_mqtt_dropped_connections_total", 0.0),
];

fn receiver(server: &Server, account: &Account) -> Client {
    let mut client = Client::connect(server.mqtt(), account, Version::V5, RESUME);
    assert_eq!(client.subscribe("inbox/#"), 1);
    client
}

fn bodies(client: &mut Client, count: usize) {
    (0..count).for_each(|number| assert_eq!(client.body(), format!("message {number}")));
    client.settle();
}

#[test]
fn known_traffic_moves_metrics_by_exact_numbers() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let laptop = server.add_device("bob", "laptop");
    let before = scrape(server.metrics());

    let mut at_phone = receiver(&server, &bob);
    let mut at_laptop = receiver(&server, &laptop);
    let mut sender = Client::connect(server.mqtt(), &alice, Version::V4, RESUME);
    for number in 0..5 {
        assert_eq!(sender.publish("to/bob", format!("message {number}").as_bytes()), 0);
    }
    bodies(&mut at_phone, 5);
    bodies(&mut at_laptop, 5);
    assert_eq!(at_phone.publish("not/mine", b""), 0x87);
    let wrong = Account { password: "wrong".to_owned(), ..bob };
    let refused = Client::open(server.mqtt(), Version::V5).login(&wrong, RESUME).expect("CONNACK");
    assert_eq!(refused.0, 0x86);

    // Gauges of lanes are set four times a second, so these are told last.
    let waiting = || scrape(server.metrics()).get("godwit_inbox_entries");
    until("what waits is known", || waiting() == WAITS);
    let after = scrape(server.metrics());
    let moved = MOVED.map(|(name, _)| (name, after.get(name) - before.get(name)));
    assert_eq!(moved, MOVED);
    let growth = |name: &str| after.get(name) - before.get(name);
    let deliveries = |scrape: &Scrape| scrape.sum("godwit_delivery_duration_seconds_count");
    assert!(deliveries(&after) >= deliveries(&before) + 2.0, "at least one for each device");
    assert!(growth(r#"godwit_commit_duration_seconds_count{synced="true"}"#) >= 5.0);
    assert!(growth("godwit_mqtt_received_bytes_total") > 100.0 && growth("godwit_mqtt_sent_bytes_total") > 100.0);
    let users = r#"godwit_http_requests_total{method="POST",route="/v1/admin/users",status="201"}"#;
    assert_eq!(before.get(users), 2.0);
    assert!(after.get("godwit_store_log_bytes") > 0.0 && after.get("process_open_fds") > 10.0);
    // No label says who it is about.
    assert!(["alice", "bob", "phone", "laptop"].iter().all(|name| !after.text.contains(name)), "{}", after.text);

    sender.disconnect();
    let open = r#"godwit_mqtt_connections{transport="tcp",protocol="3.1.1"}"#;
    until("the connection is counted no more", || scrape(server.metrics()).get(open) == 0.0);
}

#[test]
fn broker_and_bridge_show_each_its_own() {
    let mut server = Server::halves(&[]);
    let alice = server.add_user("alice", "phone");
    let mut client = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    assert_eq!(client.publish("to/alice", b"note"), 0);
    let (broker, bridge) = (scrape(server.metrics()), scrape(server.bridge_metrics()));
    assert_eq!(broker.get("godwit_mqtt_received_publishes_total"), 1.0);
    assert_eq!(bridge.get("godwit_stored_messages_total"), 1.0);
    assert!(!broker.text.contains("godwit_stored_messages_total"));
    assert!(!bridge.text.contains("godwit_mqtt_received_publishes_total"));
    // A new bridge counts from zero, and the broker says that its streams began anew.
    let generations = broker.get("godwit_edge_generations_total");
    server.kill_bridge();
    server.start_bridge();
    assert_eq!(scrape(server.bridge_metrics()).get("godwit_stored_messages_total"), 0.0);
    until("the streams begin anew", || scrape(server.metrics()).get("godwit_edge_generations_total") > generations);
}

#[test]
fn top_shows_what_goes_on() {
    let server = Server::start();
    let alice = server.add_user("alice", "phone");
    let mut client = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    let told = std::thread::scope(|scope| {
        let top = scope.spawn(|| server.run(&["top", "--once", "--interval", "2"]));
        while !top.is_finished() {
            assert_eq!(client.publish("to/alice", b"note"), 0);
            assert_eq!(client.publish("not/mine", b"note"), 0x87);
        }
        top.join().expect("it ends")
    });
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let line = |begin: &str| told.stdout.lines().find(|line| line.starts_with(begin)).unwrap_or_default();
    assert!(line("connections").contains("  1, "), "{}", told.stdout);
    assert!(!line("messages/s").contains("stored 0.0"), "{}", told.stdout);
    assert!(told.stdout.contains("publishes refused: reason=\"0x87\""), "{}", told.stdout);
    let without = server.run(&["top"]);
    assert!(without.code == Some(64) && without.stderr.contains("--once"), "{}", without.stderr);
}

#[test]
fn only_metrics_are_there_and_nothing_else() {
    let server = Server::start();
    let get = |path: &str| ureq::get(format!("http://{}{path}", server.metrics())).call();
    let status = |path: &str| match get(path) {
        Ok(response) => response.status().as_u16(),
        Err(ureq::Error::StatusCode(status)) => status,
        Err(error) => panic!("{path}: {error}"),
    };
    assert_eq!([status("/metrics"), status("/"), status("/v1/admin/users"), status("/healthz")], [200, 404, 404, 404]);
    assert!(!scrape(server.metrics()).text.contains("# EOF"));
    let open = scrape_as(server.metrics(), OPEN_METRICS);
    assert!(open.content_type.starts_with("application/openmetrics-text"), "{}", open.content_type);
    assert!(open.text.ends_with("# EOF\n"));
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let server = Server::start();
    server.add_user("alice", "phone");
    let Scrape { text, .. } = scrape(server.metrics());
    let (ok, said) = promtool(&["check", "metrics"], &text);
    assert!(ok && said.is_empty(), "{said}");
    // It would say so.
    let (ok, said) = promtool(&["check", "metrics"], "# TYPE wrong_total gauge\nwrong_total 1\n");
    assert!(!ok && said.contains("wrong_total"), "{said}");
}

/// Runs `promtool` in the folder of the source: whether it is satisfied, and what it says.
fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(SOURCE).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool is installed (Debian: prometheus); `make test` installs it");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let ended = child.wait_with_output().expect("it ends");
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8_lossy(&said).into_owned())
}
