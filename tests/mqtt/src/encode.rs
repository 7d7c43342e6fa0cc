//! Packets that a client sends, appended to a buffer. Nothing is checked: whoever wants a wrong packet can make it.

use crate::Version;

/// What a CONNECT says (section 3.1).
#[derive(Debug, Clone, Copy)]
pub struct Connect<'a> {
    /// Protocol level: 4, 5, or a wrong one. Properties are written with level 5 only.
    pub level: u8,
    /// Clean Session, or Clean Start.
    pub clean: bool,
    /// Keep alive in seconds.
    pub keep_alive_s: u16,
    /// Client identifier.
    pub client_id: &'a str,
    /// User name and password; `None`: neither.
    pub login: Option<(&'a str, &'a str)>,
    /// Encoded properties, without their length.
    pub properties: &'a [u8],
}

/// What a PUBLISH says besides its payload (section 3.3).
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// Properties are written with MQTT 5 only.
    pub version: Version,
    /// Low half of the first byte: DUP is 8, QoS 1 is 2, QoS 2 is 4, RETAIN is 1.
    pub flags: u8,
    /// Topic name.
    pub topic: &'a [u8],
    /// Written unless the QoS is 0.
    pub packet_id: u16,
    /// Encoded properties, without their length.
    pub properties: &'a [u8],
}

/// Appends a CONNECT.
pub fn connect(out: &mut Vec<u8>, connect: &Connect<'_>) {
    let properties = if connect.level == 5 { properties_len(connect.properties) } else { 0 };
    let login = connect.login.map(|(user, password)| [user, password]);
    let strings = || [connect.client_id].into_iter().chain(login.into_iter().flatten());
    let remaining = 10 + properties + strings().map(|string| 2 + string.len()).sum::<usize>();
    fixed_header(out, 0x10, remaining);
    put_string(out, b"MQTT");
    out.extend([connect.level, if login.is_some() { 0xC0 } else { 0 } | u8::from(connect.clean) << 1]);
    out.extend(connect.keep_alive_s.to_be_bytes());
    if connect.level == 5 {
        put_properties(out, connect.properties);
    }
    strings().for_each(|string| put_string(out, string.as_bytes()));
}

/// Appends a PUBLISH.
pub fn publish(out: &mut Vec<u8>, publish: &Publish<'_>, payload: &[u8]) {
    publish_head(out, publish, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a PUBLISH up to its payload of `payload_bytes`, which the caller appends.
#[inline]
pub fn publish_head(out: &mut Vec<u8>, publish: &Publish<'_>, payload_bytes: usize) {
    let has_id = publish.flags & 0b0110 != 0;
    let v5 = publish.version == Version::V5;
    let properties = if v5 { properties_len(publish.properties) } else { 0 };
    let remaining = 2 + publish.topic.len() + if has_id { 2 } else { 0 } + properties + payload_bytes;
    fixed_header(out, 0x30 | publish.flags, remaining);
    put_string(out, publish.topic);
    if has_id {
        out.extend(publish.packet_id.to_be_bytes());
    }
    if v5 {
        put_properties(out, publish.properties);
    }
}

/// Appends a SUBSCRIBE (section 3.8) of these filters, each with its options: the QoS.
pub fn subscribe<'a>(
    out: &mut Vec<u8>,
    version: Version,
    packet_id: u16,
    filters: impl IntoIterator<Item = (&'a str, u8), IntoIter: Clone>,
) {
    let filters = filters.into_iter();
    let properties = usize::from(version == Version::V5);
    fixed_header(out, 0x82, 2 + properties + filters.clone().map(|(filter, _)| 3 + filter.len()).sum::<usize>());
    out.extend(packet_id.to_be_bytes());
    if version == Version::V5 {
        put_properties(out, &[]);
    }
    for (filter, options) in filters {
        put_string(out, filter.as_bytes());
        out.push(options);
    }
}

/// Appends a PUBACK (section 3.4) that says "success".
#[inline]
pub fn puback(out: &mut Vec<u8>, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend([0x40, 2, high, low]);
}

/// Appends a PINGREQ (section 3.12).
pub fn pingreq(out: &mut Vec<u8>) {
    out.extend([0xC0, 0]);
}

/// Appends a DISCONNECT (section 3.14) without a reason code.
pub fn disconnect(out: &mut Vec<u8>) {
    out.extend([0xE0, 0]);
}

/// Any packet: a first byte, the length of these parts, and the parts.
pub fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    fixed_header(&mut out, first, parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// A packet that one of the other functions appends, by itself.
pub fn bytes(append: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    append(&mut out);
    out
}

/// A string or binary data with its length.
///
/// # Panics
/// It has more than 65,535 bytes.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + bytes.len());
    put_string(&mut out, bytes);
    out
}

fn fixed_header(out: &mut Vec<u8>, first: u8, remaining: usize) {
    out.push(first);
    put_varint(out, remaining);
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[expect(clippy::expect_used, reason = "a caller in a test has to know")]
fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("a string has at most 65,535 bytes");
    out.extend(length.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn properties_len(properties: &[u8]) -> usize {
    let mut length = 1;
    let mut left = properties.len();
    while left >= 0x80 {
        (length, left) = (length + 1, left >> 7);
    }
    length + properties.len()
}

fn put_properties(out: &mut Vec<u8>, properties: &[u8]) {
    put_varint(out, properties.len());
    out.extend_from_slice(properties);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_is_as_in_the_standard() {
        let with_login = Connect {
            level: 4,
            clean: true,
            keep_alive_s: 258,
            client_id: "c",
            login: Some(("u", "p")),
            properties: &[],
        };
        let v4 = bytes(|out| connect(out, &with_login));
        assert_eq!(v4, b"\x10\x13\x00\x04MQTT\x04\xC2\x01\x02\x00\x01c\x00\x01u\x00\x01p");
        let without = Connect { login: None, clean: false, ..with_login };
        assert_eq!(bytes(|out| connect(out, &without)), b"\x10\x0D\x00\x04MQTT\x04\x00\x01\x02\x00\x01c");
        let v5 = Connect { level: 5, properties: &[0x21, 0, 7], ..without };
        assert_eq!(bytes(|out| connect(out, &v5)), b"\x10\x11\x00\x04MQTT\x05\x00\x01\x02\x03\x21\x00\x07\x00\x01c");
        let long = Connect { level: 5, properties: &[0; 200], ..without };
        assert_eq!(bytes(|out| connect(out, &long)).len(), 3 + 10 + 2 + 200 + 3);
    }

    #[test]
    fn subscribe_is_as_in_the_standard() {
        let v4 = bytes(|out| subscribe(out, Version::V4, 1, [("a/#", 1)]));
        assert_eq!(v4, b"\x82\x08\x00\x01\x00\x03a/#\x01");
        let v5 = bytes(|out| subscribe(out, Version::V5, 1, [("a", 0), ("b", 1)]));
        assert_eq!(v5, b"\x82\x0B\x00\x01\x00\x00\x01a\x00\x00\x01b\x01");
    }

    #[test]
    fn qos_0_has_no_identifier() {
        let with = |flags| Publish { version: Version::V5, flags, topic: b"t", packet_id: 7, properties: &[] };
        assert_eq!(bytes(|out| publish(out, &with(0), b"xy")), b"\x30\x06\x00\x01t\x00xy");
        assert_eq!(bytes(|out| publish(out, &with(2), b"xy")), b"\x32\x08\x00\x01t\x00\x07\x00xy");
        let v4 = Publish { version: Version::V4, ..with(2) };
        assert_eq!(bytes(|out| publish(out, &v4, b"")), packet(0x32, &[&string(b"t"), &[0, 7]]));
    }
}
