//! `godwit chat`, line by line, as a script uses it.

mod another;
mod endings;
mod strangers;

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use crate::PATIENCE;
use crate::chat::media::depot::content;
use crate::clients::lines_of;
use crate::server::{Account, Ended, Server};

/// Types these lines into a chat that ends when all is sent; returns what it says.
fn chat(server: &Server, account: &Account, lines: &str) -> String {
    let ended = ended(begin(server, account, lines));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

/// The same when not everything can be done.
fn tried(server: &Server, account: &Account, lines: &str) -> String {
    let ended = ended(begin(server, account, lines));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    ended.stdout
}

fn begin(server: &Server, account: &Account, lines: &str) -> Child {
    let mut command = command(server, &format!("mqtt://{}", server.mqtt()), account);
    typed(command.args(["--wait", "60"]), lines.as_bytes())
}

/// A chat with this server, at this address.
fn command(server: &Server, address: &str, account: &Account) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_godwit"));
    command.args(["chat", "--server", address, "--user", &account.user, "--device", &account.device, "--lines"]);
    command.arg("--store").arg(server.data().join(format!("{}.{}.sqlite", account.user, account.device)));
    command.env("GODWIT_PASSWORD", &account.password);
    command
}

fn typed(command: &mut Command, lines: &[u8]) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut chat = command.spawn().expect("godwit starts");
    // One that has ended reads no more.
    _ = chat.stdin.take().expect("its input").write_all(lines);
    chat
}

fn ended(chat: Child) -> Ended {
    let output = chat.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// What somebody is told who listens until a line has these words, and ends as by Ctrl-C.
fn listen(server: &Server, account: &Account, until: &str) -> Vec<String> {
    let mut chat = typed(command(server, &format!("mqtt://{}", server.mqtt()), account).arg("--follow"), b"");
    let (lines, mut told) = (lines_of(&mut chat), Vec::<String>::new());
    while told.last().is_none_or(|line| !line.contains(until)) {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => told.push(line),
            Err(error) => {
                _ = chat.kill();
                panic!("{until} was not told ({error}): {told:?}");
            }
        }
    }
    interrupt(&chat);
    let ended = ended(chat);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    told.extend(lines);
    told
}

fn interrupt(chat: &Child) {
    let pid = chat.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
}

#[test]
fn a_message_is_changed_answered_and_taken_back() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    assert_eq!(chat(&server, &alice, "@bob hello\n"), "* sent to bob\n");
    let told = listen(&server, &bob, "alice: hello");
    assert!(told.iter().all(|line| !line.contains("not")), "{told:?}");
    chat(&server, &bob, "@alice\n/reply hi\n");
    listen(&server, &alice, "bob to message 2: hi");
    let said = chat(&server, &alice, "@bob\n/edit hello there\n/react +1\n");
    assert!(said.contains("* message 2 is changed\n* reacted to message 3\n"), "{said}");
    let told = listen(&server, &bob, "alice reacts to message 3 with \"+1\"");
    assert!(told.iter().any(|line| line.contains("alice changed message 2: hello there")), "{told:?}");
    let said = chat(&server, &bob, "@alice\n/undo\n");
    assert!(said.contains("* message 3 is taken back\n"), "{said}");
    listen(&server, &alice, "bob took message 3 back");
    assert!(tried(&server, &bob, "@alice\n/undo\n").contains("you have said nothing"));
    assert!(tried(&server, &alice, "/undo\n").contains("in which conversation"));
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
    let said = ended(waiting).stdout;
    assert!(said.contains("* a photo.jpg: waits\n") && said.contains("* a photo.jpg: sent\n"), "{said}");
    let told = listen(&server, &bob, "[a photo.jpg, 150.0 kB, image/jpeg; /save 2] look");
    assert!(told.iter().any(|line| line.contains("look")), "{told:?}");

    let save = format!("@alice\n/save {}\n", at("saved.jpg"));
    assert!(chat(&server, &bob, &save).contains(&format!("* saved {}\n", at("saved.jpg"))));
    assert_eq!(fs::read(at("saved.jpg")).expect("a file"), photo);
    assert!(tried(&server, &bob, &save).contains("is there already"));
    let save = format!("@alice\n/save 2 {}\n", folder.path().display());
    assert!(chat(&server, &bob, &save).contains(&format!("* saved {}\n", at("a photo (1).jpg"))), "beside that one");
    assert_eq!(fs::read(at("a photo (1).jpg")).expect("a file"), photo);
    assert!(tried(&server, &bob, "@alice\n/save 1 x\n").contains("there is no file"));

    // The pause is kept, until somebody ends it.
    server.kill();
    let said = chat(&server, &alice, &format!("@bob\n/send {}\n/pause\n", at("notes.txt")));
    assert!(said.contains("* notes.txt: paused"), "{said}");
    server.start_again();
    assert!(chat(&server, &alice, "@bob and\n").contains("* sent to bob\n"));
    assert!(chat(&server, &alice, "/resume\n").contains("* notes.txt: sent\n"));
    listen(&server, &bob, "[notes.txt, 5 B, text/plain; /save 4]");
    assert!(tried(&server, &alice, "@bob\n/send nothing\n").contains("* there is no file nothing\n"));
}

#[test]
fn groups_go_by_their_titles_and_people_are_known() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    chat(&server, &alice, "/group \"long walk\" bob\nwho comes?\n");
    listen(&server, &bob, "alice in \"long walk\": who comes?");
    assert!(chat(&server, &bob, "#\"Long Walk\" I do\n").contains("* sent to \"long walk\"\n"));
    listen(&server, &alice, "bob in \"long walk\": I do");
    assert!(tried(&server, &alice, "#talk hi\n").contains("there is no group of that title"));
    chat(&server, &alice, "/group \"long walk\" bob\n");
    until_listed(&server, &alice, 2);
    let said = tried(&server, &alice, "#\"long walk\" hi\n");
    assert!(said.contains("several groups have that title: #"), "{said}");

    let said = chat(&server, &alice, "/contacts\n/contact bob Bobby\n/contacts\n/uncontact bob\n/contacts\n");
    let said: Vec<_> = said.lines().filter(|line| line.contains("Bobby") || line.contains("nobody yet")).collect();
    assert_eq!(said, ["* nobody yet: /contact NAME", "* bob: Bobby", "* nobody yet: /contact NAME"]);
}

fn until_listed(server: &Server, account: &Account, count: usize) {
    crate::until("they are listed", || chat(server, account, "/list\n").matches("long walk").count() == count);
}
