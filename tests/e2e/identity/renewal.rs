//! A connection outlives its token, if the client brings another in time (MQTT 5, AUTH).

use serde_json::json;

use super::issuer::{Issuer, now_s};
use crate::PATIENCE;
use crate::mqtt::{Client, Packet, Version};
use crate::server::Server;

/// A packet of this type, with these bytes in front of the properties, method "jwt", a token as data, and these behind.
fn packet(first: u8, before: &[u8], token: &str, behind: &[u8]) -> Vec<u8> {
    let data = [&(token.len() as u16).to_be_bytes(), token.as_bytes()].concat();
    let properties = [&b"\x15\0\x03jwt\x16"[..], &data].concat();
    let body = [before, &varint(properties.len()), &properties, behind].concat();
    [&[first][..], &varint(body.len()), &body].concat()
}

/// Of 128 to 16,383.
fn varint(number: usize) -> [u8; 2] {
    [0x80 | (number % 128) as u8, (number / 128) as u8]
}

#[test]
fn another_token_in_time_keeps_the_connection_and_a_bad_one_ends_it() {
    let issuer = Issuer::new();
    let folder = tempfile::tempdir().expect("a folder");
    let audit = folder.path().join("audit.jsonl");
    let settings = issuer.settings(&[("jwt.leeway_s", "0"), ("audit.file", audit.to_str().expect("text"))]);
    let settings: Vec<_> = settings.iter().map(|(key, value)| (&key[..], &value[..])).collect();
    let server = Server::with(&settings);
    let token = |user: &str, device: &str, ends_at_s: u64| {
        let claims = json!({ "iss": "tests", "aud": "chat", "sub": user, "device": device, "exp": ends_at_s });
        issuer.token(&claims)
    };
    let ends_at_s = now_s() + 3;
    let mut clients = ["phone", "tablet", "watch"].into_iter().enumerate().map(|(n, device)| {
        if n == 0 {
            server.add_user("alice", device)
        } else {
            server.add_device("alice", device)
        };
        let mut client = Client::open(server.mqtt(), Version::V5);
        let token = token("alice", device, ends_at_s);
        client.send(&packet(0x10, b"\0\x04MQTT\x05\x02\0\0", &token, b"\0\0"));
        let connack = client.try_next(PATIENCE).expect("CONNACK");
        assert_eq!(connack, Some(Packet::Connack { session_present: false, reason: 0 }));
        client
    });
    let [mut phone, tablet, mut watch] = [(); 3].map(|()| clients.next().expect("three"));
    phone.send(&packet(0xF0, &[0x19], &token("alice", "phone", now_s() + 600), b""));
    phone.take("AUTH", |packet| (*packet == Packet::Auth { reason: 0 }).then_some(()));
    watch.send(&packet(0xF0, &[0x19], &token("alice", "phone", now_s() + 600), b""));
    assert_eq!(watch.closed(), Some(0x87), "it is another's");
    assert_eq!(tablet.closed(), Some(0x87), "its token has ended");
    assert!(now_s() >= ends_at_s);
    phone.settle();
    phone.send(&packet(0xF0, &[0x19], &token("alice", "phone", now_s() - 1), b""));
    assert_eq!(phone.closed(), Some(0x87), "it has ended before it came");
    let noted = || std::fs::read_to_string(&audit).expect("a log");
    crate::until("it is noted", || noted().matches("token_refused").count() == 2);
    assert_eq!(noted().matches("token_renewed").count(), 1);
}
