//! What stands in deploy/monitoring: alerts, the dashboard, and a real Prometheus that reads a real server with them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{SOURCE, promtool};
use crate::server::Server;
use crate::until;

const RULES: &str = "deploy/monitoring/alerts.yml";

fn read(file: &str) -> String {
    fs::read_to_string(format!("{SOURCE}/{file}")).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// What follows a word on the lines that begin with it.
fn after<'a>(text: &'a str, word: &str) -> BTreeSet<&'a str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(word)).collect()
}

/// Names of metrics in an expression.
fn metrics_in(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|it: char| !(it.is_ascii_alphanumeric() || it == '_'));
    words.filter(|word| word.starts_with("godwit_") || word.starts_with("process_"))
}

/// The names that metrics.md has, with those that Prometheus makes of histograms.
fn is_documented(metric: &str, page: &str) -> bool {
    let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| metric.strip_suffix(suffix));
    page.contains(&format!("| `{}` |", family.unwrap_or(metric)))
}

#[test]
fn alerts_fire_when_they_should_and_each_has_a_runbook() {
    let (ok, said) = promtool(&["check", "rules", RULES], "");
    assert!(ok, "{said}");
    let (ok, said) = promtool(&["test", "rules", "deploy/monitoring/alerts_test.yml"], "");
    assert!(ok, "{said}");
    let (rules, tests) = (read(RULES), read("deploy/monitoring/alerts_test.yml"));
    let (runbook, page) = (read("docs/operators/runbook.md"), read("docs/operators/metrics.md"));
    let alerts = after(&rules, "- alert: ");
    assert!(alerts.len() > 20, "{alerts:?}");
    for alert in &alerts {
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} has no test");
        let link = format!("runbook: docs/operators/runbook.md#{}", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert} has no annotation {link}");
    }
    assert_eq!(after(&runbook, "## "), alerts, "sections of the runbook");
    let unknown: BTreeSet<_> = metrics_in(&rules).filter(|metric| !is_documented(metric, &page)).collect();
    assert!(unknown.is_empty(), "the alerts name what no server shows: {unknown:?}");
}

#[test]
fn the_dashboard_names_what_is_shown_and_prometheus_reads_it() {
    let dashboard: Value = serde_json::from_str(&read("deploy/monitoring/grafana/godwit.json")).expect("JSON");
    let mut expressions = Vec::new();
    gather(&dashboard, &mut expressions);
    assert!(expressions.len() > 50, "{}", expressions.len());
    let page = read("docs/operators/metrics.md");
    let named = expressions.iter().flat_map(|expression| metrics_in(expression));
    let unknown: BTreeSet<_> = named.filter(|metric| !is_documented(metric, &page)).collect();
    assert!(unknown.is_empty(), "the dashboard names what no server shows: {unknown:?}");
    // As recording rules, with Grafana's variables replaced as Grafana does it.
    let folder = tempfile::tempdir().expect("a folder");
    let rules = (0..).zip(&expressions).map(|(number, expression): (u32, _)| {
        let expression = expression.replace("$__rate_interval", "5m").replace("$instance", ".*");
        format!("  - {{record: \"panel:{number}\", expr: {}}}\n", Value::from(expression))
    });
    let file = folder.path().join("rules.yml");
    fs::write(&file, format!("groups:\n- name: panels\n  rules:\n{}", rules.collect::<String>())).expect("written");
    let (ok, said) = promtool(&["check", "rules", file.to_str().expect("text")], "");
    assert!(ok, "{said}");
}

/// All expressions of PromQL in a dashboard.
fn gather(value: &Value, expressions: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            expressions.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| gather(field, expressions));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, expressions)),
        _ => {}
    }
}

/// A Prometheus in a folder of its own, killed when dropped.
struct Prometheus {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    /// With the configuration of deploy/monitoring, but for the target and for how often it looks.
    fn watching(server: &Server) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = read("deploy/monitoring/prometheus.yml")
            .replace("127.0.0.1:9464", &server.metrics().to_string())
            .replace("_interval: 15s", "_interval: 1s");
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).expect("written");
        fs::copy(format!("{SOURCE}/{RULES}"), folder.path().join("alerts.yml")).expect("copied");
        let (ok, said) = promtool(&["check", "config", file.to_str().expect("text")], "");
        assert!(ok, "{said}");
        // Free, and nobody else takes it in this moment.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let log = File::create(folder.path().join("log")).expect("a file");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let started = command.spawn();
        let process = started.expect("Prometheus is installed (Debian: prometheus); `make test` installs it");
        Self { process, address, _folder: folder }
    }

    /// The answer to a question about alerts or targets. `Null`: it does not answer yet.
    fn ask(&self, what: &str) -> Value {
        let answer = ureq::get(format!("http://{}/api/v1/{what}", self.address)).call();
        let text = answer.ok().and_then(|mut answer| answer.body_mut().read_to_string().ok());
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

#[test]
fn a_real_prometheus_reads_a_server_and_an_alert_fires() {
    // More than any disk has, so that the disk counts as full.
    let server = Server::with(&[("store.reserve_mib", "1048576")]);
    let prometheus = Prometheus::watching(&server);
    until("Prometheus has read the server", || {
        let targets = prometheus.ask("targets");
        let target = &targets["data"]["activeTargets"][0];
        assert_ne!(target["health"], "down", "{target}");
        target["health"] == "up"
    });
    until("the alert fires", || {
        let alerts = prometheus.ask("alerts");
        let alerts = alerts["data"]["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
        alerts.iter().any(|alert| alert["labels"]["alertname"] == "GodwitDiskFull" && alert["state"] == "firing")
    });
    let mut server = server;
    server.kill();
    until("Prometheus has noticed the end of the server", || {
        prometheus.ask("targets")["data"]["activeTargets"][0]["health"] == "down"
    });
}
