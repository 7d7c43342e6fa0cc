//! The short packets that the server sends, and the pieces they are made of.

use bytes::{BufMut, BytesMut};
use godwit_schemas::reason::Reason;

use super::Version;
use super::publish::USER_PROPERTY;

const REASON_STRING: u8 = 0x1F;

/// What is said besides "done" in a PUBACK or PUBREC.
#[derive(Debug, Default)]
pub(crate) struct Details<'a> {
    /// English, for a refusal.
    pub(crate) text: &'a str,
    /// Conversation and sequence of a stored message.
    pub(crate) at: Option<(u64, u64)>,
}

/// Appends the answer to a PUBLISH: PUBREC to QoS 2, PUBACK otherwise. Details are left out where they would make
/// the packet larger than `bytes_max` (MQTT-3.4.2-2, -3).
pub(crate) fn published(
    out: &mut BytesMut,
    version: Version,
    packet_id: u16,
    qos: u8,
    reason: Reason,
    details: &Details<'_>,
    bytes_max: usize,
) {
    out.put_u8(if qos == 2 { 0x50 } else { 0x40 });
    let reason = puback_reason(reason);
    if version == Version::V4 || (reason == Reason::SUCCESS && details.at.is_none()) {
        out.put_u8(2);
        out.put_u16(packet_id);
        return;
    }
    let text_len = if details.text.is_empty() { 0 } else { 3 + details.text.len() };
    let place = details.at.map(Place::of);
    let properties = text_len + place.as_ref().map_or(0, |place| 5 + "at".len() + place.as_bytes().len());
    let remaining = 3 + varint_len(properties) + properties;
    if properties == 0 || 1 + varint_len(remaining) + remaining > bytes_max {
        out.put_u8(if reason == Reason::SUCCESS { 2 } else { 3 });
        out.put_u16(packet_id);
        if reason != Reason::SUCCESS {
            out.put_u8(reason.get());
        }
        return;
    }
    put_varint(out, remaining);
    out.put_u16(packet_id);
    out.put_u8(reason.get());
    put_varint(out, properties);
    if text_len > 0 {
        out.put_u8(REASON_STRING);
        put_string(out, details.text.as_bytes());
    }
    if let Some(place) = place {
        put_user_property(out, "at", place.as_bytes());
    }
}

/// PUBACK and PUBREC know few codes (MQTT 5, table 3-4); others become the nearest.
fn puback_reason(reason: Reason) -> Reason {
    match reason.get() {
        0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99 => reason,
        0x95 => Reason::QUOTA_EXCEEDED,
        _ => Reason::UNSPECIFIED,
    }
}

/// Appends PUBCOMP.
pub(crate) fn pubcomp(out: &mut BytesMut, packet_id: u16) {
    out.put_slice(&[0x70, 2]);
    out.put_u16(packet_id);
}

/// Appends PINGRESP.
pub(crate) fn pingresp(out: &mut BytesMut) {
    out.put_slice(&[0xD0, 0]);
}

/// Appends the server's DISCONNECT; MQTT 5 only. `text` is English and under 120 bytes; it is left out where it would make
/// the packet larger than `bytes_max` (MQTT-3.14.2-3).
pub(crate) fn disconnect(out: &mut BytesMut, reason: Reason, text: &str, bytes_max: usize) {
    let properties = 3 + text.len();
    if text.is_empty() || 4 + properties > bytes_max {
        return out.put_slice(&[0xE0, 1, reason.get()]);
    }
    out.put_u8(0xE0);
    put_varint(out, 2 + properties);
    out.put_u8(reason.get());
    put_varint(out, properties);
    out.put_u8(REASON_STRING);
    put_string(out, text.as_bytes());
}

/// SUBACK with a code for each filter.
pub(crate) fn suback(version: Version, packet_id: u16, codes: &[u8]) -> Vec<u8> {
    acknowledgement(0x90, version, packet_id, codes)
}

/// UNSUBACK; MQTT 5 has a code for each filter.
pub(crate) fn unsuback(version: Version, packet_id: u16, codes: &[u8]) -> Vec<u8> {
    acknowledgement(0xB0, version, packet_id, if version == Version::V5 { codes } else { &[] })
}

fn acknowledgement(first: u8, version: Version, packet_id: u16, codes: &[u8]) -> Vec<u8> {
    let no_properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let mut packet = BytesMut::with_capacity(8 + codes.len());
    packet.put_u8(first);
    put_varint(&mut packet, 2 + no_properties.len() + codes.len());
    packet.put_u16(packet_id);
    packet.put_slice(no_properties);
    packet.put_slice(codes);
    packet.into()
}

/// Bytes that a variable byte integer takes.
pub(super) fn varint_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

pub(super) fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value > 0x7F {
        out.put_u8(0x80 | (value & 0x7F) as u8);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// A string or binary data, cut at the 65,535 bytes that there is room for.
pub(super) fn put_string(out: &mut BytesMut, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16(len);
    out.put_slice(&bytes[..usize::from(len)]);
}

pub(super) fn put_user_property(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.put_u8(USER_PROPERTY);
    put_string(out, name.as_bytes());
    put_string(out, value);
}

/// A number in decimal digits, without an allocation.
pub(super) struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(super) fn of(mut number: u64) -> Self {
        let mut it = Self { digits: [b'0'; 20], start: 20 };
        loop {
            it.start -= 1;
            it.digits[it.start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return it;
            }
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// `<conversation>/<sequence>`
struct Place {
    text: [u8; 41],
    len: usize,
}

impl Place {
    fn of((conversation, sequence): (u64, u64)) -> Self {
        let mut it = Self { text: [0; 41], len: 0 };
        for part in [Decimal::of(conversation).as_bytes(), b"/", Decimal::of(sequence).as_bytes()] {
            it.text[it.len..it.len + part.len()].copy_from_slice(part);
            it.len += part.len();
        }
        it
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(version: Version, qos: u8, reason: Reason, details: &Details<'_>, bytes_max: usize) -> Vec<u8> {
        let mut out = BytesMut::new();
        published(&mut out, version, 0x0102, qos, reason, details, bytes_max);
        out.into()
    }

    #[test]
    fn answers_to_a_publish_are_as_short_as_they_can_be() {
        let at = Details { text: "", at: Some((65, 12)) };
        assert_eq!(answered(Version::V4, 1, Reason::NOT_AUTHORIZED, &at, 100), [0x40, 2, 1, 2]);
        assert_eq!(answered(Version::V5, 2, Reason::SUCCESS, &Details::default(), 100), [0x50, 2, 1, 2]);
        let long = [&[0x40, 16, 1, 2, 0, 12, 0x26, 0, 2][..], b"at", &[0, 5], b"65/12"].concat();
        assert_eq!(answered(Version::V5, 1, Reason::SUCCESS, &at, 18), long);
        assert_eq!(answered(Version::V5, 1, Reason::SUCCESS, &at, 17), [0x40, 2, 1, 2]);
        let text = Details { text: "no", at: None };
        let refused = [&[0x40, 9, 1, 2, 0x97, 5, 0x1F, 0, 2][..], b"no"].concat();
        assert_eq!(answered(Version::V5, 1, Reason::PACKET_TOO_LARGE, &text, 100), refused);
        assert_eq!(answered(Version::V5, 1, Reason::NOT_AUTHORIZED, &text, 6), [0x40, 3, 1, 2, 0x87]);
    }

    #[test]
    fn a_goodbye_has_its_reason_in_words_where_there_is_room() {
        let said = |text, bytes_max| {
            let mut out = BytesMut::new();
            disconnect(&mut out, Reason::MESSAGE_RATE_TOO_HIGH, text, bytes_max);
            out.to_vec()
        };
        assert_eq!(said("no", 9), [&[0xE0, 7, 0x96, 5, 0x1F, 0, 2][..], b"no"].concat());
        assert_eq!(said("no", 8), [0xE0, 1, 0x96]);
        assert_eq!(said("", 100), [0xE0, 1, 0x96]);
    }

    #[test]
    fn decimals() {
        for number in [0, 9, 10, 65, u64::MAX] {
            assert_eq!(Decimal::of(number).as_bytes(), number.to_string().as_bytes());
        }
    }
}
