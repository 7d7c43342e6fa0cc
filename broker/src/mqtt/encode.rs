//! Encodes the short packets of the server, and the parts that all packets are made of.

use bytes::{BufMut, BytesMut};
use godwit_schemas::reason::Reason;

use super::Version;
use super::properties::{REASON_STRING, USER_PROPERTY};

/// What a PUBACK or PUBREC says besides its reason code.
#[derive(Debug, Default)]
pub(crate) struct AckDetails<'a> {
    /// The reason string of a refusal, in English; empty: none.
    pub(crate) text: &'a str,
    /// Conversation and sequence of the stored message.
    pub(crate) at: Option<(u64, u64)>,
    /// The publish was a repetition: the last sequence number that was accepted before.
    pub(crate) repeated: Option<u64>,
    /// Of a refusal: the epoch that the conversation's MLS group is in.
    pub(crate) mls_epoch: Option<u64>,
}

/// Appends the answer to a PUBLISH: PUBREC with QoS 2, PUBACK otherwise. Details are left out if they would make the packet larger than
/// `bytes_max` (MQTT-3.4.2-2, -3).
pub(crate) fn publish_answer(
    out: &mut BytesMut,
    version: Version,
    packet_id: u16,
    qos: u8,
    reason: Reason,
    details: &AckDetails<'_>,
    bytes_max: usize,
) {
    out.put_u8(if qos == 2 { 0x50 } else { 0x40 });
    let reason = puback_reason(reason);
    let says_nothing = details.at.is_none() && details.repeated.is_none();
    if version == Version::V4 || (reason == Reason::SUCCESS && says_nothing) {
        out.put_u8(2);
        out.put_u16(packet_id);
        return;
    }
    let text_len = if details.text.is_empty() { 0 } else { 3 + details.text.len() };
    let place = details.at.map(MessagePosition::of);
    let repeated = details.repeated.map(Decimal::of);
    let mls_epoch = details.mls_epoch.map(Decimal::of);
    let properties = text_len
        + place.as_ref().map_or(0, |place| 5 + "at".len() + place.as_bytes().len())
        + repeated.as_ref().map_or(0, |number| 5 + "repeated".len() + number.as_bytes().len())
        + mls_epoch.as_ref().map_or(0, |number| 5 + "mls-epoch".len() + number.as_bytes().len());
    let remaining = 3 + varint_len(properties) + properties;
    if properties == 0 || 1 + varint_len(remaining) + remaining > bytes_max {
        if reason == Reason::SUCCESS {
            out.put_u8(2);
            out.put_u16(packet_id);
        } else {
            // A length of no properties could be left out (MQTT 5, 3.4.2.2.1), and some decoders wait for it.
            out.put_u8(4);
            out.put_u16(packet_id);
            out.put_slice(&[reason.get(), 0]);
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
    if let Some(number) = repeated {
        put_user_property(out, "repeated", number.as_bytes());
    }
    if let Some(number) = mls_epoch {
        put_user_property(out, "mls-epoch", number.as_bytes());
    }
}

/// The reason as it may stand in a PUBACK or PUBREC (MQTT 5, table 3-4): others become the nearest one.
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

/// Appends the server's DISCONNECT, of MQTT 5. `text` is English. It is left out if it would make the packet larger than `bytes_max`
/// (MQTT-3.14.2-3).
pub(crate) fn disconnect(out: &mut BytesMut, reason: Reason, text: &str, bytes_max: usize) {
    let properties = 3 + text.len();
    if text.is_empty() || 4 + properties > bytes_max {
        // A length of no properties could be left out (MQTT 5, 3.14.2.2.1), and some decoders wait for it.
        return out.put_slice(&[0xE0, 2, reason.get(), 0]);
    }
    out.put_u8(0xE0);
    put_varint(out, 2 + properties);
    out.put_u8(reason.get());
    put_varint(out, properties);
    out.put_u8(REASON_STRING);
    put_string(out, text.as_bytes());
}

/// A SUBACK with a code for each filter. `text` is English, and for MQTT 5 only. It is left out if it would make the packet larger than
/// `bytes_max` (MQTT-3.9.2-1). `None`: the packet is larger without it, too.
pub(crate) fn suback(version: Version, packet_id: u16, codes: &[u8], text: &str, bytes_max: usize) -> Option<Vec<u8>> {
    let packet = acknowledgement(0x90, version, packet_id, codes, text);
    if packet.len() <= bytes_max {
        return Some(packet);
    }
    Some(acknowledgement(0x90, version, packet_id, codes, "")).filter(|packet| packet.len() <= bytes_max)
}

/// An UNSUBACK; in MQTT 5 with a code for each filter. `None`: it is larger than `bytes_max`.
pub(crate) fn unsuback(version: Version, packet_id: u16, codes: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let codes = if version == Version::V5 { codes } else { &[] };
    Some(acknowledgement(0xB0, version, packet_id, codes, "")).filter(|packet| packet.len() <= bytes_max)
}

fn acknowledgement(first: u8, version: Version, packet_id: u16, codes: &[u8], text: &str) -> Vec<u8> {
    let mut body = BytesMut::with_capacity(8 + text.len() + codes.len());
    body.put_u16(packet_id);
    if version == Version::V5 {
        put_varint(&mut body, if text.is_empty() { 0 } else { 3 + text.len() });
        if !text.is_empty() {
            body.put_u8(REASON_STRING);
            put_string(&mut body, text.as_bytes());
        }
    }
    body.put_slice(codes);
    let mut packet = BytesMut::with_capacity(5 + body.len());
    packet.put_u8(first);
    put_varint(&mut packet, body.len());
    packet.put_slice(&body);
    packet.into()
}

/// Size of a variable byte integer.
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

/// Appends a string or binary data, cut at 65,535 bytes.
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

/// A number in decimal digits, made without an allocation.
pub(super) struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(super) fn of(mut number: u64) -> Self {
        let mut decimal = Self { digits: [b'0'; 20], start: 20 };
        loop {
            decimal.start -= 1;
            decimal.digits[decimal.start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return decimal;
            }
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// The text `<conversation>/<sequence>`, made without an allocation.
struct MessagePosition {
    text: [u8; 41],
    len: usize,
}

impl MessagePosition {
    fn of((conversation, sequence): (u64, u64)) -> Self {
        let mut position = Self { text: [0; 41], len: 0 };
        for part in [Decimal::of(conversation).as_bytes(), b"/", Decimal::of(sequence).as_bytes()] {
            position.text[position.len..position.len + part.len()].copy_from_slice(part);
            position.len += part.len();
        }
        position
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(version: Version, qos: u8, reason: Reason, details: &AckDetails<'_>, bytes_max: usize) -> Vec<u8> {
        let mut out = BytesMut::new();
        publish_answer(&mut out, version, 0x0102, qos, reason, details, bytes_max);
        out.into()
    }

    #[test]
    fn answers_to_a_publish_leave_out_what_does_not_fit() {
        let at = AckDetails { at: Some((65, 12)), ..AckDetails::default() };
        assert_eq!(answered(Version::V4, 1, Reason::NOT_AUTHORIZED, &at, 100), [0x40, 2, 1, 2]);
        assert_eq!(answered(Version::V5, 2, Reason::SUCCESS, &AckDetails::default(), 100), [0x50, 2, 1, 2]);
        let long = [&[0x40, 16, 1, 2, 0, 12, 0x26, 0, 2][..], b"at", &[0, 5], b"65/12"].concat();
        assert_eq!(answered(Version::V5, 1, Reason::SUCCESS, &at, 18), long);
        assert_eq!(answered(Version::V5, 1, Reason::SUCCESS, &at, 17), [0x40, 2, 1, 2]);
        let again = AckDetails { repeated: Some(7), ..AckDetails::default() };
        let known = [&[0x40, 18, 1, 2, 0, 14, 0x26, 0, 8][..], b"repeated", &[0, 1], b"7"].concat();
        assert_eq!(answered(Version::V5, 1, Reason::SUCCESS, &again, 100), known);
        assert_eq!(answered(Version::V4, 1, Reason::SUCCESS, &again, 100), [0x40, 2, 1, 2]);
        let text = AckDetails { text: "no", ..AckDetails::default() };
        let refused = [&[0x40, 9, 1, 2, 0x97, 5, 0x1F, 0, 2][..], b"no"].concat();
        assert_eq!(answered(Version::V5, 1, Reason::PACKET_TOO_LARGE, &text, 100), refused);
        assert_eq!(answered(Version::V5, 1, Reason::NOT_AUTHORIZED, &text, 6), [0x40, 4, 1, 2, 0x87, 0]);
        let stale = AckDetails { mls_epoch: Some(7), ..AckDetails::default() };
        let refused = [&[0x40, 19, 1, 2, 0x83, 15, 0x26, 0, 9][..], b"mls-epoch", &[0, 1], b"7"].concat();
        assert_eq!(answered(Version::V5, 1, Reason::IMPLEMENTATION_SPECIFIC, &stale, 100), refused);
    }

    #[test]
    fn a_disconnect_has_a_text_if_it_fits() {
        let said = |text, bytes_max| {
            let mut out = BytesMut::new();
            disconnect(&mut out, Reason::MESSAGE_RATE_TOO_HIGH, text, bytes_max);
            out.to_vec()
        };
        assert_eq!(said("no", 9), [&[0xE0, 7, 0x96, 5, 0x1F, 0, 2][..], b"no"].concat());
        assert_eq!(said("no", 8), [0xE0, 2, 0x96, 0]);
        assert_eq!(said("", 100), [0xE0, 2, 0x96, 0]);
    }

    #[test]
    fn a_suback_has_a_text_if_it_fits() {
        let said = |version, bytes_max| suback(version, 0x0102, &[1, 0x87], "no", bytes_max);
        assert_eq!(said(Version::V5, 12), Some([&[0x90, 10, 1, 2, 5, 0x1F, 0, 2][..], b"no", &[1, 0x87]].concat()));
        assert_eq!(said(Version::V5, 11), Some(vec![0x90, 5, 1, 2, 0, 1, 0x87]));
        assert_eq!(said(Version::V5, 6), None);
        assert_eq!(said(Version::V4, usize::MAX), Some(vec![0x90, 4, 1, 2, 1, 0x87]));
        assert_eq!(unsuback(Version::V5, 0x0102, &[0, 0x11], 7), Some(vec![0xB0, 5, 1, 2, 0, 0, 0x11]));
        assert_eq!(unsuback(Version::V5, 0x0102, &[0, 0x11], 6), None);
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 9, 10, 65, u64::MAX] {
            assert_eq!(Decimal::of(number).as_bytes(), number.to_string().as_bytes());
        }
    }
}
