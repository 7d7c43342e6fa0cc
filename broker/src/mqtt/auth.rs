//! AUTH both ways (MQTT 5, 3.15), by our own hand: rumqttd's codecs do not know it.

use bytes::{BufMut, Bytes, BytesMut};
use godwit_schemas::reason::Reason;

use super::Fields;
use super::answer::put_string;
use super::frame::Frame;

/// The one authentication method there is: a JSON Web Token as authentication data.
pub(crate) const METHOD: &str = "jwt";

/// "Re-authenticate": what a client says that begins it (MQTT 5, table 3-11).
pub(crate) const RE_AUTHENTICATE: u8 = 0x19;

const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;
const REASON_STRING: u8 = 0x1F;
const USER_PROPERTY: u8 = 0x26;

/// A client's AUTH.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Auth {
    pub(crate) reason: u8,
    pub(crate) method: Option<Bytes>,
    pub(crate) data: Option<Bytes>,
}

/// Reads an AUTH.
///
/// # Errors
/// The reason to close the connection with.
pub(crate) fn read(frame: Frame) -> Result<Auth, Reason> {
    let mut fields = Fields(frame.bytes.freeze());
    fields.take(frame.header_len)?;
    // Both may be left out (MQTT 5, 3.15.2.1).
    if fields.0.is_empty() {
        return Ok(Auth::default());
    }
    let mut auth = Auth { reason: fields.u8()?, ..Auth::default() };
    if fields.varint()? != fields.0.len() {
        return Err(Reason::MALFORMED_PACKET);
    }
    while !fields.0.is_empty() {
        match fields.u8()? {
            AUTHENTICATION_METHOD => once(&mut auth.method, fields.string()?)?,
            AUTHENTICATION_DATA => once(&mut auth.data, fields.binary()?)?,
            REASON_STRING => _ = fields.string()?,
            USER_PROPERTY => _ = (fields.string()?, fields.string()?),
            _ => return Err(Reason::MALFORMED_PACKET),
        }
    }
    Ok(auth)
}

/// To say it twice is against the protocol (MQTT 5, 3.15.2.2).
fn once(field: &mut Option<Bytes>, value: Bytes) -> Result<(), Reason> {
    if field.replace(value).is_some() { Err(Reason::PROTOCOL_ERROR) } else { Ok(()) }
}

/// Appends the server's AUTH: it is done.
pub(crate) fn done(out: &mut BytesMut) {
    let properties = 3 + METHOD.len() as u8;
    out.put_slice(&[0xF0, 2 + properties, Reason::SUCCESS.get(), properties, AUTHENTICATION_METHOD]);
    put_string(out, METHOD.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{Version, frame};

    fn parse(body: &[u8]) -> Result<Auth, Reason> {
        let mut bytes = BytesMut::from(&[&[0xF0, body.len() as u8][..], body].concat()[..]);
        read(frame::split(&mut bytes, Version::V5, 1_000).unwrap().unwrap())
    }

    #[test]
    fn what_a_client_says_is_read() {
        assert_eq!(parse(&[]), Ok(Auth::default()));
        let whole = b"\x19\x1B\x15\0\x03jwt\x16\0\x02ab\x1F\0\x01r\x26\0\x01k\0\x01v";
        let auth = Auth { reason: 0x19, method: Some("jwt".into()), data: Some("ab".into()) };
        assert_eq!(parse(&[&whole[..1], &[whole.len() as u8 - 2], &whole[2..]].concat()), Ok(auth));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for body in
            [&b"\x19"[..], b"\x19\x01", b"\x19\0x", b"\x19\x03\x15\0\x03", b"\x19\x01\x99", b"\x19\x04\x15\0\x01\0"]
        {
            assert_eq!(parse(body), Err(Reason::MALFORMED_PACKET), "{body:02X?}");
        }
        assert_eq!(parse(b"\x19\x08\x15\0\x01a\x15\0\x01a"), Err(Reason::PROTOCOL_ERROR));
    }

    #[test]
    fn the_answer_names_the_method() {
        let mut out = BytesMut::new();
        done(&mut out);
        assert_eq!(out, &b"\xF0\x08\0\x06\x15\0\x03jwt"[..]);
    }
}
