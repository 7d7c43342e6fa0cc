//! Servers that were restored from a backup: no number is given twice, and whoever asks is told.

use godwit_schemas::client::change::Change;
use godwit_schemas::client::{self, Send, request::Call, send};
use prost::Message as _;
use serde_json::json;

use super::phone::Phone;
use super::web::Web;
use crate::backup::{Backup, Restored, WAYS};
use crate::mqtt::{VERSIONS, Version};
use crate::server::Server;

fn create(users: &[&str]) -> Call {
    let users = users.iter().map(|user| (*user).to_owned()).collect();
    Call::CreateGroup(client::CreateGroup { title: "hikers".into(), users })
}

fn which(phone: &mut Phone) -> client::Server {
    phone.done(Call::GetServer(client::GetServer {})).server.expect("it says which")
}

/// Alice's phone makes a group with bob. The server forgets it. Her laptop makes another one, with carol. Her phone, which
/// knows nothing of that, writes to the first.
#[test]
fn a_message_to_a_group_that_is_gone_reaches_nobody_else() {
    for (what, version) in WAYS.into_iter().zip([Version::V5, Version::V4, Version::V5]) {
        let mut server = Server::start();
        let phone = server.add_user("alice", "phone");
        let laptop = server.add_device("alice", "laptop");
        let [bob, carol] = ["bob", "carol"].map(|user| server.add_user(user, "phone"));
        server.stop();
        let backup = Backup::of(&server);
        let mut groups = Vec::new();
        // The same backup, again and again: each time other numbers are gone.
        for _ in 0..3 {
            server.start_again();
            let mut alice = Phone::connect(&server, &phone, version);
            let with_bob = alice.done(create(&["bob"])).conversation;
            assert!(!groups.contains(&with_bob), "{what:?}: {with_bob} again, of {groups:?}");
            groups.push(with_bob);
            Phone::connect(&server, &bob, version);
            server.stop();
            backup.put_back(&server, what);
        }
        server.start_again();
        assert!(server.log().contains("the store counts as restored"), "{what:?}");
        let mut carols = Phone::connect(&server, &carol, version);
        let with_carol = Phone::connect(&server, &laptop, version).done(create(&["carol"])).conversation;
        assert!(!groups.contains(&with_carol), "{what:?}: {with_carol} again, of {groups:?}");
        assert!(matches!(carols.change().0, Change::Opened(_)));
        let mut alice = Phone::connect(&server, &phone, version);
        for gone in groups {
            let refused = if version == Version::V5 { 0x90 } else { 0 };
            assert_eq!(alice.client.publish(&format!("send/{gone}"), b"for bob only"), refused);
        }
        alice.send(&format!("send/{with_carol}"), "for carol");
        assert_eq!(&carols.message().body[..], b"for carol", "{what:?}");
    }
}

/// A conversation from before the backup goes on where no device can have seen anything yet, so that nobody takes a new
/// message for a repetition; and whoever joins is taken for nobody else.
#[test]
fn places_and_members_of_an_older_conversation_are_given_once() {
    for version in VERSIONS {
        let mut server = Server::start();
        let accounts = ["alice", "bob", "carol", "dave"].map(|user| server.add_user(user, "phone"));
        let mut alice = Phone::connect(&server, &accounts[0], version);
        let id = alice.done(create(&["bob"])).conversation;
        assert!(matches!(alice.change(), (Change::Opened(_), 1, _)));
        let before = which(&mut alice);
        assert_eq!(before.numbers_above, 0);
        alice.client.disconnect();
        server.stop();
        let backup = Backup::of(&server);
        server.start_again();
        let add = |user: &str| Call::AddMember(client::AddMember { conversation: id, user: user.into() });
        let mut alice = Phone::connect(&server, &accounts[0], version);
        assert_eq!(which(&mut alice), before, "a start is no restore");
        alice.done(add("carol"));
        let (Change::Added(carol), 2, _) = alice.change() else { panic!("she is added") };
        alice.send(&format!("send/{id}"), "forgotten");
        server.stop();
        backup.put_back(&server, Restored::Store);
        server.start_again();
        let mut alice = Phone::connect(&server, &accounts[0], version);
        let after = which(&mut alice);
        assert_eq!(after.server, before.server);
        assert_ne!(after.epoch, before.epoch);
        alice.done(add("dave"));
        let (Change::Added(dave), sequence, _) = alice.change() else { panic!("he is added") };
        assert_eq!(sequence, after.numbers_above + 1);
        assert!(dave.ordinal > carol.ordinal, "{} was carol", dave.ordinal);
        let mut bob = Phone::connect(&server, &accounts[1], version);
        assert!(matches!(bob.change(), (Change::Opened(_), 1, _)), "it waits since before the backup");
        alice.send(&format!("send/{id}"), "remembered");
        assert!(matches!(bob.change(), (Change::Added(_), at, _) if at == sequence));
        let message = bob.message();
        assert_eq!((message.sequence, &message.body[..]), (sequence + 1, &b"remembered"[..]));
    }
}

/// Who says with which of the server's memories it reckons is refused when that is another one.
#[test]
fn a_send_that_names_another_epoch_is_refused() {
    let mut server = Server::start();
    let [alice, bob] = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
    let mut phone = Phone::connect(&server, &alice, Version::V5);
    let before = which(&mut phone).epoch;
    let to_bob = |epoch| {
        let to = Some(send::To::User("bob".into()));
        Send { to, body: "hello".into(), epoch, ..Send::default() }.encode_to_vec()
    };
    assert_eq!(phone.client.publish("send", &to_bob(before)), 0);
    server.stop();
    // Nobody can tell, unless somebody says so.
    assert_eq!(server.run(&["restored"]).code, Some(0));
    server.start_again();
    let mut phone = Phone::connect(&server, &alice, Version::V5);
    let now = which(&mut phone).epoch;
    assert_ne!(now, before);
    for (epoch, code) in [(before, 0x83), (1, 0x83), (now, 0), (0, 0)] {
        assert_eq!(phone.client.publish("send", &to_bob(epoch)), code, "{epoch:x}");
    }
    let web = Web::of(&server, &bob);
    let told = web.done("GET", "/server", None);
    assert_eq!(told["epoch"], format!("{now:016x}"));
    for (epoch, status) in [(before, 422), (now, 201)] {
        let epoch = format!("{epoch:016x}");
        let (code, answer) = web.post_with("/messages", ("godwit-epoch", &epoch), json!({"user": "alice", "body": ""}));
        assert_eq!(code, status, "{answer}");
    }
    let (code, answer) = web.post_with("/messages", ("godwit-epoch", "now"), json!({"user": "alice", "body": ""}));
    assert_eq!(code, 400, "{answer}");
}

/// The broker has not ended, and what it holds is of a history that is no more.
#[test]
fn connections_end_when_the_bridge_behind_them_was_restored() {
    let mut server = Server::halves(&[]);
    let [alice, bob] = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
    server.kill_bridge();
    let backup = Backup::of(&server);
    server.start_bridge();
    let mut phone = Phone::connect(&server, &alice, Version::V5);
    let id = phone.done(create(&["bob"])).conversation;
    server.kill_bridge();
    backup.put_back(&server, Restored::Store);
    server.start_bridge();
    assert_eq!(phone.client.closed(), Some(0x89), "it may come back");
    let mut phone = Phone::connect(&server, &alice, Version::V5);
    assert_eq!(phone.client.publish(&format!("send/{id}"), b"gone"), 0x90);
    Phone::connect(&server, &bob, Version::V5).send("to/alice", "hello");
    assert!(matches!(phone.change().0, Change::Opened(_)));
    assert_eq!(&phone.message().body[..], b"hello");
}
