//! Decodes the packets of clients, except PUBLISH and AUTH.
//!
//! rumqttd's decoders are not used for clients: they accept repeated properties, bytes behind a packet's end, reserved bits and NUL in
//! strings, and take a password for text.

use bytes::Bytes;
use godwit_schemas::reason::{Reason, connack_v4};

use super::packet::{PacketType, RawPacket};
use super::properties::{self, PropertyReader, PropertyValue};
use super::{PacketFields, Version};

/// A CONNECT: the fields that Godwit uses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConnectPacket {
    pub(crate) version: Version,
    pub(crate) user: String,
    pub(crate) client_id: String,
    pub(crate) password: Bytes,
    pub(crate) clean_start: bool,
    /// In seconds; 0: no keep alive.
    pub(crate) keep_alive_s: u16,
    /// In seconds; 0xFFFFFFFF: the session never expires.
    pub(crate) session_expiry_s: u32,
    pub(crate) receive_maximum: u16,
    /// Largest packet that the client takes; `u32::MAX`: any.
    pub(crate) packet_bytes_max: u32,
    pub(crate) topic_alias_max: u16,
    /// Request Problem Information: the client takes reason strings and user properties.
    pub(crate) problem_information: bool,
    pub(crate) has_will: bool,
    /// The authentication method. With one, `password` is the authentication data.
    pub(crate) method: Option<String>,
}

/// The version that a CONNECT asks for, before it is decoded.
///
/// # Errors
/// The bytes of a CONNACK that refuses the version; `None`: it is not MQTT.
pub(crate) fn version(packet: &RawPacket) -> Result<Version, Option<Vec<u8>>> {
    let body = &packet.bytes[packet.header_len..];
    match body {
        [0, 4, b'M', b'Q', b'T', b'T', 4, ..] => Ok(Version::V4),
        [0, 4, b'M', b'Q', b'T', b'T', 5, ..] => Ok(Version::V5),
        [0, 4, b'M', b'Q', b'T', b'T', level, ..] if *level > 5 => {
            Err(Some(vec![0x20, 3, 0, Reason::UNSUPPORTED_PROTOCOL_VERSION.get(), 0]))
        }
        [0, 4, b'M', b'Q', b'T', b'T', _, ..] | [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', ..] => {
            Err(Some(vec![0x20, 2, 0, connack_v4(Reason::UNSUPPORTED_PROTOCOL_VERSION)]))
        }
        _ => Err(None),
    }
}

/// Bits of the flags of a CONNECT (3.1.2.3 of both versions).
mod flags {
    pub(super) const RESERVED: u8 = 0x01;
    pub(super) const CLEAN: u8 = 0x02;
    pub(super) const WILL: u8 = 0x04;
    pub(super) const WILL_QOS: u8 = 0x18;
    pub(super) const WILL_RETAIN: u8 = 0x20;
    pub(super) const PASSWORD: u8 = 0x40;
    pub(super) const USER_NAME: u8 = 0x80;
}

/// Decodes a CONNECT of this version.
///
/// # Errors
/// The reason to refuse it with.
pub(crate) fn connect(packet: RawPacket, version: Version) -> Result<ConnectPacket, Reason> {
    let mut fields = body(packet)?;
    // Name and level of the protocol.
    fields.take(2 + "MQTT".len() + 1)?;
    let flags = fields.u8()?;
    let has = |flag| flags & flag != 0;
    let has_will = has(flags::WILL);
    // MQTT-3.1.2-3; MQTT-3.1.2-11 to -15; a password needs a user name in 3.1.1 (MQTT-3.1.2-22).
    let is_wrong = has(flags::RESERVED)
        || flags & flags::WILL_QOS == flags::WILL_QOS
        || (!has_will && has(flags::WILL_QOS | flags::WILL_RETAIN))
        || (version == Version::V4 && has(flags::PASSWORD) && !has(flags::USER_NAME));
    if is_wrong {
        return Err(Reason::MALFORMED_PACKET);
    }
    let clean_start = has(flags::CLEAN);
    let mut connect = ConnectPacket {
        version,
        user: String::new(),
        client_id: String::new(),
        password: Bytes::new(),
        clean_start,
        keep_alive_s: fields.u16()?,
        session_expiry_s: if version == Version::V4 && !clean_start { u32::MAX } else { 0 },
        receive_maximum: u16::MAX,
        packet_bytes_max: u32::MAX,
        topic_alias_max: 0,
        problem_information: true,
        has_will,
        method: None,
    };
    let data = if version == Version::V5 { connect.take_properties(&mut fields)? } else { None };
    connect.client_id = text(&mut fields)?;
    if has_will {
        if version == Version::V5 {
            PropertyReader::take(&mut fields, properties::OF_WILL)?.check()?;
        }
        fields.string()?;
        fields.binary()?;
    }
    if has(flags::USER_NAME) {
        connect.user = text(&mut fields)?;
    }
    if has(flags::PASSWORD) {
        connect.password = fields.binary()?;
    }
    connect.password = data.unwrap_or(connect.password);
    end(&fields)?;
    Ok(connect)
}

impl ConnectPacket {
    /// Reads the properties. Returns the authentication data.
    fn take_properties(&mut self, fields: &mut PacketFields) -> Result<Option<Bytes>, Reason> {
        let mut data = None;
        for property in PropertyReader::take(fields, properties::OF_CONNECT)? {
            match property? {
                (properties::SESSION_EXPIRY, PropertyValue::Number(seconds)) => self.session_expiry_s = seconds,
                // Neither may be 0 (MQTT 5, 3.1.2.11.3 and .4).
                (properties::RECEIVE_MAXIMUM | properties::MAXIMUM_PACKET_SIZE, PropertyValue::Number(0)) => {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                (properties::RECEIVE_MAXIMUM, PropertyValue::Number(most)) => self.receive_maximum = most as u16,
                (properties::MAXIMUM_PACKET_SIZE, PropertyValue::Number(bytes)) => self.packet_bytes_max = bytes,
                (properties::TOPIC_ALIAS_MAXIMUM, PropertyValue::Number(most)) => self.topic_alias_max = most as u16,
                (properties::PROBLEM_INFORMATION, PropertyValue::Flag(wanted)) => self.problem_information = wanted,
                (properties::AUTHENTICATION_METHOD, PropertyValue::Bytes(name)) => self.method = Some(string(&name)?),
                (properties::AUTHENTICATION_DATA, PropertyValue::Bytes(bytes)) => data = Some(bytes),
                _ => {}
            }
        }
        // MQTT 5, 3.1.2.11.10.
        if data.is_some() && self.method.is_none() { Err(Reason::PROTOCOL_ERROR) } else { Ok(data) }
    }
}

/// A SUBSCRIBE or UNSUBSCRIBE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionPacket {
    pub(crate) packet_id: u16,
    /// Filters, each with the QoS that a SUBSCRIBE asks for.
    pub(crate) filters: Vec<(String, u8)>,
}

/// Decodes a SUBSCRIBE or UNSUBSCRIBE.
///
/// # Errors
/// The reason to close the connection with.
pub(crate) fn subscription(packet: RawPacket, version: Version) -> Result<SubscriptionPacket, Reason> {
    let subscribes = packet.kind == PacketType::Subscribe;
    let mut fields = body(packet)?;
    let packet_id = fields.packet_id()?;
    if version == Version::V5 {
        let allowed = if subscribes { properties::OF_SUBSCRIBE } else { properties::OF_UNSUBSCRIBE };
        for property in PropertyReader::take(&mut fields, allowed)? {
            // CONNACK says that they are not available (MQTT 5, 3.2.2.3.12).
            if property?.0 == properties::SUBSCRIPTION_IDENTIFIER {
                return Err(Reason::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED);
            }
        }
    }
    let mut filters = Vec::new();
    while !fields.0.is_empty() {
        let filter = text(&mut fields)?;
        // MQTT-4.7.3-1.
        if filter.is_empty() {
            return Err(Reason::MALFORMED_PACKET);
        }
        let qos = if subscribes { asked_qos(fields.u8()?, &filter, version)? } else { 0 };
        filters.push((filter, qos));
    }
    match (filters.is_empty(), version) {
        (false, _) => Ok(SubscriptionPacket { packet_id, filters }),
        // MQTT-3.8.3-3, MQTT-3.10.3-2.
        (true, Version::V4) => Err(Reason::MALFORMED_PACKET),
        (true, Version::V5) => Err(Reason::PROTOCOL_ERROR),
    }
}

/// The QoS in the options of a filter (3.8.3 of MQTT 3.1.1, 3.8.3.1 of MQTT 5).
fn asked_qos(options: u8, filter: &str, version: Version) -> Result<u8, Reason> {
    let qos = options & 3;
    match version {
        Version::V4 if options > 2 => Err(Reason::MALFORMED_PACKET),
        Version::V5 if options & 0xC0 != 0 => Err(Reason::MALFORMED_PACKET),
        // QoS 3; retain handling 3; "no local" on a shared subscription (MQTT-3.8.3-4).
        Version::V5 if qos == 3 || options & 0x30 == 0x30 => Err(Reason::PROTOCOL_ERROR),
        Version::V5 if options & 4 != 0 && filter.starts_with("$share/") => Err(Reason::PROTOCOL_ERROR),
        _ => Ok(qos),
    }
}

/// Whether a filter is well formed (4.7.1 of both versions).
pub(crate) fn is_well_formed(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    let mut is_good = !filter.is_empty();
    while let Some(level) = levels.next() {
        let is_last = levels.peek().is_none();
        is_good &= match level {
            "+" => true,
            "#" => is_last,
            level => !level.contains(['+', '#']),
        };
    }
    is_good
}

/// A client's DISCONNECT.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DisconnectPacket {
    /// The client does not leave cleanly: reason code 0x04, or an error.
    pub(crate) abrupt: bool,
    /// In seconds.
    pub(crate) session_expiry_s: Option<u32>,
}

/// Decodes a DISCONNECT.
///
/// # Errors
/// The reason to close the connection with.
pub(crate) fn disconnect(packet: RawPacket, version: Version) -> Result<DisconnectPacket, Reason> {
    let mut fields = body(packet)?;
    let mut disconnect = DisconnectPacket { abrupt: false, session_expiry_s: None };
    if version == Version::V4 {
        end(&fields)?;
        return Ok(disconnect);
    }
    // Reason code and properties may be left out (MQTT 5, 3.14.2.1 and 3.14.2.2.1).
    if !fields.0.is_empty() {
        disconnect.abrupt = match fields.u8()? {
            0x00 => false,
            // Those that a client may send (MQTT-3.14.2-1).
            0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99 => true,
            _ => return Err(Reason::MALFORMED_PACKET),
        };
    }
    if !fields.0.is_empty() {
        for property in PropertyReader::take(&mut fields, properties::OF_DISCONNECT)? {
            if let (properties::SESSION_EXPIRY, PropertyValue::Number(seconds)) = property? {
                disconnect.session_expiry_s = Some(seconds);
            }
        }
    }
    end(&fields)?;
    Ok(disconnect)
}

/// Decodes a PUBACK, PUBREC, PUBREL or PUBCOMP. Returns its packet identifier; its reason code is checked, and not kept.
///
/// # Errors
/// The reason to close the connection with.
pub(crate) fn packet_id(packet: RawPacket, version: Version) -> Result<u16, Reason> {
    let kind = packet.kind;
    let mut fields = body(packet)?;
    let id = fields.packet_id()?;
    if version == Version::V5 && !fields.0.is_empty() {
        // MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.6.2-1, MQTT-3.7.2-1.
        match (kind, fields.u8()?) {
            (_, 0) | (PacketType::Pubrel | PacketType::Pubcomp, 0x92) => {}
            (PacketType::Puback | PacketType::Pubrec, 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99) => {}
            _ => return Err(Reason::PROTOCOL_ERROR),
        }
        if !fields.0.is_empty() {
            PropertyReader::take(&mut fields, properties::OF_ACKNOWLEDGEMENT)?.check()?;
        }
    }
    end(&fields)?;
    Ok(id)
}

/// The fields behind the fixed header.
fn body(packet: RawPacket) -> Result<PacketFields, Reason> {
    let mut fields = PacketFields(packet.bytes.freeze());
    fields.take(packet.header_len)?;
    Ok(fields)
}

/// Checks that nothing follows the last field.
fn end(fields: &PacketFields) -> Result<(), Reason> {
    if fields.0.is_empty() { Ok(()) } else { Err(Reason::MALFORMED_PACKET) }
}

fn text(fields: &mut PacketFields) -> Result<String, Reason> {
    string(&fields.string()?)
}

fn string(bytes: &Bytes) -> Result<String, Reason> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Reason::MALFORMED_PACKET)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use godwit_test_mqtt::encode::packet;

    use super::*;
    use crate::mqtt::packet;

    fn raw(bytes: &[u8], version: Version) -> RawPacket {
        packet::split(&mut BytesMut::from(bytes), version, 1_000).unwrap().unwrap()
    }

    fn read(level: u8, flags: u8, properties: &[u8], payload: &[u8]) -> Result<ConnectPacket, Reason> {
        let version = if level == 5 { Version::V5 } else { Version::V4 };
        let properties = if level == 5 { [&[properties.len() as u8], properties].concat() } else { Vec::new() };
        let bytes = packet(0x10, &[b"\0\x04MQTT", &[level, flags, 0, 9], &properties, payload]);
        connect(raw(&bytes, version), version)
    }

    #[test]
    fn a_connect_is_decoded_up_to_its_end() {
        for level in [4, 5] {
            // Any bytes are a password.
            let it = read(level, 0xC2, &[], b"\0\x01c\0\x01u\0\x02\xFF\0").unwrap();
            let told = (it.client_id.as_str(), it.user.as_str(), &it.password[..], it.keep_alive_s);
            assert_eq!(told, ("c", "u", &b"\xFF\0"[..], 9));
            assert_eq!(read(level, 0xC2, &[], b"\0\x01c\0\x01u\0\x01p!"), Err(Reason::MALFORMED_PACKET));
            assert_eq!(read(level, 0x02, &[], b"\0\x01c\0\x01u"), Err(Reason::MALFORMED_PACKET));
            for cut in 0..9 {
                assert_eq!(read(level, 0xC2, &[], &b"\0\x01c\0\x01u\0\x01p"[..cut]), Err(Reason::MALFORMED_PACKET));
            }
            for string in [&b"\0\x01\0"[..], b"\0\x01\xFF", b"\0\x03\xED\xA0\x80"] {
                assert_eq!(read(level, 0x02, &[], string), Err(Reason::MALFORMED_PACKET));
            }
            // Reserved; a will of QoS 3; parts of a will without one.
            for flags in [0x03, 0x1E, 0x0A, 0x22] {
                assert_eq!(read(level, flags, &[], b"\0\x01c"), Err(Reason::MALFORMED_PACKET), "{flags:#x}");
            }
        }
        assert_eq!(read(4, 0x42, &[], b"\0\x01c\0\x01p"), Err(Reason::MALFORMED_PACKET));
        assert_eq!(&read(5, 0x42, &[], b"\0\x01c\0\x01p").unwrap().password[..], b"p");
    }

    #[test]
    fn properties_of_a_connect_are_decoded() {
        let it =
            read(5, 2, b"\x11\0\0\0\x07\x21\0\x08\x27\0\0\0\x09\x22\0\x0A\x17\0\x15\0\x01m\x16\0\x01\xFF", b"\0\0");
        let it = it.unwrap();
        assert_eq!((it.session_expiry_s, it.receive_maximum, it.packet_bytes_max, it.topic_alias_max), (7, 8, 9, 10));
        assert_eq!((it.problem_information, it.method.as_deref(), &it.password[..]), (false, Some("m"), &b"\xFF"[..]));
        for wrong in [&b"\x21\0\0"[..], b"\x27\0\0\0\0", b"\x16\0\0", b"\x11\0\0\0\x01\x11\0\0\0\x01"] {
            assert_eq!(read(5, 2, wrong, b"\0\0"), Err(Reason::PROTOCOL_ERROR), "{wrong:02X?}");
        }
        assert_eq!(read(5, 2, b"\x26\0\x01\0\0\0", b"\0\0"), Err(Reason::MALFORMED_PACKET));
    }

    #[test]
    fn options_of_a_filter_are_checked() {
        let read = |version, options: u8| {
            let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
            let bytes = packet(0x82, &[&[0, 1], properties, b"\0\x08$share/g", &[options]]);
            subscription(raw(&bytes, version), version).map(|it| it.filters[0].1)
        };
        assert_eq!([0, 1, 2].map(|options| read(Version::V4, options)), [Ok(0), Ok(1), Ok(2)]);
        for options in [3, 4, 8, 0x10, 0x40, 0x80] {
            assert_eq!(read(Version::V4, options), Err(Reason::MALFORMED_PACKET), "{options:#x}");
        }
        assert_eq!([0x08, 0x19, 0x2A].map(|options| read(Version::V5, options)), [Ok(0), Ok(1), Ok(2)]);
        for options in [3, 0x30, 0x31] {
            assert_eq!(read(Version::V5, options), Err(Reason::PROTOCOL_ERROR), "{options:#x}");
        }
        for options in [0x40, 0x80] {
            assert_eq!(read(Version::V5, options), Err(Reason::MALFORMED_PACKET), "{options:#x}");
        }
        // "No local", not in a shared subscription.
        let shared = packet(0x82, &[&[0, 1, 0], b"\0\x0A$share/g/a", &[5]]);
        assert_eq!(subscription(raw(&shared, Version::V5), Version::V5), Err(Reason::PROTOCOL_ERROR));
    }

    #[test]
    fn subscriptions_need_a_filter_and_an_identifier() {
        let read = |first, bytes: &[u8], version| subscription(raw(&packet(first, &[bytes]), version), version);
        for first in [0x82, 0xA2] {
            assert_eq!(read(first, &[0, 1], Version::V4), Err(Reason::MALFORMED_PACKET));
            assert_eq!(read(first, &[0, 1, 0], Version::V5), Err(Reason::PROTOCOL_ERROR));
            assert_eq!(read(first, b"\0\0\0\x01a\0", Version::V4), Err(Reason::MALFORMED_PACKET));
            assert_eq!(read(first, b"\0\x01\0\x01\0\0", Version::V4), Err(Reason::MALFORMED_PACKET));
        }
        // MQTT-4.7.3-1.
        for (first, packet) in [(0x82, &b"\0\x01\0\0\x01"[..]), (0xA2, b"\0\x01\0\0"), (0xA2, b"\0\x01\0\x01a\0\0")] {
            assert_eq!(read(first, packet, Version::V4), Err(Reason::MALFORMED_PACKET));
        }
        let identified = read(0x82, b"\0\x01\x02\x0B\x01\0\x01a\x01", Version::V5);
        assert_eq!(identified, Err(Reason::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED));
        assert_eq!(read(0xA2, b"\0\x01\x02\x0B\x01\0\x01a", Version::V5), Err(Reason::MALFORMED_PACKET));
    }

    #[test]
    fn filters_are_checked_for_their_form() {
        for good in ["a", "/", "#", "+", "a/#", "+/b", "/+", "a//b", "$share/g/a"] {
            assert!(is_well_formed(good), "{good}");
        }
        for bad in ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a/b+"] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn short_packets_with_extra_bytes_are_refused() {
        let id = |bytes: &[u8], version| packet_id(raw(bytes, version), version);
        for first in [0x40, 0x50, 0x62, 0x70] {
            assert_eq!(id(&[first, 2, 1, 2], Version::V4), Ok(258));
            assert_eq!(id(&[first, 3, 1, 2, 0], Version::V4), Err(Reason::MALFORMED_PACKET));
            let (listed, other) = if [0x40, 0x50].contains(&first) { (0x80, 0x92) } else { (0x92, 0x80) };
            for good in
                [&[first, 3, 1, 2, listed][..], &[first, 4, 1, 2, 0, 0], &[first, 8, 1, 2, 0, 4, 0x1F, 0, 1, b'x']]
            {
                assert_eq!(id(good, Version::V5), Ok(258), "{good:02X?}");
            }
            for unknown in [other, 1, 0xFF] {
                assert_eq!(id(&[first, 3, 1, 2, unknown], Version::V5), Err(Reason::PROTOCOL_ERROR));
            }
            for bad in [&[first, 5, 1, 2, 0, 0, 0][..], &[first, 4, 1, 2, 0, 1], &[first, 6, 1, 2, 0, 2, 0x21, 0]] {
                assert_eq!(id(bad, Version::V5), Err(Reason::MALFORMED_PACKET), "{bad:02X?}");
            }
        }
        let leave = |bytes: &[u8], version| disconnect(raw(bytes, version), version).map(|it| it.abrupt);
        assert_eq!(leave(&[0xE0, 0], Version::V4), Ok(false));
        assert_eq!(leave(&[0xE0, 1, 0], Version::V4), Err(Reason::MALFORMED_PACKET));
        assert_eq!(
            [&[0xE0, 0][..], &[0xE0, 1, 4], &[0xE0, 2, 0, 0]].map(|it| leave(it, Version::V5)),
            [Ok(false), Ok(true), Ok(false)]
        );
        for bad in [&[0xE0, 1, 0x8E][..], &[0xE0, 3, 0, 0, 0], &[0xE0, 6, 0, 4, 0x1C, 0, 1, b'x']] {
            assert_eq!(leave(bad, Version::V5), Err(Reason::MALFORMED_PACKET), "{bad:02X?}");
        }
        let twice = [&[0xE0, 12, 0, 10][..], &[0x11, 0, 0, 0, 1].repeat(2)].concat();
        assert_eq!(leave(&twice, Version::V5), Err(Reason::PROTOCOL_ERROR));
    }
}
