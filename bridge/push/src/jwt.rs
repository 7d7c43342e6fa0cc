//! JSON Web Tokens that show push services who this server is: ES256 for Apple and for Web Push (VAPID, RFC 8292), RS256 for
//! Google.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// A key cannot be used. Says nothing of the key itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// No PEM.
    #[error("no private key in PEM (\"BEGIN PRIVATE KEY\")")]
    NotPem,
    /// Another kind of key, or damaged.
    #[error("not a {wanted} key in PKCS #8: {why}")]
    Unfit {
        /// What it should be.
        wanted: &'static str,
        /// As ring says it.
        why: String,
    },
    /// A field that should be there.
    #[error("no field {0:?}")]
    NoField(&'static str),
    /// Not JSON.
    #[error("not JSON")]
    NotJson,
}

/// A private key that signs tokens.
pub(crate) struct Signer {
    key: Key,
    id: Option<String>,
}

enum Key {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// Signs with ES256. `id`: the key's, for the header.
    pub(crate) fn p256(pkcs8: &[u8], id: Option<String>) -> Result<Self, BadKey> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new());
        let unfit = |why: ring::error::KeyRejected| BadKey::Unfit { wanted: "P-256", why: why.to_string() };
        Ok(Self { key: Key::P256(key.map_err(unfit)?), id })
    }

    /// The same, from PEM.
    pub(crate) fn p256_pem(pem: &[u8], id: Option<String>) -> Result<Self, BadKey> {
        Self::p256(&pkcs8(pem)?, id)
    }

    /// Signs with RS256.
    pub(crate) fn rsa_pem(pem: &[u8], id: Option<String>) -> Result<Self, BadKey> {
        let unfit = |why: ring::error::KeyRejected| BadKey::Unfit { wanted: "RSA", why: why.to_string() };
        Ok(Self { key: Key::Rsa(RsaKeyPair::from_pkcs8(&pkcs8(pem)?).map_err(unfit)?), id })
    }

    /// The public key of a P-256 key, an uncompressed point; of another, nothing.
    pub(crate) fn public(&self) -> &[u8] {
        match &self.key {
            Key::P256(key) => key.public_key().as_ref(),
            Key::Rsa(_) => &[],
        }
    }

    /// A token with these claims. `None`: the system gives no random bits.
    pub(crate) fn token(&self, claims: &Value) -> Option<String> {
        let algorithm = match self.key {
            Key::P256(_) => "ES256",
            Key::Rsa(_) => "RS256",
        };
        let mut header = json!({ "typ": "JWT", "alg": algorithm });
        if let Some(id) = &self.id {
            header["kid"] = id.as_str().into();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self.sign(signed.as_bytes())?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.key {
            Key::P256(key) => key.sign(&random, message).ok().map(|signature| signature.as_ref().to_vec()),
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

fn pkcs8(pem: &[u8]) -> Result<Vec<u8>, BadKey> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| BadKey::NotPem)?;
    Ok(key.secret_pkcs8_der().to_vec())
}

/// A new key for [`crate::Gateway::use_key`], in PKCS #8. `None`: the system gives no random bits.
pub fn generate_key() -> Option<Vec<u8>> {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).ok()?;
    Some(key.as_ref().to_vec())
}

/// The public part of such a key, an uncompressed point.
///
/// # Errors
/// It is no such key.
pub fn public_key(pkcs8: &[u8]) -> Result<Vec<u8>, BadKey> {
    Ok(Signer::p256(pkcs8, None)?.public().to_vec())
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_token_is_verified_by_the_public_key() {
        let signer = Signer::p256(&generate_key().unwrap(), Some("K1".to_owned())).unwrap();
        let token = signer.token(&json!({ "aud": "https://example.org" })).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, signer.public());
        key.verify(signed.as_bytes(), &signature).unwrap();
        let header = URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().0).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header, json!({ "typ": "JWT", "alg": "ES256", "kid": "K1" }));
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_without_its_content() {
        let refused = Signer::p256_pem(b"secret", None).unwrap_err();
        assert_eq!(refused, BadKey::NotPem);
        let pem = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        let refused = Signer::p256_pem(pem.as_bytes(), None).unwrap_err().to_string();
        assert!(refused.starts_with("not a P-256 key in PKCS #8") && !refused.contains("c2Vj"), "{refused}");
    }
}
