//! The private service listener: the bus for a bridge in another process, in plain MQTT 3.1.1 (rumqttc on its side).
//!
//! Not rumqttd's own listener: that one leaves Nagle's algorithm on, which holds a batch back for 40 ms whenever the
//! batch before it was not answered; it also binds where no error comes back from. Topics are the bus's, without
//! wildcards; QoS 1 and 2 are acknowledged and, like all on this bus, may be lost.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use godwit_schemas::bus::{LinkClosed, Tx as _};
use godwit_schemas::reason::Reason;
use subtle::ConstantTimeEq as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Open, Rx, Tx};
use crate::mqtt::frame::{self, Frame, Kind};
use crate::mqtt::{Version, answer, codec, publish};

/// User and password that a bridge has to bring.
pub(super) type Login = Option<(String, String)>;

/// Largest packet.
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a bridge may take until its CONNECT is there.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Pause after a failure to accept.
const BACK_OFF: Duration = Duration::from_millis(250);
/// Payloads are gathered up to this size for one write.
const WRITE_BYTES: usize = 256 * 1024;
/// Acknowledgements that may wait to be written; then nothing more is read.
const ANSWERS: usize = 256;

/// Why a bridge's connection ends.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Bus(#[from] LinkClosed),
    #[error("a packet that is not understood (0x{:02x})", .0.get())]
    Packet(Reason),
    #[error("wrong user or password")]
    Login,
    #[error("silent for too long")]
    Silent,
    #[error("hung up")]
    HungUp,
}

impl From<Reason> for Ended {
    fn from(reason: Reason) -> Self {
        Self::Packet(reason)
    }
}

/// Accepts for ever.
pub(super) async fn run(listener: TcpListener, open: Arc<Open>, login: Login) {
    let login = Arc::new(login);
    for number in 0_u64.. {
        match listener.accept().await {
            Ok((stream, from)) => {
                let (open, login) = (open.clone(), login.clone());
                tokio::spawn(async move {
                    if let Err(reason) = serve(stream, &format!("service-{number}"), &*open, &login).await {
                        tracing::info!(%from, %reason, "a bridge's connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "accept a bridge");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, name: &str, open: &Open, login: &Login) -> Result<(), Ended> {
    stream.set_nodelay(true)?;
    let (socket, mut out) = stream.into_split();
    let mut packets = Packets { socket, buffer: BytesMut::new() };
    let first = timeout(CONNECT_DEADLINE, packets.next()).await.map_err(|_| Ended::Silent)??;
    if first.kind != Kind::Connect {
        return Err(Ended::Packet(Reason::PROTOCOL_ERROR));
    }
    let connect = codec::connect(first, Version::V4)?;
    if !login.as_ref().is_none_or(|login| matches(login, &connect)) {
        out.write_all(&codec::refusal(Version::V4, Reason::BAD_USER_NAME_OR_PASSWORD, "")).await?;
        return Err(Ended::Login);
    }
    let (tx, rx) = super::open(open, name)?;
    out.write_all(&codec::welcome_v4(false)).await?;
    tracing::info!(name, "a bridge is connected");
    let keep_alive = Duration::from_millis(u64::from(connect.keep_alive_s) * 1_500);
    let (answers, waiting) = mpsc::channel(ANSWERS);
    tokio::select! {
        ended = upward(packets, tx, answers, keep_alive) => ended,
        ended = downward(rx, out, waiting) => ended,
    }
}

fn matches((user, password): &(String, String), connect: &codec::Connect) -> bool {
    let same = |a: &str, b: &str| a.as_bytes().ct_eq(b.as_bytes());
    (same(user, &connect.user) & same(password, &connect.password)).into()
}

/// From the bridge to the bus.
async fn upward(
    mut packets: Packets,
    mut tx: Tx,
    answers: mpsc::Sender<Bytes>,
    keep_alive: Duration,
) -> Result<(), Ended> {
    loop {
        let frame = match keep_alive {
            Duration::ZERO => packets.next().await?,
            time => timeout(time, packets.next()).await.map_err(|_| Ended::Silent)??,
        };
        let mut out = BytesMut::new();
        match frame.kind {
            Kind::Publish => {
                let packet = publish::read(frame, Version::V4)?;
                let topic = str::from_utf8(&packet.topic).map_err(|_| Reason::TOPIC_NAME_INVALID)?;
                tx.publish(topic, packet.payload).await?;
                if packet.qos > 0 {
                    let details = answer::Details::default();
                    let (id, qos) = (packet.packet_id, packet.qos);
                    answer::published(&mut out, Version::V4, id, qos, Reason::SUCCESS, &details, usize::MAX);
                }
            }
            Kind::Pubrel => answer::pubcomp(&mut out, codec::packet_id(frame, Version::V4)?),
            Kind::Subscribe => {
                let packet = codec::subscription(frame, Version::V4)?;
                for (topic, _) in &packet.filters {
                    tx.subscribe(topic)?;
                }
                let granted = vec![0; packet.filters.len()];
                out.extend_from_slice(&answer::suback(Version::V4, packet.packet_id, &granted));
            }
            Kind::Pingreq => answer::pingresp(&mut out),
            Kind::Puback => {}
            Kind::Disconnect => return Ok(()),
            Kind::Connect | Kind::Pubrec | Kind::Pubcomp | Kind::Unsubscribe => {
                return Err(Ended::Packet(Reason::PROTOCOL_ERROR));
            }
        }
        if !out.is_empty() {
            answers.send(out.freeze()).await.map_err(|_| Ended::HungUp)?;
        }
    }
}

/// From the bus to the bridge, with the answers in between.
async fn downward(mut rx: Rx, mut socket: OwnedWriteHalf, mut answers: mpsc::Receiver<Bytes>) -> Result<(), Ended> {
    let mut out = BytesMut::new();
    loop {
        tokio::select! {
            delivery = rx.next_with_topic() => {
                let (topic, payload) = delivery?;
                publish::write_qos_0(&topic, &payload, Version::V4, &mut out);
            }
            Some(answer) = answers.recv() => out.extend_from_slice(&answer),
        }
        while out.len() < WRITE_BYTES
            && let Some((topic, payload)) = rx.try_next_with_topic()
        {
            publish::write_qos_0(&topic, &payload, Version::V4, &mut out);
        }
        while let Ok(answer) = answers.try_recv() {
            out.extend_from_slice(&answer);
        }
        socket.write_all(&out).await?;
        out = BytesMut::new();
    }
}

/// Packets of one socket.
struct Packets {
    socket: OwnedReadHalf,
    buffer: BytesMut,
}

impl Packets {
    async fn next(&mut self) -> Result<Frame, Ended> {
        loop {
            if let Some(frame) = frame::split(&mut self.buffer, Version::V4, PACKET_BYTES_MAX)? {
                return Ok(frame);
            }
            self.buffer.reserve(64 * 1024);
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err(Ended::HungUp);
            }
        }
    }
}
