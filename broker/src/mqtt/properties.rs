//! The properties of MQTT 5 (2.2.2): their encoding, and the rules that hold for all packets. A packet may have only the properties that the
//! standard lists for it, and each only once, except user properties.

use bytes::Bytes;
use godwit_schemas::reason::Reason;

use super::PacketFields;

pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
pub(crate) const CONTENT_TYPE: u8 = 0x03;
pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
pub(crate) const CORRELATION_DATA: u8 = 0x09;
pub(crate) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
pub(crate) const SESSION_EXPIRY: u8 = 0x11;
pub(crate) const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(crate) const AUTHENTICATION_METHOD: u8 = 0x15;
pub(crate) const AUTHENTICATION_DATA: u8 = 0x16;
pub(crate) const PROBLEM_INFORMATION: u8 = 0x17;
pub(crate) const WILL_DELAY: u8 = 0x18;
pub(crate) const RESPONSE_INFORMATION: u8 = 0x19;
pub(crate) const REASON_STRING: u8 = 0x1F;
pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(crate) const TOPIC_ALIAS: u8 = 0x23;
pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
pub(crate) const USER_PROPERTY: u8 = 0x26;
pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
pub(crate) const SUBSCRIPTION_IDENTIFIER_AVAILABLE: u8 = 0x29;
pub(crate) const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2A;

/// Of a CONNECT (MQTT 5, 3.1.2.11).
pub(crate) const OF_CONNECT: &[u8] = &[
    SESSION_EXPIRY,
    RECEIVE_MAXIMUM,
    MAXIMUM_PACKET_SIZE,
    TOPIC_ALIAS_MAXIMUM,
    RESPONSE_INFORMATION,
    PROBLEM_INFORMATION,
    USER_PROPERTY,
    AUTHENTICATION_METHOD,
    AUTHENTICATION_DATA,
];
/// Of a will (MQTT 5, 3.1.3.2).
pub(crate) const OF_WILL: &[u8] =
    &[WILL_DELAY, PAYLOAD_FORMAT, MESSAGE_EXPIRY, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA, USER_PROPERTY];
/// Of a SUBSCRIBE (MQTT 5, 3.8.2.1).
pub(crate) const OF_SUBSCRIBE: &[u8] = &[SUBSCRIPTION_IDENTIFIER, USER_PROPERTY];
/// Of an UNSUBSCRIBE (MQTT 5, 3.10.2.1).
pub(crate) const OF_UNSUBSCRIBE: &[u8] = &[USER_PROPERTY];
/// Of PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5, 3.4.2.2).
pub(crate) const OF_ACKNOWLEDGEMENT: &[u8] = &[REASON_STRING, USER_PROPERTY];
/// Of a client's DISCONNECT (MQTT 5, 3.14.2.2).
pub(crate) const OF_DISCONNECT: &[u8] = &[SESSION_EXPIRY, REASON_STRING, USER_PROPERTY];
/// Of an AUTH (MQTT 5, 3.15.2.2).
pub(crate) const OF_AUTH: &[u8] = &[AUTHENTICATION_METHOD, AUTHENTICATION_DATA, REASON_STRING, USER_PROPERTY];

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PropertyValue {
    /// One, two or four bytes, or a variable byte integer.
    Number(u32),
    /// A byte that is 0 or 1.
    Flag(bool),
    /// A string or binary data.
    Bytes(Bytes),
    /// A name and a value: checked, and not kept.
    Pair,
}

/// Reads the properties of one packet: an iterator that ends with the first one that is wrong.
pub(crate) struct PropertyReader {
    fields: PacketFields,
    allowed: &'static [u8],
    /// A bit for each identifier.
    seen: u64,
}

impl PropertyReader {
    /// Takes the properties, with their length, off the packet.
    ///
    /// # Errors
    /// There are fewer bytes than the length says.
    pub(crate) fn take(packet: &mut PacketFields, allowed: &'static [u8]) -> Result<Self, Reason> {
        let len = packet.varint()?;
        Ok(Self { fields: PacketFields(packet.take(len)?), allowed, seen: 0 })
    }

    /// Checks all properties.
    ///
    /// # Errors
    /// The reason to close the connection with.
    pub(crate) fn check(mut self) -> Result<(), Reason> {
        self.try_for_each(|property| property.map(drop))
    }

    fn read(&mut self) -> Result<(u8, PropertyValue), Reason> {
        let id = self.fields.u8()?;
        if !self.allowed.contains(&id) {
            return Err(Reason::MALFORMED_PACKET);
        }
        if id != USER_PROPERTY {
            if self.seen & 1 << id != 0 {
                return Err(Reason::PROTOCOL_ERROR);
            }
            self.seen |= 1 << id;
        }
        let fields = &mut self.fields;
        let value = match id {
            // Other values than 0 and 1 are a protocol error.
            PAYLOAD_FORMAT | PROBLEM_INFORMATION | RESPONSE_INFORMATION => match fields.u8()? {
                flag @ (0 | 1) => PropertyValue::Flag(flag == 1),
                _ => return Err(Reason::PROTOCOL_ERROR),
            },
            RECEIVE_MAXIMUM | TOPIC_ALIAS_MAXIMUM => PropertyValue::Number(fields.u16()?.into()),
            MESSAGE_EXPIRY | SESSION_EXPIRY | WILL_DELAY | MAXIMUM_PACKET_SIZE => PropertyValue::Number(fields.u32()?),
            // Four groups of seven bits.
            SUBSCRIPTION_IDENTIFIER => PropertyValue::Number(fields.varint()? as u32),
            CORRELATION_DATA | AUTHENTICATION_DATA => PropertyValue::Bytes(fields.binary()?),
            CONTENT_TYPE | RESPONSE_TOPIC | AUTHENTICATION_METHOD | REASON_STRING => {
                PropertyValue::Bytes(fields.string()?)
            }
            USER_PROPERTY => {
                fields.string()?;
                fields.string()?;
                PropertyValue::Pair
            }
            // Only a server sends these.
            _ => return Err(Reason::MALFORMED_PACKET),
        };
        Ok((id, value))
    }
}

impl Iterator for PropertyReader {
    type Item = Result<(u8, PropertyValue), Reason>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.fields.0.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.fields.0.clear();
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allowed: &'static [u8], properties: &[u8]) -> Result<(), Reason> {
        let packet = [&[properties.len() as u8], properties].concat();
        PropertyReader::take(&mut PacketFields(packet.into()), allowed)?.check()
    }

    /// One good property with each identifier that a client may send.
    const GOOD: [&[u8]; 16] = [
        &[0x01, 1],
        &[0x02, 0, 0, 0, 1],
        &[0x03, 0, 1, b'x'],
        &[0x08, 0, 1, b'x'],
        &[0x09, 0, 1, 0xFF],
        &[0x0B, 0x80, 1],
        &[0x11, 0, 0, 0, 1],
        &[0x15, 0, 1, b'x'],
        &[0x16, 0, 1, 0xFF],
        &[0x17, 1],
        &[0x18, 0, 0, 0, 1],
        &[0x19, 0],
        &[0x1F, 0, 1, b'x'],
        &[0x21, 0, 1],
        &[0x22, 0, 1],
        &[0x27, 0, 0, 0, 1],
    ];

    #[test]
    fn properties_are_allowed_by_packet_and_once() {
        let all = [OF_CONNECT, OF_WILL, OF_SUBSCRIBE, OF_UNSUBSCRIBE, OF_ACKNOWLEDGEMENT, OF_DISCONNECT, OF_AUTH];
        for allowed in all {
            for property in GOOD {
                let once = if allowed.contains(&property[0]) { Ok(()) } else { Err(Reason::MALFORMED_PACKET) };
                assert_eq!(check(allowed, property), once, "{property:02X?}");
                let twice = once.and(Err(Reason::PROTOCOL_ERROR));
                assert_eq!(check(allowed, &property.repeat(2)), twice, "{property:02X?}");
                for cut in 1..property.len() {
                    assert_eq!(check(allowed, &property[..cut]), Err(Reason::MALFORMED_PACKET), "{property:02X?}");
                }
            }
            let user_property = [0x26, 0, 1, b'k', 0, 1, b'v'];
            assert_eq!(check(allowed, &user_property.repeat(2)), Ok(()));
            for wrong in [&[0x26, 0, 1, 0, 0, 1, b'v'][..], &[0x26, 0, 1, b'k', 0, 1, 0], &[0x26, 0, 1, 0xFF, 0, 0]] {
                assert_eq!(check(allowed, wrong), Err(Reason::MALFORMED_PACKET), "{wrong:02X?}");
            }
            for id in [0x00, 0x12, 0x13, 0x1A, 0x1C, 0x23, 0x24, 0x25, 0x28, 0x29, 0x2A, 0x2B, 0x80, 0xFF] {
                assert_eq!(check(allowed, &[id, 0]), Err(Reason::MALFORMED_PACKET), "{id:#x}");
            }
        }
    }

    #[test]
    fn a_flag_other_than_0_or_1_is_refused() {
        assert_eq!(check(OF_CONNECT, &[0x17, 2]), Err(Reason::PROTOCOL_ERROR));
        assert_eq!(check(OF_CONNECT, &[0x19, 2]), Err(Reason::PROTOCOL_ERROR));
        assert_eq!(check(OF_WILL, &[0x01, 2]), Err(Reason::PROTOCOL_ERROR));
    }
}
