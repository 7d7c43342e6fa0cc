//! Who sends a request: an administrator with the token (Bearer), a device with its password (Basic, user name
//! `<user>/<device>`), or somebody with a token of the operator's own accounts (Bearer). The password is checked where the
//! user is.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use godwit_bridge::chat::Principal;
use godwit_bridge::password;
use godwit_bridge::token::{self, TokenRefusal, Tokens};
use godwit_schemas::ids::{DeviceName, UserId};

use super::problem::Problem;
use super::token::{AdminScope, AdminTokens, TokenHolder};

/// What opens the routes of users. Cheap to clone.
#[derive(Clone)]
pub(super) struct AuthMethods {
    operators: AdminTokens,
    tokens: Option<Arc<Tokens>>,
}

/// Read, not checked.
pub(super) struct RequestCredentials(Principal);

impl RequestCredentials {
    pub(super) fn who(&self) -> Principal {
        self.0.clone()
    }
}

impl AuthMethods {
    pub(super) fn new(operators: AdminTokens, tokens: Option<Arc<Tokens>>) -> Self {
        Self { operators, tokens }
    }

    /// Who wants to act in the name of `user`.
    pub(super) fn read(&self, parts: &Parts, user: &UserId) -> Result<RequestCredentials, Problem> {
        let authorization = parts.headers.get(header::AUTHORIZATION);
        match self.operators.identify(authorization) {
            Some(TokenHolder::Administrator) => return Ok(RequestCredentials(Principal::Administrator)),
            Some(TokenHolder::Operator { name, scope: AdminScope::Admin }) => {
                return Ok(RequestCredentials(Principal::Operator(name)));
            }
            Some(TokenHolder::Operator { scope, .. }) => return Err(scope.refuse(AdminScope::Admin)),
            None => {}
        }
        if let Some(tokens) = &self.tokens
            && let Some(token) = authorization.and_then(bearer).filter(|token| token::looks_like_one(token))
        {
            return verified(tokens, token, user);
        }
        let Some((name, device, password)) = authorization.and_then(basic) else {
            return Err(Problem::unauthorized("this needs a device's password or the administrator's token"));
        };
        if name != user.as_str() {
            return Err(Problem::new(StatusCode::FORBIDDEN, "a device acts for its own user only"));
        }
        let device = DeviceName::new(&device)
            .map_err(|_| Problem::unauthorized(password::NOT_GOOD).because(password::why_not(true, false)))?;
        Ok(RequestCredentials(Principal::Device(device, password.into())))
    }
}

/// Who has shown a token.
fn verified(tokens: &Tokens, token: &[u8], user: &UserId) -> Result<RequestCredentials, Problem> {
    match tokens.verify(token) {
        Ok(claims) if claims.user == *user => Ok(RequestCredentials(Principal::Token(claims.device))),
        Ok(_) => Err(Problem::new(StatusCode::FORBIDDEN, "a token acts for its own user only")),
        Err(TokenRefusal::Bad(why)) => Err(Problem::unauthorized(format!("the token is not good: {why}")).because(why)),
        Err(TokenRefusal::Later) => {
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the issuer's keys are being fetched: try again"))
        }
    }
}

/// The token of a header (RFC 6750, section 2.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// User, device and password of a header (RFC 7617).
fn basic(value: &HeaderValue) -> Option<(String, String, Vec<u8>)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, device) = std::str::from_utf8(&decoded[..colon]).ok()?.split_once('/')?;
    Some((user.to_owned(), device.to_owned(), decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_read_or_are_none() {
        let read =
            |text: &str| basic(&HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(text))).expect("a header"));
        let expected = ("alice".to_owned(), "phone".to_owned(), b"se:cret".to_vec());
        assert_eq!(read("alice/phone:se:cret"), Some(expected));
        for bad in ["", "alice:secret", "alice/phone", ":"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        for bad in ["Basic !!!", "Basic", "Bearer YS9iOmM=", ""] {
            assert_eq!(basic(&HeaderValue::from_str(bad).expect("a header")), None, "{bad}");
        }
    }
}
