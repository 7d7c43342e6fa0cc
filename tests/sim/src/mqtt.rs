//! MQTT as a client speaks it, 3.1.1 and 5: written here anew, so that nothing of the server checks itself.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A CONNECT.
pub(crate) struct Connect<'a> {
    pub(crate) protocol: u8,
    pub(crate) clean: bool,
    /// The session outlives the connection.
    pub(crate) lasting: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) receive_maximum: u16,
    pub(crate) aliases: u16,
    pub(crate) user: &'a str,
    pub(crate) device: &'a str,
    pub(crate) password: &'a str,
}

/// A PUBLISH to the server.
#[derive(Debug, Clone)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) packet_id: u16,
    pub(crate) payload: Bytes,
    /// 0: none. MQTT 5 only.
    pub(crate) expires_in_s: u32,
}

/// A packet from the server.
#[derive(Debug)]
pub(crate) enum Packet {
    Connack {
        session_present: bool,
        reason: u8,
    },
    /// `at`: place of the stored message.
    Puback {
        packet_id: u16,
        reason: u8,
        at: Option<(u64, u64)>,
    },
    Publish {
        again: bool,
        packet_id: u16,
        topic: String,
        payload: Bytes,
        from: Option<String>,
        sequence: Option<u64>,
    },
    Suback {
        codes: Vec<u8>,
    },
    Pingresp,
    Disconnect {
        reason: u8,
    },
}

impl Connect<'_> {
    pub(crate) fn encode(&self) -> Bytes {
        let mut body = BytesMut::new();
        put_string(&mut body, b"MQTT");
        body.put_u8(self.protocol);
        body.put_u8(0xC0 | u8::from(self.clean) << 1);
        body.put_u16(self.keep_alive_s);
        if self.protocol == 5 {
            let mut properties = BytesMut::new();
            properties.put_u8(0x11);
            properties.put_u32(if self.lasting { u32::MAX } else { 0 });
            properties.put_u8(0x21);
            properties.put_u16(self.receive_maximum);
            properties.put_u8(0x22);
            properties.put_u16(self.aliases);
            put_varint(&mut body, properties.len());
            body.put(properties);
        }
        for text in [self.device, self.user, self.password] {
            put_string(&mut body, text.as_bytes());
        }
        packet(0x10, &body)
    }
}

impl Publish {
    /// With QoS 1.
    pub(crate) fn encode(&self, protocol: u8, again: bool) -> Bytes {
        let mut body = BytesMut::new();
        put_string(&mut body, self.topic.as_bytes());
        body.put_u16(self.packet_id);
        match (protocol, self.expires_in_s) {
            (5, 0) => body.put_u8(0),
            (5, seconds) => {
                body.put_slice(&[5, 0x02]);
                body.put_u32(seconds);
            }
            _ => {}
        }
        body.put_slice(&self.payload);
        packet(0x32 | u8::from(again) << 3, &body)
    }
}

pub(crate) fn subscribe(protocol: u8, packet_id: u16, filters: &[&str]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u16(packet_id);
    if protocol == 5 {
        body.put_u8(0);
    }
    for filter in filters {
        put_string(&mut body, filter.as_bytes());
        body.put_u8(1);
    }
    packet(0x82, &body)
}

pub(crate) fn puback(packet_id: u16) -> Bytes {
    packet(0x40, &packet_id.to_be_bytes())
}

pub(crate) fn pingreq() -> Bytes {
    packet(0xC0, &[])
}

pub(crate) fn disconnect() -> Bytes {
    packet(0xE0, &[])
}

fn packet(first: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(5 + body.len());
    out.put_u8(first);
    put_varint(&mut out, body.len());
    out.put_slice(body);
    out.freeze()
}

fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value > 0x7F {
        out.put_u8(0x80 | (value & 0x7F) as u8);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn put_string(out: &mut BytesMut, text: &[u8]) {
    out.put_u16(text.len() as u16);
    out.put_slice(text);
}

/// Reads what the server sends.
pub(crate) struct Reader {
    protocol: u8,
    pub(crate) buffer: BytesMut,
    aliases: BTreeMap<u16, String>,
}

/// What came is no MQTT.
#[derive(Debug)]
pub(crate) struct Garbled;

impl Reader {
    pub(crate) fn new(protocol: u8) -> Self {
        Self { protocol, buffer: BytesMut::new(), aliases: BTreeMap::new() }
    }

    /// The next packet, if all of it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, Garbled> {
        let mut header = &self.buffer[..];
        let Some(first) = take_u8(&mut header) else { return Ok(None) };
        let Some(len) = take_varint(&mut header) else { return Ok(None) };
        if header.len() < len {
            return Ok(None);
        }
        let header_len = self.buffer.len() - header.len();
        self.buffer.advance(header_len);
        let body = self.buffer.split_to(len).freeze();
        self.read(first, body).map(Some).ok_or(Garbled)
    }

    fn read(&mut self, first: u8, mut body: Bytes) -> Option<Packet> {
        match first {
            0x20 => {
                let (flags, reason) = (body.try_get_u8().ok()?, body.try_get_u8().ok()?);
                Some(Packet::Connack { session_present: flags & 1 == 1, reason })
            }
            0x40 => {
                let packet_id = body.try_get_u16().ok()?;
                let reason = body.try_get_u8().unwrap_or(0);
                let properties = Properties::take(&mut body).unwrap_or_default();
                let at = properties.user.get("at").and_then(|at| at.split_once('/'));
                let at = at.and_then(|(conversation, seq)| Some((conversation.parse().ok()?, seq.parse().ok()?)));
                Some(Packet::Puback { packet_id, reason, at })
            }
            0x32 | 0x3A => self.read_publish(first == 0x3A, body),
            0x90 => {
                body.try_get_u16().ok()?;
                if self.protocol == 5 {
                    Properties::take(&mut body)?;
                }
                Some(Packet::Suback { codes: body.into() })
            }
            0xD0 => Some(Packet::Pingresp),
            0xE0 => Some(Packet::Disconnect { reason: body.try_get_u8().unwrap_or(0) }),
            _ => None,
        }
    }

    fn read_publish(&mut self, again: bool, mut body: Bytes) -> Option<Packet> {
        let mut topic = take_string(&mut body)?;
        let packet_id = body.try_get_u16().ok()?;
        let properties = if self.protocol == 5 { Properties::take(&mut body)? } else { Properties::default() };
        if let Some(alias) = properties.alias {
            if topic.is_empty() {
                topic = self.aliases.get(&alias)?.clone();
            } else {
                self.aliases.insert(alias, topic.clone());
            }
        }
        let sequence = properties.user.get("seq").and_then(|seq| seq.parse().ok());
        let from = properties.user.get("from").cloned();
        Some(Packet::Publish { again, packet_id, topic, payload: body, from, sequence })
    }
}

#[derive(Default)]
struct Properties {
    alias: Option<u16>,
    user: BTreeMap<String, String>,
}

impl Properties {
    fn take(body: &mut Bytes) -> Option<Self> {
        let mut rest = &body[..];
        let len = take_varint(&mut rest)?;
        let header_len = body.len() - rest.len();
        body.advance(header_len);
        if body.len() < len {
            return None;
        }
        let mut bytes = body.split_to(len);
        let mut properties = Self::default();
        while let Ok(id) = bytes.try_get_u8() {
            match id {
                0x26 => {
                    let (name, value) = (take_string(&mut bytes)?, take_string(&mut bytes)?);
                    properties.user.insert(name, value);
                }
                0x23 => properties.alias = Some(bytes.try_get_u16().ok()?),
                0x02 => drop(bytes.try_get_u32().ok()?),
                0x1F | 0x09 => drop(take_string(&mut bytes)?),
                _ => return None,
            }
        }
        Some(properties)
    }
}

fn take_u8(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn take_varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let byte = take_u8(bytes)?;
        value |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take_string(bytes: &mut Bytes) -> Option<String> {
    let len = usize::from(bytes.try_get_u16().ok()?);
    if bytes.len() < len {
        return None;
    }
    String::from_utf8(bytes.split_to(len).into()).ok()
}
