//! MQTT on the wire: what bytes mean, and nothing about what to do with them. Keeps the promise that no input can
//! panic, hang or make the server buffer more than one packet.
//!
//! - [`frame`]: where a packet ends; refuses what a client may not send before anything else looks at it.
//! - [`codec`]: the packets that rumqttd's codecs read and write.
//! - [`publish`]: PUBLISH both ways, by our own hand: rumqttd hides its QoS and packet identifier, and allocates for
//!   every property.
//! - [`auth`]: AUTH both ways, which rumqttd has not.
//! - [`answer`]: the short packets that the server sends.

pub(crate) mod answer;
pub(crate) mod auth;
pub(crate) mod codec;
pub(crate) mod frame;
pub(crate) mod publish;

use bytes::{Buf, Bytes};
use godwit_schemas::reason::Reason;

/// Which MQTT a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// 3.1.1
    V4,
    /// 5.0
    V5,
}

/// Reads the fields of one packet, whose end it never passes.
pub(crate) struct Fields(pub(crate) Bytes);

impl Fields {
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
