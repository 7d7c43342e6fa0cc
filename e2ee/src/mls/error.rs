//! Why a group or one of its messages is not what it should be.

use mls_rs::error::MlsError;

use crate::certificate::CertificateError;
use crate::mls::identity::CredentialError;
use crate::wire::Malformed;

/// Why a group, a commit or a Welcome is refused. Nothing of it is of a kind that trying again would help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Not the encoding of what was expected there.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A message of MLS, but of another kind.
    #[error("the message is not {0}")]
    Kind(&'static str),
    /// It is of another group.
    #[error("the message is of another group")]
    OtherGroup,
    /// It is of another epoch: of the one that is given.
    #[error("the message is of epoch {0}")]
    OtherEpoch(u64),
    /// A leaf of the group is not a certified device.
    #[error("a leaf is not a certified device: {0}")]
    Credential(String),
    /// A device has two leaves, or none.
    #[error("device {0} does not have one leaf")]
    Leaf(String),
    /// The Welcomes are not one for each device that was added.
    #[error("there is not one Welcome for each device that is added")]
    Welcomes,
    /// The GroupInfo is not of the group after the commit, or nobody could join by it.
    #[error("the group info is not of the group as the commit leaves it")]
    GroupInfo,
    /// MLS does not allow it, or a signature or hash is not right.
    #[error("not valid in the group: {0}")]
    Invalid(String),
}

impl From<MlsError> for GroupError {
    fn from(error: MlsError) -> Self {
        match error {
            MlsError::SerializationError(_) => Self::Malformed(Malformed),
            MlsError::InvalidGroupInfo => Self::GroupInfo,
            other => Self::Invalid(other.to_string()),
        }
    }
}

impl From<CredentialError> for GroupError {
    fn from(error: CredentialError) -> Self {
        Self::Credential(error.to_string())
    }
}

impl From<CertificateError> for GroupError {
    fn from(error: CertificateError) -> Self {
        Self::Credential(error.to_string())
    }
}
