//! Bad input: each has a defined answer, and nobody else notices.

use crate::mqtt::{CLEAN, Client, Packet, RESUME, VERSIONS, Version};
use crate::server::{Account, Server};
use crate::{PATIENCE, until};

/// Bytes on a connection that was welcomed: what the server must close it for, with MQTT 5's code.
const MALFORMED: [(&str, &[u8], u8); 17] = [
    ("packet type 0", &[0x00, 0], 0x81),
    ("CONNACK, which is the server's", &[0x20, 2, 0, 0], 0x82),
    ("UNSUBACK, which is the server's", &[0xB0, 2, 0, 1], 0x82),
    ("AUTH, which was not agreed on", &[0xF0, 0], 0x82),
    ("AUTH with a method that was not agreed on", b"\xF0\x08\x19\x06\x15\0\x03jwt", 0x82),
    ("a remaining length of five bytes", &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], 0x81),
    ("256 MB announced", &[0x30, 0xFF, 0xFF, 0xFF, 0x7F], 0x95),
    ("a topic longer than its packet", &[0x32, 5, 0, 200, b'a', 0, 1], 0x81),
    ("a topic that is not UTF-8", &[0x32, 8, 0, 3, b't', b'o', 0xFF, 0, 1, 0], 0x81),
    ("a topic with NUL", &[0x32, 8, 0, 3, b't', 0, b'o', 0, 1, 0], 0x81),
    ("a topic with a wildcard", &[0x32, 8, 0, 3, b't', b'/', b'#', 0, 1, 0], 0x90),
    ("an overlong encoding of a slash", &[0x32, 9, 0, 4, b't', b'o', 0xC0, 0xAF, 0, 1, 0], 0x81),
    ("packet identifier 0", &[0x32, 9, 0, 4, b's', b'e', b'n', b'd', 0, 0, 0], 0x81),
    ("QoS 3", &[0x36, 9, 0, 4, b's', b'e', b'n', b'd', 0, 1, 0], 0x81),
    ("SUBSCRIBE with reserved bits", &[0x80, 5, 0, 1, 0, 0, 0], 0x81),
    ("SUBSCRIBE without a filter", &[0x82, 3, 0, 1, 0], 0x82),
    ("a second CONNECT", &[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0], 0x82),
];

/// A server with alice and bob, and bob there.
fn chat(settings: &[(&str, &str)]) -> (Server, Account, Client) {
    let server = Server::with(settings);
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut bob = Client::connect(server.mqtt(), &bob, Version::V5, RESUME);
    assert_eq!(bob.subscribe("inbox/#"), 1);
    (server, alice, bob)
}

fn still_serves(server: &Server, alice: &Account, bob: &mut Client) {
    let mut alice = Client::connect(server.mqtt(), alice, Version::V5, RESUME);
    assert_eq!(alice.publish("to/bob", b"still there"), 0);
    assert_eq!(bob.body(), "still there");
}

#[test]
fn malformed_packets_close_their_own_connection_and_no_other() {
    let (server, alice, mut bob) = chat(&[]);
    for version in VERSIONS {
        for (what, bytes, reason) in MALFORMED {
            let mut client = Client::connect(server.mqtt(), &alice, version, RESUME);
            client.send(bytes);
            let expected = (version == Version::V5).then_some(reason);
            assert_eq!(client.closed(), expected, "{version:?}: {what}");
        }
    }
    still_serves(&server, &alice, &mut bob);
}

#[test]
fn what_does_not_begin_with_a_connect_gets_no_answer() {
    let (server, alice, mut bob) = chat(&[]);
    let cases: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03",
        &[0x00; 64],
        &[0xFF; 64],
        &[0xC0, 0],
        &[0x32, 4, 0, 1, b'a', 0],
        &[0x10, 0xFF, 0xFF, 0xFF, 0x7F],
        &[0x10, 8, 0, 4, b'H', b'T', b'T', b'P', 4, 2],
    ];
    for bytes in cases {
        let mut client = Client::open(server.mqtt(), Version::V4);
        client.send(bytes);
        match client.try_next(PATIENCE) {
            Err(_) => {}
            answer => panic!("{bytes:?} was answered: {answer:?}"),
        }
    }
    still_serves(&server, &alice, &mut bob);
}

#[test]
fn an_unknown_version_is_told_so() {
    let server = Server::start();
    for (level, name, expected) in [(3_u8, &b"MQIsdp"[..], 1_u8), (3, b"MQTT", 1), (6, b"MQTT", 0x84)] {
        let version = if level > 5 { Version::V5 } else { Version::V4 };
        let mut client = Client::open(server.mqtt(), version);
        let body = [&[0, name.len() as u8][..], name, &[level, 2, 0, 0, 0, 1, b'x']].concat();
        client.send(&[&[0x10, body.len() as u8][..], &body].concat());
        let answer = client.try_next(PATIENCE).expect("an answer");
        assert_eq!(answer, Some(Packet::Connack { session_present: false, reason: expected }), "level {level}");
        client.closed();
    }
}

#[test]
fn a_connect_that_never_comes_is_not_waited_for_long() {
    let (server, alice, mut bob) = chat(&[("limits.connect_deadline_s", "1")]);
    let mut slow: Vec<_> = (0..50).map(|_| Client::open(server.mqtt(), Version::V5)).collect();
    for client in slow.iter_mut().skip(25) {
        client.send(&[0x10, 40, 0, 4, b'M', b'Q']);
    }
    still_serves(&server, &alice, &mut bob);
    for client in slow {
        assert_eq!(client.closed(), None);
    }
    bob.settle();
}

#[test]
fn who_cannot_prove_who_they_are_is_refused() {
    let server = Server::start();
    let alice = server.add_user("alice", "phone");
    let bob = server.add_user("bob", "phone");
    let account = |user: &str, device: &str, password: &str| Account {
        user: user.to_owned(),
        device: device.to_owned(),
        password: password.to_owned(),
    };
    let cases = [
        ("a wrong password", account("alice", "phone", "guess")),
        ("another's password", account("alice", "phone", &bob.password)),
        ("no password", account("alice", "phone", "")),
        ("an unknown user", account("carol", "phone", &alice.password)),
        ("an unknown device", account("alice", "laptop", &alice.password)),
        ("a name that cannot be", account("../alice", "phone", &alice.password)),
        ("no name", account("", "phone", &alice.password)),
    ];
    for version in VERSIONS {
        let expected = if version == Version::V5 { 0x86 } else { 4 };
        for (what, account) in &cases {
            let mut client = Client::open(server.mqtt(), version);
            assert_eq!(client.login(account, CLEAN).expect("CONNACK"), (expected, false), "{version:?}: {what}");
            client.closed();
        }
        Client::connect(server.mqtt(), &alice, version, CLEAN).disconnect();
    }
}

#[test]
fn what_a_message_may_not_be_is_told_in_its_puback() {
    let (server, alice, mut bob) = chat(&[("limits.body_bytes_max", "1000"), ("limits.packet_bytes_max", "10000")]);
    let mut client = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    let over = vec![b'x'; 1_001];
    let cases: [(&str, &[u8], u8); 7] = [
        ("to/nobody", b"hello", 0x90),
        ("send/64000", b"hello", 0x90),
        // PUBACK has no "packet too large"; "quota exceeded" is nearest.
        ("to/bob", &over, 0x97),
        ("send", b"not protobuf", 0x99),
        ("send", b"", 0x99),
        ("receipt", b"\xFF", 0x99),
        ("rpc", b"\xFF", 0x99),
    ];
    for (topic, body, expected) in cases {
        assert_eq!(client.publish(topic, body), expected, "{topic}");
    }
    assert_eq!(client.publish("to/bob", &over[1..]), 0);
    assert_eq!(bob.receive().payload.len(), 1_000);
    client.send(&client.publish_bytes(9, false, "to/bob", &[0; 11_000]));
    assert_eq!(client.closed(), Some(0x95));
    still_serves(&server, &alice, &mut bob);
}

#[test]
fn retained_messages_and_wills_are_refused() {
    let (server, alice, mut bob) = chat(&[]);
    let mut client = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    client.send(&[0x33, 12, 0, 6, b't', b'o', b'/', b'b', b'o', b'b', 0, 1, 0, b'x']);
    assert_eq!(client.closed(), Some(0x9A));
    for version in VERSIONS {
        let (level, properties, expected): (u8, &[u8], u8) = match version {
            Version::V4 => (4, &[], 5),
            Version::V5 => (5, &[0], 0x87),
        };
        let text = |text: &str| [&[0, text.len() as u8][..], text.as_bytes()].concat();
        let [device, user, password] = [&alice.device, &alice.user, &alice.password].map(|it| text(it));
        let will = [properties, &text("to/bob"), &text("boo")].concat();
        let head = [&text("MQTT")[..], &[level, 0xC6, 0, 0], properties].concat();
        let body = [head, device, will, user, password].concat();
        let mut client = Client::open(server.mqtt(), version);
        client.send(&[&[0x10, body.len() as u8][..], &body].concat());
        let answer = client.try_next(PATIENCE).expect("CONNACK");
        assert_eq!(answer, Some(Packet::Connack { session_present: false, reason: expected }), "{version:?}");
    }
    still_serves(&server, &alice, &mut bob);
}

#[test]
fn a_publish_with_qos_2_is_taken_once_by_its_own_handshake() {
    for version in VERSIONS {
        let (server, alice, mut bob) = chat(&[]);
        let mut client = Client::connect(server.mqtt(), &alice, version, RESUME);
        let mut publish = client.publish_bytes(3, false, "to/bob", b"hello");
        let pubrec = |packet: &Packet| match packet {
            Packet::Pubrec { packet_id: 3, reason } => Some(*reason),
            _ => None,
        };
        // Twice, the second time with DUP, before PUBREL: once.
        for first in [0x34, 0x3C] {
            publish[0] = first;
            client.send(&publish);
            assert_eq!(client.take("PUBREC", pubrec), 0);
        }
        client.send(&[0x62, 2, 0, 3]);
        client.take("PUBCOMP", |packet| (*packet == Packet::Pubcomp { packet_id: 3 }).then_some(()));
        assert_eq!(client.publish("to/bob", b"end"), 0);
        assert_eq!([bob.body(), bob.body()], ["hello", "end"], "{version:?}");
    }
}

#[test]
fn more_connections_than_allowed_are_closed_and_the_others_stay() {
    let (server, alice, mut bob) = chat(&[("limits.connections_max", "3")]);
    let idle = [Client::open(server.mqtt(), Version::V5), Client::open(server.mqtt(), Version::V5)];
    assert_eq!(Client::open(server.mqtt(), Version::V5).closed(), None);
    drop(idle);
    until("room for one more", || {
        let mut client = Client::open(server.mqtt(), Version::V5);
        client.login(&alice, RESUME).is_ok_and(|(reason, _)| reason == 0)
    });
    still_serves(&server, &alice, &mut bob);
}
