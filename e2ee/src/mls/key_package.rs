//! Key packages: what a device leaves with the server so that others can add it to groups while it is not there.

use std::time::Duration;

use mls_rs::MlsMessage;
use mls_rs::extension::ExtensionType;
use mls_rs_core::protocol_version::ProtocolVersion;

use super::identity::certificate;
use super::provider::{SUITE, Suite};
use super::{mls_time, public_group};
use crate::certificate::DeviceCertificate;
use crate::time::{CLOCK_SKEW, UnixTime};

/// How long a key package can be used after it was made. It can be used [`CLOCK_SKEW`] before that as well, by those whose
/// clock is slow.
pub const LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Bytes of a key package at the most.
pub const KEY_PACKAGE_BYTES_MAX: usize = 2048;

/// Why a key package is none that others could use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyPackageError {
    /// Not the encoding of a key package, or too long.
    #[error("not a key package")]
    Malformed,
    /// It is of another suite than 0x0001, or another version of MLS.
    #[error("the key package is not of MLS 1.0 with cipher suite 1")]
    Suite,
    /// Its credential is not the certificate that it should be.
    #[error("the key package is not of the device's certificate")]
    Certificate,
    /// It ends later than 90 days from now, a day for clocks included.
    #[error("the key package has a lifetime of more than 90 days")]
    Lifetime,
    /// It is over, has not begun, or its signatures or keys are not right.
    #[error("the key package is over, has not begun, or is not valid")]
    Invalid,
}

/// What is known of a key package that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedKeyPackage {
    /// The hash by which a Welcome names it (RFC 9420, section 5.2).
    pub reference: Vec<u8>,
    /// Whether its device allows that it is used more than once.
    pub last_resort: bool,
    /// From then on it is of no use.
    pub expires: UnixTime,
}

/// Checks that the device with this certificate has made this key package (an MLSMessage), and that it can be used now.
///
/// # Errors
///
/// It has not, or it cannot.
pub fn check(bytes: &[u8], of: &DeviceCertificate, now: UnixTime) -> Result<CheckedKeyPackage, KeyPackageError> {
    let (certificate, checked) = read(bytes, now)?;
    if certificate == *of { Ok(checked) } else { Err(KeyPackageError::Certificate) }
}

/// Reads a key package (an MLSMessage) that can be used now, and says which device has made it. Whether that certificate is to be
/// believed is for the caller to know.
///
/// # Errors
///
/// It is none, or it cannot be used.
pub fn read(bytes: &[u8], now: UnixTime) -> Result<(DeviceCertificate, CheckedKeyPackage), KeyPackageError> {
    if bytes.len() > KEY_PACKAGE_BYTES_MAX {
        return Err(KeyPackageError::Malformed);
    }
    let message = MlsMessage::from_bytes(bytes).map_err(|_| KeyPackageError::Malformed)?;
    let package = message.as_key_package().ok_or(KeyPackageError::Malformed)?;
    if (package.version(), package.cipher_suite()) != (ProtocolVersion::MLS_10, SUITE) {
        return Err(KeyPackageError::Suite);
    }
    let certificate = certificate(package.signing_identity()).map_err(|_| KeyPackageError::Certificate)?;
    let expires = package.expiration().map_err(|_| KeyPackageError::Malformed)?;
    let expires = UnixTime::new(expires.seconds_since_epoch());
    if expires > now.after(LIFETIME).after(CLOCK_SKEW) {
        return Err(KeyPackageError::Lifetime);
    }
    let last_resort = package.extensions.has_extension(ExtensionType::LAST_RESORT_KEY_PACKAGE);
    let reference = package.to_reference(&Suite::new()).map_err(|_| KeyPackageError::Invalid)?.to_vec();
    public_group::client().validate_key_package(message, Some(mls_time(now))).map_err(|_| KeyPackageError::Invalid)?;
    Ok((certificate, CheckedKeyPackage { reference, last_resort, expires }))
}
