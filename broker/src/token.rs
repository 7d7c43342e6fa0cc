//! The user and device that a token names, for clients that leave them out of CONNECT.
//!
//! The token is not verified here, so the names are trusted as little as a user name is: they only decide which lane is asked, and for
//! whom. The lane verifies the token and compares the names.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The claims of a JSON Web Token that name the user and the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenClaims {
    /// The claim that names the user.
    pub user: String,
    /// The claim that names the device; empty: tokens name no device.
    pub device: String,
}

/// The names in a token; empty where it has none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenIdentity {
    pub(crate) user: String,
    pub(crate) device: String,
}

impl TokenClaims {
    /// Reads the names in a token (RFC 7519, section 3), without verifying it. Anything that is no token names nobody. The caller bounds its
    /// size, by that of a CONNECT.
    pub(crate) fn read(&self, token: &str) -> TokenIdentity {
        let mut payload = payload(token).unwrap_or_default();
        let mut text = |claim: &str| match payload.remove(claim) {
            Some(Value::String(text)) if !claim.is_empty() => text,
            _ => String::new(),
        };
        TokenIdentity { user: text(&self.user), device: text(&self.device) }
    }
}

fn payload(token: &str) -> Option<Map<String, Value>> {
    let (_, rest) = token.split_once('.')?;
    let (payload, signature) = rest.split_once('.')?;
    if signature.contains('.') {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(payload: &str) -> (String, String) {
        let claims = TokenClaims { user: "sub".to_owned(), device: "device".to_owned() };
        let TokenIdentity { user, device } = claims.read(&format!("e30.{}.x", URL_SAFE_NO_PAD.encode(payload)));
        (user, device)
    }

    #[test]
    fn only_the_configured_claims_are_read() {
        let both = ("alice".to_owned(), "phone".to_owned());
        assert_eq!(named(r#"{"sub":"alice","device":"phone","exp":1}"#), both);
        assert_eq!(named(r#"{"sub":"alice"}"#), ("alice".to_owned(), String::new()));
        let nobody = (String::new(), String::new());
        for junk in ["", "[]", "{}", "7", r#"{"sub":7}"#, r#"{"sub":["alice"]}"#, r#"{"sub":"alice""#] {
            assert_eq!(named(junk), nobody, "{junk}");
        }
        assert_eq!(named(&"[".repeat(16_000)), nobody);
        assert_eq!(named(&r#"{"sub":"#.repeat(2_000)), nobody);
    }

    #[test]
    fn other_texts_than_tokens_name_nobody() {
        let claims = TokenClaims { user: "sub".to_owned(), device: String::new() };
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"alice","":"x"}"#);
        assert_eq!(
            claims.read(&format!("a.{payload}.b")),
            TokenIdentity { user: "alice".to_owned(), device: String::new() }
        );
        for junk in ["", ".", "..", "...", "a.b.c", &payload, &format!("a.{payload}"), &format!("a.{payload}.b.c")] {
            assert_eq!(claims.read(junk), TokenIdentity::default(), "{junk}");
        }
    }
}
