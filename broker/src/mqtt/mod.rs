//! The wire format of MQTT 3.1.1 and 5: bytes to packets, and packets to bytes. What packets do is decided elsewhere.
//!
//! It promises that no input makes it panic, hang, or buffer more than one packet.
//!
//! - [`packet`] splits a buffer into packets, and refuses packets that a client may not send.
//! - [`decode`] decodes the packets of clients, except PUBLISH and AUTH.
//! - [`publish`] decodes and encodes PUBLISH; [`auth`] decodes and encodes AUTH.
//! - [`properties`] reads the properties of MQTT 5.
//! - [`connack`] encodes CONNACK; [`encode`] encodes the short packets of the server.

pub(crate) mod auth;
pub(crate) mod connack;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod packet;
pub(crate) mod properties;
pub(crate) mod publish;

use bytes::{Buf, Bytes};
use godwit_schemas::reason::Reason;

/// A client's version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V4,
    /// MQTT 5.0, protocol level 5.
    V5,
}

/// Reads the fields of one packet. It never reads beyond the packet's end.
pub(crate) struct PacketFields(pub(crate) Bytes);

impl PacketFields {
    pub(crate) fn u8(&mut self) -> Result<u8, Reason> {
        self.0.try_get_u8().map_err(|_| Reason::MALFORMED_PACKET)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Reason> {
        self.0.try_get_u16().map_err(|_| Reason::MALFORMED_PACKET)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Reason> {
        self.0.try_get_u32().map_err(|_| Reason::MALFORMED_PACKET)
    }

    /// A packet identifier: never zero (MQTT-2.2.1-3).
    pub(crate) fn packet_id(&mut self) -> Result<u16, Reason> {
        self.u16().and_then(|id| if id == 0 { Err(Reason::MALFORMED_PACKET) } else { Ok(id) })
    }

    /// Binary data: a length of two bytes and that many bytes.
    pub(crate) fn binary(&mut self) -> Result<Bytes, Reason> {
        let len = usize::from(self.u16()?);
        self.take(len)
    }

    /// A string: UTF-8 without U+0000 (MQTT-1.5.4-2).
    pub(crate) fn string(&mut self) -> Result<Bytes, Reason> {
        let bytes = self.binary()?;
        if is_mqtt_string(&bytes) { Ok(bytes) } else { Err(Reason::MALFORMED_PACKET) }
    }

    /// A string, as `String`.
    pub(crate) fn text(&mut self) -> Result<String, Reason> {
        let bytes = self.string()?;
        String::from_utf8(bytes.into()).map_err(|_| Reason::MALFORMED_PACKET)
    }

    /// A variable byte integer of at most four bytes.
    pub(crate) fn varint(&mut self) -> Result<usize, Reason> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Reason::MALFORMED_PACKET)
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<Bytes, Reason> {
        if len > self.0.len() { Err(Reason::MALFORMED_PACKET) } else { Ok(self.0.split_to(len)) }
    }
}

fn is_mqtt_string(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() && !bytes.contains(&0)
}
