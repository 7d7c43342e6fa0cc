//! The part of MQTT 3.1.1 that a load generator needs, written to cost as little as possible: packets are appended to
//! a buffer and read in place. Called by [`crate::wire`] and by whoever writes to it. Section numbers are of the OASIS
//! standard, MQTT 3.1.1.

use anyhow::{Result, bail, ensure};

/// A packet from the server. Borrows the read buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    Connack { session_present: bool, code: u8 },
    Publish(Publish<'a>),
    Puback(u16),
    Suback { packet_id: u16, code: u8 },
    Pingresp,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a [u8],
    /// `None`: QoS 0.
    pub(crate) packet_id: Option<u16>,
    pub(crate) payload: &'a [u8],
}

/// What CONNECT says.
pub(crate) struct Connect<'a> {
    pub(crate) client_id: &'a str,
    /// Empty: the CONNECT carries neither user name nor password.
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) clean_session: bool,
    pub(crate) keep_alive_s: u16,
}

/// The first packet in `bytes` and its length; `None` if it is not complete yet.
///
/// # Errors
/// Not a packet that a server sends to this client, or longer than `bytes_max`.
pub(crate) fn read(bytes: &[u8], bytes_max: usize) -> Result<Option<(Packet<'_>, usize)>> {
    let Some((head, body_bytes)) = remaining_length(bytes)? else { return Ok(None) };
    ensure!(head + body_bytes <= bytes_max, "a packet of {body_bytes} bytes, more than was ever sent");
    let Some(body) = bytes.get(head..head + body_bytes) else { return Ok(None) };
    let packet = match (bytes[0], body) {
        (0x30..=0x3F, _) => Packet::Publish(publish(bytes[0], body)?),
        (0x40, &[high, low]) => Packet::Puback(u16::from_be_bytes([high, low])),
        (0x20, &[flags, code]) => Packet::Connack { session_present: flags & 1 == 1, code },
        (0x90, &[high, low, code]) => Packet::Suback { packet_id: u16::from_be_bytes([high, low]), code },
        (0xD0, []) => Packet::Pingresp,
        (first, _) => bail!("not a packet for this client: first byte {first:#04x}, {body_bytes} more"),
    };
    Ok(Some((packet, head + body_bytes)))
}

/// Length of the fixed header, and what follows it (section 2.2.3).
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().skip(1).take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte < 0x80 {
            return Ok(Some((at + 2, value)));
        }
    }
    ensure!(bytes.len() < 5, "malformed remaining length");
    Ok(None)
}

fn publish(first: u8, body: &[u8]) -> Result<Publish<'_>> {
    let malformed = || anyhow::anyhow!("malformed PUBLISH");
    let (length, rest) = body.split_first_chunk().ok_or_else(malformed)?;
    let (topic, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or_else(malformed)?;
    if first & 0b0110 == 0 {
        return Ok(Publish { topic, packet_id: None, payload: rest });
    }
    let (packet_id, payload) = rest.split_first_chunk().ok_or_else(malformed)?;
    Ok(Publish { topic, packet_id: Some(u16::from_be_bytes(*packet_id)), payload })
}

/// Appends a CONNECT (section 3.1).
pub(crate) fn connect(out: &mut Vec<u8>, connect: &Connect<'_>) {
    let login = !connect.user.is_empty();
    let fields: &[&str] =
        if login { &[connect.client_id, connect.user, connect.password] } else { &[connect.client_id] };
    head(out, 0x10, 10 + fields.iter().map(|field| 2 + field.len()).sum::<usize>());
    text(out, "MQTT");
    out.push(4);
    out.push(if login { 0xC0 } else { 0 } | if connect.clean_session { 2 } else { 0 });
    out.extend(connect.keep_alive_s.to_be_bytes());
    fields.iter().for_each(|field| text(out, field));
}

/// Appends a QoS 1 PUBLISH (section 3.3) up to its payload of `payload_bytes`, which the caller appends.
pub(crate) fn publish_head(out: &mut Vec<u8>, topic: &str, packet_id: u16, payload_bytes: usize) {
    head(out, 0x32, 2 + topic.len() + 2 + payload_bytes);
    text(out, topic);
    out.extend(packet_id.to_be_bytes());
}

/// Appends a PUBACK (section 3.4).
pub(crate) fn puback(out: &mut Vec<u8>, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend([0x40, 2, high, low]);
}

/// Appends a SUBSCRIBE (section 3.8) for one filter at QoS 1.
pub(crate) fn subscribe(out: &mut Vec<u8>, packet_id: u16, filter: &str) {
    head(out, 0x82, 2 + 2 + filter.len() + 1);
    out.extend(packet_id.to_be_bytes());
    text(out, filter);
    out.push(1);
}

/// Appends a PINGREQ (section 3.12).
pub(crate) fn pingreq(out: &mut Vec<u8>) {
    out.extend([0xC0, 0]);
}

/// Appends a DISCONNECT (section 3.14).
pub(crate) fn disconnect(out: &mut Vec<u8>) {
    out.extend([0xE0, 0]);
}

fn head(out: &mut Vec<u8>, first: u8, mut remaining: usize) {
    out.push(first);
    while remaining >= 0x80 {
        out.push(remaining as u8 | 0x80);
        remaining >>= 7;
    }
    out.push(remaining as u8);
}

fn text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("topics and names are shorter than 64 KiB");
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;

    fn check(bytes: &[u8], packet: Packet<'_>) {
        assert_eq!(read(bytes, MAX).unwrap(), Some((packet, bytes.len())));
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut], MAX).unwrap(), None, "cut at {cut}");
        }
    }

    #[test]
    fn publish_round_trip() {
        for payload_bytes in [0, 1, 100, 117, 118, 16_373, 16_374, 70_000] {
            let payload = vec![7; payload_bytes];
            let mut bytes = Vec::new();
            publish_head(&mut bytes, "to/bob", 513, payload_bytes);
            bytes.extend(&payload);
            let expected = Publish { topic: b"to/bob", packet_id: Some(513), payload: &payload };
            assert_eq!(read(&bytes, MAX).unwrap(), Some((Packet::Publish(expected), bytes.len())));
            assert_eq!(read(&bytes[..bytes.len() - 1], MAX).unwrap(), None);
        }
    }

    #[test]
    fn answers() {
        check(&[0x20, 2, 1, 0], Packet::Connack { session_present: true, code: 0 });
        check(&[0x20, 2, 0, 5], Packet::Connack { session_present: false, code: 5 });
        check(&[0x90, 3, 0, 9, 0x80], Packet::Suback { packet_id: 9, code: 0x80 });
        check(&[0xD0, 0], Packet::Pingresp);
        let mut bytes = Vec::new();
        puback(&mut bytes, 0xABCD);
        check(&bytes, Packet::Puback(0xABCD));
        let qos0 = Publish { topic: b"t", packet_id: None, payload: b"xy" };
        check(&[0x30, 5, 0, 1, b't', b'x', b'y'], Packet::Publish(qos0));
    }

    #[test]
    fn requests_as_in_the_standard() {
        let mut bytes = Vec::new();
        let mut hello = Connect { client_id: "c", user: "u", password: "p", clean_session: true, keep_alive_s: 258 };
        connect(&mut bytes, &hello);
        assert_eq!(bytes, b"\x10\x13\x00\x04MQTT\x04\xC2\x01\x02\x00\x01c\x00\x01u\x00\x01p");
        bytes.clear();
        (hello.user, hello.clean_session) = ("", false);
        connect(&mut bytes, &hello);
        assert_eq!(bytes, b"\x10\x0D\x00\x04MQTT\x04\x00\x01\x02\x00\x01c");
        bytes.clear();
        subscribe(&mut bytes, 1, "a/#");
        assert_eq!(bytes, b"\x82\x08\x00\x01\x00\x03a/#\x01");
    }

    #[test]
    fn refuses_what_a_server_must_not_send() {
        let bad: [&[u8]; 6] = [
            &[0x20, 1, 0],
            &[0x40, 3, 0, 1, 0],
            &[0x62, 2, 0, 1],
            &[0x32, 3, 0, 5, b't'],
            &[0x32, 3, 0, 1, b't'],
            &[0x30, 0xFF, 0xFF, 0xFF, 0xFF],
        ];
        for bytes in bad {
            assert!(read(bytes, MAX).is_err(), "{bytes:?}");
        }
        assert!(read(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], MAX).is_err());
    }
}
