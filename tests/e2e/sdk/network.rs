//! Bad networks: what takes longer, and what must not happen.

use std::time::Duration;

use godwit_client::Client;
use godwit_client::store::VolatileStore;
use tokio::time::sleep;

use super::proxy::{Proxy, Weather};
use super::{builder, message, soon, text, user};
use crate::PATIENCE;
use crate::server::Server;
use crate::soak::variable;

/// Alice and Bob write to each other through such a network, `messages` each, while it breaks as it does, and now and
/// then everywhere at once.
async fn through(weather: Weather, messages: usize, patience: Duration) {
    let server = Server::start();
    let accounts = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let mut sides = Vec::new();
    for (seed, account) in accounts.iter().enumerate() {
        let proxy = Proxy::start(server.mqtt(), weather, seed as u64).await;
        // Who only waits for messages notices a path that has fallen silent by its next ping.
        let pings = Duration::from_secs(10);
        let client =
            builder(&proxy.address(), account).store(VolatileStore::new()).patience(patience).keep_alive(pings, pings);
        sides.push((proxy, client.open().await.expect("it opens"), user(&account.user)));
    }
    let [(one, alice, _), (two, bob, _)] = &sides[..] else { panic!("two") };
    let write = async |from: &Client, to: &str| {
        let mut handles = Vec::new();
        for number in 0..messages {
            handles.push(from.send(user(to), format!("{number}/{}", from.user())).await.expect("queued"));
        }
        handles
    };
    let read = async |client: &Client, from: &str, proxy: &Proxy| {
        let mut events = client.events();
        for number in 0..messages {
            let got = message(&mut events).await;
            assert_eq!(text(&got), format!("{number}/{from}"), "each once, in order");
            if number % (messages / 3) == 1 {
                proxy.cut();
            }
            if number % 7 == 0 || number + 1 == messages {
                client.mark_read(got.conversation, got.sequence).await.expect("kept");
            }
        }
    };
    let (mut handles, more, (), ()) =
        tokio::join!(write(alice, "bob"), write(bob, "alice"), read(alice, "bob", one), read(bob, "alice", two));
    handles.extend(more);
    for handle in handles {
        soon("three ticks", handle.read()).await.expect("taken");
    }
    assert!(one.connections() >= 3 && two.connections() >= 3, "they were cut");
    // Whoever asks both finds the same, in the same order.
    let id = alice.direct(&user("bob")).await.expect("kept").expect("known");
    let [hers, his] = [alice.messages(id, None, 9_999).await, bob.messages(id, None, 9_999).await];
    let shown = |messages: Result<Vec<_>, _>| -> Vec<_> {
        messages.expect("kept").iter().map(|(it, _): &(godwit_client::Message, _)| (it.sequence, text(it))).collect()
    };
    let (hers, his) = (shown(hers), shown(his));
    assert_eq!(hers.len(), 2 * messages);
    assert_eq!(hers, his);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut() {
    let weather = Weather { cut_percent: 60, cut_within: Duration::from_millis(400), ..Weather::default() };
    through(weather, 600, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_half_closed_or_fall_silent() {
    let weather = Weather {
        delay: Duration::from_millis(2),
        half_closed_percent: 30,
        silenced_percent: 30,
        cut_within: Duration::from_millis(300),
        ..Weather::default()
    };
    through(weather, 300, Duration::from_secs(1)).await;
}

/// `GODWIT_SDK_MESSAGES` is how many messages each side sends (40).
#[tokio::test(flavor = "multi_thread")]
async fn two_g() {
    let messages = variable("GODWIT_SDK_MESSAGES").unwrap_or(40);
    through(Weather::TWO_G, messages as usize, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn saver_mode_wakes_the_radio_less_often() {
    const MESSAGES: u64 = 10;
    let server = Server::start();
    let [account, bob] = [server.add_user("alice", "phone"), server.add_user("bob", "phone")];
    let bob = builder(&format!("mqtt://{}", server.mqtt()), &bob).open().await.expect("it opens");
    let mut events = bob.events();
    let mut bursts = Vec::new();
    for saver in [false, true] {
        let proxy = Proxy::start(server.mqtt(), Weather::default(), 0).await;
        let alice = builder(&proxy.address(), &account).fill(false).saver(saver).open().await.expect("it opens");
        let mut handles = Vec::new();
        for number in 0..MESSAGES {
            handles.push(alice.send(user("bob"), number.to_string()).await.expect("queued"));
            // As a person types.
            sleep(Duration::from_millis(250)).await;
        }
        for number in 0..MESSAGES {
            assert_eq!(text(&message(&mut events).await), number.to_string());
        }
        for handle in handles {
            soon("two ticks", handle.delivered()).await.expect("taken");
        }
        bursts.push(proxy.bursts());
        alice.close().await.expect("closed");
    }
    assert!(bursts[0] >= MESSAGES && bursts[1] <= MESSAGES / 2, "without and with it: {bursts:?}");
}
