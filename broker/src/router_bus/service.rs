//! The private service listener: the bus for a bridge in another process, and events for readers, in plain MQTT 3.1.1.
//! Who reaches what: `access`.
//!
//! Not rumqttd's own listener: that one leaves Nagle's algorithm on, which holds a batch back for 40 ms whenever the
//! batch before it was not answered; it also binds where no error comes back from. QoS 1 and 2 are acknowledged and, like all on this bus, may be lost.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use godwit_schemas::bus::{LinkClosed, Tx as _};
use godwit_schemas::reason::Reason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::access::{Access, Role};
use super::{Open, Rx, Tx};
use crate::mqtt::frame::{self, Frame, Kind};
use crate::mqtt::{Version, answer, codec, publish};

/// Largest packet.
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a client may take until its CONNECT is there.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// SUBACK's code for a filter that is refused (MQTT 3.1.1, 3.9.3).
const REFUSED: u8 = 0x80;
/// Pause after a failure to accept.
const BACK_OFF: Duration = Duration::from_millis(250);
/// Payloads are gathered up to this size for one write.
const WRITE_BYTES: usize = 256 * 1024;
/// Acknowledgements that may wait to be written; then nothing more is read.
const ANSWERS: usize = 256;

/// Why a connection ends.
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
    #[error("it may not publish to {0:?}")]
    Forbidden(String),
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
pub(super) async fn run(listener: TcpListener, open: Arc<Open>, access: Access) {
    let access = Arc::new(access);
    for number in 0_u64.. {
        match listener.accept().await {
            Ok((stream, from)) => {
                let (open, access) = (open.clone(), access.clone());
                tokio::spawn(async move {
                    if let Err(reason) = serve(stream, &format!("service-{number}"), &*open, &access).await {
                        tracing::info!(%from, %reason, "a service connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "accept a service connection");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, name: &str, open: &Open, access: &Access) -> Result<(), Ended> {
    stream.set_nodelay(true)?;
    let (socket, mut out) = stream.into_split();
    let mut packets = Packets { socket, buffer: BytesMut::new() };
    let first = timeout(CONNECT_DEADLINE, packets.next()).await.map_err(|_| Ended::Silent)??;
    if first.kind != Kind::Connect {
        return Err(Ended::Packet(Reason::PROTOCOL_ERROR));
    }
    let connect = codec::connect(first, Version::V4)?;
    let Some(role) = access.role(&connect.user, &connect.password) else {
        out.write_all(&codec::refusal(Version::V4, Reason::BAD_USER_NAME_OR_PASSWORD, "")).await?;
        return Err(Ended::Login);
    };
    let (tx, rx) = super::open(open, name)?;
    out.write_all(&codec::welcome_v4(false)).await?;
    tracing::info!(name, ?role, "a service connection is open");
    let keep_alive = Duration::from_millis(u64::from(connect.keep_alive_s) * 1_500);
    let (answers, waiting) = mpsc::channel(ANSWERS);
    tokio::select! {
        ended = upward(packets, tx, role, answers, keep_alive) => ended,
        ended = downward(rx, out, waiting) => ended,
    }
}

/// From the client to the bus.
async fn upward(
    mut packets: Packets,
    mut tx: Tx,
    role: Role,
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
                if !role.may_publish(topic) {
                    return Err(Ended::Forbidden(topic.to_owned()));
                }
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
                let mut granted = Vec::with_capacity(packet.filters.len());
                for (filter, _) in &packet.filters {
                    let may = role.may_read(filter);
                    if may {
                        tx.subscribe(filter)?;
                        tracing::info!(filter, ?role, "a service connection subscribed");
                    } else {
                        tracing::warn!(filter, ?role, "refused a subscription at the service listener");
                    }
                    granted.push(if may { 0 } else { REFUSED });
                }
                out.extend_from_slice(&answer::suback(Version::V4, packet.packet_id, &granted));
            }
            Kind::Unsubscribe => {
                let packet = codec::subscription(frame, Version::V4)?;
                for (filter, _) in packet.filters.iter().filter(|(filter, _)| role.may_read(filter)) {
                    tx.unsubscribe(filter)?;
                }
                let done = vec![0; packet.filters.len()];
                out.extend_from_slice(&answer::unsuback(Version::V4, packet.packet_id, &done));
            }
            Kind::Pingreq => answer::pingresp(&mut out),
            Kind::Puback => {}
            Kind::Disconnect => return Ok(()),
            Kind::Connect | Kind::Pubrec | Kind::Pubcomp | Kind::Auth => {
                return Err(Ended::Packet(Reason::PROTOCOL_ERROR));
            }
        }
        if !out.is_empty() {
            answers.send(out.freeze()).await.map_err(|_| Ended::HungUp)?;
        }
    }
}

/// From the bus to the client, with the answers in between.
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
