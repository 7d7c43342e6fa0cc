//! A chat whose server was set up anew: the same command, the same users, another server.

use super::{begin, chat, ended};
use crate::backup::empty;
use crate::server::Server;

#[test]
fn a_server_that_was_set_up_anew_is_chatted_with_from_a_store_of_its_own() {
    let mut server = Server::start();
    let [alice, _] = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
    assert!(chat(&server, &alice, "@bob one\n").contains("* sent to bob\n"));
    server.stop();
    empty(server.data());
    server.start_again();
    let [alice, _] = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
    for _ in 0..2 {
        let ended = ended(begin(&server, &alice, "@bob two\n"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("* sent to bob\n"), "{ended:?}");
    }
    let stores = std::fs::read_dir(server.data()).expect("a folder").filter_map(|entry| {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        name.strip_prefix("alice.phone.sqlite")
            .filter(|rest| !rest.ends_with("-wal") && !rest.ends_with("-shm"))
            .map(str::len)
    });
    let mut stores: Vec<_> = stores.collect();
    stores.sort_unstable();
    assert_eq!(stores, [0, 17], "its own, and that of the first server");
}
