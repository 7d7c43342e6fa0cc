//! The traps of rumqttc, each with a server that springs it, and what the engine does when servers misbehave.

mod broker;
mod numbers;
mod passwords;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::BytesMut;
use godwit_schemas::client::{self, Send, event, request::Call};
use godwit_schemas::ids::{ConversationId, DeviceName, UserId};
use prost::Message as _;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PingResp, Publish, PublishProperties};
use tokio::time::{Instant, timeout};

use self::broker::{Broker, Peer};
use crate::store::VolatileStore;
use crate::{Builder, Client, Error, Event, Protocol, SendState, Status};

/// How long anything may take on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const HERE: ConversationId = ConversationId::new(65);

fn builder(broker: &Broker, store: &VolatileStore) -> Builder {
    let (user, device) = (UserId::new("alice").unwrap(), DeviceName::new("phone").unwrap());
    let builder =
        Client::builder(&broker.address(), user, device, "secret").store(store.clone()).protocol(Protocol::V5);
    builder.longest_wait(Duration::from_millis(20)).fill(false).seed(1)
}

async fn client(broker: &Broker) -> Client {
    builder(broker, &VolatileStore::new()).open().await.unwrap()
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens")
}

fn said(publish: &Publish) -> (u64, String) {
    let send = Send::decode(publish.payload.clone()).unwrap();
    (send.client_sequence, String::from_utf8(send.body.to_vec()).unwrap())
}

fn inbox(packet_id: u16, sequence: u64, topic: &str, alias: Option<u16>) -> Packet {
    let message =
        client::Message { conversation: 65, sequence, sender: 1, age_s: 0, body: "hi".into(), ..Default::default() };
    let payload = client::Event { event: Some(event::Event::Message(message)) }.encode_to_vec();
    let properties = alias.map(|alias| PublishProperties { topic_alias: Some(alias), ..Default::default() });
    let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload, properties);
    publish.pkid = packet_id;
    Packet::Publish(publish)
}

async fn acked(peer: &mut Peer) -> u16 {
    loop {
        match peer.next().await {
            Some(Packet::PubAck(ack)) => return ack.pkid,
            Some(_) => {}
            None => panic!("closed"),
        }
    }
}

/// Trap: publish and poll in one task wait for each other, when the network takes nothing.
#[tokio::test]
async fn a_stalled_network_blocks_no_caller_and_is_given_up() {
    let broker = Broker::start().await;
    let store = VolatileStore::new();
    let client = builder(&broker, &store).patience(Duration::from_millis(500)).open().await.unwrap();
    let deaf = broker.welcome(false, 128).await;
    let mut handles = Vec::new();
    for number in 0..300 {
        handles.push(soon(client.send(HERE, format!("{number}/{}", "x".repeat(30_000)))).await.unwrap());
    }
    // It owes answers and says nothing: the next connection hears everything, in order.
    let mut peer = broker.welcome(false, 128).await;
    for number in 0..300 {
        let publish = peer.publish().await;
        assert!(said(&publish).1.starts_with(&format!("{number}/")), "in order");
        peer.puback(&publish).await;
    }
    soon(handles[299].sent()).await.unwrap();
    drop(deaf);
}

/// Trap: what was pending is cleared when the server has no session; what breaks a connection is repeated for ever.
#[tokio::test]
async fn an_unanswered_send_is_repeated_on_every_connection() {
    let broker = Broker::start().await;
    let client = client(&broker).await;
    let mut peer = broker.welcome(false, 128).await;
    let handles = [client.send(HERE, "one").await.unwrap(), client.send(HERE, "two").await.unwrap()];
    let first = [said(&peer.publish().await), said(&peer.publish().await)];
    for session_present in [true, false, false, true, false] {
        drop(peer);
        peer = broker.welcome(session_present, 128).await;
        let again = [peer.publish().await, peer.publish().await];
        assert_eq!([said(&again[0]), said(&again[1])], first, "with their numbers, in order");
        assert_eq!(handles[0].state(), SendState::Queued);
        if !session_present {
            assert_eq!(client.send(HERE, "three").await.map(|it| it.state()).unwrap(), SendState::Queued);
            let three = peer.publish().await;
            assert_eq!(said(&three).1, "three");
            // Answering the others would not do: only the first two are watched here.
            peer.puback(&three).await;
        }
    }
    drop(peer);
    let mut peer = broker.welcome(true, 128).await;
    for _ in 0..2 {
        let publish = peer.publish().await;
        peer.puback(&publish).await;
    }
    soon(handles[1].sent()).await.unwrap();
    assert_eq!(handles[0].state().rank(), Some(1));
}

/// Trap: two publishes get one packet identifier when the server does not answer in order.
#[tokio::test]
async fn packet_ids_stay_unique_though_answers_come_in_reverse() {
    let broker = Broker::start().await;
    let client = client(&broker).await;
    let mut handles = Vec::new();
    for number in 0..600 {
        handles.push(client.send(HERE, number.to_string()).await.unwrap());
    }
    let mut peer = broker.welcome(false, 20).await;
    let (mut open, mut heard) = (Vec::<Publish>::new(), BTreeSet::new());
    while heard.len() < 600 {
        let publish = peer.publish().await;
        assert!(!open.iter().any(|other| other.pkid == publish.pkid), "{} is in use", publish.pkid);
        assert!(heard.insert(said(&publish).0), "once");
        open.push(publish);
        assert!(open.len() < 20, "more than the server takes");
        // One stays unanswered all the time; the others are answered, the newest first.
        if open.len() == 19 || heard.len() == 600 {
            for publish in open.split_off(1).into_iter().rev() {
                peer.puback(&publish).await;
            }
        }
    }
    for publish in open {
        peer.puback(&publish).await;
    }
    for handle in handles {
        soon(handle.sent()).await.unwrap();
    }
}

/// Trap: with as many publishes unanswered as the server takes, rumqttc holds acknowledgements back.
#[tokio::test]
async fn acknowledgements_go_out_though_the_server_answers_nothing() {
    let broker = Broker::start().await;
    let client = client(&broker).await;
    let mut peer = broker.welcome(false, 4).await;
    for number in 0..9 {
        client.send(HERE, number.to_string()).await.unwrap();
    }
    for _ in 0..3 {
        peer.publish().await;
    }
    for sequence in 1..=50 {
        peer.send(inbox(sequence, sequence.into(), "inbox", None)).await;
        assert_eq!(acked(&mut peer).await, sequence);
    }
}

/// Trap: an aliased publish has no topic.
#[tokio::test]
async fn topics_may_be_aliased() {
    let broker = Broker::start().await;
    let client = client(&broker).await;
    let mut peer = broker.welcome(false, 128).await;
    peer.send(inbox(1, 1, "inbox", Some(1))).await;
    peer.send(inbox(2, 2, "", Some(1))).await;
    let mut events = client.events();
    for sequence in 1..=2 {
        let delivery = soon(events.next()).await.unwrap();
        assert!(matches!(&delivery.event, Event::Message(it) if it.sequence.get() == sequence), "{delivery:?}");
    }
}

/// Trap: a poll that is cancelled while it connects begins anew.
#[tokio::test]
async fn nothing_interrupts_a_connection_that_is_being_made() {
    let broker = Broker::start().await;
    let client = client(&broker).await;
    let mut peer = broker.connection().await;
    assert!(matches!(peer.next().await, Some(Packet::Connect(..))));
    for number in 0..20 {
        client.send(HERE, number.to_string()).await.unwrap();
        tokio::task::yield_now().await;
    }
    peer.connack(true, 128).await;
    loop {
        match peer.next().await {
            Some(Packet::Publish(_)) => break,
            Some(_) => {}
            None => panic!("it began anew"),
        }
    }
}

#[tokio::test]
async fn a_burst_larger_than_a_batch_loses_nothing() {
    let broker = Broker::start().await;
    let client = client(&broker).await;
    let mut peer = broker.welcome(false, 128).await;
    let mut bytes = BytesMut::new();
    for sequence in 1..=1_000 {
        inbox(sequence, sequence.into(), "inbox", None).write(&mut bytes, None).unwrap();
    }
    peer.raw(&bytes).await;
    let mut events = client.events();
    for sequence in 1..=1_000 {
        let delivery = soon(events.next()).await.unwrap();
        assert!(matches!(&delivery.event, Event::Message(it) if it.sequence.get() == sequence), "{delivery:?}");
    }
}

/// What the server was not told to be there is not acknowledged, and what it was told is there after any crash.
#[tokio::test]
async fn a_delivery_is_acknowledged_after_it_is_in_the_store() {
    let broker = Broker::start().await;
    let store = VolatileStore::new();
    let client = builder(&broker, &store).open().await.unwrap();
    let mut peer = broker.welcome(false, 128).await;
    peer.send(inbox(7, 1, "inbox", None)).await;
    assert_eq!(acked(&mut peer).await, 7);
    client.close().await.unwrap();
    let client = builder(&broker, &store).open().await.unwrap();
    let delivery = soon(client.events().next()).await.unwrap();
    assert!(matches!(delivery.event, Event::Message(_)));
}

/// A server whose disk is slow owes an answer for longer than the client is patient; it is there all the same.
#[tokio::test]
async fn a_server_that_answers_pings_may_take_its_time() {
    let broker = Broker::start().await;
    let client = builder(&broker, &VolatileStore::new()).patience(Duration::from_millis(400)).open().await.unwrap();
    let mut peer = broker.welcome(false, 128).await;
    let sent = client.send(HERE, "x").await.unwrap();
    let publish = peer.publish().await;
    for _ in 0..5 {
        assert!(matches!(peer.next().await, Some(Packet::PingReq(_))));
        peer.send(Packet::PingResp(PingResp)).await;
    }
    peer.puback(&publish).await;
    soon(sent.sent()).await.unwrap();
}

#[tokio::test]
async fn a_payload_that_nobody_understands_is_passed_over() {
    let broker = Broker::start().await;
    let _client = client(&broker).await;
    let mut peer = broker.welcome(false, 128).await;
    for (packet_id, topic) in [(1, "inbox"), (2, "rpc"), (3, "elsewhere")] {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, b"\xff\xff".to_vec(), None);
        publish.pkid = packet_id;
        peer.send(Packet::Publish(publish)).await;
        assert_eq!(acked(&mut peer).await, packet_id, "{topic}: or it would come again for ever");
    }
}

/// Trap: a dead connection is noticed after two keep-alives; the interval is fixed.
#[tokio::test]
async fn a_silent_connection_is_pinged_less_often_until_it_fails() {
    let broker = Broker::start().await;
    let mut builder = builder(&broker, &VolatileStore::new()).patience(Duration::from_secs(1));
    builder.keep_alive = (Duration::from_millis(200), Duration::from_secs(60));
    let _client = builder.open().await.unwrap();
    let mut peer = broker.welcome(false, 128).await;
    let mut silences = Vec::new();
    for _ in 0..12 {
        let since = Instant::now();
        assert!(matches!(peer.next().await, Some(Packet::PingReq(_))));
        silences.push(since.elapsed());
        peer.send(Packet::PingResp(PingResp)).await;
    }
    // A slow machine makes each longer, never shorter.
    let shortest = |of: &[Duration]| of.iter().min().copied().unwrap();
    assert!(shortest(&silences[1..4]) >= Duration::from_millis(190), "{silences:?}");
    assert!(shortest(&silences[9..]) >= Duration::from_millis(600), "{silences:?}");
    assert!(matches!(peer.next().await, Some(Packet::PingReq(_))));
    assert!(peer.next().await.is_none(), "it gives up");
    broker.welcome(true, 128).await;
}

#[tokio::test]
async fn a_new_network_ends_a_connection_at_once() {
    let broker = Broker::start().await;
    let client = client(&broker).await;
    let mut peer = broker.welcome(false, 128).await;
    soon(client.status().wait_for(|status| *status == Status::Online)).await.unwrap();
    client.network_changed();
    assert!(peer.next().await.is_none());
    broker.welcome(true, 128).await;
}

#[tokio::test]
async fn a_server_that_speaks_only_the_old_version_is_spoken_to_in_it() {
    let broker = Broker::start().await;
    let client = builder(&broker, &VolatileStore::new()).protocol(Protocol::Auto).open().await.unwrap();
    for _ in 0..2 {
        let mut peer = broker.connection().await;
        assert!(matches!(peer.next().await, Some(Packet::Connect(..))));
        // CONNACK of MQTT 3.1.1: unacceptable protocol version.
        peer.raw(&[0x20, 2, 0, 1]).await;
    }
    let mut peer = broker.connection().await;
    peer.raw(&[0x20, 2, 1, 0]).await;
    soon(client.status().wait_for(|status| *status == Status::Online)).await.unwrap();
}

#[tokio::test]
async fn calls_wait_for_a_connection_and_say_how_they_failed() {
    let broker = Broker::start().await;
    let client = builder(&broker, &VolatileStore::new()).call_timeout(Duration::from_millis(300)).open().await.unwrap();
    let offline = soon(client.leave(HERE)).await;
    assert!(matches!(offline, Err(Error::Offline)), "{offline:?}");
    let mut peer = broker.welcome(false, 128).await;
    let unanswered = soon(client.leave(HERE)).await;
    assert!(matches!(unanswered, Err(Error::NoAnswer)), "{unanswered:?}");
    assert_eq!(peer.publish().await.topic, "rpc");
    client.close().await.unwrap();
    assert!(matches!(client.leave(HERE).await, Err(Error::Closed)));
    assert!(matches!(client.send(HERE, "x").await, Err(Error::Closed)));
    assert!(matches!(soon(client.events().next()).await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_call_keeps_its_packet_id_on_the_next_connection() {
    let broker = Broker::start().await;
    let client = client(&broker).await;
    let mut peer = broker.welcome(false, 128).await;
    let call = tokio::spawn(async move { client.create_group("walk", &[]).await });
    let first = peer.publish().await;
    // Stored, but the response is lost with the connection.
    peer.puback(&first).await;
    drop(peer);
    let mut peer = broker.welcome(true, 128).await;
    let again = peer.publish().await;
    assert_eq!((again.pkid, &again.payload, first.dup, again.dup), (first.pkid, &first.payload, false, true));
    let request = client::Request::decode(again.payload.clone()).unwrap();
    let response = client::Response { id: request.id, conversation: 99, ..Default::default() };
    let mut publish = Publish::new("rpc", QoS::AtLeastOnce, response.encode_to_vec(), None);
    publish.pkid = 1;
    peer.send(Packet::Publish(publish)).await;
    assert_eq!(soon(call).await.unwrap().unwrap(), ConversationId::new(99));
}

/// A message that did not come is fetched, and asked for again by the next connection if there was no answer.
#[tokio::test]
async fn a_gap_is_fetched_from_history() {
    let broker = Broker::start().await;
    let client = client(&broker).await;
    let mut peer = broker.welcome(false, 128).await;
    for (packet_id, sequence) in [(1, 1), (2, 3)] {
        peer.send(inbox(packet_id, sequence, "inbox", None)).await;
    }
    // The members are asked for, too.
    let asked = async |peer: &mut Peer| loop {
        match peer.next().await {
            Some(Packet::Publish(publish)) => {
                let request = client::Request::decode(publish.payload.clone()).unwrap();
                if let Some(Call::GetHistory(call)) = request.call {
                    return (request.id, call.after, call.before);
                }
            }
            Some(_) => {}
            None => panic!("closed"),
        }
    };
    let (id, after, before) = soon(asked(&mut peer)).await;
    assert_eq!((after, before), (1, 3));
    drop(peer);
    let mut peer = broker.welcome(true, 128).await;
    assert_eq!(soon(asked(&mut peer)).await, (id, 1, 3), "the same call");
    let message = client::Message { conversation: 65, sequence: 2, body: "found".into(), ..Default::default() };
    let history = vec![client::Event { event: Some(event::Event::Message(message)) }];
    let response = client::Response { id, conversation: 65, history, ..Default::default() }.encode_to_vec();
    let mut publish = Publish::new("rpc", QoS::AtLeastOnce, response, None);
    publish.pkid = 9;
    peer.send(Packet::Publish(publish)).await;
    let mut events = client.events();
    for expected in [1, 3, 2] {
        let delivery = soon(events.next()).await.unwrap();
        let Event::Message(message) = delivery.event else { panic!("{delivery:?}") };
        assert_eq!(message.sequence.get(), expected);
    }
}

/// The server does not let the device in: nobody waits for what will not come, and nothing else is lost by it.
#[tokio::test]
async fn calls_of_a_device_that_is_not_let_in_fail_at_once() {
    let broker = Broker::start().await;
    let client = client(&broker).await;
    let leaving = client.clone();
    let call = tokio::spawn(async move { leaving.leave(HERE).await });
    let (mut peer, _) = broker.knock().await;
    peer.refuse().await;
    let error = soon(call).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::NotAdmitted(reason) if reason.get() == 0x86), "{error}");
    assert!(!error.retry_helps());
    let mut status = client.status();
    soon(status.wait_for(|status| matches!(status, Status::Refused(_)))).await.unwrap();
    // Either before the next attempt, or refused by it.
    let leaving = client.clone();
    let call = tokio::spawn(async move { leaving.leave(HERE).await });
    let serve = async {
        loop {
            broker.knock().await.0.refuse().await;
        }
    };
    let error = tokio::select! {
        error = soon(call) => error.unwrap().unwrap_err(),
        () = serve => unreachable!(),
    };
    assert!(matches!(error, Error::NotAdmitted(_)), "{error}");
}

/// Asked by the device itself, over connections that break, until it is answered.
#[tokio::test]
async fn a_new_device_asks_for_what_was_before_it() {
    let broker = Broker::start().await;
    let store = VolatileStore::new();
    let client = builder(&broker, &store).fill(true).open().await.unwrap();
    let published = async |peer: &mut Peer| loop {
        match peer.next().await {
            Some(Packet::Publish(publish)) => return publish,
            Some(_) => {}
            None => panic!("closed"),
        }
    };
    let asked = async |peer: &mut Peer| {
        let publish = published(peer).await;
        peer.puback(&publish).await;
        let request = client::Request::decode(publish.payload.clone()).unwrap();
        (request.id, request.call.unwrap())
    };
    let answer = async |peer: &mut Peer, response: client::Response| {
        let mut publish = Publish::new("rpc", QoS::AtLeastOnce, response.encode_to_vec(), None);
        publish.pkid = 1;
        peer.send(Packet::Publish(publish)).await;
    };
    let mut peer = broker.welcome(false, 128).await;
    assert!(matches!(asked(&mut peer).await.1, Call::ListConversations(_)));
    drop(peer);
    let mut peer = broker.welcome(true, 128).await;
    let (id, call) = asked(&mut peer).await;
    assert!(matches!(call, Call::ListConversations(call) if call.after == 0));
    let message = client::Message { conversation: 65, sequence: 9, body: "old".into(), ..Default::default() };
    let last = client::Event { event: Some(event::Event::Message(message)) };
    let member = |ordinal, user: &str| client::Member { ordinal, user: user.into(), role: 0 };
    let members = vec![member(0, "bob"), member(1, "alice")];
    let description = Some(client::Opened { group: true, members, ..Default::default() });
    let summary = client::Summary { conversation: 65, description, last: Some(last.clone()), ..Default::default() };
    answer(&mut peer, client::Response { id, conversations: vec![summary], ..Default::default() }).await;
    let (id, call) = asked(&mut peer).await;
    assert!(matches!(call, Call::GetHistory(call) if (call.conversation, call.oldest_first) == (65, false)));
    let mut changes = client.changes();
    changes.mark_unchanged();
    answer(&mut peer, client::Response { id, history: vec![last], ..Default::default() }).await;
    soon(changes.changed()).await.unwrap();
    let (message, _) = client.messages(HERE, None, 9).await.unwrap().remove(0);
    assert_eq!((&message.body[..], message.user), (&b"old"[..], Some(UserId::new("bob").unwrap())));
    client.close().await.unwrap();
    let client = builder(&broker, &store).fill(true).open().await.unwrap();
    let mut peer = broker.welcome(true, 128).await;
    client.send(HERE, "new").await.unwrap();
    assert_eq!(said(&published(&mut peer).await).1, "new", "nothing else is asked for");
}
