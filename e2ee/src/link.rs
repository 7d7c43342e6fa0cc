//! Linking: a new device of a user gets from an older one what it needs. The new one shows a code with a key of the moment; the
//! older one scans it, certifies the device, and leaves what it needs with the server, sealed to that key. Only who has seen
//! the code can have sealed it, for the server never sees the key.

use godwit_schemas::ids::{DeviceName, UserId};
use zeroize::Zeroizing;

use crate::certificate::{CertificateError, CertificateRequest, DeviceCertificate, DeviceKind};
use crate::crypto::{self, CryptoError, KEY_BYTES, SigningKey};
use crate::mls::hpke;
use crate::user_secret::UserSecret;
use crate::vault::VaultKey;
use crate::wire::{self, Malformed, Reader, put_opaque};

const VERSION: u8 = 1;
const INFO: &[u8] = b"Godwit 1.0 link";
/// Bytes of the id by which the server keeps what was sealed.
pub const LINK_BYTES: usize = 16;

/// What a new device shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkOffer {
    /// Under which id the answer is kept.
    pub link: [u8; LINK_BYTES],
    /// The device's name.
    pub device: DeviceName,
    /// What it will sign with.
    pub leaf_key: [u8; KEY_BYTES],
    /// What it runs on.
    pub kind: DeviceKind,
    public: [u8; KEY_BYTES],
}

/// What a new device keeps while it shows its offer.
pub struct PendingLink {
    offer: LinkOffer,
    private: Zeroizing<[u8; KEY_BYTES]>,
}

/// What a new device gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkGrant {
    /// Its certificate.
    pub certificate: DeviceCertificate,
    /// What history is opened with.
    pub vault: VaultKey,
    /// Only a native device: with it, it links others.
    pub secret: Option<UserSecret>,
}

/// Why a code or an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not the encoding of one, or of a later version.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It was sealed to another key, or was altered.
    #[error("the answer is not for this device")]
    Sealed,
    /// What it says does not fit together.
    #[error("the answer has a certificate of another device or key")]
    Certificate,
}

impl From<CryptoError> for LinkError {
    fn from(_: CryptoError) -> Self {
        Self::Sealed
    }
}

impl From<CertificateError> for LinkError {
    fn from(_: CertificateError) -> Self {
        Self::Certificate
    }
}

impl LinkOffer {
    /// What the code holds: about 120 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.link);
        out.extend_from_slice(&self.public);
        out.extend_from_slice(&self.leaf_key);
        out.push(self.kind as u8);
        put_opaque(&mut out, self.device.as_str().as_bytes());
        out
    }

    /// Reads what was scanned.
    ///
    /// # Errors
    ///
    /// It is no such code.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(Malformed);
        }
        let (link, public, leaf_key) = (reader.array()?, reader.array()?, reader.array()?);
        let kind = DeviceKind::read(reader.u8()?)?;
        let device = DeviceName::new(wire::text(reader.opaque()?)?).map_err(|_| Malformed)?;
        reader.end()?;
        Ok(Self { link, device, leaf_key, kind, public })
    }

    /// Whom to certify.
    #[must_use]
    pub fn request(&self, user: &UserId) -> CertificateRequest {
        CertificateRequest { user: user.clone(), device: self.device.clone(), leaf_key: self.leaf_key, kind: self.kind }
    }

    /// Seals the answer. A web device is not given the user's secret.
    ///
    /// # Errors
    ///
    /// The code has a key that is none.
    pub fn accept(&self, certificate: &DeviceCertificate, secret: &UserSecret) -> Result<Vec<u8>, CryptoError> {
        let mut plain = Zeroizing::new(vec![VERSION]);
        put_opaque(&mut plain, &certificate.to_bytes());
        plain.extend_from_slice(secret.vault_key().bytes());
        put_opaque(&mut plain, if self.kind == DeviceKind::Native { secret.bytes() } else { &[] });
        hpke::seal(&self.public, INFO, &self.to_bytes(), &plain)
    }
}

impl PendingLink {
    /// Begins linking this device, which will sign with `key`.
    ///
    /// # Errors
    ///
    /// There are no random bytes.
    pub fn begin(device: DeviceName, kind: DeviceKind, key: &SigningKey) -> Result<Self, CryptoError> {
        let (mut link, mut private) = ([0; LINK_BYTES], Zeroizing::new([0; KEY_BYTES]));
        crypto::random(&mut link)?;
        crypto::random(&mut *private)?;
        Ok(Self::resume(link, *private, device, kind, key))
    }

    /// Goes on with one that was begun, so that its code stays good when the app was closed in between.
    #[must_use]
    pub fn resume(
        link: [u8; LINK_BYTES],
        private: [u8; KEY_BYTES],
        device: DeviceName,
        kind: DeviceKind,
        key: &SigningKey,
    ) -> Self {
        let public = crypto::x25519_public(&private);
        let private = Zeroizing::new(private);
        Self { offer: LinkOffer { link, device, leaf_key: key.public(), kind, public }, private }
    }

    /// What [`PendingLink::resume`] takes.
    #[must_use]
    pub fn private(&self) -> &[u8; KEY_BYTES] {
        &self.private
    }

    /// What to show.
    #[must_use]
    pub fn offer(&self) -> &LinkOffer {
        &self.offer
    }

    /// Opens the answer.
    ///
    /// # Errors
    ///
    /// It is not for this device.
    pub fn open(&self, sealed: &[u8]) -> Result<LinkGrant, LinkError> {
        let plain = hpke::open(&self.private, INFO, &self.offer.to_bytes(), sealed)?;
        let mut reader = Reader::new(&plain);
        if reader.u8()? != VERSION {
            return Err(Malformed.into());
        }
        let certificate = DeviceCertificate::from_bytes(reader.opaque()?)?;
        let vault = VaultKey::from_bytes(reader.array()?);
        let secret = match reader.opaque()? {
            [] => None,
            bytes => Some(UserSecret::from_bytes(bytes.try_into().map_err(|_| Malformed)?)),
        };
        reader.end()?;
        let of_this = certificate.device() == &self.offer.device && *certificate.leaf_key() == self.offer.leaf_key;
        let fits = secret.as_ref().is_none_or(|secret| {
            secret.vault_key() == vault && secret.identity_key().public() == *certificate.identity_key()
        });
        if of_this && fits { Ok(LinkGrant { certificate, vault, secret }) } else { Err(LinkError::Certificate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;
    use crate::user_secret::SECRET_BYTES;

    fn pending(kind: DeviceKind) -> PendingLink {
        PendingLink::begin(DeviceName::new("tablet").unwrap(), kind, &SigningKey::from_seed(&[5; 32])).unwrap()
    }

    fn accepted(offer: &LinkOffer) -> Vec<u8> {
        let secret = UserSecret::from_bytes([8; SECRET_BYTES]);
        let request = offer.request(&UserId::new("ann").unwrap());
        let certificate = DeviceCertificate::issue(request, &secret.identity_key(), 1, UnixTime::new(1_800_000_000));
        offer.accept(&certificate, &secret).unwrap()
    }

    #[test]
    fn a_new_device_gets_what_it_needs() {
        for kind in [DeviceKind::Native, DeviceKind::Web] {
            let pending = pending(kind);
            let scanned = LinkOffer::from_bytes(&pending.offer().to_bytes()).unwrap();
            assert_eq!(scanned, *pending.offer());
            let grant = pending.open(&accepted(&scanned)).unwrap();
            assert_eq!(grant.certificate.device().as_str(), "tablet");
            assert_eq!(grant.vault, UserSecret::from_bytes([8; SECRET_BYTES]).vault_key());
            assert_eq!(grant.secret.is_some(), kind == DeviceKind::Native);
        }
    }

    #[test]
    fn an_answer_is_for_one_device() {
        let (one, other) = (pending(DeviceKind::Native), pending(DeviceKind::Native));
        let sealed = accepted(one.offer());
        assert_eq!(other.open(&sealed), Err(LinkError::Sealed));
        for byte in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[byte] ^= 1;
            assert_eq!(one.open(&bad), Err(LinkError::Sealed), "byte {byte}");
            assert_eq!(one.open(&sealed[..byte]), Err(LinkError::Sealed), "{byte} bytes");
        }
    }
}
