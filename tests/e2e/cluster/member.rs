//! One process of a cluster.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::server::{Ended, Log, Process, own_host, run, variable};
use crate::until;

/// A health check looks for a second or two.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// `godwit broker` or `godwit bridge`, with a data folder of its own. Killed when dropped; its log is shown if the test fails.
#[derive(Debug)]
pub(super) struct Member {
    role: &'static str,
    process: Option<Process>,
    settings: Vec<(String, String)>,
    data: TempDir,
    log: Log,
}

impl Member {
    /// Not started yet; these keys are set.
    pub(super) fn prepare(role: &'static str, settings: &[(&str, String)]) -> Self {
        let host = own_host();
        let keys =
            ["mqtt.listen", "http.listen", "media.listen", "web.listen", "metrics.listen", "metrics.broker_listen"];
        let listeners = keys.map(|key| (variable(key), format!("{host}:0")));
        let given = settings.iter().map(|(key, value)| (variable(key), value.clone()));
        let settings = listeners.into_iter().chain(given).collect();
        let data = tempfile::Builder::new().prefix("godwit-e2e-").tempdir().expect("a folder");
        Self { role, process: None, settings, data, log: Log::default() }
    }

    /// Starts it, or starts it again where it listened. Returns when it is ready.
    pub(super) fn start(&mut self) {
        self.try_start().unwrap_or_else(|(code, log)| panic!("godwit {} ended at once: {code:?}\n{log}", self.role));
    }

    /// Like [`Self::start`]; it may end before it is ready: exit code, and what it logged.
    pub(super) fn try_start(&mut self) -> Result<(), (Option<i32>, String)> {
        self.process = None;
        let before = self.log.text().len();
        let process = Process::start(self.role, self.data.path(), &self.settings, &self.log);
        let process = process.map_err(|status| (status.code(), self.log.text().split_off(before)))?;
        for (name, address) in process.addresses() {
            self.settings.push((variable(name), address.to_string()));
        }
        self.process = Some(process);
        Ok(())
    }

    pub(super) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// SIGKILL, and a new start.
    pub(super) fn kill_and_start(&mut self) {
        self.process().kill();
        self.start();
    }

    /// Waits for the end that the process comes to by itself; returns the exit code.
    pub(super) fn ended(&mut self) -> Option<i32> {
        let process = self.process();
        until("the process ends by itself", || process.has_ended());
        process.wait().code()
    }

    /// SIGTERM; returns the exit code.
    pub(super) fn stop(&mut self) -> Option<i32> {
        self.process().signal("-TERM");
        self.process().wait().code()
    }

    /// Where clients connect.
    pub(super) fn mqtt(&self) -> SocketAddr {
        self.process.as_ref().expect("it runs").mqtt()
    }

    /// Whether it serves: a bridge that stands by does not.
    pub(super) fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|answer| answer.status() == 200)
    }

    /// What it answers over HTTP; `None`: nothing in time.
    pub(super) fn get(&self, path: &str) -> Option<Response<Body>> {
        let url = format!("http://{}{path}", self.process.as_ref()?.http());
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_WITHIN));
        Agent::from(config.proxy(None).build()).get(url).call().ok()
    }

    /// Runs a command with this member's settings and data.
    pub(super) fn run(&self, arguments: &[&str]) -> Ended {
        run(arguments, self.data.path(), &self.settings)
    }
}

impl Drop for Member {
    #[expect(clippy::print_stderr, reason = "shown with the test's failure")]
    fn drop(&mut self) {
        self.process = None;
        if thread::panicking() {
            eprintln!("---- log of the {} ----\n{}", self.role, self.log.text());
        }
    }
}
