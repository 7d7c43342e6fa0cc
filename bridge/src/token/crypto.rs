//! Signatures of tokens, verified by ring: the one cryptography library of this program. jsonwebtoken asks for it here, once
//! in a process; nothing here signs.

use std::ops::RangeInclusive;

use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtSigner, JwtVerifier};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};

static RING: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, jwk_utils: JwkUtils::new_unimplemented() };

/// Before the first token is verified.
pub(super) fn install() {
    // It may be so already.
    _ = RING.install_default();
}

fn signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

/// A key verifies what its own kind signs, and nothing else.
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let fits = match algorithm {
        Algorithm::RS256 => AlgorithmFamily::Rsa,
        Algorithm::ES256 => AlgorithmFamily::Ec,
        Algorithm::EdDSA => AlgorithmFamily::Ed,
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    if key.family() != fits {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(ByRing { algorithm: *algorithm, key: key.kind().clone() }))
}

/// Whether a key could verify anything: ring tells a key that it cannot use from a wrong signature only by its length.
pub(super) fn can_verify(key: &DecodingKey) -> bool {
    const RSA_BYTES: RangeInclusive<usize> = 2_048 / 8..=8_192 / 8;
    /// Around the modulus of an RSA key in DER: lengths, and an exponent of 1 to 5 bytes.
    const DER_BYTES: RangeInclusive<usize> = 12..=16;
    match (key.family(), key.kind()) {
        (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, .. }) => RSA_BYTES.contains(&n.len()),
        (AlgorithmFamily::Rsa, DecodingKeyKind::SecretOrDer(der)) => {
            (RSA_BYTES.start() + DER_BYTES.start()..=RSA_BYTES.end() + DER_BYTES.end()).contains(&der.len())
        }
        // A point that is not compressed, with two coordinates of 256 bits.
        (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => point.len() == 65 && point[0] == 4,
        (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(key)) => key.len() == 32,
        _ => false,
    }
}

struct ByRing {
    algorithm: Algorithm,
    key: DecodingKeyKind,
}

impl Verifier<Vec<u8>> for ByRing {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match (&self.key, self.algorithm) {
            (DecodingKeyKind::RsaModulusExponent { n, e }, _) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (DecodingKeyKind::SecretOrDer(key), algorithm) => {
                let algorithm: &dyn VerificationAlgorithm = match algorithm {
                    Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
                    _ => &ED25519,
                };
                UnparsedPublicKey::new(algorithm, key).verify(message, signature)
            }
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for ByRing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
