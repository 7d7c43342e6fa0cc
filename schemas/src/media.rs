//! Names of files: 16 random bytes, as text on the wire. Whoever knows one was told it.

use std::fmt;
use std::str::FromStr;

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a media id has 22 of the characters A-Z a-z 0-9 - _")]
pub struct BadMediaId;

/// A file that messages refer to. Also names the object that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId([u8; 16]);

/// RFC 4648, section 5.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Characters that 128 bits take.
const TEXT_LEN: usize = 22;

impl MediaId {
    /// From random bytes, or from the store.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for MediaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Six bits for each character, the last four bits filled up with zeros.
        let bits = u128::from_be_bytes(self.0);
        let at = |index: usize| {
            let shift = 122_i32 - 6 * index as i32;
            let six = if shift >= 0 { bits >> shift } else { bits << -shift };
            char::from(ALPHABET[(six & 63) as usize])
        };
        f.write_str(&(0..TEXT_LEN).map(at).collect::<String>())
    }
}

impl FromStr for MediaId {
    type Err = BadMediaId;

    fn from_str(text: &str) -> Result<Self, BadMediaId> {
        if text.len() != TEXT_LEN {
            return Err(BadMediaId);
        }
        let (mut bits, mut last) = (0_u128, 0);
        for (index, byte) in text.bytes().enumerate() {
            let six = ALPHABET.iter().position(|known| *known == byte).ok_or(BadMediaId)? as u128;
            if index < TEXT_LEN - 1 {
                bits = bits << 6 | six;
            } else {
                last = six;
            }
        }
        // 21 characters are 126 bits; of the last one two count, and one id has one text.
        if last & 15 != 0 {
            return Err(BadMediaId);
        }
        Ok(Self((bits << 2 | last >> 4).to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_has_one_text() {
        let id = MediaId::new([0xFB, 0xFF, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x7F]);
        assert_eq!(id.to_string(), "-_8AAQIDBAUGBwgJCgsMfw");
        for id in [id, MediaId::new([0; 16]), MediaId::new([255; 16])] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for bad in ["", "-_8AAQIDBAUGBwgJCgsMf", "-_8AAQIDBAUGBwgJCgsMfx", "-_8AAQIDBAUGBwgJCgsM/w", &"é".repeat(11)] {
            assert_eq!(bad.parse::<MediaId>(), Err(BadMediaId), "{bad}");
        }
    }
}
