//! Clients that were not written here: mosquitto_pub and mosquitto_sub of Debian, paho-mqtt of PyPI, mqtt.js of npm.
//!
//! They must be there: a test without its client has not passed. `make test` sees to it.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use tempfile::TempDir;

use crate::PATIENCE;
use crate::server::{Account, Server, without_settings};

/// Versions as `mosquitto_pub -V` wants them.
pub(crate) const VERSIONS: [&str; 2] = ["311", "5"];

fn mosquitto(program: &str, server: &Server, account: &Account, version: &str) -> Command {
    mosquitto_at(program, server.mqtt(), account, version)
}

fn mosquitto_at(program: &str, address: SocketAddr, account: &Account, version: &str) -> Command {
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

/// `mosquitto_pub` with TLS, trusting `root`: how it ended, and what it said.
pub(crate) fn publish_with_tls(
    server: &Server,
    root: &Path,
    account: &Account,
    version: &str,
    (topic, body): (&str, &str),
) -> (bool, String) {
    let mut command = mosquitto_at("mosquitto_pub", server.mqtts(), account, version);
    command.arg("--cafile").arg(root).args(["-t", topic, "-m", body]);
    let Output { status, stderr, .. } = started("mosquitto_pub", command.output());
    (status.success(), String::from_utf8_lossy(&stderr).into_owned())
}

/// `mosquitto_pub` with TLS and a certificate, and neither user name nor password: whether it was let in.
pub(crate) fn publish_with_certificate(server: &Server, [root, certificate, key]: [&Path; 3], device: &str) -> bool {
    let address = server.mqtts();
    let mut command = Command::new("mosquitto_pub");
    command.args([
        "-h",
        &address.ip().to_string(),
        "-p",
        &address.port().to_string(),
        "-V",
        "5",
        "-i",
        device,
        "-q",
        "1",
    ]);
    command.arg("--cafile").arg(root).arg("--cert").arg(certificate).arg("--key").arg(key);
    command.args(["-t", "to/bob", "-m", "with a certificate"]).stdin(Stdio::null());
    started("mosquitto_pub", command.output()).status.success()
}

/// A running `mosquitto_sub -c -q 1 -t FILTER -F '%t %p'`. Killed when dropped.
pub(crate) struct Subscriber {
    child: Child,
    lines: Receiver<String>,
}

impl Subscriber {
    /// Of `inbox/#`. Ends by itself after so many messages.
    pub(crate) fn start(server: &Server, account: &Account, version: &str, messages: usize) -> Self {
        Self::of(server, account, version, "inbox/#", messages)
    }

    /// Ends by itself after so many messages.
    pub(crate) fn of(server: &Server, account: &Account, version: &str, filter: &str, messages: usize) -> Self {
        Self::asking(server, account, version, (filter, "1"), messages)
    }

    /// Asks for another QoS.
    pub(crate) fn asking(
        server: &Server,
        account: &Account,
        version: &str,
        (filter, qos): (&str, &str),
        messages: usize,
    ) -> Self {
        let mut command = mosquitto("mosquitto_sub", server, account, version);
        command.args(["-q", qos]);
        command.args(["-c", "-t", filter, "-F", "%t %p", "-C", &messages.to_string()]).stdout(Stdio::piped());
        let mut child = started("mosquitto_sub", command.spawn());
        let lines = lines_of(&mut child);
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

/// What a child writes to its piped stdout, as it comes.
pub(crate) fn lines_of(child: &mut Child) -> Receiver<String> {
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            // The test may have ended.
            _ = sender.send(line);
        }
    });
    lines
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A folder that looks like the clone after `make run`: `dist/godwit`, `godwit-data`, `schemas`. Commands in it find Python and
/// Node with their packages; mosquitto's clients and `godwit chat` know where the server listens.
pub(crate) struct Clone(TempDir);

impl Clone {
    pub(crate) fn of(server: &Server) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        std::fs::create_dir(at.join("dist")).expect("a folder");
        symlink(server.data(), at.join("godwit-data")).expect("a link");
        let address = server.mqtt();
        let godwit = at.join("dist/godwit");
        let program = env!("CARGO_BIN_EXE_godwit");
        let to = format!("[ \"$1\" = chat ] && set -- \"$@\" --server mqtt://{address}");
        std::fs::write(&godwit, format!("#!/bin/sh\n{to}\nexec {program} \"$@\"\n")).expect("written");
        std::fs::set_permissions(&godwit, Permissions::from_mode(0o755)).expect("set");
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas"), at.join("schemas")).expect("a link");
        for client in ["mosquitto_pub", "mosquitto_sub"] {
            std::fs::write(at.join(client), format!("-h {}\n-p {}\n", address.ip(), address.port())).expect("written");
        }
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A shell in it.
    pub(crate) fn bash(&self) -> Command {
        let mut command = Command::new("bash");
        let at = self.path();
        without_settings(&mut command).current_dir(at).envs([("XDG_CONFIG_HOME", at), ("XDG_DATA_HOME", at)]);
        command
    }
}

/// A shell in a [`Clone`].
pub(crate) struct Shell {
    child: Child,
    lines: Receiver<String>,
    folder: Clone,
}

impl Shell {
    pub(crate) fn start(server: &Server) -> Self {
        let folder = Clone::of(server);
        let mut child = folder.bash().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash starts");
        let lines = lines_of(&mut child);
        Self { child, lines, folder }
    }

    /// `python3` and `node` find the packages of the end-to-end tests.
    pub(crate) fn use_packages(&mut self) {
        let program = self.path().join("bin/python3");
        std::fs::create_dir(self.path().join("bin")).expect("a folder");
        std::fs::write(&program, format!("#!/bin/sh\nexec {} \"$@\"\n", python().display())).expect("written");
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("set");
        self.run(&format!("PATH=\"$PWD/bin:$PATH\"\nexport PYTHONUNBUFFERED=1 NODE_PATH={}", node_path().display()));
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn say(&mut self, text: &str) {
        self.child.stdin.as_mut().expect("piped").write_all(text.as_bytes()).expect("bash listens");
    }

    /// Runs commands to their end; they must succeed and write nothing to stdout.
    pub(crate) fn run(&mut self, commands: &str) {
        self.say(&format!("set -e\n{commands}\nset +e; echo done\n"));
        assert_eq!(self.line(), "done", "{commands}");
    }

    /// Begins a command; the one before is ended, as by Ctrl-C, unless it writes nothing and ends by itself.
    pub(crate) fn begin(&mut self, command: &str) {
        if command.starts_with("mosquitto_sub") {
            self.say(&format!("{command} &\n"));
        } else if command.contains("godwit chat") {
            // What it writes is compared; it ends by itself.
            self.say(&format!("{command}\n"));
        } else {
            self.say("kill -INT $! && wait\n");
            self.run(command);
        }
    }

    /// Begins a command that goes on until [`Self::stop`].
    pub(crate) fn background(&mut self, command: &str) {
        self.say(&format!("{command} &\n"));
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        self.run("kill $!; wait $! || true");
    }

    /// The next line that a command writes.
    pub(crate) fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line from a command")
    }

    /// Ends what still runs; nothing more was written.
    pub(crate) fn end(mut self) {
        self.say("kill -INT $(jobs -p); wait; exit\n");
        assert_eq!(self.lines.iter().next(), None);
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Runs `tests/e2e/paho/<script>.py` with the server's address, the MQTT version, and these accounts.
pub(crate) fn paho(server: &Server, script: &str, version: u8, accounts: &[&Account]) {
    let mut command = paho_command(server, script, version, accounts, serde_json::json!({}));
    let Output { status, stdout, stderr } = command.output().expect("python starts");
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(status.success(), "{script}.py with MQTT {version}: {status}\n{stdout}{stderr}");
}

/// What runs such a script, with more in its setting.
pub(crate) fn paho_command(
    server: &Server,
    script: &str,
    version: u8,
    accounts: &[&Account],
    mut setting: serde_json::Value,
) -> Command {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/e2e/paho/{script}.py"));
    let accounts: Vec<_> = accounts.iter().map(|it| serde_json::json!([it.user, it.device, it.password])).collect();
    let address = server.mqtt();
    setting["host"] = address.ip().to_string().into();
    setting["port"] = address.port().into();
    setting["version"] = version.into();
    setting["accounts"] = accounts.into();
    setting["patience_s"] = PATIENCE.as_secs().into();
    let mut command = Command::new(python());
    command.arg(&file).arg(setting.to_string());
    command
}

/// A Python that has paho-mqtt: the one that `make` names, the one it made, or the system's.
pub(crate) fn python() -> PathBuf {
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

/// Runs `tests/e2e/mqttjs/<script>.js` with this setting, which gets `patience_ms`.
pub(crate) fn mqttjs(script: &str, setting: serde_json::Value) {
    let mut command = mqttjs_command(script, setting);
    let Output { status, stdout, stderr } = command.output().expect("node starts; `make test` installs it");
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(status.success(), "{script}.js: {status}\n{stdout}{stderr}");
}

/// What runs such a script.
pub(crate) fn mqttjs_command(script: &str, mut setting: serde_json::Value) -> Command {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/e2e/mqttjs/{script}.js"));
    setting["patience_ms"] = (PATIENCE.as_secs() * 1_000).into();
    let mut command = Command::new("node");
    command.env("NODE_PATH", node_path()).arg(&file).arg(setting.to_string());
    command
}

/// Where mqtt.js is: as `make` names it, or where it puts it.
fn node_path() -> PathBuf {
    let named = std::env::var_os("GODWIT_TEST_NODE_PATH").map(PathBuf::from);
    let program = Path::new(env!("CARGO_BIN_EXE_godwit"));
    let made = program.parent().and_then(Path::parent).map(|target| target.join("node/node_modules"));
    let found = named.into_iter().chain(made).find(|path| path.join("mqtt").exists());
    found.expect("mqtt.js is there; `make test` installs it")
}
