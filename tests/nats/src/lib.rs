//! NATS servers for tests: each on an address and a port that nobody else has, with its files in a folder of its own. Killed
//! when dropped. Failures panic: only tests call it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// What Godwit needs, as deploy/cluster/nats.conf says it.
const MAX_PAYLOAD: &str = "8MB";

/// A NATS server.
#[derive(Debug)]
pub struct NatsServer {
    address: SocketAddr,
    folder: TempDir,
    process: Option<Child>,
}

impl NatsServer {
    /// A server by itself.
    pub fn start() -> Self {
        Self::with_max_payload(MAX_PAYLOAD)
    }

    /// A server by itself that takes payloads of at most so many bytes, written as in its settings.
    pub fn with_max_payload(max_payload: &str) -> Self {
        let mut server = Self::prepare(own_host());
        server.configure(&format!("max_payload: {max_payload}\n"));
        server.start_again();
        server
    }

    /// Servers that are one cluster.
    pub fn cluster(servers: usize) -> Vec<Self> {
        let mut cluster: Vec<_> = (0..servers).map(|_| Self::prepare(own_host())).collect();
        let routes: Vec<_> = cluster.iter().map(|server| free_port(server.address.ip())).collect();
        let urls: Vec<_> = routes.iter().map(|route| format!("\"nats://{route}\"")).collect();
        let urls = urls.join(", ");
        for (server, route) in cluster.iter_mut().zip(&routes) {
            let name = server.address.ip();
            let cluster = format!("cluster {{ name: test, listen: \"{route}\", routes: [ {urls} ] }}");
            server.configure(&format!("server_name: \"{name}\"\nmax_payload: {MAX_PAYLOAD}\n{cluster}\n"));
            server.start_again();
        }
        cluster
    }

    fn prepare(host: Ipv4Addr) -> Self {
        let folder = tempfile::Builder::new().prefix("godwit-nats-").tempdir().expect("a folder");
        Self { address: free_port(host.into()), folder, process: None }
    }

    fn configure(&self, conf: &str) {
        let listen = format!("listen: \"{}\"\n", self.address);
        std::fs::write(self.folder.path().join("conf"), listen + conf).expect("written");
    }

    /// Like `nats://127.0.0.1:4222`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Starts it, or starts it again where it was. Returns when it takes connections.
    pub fn start_again(&mut self) {
        self.kill();
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a file");
        // Debian has it where not every user looks.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("nats-server");
        command.env("PATH", path).arg("-c").arg(self.folder.path().join("conf"));
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.process = Some(started.expect("nats-server is installed: scripts/prerequisites test"));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            let ended =
                self.process.as_mut().is_some_and(|process| process.try_wait().is_ok_and(|ended| ended.is_some()));
            assert!(!ended, "nats-server ended:\n{}", self.log());
            assert!(Instant::now() < deadline, "nats-server does not start:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("killed");
            process.wait().expect("a child");
        }
    }

    /// Sends a signal, as in `-STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.process.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill").success());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of this address that is free.
fn free_port(host: std::net::IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((host, 0)).expect("a port");
    listener.local_addr().expect("an address")
}

/// A loopback address that no other test uses. So no client's own port is ever one that a server had and wants back.
fn own_host() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high & 127, low, NEXT.fetch_add(1, Ordering::Relaxed))
}
