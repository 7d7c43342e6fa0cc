//! Packet boundaries: splits a buffer into packets.
//!
//! The fixed header is checked as soon as it is there. So a packet that is too large, or that a client may not send, is refused before
//! its body arrives.

use bytes::BytesMut;
use godwit_schemas::reason::Reason;

use super::Version;

/// The packet types that a client may send (2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PacketType {
    Connect,
    Publish,
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
    Subscribe,
    Unsubscribe,
    Pingreq,
    Disconnect,
    /// MQTT 5 only.
    Auth,
}

/// A whole packet, not decoded.
#[derive(Debug)]
pub(crate) struct RawPacket {
    pub(crate) kind: PacketType,
    /// The low half of the first byte.
    pub(crate) flags: u8,
    /// Bytes of the fixed header.
    pub(crate) header_len: usize,
    /// Fixed header and body.
    pub(crate) bytes: BytesMut,
}

/// Takes the next packet off `buffer`; `None` if it is incomplete. `bytes_max` is the largest size of a packet.
///
/// # Errors
/// 0x95 for a packet over the limit, 0x81 or 0x82 for one that is wrong already in its fixed header.
pub(crate) fn split(buffer: &mut BytesMut, version: Version, bytes_max: usize) -> Result<Option<RawPacket>, Reason> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    let (kind, flags) = (kind(first, version)?, first & 0x0F);
    let Some((remaining, len_bytes)) = remaining_length(&buffer[1..])? else { return Ok(None) };
    let header_len = 1 + len_bytes;
    let len = header_len + remaining;
    if len > bytes_max {
        return Err(Reason::PACKET_TOO_LARGE);
    }
    if remaining == 0 && !matches!(kind, PacketType::Pingreq | PacketType::Disconnect | PacketType::Auth)
        || remaining > 0 && kind == PacketType::Pingreq
    {
        return Err(Reason::MALFORMED_PACKET);
    }
    if buffer.len() < len {
        return Ok(None);
    }
    Ok(Some(RawPacket { kind, flags, header_len, bytes: buffer.split_to(len) }))
}

/// The packet type. Reserved flags must be as the standard says (MQTT-2.1.3-1).
fn kind(first: u8, version: Version) -> Result<PacketType, Reason> {
    let kind = match first {
        0x10 => PacketType::Connect,
        // QoS 3 does not exist (MQTT-3.3.1-4), and QoS 0 is never repeated (MQTT-3.3.1-2).
        0x36 | 0x37 | 0x3E | 0x3F | 0x38 | 0x39 => return Err(Reason::MALFORMED_PACKET),
        0x30..=0x3F => PacketType::Publish,
        0x40 => PacketType::Puback,
        0x50 => PacketType::Pubrec,
        0x62 => PacketType::Pubrel,
        0x70 => PacketType::Pubcomp,
        0x82 => PacketType::Subscribe,
        0xA2 => PacketType::Unsubscribe,
        0xC0 => PacketType::Pingreq,
        0xE0 => PacketType::Disconnect,
        0xF0 if version == Version::V5 => PacketType::Auth,
        // CONNACK, SUBACK, UNSUBACK, PINGRESP are the server's.
        0x20 | 0x90 | 0xB0 | 0xD0 if version == Version::V5 => return Err(Reason::PROTOCOL_ERROR),
        _ => return Err(Reason::MALFORMED_PACKET),
    };
    Ok(kind)
}

/// The remaining length, and the number of bytes that encode it; `None` if they are incomplete.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Reason> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Reason::MALFORMED_PACKET) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_v5(bytes: &[u8]) -> Result<Option<RawPacket>, Reason> {
        split(&mut BytesMut::from(bytes), Version::V5, 1_000)
    }

    #[test]
    fn an_incomplete_packet_is_not_split_off() {
        let packet = [0x30, 3, 0, 1, b'a'];
        for len in 0..packet.len() {
            assert!(split_v5(&packet[..len]).unwrap().is_none(), "{len}");
        }
        let packet = split_v5(&packet).unwrap().unwrap();
        assert_eq!((packet.kind, packet.flags, packet.header_len, packet.bytes.len()), (PacketType::Publish, 0, 2, 5));
    }

    #[test]
    fn a_bad_packet_is_refused_by_its_fixed_header() {
        assert_eq!(split_v5(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).unwrap_err(), Reason::PACKET_TOO_LARGE);
        assert_eq!(split_v5(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF]).unwrap_err(), Reason::MALFORMED_PACKET);
        assert_eq!(split_v5(&[0x30, 0xE7, 0x07]).unwrap_err(), Reason::PACKET_TOO_LARGE);
        for server_only in [0x20, 0x90, 0xB0, 0xD0] {
            assert_eq!(split_v5(&[server_only]).unwrap_err(), Reason::PROTOCOL_ERROR);
        }
        for malformed in [0x00, 0x11, 0x36, 0x38, 0x3E, 0x41, 0x60, 0x63, 0x80, 0xA0, 0xC1, 0xE1] {
            assert_eq!(split_v5(&[malformed]).unwrap_err(), Reason::MALFORMED_PACKET, "{malformed:#x}");
        }
        for empty in [0x10, 0x30, 0x40, 0x62, 0x82, 0xA2] {
            assert_eq!(split_v5(&[empty, 0]).unwrap_err(), Reason::MALFORMED_PACKET, "{empty:#x}");
        }
        assert_eq!(split_v5(&[0xC0, 1, 0]).unwrap_err(), Reason::MALFORMED_PACKET);
    }
}
