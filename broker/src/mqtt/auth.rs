//! AUTH, decoded and encoded (MQTT 5, 3.15).

use bytes::{BufMut, Bytes, BytesMut};
use godwit_schemas::reason::Reason;

use super::PacketFields;
use super::encode::put_string;
use super::packet::RawPacket;
use super::properties::{AUTHENTICATION_DATA, AUTHENTICATION_METHOD, OF_AUTH, PropertyReader, PropertyValue};

/// The only authentication method: a JSON Web Token as authentication data.
pub(crate) const METHOD: &str = "jwt";

/// The reason code "Re-authenticate", with which a client begins (MQTT 5, table 3-11).
pub(crate) const RE_AUTHENTICATE: u8 = 0x19;

/// A client's AUTH.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AuthPacket {
    pub(crate) reason: u8,
    pub(crate) method: Option<Bytes>,
    pub(crate) data: Option<Bytes>,
}

/// Decodes an AUTH.
///
/// # Errors
/// The reason to close the connection with.
pub(crate) fn read(packet: RawPacket) -> Result<AuthPacket, Reason> {
    let mut fields = PacketFields(packet.bytes.freeze());
    fields.take(packet.header_len)?;
    // Reason code and properties may be left out (MQTT 5, 3.15.2.1).
    if fields.0.is_empty() {
        return Ok(AuthPacket::default());
    }
    let mut auth = AuthPacket { reason: fields.u8()?, ..AuthPacket::default() };
    for property in PropertyReader::take(&mut fields, OF_AUTH)? {
        match property? {
            (AUTHENTICATION_METHOD, PropertyValue::Bytes(name)) => auth.method = Some(name),
            (AUTHENTICATION_DATA, PropertyValue::Bytes(data)) => auth.data = Some(data),
            _ => {}
        }
    }
    if fields.0.is_empty() { Ok(auth) } else { Err(Reason::MALFORMED_PACKET) }
}

/// Appends the server's AUTH that accepts a re-authentication.
pub(crate) fn accepted(out: &mut BytesMut) {
    let properties = 3 + METHOD.len() as u8;
    out.put_slice(&[0xF0, 2 + properties, Reason::SUCCESS.get(), properties, AUTHENTICATION_METHOD]);
    put_string(out, METHOD.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{Version, packet};

    fn parse(body: &[u8]) -> Result<AuthPacket, Reason> {
        let mut bytes = BytesMut::from(&[&[0xF0, body.len() as u8][..], body].concat()[..]);
        read(packet::split(&mut bytes, Version::V5, 1_000).unwrap().unwrap())
    }

    #[test]
    fn an_auth_is_decoded() {
        assert_eq!(parse(&[]), Ok(AuthPacket::default()));
        let whole = b"\x19\x1B\x15\0\x03jwt\x16\0\x02ab\x1F\0\x01r\x26\0\x01k\0\x01v";
        let auth = AuthPacket { reason: 0x19, method: Some("jwt".into()), data: Some("ab".into()) };
        assert_eq!(parse(&[&whole[..1], &[whole.len() as u8 - 2], &whole[2..]].concat()), Ok(auth));
    }

    #[test]
    fn a_wrong_auth_is_refused() {
        for body in
            [&b"\x19"[..], b"\x19\x01", b"\x19\0x", b"\x19\x03\x15\0\x03", b"\x19\x01\x99", b"\x19\x04\x15\0\x01\0"]
        {
            assert_eq!(parse(body), Err(Reason::MALFORMED_PACKET), "{body:02X?}");
        }
        assert_eq!(parse(b"\x19\x08\x15\0\x01a\x15\0\x01a"), Err(Reason::PROTOCOL_ERROR));
    }

    #[test]
    fn an_accepted_auth_names_the_method() {
        let mut out = BytesMut::new();
        accepted(&mut out);
        assert_eq!(out, &b"\xF0\x08\0\x06\x15\0\x03jwt"[..]);
    }
}
