//! Debian's HAProxy with deploy/proxies/haproxy.cfg in front of a real server: clients get through, their addresses are known, and
//! operators' routes are not reached from outside.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::mqtt::{Client, RESUME, VERSIONS, Version};
use crate::server::{Account, Server, own_host};
use crate::until;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/proxies/haproxy.cfg");

/// Killed when dropped.
struct Haproxy {
    process: Child,
    mqtt: SocketAddr,
    http: SocketAddr,
    _folder: TempDir,
}

impl Haproxy {
    /// With the configuration as it is, but for addresses, and without TLS, which is HAProxy's own business.
    fn before(server: &Server) -> Self {
        let host = own_host();
        let free = || TcpListener::bind(format!("{host}:0")).and_then(|it| it.local_addr()).expect("a free port");
        let (mqtt, http) = (free(), free());
        let config = fs::read_to_string(CONFIG).expect("the configuration");
        let replaced = [
            (":8883 ssl crt /etc/haproxy/godwit.pem", mqtt.to_string()),
            (":8444 ssl crt /etc/haproxy/godwit.pem", http.to_string()),
            ("godwit 127.0.0.1:1883", format!("godwit {}", server.mqtt())),
            ("godwit 127.0.0.1:8080", format!("godwit {}", server.http())),
            ("maxconn 200000", "maxconn 100".to_owned()),
        ];
        let config = replaced.iter().fold(config, |config, (from, to)| {
            assert_eq!(config.matches(from).count(), 1, "{from}");
            config.replace(from, to)
        });
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, config).expect("written");
        let log = File::create(folder.path().join("log")).expect("a file");
        let mut command = Command::new("haproxy");
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        command.arg("-db").arg("-f").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = command.spawn().expect("HAProxy is installed (Debian: haproxy); `make test` installs it");
        let it = Self { process, mqtt, http, _folder: folder };
        until("HAProxy lets requests through", || it.get("/readyz") == Some(200));
        it
    }

    /// The status of a request. `None`: there is no answer.
    fn get(&self, path: &str) -> Option<u16> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Some(agent.get(format!("http://{}{path}", self.http)).call().ok()?.status().as_u16())
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // It may have ended.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

#[test]
fn clients_get_through_and_operators_routes_are_closed() {
    let proxied =
        [("mqtt.proxy_protocol", "true"), ("mqtt.proxy_from", "127.0.0.0/8"), ("http.proxy_from", "127.0.0.0/8")];
    let server = Server::with(&proxied);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let haproxy = Haproxy::before(&server);
    for version in VERSIONS {
        let mut at_bob = Client::connect(haproxy.mqtt, &bob, version, RESUME);
        assert_eq!(at_bob.subscribe("inbox/#"), 1);
        let mut sender = Client::connect(haproxy.mqtt, &alice, version, RESUME);
        assert_eq!(sender.publish("to/bob", b"through the proxy"), 0);
        assert_eq!(at_bob.body(), "through the proxy");
    }
    let wrong = Account { password: "guess".to_owned(), ..alice };
    assert_eq!(Client::open(haproxy.mqtt, Version::V5).login(&wrong, RESUME).expect("CONNACK").0, 0x86);
    server.wait_for_log(&["refused a connection", "addr=127."]);
    assert_eq!(haproxy.get("/v1/openapi.json"), Some(200));
    assert_eq!(haproxy.get("/v1/users/alice/conversations"), Some(401));
    assert_eq!(haproxy.get("/v1/admin/users"), Some(403), "by HAProxy itself");
}
