//! `godwit backup` of a server under load, and `godwit restore`: what was acknowledged before the backup is there, whatever is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::Value;

use crate::mqtt::{Client, RESUME, Version};
use crate::server::{Account, Ended, Server, run};
use crate::until;

/// Alice writes to Bob, who is away, as fast as she is answered.
struct Load {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Load {
    fn begin(server: &Server, alice: &Account) -> Self {
        let (acknowledged, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let mut client = Client::connect(server.mqtt(), alice, Version::V5, RESUME);
        let thread = {
            let (acknowledged, stop) = (acknowledged.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let body = format!("message {}", acknowledged.load(Ordering::SeqCst));
                    assert_eq!(client.publish("to/bob", body.as_bytes()), 0);
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        Self { acknowledged, stop, thread: Some(thread) }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    fn until(&self, count: u64) {
        until("messages are acknowledged", || self.acknowledged() >= count);
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().expect("it runs").join().expect("all were acknowledged");
    }
}

fn backup(server: &Server, folder: &Path) -> Value {
    let ended = server.run(&["backup", folder.to_str().expect("text")]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).expect("JSON")
}

fn restore(folder: &Path, data: &Path, more: &[&str]) -> Ended {
    run(&[&["restore", folder.to_str().expect("text")], more].concat(), data, &[])
}

/// All that waits for Bob on a server that was put back, in order.
fn waiting(data: &Path, alice: &Account, bob: &Account) -> Vec<String> {
    let server = Server::on(data, &[]);
    server.wait_for_log(&["the store counts as restored"]);
    let mut at_bob = Client::connect(server.mqtt(), bob, Version::V5, RESUME);
    assert_eq!(at_bob.subscribe("inbox/#"), 1);
    let mut sender = Client::connect(server.mqtt(), alice, Version::V5, RESUME);
    assert_eq!(sender.publish("to/bob", b"end"), 0);
    let mut bodies = Vec::new();
    loop {
        match at_bob.body() {
            body if body == "end" => return bodies,
            body => bodies.push(body),
        }
    }
}

fn expect_all(bodies: &[String], at_least: u64) {
    assert!(bodies.len() as u64 >= at_least, "{} of {at_least}", bodies.len());
    (0..).zip(bodies).for_each(|(number, body): (u64, _)| assert_eq!(*body, format!("message {number}")));
}

#[test]
fn a_backup_under_load_has_all_that_was_acknowledged() {
    let mut server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let folder = tempfile::tempdir().expect("a folder");
    let (backups, restored) = (folder.path().join("backups"), folder.path().join("data"));
    let load = Load::begin(&server, &alice);
    load.until(200);
    let first = backup(&server, &backups);
    load.until(load.acknowledged() + 200);
    let acknowledged = load.acknowledged();
    let second = backup(&server, &backups);
    load.until(load.acknowledged() + 100);
    load.end();
    server.kill();
    assert!(!server.data().join("checkpoint").exists(), "nothing of it is left in the data folder");
    assert!(second["copied_bytes"].as_u64() < second["bytes"].as_u64(), "only what is new: {second}");

    let number = first["backup"].as_u64().expect("a number").to_string();
    for more in [&["--check"][..], &["--check", "--backup", &number]] {
        assert_eq!(restore(&backups, &restored, more).code, Some(0));
    }
    assert!(!restored.exists(), "a check puts nothing back");
    assert_eq!(restore(&backups, &restored, &[]).code, Some(0));
    expect_all(&waiting(&restored, &alice, &bob), acknowledged);
    let again = restore(&backups, &restored, &[]);
    assert!(again.code == Some(1) && again.stderr.contains("is there already"), "{}", again.stderr);
}

#[test]
fn a_backup_that_is_cut_off_leaves_the_one_before_as_it_was() {
    let mut server = Server::start();
    let (alice, bob) = (server.add_user("alice", "phone"), server.add_user("bob", "phone"));
    let folder = tempfile::tempdir().expect("a folder");
    let backups = folder.path().join("backups");
    let load = Load::begin(&server, &alice);
    load.until(100);
    let acknowledged = load.acknowledged();
    let good = backup(&server, &backups);
    load.until(load.acknowledged() + 100);
    load.end();
    // The server is killed at some moment of the next one.
    thread::scope(|scope| {
        let cut_off = scope.spawn(|| server.run(&["backup", backups.to_str().expect("text")]).code);
        until("a checkpoint is made", || server.data().join("checkpoint").exists() || cut_off.is_finished());
        server.signal("-KILL");
        cut_off.join().expect("it ends");
    });
    server.kill();
    let number = good["backup"].as_u64().expect("a number").to_string();
    let restored = folder.path().join("data");
    assert_eq!(restore(&backups, &restored, &["--backup", &number]).code, Some(0));
    expect_all(&waiting(&restored, &alice, &bob), acknowledged);
    // The server itself goes on, and makes another one.
    server.start_again();
    assert!(!server.data().join("checkpoint").exists());
    backup(&server, &backups);
    let kept = server.run(&["backup", backups.to_str().expect("text"), "--keep", "1"]);
    assert_eq!((kept.code, fs::read_dir(backups.join("backups")).expect("a folder").count()), (Some(0), 1));
    assert_eq!(restore(&backups, &restored, &["--check"]).code, Some(0));

    // Damage is seen, and told by the name of the file.
    let tables = files(&backups.join("files"));
    let table = tables.iter().max_by_key(|file| fs::metadata(file).expect("a file").len()).expect("a file");
    let mut bytes = fs::read(table).expect("read");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(table, bytes).expect("written");
    let damaged = restore(&backups, &folder.path().join("other"), &[]);
    assert!(damaged.code == Some(65) && damaged.stderr.contains("not what was backed up"), "{}", damaged.stderr);
    assert!(!folder.path().join("other/store").exists(), "half a store is none");
}

/// All files within a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
