//! PUBLISH, decoded and encoded (3.3 of both versions).

use bytes::{BufMut, Bytes, BytesMut};
use godwit_schemas::bus::Extras;
use godwit_schemas::client::{Properties, UserProperty};
use godwit_schemas::properties::{SENDER, SEQUENCE};
use godwit_schemas::reason::Reason;
use prost::Message as _;

use super::packet::RawPacket;
use super::properties::{
    CONTENT_TYPE, CORRELATION_DATA, MESSAGE_EXPIRY, PAYLOAD_FORMAT, RESPONSE_TOPIC, TOPIC_ALIAS, USER_PROPERTY,
};
use super::{PacketFields, Version, encode};

/// A PUBLISH from a client: the fields that Godwit uses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct InboundPublish {
    pub(crate) duplicate: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// UTF-8 without wildcards and NUL. Empty only together with an alias.
    pub(crate) topic: Bytes,
    /// 0 with QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) payload: Bytes,
    /// The Message Expiry Interval. 0: only devices that are connected now get the message (MQTT-3.3.2-5).
    pub(crate) expires_in_s: Option<u32>,
    pub(crate) alias: Option<u16>,
    /// The correlation data, and all properties for the receivers.
    pub(crate) extras: Option<Box<Extras>>,
}

/// Decodes a PUBLISH.
///
/// # Errors
/// The reason to close the connection with.
pub(crate) fn read(packet: RawPacket, version: Version) -> Result<InboundPublish, Reason> {
    let mut fields = PacketFields(packet.bytes.freeze());
    fields.take(packet.header_len)?;
    let topic = fields.string()?;
    if topic.iter().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(Reason::TOPIC_NAME_INVALID);
    }
    let qos = packet.flags >> 1 & 3;
    let packet_id = if qos > 0 { fields.packet_id()? } else { 0 };
    let duplicate = qos > 0 && packet.flags & 8 != 0;
    let mut publish =
        InboundPublish { duplicate, qos, retain: packet.flags & 1 != 0, topic, packet_id, ..InboundPublish::default() };
    if version == Version::V5 {
        let len = fields.varint()?;
        properties(PacketFields(fields.take(len)?), &mut publish)?;
    }
    if publish.topic.is_empty() && publish.alias.is_none() {
        return Err(if version == Version::V5 { Reason::PROTOCOL_ERROR } else { Reason::MALFORMED_PACKET });
    }
    publish.payload = fields.0;
    Ok(publish)
}

fn properties(mut fields: PacketFields, publish: &mut InboundPublish) -> Result<(), Reason> {
    let mut seen = 0_u64;
    // Encoded as it comes: decoded, it could take many times as much memory.
    let mut encoded = BytesMut::new();
    let mut correlation = Bytes::new();
    while !fields.0.is_empty() {
        let id = fields.u8()?;
        match id {
            PAYLOAD_FORMAT => {
                let format = fields.u8()?;
                if format > 1 {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                push_property(
                    &mut encoded,
                    Properties { payload_format: Some(format.into()), ..Properties::default() },
                );
            }
            MESSAGE_EXPIRY => publish.expires_in_s = Some(fields.u32()?),
            TOPIC_ALIAS => publish.alias = Some(fields.u16()?),
            CORRELATION_DATA => {
                correlation = fields.binary()?;
                let correlation_data = Some(correlation.clone());
                push_property(&mut encoded, Properties { correlation_data, ..Properties::default() });
            }
            CONTENT_TYPE => {
                push_property(&mut encoded, Properties { content_type: Some(fields.text()?), ..Properties::default() });
            }
            RESPONSE_TOPIC => {
                let topic = fields.text()?;
                // MQTT-3.3.2-14, and MQTT-4.7.3-1.
                if topic.is_empty() || topic.contains(['+', '#']) {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                push_property(&mut encoded, Properties { response_topic: Some(topic), ..Properties::default() });
            }
            USER_PROPERTY => {
                let user_properties = vec![UserProperty { name: fields.text()?, value: fields.text()? }];
                push_property(&mut encoded, Properties { user_properties, ..Properties::default() });
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
    publish.extras = Extras::of(correlation, encoded.freeze());
    Ok(())
}

/// Encoded messages one after the other are one message with the fields of all.
fn push_property(out: &mut BytesMut, property: Properties) {
    out.reserve(property.encoded_len());
    property.encode_raw(out);
}

/// A PUBLISH to a client. Everything after `payload` is for MQTT 5 only.
#[derive(Debug, Default)]
pub(crate) struct OutboundPublish<'a> {
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
    /// What its sender says beside the body.
    pub(crate) properties: Option<&'a Properties>,
}

impl OutboundPublish<'_> {
    /// Bytes of the whole packet.
    pub(crate) fn len(&self, version: Version) -> usize {
        let remaining = self.remaining_len(version);
        1 + encode::varint_len(remaining) + remaining
    }

    /// Appends the packet, QoS 1.
    pub(crate) fn write(&self, version: Version, out: &mut BytesMut) {
        let remaining = self.remaining_len(version);
        out.reserve(5 + remaining);
        out.put_u8(0x32 | u8::from(self.duplicate) << 3);
        encode::put_varint(out, remaining);
        encode::put_string(out, self.topic.as_bytes());
        out.put_u16(self.packet_id);
        if version == Version::V5 {
            encode::put_varint(out, self.properties_len());
            if let Some(alias) = self.alias {
                out.put_u8(TOPIC_ALIAS);
                out.put_u16(alias);
            }
            if let Some(seconds) = self.expires_in_s {
                out.put_u8(MESSAGE_EXPIRY);
                out.put_u32(seconds);
            }
            if !self.correlation.is_empty() {
                out.put_u8(CORRELATION_DATA);
                encode::put_string(out, self.correlation);
            }
            if let Some(properties) = self.properties {
                write_properties(properties, out);
            }
            if let Some((sender, sequence)) = self.from {
                encode::put_user_property(out, SENDER, sender.as_bytes());
                encode::put_user_property(out, SEQUENCE, encode::Decimal::of(sequence).as_bytes());
            }
        }
        out.put_slice(self.payload);
    }

    fn remaining_len(&self, version: Version) -> usize {
        let properties = match version {
            Version::V4 => 0,
            Version::V5 => {
                let len = self.properties_len();
                encode::varint_len(len) + len
            }
        };
        2 + self.topic.len() + 2 + properties + self.payload.len()
    }

    fn properties_len(&self) -> usize {
        let correlation = if self.correlation.is_empty() { 0 } else { 3 + self.correlation.len() };
        let from = self.from.map_or(0, |(sender, sequence)| {
            5 + SENDER.len() + sender.len() + 5 + SEQUENCE.len() + encode::Decimal::of(sequence).as_bytes().len()
        });
        let properties = self.properties.map_or(0, encoded_properties_len);
        self.alias.map_or(0, |_| 3) + self.expires_in_s.map_or(0, |_| 5) + correlation + properties + from
    }
}

fn encoded_properties_len(properties: &Properties) -> usize {
    let strings = properties.content_type.iter().chain(&properties.response_topic).map(|string| 3 + string.len());
    let users = properties.user_properties.iter().map(|user| 5 + user.name.len() + user.value.len());
    properties.payload_format.map_or(0, |_| 2)
        + properties.correlation_data.as_ref().map_or(0, |data| 3 + data.len())
        + strings.chain(users).sum::<usize>()
}

/// As the sender said them, user properties in their order (MQTT-3.3.2-18).
fn write_properties(properties: &Properties, out: &mut BytesMut) {
    if let Some(format) = properties.payload_format {
        out.put_slice(&[PAYLOAD_FORMAT, u8::from(format != 0)]);
    }
    let strings = [
        (CONTENT_TYPE, properties.content_type.as_ref().map(String::as_bytes)),
        (RESPONSE_TOPIC, properties.response_topic.as_ref().map(String::as_bytes)),
        (CORRELATION_DATA, properties.correlation_data.as_deref()),
    ];
    for (id, value) in strings {
        if let Some(value) = value {
            out.put_u8(id);
            encode::put_string(out, value);
        }
    }
    for user in &properties.user_properties {
        encode::put_user_property(out, &user.name, user.value.as_bytes());
    }
}

/// Appends a PUBLISH with QoS 0 and no properties.
pub(crate) fn write_qos_0(topic: &[u8], payload: &[u8], version: Version, out: &mut BytesMut) {
    let properties = usize::from(version == Version::V5);
    let remaining = 2 + topic.len() + properties + payload.len();
    out.reserve(5 + remaining);
    out.put_u8(0x30);
    encode::put_varint(out, remaining);
    encode::put_string(out, topic);
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
    use crate::mqtt::packet;

    fn read_back(bytes: &[u8], version: Version) -> Result<InboundPublish, Reason> {
        let packet = packet::split(&mut BytesMut::from(bytes), version, 100_000)?.expect("a whole packet");
        read(packet, version)
    }

    #[test]
    fn an_encoded_publish_is_decoded() {
        let from = Some(("alice", u64::MAX));
        let outgoing = OutboundPublish {
            duplicate: true,
            topic: "inbox/65",
            packet_id: 7,
            payload: &[9; 200],
            alias: Some(3),
            expires_in_s: Some(60),
            correlation: b"c",
            from,
            properties: None,
        };
        for version in [Version::V4, Version::V5] {
            let mut out = BytesMut::new();
            outgoing.write(version, &mut out);
            assert_eq!(out.len(), outgoing.len(version));
            let publish = read_back(&out, version).unwrap();
            assert_eq!((publish.duplicate, publish.qos, publish.packet_id), (true, 1, 7));
            assert_eq!((&publish.topic[..], publish.payload.len()), (&b"inbox/65"[..], 200));
            let v5 = version == Version::V5;
            assert_eq!((publish.alias, publish.expires_in_s), if v5 { (Some(3), Some(60)) } else { (None, None) });
        }
    }

    #[test]
    fn properties_for_receivers_survive_encoding() {
        let user = |name: &str, value: &str| UserProperty { name: name.to_owned(), value: value.to_owned() };
        let everything = Properties {
            payload_format: Some(1),
            content_type: Some("text/plain".to_owned()),
            response_topic: Some("send/65".to_owned()),
            correlation_data: Some(Bytes::from_static(&[0, 255])),
            user_properties: vec![user("b", "1"), user("", ""), user("a", "2"), user("b", "3")],
        };
        // What is there and empty, or zero, is not the same as what is not there.
        let nothing_in_it = Properties {
            payload_format: Some(0),
            content_type: Some(String::new()),
            correlation_data: Some(Bytes::new()),
            ..Properties::default()
        };
        for told in [everything, nothing_in_it, Properties::default()] {
            let outgoing = OutboundPublish {
                topic: "inbox/65",
                packet_id: 7,
                properties: Some(&told),
                ..OutboundPublish::default()
            };
            let mut out = BytesMut::new();
            outgoing.write(Version::V5, &mut out);
            assert_eq!(out.len(), outgoing.len(Version::V5));
            let publish = read_back(&out, Version::V5).unwrap();
            let extras = publish.extras.unwrap_or_default();
            assert_eq!(extras.properties.len(), told.encoded_len());
            assert_eq!(Properties::decode(extras.properties), Ok(told));
        }
    }

    #[test]
    fn a_publish_without_properties_stores_none() {
        let publish = read_back(&[0x30, 9, 0, 1, b'a', 5, 2, 0, 0, 0, 1], Version::V5).unwrap();
        assert_eq!((publish.expires_in_s, publish.extras), (Some(1), None));
    }

    #[test]
    fn malformed_publishes_are_refused() {
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
        check(&[0x30, 6, 0, 1, b'a', 2, 1, 2], Reason::PROTOCOL_ERROR);
        check(&[0x30, 8, 0, 1, b'a', 4, 8, 0, 1, b'+'], Reason::PROTOCOL_ERROR);
        check(&[0x30, 7, 0, 1, b'a', 3, 8, 0, 0], Reason::PROTOCOL_ERROR);
        check(&[0x30, 8, 0, 1, b'a', 4, 3, 0, 1, 0], Reason::MALFORMED_PACKET);
        check(&[0x30, 10, 0, 1, b'a', 6, 0x26, 0, 0, 0, 1, 0], Reason::MALFORMED_PACKET);
    }
}
