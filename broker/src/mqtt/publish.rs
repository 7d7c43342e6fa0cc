//! PUBLISH both ways.

use bytes::{BufMut, Bytes, BytesMut};
use godwit_schemas::reason::Reason;

use super::frame::Frame;
use super::{Fields, Version, answer};

const PAYLOAD_FORMAT: u8 = 0x01;
const EXPIRY: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION: u8 = 0x09;
const TOPIC_ALIAS: u8 = 0x23;
pub(super) const USER_PROPERTY: u8 = 0x26;

/// A PUBLISH from a client, as far as Godwit cares.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Incoming {
    pub(crate) duplicate: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// UTF-8, no wildcard, no NUL; empty only together with an alias.
    pub(crate) topic: Bytes,
    /// 0 with QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) payload: Bytes,
    /// 0: none.
    pub(crate) expires_in_s: u32,
    pub(crate) alias: Option<u16>,
    pub(crate) correlation: Bytes,
}

/// Reads a PUBLISH.
///
/// # Errors
/// The reason to close the connection with.
pub(crate) fn read(frame: Frame, version: Version) -> Result<Incoming, Reason> {
    let mut fields = Fields(frame.bytes.freeze());
    fields.take(frame.header_len)?;
    let topic = fields.string()?;
    if topic.iter().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(Reason::TOPIC_NAME_INVALID);
    }
    let qos = frame.flags >> 1 & 3;
    let packet_id = if qos > 0 { fields.packet_id()? } else { 0 };
    let duplicate = qos > 0 && frame.flags & 8 != 0;
    let mut publish =
        Incoming { duplicate, qos, retain: frame.flags & 1 != 0, topic, packet_id, ..Incoming::default() };
    if version == Version::V5 {
        let len = fields.varint()?;
        properties(Fields(fields.take(len)?), &mut publish)?;
    }
    if publish.topic.is_empty() && publish.alias.is_none() {
        return Err(if version == Version::V5 { Reason::PROTOCOL_ERROR } else { Reason::MALFORMED_PACKET });
    }
    publish.payload = fields.0;
    Ok(publish)
}

fn properties(mut fields: Fields, publish: &mut Incoming) -> Result<(), Reason> {
    let mut seen = 0_u64;
    while !fields.0.is_empty() {
        let id = fields.u8()?;
        match id {
            PAYLOAD_FORMAT => {
                if fields.u8()? > 1 {
                    return Err(Reason::PROTOCOL_ERROR);
                }
            }
            EXPIRY => publish.expires_in_s = fields.u32()?,
            TOPIC_ALIAS => publish.alias = Some(fields.u16()?),
            CORRELATION => publish.correlation = fields.binary()?,
            CONTENT_TYPE | RESPONSE_TOPIC => drop(fields.string()?),
            USER_PROPERTY => {
                fields.string()?;
                fields.string()?;
                continue;
            }
            // A subscription identifier is the server's to send (MQTT-3.3.4-6).
            0x0B => return Err(Reason::PROTOCOL_ERROR),
            _ => return Err(Reason::MALFORMED_PACKET),
        }
        if seen & 1 << id != 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        seen |= 1 << id;
    }
    Ok(())
}

/// Most bytes that a PUBLISH of ours has besides payload and correlation data.
pub(crate) const OVERHEAD_MAX: usize = 5 + 2 + "inbox/".len() + 20 + 2 + 2 + 5 + 3 + FROM_MAX + SEQ_MAX;
const FROM_MAX: usize = 5 + "from".len() + godwit_schemas::ids::NAME_BYTES_MAX;
const SEQ_MAX: usize = 5 + "seq".len() + 20;

/// A PUBLISH to a client. Everything after `payload` is for MQTT 5 only.
#[derive(Debug, Default)]
pub(crate) struct Outgoing<'a> {
    pub(crate) duplicate: bool,
    /// Left out when the alias says it.
    pub(crate) topic: &'a str,
    pub(crate) packet_id: u16,
    pub(crate) payload: &'a [u8],
    pub(crate) alias: Option<u16>,
    pub(crate) expires_in_s: Option<u32>,
    pub(crate) correlation: &'a [u8],
    /// User properties of a raw body: sender and place in the conversation.
    pub(crate) from: Option<(&'a str, u64)>,
}

impl Outgoing<'_> {
    /// Bytes of the whole packet.
    pub(crate) fn len(&self, version: Version) -> usize {
        let remaining = self.remaining_len(version);
        1 + answer::varint_len(remaining) + remaining
    }

    /// Appends the packet, QoS 1.
    pub(crate) fn write(&self, version: Version, out: &mut BytesMut) {
        let remaining = self.remaining_len(version);
        out.reserve(5 + remaining);
        out.put_u8(0x32 | u8::from(self.duplicate) << 3);
        answer::put_varint(out, remaining);
        answer::put_string(out, self.topic.as_bytes());
        out.put_u16(self.packet_id);
        if version == Version::V5 {
            answer::put_varint(out, self.properties_len());
            if let Some(alias) = self.alias {
                out.put_u8(TOPIC_ALIAS);
                out.put_u16(alias);
            }
            if let Some(seconds) = self.expires_in_s {
                out.put_u8(EXPIRY);
                out.put_u32(seconds);
            }
            if !self.correlation.is_empty() {
                out.put_u8(CORRELATION);
                answer::put_string(out, self.correlation);
            }
            if let Some((sender, sequence)) = self.from {
                answer::put_user_property(out, "from", sender.as_bytes());
                answer::put_user_property(out, "seq", answer::Decimal::of(sequence).as_bytes());
            }
        }
        out.put_slice(self.payload);
    }

    fn remaining_len(&self, version: Version) -> usize {
        let properties = match version {
            Version::V4 => 0,
            Version::V5 => {
                let len = self.properties_len();
                answer::varint_len(len) + len
            }
        };
        2 + self.topic.len() + 2 + properties + self.payload.len()
    }

    fn properties_len(&self) -> usize {
        let correlation = if self.correlation.is_empty() { 0 } else { 3 + self.correlation.len() };
        let from = self.from.map_or(0, |(sender, sequence)| {
            5 + "from".len() + sender.len() + 5 + "seq".len() + answer::Decimal::of(sequence).as_bytes().len()
        });
        self.alias.map_or(0, |_| 3) + self.expires_in_s.map_or(0, |_| 5) + correlation + from
    }
}

/// Appends a PUBLISH with QoS 0 and no properties.
pub(crate) fn write_qos_0(topic: &[u8], payload: &[u8], version: Version, out: &mut BytesMut) {
    let properties = usize::from(version == Version::V5);
    let remaining = 2 + topic.len() + properties + payload.len();
    out.reserve(5 + remaining);
    out.put_u8(0x30);
    answer::put_varint(out, remaining);
    answer::put_string(out, topic);
    out.put_bytes(0, properties);
    out.put_slice(payload);
}

/// Most bytes of such a packet.
pub(crate) fn len_qos_0(topic: &str, payload: &[u8], version: Version) -> usize {
    5 + 2 + topic.len() + usize::from(version == Version::V5) + payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::frame;

    fn read_back(bytes: &[u8], version: Version) -> Result<Incoming, Reason> {
        let frame = frame::split(&mut BytesMut::from(bytes), version, 100_000)?.expect("a whole packet");
        read(frame, version)
    }

    #[test]
    fn what_is_written_is_read() {
        let from = Some(("alice", u64::MAX));
        let outgoing = Outgoing {
            duplicate: true,
            topic: "inbox/65",
            packet_id: 7,
            payload: &[9; 200],
            alias: Some(3),
            expires_in_s: Some(60),
            correlation: b"c",
            from,
        };
        for version in [Version::V4, Version::V5] {
            let mut out = BytesMut::new();
            outgoing.write(version, &mut out);
            assert_eq!(out.len(), outgoing.len(version));
            let publish = read_back(&out, version).unwrap();
            assert_eq!((publish.duplicate, publish.qos, publish.packet_id), (true, 1, 7));
            assert_eq!((&publish.topic[..], publish.payload.len()), (&b"inbox/65"[..], 200));
            let v5 = version == Version::V5;
            assert_eq!((publish.alias, publish.expires_in_s), if v5 { (Some(3), 60) } else { (None, 0) });
        }
    }

    #[test]
    fn the_largest_header_fits_its_bound() {
        let name = "n".repeat(64);
        let topic = format!("inbox/{}", u64::MAX);
        let from = Some((name.as_str(), u64::MAX));
        let largest = Outgoing { topic: &topic, alias: Some(1), expires_in_s: Some(1), from, ..Outgoing::default() };
        assert!(largest.len(Version::V5) <= OVERHEAD_MAX);
    }

    #[test]
    fn malformed() {
        let check = |bytes: &[u8], reason| assert_eq!(read_back(bytes, Version::V5), Err(reason), "{bytes:?}");
        check(&[0x30, 1, 0], Reason::MALFORMED_PACKET);
        check(&[0x30, 3, 0, 9, b'a'], Reason::MALFORMED_PACKET);
        check(&[0x30, 4, 0, 1, b'#', 0], Reason::TOPIC_NAME_INVALID);
        check(&[0x30, 4, 0, 1, 0xFF, 0], Reason::MALFORMED_PACKET);
        check(&[0x30, 4, 0, 1, 0, 0], Reason::MALFORMED_PACKET);
        check(&[0x30, 3, 0, 0, 0], Reason::PROTOCOL_ERROR);
        check(&[0x32, 6, 0, 1, b'a', 0, 0, 0], Reason::MALFORMED_PACKET);
        check(&[0x30, 5, 0, 1, b'a', 9, 1], Reason::MALFORMED_PACKET);
        check(&[0x30, 6, 0, 1, b'a', 2, 0x0B, 1], Reason::PROTOCOL_ERROR);
        check(&[0x30, 8, 0, 1, b'a', 4, 1, 0, 1, 0], Reason::PROTOCOL_ERROR);
    }
}
