//! Who sends a request: an administrator with the token (Bearer), or a device with its password (Basic, user name
//! `<user>/<device>`). The password is checked where the user is.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use godwit_schemas::ids::{DeviceName, UserId};

use super::problem::Problem;
use super::token::AdminToken;
use crate::chat::Who;

/// What opens the routes of users. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keys(Arc<AdminToken>);

/// Read, not checked.
pub(super) struct Credentials(Who);

impl Credentials {
    pub(super) fn who(&self) -> Who {
        self.0.clone()
    }
}

impl Keys {
    pub(super) fn new(token: AdminToken) -> Self {
        Self(Arc::new(token))
    }

    /// Who wants to act in the name of `user`.
    pub(super) fn read(&self, parts: &Parts, user: &UserId) -> Result<Credentials, Problem> {
        let authorization = parts.headers.get(header::AUTHORIZATION);
        if self.0.opens(authorization) {
            return Ok(Credentials(Who::Administrator));
        }
        let Some((name, device, password)) = authorization.and_then(basic) else {
            return Err(Problem::unauthorized("this needs a device's password or the administrator's token"));
        };
        if name != user.as_str() {
            return Err(Problem::new(StatusCode::FORBIDDEN, "a device acts for its own user only"));
        }
        let device =
            DeviceName::new(&device).map_err(|_| Problem::unauthorized("unknown device, or wrong password"))?;
        Ok(Credentials(Who::Device(device, password.into())))
    }
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
