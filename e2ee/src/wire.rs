//! The bytes of what is signed and stored: the presentation language of RFC 9420, section 2.1, so that nobody has to
//! learn a second one.
//!
//! Numbers are in network order. `opaque<V>` is a vector behind its length, which has 1, 2 or 4 bytes, and always as few
//! as it can: one value has one encoding.

use crate::crypto::{self, CryptoError, SIGNATURE_BYTES, SigningKey};

/// The bytes end too early, go on behind the end, or are not the one encoding of what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed bytes")]
pub struct Malformed;

/// Appends `opaque<V>`.
///
/// # Panics
///
/// `bytes` has 2^30 bytes or more.
pub(crate) fn put_opaque(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        n @ ..0x40 => out.push(n as u8),
        n @ 0x40..0x4000 => out.extend_from_slice(&(0x4000 | n as u16).to_be_bytes()),
        n => {
            assert!(n < 0x4000_0000, "a vector of {n} bytes");
            out.extend_from_slice(&(0x8000_0000 | n as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// Reads what was encoded, from the front.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn opaque(&mut self) -> Result<&'a [u8], Malformed> {
        let first = self.u8()?;
        let high = usize::from(first & 0x3f);
        let length = match first >> 6 {
            0 => high,
            1 => Some(high << 8 | usize::from(self.u8()?)).filter(|n| *n >= 0x40).ok_or(Malformed)?,
            2 => {
                let [a, b, c] = self.array()?;
                let length = high << 24 | usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                Some(length).filter(|n| *n >= 0x4000).ok_or(Malformed)?
            }
            _ => return Err(Malformed),
        };
        self.bytes(length)
    }

    /// What is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// # Errors
    ///
    /// Something is left.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// What is signed in place of `content`: nothing that is signed for one purpose is valid for another. As `SignContent` of
/// RFC 9420, section 5.1.2, with labels that begin with another word, so that no signature of MLS is one of these.
fn labelled(label: &str, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(label.len() + content.len() + 16);
    put_opaque(&mut out, format!("Godwit 1.0 {label}").as_bytes());
    put_opaque(&mut out, content);
    out
}

/// Signs `content` for the purpose `label`.
pub(crate) fn sign(key: &SigningKey, label: &str, content: &[u8]) -> [u8; SIGNATURE_BYTES] {
    key.sign(&labelled(label, content))
}

/// Whether the owner of `public` has signed `content` for the purpose `label`.
pub(crate) fn verify(public: &[u8], label: &str, content: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    crypto::verify(public, &labelled(label, content), signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_has_one_encoding() {
        for length in [0, 1, 0x3f, 0x40, 0x3fff, 0x4000, 70_000] {
            let mut out = Vec::new();
            put_opaque(&mut out, &vec![7; length]);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.opaque().map(<[u8]>::len), Ok(length));
            assert_eq!(reader.end(), Ok(()));
        }
        for bad in [&[0x40, 0x01, 0][..], &[0x80, 0, 0, 1, 0], &[0xc0], &[2, 0], &[0x40], &[]] {
            assert_eq!(Reader::new(bad).opaque(), Err(Malformed), "{bad:?}");
        }
    }
}
