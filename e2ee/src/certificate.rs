//! The certificate of a device: a user's identity key says that a device, and the key it signs with, are the user's.
//!
//! It stands in each leaf of a group as the credential, so it is what tells members and server whose a leaf is. It says
//! nothing of whether the identity key is the user's: that is what [`IdentityChain`](crate::identity::IdentityChain) is
//! for, and people who compare safety numbers.

use godwit_schemas::ids::{DeviceName, UserId};

use crate::crypto::{CryptoError, KEY_BYTES, SIGNATURE_BYTES, SigningKey};
use crate::time::UnixTime;
use crate::wire::{self, Malformed, Reader};

/// What a certificate begins with.
const FORMAT: u16 = 1;
const LABEL: &str = "DeviceCertificate";

/// Bytes of the longest certificate: two names of 64 bytes, and 143 that all have. (Measured by a test.)
pub const CERTIFICATE_BYTES_MAX: usize = 275;

/// What a device runs on. A web device's keys lie in a browser's storage, so it holds no identity key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum DeviceKind {
    /// An app with a store of its own.
    Native = 1,
    /// A page in a browser.
    Web = 2,
}

impl DeviceKind {
    pub(crate) fn read(number: u8) -> Result<Self, Malformed> {
        match number {
            1 => Ok(Self::Native),
            2 => Ok(Self::Web),
            _ => Err(Malformed),
        }
    }
}

/// A certificate whose signature was checked: there is no other way to have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCertificate {
    user: UserId,
    device: DeviceName,
    leaf_key: [u8; KEY_BYTES],
    identity_key: [u8; KEY_BYTES],
    version: u32,
    not_before: UnixTime,
    kind: DeviceKind,
    signature: [u8; SIGNATURE_BYTES],
}

/// Why bytes are no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not the encoding of one.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Its identity key did not sign it.
    #[error("the certificate is not signed by its identity key")]
    Signature,
}

impl From<CryptoError> for CertificateError {
    fn from(_: CryptoError) -> Self {
        Self::Signature
    }
}

/// What the identity key is asked to certify.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    /// Whose the device is.
    pub user: UserId,
    /// The device's name, its MQTT client identifier.
    pub device: DeviceName,
    /// What the device signs with: its leaves, its commits and its messages.
    pub leaf_key: [u8; KEY_BYTES],
    /// What it runs on.
    pub kind: DeviceKind,
}

impl DeviceCertificate {
    /// Certifies a device by the user's identity key, which is number `version` of the user's chain.
    #[must_use]
    pub fn issue(request: CertificateRequest, identity: &SigningKey, version: u32, now: UnixTime) -> Self {
        let CertificateRequest { user, device, leaf_key, kind } = request;
        let mut certificate = Self {
            user,
            device,
            leaf_key,
            identity_key: identity.public(),
            version,
            not_before: now,
            kind,
            signature: [0; SIGNATURE_BYTES],
        };
        certificate.signature = wire::sign(identity, LABEL, &certificate.signed_bytes());
        certificate
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CERTIFICATE_BYTES_MAX);
        out.extend_from_slice(&FORMAT.to_be_bytes());
        wire::put_opaque(&mut out, self.user.as_str().as_bytes());
        wire::put_opaque(&mut out, self.device.as_str().as_bytes());
        out.extend_from_slice(&self.leaf_key);
        out.extend_from_slice(&self.identity_key);
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&self.not_before.seconds().to_be_bytes());
        out.push(self.kind as u8);
        out
    }

    /// The certificate as it travels and as it stands in leaves.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.signed_bytes();
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads a certificate and checks its signature.
    ///
    /// # Errors
    ///
    /// The bytes are no certificate, or its identity key has not signed it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        let certificate = Self::from_checked_bytes(bytes)?;
        let signed = &bytes[..bytes.len() - SIGNATURE_BYTES];
        wire::verify(&certificate.identity_key, LABEL, signed, &certificate.signature)?;
        Ok(certificate)
    }

    /// Reads a certificate whose signature was checked before these bytes were taken in.
    pub(crate) fn from_checked_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u16()? != FORMAT {
            return Err(Malformed);
        }
        let certificate = Self {
            user: UserId::new(wire::text(reader.opaque()?)?).map_err(|_| Malformed)?,
            device: DeviceName::new(wire::text(reader.opaque()?)?).map_err(|_| Malformed)?,
            leaf_key: reader.array()?,
            identity_key: reader.array()?,
            version: reader.u32()?,
            not_before: UnixTime::new(reader.u64()?),
            kind: DeviceKind::read(reader.u8()?)?,
            signature: reader.array()?,
        };
        reader.end()?;
        Ok(certificate)
    }

    /// Whose the device is.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The device's name, its MQTT client identifier.
    #[must_use]
    pub fn device(&self) -> &DeviceName {
        &self.device
    }

    /// What the device signs with.
    #[must_use]
    pub fn leaf_key(&self) -> &[u8; KEY_BYTES] {
        &self.leaf_key
    }

    /// Which identity key has signed it.
    #[must_use]
    pub fn identity_key(&self) -> &[u8; KEY_BYTES] {
        &self.identity_key
    }

    /// The number of that key in the user's chain, from 1.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// When it was made, by the clock of the device that made it.
    #[must_use]
    pub fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// What the device runs on.
    #[must_use]
    pub fn kind(&self) -> DeviceKind {
        self.kind
    }

    /// Whether this and `other` are of the same device of the same user.
    #[must_use]
    pub fn same_device(&self, other: &Self) -> bool {
        self.user == other.user && self.device == other.device
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> DeviceCertificate {
        let request = CertificateRequest {
            user: UserId::new(name).unwrap(),
            device: DeviceName::new(name).unwrap(),
            leaf_key: SigningKey::from_seed(&[2; 32]).public(),
            kind: DeviceKind::Native,
        };
        DeviceCertificate::issue(request, &SigningKey::from_seed(&[1; 32]), 1, UnixTime::new(1_800_000_000))
    }

    #[test]
    fn a_certificate_is_read_as_it_was_written() {
        let written = certificate("ann");
        assert_eq!(DeviceCertificate::from_bytes(&written.to_bytes()), Ok(written));
    }

    #[test]
    fn the_longest_certificate_has_as_many_bytes_as_is_said() {
        assert_eq!(certificate(&"n".repeat(64)).to_bytes().len(), CERTIFICATE_BYTES_MAX);
    }

    #[test]
    fn no_byte_of_a_certificate_can_be_altered() {
        let good = certificate("ann").to_bytes();
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 1 << (byte % 8);
            assert!(DeviceCertificate::from_bytes(&bad).is_err(), "byte {byte}");
        }
        for length in 0..good.len() {
            assert!(DeviceCertificate::from_bytes(&good[..length]).is_err(), "{length} bytes");
        }
        assert!(DeviceCertificate::from_bytes(&[&good[..], &[0]].concat()).is_err());
    }
}
