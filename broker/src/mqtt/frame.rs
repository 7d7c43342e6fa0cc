//! Where one packet ends and the next begins.
//!
//! Looks at the fixed header as soon as it is there, so that a packet which is too large or which no client may send
//! is refused before its body arrives. rumqttd's decoders panic on some of those: they never see them.

use bytes::BytesMut;
use godwit_schemas::reason::Reason;

use super::Version;

/// Types of the packets that a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
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

/// A whole packet.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    /// Low half of the first byte.
    pub(crate) flags: u8,
    /// Bytes of the fixed header.
    pub(crate) header_len: usize,
    /// Fixed header and body.
    pub(crate) bytes: BytesMut,
}

/// Takes the next packet off `buffer`, if all of it is there. `bytes_max` is the limit for a whole packet.
///
/// # Errors
/// 0x95 for a packet over the limit, 0x81 or 0x82 for one that is wrong already in its fixed header.
pub(crate) fn split(buffer: &mut BytesMut, version: Version, bytes_max: usize) -> Result<Option<Frame>, Reason> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    let (kind, flags) = (kind(first, version)?, first & 0x0F);
    let Some((remaining, len_bytes)) = remaining_length(&buffer[1..])? else { return Ok(None) };
    let header_len = 1 + len_bytes;
    let len = header_len + remaining;
    if len > bytes_max {
        return Err(Reason::PACKET_TOO_LARGE);
    }
    if remaining == 0 && !matches!(kind, Kind::Pingreq | Kind::Disconnect | Kind::Auth)
        || remaining > 0 && kind == Kind::Pingreq
    {
        return Err(Reason::MALFORMED_PACKET);
    }
    if buffer.len() < len {
        return Ok(None);
    }
    Ok(Some(Frame { kind, flags, header_len, bytes: buffer.split_to(len) }))
}

/// Type and flags of the first byte (MQTT-2.1.3-1: reserved flags are as the standard says).
fn kind(first: u8, version: Version) -> Result<Kind, Reason> {
    let kind = match first {
        0x10 => Kind::Connect,
        // QoS 3 does not exist (MQTT-3.3.1-4).
        0x36 | 0x37 | 0x3E | 0x3F => return Err(Reason::MALFORMED_PACKET),
        0x30..=0x3F => Kind::Publish,
        0x40 => Kind::Puback,
        0x50 => Kind::Pubrec,
        0x62 => Kind::Pubrel,
        0x70 => Kind::Pubcomp,
        0x82 => Kind::Subscribe,
        0xA2 => Kind::Unsubscribe,
        0xC0 => Kind::Pingreq,
        0xE0 => Kind::Disconnect,
        0xF0 if version == Version::V5 => Kind::Auth,
        // CONNACK, SUBACK, UNSUBACK, PINGRESP are the server's.
        0x20 | 0x90 | 0xB0 | 0xD0 if version == Version::V5 => return Err(Reason::PROTOCOL_ERROR),
        _ => return Err(Reason::MALFORMED_PACKET),
    };
    Ok(kind)
}

/// The remaining length and how many bytes it takes, or `None` if it is not all there.
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

    fn split_v5(bytes: &[u8]) -> Result<Option<Frame>, Reason> {
        split(&mut BytesMut::from(bytes), Version::V5, 1_000)
    }

    #[test]
    fn waits_for_the_whole_packet() {
        let packet = [0x30, 3, 0, 1, b'a'];
        for len in 0..packet.len() {
            assert!(split_v5(&packet[..len]).unwrap().is_none(), "{len}");
        }
        let frame = split_v5(&packet).unwrap().unwrap();
        assert_eq!((frame.kind, frame.flags, frame.header_len, frame.bytes.len()), (Kind::Publish, 0, 2, 5));
    }

    #[test]
    fn refuses_from_the_fixed_header_alone() {
        assert_eq!(split_v5(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).unwrap_err(), Reason::PACKET_TOO_LARGE);
        assert_eq!(split_v5(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF]).unwrap_err(), Reason::MALFORMED_PACKET);
        assert_eq!(split_v5(&[0x30, 0xE7, 0x07]).unwrap_err(), Reason::PACKET_TOO_LARGE);
        for server_only in [0x20, 0x90, 0xB0, 0xD0] {
            assert_eq!(split_v5(&[server_only]).unwrap_err(), Reason::PROTOCOL_ERROR);
        }
        for malformed in [0x00, 0x11, 0x36, 0x3E, 0x41, 0x60, 0x63, 0x80, 0xA0, 0xC1, 0xE1] {
            assert_eq!(split_v5(&[malformed]).unwrap_err(), Reason::MALFORMED_PACKET, "{malformed:#x}");
        }
        for empty in [0x10, 0x30, 0x40, 0x62, 0x82, 0xA2] {
            assert_eq!(split_v5(&[empty, 0]).unwrap_err(), Reason::MALFORMED_PACKET, "{empty:#x}");
        }
        assert_eq!(split_v5(&[0xC0, 1, 0]).unwrap_err(), Reason::MALFORMED_PACKET);
    }
}
