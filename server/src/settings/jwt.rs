//! The section `[jwt]`: tokens of accounts that the operator has elsewhere.

use std::path::PathBuf;

use godwit_bridge::token::{TokenSettings, algorithm};

use super::events::url_of;
use super::layers::Layers;
use super::number;

/// See `deploy/godwit.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Jwt {
    pub(crate) keys: KeysAt,
    pub(crate) tokens: TokenSettings,
}

/// Where the issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeysAt {
    File(PathBuf),
    Url(String),
}

/// `None`: there are none.
pub(super) fn parse(from: &mut Layers) -> Option<Jwt> {
    let algorithms = from.take("jwt.algorithms", |names: Vec<String>| {
        let known = |name: &String| algorithm(name).ok_or(format!("{name:?} is none of RS256, ES256, EdDSA"));
        let known = names.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        if known.is_empty() { Err("is empty".to_owned()) } else { Ok(known) }
    });
    let file = from.take("jwt.key_file", Ok::<String, String>);
    let url = from.take("jwt.jwks_url", |url: String| url_of(url, false));
    let user_claim = from.take("jwt.user_claim", |claim: String| match claim.as_str() {
        "" => Err("is empty".to_owned()),
        _ => Ok(claim),
    });
    let tokens = TokenSettings {
        algorithms,
        issuer: from.take("jwt.issuer", Ok::<String, String>),
        audience: from.take("jwt.audience", Ok::<String, String>),
        user_claim,
        device_claim: from.take("jwt.device_claim", Ok::<String, String>),
        leeway_s: number(from, "jwt.leeway_s", 0..=600),
        lifetime_max_s: number(from, "jwt.lifetime_max_s", 60..=31_536_000),
        create_users: from.take("jwt.create_users", Ok::<bool, String>),
    };
    let keys = match (file.is_empty(), url) {
        (true, None) => return None,
        (false, None) => KeysAt::File(PathBuf::from(file)),
        (true, Some(url)) => KeysAt::Url(url),
        (false, Some(_)) => {
            from.refuse("jwt.jwks_url", "means nothing beside jwt.key_file".to_owned());
            return None;
        }
    };
    Some(Jwt { keys, tokens })
}
