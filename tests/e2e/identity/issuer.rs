//! Who makes tokens: an issuer with an Ed25519 key, and some who pretend to be it.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

pub(crate) struct Issuer {
    key: Ed25519KeyPair,
    folder: TempDir,
}

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
        let it = Self { key, folder: tempfile::tempdir().expect("a folder") };
        fs::write(it.folder.path().join("key.pem"), it.pem()).expect("written");
        it
    }

    /// Of a server that takes its tokens.
    pub(crate) fn settings(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let file = self.folder.path().join("key.pem");
        let own = [("jwt.key_file", file.to_str().expect("text")), ("jwt.issuer", "tests"), ("jwt.audience", "chat")];
        own.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn pem(&self) -> String {
        // SubjectPublicKeyInfo of Ed25519 (RFC 8410, section 4).
        let before = [0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00];
        let key = STANDARD.encode([&before[..], self.key.public_key().as_ref()].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n")
    }

    /// What it publishes (RFC 7517): its key, called `one`.
    pub(crate) fn set(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "one", "x": x }] })
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(json!({ "alg": "EdDSA", "typ": "JWT" }), claims)
    }

    /// One that says which key has signed it.
    pub(crate) fn named_token(&self, key: &str, claims: &Value) -> String {
        self.sign(json!({ "alg": "EdDSA", "kid": key }), claims)
    }

    fn sign(&self, header: Value, claims: &Value) -> String {
        token(&header, claims, |message| self.key.sign(message).as_ref().to_vec())
    }

    /// `alg` is `none`.
    pub(crate) fn unsigned(&self, claims: &Value) -> String {
        token(&json!({ "alg": "none" }), claims, |_| Vec::new())
    }

    /// With its public key, as if that were a shared secret.
    pub(crate) fn confused(&self, claims: &Value) -> String {
        let secret = self.pem();
        token(&json!({ "alg": "HS256" }), claims, |message| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
            mac.update(message);
            mac.finalize().into_bytes().to_vec()
        })
    }
}

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}
