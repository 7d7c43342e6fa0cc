//! Tokens of the operator's own accounts, over MQTT and HTTP.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use super::issuer::{Issuer, now_s};
use super::web::get;
use crate::mqtt::{CLEAN, Client, RESUME, VERSIONS, Version};
use crate::server::{Account, Server};

struct Scene {
    issuer: Issuer,
    server: Server,
}

impl Scene {
    fn new(settings: &[(&str, &str)]) -> Self {
        let issuer = Issuer::new();
        let settings = issuer.settings(settings);
        let settings: Vec<_> = settings.iter().map(|(key, value)| (&key[..], &value[..])).collect();
        Self { server: Server::with(&settings), issuer }
    }

    fn account(&self, user: &str, device: &str, claims: &Value) -> Account {
        Account { user: user.to_owned(), device: device.to_owned(), password: self.issuer.token(claims) }
    }

    /// The code of CONNACK.
    fn login(&self, account: &Account, version: Version) -> u8 {
        Client::open(self.server.mqtt(), version).login(account, RESUME).expect("CONNACK").0
    }

    /// GET with a token.
    fn status(&self, path: &str, token: &str) -> u16 {
        get(&self.server, path, &[("authorization", &format!("Bearer {token}"))])
    }
}

fn claims(user: &str, device: &str) -> Value {
    json!({ "iss": "tests", "aud": "chat", "sub": user, "device": device, "exp": now_s() + 600 })
}

#[test]
fn a_token_stands_for_a_password_and_a_bad_one_does_not() {
    let scene = Scene::new(&[]);
    scene.server.add_user("alice", "phone");
    let password = scene.server.add_user("bob", "phone");
    let good = scene.account("alice", "phone", &claims("alice", "phone"));
    for version in VERSIONS {
        let mut client = Client::connect(scene.server.mqtt(), &good, version, RESUME);
        assert_eq!(client.publish("to/bob", b"hello"), 0);
    }
    assert_eq!(scene.login(&password, Version::V5), 0, "passwords are as good as before");
    let with = |claim: &str, value: Value| {
        let mut claims = claims("alice", "phone");
        claims[claim] = value;
        scene.account("alice", "phone", &claims)
    };
    let stranger = Issuer::new().token(&claims("alice", "phone"));
    let token = |password: String| Account { password, ..good.clone() };
    let bad = [
        ("expired", with("exp", json!(now_s() - 31))),
        ("for ever", with("exp", json!(now_s() + 1_000_000))),
        ("of another issuer", with("iss", json!("others"))),
        ("for another audience", with("aud", json!(["mail"]))),
        ("not yet", with("nbf", json!(now_s() + 600))),
        ("signed by another", token(stranger)),
        ("not signed", token(scene.issuer.unsigned(&claims("alice", "phone")))),
        ("signed with the public key", token(scene.issuer.confused(&claims("alice", "phone")))),
        ("of bob", scene.account("alice", "phone", &claims("bob", "phone"))),
        ("of another device", scene.account("alice", "phone", &claims("alice", "tv"))),
        ("of no user", scene.account("carol", "phone", &claims("carol", "phone"))),
    ];
    for (what, account) in &bad {
        assert_eq!(scene.login(account, Version::V5), 0x86, "{what}");
    }
    assert_eq!(scene.status("/v1/users/alice/devices", &good.password), 200);
    assert_eq!(scene.status("/v1/users/bob/devices", &good.password), 403);
    assert_eq!(scene.status("/v1/admin/users", &good.password), 401);
    for (what, account) in &bad[..8] {
        assert_eq!(scene.status("/v1/users/alice/devices", &account.password), 401, "{what}");
    }
}

#[test]
fn a_token_is_enough_without_user_name_and_client_identifier() {
    let scene = Scene::new(&[]);
    scene.server.add_user("alice", "phone");
    let mut bob = Client::connect(scene.server.mqtt(), &scene.server.add_user("bob", "phone"), Version::V5, RESUME);
    assert_eq!(bob.subscribe("inbox/#"), 1);
    for version in VERSIONS {
        let nameless = scene.account("", "", &claims("alice", "phone"));
        let mut client = Client::connect(scene.server.mqtt(), &nameless, version, CLEAN);
        assert_eq!(client.publish("to/bob", b"hello"), 0);
        let got = bob.receive();
        assert_eq!((&got.payload[..], &got.from[..]), (&b"hello"[..], "alice"));
        // It is alice's phone: when that comes under its own name, it takes the place.
        let named = scene.account("alice", "phone", &claims("alice", "phone"));
        Client::connect(scene.server.mqtt(), &named, version, RESUME).settle();
        assert_eq!(client.closed(), (version == Version::V5).then_some(0x8E));
        let stranger = Account { password: Issuer::new().token(&claims("alice", "phone")), ..nameless };
        let expected = if version == Version::V5 { 0x86 } else { 4 };
        for account in [stranger, scene.account("", "tablet", &claims("alice", "phone"))] {
            let (reason, _) = Client::open(scene.server.mqtt(), version).login(&account, CLEAN).expect("CONNACK");
            assert_eq!(reason, expected, "{account:?}");
        }
    }
    // MQTT 5 may leave the user name out altogether, and is told its client identifier.
    let token = scene.issuer.token(&claims("alice", "phone"));
    let fields =
        [&[0, 4][..], b"MQTT", &[5, 0x42, 0, 0, 0, 0, 0], &(token.len() as u16).to_be_bytes(), token.as_bytes()];
    let fields = fields.concat();
    let mut stream = TcpStream::connect(scene.server.mqtt()).expect("a connection");
    let header = [0x10, 0x80 | (fields.len() % 128) as u8, (fields.len() / 128) as u8];
    stream.write_all(&[&header[..], &fields].concat()).expect("sent");
    let mut head = [0; 4];
    stream.read_exact(&mut head).expect("CONNACK");
    let mut rest = vec![0; usize::from(head[1]) - 2];
    stream.read_exact(&mut rest).expect("its properties");
    assert_eq!((head[0], head[3]), (0x20, 0));
    assert!(rest.windows(8).any(|bytes| bytes == b"\x12\0\x05phone"), "{rest:?}");
}

#[test]
fn a_connection_ends_with_its_token_even_if_the_bridge_has_started_anew() {
    let issuer = Issuer::new();
    let settings = issuer.settings(&[("jwt.leeway_s", "0")]);
    let settings: Vec<_> = settings.iter().map(|(key, value)| (&key[..], &value[..])).collect();
    let mut server = Server::halves(&settings);
    for user in ["alice", "bob"] {
        server.add_user(user, "phone");
    }
    let ends_at_s = now_s() + 4;
    let connect = |user: &str, version| {
        let mut claims = claims(user, "phone");
        claims["exp"] = ends_at_s.into();
        let account = Account { user: user.to_owned(), device: "phone".to_owned(), password: issuer.token(&claims) };
        (Client::connect(server.mqtt(), &account, version, RESUME), account)
    };
    let ((mut alice, replayed), (bob, _)) = (connect("alice", Version::V5), connect("bob", Version::V4));
    let begun = Instant::now();
    server.kill_bridge();
    server.start_bridge();
    assert_eq!(alice.publish("to/bob", b"hello"), 0);
    assert_eq!([alice.closed(), bob.closed()], [Some(0x87), None]);
    assert!(now_s() >= ends_at_s, "after {:?}", begun.elapsed());
    assert_eq!(Client::open(server.mqtt(), Version::V5).login(&replayed, RESUME).expect("CONNACK").0, 0x86);
}

#[test]
fn who_is_named_by_a_token_can_be_made_and_once_removed_is_not_made_again() {
    let scene = Scene::new(&[("jwt.create_users", "true"), ("limits.devices_per_user_max", "2")]);
    let [phone, tablet, watch] =
        ["phone", "tablet", "watch"].map(|it| scene.account("alice", it, &claims("alice", it)));
    let mut at_phone = Client::connect(scene.server.mqtt(), &phone, Version::V5, RESUME);
    assert_eq!(at_phone.subscribe("inbox/#"), 1);
    let mut at_tablet = Client::connect(scene.server.mqtt(), &tablet, Version::V4, RESUME);
    let bob = scene.account("bob", "phone", &claims("bob", "phone"));
    let mut at_bob = Client::connect(scene.server.mqtt(), &bob, Version::V5, RESUME);
    assert_eq!(at_bob.publish("to/alice", b"hello"), 0);
    assert_eq!(at_phone.body(), "hello");
    at_tablet.settle();
    assert_eq!(scene.login(&watch, Version::V5), 0x97, "two are enough");
    assert_eq!(scene.server.run(&["device", "remove", "alice", "tablet"]).code, Some(0));
    at_tablet.closed();
    assert_eq!(scene.login(&tablet, Version::V5), 0x86, "its token is still good, and useless");
    assert_eq!(scene.login(&watch, Version::V5), 0);
    assert_eq!(scene.server.run(&["user", "remove", "bob"]).code, Some(0));
    assert_eq!(scene.login(&bob, Version::V5), 0x86);
    // An operator may think better of it.
    assert_eq!(scene.server.run(&["device", "remove", "alice", "watch"]).code, Some(0));
    scene.server.add_device("alice", "tablet");
    assert_eq!(scene.login(&tablet, Version::V5), 0);
}

#[test]
fn keys_come_from_the_issuer_s_set() {
    let issuer = Issuer::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
    let keys = issuer.set().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let head = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            assert!(head.count() > 0);
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{keys}", keys.len());
            // The server may have been stopped.
            _ = (&stream).write_all(answer.as_bytes());
        }
    });
    let server = Server::with(&[("jwt.jwks_url", &url), ("jwt.issuer", "tests"), ("jwt.audience", "chat")]);
    server.wait_for_log(&["fetched the issuer's keys"]);
    server.add_user("alice", "phone");
    let login = |password: String| {
        let account = Account { user: "alice".to_owned(), device: "phone".to_owned(), password };
        Client::open(server.mqtt(), Version::V5).login(&account, RESUME).expect("CONNACK").0
    };
    assert_eq!(login(issuer.named_token("one", &claims("alice", "phone"))), 0);
    assert_eq!(login(issuer.named_token("other", &claims("alice", "phone"))), 0x86, "no such key");
    assert_eq!(login(Issuer::new().named_token("one", &claims("alice", "phone"))), 0x86);
}

#[test]
fn a_key_that_is_none_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key.pem");
    fs::write(&file, "no key").expect("written");
    let mut server = Server::prepare("serve", &[("jwt.key_file", file.to_str().expect("text"))]);
    let (code, log) = server.try_start_again().expect_err("it does not start");
    assert_eq!(code, Some(64));
    assert!(log.contains("not a public key in PEM"), "{log}");
}
