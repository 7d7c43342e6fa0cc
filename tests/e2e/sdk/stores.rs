//! Devices whose store is lost, or is set back: the server must not take what they send for what they have sent before.

use std::time::Duration;

use godwit_client::store::{LocalStore as _, Scan, VolatileStore};
use godwit_client::{Protocol, SendId};
use godwit_schemas::client::{Send, send};
use prost::Message as _;
use tokio::time::sleep;

use super::{builder, message, open, soon, text, user};
use crate::mqtt::{Client, RESUME, Version};
use crate::server::Server;

/// A backup.
fn copy(from: &VolatileStore, to: &VolatileStore) {
    let (mut from, mut to) = (from.clone(), to.clone());
    for (key, value) in from.scan(&[], &[0xFF], Scan::Forward, usize::MAX).expect("read") {
        to.put(&key, &value).expect("written");
    }
    to.commit().expect("committed");
}

/// Its clock was ahead, its store is lost, and its clock is right again: its numbers are below those that the server has
/// taken from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_lost_its_store_and_was_ahead_of_time_is_heard() {
    for protocol in [Protocol::V5, Protocol::V311] {
        let server = Server::start();
        let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
        let bob = open(&server, &accounts[1]).await;
        let mut events = bob.events();
        // As the library of before numbered its sends, in a hundred years.
        let mut ahead = Client::connect(server.mqtt(), &accounts[0], Version::V5, RESUME);
        let (to, body) = (Some(send::To::User("bob".into())), "ahead".into());
        let send = Send { to, client_sequence: 100 * 365 * 24 * 3_600_000 / 16, body, ..Send::default() };
        assert_eq!(ahead.publish("send", &send.encode_to_vec()), 0);
        ahead.disconnect();
        assert_eq!(text(&message(&mut events).await), "ahead");
        let alice = builder(&format!("mqtt://{}", server.mqtt()), &accounts[0]).protocol(protocol);
        let alice = alice.open().await.expect("it opens");
        let sent = alice.send(user("bob"), "right again").await.expect("queued");
        soon("one tick", sent.sent()).await.expect("taken");
        assert_eq!(text(&message(&mut events).await), "right again", "{protocol:?}");
    }
}

/// An older state of the store, as a restored backup has it: the server has taken its next numbers already.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_of_the_store_is_told_that_its_numbers_were_used() {
    let server = Server::start();
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let bob = open(&server, &accounts[1]).await;
    let mut events = bob.events();
    let (store, backup) = (VolatileStore::new(), VolatileStore::new());
    let with = async |store: &VolatileStore| {
        let builder = builder(&format!("mqtt://{}", server.mqtt()), &accounts[0]).store(store.clone());
        builder.open().await.expect("it opens")
    };
    with(&store).await.close().await.expect("closed");
    copy(&store, &backup);
    let alice = with(&store).await;
    for number in ["1", "2"] {
        let sent = alice.send(user("bob"), number).await.expect("queued");
        soon("one tick", sent.sent()).await.expect("taken");
        assert_eq!(text(&message(&mut events).await), number);
    }
    alice.close().await.expect("closed");
    let alice = with(&backup).await;
    let sent = alice.send(user("bob"), "3").await.expect("queued");
    let refused = soon("an answer", sent.sent()).await.expect_err("not known");
    assert!(refused.retry_helps(), "{refused}");
    let sent = alice.send(user("bob"), "3").await.expect("queued");
    soon("one tick", sent.sent()).await.expect("taken");
    assert_eq!(text(&message(&mut events).await), "3");
}

/// Numbers of sends are never used twice, or the server would take the second for a retry of the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_lost_its_store_is_not_taken_for_its_former_self() {
    let server = Server::start();
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let bob = open(&server, &accounts[1]).await;
    let mut events = bob.events();
    let mut last = SendId::new(0);
    for number in 0..3 {
        // A store in memory that nobody opens again.
        let alice = open(&server, &accounts[0]).await;
        let sent = alice.send(user("bob"), number.to_string()).await.expect("queued");
        assert!(sent.id() > last);
        last = sent.id();
        assert_eq!(text(&message(&mut events).await), number.to_string());
        alice.close().await.expect("closed");
        // The clock by which an empty store counts goes in steps.
        sleep(Duration::from_millis(40)).await;
    }
}
