//! Against real servers.

use godwit_schemas::bus::{Rx as _, Tx as _};
use godwit_test_nats::NatsServer;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn settings(servers: &[&NatsServer]) -> NatsSettings {
    let servers = servers.iter().map(|server| server.url()).collect();
    NatsSettings { servers, login: None, ca: None, prefix: "test.one".to_owned() }
}

fn bus(servers: &[&NatsServer]) -> NatsBus {
    NatsBus::new(settings(servers)).unwrap()
}

/// Publishes it until it arrives: a connection, or a route between servers, may not be there yet.
async fn arrives(tx: &mut NatsTx, rx: &mut NatsRx, payload: &'static [u8]) {
    let received = async {
        loop {
            tx.publish("up/3", Bytes::from_static(payload)).await.unwrap();
            let next = timeout(Duration::from_millis(50), rx.next()).await;
            if next.is_ok_and(|next| next.unwrap() == payload) {
                return;
            }
        }
    };
    timeout(PATIENCE, received).await.expect("it arrives");
}

#[tokio::test]
async fn payloads_reach_the_readers_of_their_topic_in_order() {
    let server = NatsServer::start();
    let bus = bus(&[&server]);
    let (mut tx, mut nothing) = bus.open("writer", &[]).await.unwrap();
    assert!(nothing.next().await.is_err(), "it reads no topic");
    let (_own, mut one) = bus.open("one", &["up/3".to_owned(), "edges".to_owned()]).await.unwrap();
    arrives(&mut tx, &mut one, b"begin").await;
    let large = Bytes::from(vec![7; PAYLOAD_BYTES_MIN]);
    let sent = [("up/4", Bytes::from_static(b"nobody")), ("up/3", large.clone()), ("up/3", Bytes::from_static(b"b"))];
    for (topic, payload) in sent {
        tx.publish(topic, payload).await.unwrap();
    }
    // `begin` may have been published twice.
    let mut next = one.next().await.unwrap();
    while next == "begin" {
        next = one.next().await.unwrap();
    }
    assert_eq!(next, large);
    assert_eq!(one.next().await.unwrap(), "b");
    tx.publish("edges", Bytes::from_static(b"c")).await.unwrap();
    assert_eq!(one.next().await.unwrap(), "c");
}

#[tokio::test]
async fn clusters_with_other_prefixes_hear_nothing_of_each_other() {
    let server = NatsServer::start();
    let other = NatsBus::new(NatsSettings { prefix: "test.other".to_owned(), ..settings(&[&server]) }).unwrap();
    let (_other_tx, mut other) = other.open("other", &["up/3".to_owned()]).await.unwrap();
    let (mut tx, mut rx) = bus(&[&server]).open("one", &["up/3".to_owned()]).await.unwrap();
    arrives(&mut tx, &mut rx, b"a").await;
    assert_eq!(other.try_next(), None);
}

#[tokio::test]
async fn a_link_outlives_the_server_that_it_was_on() {
    let mut server = NatsServer::start();
    let (mut tx, mut rx) = bus(&[&server]).open("link", &["up/3".to_owned()]).await.unwrap();
    arrives(&mut tx, &mut rx, b"before").await;
    server.kill();
    // Far more than waits for the socket: a publisher is not held up while there is no server.
    let publishing = async {
        for _ in 0..4 * UNSENT_MAX {
            tx.publish("up/3", Bytes::from(vec![0; 1 << 20])).await.unwrap();
        }
    };
    timeout(PATIENCE, publishing).await.expect("what cannot be sent is dropped");
    server.start_again();
    arrives(&mut tx, &mut rx, b"after").await;
}

#[tokio::test]
async fn a_server_that_hangs_is_left_for_another() {
    let servers = NatsServer::cluster(2);
    let [first, second] = &servers[..] else { panic!("two") };
    let (mut tx, mut rx) = bus(&[first]).open("link", &["up/3".to_owned()]).await.unwrap();
    let (_tx, mut far) = bus(&[second]).open("far", &["up/3".to_owned()]).await.unwrap();
    arrives(&mut tx, &mut far, b"by the route").await;
    arrives(&mut tx, &mut rx, b"by the same").await;
    let (mut tx, _) = bus(&[first, second]).open("either", &[]).await.unwrap();
    first.signal("-STOP");
    arrives(&mut tx, &mut far, b"by the other").await;
    first.signal("-CONT");
}

#[tokio::test]
async fn what_no_waiting_helps_against_is_told_at_the_start() {
    let small = NatsServer::with_max_payload("1MB");
    let refused = bus(&[&small]).check().await.unwrap_err();
    assert!(matches!(refused, NatsRefused::MaxPayload { max_payload: 1_048_576, .. }), "{refused}");
    let mut server = NatsServer::start();
    assert_eq!(bus(&[&server]).check().await, Ok(()));
    server.kill();
    assert_eq!(bus(&[&server]).check().await, Ok(()), "it may come yet");
}

#[test]
fn servers_and_prefixes_are_checked() {
    for good in ["nats://nats-1:4222", "tls://10.0.0.1:4222", "nats://[::1]:4222", "nats://nats-1"] {
        assert_eq!(check_server(good), Ok(()), "{good}");
    }
    for bad in ["", "nats-1:4222", "http://a:1", "ws://a:1", "nats://", "nats://user:secret@a:1"] {
        let refused = check_server(bad).unwrap_err();
        assert!(!refused.contains("secret"), "{refused}");
    }
    for good in ["godwit", "godwit.eu-1"] {
        assert_eq!(check_prefix(good), Ok(()), "{good}");
    }
    for bad in ["", ".", "a.", "a..b", "a.*", "a.>", "a b", "ä"] {
        assert!(check_prefix(bad).is_err(), "{bad}");
    }
}
