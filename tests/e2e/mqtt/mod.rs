//! A small MQTT client of our own, for what no decent client sends and for bytes that must be exact. Blocking, and
//! nothing happens behind the test's back: no PUBACK, no reconnect unless it is asked for.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use godwit_test_mqtt::encode;
pub(crate) use godwit_test_mqtt::{Message as Publish, Packet, Version};
use godwit_test_mqtt::{Reader, property};

use crate::PATIENCE;
use crate::server::Account;

/// Both versions, for tests that run once with each.
pub(crate) const VERSIONS: [Version; 2] = [Version::V4, Version::V5];

/// How to connect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) clean: bool,
    /// MQTT 5; 0: as many as there are identifiers.
    pub(crate) receive_maximum: u16,
    /// Size of the socket's receive buffer; 0: the system's choice.
    pub(crate) socket_bytes: usize,
}

/// A session that lasts, and no limits.
pub(crate) const RESUME: Options = Options { clean: false, receive_maximum: 0, socket_bytes: 0 };
/// A session that begins and ends with the connection.
pub(crate) const CLEAN: Options = Options { clean: true, ..RESUME };

/// The bytes of a CONNECT.
pub(crate) fn connect(version: Version, account: &Account, options: Options) -> Vec<u8> {
    let expiry: u32 = if options.clean { 0 } else { u32::MAX };
    let mut properties = [&[property::SESSION_EXPIRY][..], &expiry.to_be_bytes()].concat();
    if options.receive_maximum > 0 {
        properties.push(property::RECEIVE_MAXIMUM);
        properties.extend(options.receive_maximum.to_be_bytes());
    }
    let connect = encode::Connect {
        level: version.level(),
        clean: options.clean,
        keep_alive_s: 0,
        client_id: &account.device,
        login: Some((&account.user, &account.password)),
        properties: &properties,
    };
    encode::bytes(|out| encode::connect(out, &connect))
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    pub(crate) version: Version,
    reader: Reader,
    /// Read, but not what was waited for at the time.
    aside: VecDeque<Packet>,
    last_packet_id: u16,
    /// Whether CONNACK said so.
    pub(crate) session_present: bool,
}

impl Client {
    /// A socket on which nothing was said yet.
    pub(crate) fn open(address: SocketAddr, version: Version) -> Self {
        Self::try_open(address, version, 0).expect("a connection")
    }

    /// Like [`Self::open`]; there may be no server.
    pub(crate) fn try_open(address: SocketAddr, version: Version, socket_bytes: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if socket_bytes > 0 {
            socket.set_recv_buffer_size(socket_bytes)?;
        }
        socket.connect(&address.into())?;
        socket.set_tcp_nodelay(true)?;
        let (stream, reader, aside) = (socket.into(), Reader::new(version), VecDeque::new());
        Ok(Self { stream, version, reader, aside, last_packet_id: 0, session_present: false })
    }

    /// Connected and welcome.
    pub(crate) fn connect(address: SocketAddr, account: &Account, version: Version, options: Options) -> Self {
        let mut it = Self::try_open(address, version, options.socket_bytes).expect("a connection");
        let (reason, session_present) = it.login(account, options).expect("an answer to CONNECT");
        assert_eq!(reason, 0, "{}/{} is welcome", account.user, account.device);
        it.session_present = session_present;
        it
    }

    /// Sends CONNECT; returns CONNACK's code and whether a session is present.
    pub(crate) fn login(&mut self, account: &Account, options: Options) -> io::Result<(u8, bool)> {
        self.try_send(&connect(self.version, account, options))?;
        match self.try_next(PATIENCE)? {
            Some(Packet::Connack { session_present, reason }) => Ok((reason, session_present)),
            other => panic!("not a CONNACK: {other:?}"),
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("sent");
    }

    /// Like [`Self::send`]; the connection may be gone.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next packet identifier.
    pub(crate) fn packet_id(&mut self) -> u16 {
        self.last_packet_id = self.last_packet_id % u16::MAX + 1;
        self.last_packet_id
    }

    /// The next packet. `None`: none within this time. An error of the kind "unexpected end": the server hung up.
    pub(crate) fn try_next(&mut self, wait: Duration) -> io::Result<Option<Packet>> {
        if let Some(packet) = self.aside.pop_front() {
            return Ok(Some(packet));
        }
        let by = Instant::now() + wait;
        loop {
            if let Some(packet) = self.reader.read().expect("the server sends valid packets") {
                if let Packet::Publish(publish) = &packet {
                    // Only what is worth nothing later comes with QoS 0.
                    let is_live = publish.topic.starts_with("live/") || publish.topic.starts_with("presence/");
                    assert!(publish.qos == 1 || publish.qos == 0 && is_live, "{publish:?}");
                }
                return Ok(Some(packet));
            }
            let left = by.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left))?;
            let mut bytes = [0; 16 * 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.reader.buffer().extend_from_slice(&bytes[..len]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if Instant::now() >= by {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a packet that `pick` takes. Others wait for their turn.
    pub(crate) fn take<T>(&mut self, what: &str, mut pick: impl FnMut(&Packet) -> Option<T>) -> T {
        if let Some((index, found)) = self.aside.iter().enumerate().find_map(|(i, it)| pick(it).map(|it| (i, it))) {
            self.aside.remove(index);
            return found;
        }
        let mut waiting = std::mem::take(&mut self.aside);
        let by = Instant::now() + PATIENCE;
        loop {
            let packet = self.try_next(by.saturating_duration_since(Instant::now()));
            let packet = packet.unwrap_or_else(|error| panic!("{what}: {error}; came: {waiting:?}"));
            let packet = packet.unwrap_or_else(|| panic!("{what} did not come; came: {waiting:?}"));
            if let Some(found) = pick(&packet) {
                self.aside = waiting;
                return found;
            }
            waiting.push_back(packet);
        }
    }

    /// SUBSCRIBE with QoS 1; returns the code of SUBACK.
    pub(crate) fn subscribe(&mut self, filter: &str) -> u8 {
        self.subscribe_with(filter, 1)
    }

    /// SUBSCRIBE; returns the code of SUBACK.
    pub(crate) fn subscribe_with(&mut self, filter: &str, qos: u8) -> u8 {
        let id = self.packet_id();
        self.send(&self.subscribe_bytes(id, filter, qos));
        self.take("SUBACK", |packet| match packet {
            Packet::Suback { packet_id, codes } if *packet_id == id => Some(codes[0]),
            _ => None,
        })
    }

    /// The bytes of a SUBSCRIBE.
    pub(crate) fn subscribe_bytes(&self, packet_id: u16, filter: &str, qos: u8) -> Vec<u8> {
        encode::bytes(|out| encode::subscribe(out, self.version, packet_id, [(filter, qos)]))
    }

    /// The bytes of a PUBLISH with QoS 1.
    pub(crate) fn publish_bytes(&self, packet_id: u16, duplicate: bool, topic: &str, body: &[u8]) -> Vec<u8> {
        let flags = 2 | u8::from(duplicate) << 3;
        let publish =
            encode::Publish { version: self.version, flags, topic: topic.as_bytes(), packet_id, properties: &[] };
        encode::bytes(|out| encode::publish(out, &publish, body))
    }

    /// PUBLISH with QoS 1; returns the code of PUBACK: 0 with MQTT 3.1.1.
    pub(crate) fn publish(&mut self, topic: &str, body: &[u8]) -> u8 {
        let id = self.packet_id();
        self.send(&self.publish_bytes(id, false, topic, body));
        self.puback(id).0
    }

    /// Waits for PUBACK: its code, and where the message stands, if it says so.
    pub(crate) fn puback(&mut self, id: u16) -> (u8, Option<(u64, u64)>) {
        self.take("PUBACK", |packet| match packet {
            Packet::Puback { packet_id, reason, at, .. } if *packet_id == id => Some((*reason, *at)),
            _ => None,
        })
    }

    /// Waits for PUBACK: its code, and whether the server took the publish for a repetition, and of what.
    pub(crate) fn puback_of_repetition(&mut self, id: u16) -> (u8, Option<u64>) {
        self.take("PUBACK", |packet| match packet {
            Packet::Puback { packet_id, reason, repeated, .. } if *packet_id == id => Some((*reason, *repeated)),
            _ => None,
        })
    }

    /// The next message; not acknowledged.
    pub(crate) fn delivery(&mut self) -> Publish {
        self.take("a PUBLISH", |packet| match packet {
            Packet::Publish(publish) => Some(publish.clone()),
            _ => None,
        })
    }

    /// The next message, acknowledged.
    pub(crate) fn receive(&mut self) -> Publish {
        let publish = self.delivery();
        self.acknowledge(&publish);
        publish
    }

    /// The next message's body, acknowledged.
    pub(crate) fn body(&mut self) -> String {
        String::from_utf8(self.receive().payload).expect("text")
    }

    /// PUBACK.
    pub(crate) fn acknowledge(&mut self, publish: &Publish) {
        self.try_acknowledge(publish).expect("sent");
    }

    /// Like [`Self::acknowledge`]; the connection may be gone.
    pub(crate) fn try_acknowledge(&mut self, publish: &Publish) -> io::Result<()> {
        self.try_send(&encode::bytes(|out| encode::puback(out, publish.packet_id)))
    }

    /// Waits until everything sent so far was handled: PINGREQ is answered behind it.
    pub(crate) fn settle(&mut self) {
        self.send(&[0xC0, 0]);
        self.take("PINGRESP", |packet| (*packet == Packet::Pingresp).then_some(()));
    }

    /// Whether everything that came was taken.
    pub(crate) fn is_idle(&self) -> bool {
        self.aside.is_empty() && self.reader.is_empty()
    }

    /// Says goodbye.
    pub(crate) fn disconnect(mut self) {
        self.send(&[0xE0, 0]);
        while self.try_next(PATIENCE).is_ok_and(|packet| packet.is_some()) {}
    }

    /// Waits until the server hangs up; returns the code of its DISCONNECT, if it sent one. Other packets are passed
    /// over.
    pub(crate) fn closed(mut self) -> Option<u8> {
        let mut reason = None;
        loop {
            match self.try_next(PATIENCE) {
                Ok(Some(Packet::Disconnect { reason: code })) => reason = Some(code),
                Ok(Some(_)) => {}
                Ok(None) => panic!("the server did not hang up"),
                Err(_) => return reason,
            }
        }
    }
}
