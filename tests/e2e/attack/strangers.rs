//! Who takes a place of a listener for HTTP and makes no use of it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::Bystanders;
use crate::chat::media::depot::{announcement, content, put, upload};
use crate::chat::web::{Web, base64};
use crate::identity::web;
use crate::server::Server;
use crate::until;

/// More than there are places.
const HALF_HEADS: usize = 300;
const DRIBBLING_BODIES: usize = 300;
/// By one link: as many as there are places.
const SLOW: usize = 256;

const HALF_A_HEAD: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: ";
const HEAD: &[u8] = b"POST /v1/registrations HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                      content-length: 1000\r\n\r\n";

/// One who does not go away: comes again when it is shown out.
struct Nuisance {
    addr: SocketAddr,
    says: Vec<u8>,
    stream: Option<TcpStream>,
}

impl Nuisance {
    fn new(addr: SocketAddr, says: &[u8]) -> Self {
        Self { addr, says: says.to_vec(), stream: None }
    }

    /// Says one byte more.
    fn go_on(&mut self) {
        if self.stream.as_mut().is_none_or(|stream| stream.write_all(b"x").is_err()) {
            self.stream = TcpStream::connect(self.addr).ok();
            self.stream.iter_mut().for_each(|stream| _ = stream.write_all(&self.says));
        }
    }
}

/// They go home, also when a test has failed.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn an_administrator_and_a_user_are_served_whatever_strangers_do() {
    let server = Server::with(&[("registration.enabled", "true")]);
    let mut others = Bystanders::meet(&server);
    let carol = server.add_user("carol", "phone");
    let over = AtomicBool::new(false);
    others.go_on_during(|| {
        std::thread::scope(|scope| {
            let http = server.http();
            let heads = (0..HALF_HEADS).map(|_| Nuisance::new(http, HALF_A_HEAD));
            let bodies = (0..DRIBBLING_BODIES).map(|_| Nuisance::new(http, HEAD));
            let mut all: Vec<_> = heads.chain(bodies).collect();
            all.iter_mut().for_each(Nuisance::go_on);
            let _ends = Ends(&over);
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    all.iter_mut().for_each(Nuisance::go_on);
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            for at in 0..20 {
                let message = json!({ "user": "carol", "body": base64("hello"), "client_sequence": at + 1 });
                // Each on a connection of its own; one that is told to come again comes again.
                until("a user is served", || {
                    let sent = Web::of(&server, &carol).try_ask("POST", "/messages", Some(message.clone()));
                    sent.is_ok_and(|(status, _)| status == 201)
                });
                until("an administrator is served", || {
                    Web::administrator(&server, "carol").try_ask("GET", "/devices", None).is_ok_and(|it| it.0 == 200)
                });
            }
        });
    });
}

#[test]
fn one_link_on_many_slow_connections_holds_up_nobody() {
    let server = Server::start();
    let [alice, bob] = ["alice", "bob"].map(|user| Web::of(&server, &server.add_user(user, "phone")));
    // So small that it comes with its head.
    let bytes = content(1_000, 1);
    let announced = alice.done("POST", "/media", Some(announcement(&bytes)));
    let head = head(&announced["link"], bytes.len());
    let begin = |_| {
        let mut stream = TcpStream::connect(server.media()).expect("a connection");
        _ = stream.write_all(&[head.as_bytes(), b"x"].concat());
        stream.set_nonblocking(true).expect("set");
        (stream, String::new())
    };
    let mut slow: Vec<_> = (0..SLOW).map(begin).collect();
    upload(&bob, &content(100_000, 2));
    until("all but eight are refused", || {
        for (stream, told) in &mut slow {
            let mut buffer = [0; 512];
            let len = stream.read(&mut buffer).unwrap_or(0);
            told.push_str(std::str::from_utf8(&buffer[..len]).expect("text"));
        }
        let is_refused = |told: &str| told.starts_with("HTTP/1.1 429 ") && told.contains("retry-after: 1");
        slow.iter().filter(|(_, told)| is_refused(told)).count() == SLOW - 8
    });
    assert_eq!(put(&announced["link"], &bytes), 429);
    upload(&bob, &content(100_000, 3));
    drop(slow);
    until("alice's own upload goes through", || put(&announced["link"], &bytes) == 200);
}

/// The head of a request by link, as a client sends it.
fn head(link: &Value, len: usize) -> String {
    let url = link["url"].as_str().expect("a URL").strip_prefix("http://").expect("not encrypted");
    let (host, path) = url.split_once('/').expect("a path");
    let headers = link["headers"].as_object().expect("headers").iter();
    let headers = headers.map(|(name, value)| format!("{name}: {}\r\n", value.as_str().expect("text")));
    let headers: String = headers.collect();
    format!("PUT /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len}\r\n{headers}\r\n")
}

#[test]
fn behind_a_proxy_each_of_its_clients_has_a_share() {
    let settings = [
        ("http.proxy_from", "127.0.0.0/8"),
        // Room enough that nobody makes room for anybody.
        ("http.connections_max", "40"),
        ("registration.enabled", "true"),
        ("registration.per_number_per_hour", "0"),
        ("registration.per_address_per_hour", "0"),
    ];
    let server = Server::with(&settings);
    // A request that is under way: its head has come, as the interim response says, and its body does not.
    let begin = |from: &str| {
        let mut stream = TcpStream::connect(server.http()).expect("a connection");
        let more = format!("\r\nexpect: 100-continue\r\nx-forwarded-for: {from}\r\n\r\n");
        stream.write_all(String::from_utf8_lossy(HEAD).replace("\r\n\r\n", &more).as_bytes()).expect("written");
        let mut told = [0; 12];
        stream.read_exact(&mut told).expect("an interim response");
        assert_eq!(told, *b"HTTP/1.1 100");
        stream
    };
    let asked = |from: &str| {
        let said = json!({ "phone": "+4930123456" });
        web::post(&server, "/v1/registrations", &[("x-forwarded-for", from)], &said).status
    };
    // A quarter of all places.
    let slow: Vec<_> = (0..10).map(|at| begin(if at % 2 == 0 { "192.0.2.1:50000" } else { "192.0.2.1" })).collect();
    assert_eq!([asked("192.0.2.1,"), asked("192.0.2.1"), asked("192.0.2.2")], [429, 429, 202]);
    drop(slow);
    until("there is room again", || asked("192.0.2.1") == 202);
}
