//! Cipher suite 0x0001 for mls-rs: MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, on [`crate::crypto`]. HPKE is
//! mls-rs' own, on the same primitives. No other suite is there: nobody can be talked into a weaker one.

use mls_rs_core::crypto::{
    CipherSuite, CipherSuiteProvider, CryptoProvider, HpkeCiphertext, HpkePsk, HpkePublicKey, HpkeSecretKey,
    SignaturePublicKey, SignatureSecretKey,
};
use mls_rs_crypto_hpke::context::{ContextR, ContextS};
use mls_rs_crypto_hpke::dhkem::DhKem;
use mls_rs_crypto_hpke::hpke::{Hpke, HpkeError};
use mls_rs_crypto_traits::{AeadType, DhType, KdfType, SamplingMethod};
use zeroize::Zeroizing;

use crate::crypto::{self, CryptoError, HASH_BYTES, KEY_BYTES, NONCE_BYTES, SigningKey};

/// The suite of all groups.
pub(crate) const SUITE: CipherSuite = CipherSuite::CURVE25519_AES128;

/// RFC 9180, section 7.1: DHKEM(X25519, HKDF-SHA256).
const KEM_ID: u16 = 0x0020;
/// RFC 9180, section 7.2.
const KDF_ID: u16 = 0x0001;
/// RFC 9180, section 7.3: AES-128-GCM.
const AEAD_ID: u16 = 0x0001;
const AEAD_KEY_BYTES: usize = 16;

/// What mls-rs is given as its cryptography.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Provider;

impl CryptoProvider for Provider {
    type CipherSuiteProvider = Suite;

    fn supported_cipher_suites(&self) -> Vec<CipherSuite> {
        vec![SUITE]
    }

    fn cipher_suite_provider(&self, suite: CipherSuite) -> Option<Suite> {
        (suite == SUITE).then(Suite::new)
    }
}

#[derive(Clone)]
pub(crate) struct Kdf;

impl KdfType for Kdf {
    type Error = CryptoError;

    fn kdf_id(&self) -> u16 {
        KDF_ID
    }

    fn expand(&self, prk: &[u8], info: &[u8], len: usize) -> Result<Vec<u8>, CryptoError> {
        let mut out = vec![0; len];
        crypto::hkdf_expand(prk, info, &mut out)?;
        Ok(out)
    }

    fn extract(&self, salt: &[u8], ikm: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Ok(crypto::hmac_sha256(salt, ikm).to_vec())
    }

    fn extract_size(&self) -> usize {
        HASH_BYTES
    }
}

#[derive(Clone)]
pub(crate) struct Aead;

impl AeadType for Aead {
    type Error = CryptoError;

    fn aead_id(&self) -> u16 {
        AEAD_ID
    }

    fn seal(&self, key: &[u8], data: &[u8], aad: Option<&[u8]>, nonce: &[u8]) -> Result<Vec<u8>, CryptoError> {
        check_key(key)?;
        crypto::aead_seal(key, nonce, aad.unwrap_or_default(), data)
    }

    fn open(&self, key: &[u8], sealed: &[u8], aad: Option<&[u8]>, nonce: &[u8]) -> Result<Vec<u8>, CryptoError> {
        check_key(key)?;
        Ok(std::mem::take(&mut *crypto::aead_open(key, nonce, aad.unwrap_or_default(), sealed)?))
    }

    fn key_size(&self) -> usize {
        AEAD_KEY_BYTES
    }

    fn nonce_size(&self) -> usize {
        NONCE_BYTES
    }
}

fn check_key(key: &[u8]) -> Result<(), CryptoError> {
    if key.len() == AEAD_KEY_BYTES { Ok(()) } else { Err(CryptoError) }
}

fn key_bytes(bytes: &[u8]) -> Result<[u8; KEY_BYTES], CryptoError> {
    bytes.try_into().map_err(|_| CryptoError)
}

#[derive(Clone)]
pub(crate) struct Dh;

impl DhType for Dh {
    type Error = CryptoError;

    fn dh(&self, secret: &HpkeSecretKey, public: &HpkePublicKey) -> Result<Vec<u8>, CryptoError> {
        Ok(crypto::x25519(&Zeroizing::new(key_bytes(secret)?), &key_bytes(public)?)?.to_vec())
    }

    fn generate(&self) -> Result<(HpkeSecretKey, HpkePublicKey), CryptoError> {
        let mut secret = vec![0; KEY_BYTES];
        crypto::random(&mut secret)?;
        let secret = HpkeSecretKey::from(secret);
        let public = self.to_public(&secret)?;
        Ok((secret, public))
    }

    fn to_public(&self, secret: &HpkeSecretKey) -> Result<HpkePublicKey, CryptoError> {
        Ok(crypto::x25519_public(&Zeroizing::new(key_bytes(secret)?)).to_vec().into())
    }

    fn bitmask_for_rejection_sampling(&self) -> SamplingMethod {
        SamplingMethod::HpkeWithoutBitmask
    }

    fn secret_key_size(&self) -> usize {
        KEY_BYTES
    }

    fn public_key_size(&self) -> usize {
        KEY_BYTES
    }

    fn public_key_validate(&self, key: &HpkePublicKey) -> Result<(), CryptoError> {
        key_bytes(key).map(|_| ())
    }
}

/// The suite.
#[derive(Clone)]
pub(crate) struct Suite {
    hpke: Hpke<DhKem<Dh, Kdf>, Kdf, Aead>,
}

impl Suite {
    pub(crate) fn new() -> Self {
        let kem = DhKem::new(Dh, Kdf, KEM_ID, HASH_BYTES);
        Self { hpke: Hpke::new(kem, Kdf, Some(Aead)) }
    }
}

impl CipherSuiteProvider for Suite {
    type Error = SuiteError;
    type HpkeContextS = ContextS<Kdf, Aead>;
    type HpkeContextR = ContextR<Kdf, Aead>;

    fn cipher_suite(&self) -> CipherSuite {
        SUITE
    }

    fn hash(&self, data: &[u8]) -> Result<Vec<u8>, SuiteError> {
        Ok(crypto::sha256(&[data]).to_vec())
    }

    fn mac(&self, key: &[u8], data: &[u8]) -> Result<Vec<u8>, SuiteError> {
        Ok(crypto::hmac_sha256(key, data).to_vec())
    }

    fn aead_seal(&self, key: &[u8], data: &[u8], aad: Option<&[u8]>, nonce: &[u8]) -> Result<Vec<u8>, SuiteError> {
        Ok(Aead.seal(key, data, aad, nonce)?)
    }

    fn aead_open(
        &self,
        key: &[u8],
        sealed: &[u8],
        aad: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        Ok(Zeroizing::new(Aead.open(key, sealed, aad, nonce)?))
    }

    fn aead_key_size(&self) -> usize {
        AEAD_KEY_BYTES
    }

    fn aead_nonce_size(&self) -> usize {
        NONCE_BYTES
    }

    fn kdf_extract(&self, salt: &[u8], ikm: &[u8]) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        Ok(Zeroizing::new(Kdf.extract(salt, ikm)?))
    }

    fn kdf_expand(&self, prk: &[u8], info: &[u8], len: usize) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        Ok(Zeroizing::new(Kdf.expand(prk, info, len)?))
    }

    fn kdf_extract_size(&self) -> usize {
        HASH_BYTES
    }

    fn hpke_seal(
        &self,
        remote_key: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        plain: &[u8],
    ) -> Result<HpkeCiphertext, SuiteError> {
        Ok(self.hpke.seal(remote_key, info, None, aad, plain)?)
    }

    fn hpke_seal_psk(
        &self,
        remote_key: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        plain: &[u8],
        psk: HpkePsk<'_>,
    ) -> Result<HpkeCiphertext, SuiteError> {
        Ok(self.hpke.seal(remote_key, info, Some(psk), aad, plain)?)
    }

    fn hpke_open(
        &self,
        sealed: &HpkeCiphertext,
        local_secret: &HpkeSecretKey,
        local_public: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        Ok(self.hpke.open(sealed, local_secret, local_public, info, None, aad)?)
    }

    fn hpke_open_psk(
        &self,
        sealed: &HpkeCiphertext,
        local_secret: &HpkeSecretKey,
        local_public: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        psk: HpkePsk<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, SuiteError> {
        Ok(self.hpke.open(sealed, local_secret, local_public, info, Some(psk), aad)?)
    }

    fn hpke_setup_s(
        &self,
        remote_key: &HpkePublicKey,
        info: &[u8],
    ) -> Result<(Vec<u8>, Self::HpkeContextS), SuiteError> {
        Ok(self.hpke.setup_sender(remote_key, info, None)?)
    }

    fn hpke_setup_r(
        &self,
        kem_output: &[u8],
        local_secret: &HpkeSecretKey,
        local_public: &HpkePublicKey,
        info: &[u8],
    ) -> Result<Self::HpkeContextR, SuiteError> {
        Ok(self.hpke.setup_receiver(kem_output, local_secret, local_public, info, None)?)
    }

    fn kem_derive(&self, ikm: &[u8]) -> Result<(HpkeSecretKey, HpkePublicKey), SuiteError> {
        Ok(self.hpke.derive(ikm)?)
    }

    fn kem_generate(&self) -> Result<(HpkeSecretKey, HpkePublicKey), SuiteError> {
        Ok(self.hpke.generate()?)
    }

    fn kem_public_key_validate(&self, key: &HpkePublicKey) -> Result<(), SuiteError> {
        Ok(self.hpke.public_key_validate(key)?)
    }

    fn random_bytes(&self, out: &mut [u8]) -> Result<(), SuiteError> {
        Ok(crypto::random(out)?)
    }

    fn signature_key_generate(&self) -> Result<(SignatureSecretKey, SignaturePublicKey), SuiteError> {
        let key = SigningKey::generate()?;
        Ok((key.seed().to_vec().into(), key.public().to_vec().into()))
    }

    fn signature_key_derive_public(&self, secret: &SignatureSecretKey) -> Result<SignaturePublicKey, SuiteError> {
        Ok(signing_key(secret)?.public().to_vec().into())
    }

    fn sign(&self, secret: &SignatureSecretKey, data: &[u8]) -> Result<Vec<u8>, SuiteError> {
        Ok(signing_key(secret)?.sign(data).to_vec())
    }

    fn verify(&self, public: &SignaturePublicKey, signature: &[u8], data: &[u8]) -> Result<(), SuiteError> {
        Ok(crypto::verify(public, data, signature)?)
    }
}

fn signing_key(secret: &SignatureSecretKey) -> Result<SigningKey, CryptoError> {
    Ok(SigningKey::from_seed(&Zeroizing::new(key_bytes(secret)?)))
}

/// What a primitive, or HPKE, says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuiteError {
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    #[error(transparent)]
    Hpke(#[from] HpkeError),
}

impl mls_rs_core::error::IntoAnyError for SuiteError {
    fn into_dyn_error(self) -> Result<Box<dyn std::error::Error + Send + Sync>, Self> {
        Ok(self.into())
    }
}
