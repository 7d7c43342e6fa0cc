//! What devices hand in for end-to-end encryption is checked by `godwit-e2ee`, which no other part of the server knows.

use std::sync::Arc;

use bytes::Bytes;
use godwit_bridge::decide::EncryptionRules;
use godwit_bridge::encryption::{
    Certified, EncryptionSettings, HandedIn, Invalid, LeafOf, MlsGroupId, NextGroup, PublicGroup, Validator, WelcomeTo,
};
use godwit_e2ee::certificate::DeviceCertificate;
use godwit_e2ee::identity::{IdentityChain, IdentityLink};
use godwit_e2ee::mls::public_group::{self, Commit, Founding, WelcomeFor};
use godwit_e2ee::mls::{GroupError, GroupId, key_package};
use godwit_e2ee::time::UnixTime;
use godwit_schemas::ids::UserId;

use crate::settings::EncryptionKeys;

/// Checks at once: they share the processors with the lanes.
const CHECKS_AT_ONCE: usize = 2;

/// How conversations can be encrypted.
pub(crate) fn settings(keys: &EncryptionKeys) -> EncryptionSettings {
    let EncryptionKeys { key_packages_max, claims_per_day, vault_rows_max, .. } = *keys;
    let (validator, checks_at_once) = (Arc::new(MlsValidator), CHECKS_AT_ONCE);
    EncryptionSettings { validator, checks_at_once, key_packages_max, claims_per_day, vault_rows_max }
}

/// What decisions have to know of it.
pub(crate) fn rules(keys: &EncryptionKeys) -> EncryptionRules {
    let EncryptionKeys { required, leaves_max, commits_per_minute, .. } = *keys;
    EncryptionRules { required, leaves_max, commits_per_minute }
}

#[derive(Debug)]
struct MlsValidator;

const NO_IDENTITY: Invalid = Invalid("not the identity keys of this user, or a link that does not extend them");
const NO_CERTIFICATE: Invalid = Invalid("not a certificate, or not signed by the user's identity key");

impl Validator for MlsValidator {
    fn identity(&self, user: &UserId, chain: &[Bytes]) -> Result<(), Invalid> {
        chain_of(user, chain).map(|_| ())
    }

    fn certificate(&self, user: &UserId, chain: &[Bytes], certificate: &[u8]) -> Result<Certified, Invalid> {
        let certificate = DeviceCertificate::from_bytes(certificate).map_err(|_| NO_CERTIFICATE)?;
        let is_certified = chain_of(user, chain)?.certifies(&certificate, false);
        let says = || Certified { user: certificate.user().clone(), device: certificate.device().clone() };
        is_certified.then(says).ok_or(NO_CERTIFICATE)
    }

    fn key_package(&self, package: &[u8], certificate: &[u8], last_resort: bool, now_s: u32) -> Result<u32, Invalid> {
        let of = DeviceCertificate::from_bytes(certificate).map_err(|_| NO_CERTIFICATE)?;
        let checked = key_package::check(package, &of, time(now_s));
        let checked = checked.map_err(|_| Invalid("not a key package of this device that can be used now"))?;
        if checked.last_resort != last_resort {
            return Err(Invalid("the key package of last resort says so, and no other does"));
        }
        Ok(u32::try_from(checked.expires.seconds()).unwrap_or(u32::MAX))
    }

    fn found(&self, id: MlsGroupId, founded: &HandedIn, now_s: u32) -> Result<NextGroup, Invalid> {
        let id = GroupId { conversation: id.conversation, generation: id.generation };
        let welcomes = welcomes(&founded.welcomes);
        let founding = Founding { group_info: &founded.group_info, tree: &founded.tree, welcomes: &welcomes };
        let found = public_group::PublicGroup::found(id, founding, time(now_s)).map_err(invalid)?;
        let (group, founder) = found;
        next(group, &founder, 0)
    }

    fn commit(&self, group: &PublicGroup, commit: &HandedIn, now_s: u32) -> Result<NextGroup, Invalid> {
        let group = public_group::PublicGroup::load(&group.state, &group.tree).map_err(invalid)?;
        let welcomes = welcomes(&commit.welcomes);
        let commit = Commit { message: &commit.commit, group_info: &commit.group_info, welcomes: &welcomes };
        let (group, applied) = group.after(commit, time(now_s)).map_err(invalid)?;
        next(group, &applied.committer, applied.added.len())
    }
}

fn time(now_s: u32) -> UnixTime {
    UnixTime::new(now_s.into())
}

fn chain_of(user: &UserId, chain: &[Bytes]) -> Result<IdentityChain, Invalid> {
    let links = chain.iter().map(|link| IdentityLink::from_bytes(link)).collect::<Result<Vec<_>, _>>();
    let links = links.map_err(|_| NO_IDENTITY)?;
    IdentityChain::new(user.clone(), links).map_err(|_| NO_IDENTITY)
}

fn welcomes(welcomes: &[WelcomeTo]) -> Vec<WelcomeFor<'_>> {
    welcomes.iter().map(welcome).collect()
}

fn welcome(WelcomeTo { user, device, welcome }: &WelcomeTo) -> WelcomeFor<'_> {
    WelcomeFor { user: user.as_str(), device: device.as_str(), message: welcome }
}

fn next(
    mut group: public_group::PublicGroup,
    committer: &DeviceCertificate,
    added: usize,
) -> Result<NextGroup, Invalid> {
    let leaves = group.leaves().map_err(invalid)?;
    let kept =
        PublicGroup { state: group.state().map_err(invalid)?.into(), tree: group.tree().map_err(invalid)?.into() };
    Ok(NextGroup {
        group: kept,
        epoch: group.epoch().map_err(invalid)?.number(),
        leaves: leaves.iter().map(|leaf| leaf_of(&leaf.certificate)).collect(),
        committer: leaf_of(committer),
        added,
    })
}

fn leaf_of(certificate: &DeviceCertificate) -> LeafOf {
    LeafOf {
        user: certificate.user().clone(),
        device: certificate.device().clone(),
        certificate: certificate.to_bytes().into(),
    }
}

fn invalid(error: GroupError) -> Invalid {
    tracing::debug!(%error, "what a device has handed in for an MLS group is refused");
    Invalid(match error {
        GroupError::Malformed(_) => "not what MLS encodes",
        GroupError::Kind(_) => "a message of MLS, but of another kind",
        GroupError::OtherGroup => "a message of another group",
        GroupError::OtherEpoch(_) => "a message of another epoch",
        GroupError::Credential(_) => "a leaf is not a certified device",
        GroupError::Leaf(_) => "a device has two leaves, or none",
        GroupError::Welcomes => "there is one Welcome for each device that is added",
        GroupError::GroupInfo => "the group info is not of the group as the commit leaves it",
        GroupError::Invalid(_) => "not valid in the MLS group",
    })
}
