//! The private service listener: the bus for a bridge in another process, and events for readers, in plain MQTT 3.1.1. `access`
//! decides which client reaches which topics.
//!
//! It stands in for rumqttd's own listener, which leaves Nagle's algorithm on: that delays a batch by 40 ms whenever the batch
//! before it is not acknowledged. Nor does that listener report an address that cannot be bound. QoS 1 and 2 are acknowledged, but
//! like everything on this bus may be lost.

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

use super::access::{ServiceAccess, ServiceRole};
use super::link::{self, OpenLink, RouterRx, RouterTx};
use crate::mqtt::packet::{self, PacketType, RawPacket};
use crate::mqtt::{Version, connack, decode, encode, publish};

/// Largest packet.
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest CONNECT: the client is not authenticated yet.
const CONNECT_BYTES_MAX: usize = 16 * 1024;
/// How long a client may take to send its CONNECT.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// SUBACK's code for a filter that is refused (MQTT 3.1.1, 3.9.3).
const REFUSED: u8 = 0x80;
/// Pause after a failure to accept.
const RETRY_DELAY: Duration = Duration::from_millis(250);
/// Payloads are gathered into one write up to this size.
const WRITE_BYTES: usize = 256 * 1024;
/// Most replies that wait to be written. When there are more, nothing is read.
const REPLIES_MAX: usize = 256;

/// Why a service connection ends.
#[derive(Debug, thiserror::Error)]
enum ServiceEnd {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Bus(#[from] LinkClosed),
    #[error("a packet that is not understood (0x{:02x})", .0.get())]
    Packet(Reason),
    #[error("wrong user or password")]
    WrongLogin,
    #[error("it may not publish to {0:?}")]
    Forbidden(String),
    #[error("silent for too long")]
    Silent,
    #[error("hung up")]
    HungUp,
}

impl From<Reason> for ServiceEnd {
    fn from(reason: Reason) -> Self {
        Self::Packet(reason)
    }
}

/// Accepts service connections for ever.
pub(super) async fn run(listener: TcpListener, open: Arc<OpenLink>, access: ServiceAccess) {
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
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, name: &str, open: &OpenLink, access: &ServiceAccess) -> Result<(), ServiceEnd> {
    stream.set_nodelay(true)?;
    let (socket, mut out) = stream.into_split();
    let mut packets = PacketReader { socket, buffer: BytesMut::new(), bytes_max: CONNECT_BYTES_MAX };
    let first = timeout(CONNECT_DEADLINE, packets.next()).await.map_err(|_| ServiceEnd::Silent)??;
    if first.kind != PacketType::Connect {
        return Err(ServiceEnd::Packet(Reason::PROTOCOL_ERROR));
    }
    let connect = decode::connect(first, Version::V4)?;
    let Some(role) = access.role(&connect.user, &String::from_utf8_lossy(&connect.password)) else {
        out.write_all(&connack::refused(Version::V4, Reason::BAD_USER_NAME_OR_PASSWORD, "", usize::MAX)).await?;
        return Err(ServiceEnd::WrongLogin);
    };
    packets.bytes_max = PACKET_BYTES_MAX;
    let (tx, rx) = link::open(open, name)?;
    out.write_all(&connack::accepted_v4()).await?;
    tracing::info!(name, ?role, "a service connection is open");
    let keep_alive = Duration::from_millis(u64::from(connect.keep_alive_s) * 1_500);
    let (replies, waiting) = mpsc::channel(REPLIES_MAX);
    tokio::select! {
        ended = handle_packets(packets, tx, role, replies, keep_alive) => ended,
        ended = write_payloads(rx, out, waiting) => ended,
    }
}

/// Handles the client's packets: what it publishes goes to the bus.
async fn handle_packets(
    mut packets: PacketReader,
    mut tx: RouterTx,
    role: ServiceRole,
    replies: mpsc::Sender<Bytes>,
    keep_alive: Duration,
) -> Result<(), ServiceEnd> {
    loop {
        let frame = match keep_alive {
            Duration::ZERO => packets.next().await?,
            time => timeout(time, packets.next()).await.map_err(|_| ServiceEnd::Silent)??,
        };
        let mut out = BytesMut::new();
        match frame.kind {
            PacketType::Publish => {
                let packet = publish::read(frame, Version::V4)?;
                let topic = str::from_utf8(&packet.topic).map_err(|_| Reason::TOPIC_NAME_INVALID)?;
                if !role.may_publish(topic) {
                    return Err(ServiceEnd::Forbidden(topic.to_owned()));
                }
                tx.publish(topic, packet.payload).await?;
                if packet.qos > 0 {
                    let details = encode::AckDetails::default();
                    let (id, qos) = (packet.packet_id, packet.qos);
                    encode::publish_answer(&mut out, Version::V4, id, qos, Reason::SUCCESS, &details, usize::MAX);
                }
            }
            PacketType::Pubrel => encode::pubcomp(&mut out, decode::packet_id(frame, Version::V4)?),
            PacketType::Subscribe => {
                let packet = decode::subscription(frame, Version::V4)?;
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
                out.extend_from_slice(
                    &encode::suback(Version::V4, packet.packet_id, &granted, "", usize::MAX).unwrap_or_default(),
                );
            }
            PacketType::Unsubscribe => {
                let packet = decode::subscription(frame, Version::V4)?;
                for (filter, _) in packet.filters.iter().filter(|(filter, _)| role.may_read(filter)) {
                    tx.unsubscribe(filter)?;
                }
                let done = vec![0; packet.filters.len()];
                out.extend_from_slice(
                    &encode::unsuback(Version::V4, packet.packet_id, &done, usize::MAX).unwrap_or_default(),
                );
            }
            PacketType::Pingreq => encode::pingresp(&mut out),
            PacketType::Puback => {}
            PacketType::Disconnect => return Ok(()),
            PacketType::Connect | PacketType::Pubrec | PacketType::Pubcomp | PacketType::Auth => {
                return Err(ServiceEnd::Packet(Reason::PROTOCOL_ERROR));
            }
        }
        if !out.is_empty() {
            replies.send(out.freeze()).await.map_err(|_| ServiceEnd::HungUp)?;
        }
    }
}

/// Writes payloads from the bus, and replies, to the client.
async fn write_payloads(
    mut rx: RouterRx,
    mut socket: OwnedWriteHalf,
    mut replies: mpsc::Receiver<Bytes>,
) -> Result<(), ServiceEnd> {
    let mut out = BytesMut::new();
    loop {
        tokio::select! {
            delivery = rx.next_with_topic() => {
                let (topic, payload) = delivery?;
                publish::write_qos_0(&topic, &payload, Version::V4, &mut out);
            }
            Some(encode) = replies.recv() => out.extend_from_slice(&encode),
        }
        while out.len() < WRITE_BYTES
            && let Some((topic, payload)) = rx.try_next_with_topic()
        {
            publish::write_qos_0(&topic, &payload, Version::V4, &mut out);
        }
        while let Ok(encode) = replies.try_recv() {
            out.extend_from_slice(&encode);
        }
        socket.write_all(&out).await?;
        out = BytesMut::new();
    }
}

/// Reads packets from a socket.
struct PacketReader {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    bytes_max: usize,
}

impl PacketReader {
    async fn next(&mut self) -> Result<RawPacket, ServiceEnd> {
        loop {
            if let Some(frame) = packet::split(&mut self.buffer, Version::V4, self.bytes_max)? {
                return Ok(frame);
            }
            self.buffer.reserve(64 * 1024);
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err(ServiceEnd::HungUp);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unauthenticated_client_sends_small_packets_only() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        // 2 MiB.
        client.write_all(&[0x10, 0xFF, 0xFF, 0x7F]).await.unwrap();
        let open: &OpenLink = &|_: &str| Err(LinkClosed("nobody gets that far".to_owned()));
        let ended = serve(stream, "client", open, &ServiceAccess::default()).await;
        assert!(matches!(ended, Err(ServiceEnd::Packet(Reason::PACKET_TOO_LARGE))), "{ended:?}");
    }
}
