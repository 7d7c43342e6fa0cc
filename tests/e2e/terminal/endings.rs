//! How a chat ends, and what it says before.

use std::io::Write as _;
use std::net::TcpListener;

use super::{begin, chat, command, ended, typed};
use crate::PATIENCE;
use crate::clients::lines_of;
use crate::server::{Account, Ended, Server};

/// Says hello to bob at this address.
fn hello(server: &Server, address: &str, account: &Account, more: &[&str]) -> Ended {
    ended(typed(command(server, address, account).args(more), b"@bob hello\n"))
}

#[test]
fn who_is_not_let_in_is_told_and_what_was_written_waits() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let address = format!("mqtt://{}", server.mqtt());
    let wrong = Account { password: "wrong".to_owned(), ..alice.clone() };
    let refused = "refused (0x86): see user, device and password";
    for more in [&["--wait", "60"][..], &["--follow"]] {
        let end = hello(&server, &address, &wrong, more);
        assert_eq!(end.code, Some(77), "{end:?}");
        assert!(end.stderr.contains(refused), "{end:?}");
        let end = refused_when_all_is_read(&server, &alice, more);
        assert_eq!(end.code, Some(77), "{end:?}");
        assert!(end.stderr.contains(&format!("{refused}; what was not sent is kept")), "{end:?}");
    }
    // A call is not kept, and does not wait.
    let end = ended(begin(&server, &wrong, "/contacts\n"));
    assert_eq!(end.code, Some(77), "{end:?}");
    assert!(end.stderr.contains(refused), "{end:?}");
    // Its line may have been read too late to be a call.
    assert!(end.stdout.is_empty() || end.stdout.contains("does not let this device in"), "{end:?}");

    assert!(chat(&server, &alice, "@bob and\n").contains("* sent to bob\n"));
    let told = super::listen(&server, &bob, "alice: and");
    assert!(told.iter().filter(|line| *line == "alice: hello").count() >= 2, "{told:?}");
}

/// Says hello to bob at a door where nobody is let in, and that is not said before the line has been taken: what is wrong
/// with the next one has been told by then.
fn refused_when_all_is_read(server: &Server, account: &Account, more: &[&str]) -> Ended {
    const CONNACK: [u8; 5] = [0x20, 3, 0, 0x86, 0];
    let door = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("mqtt://{}", door.local_addr().expect("its address"));
    let mut chat = typed(command(server, &address, account).args(more), b"@bob hello\nna\xefve\n");
    let lines = lines_of(&mut chat);
    let (mut client, _) = door.accept().expect("it connects");
    assert_eq!(lines.recv_timeout(PATIENCE).as_deref(), Ok("* not done: a line that is not UTF-8"));
    client.write_all(&CONNACK).expect("it listens");
    ended(chat)
}

#[test]
fn what_is_no_server_is_told() {
    let (server, _certificate, _folder) = crate::tls::start();
    let alice = server.add_user("alice", "phone");
    server.add_user("bob", "phone");
    // Nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let end = hello(&server, &format!("mqtt://{free}"), &alice, &["--wait", "1"]);
    assert_eq!(end.code, Some(69), "{end:?}");
    assert!(end.stderr.contains("cannot be reached") && end.stderr.contains("is kept"), "{end:?}");
    assert!(end.stdout.starts_with("* offline: "), "{end:?}");

    let end = hello(&server, &format!("mqtts://{}", server.mqtts()), &alice, &["--wait", "60"]);
    assert_eq!(end.code, Some(76), "{end:?}");
    assert!(end.stderr.contains("certificate is not trusted"), "{end:?}");
    let end = hello(&server, &format!("mqtts://{}", server.mqtt()), &alice, &["--wait", "1"]);
    assert!(matches!(end.code, Some(69 | 76)), "no TLS: {end:?}");
    let end = hello(&server, &format!("ws://{}", server.http()), &alice, &["--wait", "60"]);
    assert_eq!(end.code, Some(76), "no WebSocket: {end:?}");
    let end = hello(&server, &format!("mqtt://{}", server.http()), &alice, &["--wait", "1"]);
    assert!(matches!(end.code, Some(69 | 76)), "HTTP: {end:?}");
    let end = hello(&server, "http://127.0.0.1", &alice, &[]);
    assert_eq!(end.code, Some(64), "{end:?}");
}

#[test]
fn what_is_refused_is_told_once_and_has_a_code() {
    let server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let end = ended(begin(&server, &alice, "@nobody hello\n@bob hello\n"));
    assert_eq!(end.code, Some(1), "{end:?}");
    assert_eq!(end.stdout.matches("not sent to nobody").count(), 1, "{end:?}");
    assert!(end.stdout.contains("* sent to bob\n"), "{end:?}");
    let said = chat(&server, &alice, "/list\n");
    assert!(!said.contains("not sent"), "nor later: {said}");
    super::listen(&server, &bob, "alice: hello");
}

#[test]
fn a_line_that_is_no_text_is_told_and_the_others_are_done() {
    let server = Server::start();
    let alice = server.add_user("alice", "phone");
    server.add_user("bob", "phone");
    let mut command = command(&server, &format!("mqtt://{}", server.mqtt()), &alice);
    command.args(["--wait", "60"]);
    let end = ended(typed(&mut command, b"@bob one\nna\xefve\ntwo\n"));
    assert_eq!(end.code, Some(65), "{end:?}");
    assert_eq!(end.stdout.matches("* sent to bob\n").count(), 2, "{end:?}");
    assert!(end.stdout.contains("* not done: a line that is not UTF-8\n"), "{end:?}");
}

#[cfg(unix)]
#[test]
fn what_it_keeps_is_for_its_owner() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    let server = Server::start();
    let alice = server.add_user("alice", "phone");
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("godwit");
    fs::create_dir(&folder).expect("made");
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("open to all");
    let arguments = ["chat", "--user", "alice", "--device", "phone", "--lines", "--wait", "60", "--server"];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_godwit"));
    command.args(arguments).arg(format!("mqtt://{}", server.mqtt()));
    command.env("XDG_DATA_HOME", home.path()).env("GODWIT_PASSWORD", &alice.password);
    assert_eq!(ended(typed(&mut command, b"@alice hello\n")).code, Some(0));
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").path()).collect();
    assert!(!files.is_empty() && files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}
