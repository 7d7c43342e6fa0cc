//! Behind a proxy that says who its client is; and so the limits of an address, for which a test has only one of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::mqtt::{Client, RESUME, Version, connect};
use crate::server::{Account, Server};
use crate::until;

/// The header of a client at this address (PROXY protocol, version 2).
fn header(from: &str) -> Vec<u8> {
    let (family, addrs) = match from.parse().expect("an address") {
        IpAddr::V4(addr) => (0x11, [addr.octets(), [127, 0, 0, 1]].concat()),
        IpAddr::V6(addr) => (0x21, [addr.octets(), [0; 16]].concat()),
    };
    let len = addrs.len() as u8 + 4;
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, family, 0, len], &addrs, &[0; 4]].concat()
}

fn server(settings: &[(&str, &str)]) -> (Server, Account) {
    let proxy = [("mqtt.proxy_protocol", "true"), ("mqtt.proxy_from", "10.0.0.0/8, 127.0.0.0/8")];
    let server = Server::with(&[&proxy[..], settings].concat());
    let account = server.add_user("alice", "phone");
    (server, account)
}

fn dial(server: &Server, from: &str) -> Client {
    let mut client = Client::open(server.mqtt(), Version::V5);
    client.send(&header(from));
    client
}

/// A connection that answers, although it has not said who it is: what is no CONNECT would close it.
fn is_kept(client: &mut Client) -> io::Result<bool> {
    Ok(client.try_next(Duration::from_millis(50))?.is_none())
}

#[test]
fn the_client_is_who_the_proxy_says() {
    let (server, alice) = server(&[]);
    let mut client = dial(&server, "192.0.2.7");
    assert_eq!(client.login(&alice, RESUME).expect("an answer"), (0, false));
    client.settle();
    let wrong = Account { password: "guess".to_owned(), ..alice.clone() };
    assert_eq!(dial(&server, "2001:db8::7").login(&wrong, RESUME).expect("an answer").0, 0x86);
    server.wait_for_log(&["refused a connection", "alice", "2001:db8::7"]);
    // Who begins without a header is closed without a word, also with one of version 1.
    for bytes in [connect(Version::V5, &alice, RESUME), b"PROXY TCP4 192.0.2.7 127.0.0.1 4660 1883\r\n".to_vec()] {
        let mut client = Client::open(server.mqtt(), Version::V5);
        client.send(&bytes);
        assert_eq!(client.closed(), None);
    }
    server.wait_for_log(&["turned away", "setting=\"mqtt.proxy_protocol\"", "addr=127."]);
    client.settle();
}

#[test]
fn only_proxies_that_are_named_are_believed() {
    let server = Server::with(&[("mqtt.proxy_protocol", "true"), ("mqtt.proxy_from", "10.0.0.0/8")]);
    assert_eq!(Client::open(server.mqtt(), Version::V5).closed(), None);
    server.wait_for_log(&["turned away", "setting=\"mqtt.proxy_from\"", "addr=127."]);
}

#[test]
fn an_address_has_so_many_connections_and_a_neighbour_has_its_own() {
    let (server, alice) =
        server(&[("limits.connections_per_address", "3"), ("limits.unauthenticated_per_address", "2")]);
    let mut known = dial(&server, "192.0.2.7");
    assert_eq!(known.login(&alice, RESUME).expect("an answer").0, 0);
    let mut strangers = [dial(&server, "192.0.2.7"), dial(&server, "192.0.2.7")];
    assert!(strangers.iter_mut().all(|client| is_kept(client).expect("open")));
    assert_eq!(dial(&server, "192.0.2.7").closed(), None, "a fourth one");
    server.wait_for_log(&["turned away", "setting=\"limits.connections_per_address\"", "addr=192.0.2.7"]);
    let mut others = [dial(&server, "2001:db8::1"), dial(&server, "2001:db8::2")];
    assert!(others.iter_mut().all(|client| is_kept(client).expect("open")));
    assert_eq!(dial(&server, "2001:db8::3").closed(), None, "a third stranger of one network");
    server.wait_for_log(&["turned away", "setting=\"limits.unauthenticated_per_address\"", "addr=2001:db8::3"]);
    let mut neighbour = dial(&server, "2001:db8:0:1::1");
    assert!(is_kept(&mut neighbour).expect("open"));
    drop(strangers);
    until("its places are free", || {
        let mut client = dial(&server, "192.0.2.7");
        is_kept(&mut client).unwrap_or(false)
    });
    known.settle();
}

#[test]
fn guessing_is_slow_for_who_guesses_and_for_nobody_else() {
    let (server, alice) = server(&[("limits.failed_logins", "1")]);
    let bob = server.add_user("bob", "phone");
    let wrong = Account { password: "guess".to_owned(), ..alice.clone() };
    // The last of these waits for two seconds.
    for _ in 0..4 {
        assert_eq!(dial(&server, "192.0.2.7").login(&wrong, RESUME).expect("an answer").0, 0x86);
    }
    // And these for four at least.
    let mut guesses: Vec<_> = (0..20).map(|_| dial(&server, "192.0.2.7")).collect();
    for client in &mut guesses {
        client.send(&connect(Version::V5, &wrong, RESUME));
    }
    let mut honest = dial(&server, "192.0.2.8");
    assert_eq!(honest.login(&bob, RESUME).expect("an answer").0, 0);
    assert_eq!(honest.publish("to/alice", b"hello"), 0);
    for client in &mut guesses {
        assert!(is_kept(client).expect("it waits"));
    }
}

#[test]
fn the_address_of_a_connection_is_not_taken_from_a_stranger() {
    // Without the setting a header is no MQTT.
    let server = Server::start();
    let address: SocketAddr = server.mqtt();
    let mut client = Client::open(address, Version::V5);
    client.send(&header("192.0.2.7"));
    assert_eq!(client.closed(), None);
}
