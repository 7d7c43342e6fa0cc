//! The administrator's token. Only its hash is kept here, and compared in constant time: neither its content nor its
//! length shows in how long a refusal takes.

use std::io;

use axum::http::HeaderValue;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::hex::hex;

/// Opens the HTTP API to who knows the token. Cheap to clone.
#[derive(Clone)]
pub struct AdminToken {
    hash: [u8; 32],
}

impl AdminToken {
    /// The lock that `token` opens.
    pub fn new(token: &str) -> Self {
        Self { hash: Sha256::digest(token).into() }
    }

    /// A new random token of 256 bits, and the lock it opens.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate() -> io::Result<(String, Self)> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        let token = hex(&bytes);
        let lock = Self::new(&token);
        Ok((token, lock))
    }

    /// Whether an `Authorization` header carries the token (RFC 6750, section 2.1).
    pub(super) fn opens(&self, authorization: Option<&HeaderValue>) -> bool {
        let credentials = authorization.and_then(|value| value.as_bytes().split_at_checked(b"Bearer ".len()));
        let Some((scheme, token)) = credentials else { return false };
        let hash: [u8; 32] = Sha256::digest(token).into();
        scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(hash.ct_eq(&self.hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let (token, lock) = AdminToken::generate().expect("randomness");
        let opens = |text: &str| lock.opens(Some(&HeaderValue::from_str(text).expect("a header")));
        assert_eq!(token.len(), 64);
        assert!(opens(&format!("Bearer {token}")));
        assert!(opens(&format!("bearer {token}")));
        assert!(!opens(&token));
        assert!(!opens(&format!("Basic {token}")));
        assert!(!opens(&format!("Bearer {}", &token[1..])));
        assert!(!opens(&format!("Bearer {token}0")));
        assert!(!opens("Bearer "));
        assert!(!opens(""));
        assert!(!lock.opens(None));
    }
}
