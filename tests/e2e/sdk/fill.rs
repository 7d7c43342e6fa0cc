//! A device that is new, and what it finds; and what a store knows of conversations.

use godwit_client::ids::ConversationId;
use godwit_client::{Client, Message, Status};

use super::{builder, message, open, soon, text, user};
use crate::server::{Account, Server};

async fn said(client: &Client, id: ConversationId) -> Vec<Message> {
    client.messages(id, None, 9_999).await.expect("kept").into_iter().map(|(message, _)| message).collect()
}

/// Waits until a device has this many messages of a conversation.
async fn filled(client: &Client, id: ConversationId, count: usize) -> Vec<Message> {
    let mut changes = client.changes();
    soon("the messages", async {
        loop {
            changes.mark_unchanged();
            let messages = said(client, id).await;
            if messages.len() >= count {
                return messages;
            }
            changes.changed().await.expect("it is open");
        }
    })
    .await
}

async fn sent(client: &Client, to: &str, words: impl Iterator<Item = String>) {
    let mut last = None;
    for words in words {
        last = Some(client.send(user(to), words).await.expect("queued"));
    }
    soon("stored", last.expect("some").sent()).await.expect("taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_finds_what_was_said() {
    let server = Server::with(&[("retention.history", "forever")]);
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let (alice, bob) = (open(&server, &accounts[0]).await, open(&server, &accounts[1]).await);
    sent(&alice, "bob", (0..130).map(|number| number.to_string())).await;
    let mut events = bob.events();
    let mut last = message(&mut events).await;
    while text(&last) != "129" {
        last = message(&mut events).await;
    }
    let id = last.conversation;
    bob.react(id, last.sequence, "+1").await.expect("done");
    let hers = said(&alice, id).await;
    alice.edit(id, hers[127].sequence, "edited").await.expect("done");
    alice.recall(id, hers[128].sequence).await.expect("done");
    sent(&bob, "alice", ["one".to_owned(), "two".to_owned()].into_iter()).await;
    alice.mark_read(id, hers[129].sequence).await.expect("kept");
    let walk = alice.create_group("walk", &[user("bob")]).await.expect("made");

    let tablet = server.add_device("alice", "tablet");
    let store = server.data().join("tablet.sqlite");
    let tablet = builder(&format!("mqtt://{}", server.mqtt()), &tablet).sqlite(&store).open().await.expect("it opens");
    let found = filled(&tablet, id, 45).await;
    let words: Vec<_> = found.iter().rev().take(5).map(text).collect();
    assert_eq!(words, ["two", "one", "129", "", "edited"]);
    let [edited, recalled, reacted] = [5, 4, 3].map(|back| &found[found.len() - back]);
    assert!(edited.edited && edited.mine && edited.user == Some(user("alice")), "{edited:?}");
    assert!(recalled.recalled, "{recalled:?}");
    let reactions: Vec<_> = reacted.reactions.iter().map(|it| (it.user.clone(), it.reaction.as_str())).collect();
    assert_eq!(reactions, [(Some(user("bob")), "+1")]);
    assert_eq!(tablet.direct(&user("bob")).await.expect("kept"), Some(id));
    let group = tablet.conversation(walk).await.expect("kept").expect("known");
    assert_eq!((group.title.as_str(), group.members.len()), ("walk", 2));
    // None of it is news; what comes now is, once.
    sent(&bob, "alice", std::iter::once("three".to_owned())).await;
    assert_eq!(text(&message(&mut tablet.events()).await), "three");
    let known = tablet.conversation(id).await.expect("kept").expect("known");
    assert_eq!(known.last.as_ref().map(text).as_deref(), Some("three"));

    // More of it when it is wanted, page by page, to the beginning.
    let mut pages = 1;
    while soon("a page", tablet.load_older(id)).await.expect("fetched") {
        pages += 1;
    }
    let all: Vec<_> = said(&tablet, id).await.iter().map(text).collect();
    assert_eq!((all.len(), all[0].as_str(), pages > 1), (133, "0", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_killed_while_it_fills_goes_on() {
    let server = Server::with(&[("retention.history", "forever")]);
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let alice = open(&server, &accounts[0]).await;
    let mut ids = Vec::new();
    for number in 0..12 {
        let id = alice.create_group(&number.to_string(), &[user("bob")]).await.expect("made");
        soon("stored", alice.send(id, "hello").await.expect("queued").sent()).await.expect("taken");
        ids.push(id);
    }
    let tablet = server.add_device("bob", "tablet");
    let store = server.data().join("tablet.sqlite");
    let start = async |account: &Account| {
        let builder = builder(&format!("mqtt://{}", server.mqtt()), account).sqlite(&store);
        builder.open().await.expect("it opens")
    };
    for _ in 0..6 {
        let client = start(&tablet).await;
        // As far as it comes.
        drop(soon("online", client.status().wait_for(|it| *it == Status::Online)).await.expect("it is open"));
        client.close().await.expect("closed");
    }
    let client = start(&tablet).await;
    for id in ids {
        assert_eq!(filled(&client, id, 1).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_is_what_others_said_and_nobody_read() {
    let server = Server::start();
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let (alice, bob) = (open(&server, &accounts[0]).await, open(&server, &accounts[1]).await);
    sent(&bob, "alice", (0..5).map(|number| number.to_string())).await;
    let mut events = alice.events();
    let mut got = Vec::new();
    while got.len() < 5 {
        got.push(message(&mut events).await);
    }
    let id = got[0].conversation;
    sent(&alice, "bob", std::iter::once("mine".to_owned())).await;
    let unread = async || alice.conversation(id).await.expect("kept").expect("known").unread;
    assert_eq!(unread().await, 5);
    alice.mark_read(id, got[1].sequence).await.expect("kept");
    assert_eq!(unread().await, 3);
    bob.recall(id, got[3].sequence).await.expect("done");
    bob.edit(id, got[4].sequence, "edited").await.expect("done");
    sent(&bob, "alice", std::iter::once("after that".to_owned())).await;
    while text(&message(&mut events).await) != "after that" {}
    assert_eq!(unread().await, 3, "two of the three, and one more");
    let last = alice.conversation(id).await.expect("kept").expect("known").last_message;
    alice.mark_read(id, last).await.expect("kept");
    assert_eq!(unread().await, 0);
}
