//! The operator's own accounts: JSON Web Tokens (RFC 7519) in place of a device's password, over MQTT and HTTP. Lanes and the
//! HTTP API have them verified here; nothing is asked of anybody meanwhile.
//!
//! - `keys`: the issuer's keys, from a file or a URL. `crypto`: their signatures, by ring.
//!
//! What a token may be signed with is said by the settings, never by the token: a key only verifies the algorithm of its own
//! kind, and no shared secret is a key (RFC 8725, sections 3.1 and 3.2).

use std::fmt;
use std::sync::Arc;

use godwit_schemas::ids::{DeviceName, UserId};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use self::keys::Keys;
use crate::store::ClockS;

mod crypto;
mod keys;
#[cfg(test)]
mod tests;

pub use self::keys::{BadKey, Source};

/// What tokens must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSettings {
    /// Of RS256, ES256 and EdDSA.
    pub algorithms: Vec<Algorithm>,
    /// `iss`; empty: anybody's.
    pub issuer: String,
    /// One of `aud`; empty: a token must have none.
    pub audience: String,
    /// The claim that names the user.
    pub user_claim: String,
    /// The claim that names the device; empty: a token is for all devices of its user.
    pub device_claim: String,
    /// By how much clocks may differ, in seconds.
    pub leeway_s: u32,
    /// How far its end may be away, in seconds.
    pub lifetime_max_s: u32,
    /// Users and devices that a token names, and that are not there, are made when they connect.
    pub create_users: bool,
}

/// An algorithm by its name (RFC 7518, section 3.1; RFC 8037): the three that need no secret here.
pub fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "RS256" => Some(Algorithm::RS256),
        "ES256" => Some(Algorithm::ES256),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) user: UserId,
    /// `None`: any of the user's.
    pub(crate) device: Option<DeviceName>,
    /// Second since 1970 from which on it is good no more, leeway included.
    pub(crate) ends_at_s: u32,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is not good, and why.
    Bad(&'static str),
    /// It may be good: its key is being fetched.
    Later,
}

/// Verifies tokens. Shared by lanes and the HTTP API.
pub struct Tokens {
    pub(crate) settings: TokenSettings,
    keys: Keys,
    clock: ClockS,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Two dots, which no password of ours has.
pub(crate) fn looks_like_one(password: &[u8]) -> bool {
    password.iter().filter(|byte| **byte == b'.').count() == 2
}

impl Tokens {
    /// Verifies with the keys of `source`. Those at a URL are fetched from now on: must be called within a runtime.
    pub fn new(settings: TokenSettings, source: Source, clock: ClockS) -> Arc<Self> {
        crypto::install();
        Arc::new(Self { settings, keys: Keys::start(source), clock })
    }

    /// What a token says, if it is good now. Costs a signature's verification, some ten to a hundred microseconds.
    pub(crate) fn verify(&self, token: &[u8]) -> Result<Claims, Refused> {
        let bad = Refused::Bad;
        let header = decode_header(token).map_err(|_| bad("malformed"))?;
        if !self.settings.algorithms.contains(&header.alg) {
            return Err(bad("algorithm"));
        }
        let Some(key) = self.keys.find(header.kid.as_deref(), header.alg.family()) else {
            return Err(if self.keys.fetch_others() { Refused::Later } else { bad("key") });
        };
        let decoded = decode::<Map<String, Value>>(token, &key, &self.validation(header.alg));
        let claims = decoded.map_err(|error| bad(fault(error.kind())))?.claims;
        self.read(&claims).map_err(bad)
    }

    /// Times are compared with our own clock, in [`Self::read`].
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let TokenSettings { issuer, audience, .. } = &self.settings;
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        let mut required = vec!["exp"];
        if !issuer.is_empty() {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if !audience.is_empty() {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    fn read(&self, claims: &Map<String, Value>) -> Result<Claims, &'static str> {
        let TokenSettings { user_claim, device_claim, leeway_s, lifetime_max_s, .. } = &self.settings;
        let (now_s, leeway_s) = (u64::from((self.clock)()), u64::from(*leeway_s));
        let expires_at_s = seconds(claims.get("exp").ok_or("claims")?)?;
        let ends_at_s = expires_at_s.saturating_add(leeway_s);
        if now_s >= ends_at_s {
            return Err("expired");
        }
        if expires_at_s > now_s.saturating_add(u64::from(*lifetime_max_s)).saturating_add(leeway_s) {
            return Err("lifetime");
        }
        let not_before_s = claims.get("nbf").map_or(Ok(0), seconds)?;
        if not_before_s > now_s.saturating_add(leeway_s) {
            return Err("not yet good");
        }
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str).ok_or("claims");
        let user = UserId::new(text(user_claim)?).map_err(|_| "user")?;
        let device = match device_claim.as_str() {
            "" => None,
            claim => Some(DeviceName::new(text(claim)?).map_err(|_| "device")?),
        };
        Ok(Claims { user, device, ends_at_s: u32::try_from(ends_at_s).unwrap_or(u32::MAX) })
    }
}

/// A NumericDate (RFC 7519, section 2), which may have a fraction.
fn seconds(value: &Value) -> Result<u64, &'static str> {
    let of_float = || value.as_f64().filter(|it| (0.0..1e15).contains(it)).map(|it| it as u64);
    value.as_u64().or_else(of_float).ok_or("claims")
}

fn fault(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature | ErrorKind::InvalidRsaKey(_) | ErrorKind::InvalidEcdsaKey => "signature",
        ErrorKind::InvalidIssuer => "issuer",
        ErrorKind::InvalidAudience => "audience",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => "algorithm",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => "claims",
        _ => "malformed",
    }
}
