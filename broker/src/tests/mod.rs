//! Tests of a broker from outside: bytes of MQTT on one side, frames of a lane that the test plays on the other, and paused time.

mod bus;
mod connect;
mod flow_control;
mod input;
mod logins;
mod memory_pressure;
mod messages;
mod random;
mod reattach;
mod renewal;
mod stock;
mod streams;
mod traces;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use godwit_schemas::bus::{self as frames, BridgeHello, Bus, DownBatch, LinkClosed, Rx as _, Tx as _, UpBatch};
use godwit_schemas::bus::{down, up};
use godwit_test_mqtt::encode::{self, packet};
use godwit_test_mqtt::{Version, decode};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::connection_driver::ConnectionDriver;
use crate::counters::Transport;
use crate::edge::Edge;
use crate::{BrokerSettings, bus_link};

/// Interval of a lane's heartbeats.
const BEAT: Duration = Duration::from_secs(1);

/// A bus in memory, with one lane's worth of subscribers.
#[derive(Clone, Default)]
struct MemoryBus(Arc<Mutex<Vec<Subscriber>>>);

type Subscriber = (String, mpsc::UnboundedSender<Bytes>);

impl Bus for MemoryBus {
    type Tx = Self;
    type Rx = MemoryRx;

    async fn open(&self, _: &str, topics: &[String]) -> Result<(Self, MemoryRx), LinkClosed> {
        let (tx, rx) = mpsc::unbounded_channel();
        self.0.lock().extend(topics.iter().map(|topic| (topic.clone(), tx.clone())));
        Ok((self.clone(), MemoryRx(rx)))
    }
}

impl frames::Tx for MemoryBus {
    async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), LinkClosed> {
        for (_, subscriber) in self.0.lock().iter().filter(|(of, _)| of == topic) {
            // Whoever is gone reads nothing.
            _ = subscriber.send(payload.clone());
        }
        Ok(())
    }
}

struct MemoryRx(mpsc::UnboundedReceiver<Bytes>);

impl frames::Rx for MemoryRx {
    async fn next(&mut self) -> Result<Bytes, LinkClosed> {
        self.0.recv().await.ok_or_else(|| LinkClosed("bus dropped".to_owned()))
    }

    fn try_next(&mut self) -> Option<Bytes> {
        self.0.try_recv().ok()
    }
}

/// A lane that does what the test says.
struct Lane {
    bus: MemoryBus,
    rx: MemoryRx,
    epoch: u64,
    term: u64,
    edge: u64,
    generation: u64,
    taken: u64,
    sent: u64,
    frames: VecDeque<(u64, up::Frame)>,
}

impl Lane {
    async fn start(bus: &MemoryBus, edge: u64) -> Self {
        let (bus, rx) = bus.open("lane", &[frames::up(0)]).await.unwrap();
        Self { bus, rx, epoch: 7, term: 0, edge, generation: 0, taken: 0, sent: 0, frames: VecDeque::new() }
    }

    async fn hello(&mut self) {
        let hello = BridgeHello { epoch: self.epoch, lanes: 1, term: self.term, partitions: 0 };
        self.bus.publish(frames::EDGES, hello.encode_to_vec().into()).await.unwrap();
    }

    /// The next frame, whoever sent it.
    async fn next(&mut self) -> (u64, up::Frame) {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return frame;
            }
            let payload = tokio::select! {
                biased;
                payload = self.rx.next() => payload.unwrap(),
                () = sleep(BEAT) => {
                    self.beat().await;
                    continue;
                }
            };
            let batch = UpBatch::decode(payload).unwrap();
            if batch.generation > self.generation {
                (self.generation, self.taken, self.sent) = (batch.generation, 0, 0);
            }
            assert_eq!(batch.sequence, self.taken + u64::from(!batch.frames.is_empty()));
            self.taken = batch.sequence;
            self.frames.extend(batch.frames.into_iter().map(|up| (up.connection, up.frame.expect("a frame"))));
        }
    }

    /// Sends a heartbeat.
    async fn beat(&mut self) {
        if self.generation > 0 {
            self.batch(Vec::new()).await;
        }
    }

    /// Waits for `what`, while the lane sends heartbeats and does nothing else.
    async fn beside<T>(&mut self, what: impl Future<Output = T>) -> T {
        let mut what = std::pin::pin!(what);
        loop {
            self.beat().await;
            tokio::select! {
                biased;
                done = &mut what => return done,
                () = sleep(BEAT) => {}
            }
        }
    }

    /// No frame comes within a second.
    async fn quiet(&mut self) {
        let silence = tokio::time::timeout(BEAT, self.next()).await;
        assert!(silence.is_err(), "unexpected {silence:?}");
    }

    async fn send(&mut self, connection: u64, frame: impl Into<Answer>) {
        self.sent += 1;
        self.batch(vec![frames::Down { connection, frame: Some(frame.into().0) }]).await;
    }

    async fn batch(&mut self, frames: Vec<frames::Down>) {
        let (epoch, generation, sequence, received) = (self.epoch, self.generation, self.sent, self.taken);
        let batch = DownBatch { lane: 0, epoch, generation, sequence, frames, received, term: self.term };
        self.bus.publish(&frames::down(self.edge), batch.encode_to_vec().into()).await.unwrap();
    }

    async fn next_publish(&mut self) -> (u64, frames::Publish) {
        match self.next().await {
            (connection, up::Frame::Publish(publish)) => (connection, publish),
            other => panic!("expected a publish, got {other:?}"),
        }
    }

    async fn next_acks(&mut self) -> Vec<u64> {
        match self.next().await {
            (_, up::Frame::Acks(acks)) => acks.orders,
            other => panic!("expected acknowledgements, got {other:?}"),
        }
    }

    async fn next_disconnect(&mut self) -> frames::Disconnect {
        match self.next().await {
            (_, up::Frame::Disconnect(disconnect)) => disconnect,
            other => panic!("expected a disconnect, got {other:?}"),
        }
    }

    async fn stored(&mut self, connection: u64, number: u64) {
        self.send(connection, frames::Published { number, ..frames::Published::default() }).await;
    }
}

/// A frame from a lane.
struct Answer(down::Frame);

macro_rules! answers {
    ($($name:ident),*) => {
        $(impl From<frames::$name> for Answer {
            fn from(frame: frames::$name) -> Self {
                Self(down::Frame::$name(frame))
            }
        })*
    };
}

answers!(Connected, Published, Deliver, Subscribed, Close, Reattach, Renewed);

/// A broker without sockets, and its lane.
struct World {
    edge: Arc<Edge>,
    lane: Lane,
    /// The address of clients.
    from: Option<IpAddr>,
    _tasks: [AbortOnDropHandle<()>; 3],
}

impl World {
    /// With a bridge that has announced itself.
    async fn start(settings: BrokerSettings) -> Self {
        let mut world = Self::without_bridge(settings).await;
        world.lane.hello().await;
        world.lane.quiet().await;
        world
    }

    async fn without_bridge(settings: BrokerSettings) -> Self {
        let bus = MemoryBus::default();
        let edge = Arc::new(Edge::new(9, settings));
        let lane = Lane::start(&bus, 9).await;
        let link = AbortOnDropHandle::new(tokio::spawn(bus_link::run(edge.clone(), bus)));
        let clock = AbortOnDropHandle::new(tokio::spawn(edge.clone().run_clock()));
        let queue = AbortOnDropHandle::new(tokio::spawn(edge.clone().run_login_queue()));
        tokio::task::yield_now().await;
        Self { edge, lane, from: None, _tasks: [link, clock, queue] }
    }

    fn dial(&self) -> Client {
        self.dial_buffered(64 * 1024)
    }

    fn dial_buffered(&self, bytes: usize) -> Client {
        let (near, far) = tokio::io::duplex(bytes);
        self.serve(far);
        Client(near)
    }

    fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let accepted = self.edge.accept(self.from, Transport::Tcp).expect("a slot");
        tokio::spawn(ConnectionDriver::new(stream, self.edge.clone(), accepted));
    }

    /// A connected client of this protocol level, and its connection's number.
    async fn connected(&mut self, level: u8) -> (Client, u64) {
        let client = self.dial();
        self.connect_with(client, level, &[]).await
    }

    /// Connects a client with these properties in its CONNECT.
    async fn connect_with(&mut self, mut client: Client, level: u8, properties: &[u8]) -> (Client, u64) {
        client.send(&connect(level, properties)).await;
        let (number, _) = self.lane.next().await;
        self.lane.send(number, frames::Connected::default()).await;
        assert_eq!(client.packet().await[0], 0x20);
        (client, number)
    }
}

/// The client's end.
struct Client(DuplexStream);

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next whole packet.
    async fn packet(&mut self) -> Vec<u8> {
        let mut packet = vec![self.0.read_u8().await.expect("a packet")];
        let (header, len) = loop {
            packet.push(self.0.read_u8().await.unwrap());
            if let Some(lengths) = decode::length(&packet).expect("a length") {
                break lengths;
            }
        };
        packet.resize(len, 0);
        self.0.read_exact(&mut packet[header..]).await.unwrap();
        packet
    }

    /// The next packet is a DISCONNECT, in the form that every decoder reads: its reason code.
    async fn goodbye(&mut self) -> u8 {
        reason(&self.packet().await, 0xE0, 2)
    }

    /// The server closes the connection without another byte.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [0_u8; 0], "closed silently");
    }
}

/// The reason code of a packet of MQTT 5, right before its properties, which are there or said not to be.
fn reason(packet: &[u8], kind: u8, at: usize) -> u8 {
    assert_eq!((packet[0], usize::from(packet[at + 1])), (kind, packet.len() - at - 2), "{packet:02X?}");
    packet[at]
}

fn string(text: &str) -> Vec<u8> {
    encode::string(text.as_bytes())
}

/// CONNECT of alice's phone, clean, keep alive 10 s; `properties` are for MQTT 5.
fn connect(level: u8, properties: &[u8]) -> Vec<u8> {
    connect_as(level, properties, "phone", "alice", "secret")
}

fn connect_as(level: u8, properties: &[u8], device: &str, user: &str, password: &str) -> Vec<u8> {
    let login = Some((user, password));
    let connect = encode::Connect { level, clean: true, keep_alive_s: 10, client_id: device, login, properties };
    encode::bytes(|out| encode::connect(out, &connect))
}

/// The properties of a packet of MQTT 5, with their length of one byte.
fn props(level: u8, properties: &[u8]) -> Vec<u8> {
    if level == 5 { [&[properties.len() as u8], properties].concat() } else { Vec::new() }
}

/// PUBLISH with this QoS (bits 1 and 2) and flags.
fn publish(level: u8, flags: u8, topic: &str, packet_id: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let (version, topic) = (Version::of(level), topic.as_bytes());
    let publish = encode::Publish { version, flags, topic, packet_id, properties };
    encode::bytes(|out| encode::publish(out, &publish, payload))
}

fn subscribe(level: u8, packet_id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    encode::bytes(|out| encode::subscribe(out, Version::of(level), packet_id, filters.iter().copied()))
}
