//! CONNACK, encoded (3.2 of both versions).

use bytes::{BufMut, Bytes, BytesMut};
use godwit_schemas::reason::{Reason, connack_v4};

use super::encode::{put_string, put_varint};
use super::{Version, properties};

/// The properties of a CONNACK of MQTT 5 that accepts a client.
#[derive(Debug)]
pub(crate) struct ConnackOffer {
    pub(crate) receive_maximum: u16,
    pub(crate) packet_bytes_max: u32,
    pub(crate) topic_alias_max: u16,
    /// In seconds, instead of the one that the client asked for (MQTT 5, 3.2.2.3.14).
    pub(crate) keep_alive_s: Option<u16>,
    /// Assigned, because the client has none (MQTT 5, 3.2.2.3.7).
    pub(crate) client_id: Option<String>,
    /// The authentication method, if the client asked for it (MQTT-4.12.0-5).
    pub(crate) method: Option<&'static str>,
    /// The server's number and the epoch of its store: two user properties.
    pub(crate) server: Option<(u64, u64)>,
}

/// A CONNACK that accepts the client. `server` is left out if the packet would be larger than `bytes_max` (MQTT-3.2.2-20).
pub(crate) fn accepted(version: Version, session_present: bool, offer: &ConnackOffer, bytes_max: usize) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(properties::RECEIVE_MAXIMUM);
    out.put_u16(offer.receive_maximum);
    out.put_slice(&[properties::RETAIN_AVAILABLE, 0]);
    out.put_u8(properties::MAXIMUM_PACKET_SIZE);
    out.put_u32(offer.packet_bytes_max);
    if let Some(name) = &offer.client_id {
        out.put_u8(properties::ASSIGNED_CLIENT_IDENTIFIER);
        put_string(&mut out, name.as_bytes());
    }
    out.put_u8(properties::TOPIC_ALIAS_MAXIMUM);
    out.put_u16(offer.topic_alias_max);
    out.put_slice(&[properties::SUBSCRIPTION_IDENTIFIER_AVAILABLE, 0, properties::SHARED_SUBSCRIPTION_AVAILABLE, 0]);
    if let Some(seconds) = offer.keep_alive_s {
        out.put_u8(properties::SERVER_KEEP_ALIVE);
        out.put_u16(seconds);
    }
    if let Some(method) = offer.method {
        out.put_u8(properties::AUTHENTICATION_METHOD);
        put_string(&mut out, method.as_bytes());
    }
    let short = out.len();
    if let Some((server, epoch)) = offer.server {
        for (name, it) in [("server", server), ("epoch", epoch)] {
            out.put_u8(properties::USER_PROPERTY);
            put_string(&mut out, name.as_bytes());
            put_string(&mut out, format!("{it:016x}").as_bytes());
        }
    }
    let whole = connack(version, session_present, Reason::SUCCESS, &out);
    if whole.len() <= bytes_max { whole } else { connack(version, session_present, Reason::SUCCESS, &out[..short]) }
}

/// A CONNACK of MQTT 3.1.1 that accepts the client, with a new session.
pub(crate) fn accepted_v4() -> Bytes {
    connack(Version::V4, false, Reason::SUCCESS, &[])
}

/// A CONNACK that refuses the client. `text` is English, for MQTT 5 only, and may be empty. It is left out if it would make the packet
/// larger than `bytes_max` (MQTT-3.2.2-19). Returns nothing for a client that takes less than five bytes.
pub(crate) fn refused(version: Version, reason: Reason, text: &str, bytes_max: usize) -> Bytes {
    let mut properties = BytesMut::new();
    if !text.is_empty() {
        properties.put_u8(properties::REASON_STRING);
        put_string(&mut properties, text.as_bytes());
    }
    let reason = if version == Version::V5 { connack_reason(reason) } else { reason };
    let packet = connack(version, false, reason, &properties);
    let packet = if packet.len() > bytes_max { connack(version, false, reason, &[]) } else { packet };
    if packet.len() > bytes_max { Bytes::new() } else { packet }
}

fn connack(version: Version, session_present: bool, reason: Reason, properties: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(session_present.into());
    match version {
        Version::V4 => body.put_u8(connack_v4(reason)),
        Version::V5 => {
            body.put_u8(reason.get());
            put_varint(&mut body, properties.len());
            body.put_slice(properties);
        }
    }
    let mut out = BytesMut::with_capacity(5 + body.len());
    out.put_u8(0x20);
    put_varint(&mut out, body.len());
    out.put_slice(&body);
    out.freeze()
}

/// The reason as it may stand in a CONNACK (MQTT 5, table 3-1; MQTT-3.2.2-8): others become the nearest one.
fn connack_reason(reason: Reason) -> Reason {
    match reason.get() {
        0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F => reason,
        0x8B => Reason::SERVER_UNAVAILABLE,
        _ => Reason::UNSPECIFIED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_a_text_if_it_fits() {
        let said = |version, reason, bytes_max| refused(version, reason, "no", bytes_max).to_vec();
        let whole = [&[0x20, 8, 0, 0x87, 5, 0x1F, 0, 2][..], b"no"].concat();
        assert_eq!(said(Version::V5, Reason::NOT_AUTHORIZED, 10), whole);
        assert_eq!(said(Version::V5, Reason::NOT_AUTHORIZED, 9), [0x20, 3, 0, 0x87, 0]);
        assert_eq!(said(Version::V5, Reason::NOT_AUTHORIZED, 4), [0_u8; 0]);
        assert_eq!(said(Version::V4, Reason::NOT_AUTHORIZED, 100), [0x20, 2, 0, 5]);
        assert_eq!(said(Version::V5, Reason::SESSION_TAKEN_OVER, 9)[3], 0x80);
        assert_eq!(said(Version::V5, Reason::SERVER_SHUTTING_DOWN, 9)[3], 0x88);
    }
}
