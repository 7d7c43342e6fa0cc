//! The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a name, of the caller's choosing, for a message
//! that is sent once. To a conversation it is the name of a count: of this one message, or, with a `client_sequence`, of as
//! many as its owner counts under it. Keeps P3 over HTTP.

use axum::http::{HeaderMap, StatusCode};
use godwit_schemas::client;
use sha2::{Digest as _, Sha256};

use super::problem::Problem;

const NAME: &str = "idempotency-key";
/// Longest key.
const BYTES_MAX: usize = 255;

/// What stands in the header; nothing, if it is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct IdempotencyKey(Option<u64>);

impl IdempotencyKey {
    /// Reads the header: any visible characters, in quotes (as the draft has it) or without.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, format!("Idempotency-Key: {detail}"));
        let mut values = headers.get_all(NAME).iter();
        let Some(value) = values.next() else { return Ok(Self::default()) };
        if values.next().is_some() {
            return Err(bad("more than one"));
        }
        let key = value.to_str().map_err(|_| bad("not visible ASCII"))?.trim();
        let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
        let is_visible = key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        if !(1..=BYTES_MAX).contains(&key.len()) || !is_visible {
            return Err(bad("1 to 255 visible characters, in quotes or without"));
        }
        let digest: [u8; 32] = Sha256::digest(key).into();
        // 0 is the count without a name.
        Ok(Self(Some(u64::from_be_bytes(digest[..8].try_into().unwrap_or_default()).max(1))))
    }

    /// Counts the message under the key.
    pub(super) fn count(self, message: client::Send) -> client::Send {
        let Some(counter) = self.0 else { return message };
        client::Send { counter, client_sequence: message.client_sequence.max(1), ..message }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn key(values: &[&str]) -> Result<IdempotencyKey, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(NAME, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        IdempotencyKey::read(&headers)
    }

    #[test]
    fn a_key_is_what_stands_between_the_quotes() {
        assert_eq!(key(&["\"8e03978e-40d5\""]), key(&["8e03978e-40d5"]));
        assert_ne!(key(&["8e03978e-40d5"]), key(&["8e03978e-40d6"]));
        assert_eq!(key(&[]), Ok(IdempotencyKey(None)));
        for bad in [&[""][..], &["\"\""], &["a", "b"], &["\u{e9}"], &["a b"], &["a\"b"], &["\"a"], &[&"x".repeat(256)]]
        {
            assert!(key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_alone_is_of_one_message() {
        let message = |counter, client_sequence| client::Send { counter, client_sequence, ..Default::default() };
        let key = key(&["k"]).expect("a key");
        let counter = key.0.expect("a counter");
        assert_eq!(key.count(message(0, 0)), message(counter, 1));
        assert_eq!(key.count(message(0, 7)), message(counter, 7));
        assert_eq!(IdempotencyKey(None).count(message(0, 7)), message(0, 7));
    }
}
