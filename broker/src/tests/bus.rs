//! The bus on rumqttd's router, and a whole broker over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use godwit_metrics::Counter;
use godwit_schemas::bus::{Rx as _, Tx as _};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::ListenerSettings;
use crate::counters::{Protocol, RejectCause};
use crate::router_bus::{RouterBus, RouterBusError, ServiceAccess};

const PATIENCE: Duration = Duration::from_secs(20);
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn topics(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn payloads_of_the_router_arrive_in_order_and_whole() {
    let (bus, _) = RouterBus::start(None, ServiceAccess::default()).unwrap();
    let (mut tx, _rx) = bus.open("a", &[]).await.unwrap();
    let (_tx, mut rx) = bus.open("b", &topics(&["down/1", "edges"])).await.unwrap();
    // More than a link holds at a time, so that it has to ask for more.
    let reader = tokio::spawn(async move {
        for n in 0..5_000_u32 {
            let payload = timeout(PATIENCE, rx.next()).await.expect("in time").unwrap();
            assert_eq!(payload[..4], n.to_be_bytes());
        }
        rx
    });
    tx.publish("down/2", Bytes::from_static(b"for another")).await.unwrap();
    for n in 0..5_000_u32 {
        let payload = [&n.to_be_bytes()[..], &[0; 1_000]].concat();
        tx.publish("down/1", payload.into()).await.unwrap();
    }
    let mut rx = reader.await.unwrap();
    assert!(rx.try_next().is_none());
    tx.publish("edges", vec![1; 3 << 20].into()).await.unwrap();
    assert_eq!(timeout(PATIENCE, rx.next()).await.expect("in time").unwrap().len(), 3 << 20);
}

#[tokio::test]
async fn dropped_links_make_room() {
    let (bus, _) = RouterBus::start(None, ServiceAccess::default()).unwrap();
    for n in 0..1_000 {
        let (tx, mut rx) = bus.open(&format!("link-{n}"), &topics(&["edges"])).await.unwrap();
        drop(tx);
        assert!(rx.try_next().is_none());
    }
}

fn bridge(addr: SocketAddr, login: Option<(&str, &str)>) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new("bridge", addr.ip().to_string(), addr.port());
    options.set_max_packet_size(16 << 20, 16 << 20);
    options.set_inflight(1_000);
    if let Some((user, password)) = login {
        options.set_credentials(user, password);
    }
    AsyncClient::new(options, 100)
}

#[tokio::test]
async fn a_bridge_reaches_the_bus_through_the_service_listener() {
    let login = ("bridge".to_owned(), "pass".to_owned());
    let (bus, addr) =
        RouterBus::start(Some(LOOPBACK), ServiceAccess { bridge: Some(login), ..ServiceAccess::default() }).unwrap();
    let addr = addr.unwrap();
    let (mut tx, mut rx) = bus.open("edge", &topics(&["down/1"])).await.unwrap();
    let (client, mut events) = bridge(addr, Some(("bridge", "pass")));
    client.subscribe("up/0", QoS::AtLeastOnce).await.unwrap();
    let reader = tokio::spawn(async move {
        let mut got = Vec::new();
        while got.len() < 2 {
            match timeout(PATIENCE, events.poll()).await.expect("in time").unwrap() {
                Event::Incoming(Packet::SubAck(_)) => tx.publish("up/0", vec![1; 2 << 20].into()).await.unwrap(),
                Event::Incoming(Packet::Publish(publish)) => {
                    got.push(publish.payload.len());
                    if got.len() == 1 {
                        tx.publish("up/0", Bytes::from_static(b"x")).await.unwrap();
                        client.publish("down/1", QoS::AtLeastOnce, false, vec![2; 3 << 20]).await.unwrap();
                    }
                }
                _ => {}
            }
        }
        // Drives the client on.
        tokio::spawn(async move { while events.poll().await.is_ok() {} });
        (got, client)
    });
    let (got, _client) = reader.await.unwrap();
    assert_eq!(got, [2 << 20, 1]);
    assert_eq!(timeout(PATIENCE, rx.next()).await.expect("in time").unwrap().len(), 3 << 20);
    let (_client, mut events) = bridge(addr, Some(("bridge", "wrong")));
    assert!(timeout(PATIENCE, events.poll()).await.expect("in time").is_err());
}

#[tokio::test]
async fn a_service_port_that_is_taken_is_an_error() {
    let taken = std::net::TcpListener::bind(LOOPBACK).unwrap();
    let addr = taken.local_addr().unwrap();
    assert!(
        matches!(RouterBus::start(Some(addr), ServiceAccess::default()), Err(RouterBusError::Listen(at, _)) if at == addr)
    );
    let settings = BrokerSettings { listeners: vec![ListenerSettings::plain(addr)], ..BrokerSettings::default() };
    assert!(crate::start(settings, MemoryBus::default()).await.is_err());
}

/// Welcomes everybody, stores everything, sends it back to where it came from, and ends when somebody leaves.
async fn obliging_bridge(bus: RouterBus) -> tokio::task::JoinHandle<()> {
    let (mut tx, mut rx) = bus.open("bridge", &topics(&["up/0"])).await.unwrap();
    tokio::spawn(async move {
        let (mut generation, mut sequence) = (0, 0);
        loop {
            let hello = BridgeHello { epoch: 7, lanes: 1, ..BridgeHello::default() };
            tx.publish(frames::EDGES, hello.encode_to_vec().into()).await.unwrap();
            let Ok(payload) = timeout(Duration::from_millis(100), rx.next()).await else { continue };
            let batch = UpBatch::decode(payload.unwrap()).unwrap();
            if batch.generation > generation {
                (generation, sequence) = (batch.generation, 0);
            }
            let mut answers = Vec::new();
            for up in batch.frames {
                let mut answer = |frame: Answer| {
                    answers.push(frames::Down { connection: up.connection, frame: Some(frame.0) });
                };
                match up.frame.unwrap() {
                    up::Frame::Connect(_) => answer(frames::Connected::default().into()),
                    up::Frame::Publish(frames::Publish { number, payload, .. }) => {
                        answer(frames::Published { number, ..frames::Published::default() }.into());
                        let (shape, sender) = (frames::Shape::Raw.into(), "alice".to_owned());
                        let place =
                            frames::Deliver { order: number, conversation: 65, sequence: number, ..Default::default() };
                        answer(frames::Deliver { payload, shape, sender, ..place }.into());
                    }
                    up::Frame::Subscribe(frames::Subscribe { token, .. }) => {
                        answer(frames::Subscribed { token }.into())
                    }
                    up::Frame::Disconnect(_) => return,
                    up::Frame::Acks(_) | up::Frame::Renew(_) => {}
                }
            }
            sequence += u64::from(!answers.is_empty());
            let received = batch.sequence;
            let answer = DownBatch { lane: 0, epoch: 7, generation, sequence, frames: answers, received, term: 0 };
            tx.publish(&frames::down(batch.edge), answer.encode_to_vec().into()).await.unwrap();
        }
    })
}

#[tokio::test]
async fn a_broker_serves_sockets_and_stops() {
    let (bus, _) = RouterBus::start(None, ServiceAccess::default()).unwrap();
    let bridge = obliging_bridge(bus.clone()).await;
    let settings = BrokerSettings {
        listeners: vec![ListenerSettings::plain(LOOPBACK)],
        connections_max: 1,
        ..BrokerSettings::default()
    };
    let broker = crate::start(settings, bus).await.unwrap();
    let addr = broker.listeners()[0].addr;
    let metrics = broker.metrics();
    let counters = metrics.counters();
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(&[connect(4, &[]), vec![0xC0, 0]].concat()).await.unwrap();
    let mut answer = [0; 4 + 2];
    timeout(PATIENCE, socket.read_exact(&mut answer)).await.expect("in time").unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0, 0xD0, 0]);
    // One more than there may be.
    let mut second = TcpStream::connect(addr).await.unwrap();
    assert_eq!(timeout(PATIENCE, second.read(&mut [0; 1])).await.expect("in time").unwrap(), 0);
    let counts = [&counters.accepted, counters.rejected(RejectCause::Connections), &counters.publishes];
    assert_eq!((counters.connections.get(), counts.map(Counter::get)), (1, [1, 1, 0]));
    let protocols = Protocol::ALL.map(|protocol| counters.open(Transport::Tcp, protocol).get());
    assert_eq!((protocols, counters.logins(Protocol::V4).get()), ([0, 1, 0], 1));

    let stop = tokio::spawn(broker.stop(PATIENCE));
    let mut rest = Vec::new();
    timeout(PATIENCE, socket.read_to_end(&mut rest)).await.expect("in time").unwrap();
    assert_eq!(rest, [0_u8; 0], "3.1.1 is told nothing");
    drop(socket);
    stop.await.unwrap();
    timeout(PATIENCE, bridge).await.expect("told of the departure").unwrap();
    assert!(TcpStream::connect(addr).await.is_err());
}

async fn served() -> (crate::Broker, MqttOptions) {
    let (bus, _) = RouterBus::start(None, ServiceAccess::default()).unwrap();
    obliging_bridge(bus.clone()).await;
    let broker = crate::start(
        BrokerSettings { listeners: vec![ListenerSettings::plain(LOOPBACK)], ..BrokerSettings::default() },
        bus,
    )
    .await
    .unwrap();
    let addr = broker.listeners()[0].addr;
    let mut options = MqttOptions::new("phone", addr.ip().to_string(), addr.port());
    options.set_credentials("alice", "secret");
    (broker, options)
}

#[tokio::test]
async fn rumqttc_speaks_mqtt_3_1_1() {
    let (_broker, options) = served().await;
    let (client, mut events) = AsyncClient::new(options, 10);
    // More is granted, and taken.
    client.subscribe("inbox/#", QoS::AtMostOnce).await.unwrap();
    client.publish("to/bob", QoS::ExactlyOnce, false, "hello").await.unwrap();
    let (mut delivered, mut completed) = (false, false);
    while !(delivered && completed) {
        match timeout(PATIENCE, events.poll()).await.expect("in time").unwrap() {
            Event::Incoming(Packet::Publish(publish)) => {
                assert_eq!((publish.topic.as_str(), &publish.payload[..]), ("inbox/65", &b"hello"[..]));
                delivered = true;
            }
            Event::Incoming(Packet::PubComp(_)) => completed = true,
            _ => {}
        }
    }
}

#[tokio::test]
async fn rumqttc_speaks_mqtt_5() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::{AsyncClient, Event, Incoming, MqttOptions};
    let (broker, _) = served().await;
    let addr = broker.listeners()[0].addr;
    let mut options = MqttOptions::new("phone", addr.ip().to_string(), addr.port());
    options.set_credentials("alice", "secret");
    options.set_topic_alias_max(Some(2));
    let (client, mut events) = AsyncClient::new(options, 10);
    client.subscribe("inbox/+", QoS::AtMostOnce).await.unwrap();
    client.publish("to/bob", QoS::AtLeastOnce, false, "hello").await.unwrap();
    let mut delivered = false;
    while !delivered {
        match timeout(PATIENCE, events.poll()).await.expect("in time").unwrap() {
            Event::Incoming(Incoming::Publish(publish)) => {
                assert_eq!((&publish.topic[..], &publish.payload[..]), (&b"inbox/65"[..], &b"hello"[..]));
                let properties = publish.properties.unwrap();
                let pairs: Vec<_> = properties.user_properties.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                assert_eq!(pairs, [("from", "alice"), ("seq", "1")]);
                delivered = true;
            }
            Event::Incoming(Incoming::SubAck(suback)) => assert_eq!(suback.return_codes.len(), 1),
            _ => {}
        }
    }
    let stop = tokio::spawn(broker.stop(PATIENCE));
    // Told that the server shuts down, which this client takes for an error.
    while timeout(PATIENCE, events.poll()).await.expect("in time").is_ok() {}
    drop((client, events));
    stop.await.unwrap();
}
