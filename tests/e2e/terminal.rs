//! `godwit chat`, line by line, as a script uses it.

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use crate::chat::media::depot::content;
use crate::server::{Account, Server};

/// Types these lines into a chat that ends when all is sent; returns what it says.
fn chat(server: &Server, account: &Account, lines: &str) -> String {
    ended(begin(server, account, lines))
}

fn begin(server: &Server, account: &Account, lines: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_godwit"));
    let address = format!("mqtt://{}", server.mqtt());
    command.args(["chat", "--server", &address, "--user", &account.user, "--device", &account.device, "--lines"]);
    command.arg("--store").arg(server.data().join(format!("{}.sqlite", account.user)));
    command.env("GODWIT_PASSWORD", &account.password);
    let mut chat = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("godwit starts");
    chat.stdin.take().expect("its input").write_all(lines.as_bytes()).expect("typed");
    chat
}

fn ended(chat: Child) -> String {
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

#[test]
fn files_are_sent_paused_and_saved() {
    let mut server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let photo = content(150_000, 1);
    fs::write(at("a photo.jpg"), &photo).expect("written");
    fs::write(at("notes.txt"), "notes").expect("written");

    // Without a server it waits; with one it goes.
    server.kill();
    let waiting = begin(&server, &alice, &format!("@bob\n/send \"{}\" look\n", at("a photo.jpg")));
    server.start_again();
    let said = ended(waiting);
    assert!(said.starts_with("* a photo.jpg: waits\n") && said.contains("* a photo.jpg: sent\n"), "{said}");
    let told = listen(&server, &bob, "[a photo.jpg, 150.0 kB, image/jpeg; /save 2] look");
    assert!(told.iter().any(|line| line.contains("look")), "{told:?}");

    let save = format!("@alice\n/save {}\n", at("saved.jpg"));
    assert!(chat(&server, &bob, &save).contains(&format!("* saved {}\n", at("saved.jpg"))));
    assert_eq!(fs::read(at("saved.jpg")).expect("a file"), photo);
    assert!(chat(&server, &bob, &save).contains("is there already"));
    let save = format!("@alice\n/save 2 {}\n", folder.path().display());
    assert!(chat(&server, &bob, &save).contains("is there already"), "under its own name");
    assert!(chat(&server, &bob, "@alice\n/save 1 x\n").contains("there is no file"));

    // The pause is kept, until somebody ends it.
    server.kill();
    let said = chat(&server, &alice, &format!("@bob\n/send {}\n/pause\n", at("notes.txt")));
    assert!(said.contains("* notes.txt: paused"), "{said}");
    server.start_again();
    assert!(chat(&server, &alice, "@bob and\n").contains("* sent to bob\n"));
    assert!(chat(&server, &alice, "/resume\n").contains("* notes.txt: sent\n"));
    listen(&server, &bob, "[notes.txt, 5 B, text/plain; /save 4]");
    assert!(chat(&server, &alice, "@bob\n/send nothing\n").contains("the file is gone"));
}
