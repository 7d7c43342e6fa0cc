//! Encrypted conversations, by the client library and the real server.

use godwit_client::EncryptionState;

use super::*;
use crate::backup::{Backup, Restored};
use crate::chat::messages::is_in;

async fn encrypted(server: &Server, account: &Account) -> Client {
    let builder = builder(&format!("mqtt://{}", server.mqtt()), account).encryption(true);
    builder.open().await.expect("it opens")
}

async fn becomes(client: &Client, state: EncryptionState) {
    let mut watched = client.encryption();
    soon("the state of encryption", watched.wait_for(|it| *it == state)).await.expect("it is open");
}

async fn ready(server: &Server, account: &Account) -> Client {
    let client = encrypted(server, account).await;
    becomes(&client, EncryptionState::Ready).await;
    client
}

/// The conversation is encrypted from here on.
async fn sealed(events: &mut Events) -> ConversationId {
    loop {
        if let Event::Changed { conversation, change: ConversationUpdate::Encrypted, .. } = next(events).await {
            return conversation;
        }
    }
}

async fn encrypts(client: &Client, id: ConversationId) {
    soon("encryption", client.encrypt(id)).await.expect("it is encrypted");
}

/// The next message, which must have been sealed.
async fn secret(events: &mut Events) -> String {
    let message = message(events).await;
    assert!(message.encrypted && !message.unopened, "{message:?}");
    text(&message)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_write_to_each_other_encrypted() {
    let server = Server::start();
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let (alice, bob) = (ready(&server, &accounts[0]).await, ready(&server, &accounts[1]).await);
    let (mut alices, mut bobs) = (alice.events(), bob.events());
    let id = alice.open_direct(&user("bob")).await.expect("it is there");
    encrypts(&alice, id).await;
    assert_eq!((sealed(&mut alices).await, sealed(&mut bobs).await), (id, id));

    alice.send(user("bob"), "hello").await.expect("queued");
    assert_eq!(secret(&mut bobs).await, "hello");
    let sent = bob.send(id, "hello you").await.expect("queued");
    assert_eq!(secret(&mut alices).await, "hello you");
    soon("two ticks", sent.delivered()).await.expect("taken");
    assert!(alice.conversation(id).await.expect("read").expect("known").encrypted);

    let (ours, theirs) = (alice.safety_number(&user("bob")).await, bob.safety_number(&user("alice")).await);
    let (ours, theirs) = (ours.expect("a number"), theirs.expect("a number"));
    assert_eq!((&ours.digits, &ours.code, ours.verified), (&theirs.digits, &theirs.code, false));
    alice.verify(&user("bob"), Some(&theirs.code), true).await.expect("the same");
    assert!(alice.safety_number(&user("bob")).await.expect("a number").verified);
    assert!(alice.verify(&user("bob"), Some(b"another"), true).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_an_encrypted_group_come_and_go() {
    let server = Server::start();
    let accounts = ["alice", "bob", "carol"].map(|name| server.add_user(name, "phone"));
    let [alice, bob, carol] = &accounts;
    let (alice, bob, carol) = (ready(&server, alice).await, ready(&server, bob).await, ready(&server, carol).await);
    let (mut bobs, mut carols) = (bob.events(), carol.events());
    let id = alice.create_group("walk", &[user("bob")]).await.expect("a group");
    encrypts(&alice, id).await;
    alice.send(id, "one").await.expect("queued");
    assert_eq!(secret(&mut bobs).await, "one");

    soon("an added member", alice.add_member(id, &user("carol"))).await.expect("added");
    alice.send(id, "two").await.expect("queued");
    assert_eq!((secret(&mut bobs).await, secret(&mut carols).await), ("two".to_owned(), "two".to_owned()));
    carol.send(id, "three").await.expect("queued");
    assert_eq!(secret(&mut bobs).await, "three");

    soon("a removed member", alice.remove_member(id, &user("carol"))).await.expect("removed");
    bob.send(id, "four").await.expect("queued");
    let mut alices = alice.events();
    while secret(&mut alices).await != "four" {}
    // Who leaves is owed: the next one that sends removes it first.
    soon("an added member", alice.add_member(id, &user("carol"))).await.expect("added");
    carol.leave(id).await.expect("left");
    alice.send(id, "five").await.expect("queued");
    assert_eq!(secret(&mut bobs).await, "five");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_device_takes_part() {
    let server = Server::start();
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let (alice, bob) = (ready(&server, &accounts[0]).await, ready(&server, &accounts[1]).await);
    let id = alice.open_direct(&user("bob")).await.expect("it is there");
    encrypts(&alice, id).await;
    let mut bobs = bob.events();
    alice.send(id, "before").await.expect("queued");
    assert_eq!(secret(&mut bobs).await, "before");

    let tablet = encrypted(&server, &server.add_device("bob", "tablet")).await;
    becomes(&tablet, EncryptionState::Unlinked).await;
    let offer = tablet.link_offer().await.expect("an offer");
    assert_eq!(bob.offered_device(&offer).expect("an offer"), "tablet");
    bob.link_accept(&offer).await.expect("accepted");
    becomes(&tablet, EncryptionState::Ready).await;
    assert_eq!(tablet.recovery_code().await.expect("read"), bob.recovery_code().await.expect("read"));

    let mut tablets = tablet.events();
    bob.send(id, "from the phone").await.expect("queued");
    alice.send(id, "to both").await.expect("queued");
    loop {
        match next(&mut tablets).await {
            Event::Message(message) if text(&message) == "to both" => break,
            _ => {}
        }
    }
    tablet.send(id, "from the tablet").await.expect("queued");
    let mut alices = alice.events();
    while secret(&mut alices).await != "from the tablet" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_keeps_nothing_that_it_could_read() {
    let server = Server::with(&[("retention.history", "forever")]);
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let (alice, bob) = (ready(&server, &accounts[0]).await, ready(&server, &accounts[1]).await);
    let (mut alices, mut bobs) = (alice.events(), bob.events());
    let plain = alice.create_group("plain", &[user("bob")]).await.expect("a group");
    let id = alice.create_group("secret", &[user("bob")]).await.expect("a group");
    encrypts(&alice, id).await;
    sealed(&mut bobs).await;
    alice.send(plain, "canary-in-the-clear").await.expect("queued");
    assert_eq!(text(&message(&mut bobs).await), "canary-in-the-clear");

    alice.send(id, "canary-in-a-message").await.expect("queued");
    let said = message(&mut bobs).await;
    assert_eq!((text(&said).as_str(), said.encrypted), ("canary-in-a-message", true));
    soon("a reaction", bob.react(id, said.sequence, "canary-reaction")).await.expect("taken");
    soon("an edit", alice.edit(id, said.sequence, "canary-in-an-edit")).await.expect("taken");
    let change = async |events: &mut Events, wanted: ConversationUpdate| loop {
        if matches!(next(events).await, Event::Changed { change, .. } if change == wanted) {
            return;
        }
    };
    change(&mut alices, ConversationUpdate::Reacted(said.sequence, "canary-reaction".to_owned())).await;
    change(&mut bobs, ConversationUpdate::Edited(said.sequence, "canary-in-an-edit".into())).await;

    assert!(is_in(server.data(), b"canary-in-the-clear"), "where it is readable it is found");
    for words in ["canary-in-a-message", "canary-reaction", "canary-in-an-edit"] {
        assert!(!is_in(server.data(), words.as_bytes()), "{words}");
        assert!(!server.log().contains(words), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_without_a_connection_is_sealed_when_it_leaves() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start();
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let address = format!("mqtt://{}", server.mqtt());
    let stored = || builder(&address, &accounts[0]).sqlite(folder.path().join("alice.sqlite")).encryption(true).open();
    let alice = stored().await.expect("it opens");
    becomes(&alice, EncryptionState::Ready).await;
    let bob = ready(&server, &accounts[1]).await;
    let mut bobs = bob.events();
    let id = alice.open_direct(&user("bob")).await.expect("it is there");
    encrypts(&alice, id).await;
    alice.send(id, "one").await.expect("queued");
    assert_eq!(secret(&mut bobs).await, "one");

    server.kill();
    alice.send(id, "two").await.expect("queued");
    alice.close().await.expect("closed");
    let alice = stored().await.expect("it opens");
    alice.send(id, "three").await.expect("queued");
    server.start_again();
    assert_eq!((secret(&mut bobs).await, secret(&mut bobs).await), ("two".to_owned(), "three".to_owned()));
}

/// The store is copied, the group goes on by two epochs, and the copy is put back: what devices have in hand the server does not
/// know any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_encrypted_after_a_restore() {
    let mut server = Server::start();
    let accounts = ["alice", "bob", "carol"].map(|name| server.add_user(name, "phone"));
    let [alice, bob, carol] = &accounts;
    let (alice, bob, _carol) = (ready(&server, alice).await, ready(&server, bob).await, ready(&server, carol).await);
    let (mut alices, mut bobs) = (alice.events(), bob.events());
    let id = alice.create_group("walk", &[user("bob")]).await.expect("a group");
    encrypts(&alice, id).await;
    let one = alice.send(id, "one").await.expect("queued");
    assert_eq!(secret(&mut bobs).await, "one");
    soon("two ticks", one.delivered()).await.expect("taken");
    server.stop();
    let backup = Backup::of(&server);
    server.start_again();
    soon("an added member", alice.add_member(id, &user("carol"))).await.expect("added");
    alice.send(id, "two").await.expect("queued");
    assert_eq!(secret(&mut bobs).await, "two");
    soon("a removed member", alice.remove_member(id, &user("carol"))).await.expect("removed");
    bob.send(id, "three").await.expect("queued");
    assert_eq!(secret(&mut alices).await, "three");

    server.stop();
    backup.put_back(&server, Restored::Store);
    server.start_again();
    alice.send(id, "four").await.expect("queued");
    bob.send(id, "five").await.expect("queued");
    let mut reset = 0;
    for (events, wanted) in [(&mut alices, "five"), (&mut bobs, "four")] {
        loop {
            match next(events).await {
                Event::GroupReset { conversation, .. } if conversation == id => reset += 1,
                Event::Message(message) => {
                    assert!(message.encrypted && !message.unopened, "{message:?}");
                    assert_eq!(text(&message), wanted);
                    break;
                }
                Event::Undecryptable { why, .. } => panic!("{why}"),
                _ => {}
            }
        }
    }
    assert_eq!(reset, 2, "each is told once");
    for client in [&alice, &bob] {
        let kept = client.messages(id, None, 99).await.expect("kept");
        let mut kept: Vec<_> = kept.iter().map(|(message, _)| text(message)).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["five", "four", "one", "three", "two"], "what was read stays, and nothing is there twice");
    }
}
