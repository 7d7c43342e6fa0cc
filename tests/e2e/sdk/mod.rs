//! The client library against the real server: what an app sees, and what it costs.

mod apps;
mod calls;
mod encryption;
mod files;
mod fill;
mod network;
mod password;
mod proxy;
mod restored;
mod stores;
mod wire;

use std::path::Path;

use godwit_client::ids::{ConversationId, DeviceName, UserId};
use godwit_client::{
    Builder, Client, ConversationUpdate, Delivery, Error, Event, Events, Message, OfflineCause, Protocol, SendState,
    Status,
};
use tokio::time::timeout;

use crate::PATIENCE;
use crate::server::{Account, Server};

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a name")
}

/// A client of this account, connecting at this address.
fn builder(address: &str, account: &Account) -> Builder {
    let device = DeviceName::new(&account.device).expect("a name");
    let builder = Client::builder(address, user(&account.user), device, &account.password);
    builder.longest_wait(std::time::Duration::from_millis(200))
}

async fn open(server: &Server, account: &Account) -> Client {
    builder(&format!("mqtt://{}", server.mqtt()), account).open().await.expect("it opens")
}

async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    timeout(PATIENCE, happens).await.unwrap_or_else(|_| panic!("did not happen within {PATIENCE:?}: {what}"))
}

/// The next event, confirmed.
async fn next(events: &mut Events) -> Event {
    let Delivery { event, id } = soon("an event", events.next()).await.expect("it is open");
    events.confirm(&Delivery { event: event.clone(), id }).await.expect("confirmed");
    event
}

/// The next message; everything else is passed over.
async fn message(events: &mut Events) -> Message {
    loop {
        if let Event::Message(message) = next(events).await {
            return message;
        }
    }
}

fn text(message: &Message) -> String {
    String::from_utf8(message.body.to_vec()).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_its_ticks() {
    let server = Server::start();
    let [alice, bob] = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let (alice, bob) = (open(&server, &alice).await, open(&server, &bob).await);
    let mut bobs = bob.events();
    let sent = alice.send(user("bob"), "hello").await.expect("queued");
    soon("two ticks", sent.delivered()).await.expect("taken");
    let hello = message(&mut bobs).await;
    assert_eq!((text(&hello).as_str(), hello.user.clone(), hello.mine), ("hello", Some(user("alice")), false));
    let at = (hello.conversation, hello.sequence);
    assert_eq!(sent.state(), SendState::Delivered { at });
    bob.mark_read(hello.conversation, hello.sequence).await.expect("kept");
    soon("three ticks", sent.read()).await.expect("taken");
    assert_eq!(sent.state(), SendState::Read { at });

    // He answers under the conversation's number; she sees both where they stand.
    let answer = bob.send(hello.conversation, "hi").await.expect("queued");
    assert_eq!(text(&message(&mut alice.events()).await), "hi");
    soon("two ticks", answer.delivered()).await.expect("taken");
    let shown = alice.messages(hello.conversation, None, 9).await.expect("kept");
    let shown: Vec<_> = shown.iter().map(|(it, state)| (text(it), it.mine, state.is_some())).collect();
    assert_eq!(shown, [("hello".to_owned(), true, true), ("hi".to_owned(), false, false)]);
    let conversations = alice.conversations().await.expect("kept");
    assert_eq!(conversations[0].other(&user("alice")).map(|it| it.user.clone()), Some(user("bob")));
    assert_eq!(alice.direct(&user("bob")).await.expect("kept"), Some(hello.conversation));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_offline_is_sent_after_a_restart_of_the_app_once_and_in_order() {
    let mut server = Server::start();
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let store = server.data().join("alice.sqlite");
    let address = format!("mqtt://{}", server.mqtt());
    server.kill();
    let mut ids = Vec::new();
    for number in 0..3 {
        // The app is killed after each message: its runtime is gone, and nothing was said to the engine.
        let alice = builder(&address, &accounts[0]).sqlite(&store).open().await.expect("it opens");
        ids.push(alice.send(user("bob"), number.to_string()).await.expect("queued").id());
        assert_eq!(alice.pending(user("bob")).await.expect("kept").len(), number + 1);
        alice.close().await.expect("closed");
    }
    server.start_again();
    let alice = builder(&address, &accounts[0]).sqlite(&store).open().await.expect("it opens");
    let bob = open(&server, &accounts[1]).await;
    let mut events = bob.events();
    for number in 0..3 {
        assert_eq!(text(&message(&mut events).await), number.to_string());
    }
    for id in ids {
        let handle = alice.follow(id).await.expect("kept").expect("it is known");
        soon("two ticks", handle.delivered()).await.expect("taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_a_user_see_the_same() {
    let server = Server::start();
    let phones = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let tablet = server.add_device("alice", "tablet");
    let (alice, bob, tablet) =
        (open(&server, &phones[0]).await, open(&server, &phones[1]).await, open(&server, &tablet).await);
    soon("one tick", alice.send(user("bob"), "one").await.expect("queued").sent()).await.expect("taken");
    let mut events = tablet.events();
    let one = message(&mut events).await;
    assert!(one.mine && one.send.is_none(), "a copy of this user's own message: {one:?}");
    soon("one tick", tablet.send(one.conversation, "two").await.expect("queued").sent()).await.expect("taken");
    soon("one tick", bob.send(user("alice"), "three").await.expect("queued").sent()).await.expect("taken");
    assert_eq!(text(&message(&mut events).await), "three");
    // Read on the tablet is read.
    let three = tablet.conversation(one.conversation).await.expect("kept").expect("known").last_message;
    tablet.mark_read(one.conversation, three).await.expect("kept");
    let mut events = alice.events();
    loop {
        if let Event::Receipt { user: Some(who), read_up_to, .. } = next(&mut events).await
            && who == user("alice")
        {
            assert_eq!(read_up_to, three);
            break;
        }
    }
    assert_eq!(alice.conversation(one.conversation).await.expect("kept").expect("known").read_up_to, three);
    let expected = ["one", "two", "three"].map(str::to_owned);
    for client in [&alice, &bob, &tablet] {
        let shown = client.messages(one.conversation, None, 9).await.expect("kept");
        assert_eq!(shown.iter().map(|(it, _)| text(it)).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups() {
    let server = Server::start();
    let accounts = ["alice", "bob", "carol"].map(|name| server.add_user(name, "phone"));
    let mut clients = Vec::new();
    for account in &accounts {
        clients.push(open(&server, account).await);
    }
    let walk = clients[0].create_group("walk", &[user("bob")]).await.expect("made");
    let first = clients[0].send(walk, "who comes?").await.expect("queued");
    soon("two ticks", first.delivered()).await.expect("taken");
    clients[0].add_member(walk, &user("carol")).await.expect("added");
    clients[0].rename(walk, "long walk").await.expect("renamed");
    let mut carols = clients[2].events();
    let opened = next(&mut carols).await;
    assert!(
        matches!(&opened, Event::Changed { change: ConversationUpdate::Opened { members, .. }, .. } if members.len() == 3)
    );
    let mut bobs = clients[1].events();
    assert_eq!(text(&message(&mut bobs).await), "who comes?");
    for (client, place) in [(&clients[1], "bob"), (&clients[2], "carol")] {
        let conversation = loop {
            let known = client.conversation(walk).await.expect("kept");
            match known.filter(|it| it.title == "long walk" && it.members.len() == 3) {
                Some(known) => break known,
                None => drop(soon(place, client.events().next()).await),
            }
        };
        assert!(conversation.group);
    }
    // Carol joined later: the first message waits only for Bob.
    let second = clients[0].send(walk, "anybody?").await.expect("queued");
    clients[1].mark_read(walk, soon("it", last(&clients[1], walk)).await).await.expect("kept");
    soon("three ticks of the first", first.read()).await.expect("taken");
    soon("two ticks of the second", second.delivered()).await.expect("taken");
    let refused = clients[2].rename(walk, "mine").await.expect_err("a plain member");
    assert!(matches!(&refused, Error::Refused(it) if it.reason.get() == 0x87), "{refused}");
    assert!(!refused.retry_helps());
    clients[2].leave(walk).await.expect("left");
    let late = clients[2].send(walk, "one more thing").await.expect("queued");
    assert!(matches!(soon("an answer", late.sent()).await, Err(Error::Refused(_))));
    loop {
        if let Event::Refused { send, .. } = next(&mut carols).await {
            assert_eq!(send, late.id());
            break;
        }
    }
}

/// The place of the newest message, when there is one.
async fn last(client: &Client, id: ConversationId) -> godwit_client::ids::Seq {
    loop {
        let known = client.conversation(id).await.expect("kept").map(|it| it.last_message);
        match known.filter(|last| last.get() > 0) {
            Some(last) => return last,
            None => drop(client.events().next().await),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_does_not_take() {
    let server = Server::with(&[("limits.body_bytes_max", "1000"), ("limits.packet_bytes_max", "20000")]);
    let account = server.add_user("alice", "phone");
    let alice = open(&server, &account).await;
    let nobody = alice.send(user("nobody"), "x").await.expect("queued");
    let long = alice.send(user("alice"), vec![0; 1001]).await.expect("queued");
    // Larger than a packet may be: the server would end every connection that brings it.
    let huge = alice.send(user("alice"), vec![0; 30_000]).await.expect("queued");
    let fine = alice.send(user("alice"), "to myself").await.expect("queued");
    for (handle, code) in [(nobody, 0x90), (long, 0x97), (huge, 0x95)] {
        let error = soon("an answer", handle.sent()).await.expect_err("refused");
        assert!(matches!(&error, Error::Refused(refusal) if refusal.reason.get() == code), "{code:#x}: {error}");
        assert!(!error.retry_helps());
    }
    soon("one tick", fine.sent()).await.expect("taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_and_a_second_connection_takes_the_place_of_the_first() {
    let server = Server::start();
    let account = server.add_user("alice", "phone");
    let wrong = Account { password: "wrong".to_owned(), ..account.clone() };
    let client = open(&server, &wrong).await;
    let refused = |status: &Status| matches!(status, Status::Refused(reason) if reason.get() == 0x86);
    drop(soon("a refusal", client.status().wait_for(refused)).await.expect("it is open"));
    // Nobody waits half a minute for what will not come.
    let error = soon("an answer", client.devices()).await.expect_err("refused");
    assert!(matches!(error, Error::NotAdmitted(reason) if reason.get() == 0x86), "{error}");
    assert!(!error.retry_helps());

    let first = open(&server, &account).await;
    drop(soon("online", first.status().wait_for(|it| *it == Status::Online)).await.expect("it is open"));
    let second = open(&server, &account).await;
    // It is told so, and waits for long.
    let taken_over = |it: &Status| *it == Status::Offline(OfflineCause::TakenOver);
    drop(soon("its end", first.status().wait_for(taken_over)).await.expect("it is open"));
    drop(soon("online", second.status().wait_for(|it| *it == Status::Online)).await.expect("it is open"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_only_sends() {
    let server = Server::start();
    let [sensor, phone] = [server.add_user("sensor", "one"), server.add_user("bob", "phone")];
    let sensor = builder(&format!("mqtt://{}", server.mqtt()), &sensor).send_only().archive(false);
    let sensor = sensor.open().await.expect("it opens");
    let bob = open(&server, &phone).await;
    let mut events = bob.events();
    for degrees in 20..25 {
        let sent = sensor.send(user("bob"), degrees.to_string()).await.expect("queued");
        soon("one tick", sent.sent()).await.expect("taken");
        assert_eq!(text(&message(&mut events).await), degrees.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_version_will_do() {
    let server = Server::start();
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let address = format!("mqtt://{}", server.mqtt());
    let old = |account| builder(&address, account).protocol(Protocol::V311).open();
    let (alice, bob) = (old(&accounts[0]).await.expect("it opens"), old(&accounts[1]).await.expect("it opens"));
    let hello = alice.send(user("bob"), "hello").await.expect("queued");
    soon("one tick", hello.sent()).await.expect("taken");
    let got = message(&mut bob.events()).await;
    assert_eq!(text(&got), "hello");
    bob.mark_read(got.conversation, got.sequence).await.expect("kept");
    // 3.1.1 does not say where a message stands: it shows when the next one comes.
    bob.send(got.conversation, "hi").await.expect("queued");
    soon("three ticks", hello.read()).await.expect("taken");
    let nobody = alice.send(user("nobody"), "x").await.expect("queued");
    assert!(matches!(soon("an answer", nobody.sent()).await, Err(Error::Refused(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_with_a_certificate_that_it_trusts_and_no_other() {
    let (server, certificate, _folder) = crate::tls::start();
    let account = server.add_user("alice", "phone");
    let trusted = std::fs::read(certificate).expect("a certificate");
    let address = format!("mqtts://{}", server.mqtts());
    for protocol in [Protocol::V5, Protocol::V311] {
        let client = builder(&address, &account).trust(trusted.clone()).protocol(protocol).open().await;
        let client = client.expect("it opens");
        let sent = client.send(user("alice"), "over TLS").await.expect("queued");
        soon("a tick", sent.sent()).await.expect("taken");
    }
    let client = builder(&address, &account).open().await.expect("it opens");
    let mut status = client.status();
    drop(
        soon("its end", status.wait_for(|it| matches!(it, Status::Offline(OfflineCause::NotTrusted(_)))))
            .await
            .expect("it is open"),
    );
    let sent = client.send(user("alice"), "to a stranger").await.expect("queued");
    assert_eq!(sent.state(), SendState::Queued);
    assert!(matches!(builder(&address, &account).trust("none").open().await, Err(Error::Address(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_websocket_with_and_without_tls() {
    let (server, certificate, _folder) = crate::tls::start();
    let [alice, bob] = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let trusted = std::fs::read(certificate).expect("a certificate");
    let bob = builder(&format!("wss://{}/mqtt", server.wss()), &bob).trust(trusted).open().await.expect("it opens");
    let mut events = bob.events();
    // One store: a device that loses it within 16 ms counts on from where it was.
    let store = godwit_client::store::VolatileStore::new();
    for protocol in [Protocol::V5, Protocol::V311] {
        let alice = builder(&format!("ws://{}", server.ws()), &alice).protocol(protocol).store(store.clone());
        let alice = alice.open().await.expect("it opens");
        // More than one read's worth, and so in several pieces.
        let long = "long ".repeat(10_000);
        let sent = alice.send(user("bob"), long.clone()).await.expect("queued");
        soon("one tick", sent.sent()).await.expect("taken");
        assert_eq!(text(&message(&mut events).await), long);
        alice.close().await.expect("closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_for_one_device() {
    let server = Server::start();
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let store = server.data().join("store.sqlite");
    let at = |account, store: &Path| builder(&format!("mqtt://{}", server.mqtt()), account).sqlite(store);
    let alice = at(&accounts[0], &store).open().await.expect("it opens");
    assert!(matches!(at(&accounts[0], &store).open().await, Err(Error::Store(_))), "it is in use");
    alice.close().await.expect("closed");
    assert!(matches!(at(&accounts[1], &store).open().await, Err(Error::Owner { .. })));
}
