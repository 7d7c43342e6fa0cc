//! MQTT as the simulator's clients speak it, 3.1.1 and 5, by the codec of the tests.

use bytes::{Buf as _, Bytes, BytesMut};
use godwit_test_mqtt::decode::{Undecoded, split};
use godwit_test_mqtt::{Decoder, Malformed, Version, encode, property};

pub(crate) use godwit_test_mqtt::Packet;

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

impl Connect<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let expiry_s: u32 = if self.lasting { u32::MAX } else { 0 };
        let mut properties = vec![property::SESSION_EXPIRY];
        properties.extend(expiry_s.to_be_bytes());
        properties.push(property::RECEIVE_MAXIMUM);
        properties.extend(self.receive_maximum.to_be_bytes());
        properties.push(property::TOPIC_ALIAS_MAXIMUM);
        properties.extend(self.aliases.to_be_bytes());
        let connect = encode::Connect {
            level: self.protocol,
            clean: self.clean,
            keep_alive_s: self.keep_alive_s,
            client_id: self.device,
            login: Some((self.user, self.password)),
            properties: &properties,
        };
        encode::bytes(|out| encode::connect(out, &connect))
    }
}

impl Publish {
    /// With QoS 1.
    pub(crate) fn encode(&self, protocol: u8, again: bool) -> Vec<u8> {
        let mut properties = vec![property::MESSAGE_EXPIRY];
        properties.extend(self.expires_in_s.to_be_bytes());
        let publish = encode::Publish {
            version: Version::of(protocol),
            flags: 2 | u8::from(again) << 3,
            topic: self.topic.as_bytes(),
            packet_id: self.packet_id,
            properties: if self.expires_in_s == 0 { &[] } else { &properties },
        };
        encode::bytes(|out| encode::publish(out, &publish, &self.payload))
    }
}

/// A SUBSCRIBE with QoS 1.
pub(crate) fn subscribe(protocol: u8, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let filters = filters.iter().map(|filter| (*filter, 1));
    encode::bytes(|out| encode::subscribe(out, Version::of(protocol), packet_id, filters))
}

pub(crate) fn puback(packet_id: u16) -> Vec<u8> {
    encode::bytes(|out| encode::puback(out, packet_id))
}

pub(crate) fn pingreq() -> Vec<u8> {
    encode::bytes(encode::pingreq)
}

pub(crate) fn disconnect() -> Vec<u8> {
    encode::bytes(encode::disconnect)
}

/// Reads what the server sends.
pub(crate) struct Reader {
    decoder: Decoder,
    pub(crate) buffer: BytesMut,
}

impl Reader {
    pub(crate) fn new(protocol: u8) -> Self {
        Self { decoder: Decoder::new(Version::of(protocol)), buffer: BytesMut::new() }
    }

    /// The next packet, if all of it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, Malformed> {
        let Some(Undecoded { first, body, len }) = split(&self.buffer)? else { return Ok(None) };
        let body_len = body.len();
        self.buffer.advance(len - body_len);
        let body = self.buffer.split_to(body_len);
        self.decoder.decode(&Undecoded { first, body: &body, len }).map(Some)
    }
}
