//! Apps whose server was restored from a backup, or is another one.

use godwit_client::{Client, ConversationUpdate, Event, OfflineCause, Protocol, SendState, Status};

use super::{builder, message, next, soon, text, user};
use crate::backup::{Backup, Restored, empty};
use crate::server::{Account, Server};

/// Of a store that lasts.
async fn app(server: &Server, account: &Account, protocol: Protocol) -> Client {
    let store = server.data().join(format!("{}.{}.sqlite", account.user, account.device));
    let builder = builder(&format!("mqtt://{}", server.mqtt()), account).protocol(protocol);
    builder.sqlite(store).open().await.expect("it opens")
}

async fn online(client: &Client) {
    soon("online", client.status().wait_for(|it| *it == Status::Online)).await.expect("it is open");
}

/// The next event that says that the server was restored: what is lost.
async fn lost(client: &Client) -> Vec<godwit_client::ids::ConversationId> {
    let mut events = client.events();
    loop {
        if let Event::ServerRestored { lost } = next(&mut events).await {
            return lost;
        }
    }
}

/// Alice's phone makes a group with bob and writes to it. The server is restored and knows nothing of that. Her laptop makes
/// a group with carol. Her phone has something for the first group that was not sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_for_a_group_that_is_gone_is_sent_to_nobody() {
    for (protocol, what) in
        [(Protocol::V5, Restored::Store), (Protocol::V311, Restored::StoreAlone), (Protocol::V5, Restored::Folder)]
    {
        let mut server = Server::start();
        let (phone, laptop) = (server.add_user("alice", "phone"), server.add_device("alice", "laptop"));
        let [bob, carol] = ["bob", "carol"].map(|user| server.add_user(user, "phone"));
        // The phone knows the server.
        let alice = app(&server, &phone, protocol).await;
        online(&alice).await;
        let to_bob = alice.send(user("bob"), "before").await.expect("queued");
        soon("one tick", to_bob.sent()).await.expect("taken");
        alice.close().await.expect("closed");
        server.stop();
        let backup = Backup::of(&server);
        server.start_again();
        let alice = app(&server, &phone, protocol).await;
        let group = soon("a group", alice.create_group("hikers", &[user("bob")])).await.expect("made");
        let first = alice.send(group, "forgotten").await.expect("queued");
        soon("one tick", first.sent()).await.expect("taken");
        server.stop();
        let unsent = alice.send(group, "for bob only").await.expect("queued");
        let by_name = alice.send(user("bob"), "by name").await.expect("queued");
        alice.close().await.expect("closed");
        backup.put_back(&server, what);
        server.start_again();

        let other = app(&server, &laptop, protocol).await;
        let with_carol = soon("a group", other.create_group("hikers", &[user("carol")])).await.expect("made");
        assert_ne!(with_carol, group, "{protocol:?}");
        let alice = app(&server, &phone, protocol).await;
        let unsent = alice.follow(unsent.id()).await.expect("kept").expect("known");
        assert!(soon("an answer", unsent.sent()).await.is_err(), "{protocol:?}: it reaches nobody");
        assert!(matches!(unsent.state(), SendState::Refused(refusal) if refusal.text.contains("restored")));
        let by_name = alice.follow(by_name.id()).await.expect("kept").expect("known");
        soon("one tick", by_name.sent()).await.expect("taken");
        assert_eq!(lost(&alice).await, [group], "{protocol:?} is told what is gone");
        // Over 3.1.1 nobody has told where it stood.
        let kept = alice.messages(group, None, 9).await.expect("kept");
        assert!(protocol == Protocol::V311 || !kept.is_empty(), "what was written stays");
        soon("one tick", alice.send(with_carol, "for carol").await.expect("queued").sent()).await.expect("taken");
        let carol = app(&server, &carol, protocol).await;
        assert_eq!(text(&message(&mut carol.events()).await), "for carol");
        let bob = app(&server, &bob, protocol).await;
        let mut events = bob.events();
        assert_eq!(text(&message(&mut events).await), "before");
        assert_eq!(text(&message(&mut events).await), "by name");
    }
}

/// A member was removed, the server has forgotten that, and something was written meanwhile. What both know goes on without
/// a gap, and what is delivered once more is told once.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_and_nobody_reads_what_was_not_for_it() {
    for protocol in [Protocol::V5, Protocol::V311] {
        let mut server = Server::start();
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|user| server.add_user(user, "phone"));
        let phone = app(&server, &alice, protocol).await;
        let group = soon("a group", phone.create_group("hikers", &[user("bob"), user("carol")])).await.expect("made");
        let direct = phone.send(user("bob"), "one").await.expect("queued");
        soon("one tick", direct.sent()).await.expect("taken");
        phone.close().await.expect("closed");
        server.stop();
        let backup = Backup::of(&server);
        server.start_again();
        let (phone, bobs) = (app(&server, &alice, protocol).await, app(&server, &bob, protocol).await);
        let mut events = bobs.events();
        assert_eq!(text(&message(&mut events).await), "one");
        soon("removed", phone.remove_member(group, &user("carol"))).await.expect("done");
        let mut own = phone.events();
        while !matches!(next(&mut own).await, Event::Changed { change: ConversationUpdate::Removed(_), .. }) {}
        soon("one tick", phone.send(user("bob"), "two").await.expect("queued").sent()).await.expect("taken");
        assert_eq!(text(&message(&mut events).await), "two");
        server.stop();
        let about_carol = phone.send(group, "about carol").await.expect("queued");
        let three = phone.send(user("bob"), "three").await.expect("queued");
        backup.put_back(&server, Restored::Store);
        // Neither app ends: their connections do.
        server.start_again();
        assert!(soon("an answer", about_carol.sent()).await.is_err(), "{protocol:?}: she is a member again");
        soon("one tick", three.sent()).await.expect("taken");
        loop {
            match next(&mut events).await {
                Event::Message(message) if text(&message) == "three" => break,
                Event::ServerRestored { lost } => assert_eq!(lost, []),
                Event::Message(message) => panic!("told twice: {message:?}"),
                Event::Missing { .. } => panic!("nothing is missing"),
                _ => {}
            }
        }
        let now = phone.conversation(group).await.expect("kept").expect("known");
        assert!(now.members.iter().any(|member| member.user == user("carol") && member.present));
        let again = phone.send(group, "for all").await.expect("queued");
        soon("one tick", again.sent()).await.expect("taken");
        let carols = app(&server, &carol, protocol).await;
        assert_eq!(text(&message(&mut carols.events()).await), "for all");
    }
}

/// The same users, the same address, and another server: what the store has is of the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_of_one_server() {
    for protocol in [Protocol::V5, Protocol::V311] {
        let mut server = Server::start();
        let accounts = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
        let alice = app(&server, &accounts[0], protocol).await;
        soon("one tick", alice.send(user("bob"), "one").await.expect("queued").sent()).await.expect("taken");
        server.stop();
        empty(server.data());
        server.start_again();
        let [account, _] = ["alice", "bob"].map(|user| server.add_user(user, "phone"));
        let unsent = alice.send(user("bob"), "two").await.expect("queued");
        alice.close().await.expect("closed");
        let alice = app(&server, &account, protocol).await;
        let mut status = alice.status();
        let other = |it: &Status| matches!(it, Status::Offline(OfflineCause::OtherServer { .. }));
        soon("it is told", status.wait_for(other)).await.expect("it is open");
        assert_eq!(alice.follow(unsent.id()).await.expect("kept").expect("known").state(), SendState::Queued);
    }
}
