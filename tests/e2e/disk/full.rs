//! A full disk: below the reserve messages wait and everything else goes on; at the very end the server stops.

use super::mount::Disk;
use super::{Chat, ends_saying};
use crate::mqtt::{Client, RESUME, Version};
use crate::server::Server;

/// What alice sends at a time.
const BYTES: usize = 60_000;

#[test]
fn below_the_reserve_messages_wait_and_what_is_there_is_delivered() {
    let Some(disk) = Disk::new() else { return };
    // One lane: what it says holds for all users.
    let settings = [("bridge.lanes", "1"), ("store.memtable_mib", "1"), ("store.reserve_mib", "16")];
    let server = Server::on(&disk.path(), &settings);
    let mut chat = Chat::new(&server);
    let carol = server.add_user("carol", "phone");
    assert!(chat.send(&server, 100, BYTES));
    disk.fill(12);
    server.wait_for_log(&["the disk is nearly full", "store.reserve_mib"]);

    let mut senders = [
        Client::connect(server.mqtt(), &chat.alice, Version::V5, RESUME),
        Client::connect(server.mqtt(), &carol, Version::V4, RESUME),
    ];
    for sender in &mut senders {
        sender.send(&sender.publish_bytes(7, false, "to/bob", b"patience"));
        sender.settle();
    }
    let refused = server.run(&["user", "add", "dave", "--device", "phone"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("nearly full"), "{}", refused.stderr);
    let mut bob = Client::connect(server.mqtt(), &chat.bob, Version::V5, RESUME);
    for (number, expected) in chat.acknowledged.iter().enumerate() {
        assert!(bob.receive().payload == *expected, "message {number}");
    }
    bob.settle();
    assert!(bob.is_idle(), "nothing more");
    for sender in &mut senders {
        sender.settle();
        assert!(sender.is_idle(), "no PUBACK");
    }

    disk.make_room();
    for sender in &mut senders {
        assert_eq!(sender.puback(7).0, 0);
        assert_eq!(bob.body(), "patience");
    }
    server.wait_for_log(&["there is room on the disk again"]);
}

#[test]
fn when_nothing_can_be_written_it_stops_and_has_everything_when_there_is_room() {
    let Some(disk) = Disk::new() else { return };
    let mut server = Server::on(&disk.path(), &[("store.memtable_mib", "1"), ("store.reserve_mib", "0")]);
    let mut chat = Chat::new(&server);
    disk.fill(12);
    assert!(!chat.send(&server, 1_000, BYTES), "1,000 messages do not fit");
    assert!(chat.acknowledged.len() > 20, "{} do", chat.acknowledged.len());
    ends_saying(&mut server, &["No space left on device", "make room and start again"]);

    // As long as there is no room it does not start, or is up and stops at the next message; and always says why.
    if let Err((code, log)) = server.try_start_again() {
        assert_eq!(code, Some(1));
        assert!(log.contains("No space left on device") && log.contains("make room"), "{log}");
    } else if !chat.send(&server, 1_000, BYTES) {
        ends_saying(&mut server, &["No space left on device", "make room and start again"]);
    }
    server.kill();
    disk.make_room();
    server.start_again();
    chat.check(&server);
}
