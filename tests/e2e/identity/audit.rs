//! What stands in the audit log, and what does not.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::registration::{PHONE, code_for, verify};
use super::web::{authorization, post};
use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Server};
use crate::until;

/// The lines so far, without their times.
fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let untimed = |mut line: Value| {
        assert!(line["time_ms"].as_u64().is_some_and(|time_ms| time_ms > 1_700_000_000_000));
        line.as_object_mut().expect("an object").remove("time_ms");
        line
    };
    lines.map(untimed).collect()
}

fn wait_for(file: &Path, count: usize) -> Vec<Value> {
    until(&format!("{count} lines in {}", file.display()), || lines(file).len() >= count);
    lines(file)
}

#[test]
fn who_gets_in_and_what_becomes_of_accounts_is_noted_and_nothing_that_is_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("audit.jsonl");
    let settings = [("audit.file", file.to_str().expect("text")), ("registration.enabled", "true")];
    let mut server = Server::with(&settings);
    let from = server.mqtt().ip().to_string();
    let alice = server.add_user("alice", "phone");
    let mut client = Client::connect(server.mqtt(), &alice, Version::V5, RESUME);
    assert_eq!(client.publish("to/alice", b"a secret"), 0);
    let wrong = Account { password: "guessed".to_owned(), ..alice.clone() };
    assert_eq!(Client::open(server.mqtt(), Version::V5).login(&wrong, RESUME).expect("CONNACK").0, 0x86);
    assert_eq!(
        post(&server, "/v1/users/alice/conversations", &[("authorization", "Bearer x")], &json!({})).status,
        401
    );
    assert_eq!(post(&server, "/v1/admin/users", &[], &json!({})).status, 401);
    for (user, device) in [("alice", "phone"), ("alice", "tablet"), ("nobody", "phone")] {
        let account = Account { user: user.to_owned(), device: device.to_owned(), password: "guessed".to_owned() };
        let path = format!("/v1/users/{user}/conversations");
        let body = json!({ "user": "bob" });
        let answer = post(&server, &path, &[("authorization", &authorization(&account))], &body);
        assert_eq!((answer.status, &answer.body["detail"]), (401, &json!("unknown device, or wrong password")));
    }
    let code = code_for(&server, PHONE);
    assert_eq!(verify(&server, PHONE, "000", "phone").status, 403);
    let registered = verify(&server, PHONE, &code, "phone").body;
    assert_eq!(server.run(&["user", "phone", "alice", "+4930654321"]).code, Some(0));
    assert_eq!(server.run(&["device", "remove", "alice", "phone"]).code, Some(0));
    assert_eq!(server.run(&["user", "remove", "alice"]).code, Some(0));

    let lines = wait_for(&file, 16);
    // Clients of a test come from the same machine, but not from the same address.
    let address = lines[2]["address"].clone();
    assert!(address.as_str().is_some_and(|address| address.starts_with("127.")), "{address} {from}");
    let of_registration = |event: &str| json!({ "event": event, "address": address, "by": "registration" });
    let mut refused = of_registration("code_refused");
    refused["reason"] = "credentials".into();
    let expected = [
        json!({ "event": "user_added", "user": "alice", "by": "administrator" }),
        json!({ "event": "device_added", "user": "alice", "device": "phone", "by": "administrator" }),
        json!({ "event": "login", "user": "alice", "device": "phone", "address": address, "with": "password" }),
        json!({
            "event": "login_refused", "user": "alice", "device": "phone", "address": address, "with": "password",
            "reason": "wrong password",
        }),
        json!({ "event": "http_refused", "user": "alice", "address": address, "reason": "credentials" }),
        json!({ "event": "http_refused", "address": address, "reason": "credentials" }),
        json!({ "event": "http_refused", "user": "alice", "address": address, "reason": "wrong password" }),
        json!({ "event": "http_refused", "user": "alice", "address": address, "reason": "unknown device" }),
        json!({ "event": "http_refused", "user": "nobody", "address": address, "reason": "unknown user" }),
        of_registration("code_sent"),
        refused,
        of_registration("code_right"),
        json!({ "event": "user_added", "user": registered["user"], "by": "registration" }),
        json!({ "event": "device_added", "user": registered["user"], "device": "phone", "by": "registration" }),
        json!({ "event": "phone_set", "user": registered["user"], "by": "registration" }),
        json!({ "event": "phone_set", "user": "alice", "by": "administrator" }),
        json!({ "event": "device_removed", "user": "alice", "device": "phone", "by": "administrator" }),
        json!({ "event": "user_removed", "user": "alice", "by": "administrator" }),
    ];
    let lines = if lines.len() < expected.len() { wait_for(&file, expected.len()) } else { lines };
    assert_eq!(lines, expected);
    let text = fs::read_to_string(&file).expect("a file");
    let password = registered["password"].as_str().expect("a password");
    for secret in ["a secret", &alice.password, "guessed", &code, &PHONE[1..], "4930654321", password] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_file_is_opened_anew_when_it_is_moved_away_and_told_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, old) = (folder.path().join("audit.jsonl"), folder.path().join("audit.jsonl.1"));
    let server = Server::with(&[("audit.file", file.to_str().expect("text"))]);
    server.add_user("alice", "phone");
    wait_for(&file, 2);
    fs::rename(&file, &old).expect("moved");
    server.signal("-HUP");
    until("the file is there again", || file.exists());
    server.add_user("bob", "phone");
    assert_eq!(wait_for(&file, 2)[0]["user"], "bob");
    assert_eq!(lines(&old).len(), 2);
    fs::remove_file(&file).expect("removed");
    server.add_user("carol", "phone");
    assert_eq!(wait_for(&file, 2)[0]["user"], "carol", "without a word too");
}

#[test]
fn a_file_that_cannot_be_opened_is_refused_at_once() {
    let mut server = Server::prepare("serve", &[("audit.file", "/no/such/folder/audit")]);
    let (code, log) = server.try_start_again().expect_err("it does not start");
    assert_eq!(code, Some(64));
    assert!(log.contains("audit.file: /no/such/folder/audit: "), "{log}");
}
