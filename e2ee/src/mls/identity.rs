//! Credentials for mls-rs: the credential of a leaf is the device's certificate.

use mls_rs_core::error::IntoAnyError;
use mls_rs_core::extension::ExtensionList;
use mls_rs_core::identity::{
    BasicCredential, Credential, CredentialType, IdentityProvider, MemberValidationContext, SigningIdentity,
};
use mls_rs_core::time::MlsTime;

use crate::certificate::{CertificateError, DeviceCertificate};
use crate::time::{CLOCK_SKEW, UnixTime};

/// Whose a leaf is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Certificates;

/// Why a leaf is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CredentialError {
    #[error("the credential is not a certificate")]
    Kind,
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the certificate is of another key than the leaf")]
    Key,
    #[error("the certificate is from the future")]
    NotYet,
    #[error("nobody outside a group may change it")]
    Outsider,
}

impl IntoAnyError for CredentialError {
    fn into_dyn_error(self) -> Result<Box<dyn std::error::Error + Send + Sync>, Self> {
        Ok(self.into())
    }
}

fn credential(identity: &SigningIdentity) -> Result<&[u8], CredentialError> {
    let Credential::Basic(credential) = &identity.credential else { return Err(CredentialError::Kind) };
    Ok(credential.identifier())
}

/// The certificate in a leaf that was validated before: its signature is not checked again, since checking those of a whole
/// tree takes longer than all else.
pub(crate) fn checked_certificate(identity: &SigningIdentity) -> Result<DeviceCertificate, CredentialError> {
    Ok(DeviceCertificate::from_checked_bytes(credential(identity)?).map_err(CertificateError::from)?)
}

/// The certificate in a leaf, whose key is the leaf's.
pub(crate) fn certificate(identity: &SigningIdentity) -> Result<DeviceCertificate, CredentialError> {
    let certificate = DeviceCertificate::from_bytes(credential(identity)?)?;
    if certificate.leaf_key()[..] == *identity.signature_key.as_bytes() {
        Ok(certificate)
    } else {
        Err(CredentialError::Key)
    }
}

impl IdentityProvider for Certificates {
    type Error = CredentialError;

    fn validate_member(
        &self,
        identity: &SigningIdentity,
        now: Option<MlsTime>,
        _: MemberValidationContext<'_>,
    ) -> Result<(), CredentialError> {
        let certificate = certificate(identity)?;
        match now.map(|now| UnixTime::new(now.seconds_since_epoch()).after(CLOCK_SKEW)) {
            Some(latest) if certificate.not_before() > latest => Err(CredentialError::NotYet),
            _ => Ok(()),
        }
    }

    fn validate_external_sender(
        &self,
        _: &SigningIdentity,
        _: Option<MlsTime>,
        _: Option<&ExtensionList>,
    ) -> Result<(), CredentialError> {
        Err(CredentialError::Outsider)
    }

    /// A device has one leaf in a group, so its names tell leaves apart. Names have no slash.
    fn identity(&self, identity: &SigningIdentity, _: &ExtensionList) -> Result<Vec<u8>, CredentialError> {
        let certificate = checked_certificate(identity)?;
        Ok(format!("{}/{}", certificate.user(), certificate.device()).into_bytes())
    }

    fn valid_successor(
        &self,
        predecessor: &SigningIdentity,
        successor: &SigningIdentity,
        _: &ExtensionList,
    ) -> Result<bool, CredentialError> {
        Ok(checked_certificate(predecessor)?.same_device(&checked_certificate(successor)?))
    }

    fn supported_types(&self) -> Vec<CredentialType> {
        vec![BasicCredential::credential_type()]
    }
}
