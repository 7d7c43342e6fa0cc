//! Bytes that are not what was written: in a log, in a table, in the files that say what belongs to the store. (Every file,
//! damaged in every way, is in `bridge/store/src/rocks/tests/damage.rs`.)

use std::fs;
use std::path::{Path, PathBuf};

use super::Chat;
use crate::server::Server;

const MESSAGES: usize = 200;
const BYTES: usize = 1_000;
const CHAPTER: &str = "When the disk fails";

/// A server that was killed (what it has is in its log) or stopped (in tables), and a copy of its store.
struct Scene {
    server: Server,
    chat: Chat,
    copy: tempfile::TempDir,
}

impl Scene {
    fn new(stop: impl FnOnce(&mut Server)) -> Self {
        let mut server = Server::start();
        let mut chat = Chat::new(&server);
        assert!(chat.send(&server, MESSAGES, BYTES));
        stop(&mut server);
        let copy = tempfile::tempdir().expect("a folder");
        copy_files(&server.data().join("store"), copy.path());
        Self { server, chat, copy }
    }

    fn store(&self) -> PathBuf {
        self.server.data().join("store")
    }

    /// The store as it was, but for the largest file of a kind.
    fn with(&self, is_kind: impl Fn(&str) -> bool, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
        fs::remove_dir_all(self.store()).expect("no server runs");
        fs::create_dir(self.store()).expect("a folder");
        copy_files(self.copy.path(), &self.store());
        let files = fs::read_dir(self.store()).expect("a folder").map(|entry| entry.expect("a file").path());
        let of_kind = files.filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&is_kind));
        let file = of_kind.max_by_key(|path| fs::metadata(path).expect("a file").len()).expect("a file of that kind");
        let mut bytes = fs::read(&file).expect("readable");
        change(&mut bytes);
        fs::write(&file, bytes).expect("writable");
        file
    }

    /// What an operator does who has nothing better.
    fn accept_what_is_there(&self) {
        fs::remove_file(self.store().join("SYNCED")).expect("it is there");
    }

    /// It does not start, and names the file.
    fn refuses(&mut self, file: &Path) {
        let (code, log) = self.server.try_start_again().expect_err("damaged");
        assert_eq!(code, Some(1), "{log}");
        self.tells(&log, file);
    }

    fn tells(&self, log: &str, file: &Path) {
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(log.contains(name) && log.contains(CHAPTER) && !log.contains("panicked"), "{name}: {log}");
    }
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("a file");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

fn is_manifest(name: &str) -> bool {
    name.starts_with("MANIFEST-")
}

fn is_log(name: &str) -> bool {
    name.ends_with(".log")
}

fn is_table(name: &str) -> bool {
    name.ends_with(".sst")
}

/// Where the records of a log begin: see `bridge/store/src/rocks/journal.rs`.
fn records(log: &[u8]) -> Vec<usize> {
    const BLOCK: usize = 32 << 10;
    let (mut at, mut begins) = (0, Vec::new());
    while at + 7 <= log.len() {
        if BLOCK - at % BLOCK < 7 {
            at = at.next_multiple_of(BLOCK);
            continue;
        }
        begins.push(at);
        at += 7 + usize::from(u16::from_le_bytes([log[at + 4], log[at + 5]]));
    }
    begins
}

#[test]
fn a_log_that_ends_within_a_record_loses_nothing_that_was_acknowledged() {
    let mut scene = Scene::new(Server::kill);
    for part in [1, 7, 300] {
        // What a crash leaves of a record that was being written.
        scene.with(is_log, |log| {
            let records = records(log);
            let long = records.windows(2).find(|pair| pair[1] - pair[0] > 1_000).expect("a message")[0];
            log.extend_from_within(long..long + part);
        });
        scene.server.start_again();
        scene.server.wait_for_log(&["the store's log ends within a record"]);
        scene.chat.check(&scene.server);
        scene.server.kill();
    }
}

#[test]
fn a_log_that_was_cut_off_or_is_gone_is_refused_until_the_operator_says_that_this_is_all() {
    let mut scene = Scene::new(Server::kill);
    let file = scene.with(is_log, |log| log.truncate(records(log)[MESSAGES / 2]));
    scene.refuses(&file);
    let file = scene.with(is_log, |_| ());
    fs::remove_file(&file).expect("it is there");
    scene.refuses(&file);
    let file = scene.with(is_log, |log| log.truncate(log.len() - 1));
    scene.refuses(&file);
    scene.accept_what_is_there();
    scene.server.start_again();
    scene.server.wait_for_log(&["the store's log ends within a record"]);
    let received = scene.chat.received(&scene.server).expect("all there is");
    let count = received.len();
    assert!(count >= MESSAGES - 1 && received == scene.chat.acknowledged[..count], "{count} are there");
}

#[test]
fn a_damaged_log_is_refused_wherever_it_is_damaged() {
    let mut scene = Scene::new(Server::kill);
    let last = |log: &[u8]| records(log).pop().expect("records");
    type Damage<'a> = (&'a str, &'a dyn Fn(&mut Vec<u8>));
    let damages: [Damage<'_>; 7] = [
        ("a byte in the middle", &|log| {
            let middle = log.len() / 2;
            log[middle] ^= 1;
        }),
        ("the first checksum", &|log| log[0] ^= 1),
        ("the last byte", &|log| *log.last_mut().expect("bytes") ^= 0x80),
        ("the last checksum", &|log| {
            let last = last(log);
            log[last] ^= 1;
        }),
        ("the last length", &|log| {
            let last = last(log);
            log[last + 5] ^= 0x40;
        }),
        ("a length before", &|log| {
            let before = records(log)[MESSAGES / 2];
            log[before + 5] ^= 0x80;
        }),
        ("a sector of zeros", &|log| {
            let middle = (log.len() / 2).next_multiple_of(512);
            log[middle..middle + 512].fill(0);
        }),
    ];
    for (what, damage) in damages {
        let file = scene.with(is_log, damage);
        let (code, log) = scene.server.try_start_again().expect_err(what);
        assert_eq!(code, Some(1), "{what}: {log}");
        scene.tells(&log, &file);
    }
    scene.with(is_log, |_| ());
    scene.server.start_again();
    scene.chat.check(&scene.server);
}

#[test]
fn a_damaged_log_that_is_cut_off_where_the_message_says_is_read_up_to_there() {
    let mut scene = Scene::new(Server::kill);
    let file = scene.with(is_log, |log| {
        let middle = log.len() / 2;
        log[middle] ^= 1;
    });
    let (_, log) = scene.server.try_start_again().expect_err("damaged");
    let (_, place) = log.split_once("at byte ").expect("a place");
    let place = place.split(|c: char| !c.is_ascii_digit()).next().and_then(|text| text.parse().ok());
    let log = fs::File::options().write(true).open(&file).expect("a file");
    log.set_len(place.expect("a number")).expect("cut off");
    scene.refuses(&file);
    scene.accept_what_is_there();
    scene.server.start_again();
    let received = scene.chat.received(&scene.server).expect("all there is");
    let count = received.len();
    assert!((MESSAGES / 3..MESSAGES).contains(&count) && received == scene.chat.acknowledged[..count], "{count}");
}

#[test]
fn a_damaged_table_is_never_served() {
    let mut scene = Scene::new(|server| assert_eq!(server.stop(), Some(0)));
    // Data, index, and the end, which says where those are.
    for tenths in [0, 1, 3, 5, 7, 9, 10] {
        let file = scene.with(is_table, |table| {
            let at = (table.len() * tenths / 10).min(table.len() - 1);
            table[at] ^= 0x10;
        });
        let before = scene.server.log().len();
        match scene.server.try_start_again() {
            Err((code, log)) => {
                assert_eq!(code, Some(1), "{log}");
                scene.tells(&log, &file);
            }
            Ok(()) => match scene.chat.received(&scene.server) {
                Ok(all) => assert!(all == scene.chat.acknowledged, "{tenths}: {} messages", all.len()),
                Err(some) => {
                    assert!(some == scene.chat.acknowledged[..some.len()], "{tenths}: something wrong was served");
                    assert_eq!(scene.server.ended(), Some(1));
                    scene.tells(&scene.server.log()[before..], &file);
                }
            },
        }
        scene.server.kill();
    }
    scene.with(is_table, |_| ());
    scene.server.start_again();
    scene.chat.check(&scene.server);
}

#[test]
fn without_the_file_that_says_what_belongs_to_it_a_store_is_not_taken_for_a_new_one() {
    let mut scene = Scene::new(|server| assert_eq!(server.stop(), Some(0)));
    let file = scene.with(|name| name == "CURRENT", |_| ());
    fs::remove_file(&file).expect("it is there");
    scene.refuses(&file);
    let file = scene.with(is_table, |_| ());
    fs::remove_file(&file).expect("it is there");
    scene.refuses(&file);
    let file = scene.with(is_manifest, |manifest| {
        let middle = manifest.len() / 2;
        manifest[middle] ^= 1;
    });
    scene.refuses(&file);
}

#[test]
fn a_manifest_that_was_cut_off_takes_no_table_with_it() {
    let mut scene = Scene::new(|server| assert_eq!(server.stop(), Some(0)));
    let mut begins = Vec::new();
    scene.with(is_manifest, |manifest| begins = records(manifest));
    let last = begins.len() - 1;
    let mut refused = 0;
    for record in [0, 1, last / 2, last - 1, last] {
        let file = scene.with(is_manifest, |manifest| manifest.truncate(begins[record]));
        let Err((code, log)) = scene.server.try_start_again() else {
            // What was cut off said nothing new.
            assert!(scene.chat.received(&scene.server).expect("all there is") == scene.chat.acknowledged);
            scene.server.kill();
            continue;
        };
        assert_eq!(code, Some(1), "{log}");
        scene.tells(&log, &file);
        refused += 1;
        for entry in fs::read_dir(scene.copy.path()).expect("a folder") {
            let name = entry.expect("a file").file_name();
            assert!(scene.store().join(&name).exists(), "{} is gone", name.display());
        }
    }
    assert!(refused >= 3, "{refused}");
    scene.with(is_manifest, |_| ());
    scene.server.start_again();
    scene.chat.check(&scene.server);
}
