//! The broker from outside: real bytes on one side, a lane played by the test on the other, and time that stands still.

mod bus;
mod connect;
mod input;
mod logins_at_once;
mod losses;
mod messages;
mod random;
mod renewal;
mod short_of_memory;
mod streams;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use godwit_schemas::bus::{self as frames, BridgeHello, Bus, DownBatch, LinkClosed, Rx as _, Tx as _, UpBatch};
use godwit_schemas::bus::{down, up};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::connection::Connection;
use crate::edge::Edge;
use crate::greeting::Arrival;
use crate::{Settings, link, logins, timer};

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
    edge: u64,
    generation: u64,
    taken: u64,
    sent: u64,
    frames: VecDeque<(u64, up::Frame)>,
}

impl Lane {
    async fn start(bus: &MemoryBus, edge: u64) -> Self {
        let (bus, rx) = bus.open("lane", &[frames::up(0)]).await.unwrap();
        Self { bus, rx, epoch: 7, edge, generation: 0, taken: 0, sent: 0, frames: VecDeque::new() }
    }

    async fn hello(&mut self) {
        let hello = BridgeHello { epoch: self.epoch, lanes: 1 };
        self.bus.publish(frames::EDGES, hello.encode_to_vec().into()).await.unwrap();
    }

    /// The next frame, whoever sent it.
    async fn next(&mut self) -> (u64, up::Frame) {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return frame;
            }
            let batch = UpBatch::decode(self.rx.next().await.unwrap()).unwrap();
            if batch.generation > self.generation {
                (self.generation, self.taken, self.sent) = (batch.generation, 0, 0);
            }
            assert_eq!(batch.sequence, self.taken + u64::from(!batch.frames.is_empty()));
            self.taken = batch.sequence;
            self.frames.extend(batch.frames.into_iter().map(|up| (up.connection, up.frame.expect("a frame"))));
        }
    }

    /// Nothing more comes, whatever time passes (a second does).
    async fn quiet(&mut self) {
        let silence = tokio::time::timeout(std::time::Duration::from_secs(1), self.next()).await;
        assert!(silence.is_err(), "unexpected {silence:?}");
    }

    async fn send(&mut self, connection: u64, frame: impl Into<Answer>) {
        self.sent += 1;
        self.batch(vec![frames::Down { connection, frame: Some(frame.into().0) }]).await;
    }

    async fn batch(&mut self, frames: Vec<frames::Down>) {
        let (epoch, generation, sequence) = (self.epoch, self.generation, self.sent);
        let batch = DownBatch { lane: 0, epoch, generation, sequence, frames };
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

/// A frame that a lane sends.
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
    /// Where clients come from.
    from: Option<IpAddr>,
    _tasks: [AbortOnDropHandle<()>; 3],
}

impl World {
    /// With a bridge that has said hello.
    async fn start(settings: Settings) -> Self {
        let mut world = Self::without_bridge(settings).await;
        world.lane.hello().await;
        world.lane.quiet().await;
        world
    }

    async fn without_bridge(settings: Settings) -> Self {
        let bus = MemoryBus::default();
        let edge = Arc::new(Edge::new(9, settings));
        let lane = Lane::start(&bus, 9).await;
        let link = AbortOnDropHandle::new(tokio::spawn(link::run(edge.clone(), bus)));
        let timer = AbortOnDropHandle::new(tokio::spawn(timer::run(edge.clone())));
        let logins = AbortOnDropHandle::new(tokio::spawn(logins::run(edge.clone())));
        tokio::task::yield_now().await;
        Self { edge, lane, from: None, _tasks: [link, timer, logins] }
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
        let arrival = Arrival::now(&self.edge, self.from).expect("a place");
        tokio::spawn(Connection::new(stream, self.edge.clone(), arrival));
    }

    /// A client of this level that is welcome, and its connection's number.
    async fn connected(&mut self, level: u8) -> (Client, u64) {
        let mut client = self.dial();
        client.send(&connect(level, &[])).await;
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
        let (mut len, mut shift) = (0, 0);
        loop {
            let byte = self.0.read_u8().await.unwrap();
            packet.push(byte);
            len |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let start = packet.len();
        packet.resize(start + len, 0);
        self.0.read_exact(&mut packet[start..]).await.unwrap();
        packet
    }

    /// The server hangs up without another byte.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [0_u8; 0], "closed silently");
    }
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// A packet with this first byte and body, of at most 16,383 bytes.
fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let header = [first, 0x80 | (body.len() % 128) as u8, (body.len() / 128) as u8];
    let short = [first, body.len() as u8];
    let header = if body.len() < 128 { &short[..] } else { &header[..] };
    [header, &body].concat()
}

/// CONNECT of alice's phone, clean, keep alive 10 s; `properties` are for MQTT 5.
fn connect(level: u8, properties: &[u8]) -> Vec<u8> {
    connect_as(level, properties, "phone", "alice", "secret")
}

fn connect_as(level: u8, properties: &[u8], device: &str, user: &str, password: &str) -> Vec<u8> {
    let head = [&string("MQTT")[..], &[level, 0xC2, 0, 10]].concat();
    packet(0x10, &[&head, &props(level, properties), &string(device), &string(user), &string(password)])
}

fn props(level: u8, properties: &[u8]) -> Vec<u8> {
    if level == 5 { [&[properties.len() as u8], properties].concat() } else { Vec::new() }
}

/// PUBLISH with this QoS (bits 1 and 2) and flags.
fn publish(level: u8, flags: u8, topic: &str, packet_id: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let id = packet_id.to_be_bytes();
    let id = if flags & 6 == 0 { &[][..] } else { &id[..] };
    packet(0x30 | flags, &[&string(topic), id, &props(level, properties), payload])
}

fn subscribe(level: u8, packet_id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let filters: Vec<u8> = filters.iter().flat_map(|(filter, qos)| [string(filter), vec![*qos]].concat()).collect();
    packet(0x82, &[&packet_id.to_be_bytes(), &props(level, &[]), &filters])
}
