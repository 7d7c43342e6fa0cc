//! Packets as bytes: those that a client sends (MQTT 3.1.1 and 5), and those that it reads.

use super::Options;
use crate::server::Account;

/// Version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// 3.1.1
    V4,
    /// 5
    V5,
}

/// A packet from the server. Codes are 0 where the version has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet {
    Connack {
        session_present: bool,
        reason: u8,
    },
    Publish(Publish),
    /// `at`: conversation and sequence.
    Puback {
        packet_id: u16,
        reason: u8,
        at: Option<(u64, u64)>,
    },
    Pubrec {
        packet_id: u16,
        reason: u8,
    },
    Pubcomp {
        packet_id: u16,
    },
    Suback {
        packet_id: u16,
        codes: Vec<u8>,
    },
    Unsuback {
        packet_id: u16,
    },
    Pingresp,
    Disconnect {
        reason: u8,
    },
    /// MQTT 5.
    Auth {
        reason: u8,
    },
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Publish {
    pub(crate) duplicate: bool,
    pub(crate) topic: String,
    pub(crate) packet_id: u16,
    pub(crate) payload: Vec<u8>,
    /// MQTT 5 user properties of a raw body; `("", 0)` otherwise.
    pub(crate) from: String,
    pub(crate) seq: u64,
}

impl Publish {
    /// Number of the conversation, from the topic of a raw body.
    pub(crate) fn conversation(&self) -> u64 {
        self.topic.strip_prefix("inbox/").expect("a raw body").parse().expect("a number")
    }
}

fn with_header(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut left = body.len();
    while left > 0x7F {
        packet.push(0x80 | (left & 0x7F) as u8);
        left >>= 7;
    }
    packet.push(left as u8);
    packet.extend_from_slice(body);
    packet
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("at most 65,535 bytes");
    [&len.to_be_bytes(), bytes].concat()
}

/// CONNECT.
pub(crate) fn connect(version: Version, account: &Account, options: Options) -> Vec<u8> {
    let (level, properties) = match version {
        Version::V4 => (4, vec![]),
        Version::V5 => {
            let expiry: u32 = if options.clean { 0 } else { u32::MAX };
            let mut properties = [&[0x11][..], &expiry.to_be_bytes()].concat();
            if options.receive_maximum > 0 {
                properties.push(0x21);
                properties.extend_from_slice(&options.receive_maximum.to_be_bytes());
            }
            (5, [&[properties.len() as u8], &properties[..]].concat())
        }
    };
    let flags = 0xC0 | u8::from(options.clean) << 1;
    let fields = [&account.device, &account.user, &account.password].map(|it| string(it.as_bytes())).concat();
    with_header(0x10, &[&string(b"MQTT")[..], &[level, flags, 0, 0], &properties, &fields].concat())
}

pub(super) fn publish(version: Version, first: u8, packet_id: u16, topic: &[u8], body: &[u8]) -> Vec<u8> {
    let no_properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    with_header(first, &[&string(topic)[..], &packet_id.to_be_bytes(), no_properties, body].concat())
}

pub(super) fn puback(packet_id: u16) -> Vec<u8> {
    with_header(0x40, &packet_id.to_be_bytes())
}

pub(super) fn subscribe(version: Version, packet_id: u16, filter: &str, qos: u8) -> Vec<u8> {
    let no_properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    with_header(0x82, &[&packet_id.to_be_bytes(), no_properties, &string(filter.as_bytes()), &[qos]].concat())
}

impl Packet {
    /// Takes the first packet off `buffer` if it is all there.
    pub(super) fn split(buffer: &mut Vec<u8>, version: Version) -> Option<Self> {
        let mut fields = Fields(buffer);
        let first = fields.byte()?;
        let len = fields.varint()?;
        let body = fields.take(len)?;
        let packet = Self::parse(first, Fields(body), version);
        let packet = packet.unwrap_or_else(|| panic!("the server sent no valid packet: {first:#x} {body:?}"));
        let used = buffer.len() - fields.0.len();
        buffer.drain(..used);
        Some(packet)
    }

    fn parse(first: u8, mut fields: Fields<'_>, version: Version) -> Option<Self> {
        let v5 = version == Version::V5;
        Some(match first {
            0x20 => {
                let (flags, reason) = (fields.byte()?, fields.byte()?);
                Self::Connack { session_present: flags == 1, reason }
            }
            0x30..=0x3F => Self::Publish(fields.publish(first, v5)?),
            0x40 => {
                let (packet_id, reason) = (fields.u16()?, fields.byte().unwrap_or(0));
                let at = fields.properties()?.into_iter().find(|(name, _)| name == "at");
                let at =
                    at.and_then(|(_, at)| at.split_once('/').and_then(|(a, b)| a.parse().ok().zip(b.parse().ok())));
                Self::Puback { packet_id, reason, at }
            }
            0x50 => Self::Pubrec { packet_id: fields.u16()?, reason: fields.byte().unwrap_or(0) },
            0x70 => Self::Pubcomp { packet_id: fields.u16()? },
            0x90 => {
                let packet_id = fields.u16()?;
                if v5 {
                    fields.properties()?;
                }
                Self::Suback { packet_id, codes: fields.0.to_vec() }
            }
            0xB0 => Self::Unsuback { packet_id: fields.u16()? },
            0xD0 => Self::Pingresp,
            0xF0 if v5 => Self::Auth { reason: fields.byte().unwrap_or(0) },
            0xE0 if v5 => Self::Disconnect { reason: fields.byte().unwrap_or(0) },
            _ => return None,
        })
    }
}

/// Bytes that are still to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn string(&mut self) -> Option<String> {
        let len = self.u16()?;
        String::from_utf8(self.take(len.into())?.to_vec()).ok()
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn publish(&mut self, first: u8, v5: bool) -> Option<Publish> {
        let topic = self.string()?;
        let packet_id = match first & 6 {
            // Only what is worth nothing later comes with QoS 0.
            0 if topic.starts_with("live/") || topic.starts_with("presence/") => 0,
            2 => self.u16()?,
            _ => return None,
        };
        let properties = if v5 { self.properties()? } else { Vec::new() };
        let value = |name: &str| properties.iter().find(|it| it.0 == name).map(|it| it.1.clone()).unwrap_or_default();
        let (from, seq) = (value("from"), value("seq").parse().unwrap_or(0));
        Some(Publish { duplicate: first & 8 != 0, topic, packet_id, payload: self.0.to_vec(), from, seq })
    }

    /// The user properties among the properties, if there are any at all.
    fn properties(&mut self) -> Option<Vec<(String, String)>> {
        if self.0.is_empty() {
            return Some(Vec::new());
        }
        let len = self.varint()?;
        let mut fields = Fields(self.take(len)?);
        let mut user = Vec::new();
        while let Some(id) = fields.byte() {
            match id {
                0x24 | 0x25 | 0x28 | 0x29 | 0x2A => _ = fields.take(1)?,
                0x13 | 0x21 | 0x22 | 0x23 => _ = fields.take(2)?,
                0x02 | 0x11 | 0x27 => _ = fields.take(4)?,
                0x09 => {
                    let len = fields.u16()?;
                    fields.take(len.into())?;
                }
                0x12 | 0x1F => _ = fields.string()?,
                0x26 => user.push((fields.string()?, fields.string()?)),
                _ => return None,
            }
        }
        Some(user)
    }
}
