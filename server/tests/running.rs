//! A running server from outside: what it leaves in its data folder, operators' commands, how it ends.

use std::fs;
use std::io::Read as _;
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
    for listener in ["MQTT", "HTTP", "SERVICE", "MEDIA"] {
        command.env(format!("GODWIT__{listener}__LISTEN"), "127.0.0.1:0");
    }
    command
}

/// Starts a server and waits for the file that says that it is ready.
fn start(data: &Path, role: &str, listeners: &str) -> Server {
    let mut process = godwit(data, &[role]).stderr(Stdio::piped()).spawn().expect("the program starts");
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
