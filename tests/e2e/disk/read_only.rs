//! A disk that cannot be written: from the start on, or from one moment to the next.

use super::mount::Disk;
use super::{Chat, ends_saying};
use crate::server::Server;

const SETTINGS: [(&str, &str); 2] = [("store.memtable_mib", "1"), ("store.reserve_mib", "0")];
const WORDS: [&str; 2] = ["Read-only file system", "make it writable"];

#[test]
fn on_a_read_only_disk_it_does_not_start() {
    let Some(disk) = Disk::new() else { return };
    let mut server = Server::on(&disk.path(), &SETTINGS);
    let mut chat = Chat::new(&server);
    assert!(chat.send(&server, 20, 1_000));
    assert_eq!(server.stop(), Some(0));
    disk.remount("ro");
    let (code, log) = server.try_start_again().expect_err("it cannot write");
    assert_eq!(code, Some(1));
    assert!(WORDS.iter().all(|words| log.contains(words)), "{log}");
    disk.remount("rw");
    server.start_again();
    chat.check(&server);
}

#[test]
fn a_disk_that_turns_read_only_stops_it_and_nothing_more_is_acknowledged() {
    let Some(disk) = Disk::new() else { return };
    let mut server = Server::on(&disk.path(), &SETTINGS);
    let mut chat = Chat::new(&server);
    assert!(chat.send(&server, 20, 1_000));
    disk.fail();
    assert!(!chat.send(&server, 1, 1_000), "no PUBACK");
    ends_saying(&mut server, &WORDS);
    disk.remount("rw");
    server.start_again();
    chat.check(&server);
}
