//! What strangers send to a terminal: by a client that sends what no decent one does.

use std::fs;

use godwit_schemas::client::{self, Request, request::Call};
use prost::Message as _;

use super::{chat, listen};
use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Server};

const HOSTILE: &str = "hi\n* sent to carol\r\u{85}alice: pay\u{2028}x\x1b[2J\x1b]0;t\x07\u{9b}31m\u{202e}gnp.exe\u{2066}\u{200b}\u{e0041}";

fn call(client: &mut Client, id: u64, call: Call) {
    let request = Request { id, call: Some(call) }.encode_to_vec();
    assert_eq!(client.publish("rpc", &request), 0);
}

/// What is printed is lines, each of which begins as one of this program does.
fn is_plain(lines: &[String], users: &[&str]) {
    for line in lines {
        let hidden: String = line.chars().filter(|c| godwit_client::text::is_hidden(*c)).collect();
        assert!(hidden.is_empty(), "{}", line.escape_unicode());
        let by_user =
            users.iter().any(|user| line.starts_with(&format!("{user}: ")) || line.starts_with(&format!("{user} in ")));
        assert!(by_user || line.starts_with("* "), "{line:?}");
    }
}

#[test]
fn they_forge_no_line_and_command_no_terminal() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let mut bob = Client::connect(server.mqtt(), &bob, Version::V5, RESUME);
    bob.publish("to/alice", HOSTILE.as_bytes());
    let title = format!("x\" (#1): you left{}", &HOSTILE[..40]);
    call(&mut bob, 1, Call::CreateGroup(client::CreateGroup { title, users: vec!["alice".to_owned()] }));
    bob.publish("to/alice", b"that is all");
    let told = listen(&server, &alice, "bob: that is all");
    is_plain(&told, &["bob"]);
    assert!(told.iter().any(|line| line.starts_with("bob: hi") && line.contains("gnp.exe")), "{told:?}");
    assert!(told.iter().all(|line| !line.starts_with("* sent to carol")), "{told:?}");
    let listed: Vec<_> = chat(&server, &alice, "/list\n").lines().map(str::to_owned).collect();
    is_plain(&listed, &["bob"]);
    assert!(listed.iter().any(|line| line.contains("you left")), "{listed:?}");
}

/// The server keeps nothing of what everybody has, and cannot check who sent it.
#[test]
fn they_change_nothing_that_others_said() {
    let server = Server::start();
    let accounts = ["alice", "bob", "carol"].map(|name| server.add_user(name, "phone"));
    let [alice, _, carol] = &accounts;
    let mut bob = Client::connect(server.mqtt(), &accounts[1], Version::V5, RESUME);
    assert_eq!(bob.subscribe("inbox/#"), 1);
    chat(&server, alice, "/group walk bob carol\nI come\n");
    while bob.body() != "I come" {}
    listen(&server, carol, "alice in \"walk\": I come");
    let id = listed(&server, carol, "walk");
    let (conversation, sequence) = (id, 2);
    call(&mut bob, 1, Call::Edit(client::Edit { conversation, sequence, body: "I do not come".into(), mls_epoch: 0 }));
    call(&mut bob, 2, Call::Recall(client::Recall { conversation, sequence }));
    call(
        &mut bob,
        3,
        Call::Edit(client::Edit { conversation, sequence: 1, body: "the beginning".into(), mls_epoch: 0 }),
    );
    bob.publish(&format!("send/{id}"), b"that is all");
    for account in [alice, carol] {
        let told = listen(&server, account, "bob in \"walk\": that is all");
        let facts = ["changed message", "took message", "do not come", "the beginning"];
        assert!(told.iter().all(|line| facts.iter().all(|fact| !line.contains(fact))), "{told:?}");
    }
}

fn listed(server: &Server, account: &Account, title: &str) -> u64 {
    let listed = chat(server, account, "/list\n");
    let line = listed.lines().find(|line| line.ends_with(title)).expect("it is listed");
    line.strip_prefix("* #").and_then(|line| line.split(' ').next()).expect("a number").parse().expect("a number")
}

#[test]
fn they_choose_no_hidden_file_and_replace_none() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let (from, to) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let names = [".bashrc", "photo\u{202e}gpj.exe", "a\x1b[2Jb", "-rf"];
    for (at, name) in names.iter().enumerate() {
        fs::write(from.path().join(name), format!("theirs {at}")).expect("written");
        chat(&server, &bob, &format!("@alice\n/send \"{}\"\n", from.path().join(name).display()));
    }
    // What alice has herself.
    for mine in ["bashrc", "bashrc.part", "_-rf"] {
        fs::write(to.path().join(mine), "mine").expect("written");
    }
    let told = listen(&server, &alice, "/save 5");
    is_plain(&told, &["bob"]);
    let save: String = (2..=5).map(|at| format!("/save {at} {}\n", to.path().display())).collect();
    let said: Vec<_> = chat(&server, &alice, &format!("@bob\n{save}")).lines().map(str::to_owned).collect();
    is_plain(&said, &["bob"]);
    let mut there: Vec<_> =
        fs::read_dir(to.path()).expect("a folder").map(|it| it.expect("a file").file_name()).collect();
    there.sort();
    let expected = ["_-rf", "_-rf (1)", "a[2Jb", "bashrc", "bashrc (1)", "bashrc.part", "photogpj.exe"];
    assert_eq!(there, expected);
    for mine in ["bashrc", "bashrc.part", "_-rf"] {
        assert_eq!(fs::read_to_string(to.path().join(mine)).expect("a file"), "mine");
    }
}
