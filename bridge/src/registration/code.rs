//! One code: drawn, kept as a keyed hash, and judged. Without the key, which is derived from the store's own secret, the
//! hash of a code tells nothing; with it a code of six digits is quickly found, and by then too old.

use hmac::{Hmac, Mac as _};
use prost::Message;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::phone::PhoneHash;

/// What is kept of the latest code of a number.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CodeRecord {
    /// HMAC-SHA256 of number and code.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) hash: Vec<u8>,
    /// Second since 1970 from which on it is void.
    #[prost(uint32, tag = "2")]
    pub(super) expires_at_s: u32,
    /// Guesses that it still bears.
    #[prost(uint32, tag = "3")]
    pub(super) tries_left: u32,
}

/// A random code of so many digits. (2^64 is so much more than 10^10 that no code is likelier than another.)
///
/// # Errors
/// The system has no randomness to give.
pub(super) fn draw(digits: u32) -> Result<String, getrandom::Error> {
    let code = getrandom::u64()? % 10_u64.pow(digits);
    Ok(format!("{code:0width$}", width = digits as usize))
}

/// What is kept of a code. It is bound to its number.
pub(super) fn hash(key: &[u8; 32], number: &PhoneHash, code: &str) -> [u8; 32] {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(number);
    mac.update(code.as_bytes());
    mac.finalize().into_bytes().into()
}

/// Whether the code is right, and what is kept from here on: nothing of one that was right or has borne its last guess.
/// The same is done, and something is to be written, whether there is a code or not: time tells nothing.
pub(super) fn judge(kept: Option<CodeRecord>, said: &[u8; 32], now_s: u32) -> (bool, Option<CodeRecord>) {
    let (live, kept) = match kept.filter(|kept| now_s < kept.expires_at_s && kept.tries_left > 0) {
        Some(kept) => (true, kept),
        None => (false, CodeRecord { hash: vec![0; 32], expires_at_s: 0, tries_left: 0 }),
    };
    let right = bool::from(kept.hash.ct_eq(said)) && live;
    let tries_left = kept.tries_left.saturating_sub(1);
    (right, (!right && tries_left > 0).then_some(CodeRecord { tries_left, ..kept }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(code: &str) -> CodeRecord {
        CodeRecord { hash: hash(&[1; 32], &[2; 32], code).to_vec(), expires_at_s: 100, tries_left: 2 }
    }

    #[test]
    fn a_code_is_good_once_for_its_number_in_its_time() {
        let said = |code: &str| hash(&[1; 32], &[2; 32], code);
        assert_eq!(judge(Some(kept("123456")), &said("123456"), 99), (true, None));
        assert_eq!(judge(Some(kept("123456")), &said("123456"), 100), (false, None), "too old");
        assert!(!judge(Some(kept("123456")), &hash(&[1; 32], &[3; 32], "123456"), 99).0, "another number's");
        assert!(!judge(Some(kept("123456")), &hash(&[9; 32], &[2; 32], "123456"), 99).0, "another key");
        assert_eq!(judge(None, &said("123456"), 99), (false, None));
        assert_eq!(judge(None, &[0; 32], 99), (false, None));
    }

    #[test]
    fn a_code_bears_so_many_guesses() {
        let said = |code: &str| hash(&[1; 32], &[2; 32], code);
        let (right, after) = judge(Some(kept("123456")), &said("000000"), 0);
        assert_eq!((right, after.as_ref().map(|kept| kept.tries_left)), (false, Some(1)));
        assert_eq!(judge(after.clone(), &said("123456"), 0), (true, None), "the last one may be right");
        let (right, after) = judge(after, &said("000000"), 0);
        assert_eq!((right, after), (false, None));
    }

    #[test]
    fn codes_have_their_digits() {
        let codes: Vec<_> = (0..100).map(|_| draw(4).unwrap()).collect();
        assert!(codes.iter().all(|code| code.len() == 4 && code.bytes().all(|byte| byte.is_ascii_digit())));
        assert!(codes.iter().any(|code| *code != codes[0]));
        assert_eq!(draw(10).unwrap().len(), 10);
    }
}
