//! HPKE (RFC 9180) in base mode, with the algorithms of the suite, for what is sealed to a device outside of a group.

use mls_rs_core::crypto::{CipherSuiteProvider as _, HpkeCiphertext};
use zeroize::Zeroizing;

use super::provider::Suite;
use crate::crypto::{self, CryptoError, KEY_BYTES};

/// Seals to the owner of this public key: 32 bytes of an encapsulated key, and the ciphertext.
///
/// # Errors
///
/// The key is none.
pub(crate) fn seal(public: &[u8; KEY_BYTES], info: &[u8], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let sealed = Suite::new().hpke_seal(&public.to_vec().into(), info, Some(aad), plain).map_err(|_| CryptoError)?;
    Ok([sealed.kem_output, sealed.ciphertext].concat())
}

/// Opens what was sealed to the public key of this private one.
///
/// # Errors
///
/// It was not, or was altered.
pub(crate) fn open(
    private: &[u8; KEY_BYTES],
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let (kem_output, ciphertext) = sealed.split_at_checked(KEY_BYTES).ok_or(CryptoError)?;
    let sealed = HpkeCiphertext { kem_output: kem_output.to_vec(), ciphertext: ciphertext.to_vec() };
    let public = crypto::x25519_public(private).to_vec().into();
    let private = private.to_vec().into();
    Suite::new().hpke_open(&sealed, &private, &public, info, Some(aad)).map_err(|_| CryptoError)
}
