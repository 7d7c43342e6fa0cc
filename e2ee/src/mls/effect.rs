//! What a commit does, in terms of devices: for the server, which compares it with the members, and for members, who judge
//! whether the committer may.

use mls_rs::group::proposal::Proposal;
use mls_rs::group::{CommitEffect, CommitMessageDescription, ContentType, GroupContext};
use mls_rs::{KeyPackage, MlsMessage, MlsMessageDescription};

use super::GroupError;
use super::identity::{certificate, checked_certificate};
use crate::certificate::DeviceCertificate;

/// What a commit does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Who made it.
    pub committer: DeviceCertificate,
    /// The committer was not in the group: it joins by this commit.
    pub external: bool,
    /// Who is in the group from here on: of an external commit the committer.
    pub added: Vec<DeviceCertificate>,
    /// Whose leaves are gone: of an external commit the committer's older one, if it had one.
    pub removed: Vec<DeviceCertificate>,
}

/// A message that is a readable commit in a group at this epoch.
///
/// # Errors
///
/// It is something else.
pub(super) fn commit_in(context: &GroupContext, bytes: &[u8]) -> Result<MlsMessage, GroupError> {
    let message = MlsMessage::from_bytes(bytes)?;
    let MlsMessageDescription::PublicProtocolMessage { group_id, epoch_id, content_type, .. } = message.description()
    else {
        return Err(GroupError::Kind("a PublicMessage"));
    };
    if content_type != ContentType::Commit {
        Err(GroupError::Kind("a commit"))
    } else if group_id != context.group_id() {
        Err(GroupError::OtherGroup)
    } else if epoch_id != context.epoch() {
        Err(GroupError::OtherEpoch(context.epoch()))
    } else {
        Ok(message)
    }
}

/// Who makes this commit, if it brings a leaf with it.
pub(super) fn committing_leaf(message: &MlsMessage) -> Result<Option<DeviceCertificate>, GroupError> {
    Ok(message.commit_path_leaf_node().map(|leaf| certificate(&leaf.signing_identity)).transpose()?)
}

/// What a valid commit does, and the key packages that it adds devices by. `leaf` is of [`committing_leaf`].
pub(super) fn of(
    description: &CommitMessageDescription,
    leaf: Option<DeviceCertificate>,
) -> Result<(Applied, Vec<&KeyPackage>), GroupError> {
    let (CommitEffect::NewEpoch(epoch) | CommitEffect::Removed { new_epoch: epoch, .. }) = &description.effect else {
        return Err(GroupError::Kind("a commit that goes on with the group"));
    };
    let member = |index| {
        let member = epoch.prior_state().member_at_index(index).ok_or(GroupError::Leaf(format!("at {index}")))?;
        Ok::<_, GroupError>(checked_certificate(&member.signing_identity)?)
    };
    let committer = leaf.map_or_else(|| member(description.committer), Ok)?;
    let (mut packages, mut added, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    for proposal in epoch.applied_proposals() {
        match &proposal.proposal {
            Proposal::Add(add) => {
                packages.push(add.key_package());
                added.push(checked_certificate(add.key_package().signing_identity())?);
            }
            Proposal::Remove(remove) => removed.push(member(remove.to_remove())?),
            _ => {}
        }
    }
    if description.is_external {
        added.push(committer.clone());
    }
    Ok((Applied { committer, external: description.is_external, added, removed }, packages))
}
