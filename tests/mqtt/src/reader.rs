//! Packets as owned values, with topic aliases resolved and with what Godwit says in user properties.

use std::collections::BTreeMap;

use crate::Version;
use crate::decode::{self, Malformed, Properties, Undecoded, split};

/// A packet from the server. Reason codes are 0 where the version has none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum Packet {
    Connack {
        session_present: bool,
        reason: u8,
    },
    Publish(Message),
    Puback {
        packet_id: u16,
        reason: u8,
        /// Conversation and sequence of the stored message.
        at: Option<(u64, u64)>,
        /// The publish was taken for a repetition: the last sequence number that was accepted before.
        repeated: Option<u64>,
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
    Auth {
        reason: u8,
    },
}

/// A PUBLISH from the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub struct Message {
    pub duplicate: bool,
    pub qos: u8,
    pub topic: String,
    /// 0 with QoS 0.
    pub packet_id: u16,
    pub payload: Vec<u8>,
    /// Sender of a raw body, in MQTT 5; empty otherwise.
    pub from: String,
    /// Sequence of a raw body in its conversation, in MQTT 5; 0 otherwise.
    pub seq: u64,
}

impl Message {
    /// Number of the conversation, from the topic of a raw body.
    ///
    /// # Panics
    /// It is no raw body.
    #[expect(clippy::expect_used, reason = "a caller in a test has to know")]
    pub fn conversation(&self) -> u64 {
        self.topic.strip_prefix("inbox/").expect("a raw body").parse().expect("a number")
    }
}

/// Decodes the packets of one connection in their order: later ones may use topic aliases that earlier ones define.
#[derive(Debug)]
pub struct Decoder {
    version: Version,
    aliases: BTreeMap<u16, String>,
}

impl Decoder {
    /// A decoder of one connection.
    pub fn new(version: Version) -> Self {
        Self { version, aliases: BTreeMap::new() }
    }

    /// Decodes the next packet.
    ///
    /// # Errors
    /// A server may not send it.
    pub fn decode(&mut self, undecoded: &Undecoded<'_>) -> Result<Packet, Malformed> {
        owned(undecoded.decode(self.version)?, &mut self.aliases).ok_or(Malformed)
    }
}

/// Reads packets from bytes as they come.
#[derive(Debug)]
pub struct Reader {
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Reader {
    /// A reader of one connection.
    pub fn new(version: Version) -> Self {
        Self { decoder: Decoder::new(version), buffer: Vec::new() }
    }

    /// Where bytes from the server are appended.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Nothing of a next packet has come.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next packet, if all of it has come.
    ///
    /// # Errors
    /// A server may not send it.
    pub fn read(&mut self) -> Result<Option<Packet>, Malformed> {
        let Some(undecoded) = split(&self.buffer)? else { return Ok(None) };
        let (packet, len) = (self.decoder.decode(&undecoded)?, undecoded.len);
        self.buffer.drain(..len);
        Ok(Some(packet))
    }
}

fn owned(packet: decode::Packet<'_>, aliases: &mut BTreeMap<u16, String>) -> Option<Packet> {
    Some(match packet {
        decode::Packet::Connack { session_present, reason, .. } => Packet::Connack { session_present, reason },
        decode::Packet::Publish(publish) => Packet::Publish(message(&publish, aliases)?),
        decode::Packet::Puback(ack) => Packet::Puback {
            packet_id: ack.packet_id,
            reason: ack.reason,
            at: stored_at(&ack.properties),
            repeated: ack.properties.user("repeated").and_then(|last| last.parse().ok()),
        },
        decode::Packet::Pubrec(ack) => Packet::Pubrec { packet_id: ack.packet_id, reason: ack.reason },
        decode::Packet::Pubcomp(ack) => Packet::Pubcomp { packet_id: ack.packet_id },
        decode::Packet::Suback { packet_id, codes, .. } => Packet::Suback { packet_id, codes: codes.to_vec() },
        decode::Packet::Unsuback { packet_id, .. } => Packet::Unsuback { packet_id },
        decode::Packet::Pingresp => Packet::Pingresp,
        decode::Packet::Disconnect { reason, .. } => Packet::Disconnect { reason },
        decode::Packet::Auth { reason, .. } => Packet::Auth { reason },
    })
}

fn message(publish: &decode::Publish<'_>, aliases: &mut BTreeMap<u16, String>) -> Option<Message> {
    let mut topic = std::str::from_utf8(publish.topic).ok()?.to_owned();
    match publish.properties.topic_alias() {
        Some(alias) if topic.is_empty() => topic = aliases.get(&alias)?.clone(),
        Some(alias) => _ = aliases.insert(alias, topic.clone()),
        None => {}
    }
    Some(Message {
        duplicate: publish.duplicate,
        qos: publish.qos,
        topic,
        packet_id: publish.packet_id.unwrap_or(0),
        payload: publish.payload.to_vec(),
        from: publish.properties.user("from").unwrap_or_default().to_owned(),
        seq: publish.properties.user("seq").and_then(|seq| seq.parse().ok()).unwrap_or(0),
    })
}

/// `<conversation>/<sequence>`
fn stored_at(properties: &Properties<'_>) -> Option<(u64, u64)> {
    let (conversation, sequence) = properties.user("at")?.split_once('/')?;
    Some((conversation.parse().ok()?, sequence.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_stands_for_its_topic() {
        let mut reader = Reader::new(Version::V5);
        reader.buffer().extend_from_slice(b"\x32\x09\0\x01t\0\x07\x03\x23\0\x01\x32\x08\0\0\0\x08\x03\x23\0\x01");
        for packet_id in [7, 8] {
            let Ok(Some(Packet::Publish(message))) = reader.read() else { panic!("a PUBLISH") };
            assert_eq!((message.topic.as_str(), message.packet_id), ("t", packet_id));
        }
        assert_eq!((reader.read(), reader.is_empty()), (Ok(None), true));
        reader.buffer().extend_from_slice(b"\x32\x08\0\0\0\x09\x03\x23\0\x02");
        assert_eq!(reader.read(), Err(Malformed), "it was never defined");
    }
}
