//! Packets that a server sends, read in place.

use crate::{Version, property};

/// What came is not a packet that a server may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The first packet of a buffer, undecoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undecoded<'a> {
    /// First byte: type and flags.
    pub first: u8,
    /// What follows the fixed header.
    pub body: &'a [u8],
    /// Bytes of the whole packet.
    pub len: usize,
}

/// A packet. Reason codes are 0 where the packet or the version has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum Packet<'a> {
    Connack { session_present: bool, reason: u8, properties: Properties<'a> },
    Publish(Publish<'a>),
    Puback(Acknowledgement<'a>),
    Pubrec(Acknowledgement<'a>),
    Pubcomp(Acknowledgement<'a>),
    Suback { packet_id: u16, properties: Properties<'a>, codes: &'a [u8] },
    Unsuback { packet_id: u16, properties: Properties<'a>, codes: &'a [u8] },
    Pingresp,
    Disconnect { reason: u8, properties: Properties<'a> },
    Auth { reason: u8, properties: Properties<'a> },
}

/// A PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub struct Publish<'a> {
    pub duplicate: bool,
    pub qos: u8,
    pub topic: &'a [u8],
    /// `None`: QoS 0.
    pub packet_id: Option<u16>,
    pub properties: Properties<'a>,
    pub payload: &'a [u8],
}

/// A PUBACK, PUBREC or PUBCOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub struct Acknowledgement<'a> {
    pub packet_id: u16,
    pub reason: u8,
    pub properties: Properties<'a>,
}

/// The first packet in `bytes`; `None` if it is not complete. Only the fixed header is looked at, and no memory depends on the length
/// that it says.
///
/// # Errors
/// The length is malformed (section 2.2.3 of MQTT 3.1.1).
#[inline]
pub fn split(bytes: &[u8]) -> Result<Option<Undecoded<'_>>, Malformed> {
    let Some((header, len)) = length(bytes)? else { return Ok(None) };
    let Some(body) = bytes.get(header..len) else { return Ok(None) };
    Ok(Some(Undecoded { first: bytes[0], body, len }))
}

/// Bytes of the first packet's fixed header and of the whole packet; `None` if its length is not there yet.
///
/// # Errors
/// The length is malformed.
#[inline]
pub fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().skip(1).take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte < 0x80 {
            return Ok(Some((at + 2, at + 2 + value)));
        }
    }
    if bytes.len() < 5 { Ok(None) } else { Err(Malformed) }
}

impl<'a> Undecoded<'a> {
    /// Decodes the packet.
    ///
    /// # Errors
    /// A server may not send it.
    #[inline]
    pub fn decode(&self, version: Version) -> Result<Packet<'a>, Malformed> {
        let mut fields = Fields(self.body);
        let packet = fields.packet(self.first, version).ok_or(Malformed)?;
        if fields.0.is_empty() { Ok(packet) } else { Err(Malformed) }
    }
}

/// The properties of a packet (MQTT 5, 2.2.2): well formed, and read when they are asked for. Those of other versions are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// The value of the first user property of this name.
    pub fn user(&self, name: &str) -> Option<&'a str> {
        let pair = self.iter().filter(|(id, _)| *id == property::USER_PROPERTY).find_map(|(_, mut value)| {
            let (key, value) = (value.binary()?, value.binary()?);
            (key == name.as_bytes()).then_some(value)
        });
        pair.and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The topic alias.
    pub fn topic_alias(&self) -> Option<u16> {
        self.iter().find(|(id, _)| *id == property::TOPIC_ALIAS).and_then(|(_, mut value)| value.u16())
    }

    fn iter(&self) -> impl Iterator<Item = (u8, Fields<'a>)> {
        let mut left = Fields(self.0);
        std::iter::from_fn(move || left.property())
    }
}

#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn packet(&mut self, first: u8, version: Version) -> Option<Packet<'a>> {
        Some(match first {
            0x20 => {
                let (flags, reason) = (self.u8()?, self.u8()?);
                // One that refuses the version may be of another version.
                let properties = if version == Version::V4 { Properties::default() } else { self.properties(version)? };
                self.rest();
                Packet::Connack { session_present: flags & 1 == 1, reason, properties }
            }
            0x30..=0x3F => Packet::Publish(self.publish(first, version)?),
            0x40 => Packet::Puback(self.acknowledgement(version)?),
            0x50 => Packet::Pubrec(self.acknowledgement(version)?),
            0x70 => Packet::Pubcomp(self.acknowledgement(version)?),
            0x90 => {
                let (packet_id, properties) = (self.u16()?, self.properties(version)?);
                Packet::Suback { packet_id, properties, codes: self.rest() }
            }
            0xB0 => {
                let (packet_id, properties) = (self.u16()?, self.properties(version)?);
                Packet::Unsuback { packet_id, properties, codes: self.rest() }
            }
            0xD0 => Packet::Pingresp,
            0xE0 if version == Version::V5 => {
                let (reason, properties) = self.reason(version)?;
                Packet::Disconnect { reason, properties }
            }
            0xF0 if version == Version::V5 => {
                let (reason, properties) = self.reason(version)?;
                Packet::Auth { reason, properties }
            }
            _ => return None,
        })
    }

    fn publish(&mut self, first: u8, version: Version) -> Option<Publish<'a>> {
        let qos = first >> 1 & 3;
        let topic = self.binary()?;
        let packet_id = match qos {
            0 => None,
            1 | 2 => Some(self.u16()?),
            _ => return None,
        };
        let properties = self.properties(version)?;
        Some(Publish { duplicate: first & 8 != 0, qos, topic, packet_id, properties, payload: self.rest() })
    }

    fn acknowledgement(&mut self, version: Version) -> Option<Acknowledgement<'a>> {
        let packet_id = self.u16()?;
        let (reason, properties) = self.reason(version)?;
        Some(Acknowledgement { packet_id, reason, properties })
    }

    /// A reason code and properties, both of which may be left out.
    fn reason(&mut self, version: Version) -> Option<(u8, Properties<'a>)> {
        if version == Version::V4 || self.0.is_empty() {
            return Some((0, Properties::default()));
        }
        let reason = self.u8()?;
        Some((reason, if self.0.is_empty() { Properties::default() } else { self.properties(version)? }))
    }

    fn properties(&mut self, version: Version) -> Option<Properties<'a>> {
        if version == Version::V4 {
            return Some(Properties::default());
        }
        let len = self.varint()?;
        let properties = self.take(len)?;
        let mut left = Fields(properties);
        while !left.0.is_empty() {
            left.property()?;
        }
        Some(Properties(properties))
    }

    /// The next property: its identifier and its value.
    fn property(&mut self) -> Option<(u8, Fields<'a>)> {
        let id = self.u8()?;
        let all = *self;
        match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => _ = self.take(1)?,
            0x13 | 0x21 | 0x22 | 0x23 => _ = self.take(2)?,
            0x02 | 0x11 | 0x18 | 0x27 => _ = self.take(4)?,
            0x0B => _ = self.varint()?,
            0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => _ = self.binary()?,
            property::USER_PROPERTY => _ = (self.binary()?, self.binary()?),
            _ => return None,
        }
        Some((id, Fields(&all.0[..all.0.len() - self.0.len()])))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn binary(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(len.into())
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], version: Version, packet: Packet<'_>) {
        let whole = split(bytes).unwrap().expect("a whole packet");
        assert_eq!((whole.len, whole.decode(version)), (bytes.len(), Ok(packet)));
        for cut in 0..bytes.len() {
            assert_eq!(split(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn answers_of_both_versions() {
        let properties = Properties::default();
        let ack = |packet_id, reason| Acknowledgement { packet_id, reason, properties };
        check(&[0x20, 2, 1, 0], Version::V4, Packet::Connack { session_present: true, reason: 0, properties });
        check(
            &[0x20, 3, 0, 0x87, 0],
            Version::V5,
            Packet::Connack { session_present: false, reason: 0x87, properties },
        );
        check(&[0x40, 2, 0xAB, 0xCD], Version::V4, Packet::Puback(ack(0xABCD, 0)));
        check(&[0x50, 3, 0, 1, 0x10], Version::V5, Packet::Pubrec(ack(1, 0x10)));
        check(&[0x90, 3, 0, 9, 0x80], Version::V4, Packet::Suback { packet_id: 9, properties, codes: &[0x80] });
        check(&[0x90, 4, 0, 9, 0, 1], Version::V5, Packet::Suback { packet_id: 9, properties, codes: &[1] });
        check(&[0xD0, 0], Version::V4, Packet::Pingresp);
        check(&[0xE0, 2, 0x8B, 0], Version::V5, Packet::Disconnect { reason: 0x8B, properties });
    }

    #[test]
    fn properties_are_found_by_name() {
        let packet = b"\x40\x12\0\x07\0\x0E\x1F\0\x01r\x26\0\x02at\0\x0365";
        let packet = [&packet[..], b"1"].concat();
        let Ok(Packet::Puback(ack)) = split(&packet).unwrap().unwrap().decode(Version::V5) else { panic!("a PUBACK") };
        assert_eq!((ack.properties.user("at"), ack.properties.user("r")), (Some("651"), None));
        let publish = b"\x30\x09\0\x01t\x03\x23\0\x05xy";
        let Ok(Packet::Publish(publish)) = split(publish).unwrap().unwrap().decode(Version::V5) else { panic!("one") };
        assert_eq!((publish.properties.topic_alias(), publish.payload), (Some(5), &b"xy"[..]));
    }

    #[test]
    fn what_a_server_may_not_send_is_malformed() {
        let v4: [&[u8]; 5] = [&[0x20, 1, 0], &[0x40, 3, 0, 1, 0], &[0x62, 2, 0, 1], &[0x32, 3, 0, 5, b't'], &[0xE0, 0]];
        for bytes in v4 {
            assert_eq!(split(bytes).unwrap().unwrap().decode(Version::V4), Err(Malformed), "{bytes:?}");
        }
        for bytes in [&[0x40, 5, 0, 1, 0, 1, 0x99][..], &[0x30, 4, 0, 1, b't', 1], &[0xD0, 1, 0]] {
            assert_eq!(split(bytes).unwrap().unwrap().decode(Version::V5), Err(Malformed), "{bytes:?}");
        }
        assert_eq!(split(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF]), Err(Malformed));
    }
}
