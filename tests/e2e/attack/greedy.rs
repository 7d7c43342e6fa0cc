//! Clients with an account that ask for more than is theirs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Bystanders, lets_in};
use crate::PATIENCE;
use crate::mqtt::{CLEAN, Client, Packet, RESUME, VERSIONS, Version, connect};
use crate::server::{Account, Server};
use crate::websocket::{frame, upgraded};

#[test]
fn a_device_is_not_taken_over_without_its_secret() {
    let server = Server::start();
    let mut others = Bystanders::meet(&server);
    let mallory = server.add_user("mallory", "phone");
    for account in [
        Account { user: "alice".to_owned(), ..mallory.clone() },
        Account { user: "alice".to_owned(), password: String::new(), ..mallory.clone() },
        // The same client identifier is another device, since it is another user's.
        mallory,
    ] {
        let mut client = Client::open(server.mqtt(), Version::V5);
        let (reason, _) = client.login(&account, CLEAN).expect("an answer");
        assert_eq!(reason, if account.user == "alice" { 0x86 } else { 0 });
        others.chat();
    }
}

#[test]
fn identifiers_that_are_never_released_are_only_so_many() {
    let server = Server::start();
    let mut others = Bystanders::meet(&server);
    let mallory = server.add_user("mallory", "phone");
    let pubrec = |packet: &Packet| matches!(packet, Packet::Pubrec { .. }).then_some(());
    let send = |client: &mut Client, id: u16| {
        let mut publish = client.publish_bytes(id, false, "to/bob", b"x");
        publish[0] = 0x34;
        client.send(&publish);
    };
    // The oldest ones are forgotten, and nothing grows.
    for version in VERSIONS {
        let mut client = Client::connect(server.mqtt(), &mallory, version, CLEAN);
        for id in 1..=1_500 {
            send(&mut client, id);
            client.take("PUBREC", pubrec);
            assert_eq!(others.bob.body(), "x");
        }
        client.settle();
        others.chat();
    }
}

#[test]
fn aliases_are_only_so_many() {
    let server = Server::start();
    let mut others = Bystanders::meet(&server);
    let mallory = server.add_user("mallory", "phone");
    let publish = |alias: u16| {
        let [high, low] = alias.to_be_bytes();
        [&[0x30, 13, 0, 6][..], b"to/bob", &[3, 0x23, high, low], b"x"].concat()
    };
    for alias in [0, 17, u16::MAX] {
        let mut client = Client::connect(server.mqtt(), &mallory, Version::V5, CLEAN);
        (1..=16).for_each(|alias| client.send(&publish(alias)));
        client.settle();
        (0..16).for_each(|_| assert_eq!(others.bob.body(), "x"));
        client.send(&publish(alias));
        assert_eq!(client.closed(), Some(0x94), "{alias}");
        others.chat();
    }
    lets_in(&server, &mallory);
}

#[test]
fn who_floods_is_held_back_and_nobody_else_is() {
    let server = Server::with(&[("limits.packets_per_s", "200")]);
    let mut others = Bystanders::meet(&server);
    let mallory = server.add_user("mallory", "phone");
    let mut stream = TcpStream::connect(server.mqtt()).expect("a connection");
    stream.write_all(&connect(Version::V5, &mallory, CLEAN)).expect("sent");
    // Far more than a burst. What is not read fills the sockets' buffers, and then the flood stands still.
    stream.set_write_timeout(Some(Duration::from_millis(100))).expect("set");
    let pings = [0xC0, 0].repeat(50_000);
    while stream.write_all(&pings).is_ok() {}
    (0..5).for_each(|_| others.chat());
    // It gets its answers, as many as it may have.
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut answers = [0; 100];
    stream.read_exact(&mut answers).expect("CONNACK and answers");
    let carol = server.add_user("carol", "phone");
    lets_in(&server, &carol);
}

#[test]
fn who_does_not_stop_is_closed() {
    let server = Server::with(&[("limits.packets_per_s", "40"), ("limits.over_rate_s", "1")]);
    let mut others = Bystanders::meet(&server);
    server.add_user("mallory", "phone");
    let begun = Instant::now();
    let flood = |version, device: &str, packet: &dyn Fn(&Client, u16) -> Vec<u8>| {
        let mut client = Client::connect(server.mqtt(), &server.add_device("mallory", device), version, CLEAN);
        let packets: Vec<_> = (1..=2_000).flat_map(|id| packet(&client, id)).collect();
        client.send(&packets);
        client
    };
    let ping = |_: &Client, _| vec![0xC0, 0];
    let publish = |client: &Client, id| client.publish_bytes(id, false, "to/mallory", b"x");
    let closed = [flood(Version::V4, "a", &ping), flood(Version::V5, "b", &ping), flood(Version::V4, "c", &publish)]
        .map(Client::closed);
    assert_eq!(closed, [None, Some(0x96), None]);
    assert!(begun.elapsed() > Duration::from_millis(500), "held back first");
    others.chat();
}

#[test]
fn frames_without_end_take_no_memory() {
    let server = Server::with(&[("mqtt.websocket_listen", "127.0.0.1:0")]);
    let mut others = Bystanders::meet(&server);
    let mallory = server.add_user("mallory", "phone");
    let welcome = |version| {
        let mut stream = upgraded(server.ws());
        stream.write_all(&frame(0x82, &connect(version, &mallory, RESUME))).expect("sent");
        stream.read_exact(&mut [0; 4]).expect("CONNACK");
        stream
    };
    let before = server.rss_anon_kib();
    // A message of many fragments with a packet that is too large: it ends when the packet's head is there.
    let mut stream = welcome(Version::V4);
    stream.write_all(&frame(0x02, &[0x32, 0xFF, 0xFF, 0xFF])).expect("sent");
    let fragments = frame(0x00, b"").repeat(20_000);
    stream.write_all(&fragments).expect("empty fragments are no reason to close");
    others.chat();
    stream.write_all(&frame(0x00, &[0x7F])).expect("sent");
    _ = stream.read_to_end(&mut Vec::new());
    // Pings whose answers nobody reads.
    let mut stream = welcome(Version::V4);
    stream.set_write_timeout(Some(Duration::from_millis(100))).expect("set");
    let pings = frame(0x89, &[0; 125]).repeat(1_000);
    (0..50).take_while(|_| stream.write_all(&pings).is_ok()).count();
    others.chat();
    lets_in(&server, &mallory);
    let grown = server.rss_anon_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
}
