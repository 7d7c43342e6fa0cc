//! The operator's window: who is connected, what waits, and users that are shut out for a while.

use serde_json::Value;

use crate::mqtt::{Client, RESUME, VERSIONS, Version};
use crate::server::Server;

/// The lines that a command prints, as JSON.
fn lines(server: &Server, arguments: &[&str]) -> Vec<Value> {
    let ended = server.run(arguments);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn done(server: &Server, arguments: &[&str]) {
    assert!(lines(server, arguments).is_empty());
}

#[test]
fn connected_devices_are_listed_shown_and_cut_off() {
    for version in VERSIONS {
        // More than one lane, whose answers are put together.
        let server = Server::with(&[("bridge.lanes", "3")]);
        let names = ["alice", "bob", "carol", "dave"];
        let accounts = names.map(|name| server.add_user(name, "phone"));
        server.add_device("bob", "laptop");
        let mut clients = accounts.each_ref().map(|it| Some(Client::connect(server.mqtt(), it, version, RESUME)));
        let listed = |arguments: &[&str]| {
            let clients = lines(&server, &[&["clients", "list"], arguments].concat());
            clients.iter().map(|it| it["user"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(listed(&[]), names);
        assert_eq!(listed(&["--after", "bob"]), ["carol", "dave"]);
        assert_eq!(listed(&["--limit", "2"]), ["alice", "bob"]);
        let shown = lines(&server, &["clients", "show", "alice", "phone"]);
        let protocol = if version == Version::V5 { "5" } else { "3.1.1" };
        assert_eq!(shown[0]["connection"]["protocol"], protocol, "{shown:?}");
        assert_eq!(lines(&server, &["clients", "show", "bob", "laptop"])[0]["connection"], Value::Null);

        done(&server, &["clients", "kick", "carol", "phone"]);
        let carol = clients[2].take().expect("connected").closed();
        assert_eq!(carol, (version == Version::V5).then_some(0x98));
        assert_eq!(listed(&[]), ["alice", "bob", "dave"]);
        // It may come again, and one that is not there cannot be cut off wrongly.
        done(&server, &["clients", "kick", "carol", "phone"]);
        let _again = Client::connect(server.mqtt(), &accounts[2], version, RESUME);
        assert_eq!(listed(&[]), names);
        assert_eq!(server.run(&["clients", "kick", "carol", "watch"]).code, Some(1));
    }
}

#[test]
fn what_waits_is_shown_without_what_it_says() {
    let server = Server::start();
    let (alice, _bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut sender = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    for number in 0..5 {
        assert_eq!(sender.publish("to/bob", format!("secret {number}").as_bytes()), 0);
    }
    let waiting = lines(&server, &["inbox", "show", "bob", "phone"]);
    let kinds: Vec<_> = waiting.iter().map(|it| (it["kind"].as_str().expect("a kind"), it["bytes"].as_u64())).collect();
    assert_eq!(kinds[1..], [("message", Some(8)); 5], "behind the change that opens the conversation");
    assert_eq!(kinds[0].0, "change");
    assert!(!format!("{waiting:?}").contains("secret"));
    assert_eq!(lines(&server, &["inbox", "show", "bob", "phone", "--limit", "2"]), waiting[..2]);
    assert_eq!(lines(&server, &["clients", "show", "bob", "phone"])[0]["inbox"]["entries"], 6);
    let conversation = waiting[1]["conversation"].as_u64().expect("a number");
    let shown = &lines(&server, &["conversation", "show", &conversation.to_string()])[0];
    assert_eq!((shown["group"].as_bool(), shown["last_sequence"].as_u64()), (Some(false), Some(6)));
    let members = shown["members"].as_array().expect("members");
    assert_eq!(members.iter().map(|it| it["user"].as_str().expect("a name")).collect::<Vec<_>>(), ["alice", "bob"]);
    let nowhere = server.run(&["conversation", "show", "12345"]);
    assert!(nowhere.code == Some(1) && nowhere.stderr.contains("no conversation 12345"), "{}", nowhere.stderr);
    assert!(server.run(&["inbox", "show", "bob", "watch"]).stderr.contains("no device"));
}

#[test]
fn a_suspended_user_is_shut_out_and_loses_nothing() {
    for version in VERSIONS {
        let mut server = Server::start();
        let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
        let mut alice = Client::connect(server.mqtt(), &alice, version, RESUME);
        let mut at_bob = Client::connect(server.mqtt(), &bob, version, RESUME);
        assert_eq!(at_bob.subscribe("inbox/#"), 1);
        assert_eq!(alice.publish("to/bob", b"before"), 0);
        assert_eq!(at_bob.body(), "before");
        at_bob.settle();

        done(&server, &["user", "suspend", "bob"]);
        assert_eq!(at_bob.closed(), (version == Version::V5).then_some(0x98), "{version:?}");
        let login = |server: &Server| Client::open(server.mqtt(), version).login(&bob, RESUME).expect("CONNACK").0;
        let banned = if version == Version::V5 { 0x8A } else { 5 };
        assert_eq!(login(&server), banned);
        // Who does not know the password is told nothing of it.
        let stranger = crate::server::Account { password: "wrong".to_owned(), ..bob.clone() };
        let refused = Client::open(server.mqtt(), Version::V5).login(&stranger, RESUME).expect("CONNACK");
        assert_eq!(refused.0, 0x86);
        let over_http = |server: &Server| {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let credentials = base64::Engine::encode(
                &base64::engine::general_purpose::STANDARD,
                format!("bob/phone:{}", bob.password),
            );
            let request = agent.get(format!("http://{}/v1/users/bob/conversations", server.http()));
            let request = request.header("authorization", format!("Basic {credentials}"));
            request.call().expect("an answer").status().as_u16()
        };
        assert_eq!(over_http(&server), 403);
        // Others write to it as to anybody who is away, also after a restart.
        assert_eq!(alice.publish("to/bob", b"meanwhile"), 0);
        drop(alice);
        server.kill_and_start();
        assert_eq!(login(&server), banned);

        done(&server, &["user", "resume", "bob"]);
        done(&server, &["user", "resume", "bob"]);
        assert_eq!(over_http(&server), 200);
        let mut at_bob = Client::connect(server.mqtt(), &bob, version, RESUME);
        assert_eq!(at_bob.body(), "meanwhile");
        assert_eq!(server.run(&["user", "suspend", "nobody"]).code, Some(1));
    }
}
