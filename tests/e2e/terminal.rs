//! `godwit chat`, line by line, as a script uses it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::server::{Account, Server};

/// Types these lines into a chat that ends when all is sent; returns what it says.
fn chat(server: &Server, account: &Account, lines: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_godwit"));
    let address = format!("mqtt://{}", server.mqtt());
    command.args(["chat", "--server", &address, "--user", &account.user, "--device", &account.device, "--lines"]);
    command.arg("--store").arg(server.data().join(format!("{}.sqlite", account.user)));
    command.env("GODWIT_PASSWORD", &account.password);
    let mut chat = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("godwit starts");
    chat.stdin.take().expect("its input").write_all(lines.as_bytes()).expect("typed");
    let output = chat.wait_with_output().expect("it ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}

/// What somebody is told who listens until a line has these words.
fn listen(server: &Server, account: &Account, until: &str) -> Vec<String> {
    let mut told = Vec::new();
    crate::until(until, || {
        told.extend(chat(server, account, "/who\n").lines().map(str::to_owned));
        told.iter().any(|line| line.contains(until))
    });
    told
}

#[test]
fn a_message_is_changed_answered_and_taken_back() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    assert_eq!(chat(&server, &alice, "@bob hello\n"), "* sent to bob\n");
    let told = listen(&server, &bob, "alice: hello");
    assert!(told.iter().all(|line| !line.contains("not")), "{told:?}");
    chat(&server, &bob, "@alice\n/reply hi\n");
    listen(&server, &alice, "bob: hi");
    let said = chat(&server, &alice, "@bob\n/edit hello there\n/react +1\n");
    assert!(!said.contains("said nothing"), "{said}");
    let told = listen(&server, &bob, "+1 to message");
    assert!(told.iter().any(|line| line.contains("says now: hello there")), "{told:?}");
    let said = chat(&server, &bob, "@alice\n/undo\n");
    assert!(!said.contains("said nothing"), "{said}");
    listen(&server, &alice, "was taken back");
    assert!(chat(&server, &bob, "@alice\n/undo\n").contains("you have said nothing"));
    assert!(chat(&server, &alice, "/undo\n").contains("in which conversation"));
}
