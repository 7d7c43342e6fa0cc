//! A running server from outside: what it leaves in its data folder, operators' commands, how it ends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// Killed when dropped.
struct Server {
    process: Child,
    listeners: Value,
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn godwit(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_godwit"));
    command.args(arguments).arg("--data").arg(data);
    for listener in ["MQTT", "HTTP", "SERVICE", "MEDIA", "WEB", "METRICS"] {
        command.env(format!("GODWIT__{listener}__LISTEN"), "127.0.0.1:0");
    }
    command.env("GODWIT__METRICS__BROKER_LISTEN", "127.0.0.1:0");
    command
}

/// `godwit serve` with these variables set.
fn start_with(data: &Path, variables: &[(&str, &str)]) -> Server {
    let mut command = godwit(data, &["serve"]);
    wait_until_ready(command.envs(variables.iter().copied()), data, "listeners.json")
}

fn start(data: &Path, role: &str, listeners: &str) -> Server {
    wait_until_ready(&mut godwit(data, &[role]), data, listeners)
}

/// Starts a server and waits for the file that says that it is ready.
fn wait_until_ready(command: &mut Command, data: &Path, listeners: &str) -> Server {
    let mut process = command.stderr(Stdio::piped()).spawn().expect("the program starts");
    let begun = Instant::now();
    loop {
        let ready = fs::read(data.join(listeners)).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        if let Some(listeners) = ready.filter(|ready| ready["pid"] == process.id()) {
            return Server { process, listeners };
        }
        let ended = process.try_wait().expect("a child");
        if ended.is_some() || begun.elapsed() > PATIENCE {
            let mut log = String::new();
            _ = process.kill();
            _ = process.stderr.take().map(|mut stderr| stderr.read_to_string(&mut log));
            panic!("not ready:\n{log}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn stop(mut server: Server) -> Option<i32> {
    let pid = server.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    server.process.wait().expect("a child").code()
}

fn run(data: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = godwit(data, arguments).output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").trim_end().to_owned();
    (status.code(), text(stdout), text(stderr))
}

fn connect(listener: &Value) -> std::io::Result<TcpStream> {
    TcpStream::connect(listener.as_str().expect("an address"))
}

#[test]
fn users_and_devices_come_and_go_and_outlive_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let server = start(data, "serve", "listeners.json");
    let (code, out, _) = run(data, &["user", "add", "alice", "--device", "phone"]);
    let made: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &made["user"], &made["device"]), (Some(0), &json!("alice"), &json!("phone")));
    assert_eq!(made["password"].as_str().expect("text").len(), 43, "256 bits in base64");

    assert_eq!(run(data, &["device", "add", "alice", "laptop"]).0, Some(0));
    assert_eq!(run(data, &["device", "list", "alice"]).1, "phone\nlaptop");
    assert_eq!(run(data, &["user", "add", "bob", "--device", "phone"]).0, Some(0));
    let refused = |arguments: &[&str], text: &str| {
        assert_eq!(run(data, arguments), (Some(1), String::new(), format!("godwit: {text}")));
    };
    refused(&["user", "add", "alice", "--device", "phone"], "user \"alice\" exists");
    refused(&["device", "add", "alice", "phone"], "user \"alice\" has a device \"phone\" already");
    refused(&["device", "remove", "alice", "watch"], "user \"alice\" has no device \"watch\"");
    refused(&["user", "remove", "carol"], "no user \"carol\"");
    assert_eq!(run(data, &["device", "remove", "alice", "phone"]), (Some(0), String::new(), String::new()));
    assert_eq!(stop(server), Some(0));

    let server = start(data, "serve", "listeners.json");
    let alice = r#"{"user":"alice","devices":["laptop"]}"#;
    let bob = r#"{"user":"bob","devices":["phone"]}"#;
    assert_eq!(run(data, &["user", "list"]).1, format!("{alice}\n{bob}"));
    assert_eq!(run(data, &["user", "list", "--after", "alice", "--limit", "5"]).1, bob);
    assert_eq!(run(data, &["user", "list", "--limit", "1"]).1, alice);
    assert_eq!(run(data, &["user", "remove", "alice"]).0, Some(0));
    assert_eq!(run(data, &["user", "list"]).1, bob);
    assert_eq!(stop(server), Some(0));
}

#[test]
fn a_stopped_server_is_gone_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let server = start(data, "serve", "listeners.json");
    let (mqtt, http) = (server.listeners["mqtt"][0].clone(), server.listeners["http"].clone());
    assert!(connect(&mqtt).is_ok() && connect(&http).is_ok());
    assert_eq!(stop(server), Some(0));
    assert!(!data.join("listeners.json").exists());
    assert!(connect(&mqtt).is_err() && connect(&http).is_err());
    assert_eq!(run(data, &["user", "list"]).0, Some(69));
}

/// GET; returns the status.
fn get(listener: &Value, path: &str) -> u16 {
    let mut stream = connect(listener).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

/// The doors have heard of the lanes.
fn wait_until_it_serves(server: &Server) {
    let begun = Instant::now();
    while get(&server.listeners["http"], "/readyz") != 200 {
        assert!(begun.elapsed() < PATIENCE, "it serves");
        thread::sleep(Duration::from_millis(10));
    }
}

/// CONNECT of MQTT 3.1.1; returns the code of CONNACK.
fn log_in(server: &Server, user: &str, password: &str) -> (TcpStream, u8) {
    let mut stream = connect(&server.listeners["mqtt"][0]).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let text = |text: &str| [&[0, text.len() as u8][..], text.as_bytes()].concat();
    let body = [&text("MQTT")[..], &[4, 0xC2, 0, 0], &text("phone"), &text(user), &text(password)].concat();
    stream.write_all(&[&[0x10, body.len() as u8][..], &body].concat()).expect("sent");
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).expect("CONNACK");
    (stream, connack[3])
}

/// PUBLISH with QoS 1; returns when PUBACK is there.
fn publish(stream: &mut TcpStream) {
    stream.write_all(&[&[0x32, 12, 0, 6][..], b"to/bob", &[0, 1], b"hi"].concat()).expect("sent");
    stream.read_exact(&mut [0; 4]).expect("PUBACK");
}

#[test]
fn nobody_who_reads_the_log_is_needed() {
    for (level, reads) in [("info", false), ("debug", true)] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = start_with(folder.path(), &[("GODWIT__LOG__LEVEL", level)]);
        let (_, out, _) = run(folder.path(), &["user", "add", "alice", "--device", "phone"]);
        assert_eq!(run(folder.path(), &["user", "add", "bob", "--device", "phone"]).0, Some(0));
        let made: Value = serde_json::from_str(&out).expect("JSON");
        // The reader ends; or it stays, and reads nothing, so that the pipe is full after some hundred lines.
        let pipe = server.process.stderr.take().filter(|_| reads);
        for _ in 0..if reads { 1_000 } else { 3 } {
            assert_eq!(log_in(&server, "nobody", "wrong").1, 4);
        }
        let (mut alice, code) = log_in(&server, "alice", made["password"].as_str().expect("text"));
        assert_eq!(code, 0);
        publish(&mut alice);
        wait_until_it_serves(&server);
        assert!(server.process.try_wait().expect("a child").is_none());
        drop(pipe);
        assert_eq!(stop(server), Some(0));
    }
}

#[test]
fn a_hangup_ends_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), "serve", "listeners.json");
    let pid = server.process.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().expect("kill").success());
    assert_eq!(get(&server.listeners["http"], "/healthz"), 200);
    wait_until_it_serves(&server);
    assert_eq!(stop(server), Some(0));
}

#[test]
fn a_data_folder_has_one_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), "serve", "listeners.json");
    let (code, _, stderr) = run(folder.path(), &["serve"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("is held by another server that runs"), "{stderr}");
    assert_eq!(run(folder.path(), &["user", "list"]).0, Some(0), "the first one still answers");
    assert_eq!(stop(server), Some(0));
}

#[test]
fn the_halves_find_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let broker = start(data, "broker", "listeners.broker.json");
    let service = broker.listeners["service"].as_str().expect("an address").to_owned();
    assert!(broker.listeners["http"].is_null());
    let mut bridge = godwit(data, &["bridge"]);
    let mut bridge = bridge.env("GODWIT__SERVICE__LISTEN", service).spawn().expect("the program starts");
    let begun = Instant::now();
    while !data.join("listeners.bridge.json").exists() && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
    }
    let added = run(data, &["user", "add", "alice", "--device", "phone"]);
    let killed = Command::new("kill").args(["-TERM", &bridge.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    assert_eq!(added.0, Some(0), "{}", added.2);
    assert_eq!(bridge.wait().expect("a child").code(), Some(0));
    assert_eq!(stop(broker), Some(0));
}
