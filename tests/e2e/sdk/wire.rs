//! What a message costs on the wire, and that the client counts it right.

use std::time::Duration;

use godwit_client::{Client, Purpose};

use super::proxy::{Proxy, Weather};
use super::{builder, message, soon, user};
use crate::server::Server;
use crate::until;

/// Of one delivered 100-byte message with all its ticks, all packets and acknowledgements, both phones, both directions.
const MESSAGE_BYTES_MAX: u64 = 360;

struct Phone {
    client: Client,
    proxy: Proxy,
}

impl Phone {
    /// What the client counts is what the proxy carried; waits for what is on its way.
    fn settled(&self) -> u64 {
        until("the client's count is the network's", || {
            let counted = self.client.traffic().total();
            let carried = self.proxy.carried();
            [counted.sent, counted.received] == carried
        });
        self.proxy.carried().iter().sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_with_all_its_ticks() {
    let server = Server::start();
    let mut phones = Vec::new();
    for name in ["alice", "bob"] {
        let account = server.add_user(name, "phone");
        let proxy = Proxy::start(server.mqtt(), Weather::default(), 0).await;
        let client = builder(&proxy.address(), &account).open().await.expect("it opens");
        phones.push(Phone { client, proxy });
    }
    let [alice, bob] = &phones[..] else { panic!("two") };
    let mut events = bob.client.events();
    let mut costs = Vec::new();
    for number in 0..20 {
        let before = [alice.settled(), bob.settled()];
        let sent = alice.client.send(user("bob"), vec![b'x'; 100]).await.expect("queued");
        // Nothing coalesces: the message is read when its second tick is there.
        soon("two ticks", sent.delivered()).await.expect("taken");
        let got = message(&mut events).await;
        bob.client.mark_read(got.conversation, got.sequence).await.expect("kept");
        soon("three ticks", sent.read()).await.expect("taken");
        // The last acknowledgements are on their way.
        let read = || bob.client.traffic().of(Purpose::Receipts).received;
        until("Bob's receipt is acknowledged", || read() >= 4 * (number + 1));
        costs.push([alice.settled() - before[0], bob.settled() - before[1]]);
    }
    // The first opens the conversation, and tells both who is in it. An acknowledgement may be counted with the next.
    let counted = &costs[1..];
    let [hers, his] = [0, 1].map(|at| counted.iter().map(|it| it[at]).sum::<u64>().div_ceil(counted.len() as u64));
    println!("one 100-byte message with all ticks: {} bytes (sender {hers}, receiver {his})", hers + his);
    for purpose in Purpose::ALL {
        let [hers, his] = [alice, bob].map(|it| it.client.traffic().of(purpose));
        println!("  {purpose:?}: alice {hers:?}, bob {his:?}, of {} messages and the connections", costs.len());
    }
    assert!(hers + his <= MESSAGE_BYTES_MAX, "{costs:?}");
    assert!(counted.iter().all(|it| it.iter().sum::<u64>().abs_diff(hers + his) <= 8), "all alike: {costs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_costs_a_ping_now_and_then_and_a_resumed_one_no_subscription() {
    let server = Server::start();
    let account = server.add_user("alice", "phone");
    let proxy = Proxy::start(server.mqtt(), Weather::default(), 0).await;
    let store = godwit_client::store::VolatileStore::new();
    let open = || builder(&proxy.address(), &account).store(store.clone()).open();
    let client = open().await.expect("it opens");
    soon("a tick", client.send(user("alice"), "x").await.expect("queued").sent()).await.expect("taken");
    let first = client.traffic().of(Purpose::Connection);
    client.close().await.expect("closed");
    let client = open().await.expect("it opens");
    soon("a tick", client.send(user("alice"), "y").await.expect("queued").sent()).await.expect("taken");
    let again = client.traffic().of(Purpose::Connection);
    assert!(again.sent < first.sent && again.received < first.received, "{first:?}, then {again:?}");
    // Of which CONNACK takes 53 to say which server it is.
    assert!(again.sent + again.received < 183, "{again:?}");
    assert_eq!(client.traffic().of(Purpose::KeepAlive), Default::default());
    tokio::time::timeout(Duration::from_secs(1), client.close()).await.expect("at once").expect("closed");
}
