//! A server of its own for each test: `godwit serve`, or `godwit broker` with `godwit bridge`, on ports and a data
//! folder that nobody else has. Killed when dropped; its log is shown if the test fails.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde::Deserialize;
use tempfile::TempDir;

use crate::until;

/// Where a process listens: the file it leaves in its data folder.
#[derive(Debug, Deserialize)]
struct Listeners {
    pid: u32,
    mqtt: Vec<SocketAddr>,
    mqtts: Option<SocketAddr>,
    http: Option<SocketAddr>,
    service: Option<SocketAddr>,
}

/// What a device connects with, as `godwit user add` prints it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) device: String,
    pub(crate) password: String,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

fn godwit(arguments: &[&str], data: &Path, settings: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_godwit"));
    without_settings(&mut command).args(arguments).arg("--data").arg(data).envs(settings.iter().cloned());
    command
}

/// Hides the settings of whoever runs the tests.
pub(crate) fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GODWIT__")) {
        command.env_remove(name);
    }
    command
}

/// One process of a server.
#[derive(Debug)]
struct Process {
    child: Child,
    listeners: Listeners,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Returns when it is ready.
    fn start(role: &str, data: &Path, settings: &[(String, String)], log: &Log) -> Self {
        let mut command = godwit(&[role], data, settings);
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().expect("godwit starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (into, name) = (log.clone(), role.to_owned());
        let reader = thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                into.push(&format!("{name}: {line}\n"));
            }
        });
        let file = data.join(if role == "serve" { "listeners.json".into() } else { format!("listeners.{role}.json") });
        let mut listeners = None;
        until(&format!("godwit {role} is ready"), || {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "godwit {role} ended at once: {ended:?}\n{}", log.text());
            let told = fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Listeners>(&text).ok());
            listeners = told.filter(|told| told.pid == child.id());
            listeners.is_some()
        });
        Self { child, listeners: listeners.expect("told"), reader: Some(reader) }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill").success());
    }

    /// Waits for its end and for the rest of its log.
    fn wait(&mut self) -> Option<i32> {
        let code = self.child.wait().expect("a child").code();
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the log is read to its end");
        }
        code
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        self.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What all processes of a server wrote.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn push(&self, line: &str) {
        self.0.lock().expect("no panic").push_str(line);
    }

    fn text(&self) -> String {
        self.0.lock().expect("no panic").clone()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Server {
    // In the order in which they must be dropped.
    doors: Option<Process>,
    /// `godwit bridge`, if it is a process of its own.
    memory: Option<Process>,
    role: &'static str,
    settings: Vec<(String, String)>,
    log: Log,
    data: TempDir,
}

impl Server {
    /// `godwit serve` with the default settings.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// `godwit serve` with these keys set, as in `("limits.connect_deadline_s", "1")`.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Self {
        let mut it = Self::prepare("serve", settings);
        it.start_again();
        it
    }

    /// `godwit broker` and `godwit bridge`.
    pub(crate) fn halves(settings: &[(&str, &str)]) -> Self {
        let mut it = Self::prepare("broker", settings);
        it.start_again();
        it.start_bridge();
        it
    }

    fn prepare(role: &'static str, settings: &[(&str, &str)]) -> Self {
        let variable = |key: &str| format!("GODWIT__{}", key.replace('.', "__").to_uppercase());
        let host = own_host();
        let listeners = ["mqtt", "http", "service"].map(|it| (variable(&format!("{it}.listen")), format!("{host}:0")));
        let given = settings.iter().map(|(key, value)| (variable(key), (*value).to_owned()));
        let settings = listeners.into_iter().chain(given).collect();
        let data = tempfile::Builder::new().prefix("godwit-e2e-").tempdir().expect("a folder");
        Self { doors: None, memory: None, role, settings, log: Log::default(), data }
    }

    /// Starts the process that ended: on the same data, and on the same ports as the first time.
    pub(crate) fn start_again(&mut self) {
        self.doors = None;
        let doors = Process::start(self.role, self.data.path(), &self.settings, &self.log);
        let Listeners { mqtt, http, service, .. } = &doors.listeners;
        let told = [("MQTT", mqtt.first()), ("HTTP", http.as_ref()), ("SERVICE", service.as_ref())];
        for (name, address) in told.into_iter().filter_map(|(name, address)| Some((name, address?))) {
            self.settings.push((format!("GODWIT__{name}__LISTEN"), address.to_string()));
        }
        self.doors = Some(doors);
    }

    /// Starts `godwit bridge`, anew if it ended.
    pub(crate) fn start_bridge(&mut self) {
        self.memory = None;
        self.memory = Some(Process::start("bridge", self.data.path(), &self.settings, &self.log));
    }

    fn doors(&self) -> &Process {
        self.doors.as_ref().expect("it runs")
    }

    /// Where clients connect.
    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.doors().listeners.mqtt[0]
    }

    /// Where clients connect with TLS.
    pub(crate) fn mqtts(&self) -> SocketAddr {
        self.doors().listeners.mqtts.expect("a listener with TLS")
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.doors.as_mut().expect("it runs").kill();
    }

    /// SIGKILL to the bridge.
    pub(crate) fn kill_bridge(&mut self) {
        self.memory.as_mut().expect("it runs").kill();
    }

    /// SIGKILL, and a new start.
    pub(crate) fn kill_and_start(&mut self) {
        self.kill();
        self.start_again();
    }

    /// SIGTERM; returns the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.doors().signal("-TERM");
        self.doors.as_mut().expect("it runs").wait()
    }

    /// Runs a command with this server's settings.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let Output { status, stdout, stderr } =
            godwit(arguments, self.data.path(), &self.settings).output().expect("godwit starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").trim_end().to_owned();
        Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// `godwit user add USER --device DEVICE`
    pub(crate) fn add_user(&self, user: &str, device: &str) -> Account {
        self.add(&["user", "add", user, "--device", device])
    }

    /// `godwit device add USER DEVICE`
    pub(crate) fn add_device(&self, user: &str, device: &str) -> Account {
        self.add(&["device", "add", user, device])
    }

    fn add(&self, arguments: &[&str]) -> Account {
        let Ended { code, stdout, stderr } = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
        serde_json::from_str(&stdout).expect("an account")
    }

    /// Waits until a line of the log has all these words.
    pub(crate) fn wait_for_log(&self, words: &[&str]) {
        until(&format!("a line of the log with {words:?}"), || {
            self.log.text().lines().any(|line| words.iter().all(|word| line.contains(word)))
        });
    }

    /// Memory that is the process's own: not files, not shared.
    pub(crate) fn rss_anon_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.doors().child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux 4.5 or later");
        line.trim_end_matches("kB").trim().parse().expect("a number")
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "shown with the test's failure")]
    fn drop(&mut self) {
        for process in self.doors.iter_mut().chain(&mut self.memory) {
            process.kill();
        }
        if thread::panicking() {
            eprintln!("---- log of the server ----\n{}", self.log.text());
        }
    }
}

/// A loopback address that no other test uses. So no client's own port is ever one that a server had and wants back.
fn own_host() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    format!("127.{}.{low}.{}", high | 128, NEXT.fetch_add(1, Ordering::Relaxed))
}
