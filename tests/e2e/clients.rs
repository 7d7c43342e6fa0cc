//! Clients that were not written here: mosquitto_pub and mosquitto_sub of Debian, paho-mqtt of PyPI.
//!
//! They must be there: a test without its client has not passed. `make test` sees to it.

use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use crate::PATIENCE;
use crate::server::{Account, Server};

/// Versions as `mosquitto_pub -V` wants them.
pub(crate) const VERSIONS: [&str; 2] = ["311", "5"];

fn mosquitto(program: &str, server: &Server, account: &Account, version: &str) -> Command {
    let address = server.mqtt();
    let mut command = Command::new(program);
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-V", version]);
    command.args(["-u", &account.user, "-i", &account.device, "-P", &account.password, "-q", "1"]);
    command.stdin(Stdio::null());
    command
}

fn started<T>(program: &str, result: std::io::Result<T>) -> T {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("{program} is not installed (Debian: mosquitto-clients); `make test` installs it")
        }
        result => result.expect("the client starts"),
    }
}

/// `mosquitto_pub -q 1 -t TOPIC -m BODY`. Returns when it has ended, which it does after PUBACK.
pub(crate) fn publish(server: &Server, account: &Account, version: &str, topic: &str, body: &str) {
    let mut command = mosquitto("mosquitto_pub", server, account, version);
    let Output { status, stderr, .. } = started("mosquitto_pub", command.args(["-t", topic, "-m", body]).output());
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success() && stderr.is_empty(), "mosquitto_pub -t {topic}: {status}\n{stderr}");
}

/// A running `mosquitto_sub -c -q 1 -t 'inbox/#' -F '%t %p'`. Killed when dropped.
pub(crate) struct Subscriber {
    child: Child,
    lines: Receiver<String>,
}

impl Subscriber {
    /// Ends by itself after so many messages.
    pub(crate) fn start(server: &Server, account: &Account, version: &str, messages: usize) -> Self {
        let mut command = mosquitto("mosquitto_sub", server, account, version);
        command.args(["-c", "-t", "inbox/#", "-F", "%t %p", "-C", &messages.to_string()]).stdout(Stdio::piped());
        let mut child = started("mosquitto_sub", command.spawn());
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The test may have ended.
                _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// The next message: topic and body.
    pub(crate) fn next(&mut self) -> (String, String) {
        let line = match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("mosquitto_sub received nothing"),
            Err(RecvTimeoutError::Disconnected) => panic!("mosquitto_sub ended: {:?}", self.child.wait()),
        };
        let (topic, body) = line.split_once(' ').expect("topic and body");
        (topic.to_owned(), body.to_owned())
    }

    /// Waits for its end, which comes by itself after the last message; there was no other.
    pub(crate) fn end(mut self) {
        let status = self.child.wait().expect("a child");
        assert!(status.success(), "mosquitto_sub: {status}");
        assert_eq!(self.lines.iter().next(), None);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Runs `tests/e2e/paho/<script>.py` with the server's address, the MQTT version, and these accounts.
pub(crate) fn paho(server: &Server, script: &str, version: u8, accounts: &[&Account]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/e2e/paho/{script}.py"));
    let accounts: Vec<_> = accounts.iter().map(|it| serde_json::json!([it.user, it.device, it.password])).collect();
    let address = server.mqtt();
    let setting = serde_json::json!({
        "host": address.ip().to_string(), "port": address.port(), "version": version, "accounts": accounts,
        "patience_s": PATIENCE.as_secs(),
    });
    let Output { status, stdout, stderr } =
        Command::new(python()).arg(&file).arg(setting.to_string()).output().expect("python starts");
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(status.success(), "{script}.py with MQTT {version}: {status}\n{stdout}{stderr}");
}

/// A Python that has paho-mqtt: the one that `make` names, the one it made, or the system's.
fn python() -> PathBuf {
    let named = std::env::var_os("GODWIT_TEST_PYTHON").map(PathBuf::from);
    let program = Path::new(env!("CARGO_BIN_EXE_godwit"));
    let made = program.parent().and_then(Path::parent).map(|target| target.join("python/bin/python"));
    let candidates: Vec<_> = named.into_iter().chain(made).chain([PathBuf::from("python3")]).collect();
    let works = |python: &PathBuf| {
        let imported = Command::new(python).args(["-c", "import paho.mqtt.client"]).output();
        imported.is_ok_and(|output| output.status.success())
    };
    let found = candidates.iter().find(|python| works(python)).cloned();
    found.unwrap_or_else(|| panic!("no Python with paho-mqtt among {candidates:?}; `make test` installs it"))
}
