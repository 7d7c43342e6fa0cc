//! MQTT 3.1.1 as the load generator speaks it, by the codec of the tests: packets are appended to a buffer and read in place. Called
//! by [`crate::wire`] and by whoever writes to it.

use anyhow::{Result, anyhow, bail, ensure};
use godwit_test_mqtt::{Version, decode, encode};

pub(crate) use godwit_test_mqtt::decode::Publish;
pub(crate) use godwit_test_mqtt::encode::{disconnect, pingreq, puback};

/// A packet from the server. Borrows the read buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    Connack { session_present: bool, code: u8 },
    Publish(Publish<'a>),
    Puback(u16),
    Suback { packet_id: u16, code: u8 },
    Pingresp,
}

/// What CONNECT says.
pub(crate) struct ConnectPacket<'a> {
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
#[inline]
pub(crate) fn read(bytes: &[u8], bytes_max: usize) -> Result<Option<(Packet<'_>, usize)>> {
    let malformed = |_| anyhow!("malformed remaining length");
    let Some((header, len)) = decode::length(bytes).map_err(malformed)? else { return Ok(None) };
    ensure!(len <= bytes_max, "a packet of {} bytes, more than was ever sent", len - header);
    let Some(body) = bytes.get(header..len) else { return Ok(None) };
    let undecoded = decode::Undecoded { first: bytes[0], body, len };
    let packet = match undecoded.decode(Version::V4) {
        Ok(decode::Packet::Publish(publish)) => Packet::Publish(publish),
        Ok(decode::Packet::Puback(ack)) => Packet::Puback(ack.packet_id),
        Ok(decode::Packet::Connack { session_present, reason, .. }) => {
            Packet::Connack { session_present, code: reason }
        }
        Ok(decode::Packet::Suback { packet_id, codes: &[code], .. }) => Packet::Suback { packet_id, code },
        Ok(decode::Packet::Pingresp) => Packet::Pingresp,
        _ => bail!("not a packet for this client: first byte {:#04x}, {} more", bytes[0], body.len()),
    };
    Ok(Some((packet, len)))
}

/// Appends a CONNECT.
pub(crate) fn connect(out: &mut Vec<u8>, connect: &ConnectPacket<'_>) {
    let login = (!connect.user.is_empty()).then_some((connect.user, connect.password));
    let ConnectPacket { client_id, clean_session: clean, keep_alive_s, .. } = *connect;
    encode::connect(out, &encode::Connect { level: 4, clean, keep_alive_s, client_id, login, properties: &[] });
}

/// Appends a QoS 1 PUBLISH up to its payload of `payload_bytes`, which the caller appends.
pub(crate) fn publish_head(out: &mut Vec<u8>, topic: &str, packet_id: u16, payload_bytes: usize) {
    let topic = topic.as_bytes();
    let publish = encode::Publish { version: Version::V4, flags: 2, topic, packet_id, properties: &[] };
    encode::publish_head(out, &publish, payload_bytes);
}

/// Appends a SUBSCRIBE for one filter at QoS 1.
pub(crate) fn subscribe(out: &mut Vec<u8>, packet_id: u16, filter: &str) {
    encode::subscribe(out, Version::V4, packet_id, [(filter, 1)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;

    #[test]
    fn publish_round_trip() {
        for payload_bytes in [0, 1, 100, 117, 118, 16_373, 16_374, 70_000] {
            let payload = vec![7; payload_bytes];
            let mut bytes = Vec::new();
            publish_head(&mut bytes, "to/bob", 513, payload_bytes);
            bytes.extend(&payload);
            let Some((Packet::Publish(publish), len)) = read(&bytes, MAX).unwrap() else { panic!("a PUBLISH") };
            assert_eq!((publish.topic, publish.packet_id, len), (&b"to/bob"[..], Some(513), bytes.len()));
            assert_eq!(publish.payload, payload);
            assert_eq!(read(&bytes[..bytes.len() - 1], MAX).unwrap(), None);
        }
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
