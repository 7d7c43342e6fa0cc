//! Clients that take their time: as long as they stay they have a place, and there are only so many.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::{Bystanders, lets_in};
use crate::clients::publish_with_tls;
use crate::identity::issuer::{Issuer, now_s};
use crate::mqtt::CLEAN;
use crate::mqtt::{Client, Version, connect};
use crate::server::{Account, Server};
use crate::{PATIENCE, until};

/// Connections in every test run.
const CONNECTIONS: usize = 1_000;
/// Of them, those that log in at once.
const AT_ONCE: usize = 100;
/// Files that the rest of a test run has open.
const OTHER_FILES: u64 = 1_000;

/// How many connections there are: fewer than asked for where the system does not allow a process so many files.
#[expect(clippy::print_stdout, reason = "that it was less than asked for must not go unsaid")]
fn count() -> usize {
    let asked = std::env::var("GODWIT_SLOW").ok();
    let asked = asked.map_or(CONNECTIONS, |text| text.parse().expect("GODWIT_SLOW is a number"));
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("a process may go up to its hard limit");
    let room = maximum.map_or(u64::MAX, |files| files.saturating_sub(OTHER_FILES).max(files / 2));
    let count = asked.min(usize::try_from(room).unwrap_or(usize::MAX));
    if count < asked {
        println!("  {count} connections instead of {asked}: no process may have more than {maximum:?} open files");
    }
    count
}

/// What connections may cost at the most.
#[expect(clippy::print_stdout, reason = "what `make attack` is for")]
fn cost(server: &Server, before_kib: u64, connections: usize, kib_each: u64) {
    let grown = server.rss_anon_kib().saturating_sub(before_kib);
    println!("  {connections} connections: {grown} KiB more");
    assert!(grown < 16 * 1024 + kib_each * connections as u64, "{grown} KiB for {connections} connections");
}

fn begin(addr: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let begin = |_| {
        let mut stream = TcpStream::connect(addr).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        // It may have been closed already.
        _ = stream.write_all(bytes);
        stream
    };
    (0..count).map(begin).collect()
}

fn are_closed(streams: Vec<TcpStream>) {
    for mut stream in streams {
        assert!(matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_)), "closed without a word");
    }
}

#[test]
fn who_sends_a_byte_now_and_then_stands_in_nobodys_way() {
    let count = count();
    // Time enough for all of them to be there at once.
    let deadline_s = (1 + count / 1_000).to_string();
    let (server, root, _folder) = crate::tls::start_with(&[("limits.connect_deadline_s", &deadline_s)]);
    let mut others = Bystanders::meet(&server);
    let carol = server.add_user("carol", "phone");
    let whole = connect(Version::V5, &carol, CLEAN);
    let before = server.rss_anon_kib();
    let [plain, hellos, upgrades] = others.go_on_during(|| {
        let mut plain = begin(server.mqtt(), count * 3 / 5, &whole[..1]);
        let hellos = begin(server.mqtts(), count / 5, &[0x16, 3, 1, 2, 0, 1]);
        let upgrades = begin(server.ws(), count / 5, b"GET /mqtt HTTP/1.1\r\nHo");
        for byte in &whole[1..20] {
            for stream in &mut plain {
                _ = stream.write_all(&[*byte]);
            }
        }
        [plain, hellos, upgrades]
    });
    cost(&server, before, count, 24);
    lets_in(&server, &carol);
    assert!(publish_with_tls(&server, &root, &carol, "5", ("to/bob", "over TLS")).0);
    assert_eq!(others.bob.body(), "over TLS");
    others.go_on_during(|| [plain, hellos, upgrades].into_iter().for_each(are_closed));
}

#[test]
fn who_is_known_and_sends_a_byte_now_and_then_stands_in_nobodys_way() {
    let count = count();
    let issuer = Issuer::new();
    let settings = issuer.settings(&[("jwt.create_users", "true")]);
    let settings: Vec<_> = settings.iter().map(|(key, value)| (&key[..], &value[..])).collect();
    let server = Server::with(&settings);
    let mut others = Bystanders::meet(&server);
    let before = server.rss_anon_kib();
    let mut known = others.go_on_during(|| {
        let account = |n| {
            let (user, device) = (format!("slow{n}"), "phone".to_owned());
            let claims = json!({ "iss": "tests", "aud": "chat", "sub": user, "device": device, "exp": now_s() + 600 });
            Account { password: issuer.token(&claims), user, device }
        };
        let begin = |n| begin(server.mqtt(), 1, &connect(Version::V4, &account(n), CLEAN)).remove(0);
        let mut known: Vec<TcpStream> = Vec::with_capacity(count);
        while known.len() < count {
            // No more at once than may wait for their turn.
            let last = count.min(known.len() + AT_ONCE);
            let mut some: Vec<_> = (known.len()..last).map(begin).collect();
            for stream in &mut some {
                let mut connack = [0; 4];
                stream.read_exact(&mut connack).expect("CONNACK");
                assert_eq!(connack, [0x20, 2, 0, 0]);
            }
            known.append(&mut some);
        }
        known
    });
    let packet = [&[0x32, 12, 0, 6][..], b"to/bob", &[0, 1], b"hi"].concat();
    others.go_on_during(|| {
        for byte in &packet[..packet.len() - 1] {
            known.iter_mut().for_each(|stream| stream.write_all(&[*byte]).expect("it is still connected"));
        }
    });
    cost(&server, before, count, 32);
    lets_in(&server, &server.add_user("carol", "phone"));
    // Nothing is lost of what took so long.
    for stream in known.iter_mut().take(10) {
        stream.write_all(&packet[packet.len() - 1..]).expect("sent");
        stream.read_exact(&mut [0; 4]).expect("PUBACK");
        assert_eq!(others.bob.body(), "hi");
    }
}

#[test]
fn handshakes_have_only_so_many_places_and_others_get_them_later() {
    let (server, root, _folder) =
        crate::tls::start_with(&[("limits.handshakes_max", "8"), ("limits.connect_deadline_s", "1")]);
    let mut others = Bystanders::meet(&server);
    let carol = server.add_user("carol", "phone");
    let hellos = begin(server.mqtts(), 20, &[0x16, 3, 1, 2, 0, 1]);
    others.chat();
    lets_in(&server, &carol);
    // It waits for its turn, two or three deadlines from now.
    assert!(publish_with_tls(&server, &root, &carol, "5", ("to/bob", "over TLS")).0);
    assert_eq!(others.bob.body(), "over TLS");
    are_closed(hellos);
}

#[test]
fn strangers_are_only_so_many_and_those_who_are_known_stay() {
    let server = Server::with(&[("limits.unauthenticated_connections", "20"), ("limits.connect_deadline_s", "1")]);
    let mut others = Bystanders::meet(&server);
    let carol = server.add_user("carol", "phone");
    let silent = begin(server.mqtt(), 60, &[0x10]);
    others.chat();
    are_closed(silent);
    until("there is room again", || {
        let client = Client::try_open(server.mqtt(), Version::V5, 0);
        client.and_then(|mut client| client.login(&carol, CLEAN)).is_ok_and(|(reason, _)| reason == 0)
    });
    others.chat();
}

#[test]
fn who_announces_much_and_sends_little_takes_no_memory() {
    let server = Server::start();
    let mut others = Bystanders::meet(&server);
    let mallory = server.add_user("mallory", "phone");
    let devices: Vec<_> = (0..10).map(|n| server.add_device("mallory", &format!("d{n}"))).collect();
    let before = server.rss_anon_kib();
    // The largest packet there may be, to the last byte; 130 KB each would be 1.3 MB, and CONNECT may not be so long.
    let mut greedy: Vec<_> = devices.iter().map(|it| Client::connect(server.mqtt(), it, Version::V5, CLEAN)).collect();
    for client in &mut greedy {
        client.send(&[0x32, 0xFC, 0xFF, 0x07, 0]);
    }
    for bytes in [[0x10, 0xFF, 0xFF, 0xFF, 0x7F], [0x10, 0xFF, 0xFF, 0x07, 0], [0x32, 0xFF, 0xFF, 0xFF, 0x7F]] {
        begin(server.mqtt(), 100, &bytes).into_iter().for_each(|mut stream| {
            assert!(matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_)), "closed at once");
        });
    }
    others.chat();
    lets_in(&server, &mallory);
    let grown = server.rss_anon_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for a few bytes");
}
