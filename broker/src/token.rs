//! Whom a token names, for clients that do not say it again as user name and client identifier. Called at CONNECT.
//!
//! It is believed as much as a user name is, which is not at all: it says which lane to ask, and for whom. That lane
//! verifies the token and compares.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The claims of a JSON Web Token that name somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The user.
    pub user: String,
    /// The device; empty: tokens name none.
    pub device: String,
}

/// Who is named; empty: nobody.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) user: String,
    pub(crate) device: String,
}

impl Claims {
    /// Looks into what may be a token (RFC 7519, section 3). It has no more bytes than a CONNECT.
    pub(crate) fn read(&self, token: &str) -> Named {
        let mut payload = payload(token).unwrap_or_default();
        let mut text = |claim: &str| match payload.remove(claim) {
            Some(Value::String(text)) if !claim.is_empty() => text,
            _ => String::new(),
        };
        Named { user: text(&self.user), device: text(&self.device) }
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
        let claims = Claims { user: "sub".to_owned(), device: "device".to_owned() };
        let Named { user, device } = claims.read(&format!("e30.{}.x", URL_SAFE_NO_PAD.encode(payload)));
        (user, device)
    }

    #[test]
    fn claims_are_read_and_nothing_else() {
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
    fn what_is_no_token_names_nobody() {
        let claims = Claims { user: "sub".to_owned(), device: String::new() };
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"alice","":"x"}"#);
        assert_eq!(claims.read(&format!("a.{payload}.b")), Named { user: "alice".to_owned(), device: String::new() });
        for junk in ["", ".", "..", "...", "a.b.c", &payload, &format!("a.{payload}"), &format!("a.{payload}.b.c")] {
            assert_eq!(claims.read(junk), Named::default(), "{junk}");
        }
    }
}
