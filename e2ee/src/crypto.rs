//! The primitives of cipher suite 0x0001, by ring and x25519-dalek: the only place that names them.
//!
//! ring has no X25519 keys that can be stored, which HPKE needs; x25519-dalek has.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk};
use ring::rand::SecureRandom as _;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use ring::{digest, hmac, rand};
use zeroize::Zeroizing;

/// Bytes of a SHA-256 hash, and of a secret of HKDF.
pub const HASH_BYTES: usize = 32;
/// Bytes of a public key of Ed25519 or X25519, and of a private one.
pub const KEY_BYTES: usize = 32;
/// Bytes of a signature by Ed25519.
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes of the tag behind what AES-GCM has sealed.
pub const TAG_BYTES: usize = MAX_TAG_LEN;
/// Bytes of a nonce of AES-GCM.
pub const NONCE_BYTES: usize = NONCE_LEN;

/// What a primitive says if it does not do what was asked. It does not say why: an attacker could learn from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key, a signature or sealed bytes are not right")]
pub struct CryptoError;

impl From<ring::error::Unspecified> for CryptoError {
    fn from(_: ring::error::Unspecified) -> Self {
        Self
    }
}

impl mls_rs_core::error::IntoAnyError for CryptoError {
    fn into_dyn_error(self) -> Result<Box<dyn std::error::Error + Send + Sync>, Self> {
        Ok(self.into())
    }
}

/// SHA-256 of the parts, one behind the other.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// HMAC-SHA-256. With a salt as the key it is HKDF-Extract (RFC 5869, section 2.2).
#[must_use]
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> Zeroizing<[u8; HASH_BYTES]> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    let mut hash = Zeroizing::new([0; HASH_BYTES]);
    hash.copy_from_slice(tag.as_ref());
    hash
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand with SHA-256 (RFC 5869, section 2.3) into all of `out`.
///
/// # Errors
///
/// `out` has more than 8,160 bytes.
pub fn hkdf_expand(prk: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
    let prk = Prk::new_less_safe(HKDF_SHA256, prk);
    Ok(prk.expand(&[info], Length(out.len()))?.fill(out)?)
}

/// HKDF with SHA-256, both steps, as keys of 32 bytes are derived here.
pub fn hkdf(salt: &[u8], secret: &[u8], info: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    hkdf_expand(&*hmac_sha256(salt, secret), info, &mut *key).expect("32 bytes are fewer than 8,160");
    key
}

/// A key of AES-GCM: 16 bytes, or 32.
fn gcm(key: &[u8]) -> Result<LessSafeKey, CryptoError> {
    let algorithm = if key.len() == AES_128_GCM.key_len() { &AES_128_GCM } else { &AES_256_GCM };
    Ok(LessSafeKey::new(UnboundKey::new(algorithm, key)?))
}

/// Seals `plain`; the tag stands behind it.
///
/// # Errors
///
/// `key` has neither 16 nor 32 bytes, or `nonce` not 12.
pub fn aead_seal(key: &[u8], nonce: &[u8], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut sealed = Vec::with_capacity(plain.len() + TAG_BYTES);
    sealed.extend_from_slice(plain);
    gcm(key)?.seal_in_place_append_tag(Nonce::try_assume_unique_for_key(nonce)?, Aad::from(aad), &mut sealed)?;
    Ok(sealed)
}

/// Opens what [`aead_seal`] has sealed.
///
/// # Errors
///
/// It was sealed with another key, nonce or `aad`, or was altered.
pub fn aead_open(key: &[u8], nonce: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let mut plain = Zeroizing::new(sealed.to_vec());
    let opened = gcm(key)?.open_in_place(Nonce::try_assume_unique_for_key(nonce)?, Aad::from(aad), &mut plain)?.len();
    plain.truncate(opened);
    Ok(plain)
}

/// Random bytes of the operating system.
///
/// # Errors
///
/// The operating system has none.
pub fn random(out: &mut [u8]) -> Result<(), CryptoError> {
    Ok(rand::SystemRandom::new().fill(out)?)
}

/// A key that signs, by Ed25519 (RFC 8032).
#[derive(Clone)]
pub struct SigningKey(Zeroizing<[u8; KEY_BYTES]>);

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    ///
    /// The operating system has no random bytes.
    pub fn generate() -> Result<Self, CryptoError> {
        let mut seed = Zeroizing::new([0; KEY_BYTES]);
        random(&mut *seed)?;
        Ok(Self(seed))
    }

    /// The key with this seed, which is the private key of RFC 8032.
    #[must_use]
    pub fn from_seed(seed: &[u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(*seed))
    }

    /// What [`SigningKey::from_seed`] takes.
    #[must_use]
    pub fn seed(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&*self.0).expect("a seed has 32 bytes")
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; KEY_BYTES] {
        let mut public = [0; KEY_BYTES];
        public.copy_from_slice(self.pair().public_key().as_ref());
        public
    }

    /// Signs these bytes as they are.
    #[must_use]
    pub fn sign(&self, data: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut signature = [0; SIGNATURE_BYTES];
        signature.copy_from_slice(self.pair().sign(data).as_ref());
        signature
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

/// Whether the owner of `public` has signed `data`.
///
/// # Errors
///
/// It has not.
pub fn verify(public: &[u8], data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    Ok(UnparsedPublicKey::new(&ED25519, public).verify(data, signature)?)
}

/// The public key of a private key of X25519.
pub(crate) fn x25519_public(private: &[u8; KEY_BYTES]) -> [u8; KEY_BYTES] {
    x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(*private)).to_bytes()
}

/// What both sides of X25519 (RFC 7748) know afterwards.
///
/// # Errors
///
/// `public` has a small order, so that the result does not depend on `private`.
pub(crate) fn x25519(
    private: &[u8; KEY_BYTES],
    public: &[u8; KEY_BYTES],
) -> Result<Zeroizing<[u8; KEY_BYTES]>, CryptoError> {
    let private = x25519_dalek::StaticSecret::from(*private);
    let shared = private.diffie_hellman(&x25519_dalek::PublicKey::from(*public));
    if shared.was_contributory() { Ok(Zeroizing::new(shared.to_bytes())) } else { Err(CryptoError) }
}
