//! The operator's own accounts: JSON Web Tokens (RFC 7519) in place of a device's password, over MQTT and HTTP. Lanes and the
//! HTTP API have them verified here; nothing is asked of anybody meanwhile. Keeps P5: a token speaks
//! for the user that it names and, if it names a device, for that one alone.
//!
//! - `keys`: the issuer's keys, from a file or a URL. `crypto`: their signatures, by ring.
//!
//! What a token may be signed with is said by the settings, never by the token: a key only verifies the algorithm of its own
//! kind, and no shared secret is a key (RFC 8725, sections 3.1 and 3.2).

use std::fmt;
use std::sync::Arc;

use godwit_schemas::ids::{DeviceName, UserId};
use godwit_store::ClockS;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use self::keys::VerificationKeys;

mod crypto;
mod keys;
#[cfg(test)]
mod tests;

pub use self::keys::{BadKey, KeySource};

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
pub struct Claims {
    /// Whose token it is.
    pub user: UserId,
    /// The device that it names; `None`: it is good for any device of the user.
    pub device: Option<DeviceName>,
    /// Second since 1970 from which on it is good no more, leeway included.
    pub ends_at_s: u32,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// It is not good, and why.
    Bad(&'static str),
    /// It may be good: its key is being fetched.
    Later,
}

/// Verifies tokens. Shared by lanes and the HTTP API.
pub struct Tokens {
    pub(crate) settings: TokenSettings,
    keys: VerificationKeys,
    clock: ClockS,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Two dots, which no password of ours has.
pub fn looks_like_one(password: &[u8]) -> bool {
    password.iter().filter(|byte| **byte == b'.').count() == 2
}

impl Tokens {
    /// Verifies with the keys of `source`, by the wall clock. Those at a URL are fetched from now on: must be called within a runtime.
    pub fn new(settings: TokenSettings, source: KeySource, clock: ClockS) -> Arc<Self> {
        crypto::install();
        Arc::new(Self { settings, keys: VerificationKeys::start(source), clock })
    }

    /// By which tokens are judged, in seconds since 1970: the issuer's clock is no other than this.
    pub(crate) fn now_s(&self) -> u32 {
        (self.clock)()
    }

    /// What a token says, if it is good now. Costs the verification of a signature, ten to a hundred microseconds.
    ///
    /// # Errors
    /// [`TokenRefusal`]: another attempt helps only with [`TokenRefusal::Later`].
    pub fn verify(&self, token: &[u8]) -> Result<Claims, TokenRefusal> {
        let bad = TokenRefusal::Bad;
        let header = decode_header(token).map_err(|_| bad("malformed"))?;
        if !self.settings.algorithms.contains(&header.alg) {
            return Err(bad("algorithm"));
        }
        let Some(key) = self.keys.find(header.kid.as_deref(), header.alg.family()) else {
            return Err(if self.keys.fetch_others() { TokenRefusal::Later } else { bad("key") });
        };
        let decoded = decode::<Map<String, Value>>(token, &key, &Self::validation(header.alg));
        let claims = decoded.map_err(|error| bad(fault(error.kind())))?.claims;
        self.read(&claims).map_err(bad)
    }

    /// The signature only: what the claims are, and of which type, is for [`Self::read`] to see.
    fn validation(algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims::<&str>(&[]);
        validation
    }

    fn read(&self, claims: &Map<String, Value>) -> Result<Claims, &'static str> {
        let TokenSettings { issuer, audience, user_claim, device_claim, leeway_s, lifetime_max_s, .. } = &self.settings;
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str).ok_or("claims");
        if !issuer.is_empty() && text("iss")? != issuer {
            return Err("issuer");
        }
        is_for(claims.get("aud"), audience)?;
        let (now_s, leeway_s) = (u64::from(self.now_s()), u64::from(*leeway_s));
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
        let user = UserId::new(text(user_claim)?).map_err(|_| "user")?;
        let device = match device_claim.as_str() {
            "" => None,
            claim => Some(DeviceName::new(text(claim)?).map_err(|_| "device")?),
        };
        Ok(Claims { user, device, ends_at_s: u32::try_from(ends_at_s).unwrap_or(u32::MAX) })
    }
}

/// Whether `aud`, a string or a list of strings (RFC 7519, 4.1.3), names us. Whoever has no name takes tokens for nobody in
/// particular.
fn is_for(aud: Option<&Value>, audience: &str) -> Result<(), &'static str> {
    let names: Vec<&str> = match aud {
        None => Vec::new(),
        Some(Value::Array(names)) => names.iter().map(Value::as_str).collect::<Option<_>>().ok_or("claims")?,
        Some(name) => vec![name.as_str().ok_or("claims")?],
    };
    match (aud, audience) {
        (None, "") => Ok(()),
        (None, _) => Err("claims"),
        (Some(_), audience) if !audience.is_empty() && names.contains(&audience) => Ok(()),
        (Some(_), _) => Err("audience"),
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
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => "algorithm",
        _ => "malformed",
    }
}
