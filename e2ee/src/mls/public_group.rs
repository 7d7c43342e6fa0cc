//! A group as the server sees it: its tree, and what was hashed of its past, but no secret.
//!
//! The server checks by it every commit before it gives it a place in the conversation's order, so that no member can hand in
//! one that the others could not process. It cannot check what is encrypted in a commit, nor tags that need the group's
//! secrets: a member for whom these are wrong joins anew from outside.

use std::collections::{BTreeMap, BTreeSet};

use mls_rs::external_client::builder::{ExternalBaseConfig, WithCryptoProvider, WithIdentityProvider, WithMlsRules};
use mls_rs::external_client::{ExternalClient, ExternalGroup, ExternalReceivedMessage, ExternalSnapshot};
use mls_rs::group::{ExportedTree, GroupInfo, Member, Roster};
use mls_rs::{ExtensionList, KeyPackage, MlsMessage};
use mls_rs_core::extension::ExtensionType;

use super::effect::{self, Applied};
use super::identity::{Certificates, checked_certificate};
use super::provider::{Provider, SUITE, Suite};
use super::rules::Rules;
use super::{Epoch, GroupError, GroupId, mls_time};
use crate::certificate::DeviceCertificate;
use crate::time::UnixTime;

type Config = WithMlsRules<Rules, WithCryptoProvider<Provider, WithIdentityProvider<Certificates, ExternalBaseConfig>>>;

pub(super) fn client() -> ExternalClient<Config> {
    ExternalClient::builder()
        .identity_provider(Certificates)
        .crypto_provider(Provider)
        .mls_rules(Rules::LATER)
        .cache_proposals(false)
        .build()
}

/// A group at one epoch.
#[derive(Clone)]
pub struct PublicGroup(ExternalGroup<Config>);

/// A device in the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its place in the tree, by which a commit removes it.
    pub index: u32,
    /// Whose it is.
    pub certificate: DeviceCertificate,
}

/// A Welcome, and for whom it is said to be.
#[derive(Debug, Clone, Copy)]
pub struct WelcomeFor<'a> {
    /// The user.
    pub user: &'a str,
    /// The user's device.
    pub device: &'a str,
    /// MLSMessage with a Welcome.
    pub message: &'a [u8],
}

/// What a device hands in that has made a group.
#[derive(Debug, Clone, Copy)]
pub struct Founding<'a> {
    /// MLSMessage with a GroupInfo, without the tree.
    pub group_info: &'a [u8],
    /// The tree.
    pub tree: &'a [u8],
    /// One for each leaf but the founder's.
    pub welcomes: &'a [WelcomeFor<'a>],
}

/// What a device hands in that begins an epoch.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// MLSMessage with a PublicMessage.
    pub message: &'a [u8],
    /// MLSMessage with a GroupInfo of the epoch that it begins, without the tree.
    pub group_info: &'a [u8],
    /// One for each leaf that it adds, but none for one that joins from outside.
    pub welcomes: &'a [WelcomeFor<'a>],
}

impl PublicGroup {
    /// Checks a group that a device has made, and says which one: also each leaf, and that it can be joined.
    ///
    /// # Errors
    ///
    /// It is none, is called otherwise, has two leaves of one device, or lacks a Welcome.
    pub fn found(id: GroupId, founding: Founding<'_>, now: UnixTime) -> Result<(Self, DeviceCertificate), GroupError> {
        let message = parse_group_info(founding.group_info)?;
        let info = message.as_group_info().ok_or(GroupError::Kind("a GroupInfo"))?;
        check_joinable(info)?;
        let context = info.group_context();
        if context.group_id() != id.to_bytes() {
            return Err(GroupError::OtherGroup);
        }
        if context.cipher_suite() != SUITE || *context.extensions() != ExtensionList::default() || context.epoch() == 0
        {
            return Err(GroupError::GroupInfo);
        }
        Epoch::new(id.generation, context.epoch())?;
        let founder = info.sender();
        let tree = ExportedTree::from_bytes(founding.tree)?;
        let group = Self(client().observe_group(message, Some(tree), Some(mls_time(now)))?);

        let leaves = group.leaves()?;
        check_one_leaf_each(&leaves)?;
        let others = leaves.iter().filter(|leaf| leaf.index != founder).map(|leaf| (&leaf.certificate, None));
        check_welcomes(others, founding.welcomes)?;
        let founder = leaves.iter().find(|leaf| leaf.index == founder).ok_or(GroupError::GroupInfo)?;
        let founder = founder.certificate.clone();
        Ok((group, founder))
    }

    /// The group as it was stored: [`PublicGroup::state`], and its tree.
    ///
    /// # Errors
    ///
    /// The bytes are none that were stored.
    pub fn load(state: &[u8], tree: &[u8]) -> Result<Self, GroupError> {
        let snapshot = ExternalSnapshot::from_bytes(state)?;
        Ok(Self(client().load_group_with_ratchet_tree(snapshot, ExportedTree::from_bytes(tree)?)?))
    }

    /// The group without its tree, some 200 bytes, for [`PublicGroup::load`].
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn state(&mut self) -> Result<Vec<u8>, GroupError> {
        Ok(self.0.snapshot_without_ratchet_tree().to_bytes()?)
    }

    /// The tree (RFC 9420, section 12.4.3.3), for those who join, and for [`PublicGroup::load`].
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn tree(&self) -> Result<Vec<u8>, GroupError> {
        Ok(self.0.export_tree()?)
    }

    /// What all members know the tree by.
    #[must_use]
    pub fn tree_hash(&self) -> &[u8] {
        self.0.tree_hash()
    }

    /// Which group it is.
    ///
    /// # Errors
    ///
    /// Its name is none of ours.
    pub fn id(&self) -> Result<GroupId, GroupError> {
        Ok(GroupId::from_bytes(self.0.group_context().group_id())?)
    }

    /// The epoch that it is in.
    ///
    /// # Errors
    ///
    /// Its name is none of ours.
    pub fn epoch(&self) -> Result<Epoch, GroupError> {
        Ok(Epoch::new(self.id()?.generation, self.0.group_context().epoch())?)
    }

    /// Who is in it, by index.
    ///
    /// # Errors
    ///
    /// None that is known: leaves were checked when they came in.
    pub fn leaves(&self) -> Result<Vec<Leaf>, GroupError> {
        leaves(self.0.roster())
    }

    /// The group as a commit leaves it. This one stays as it is.
    ///
    /// # Errors
    ///
    /// The commit is not valid in this group at this epoch, or what is handed in beside it does not belong to it.
    pub fn after(&self, commit: Commit<'_>, now: UnixTime) -> Result<(Self, Applied), GroupError> {
        let message = effect::commit_in(self.0.group_context(), commit.message)?;
        let leaf = effect::committing_leaf(&message)?;
        let mut next = Self(self.0.clone());
        let received = next.0.process_incoming_message_with_time(message, mls_time(now))?;
        let ExternalReceivedMessage::Commit(description) = received else { return Err(GroupError::Kind("a commit")) };
        next.epoch()?;

        let (applied, packages) = effect::of(&description, leaf)?;
        let references = packages.into_iter().map(reference).collect::<Result<Vec<_>, _>>()?;
        check_welcomes(applied.added.iter().zip(references.iter().map(Some)), commit.welcomes)?;
        if !applied.added.is_empty() {
            check_one_leaf_each(&next.leaves()?)?;
        }
        next.check_group_info(commit.group_info)?;
        Ok((next, applied))
    }

    /// Checks that devices can join by this GroupInfo: that it is of this epoch, and signed by a member.
    fn check_group_info(&mut self, bytes: &[u8]) -> Result<(), GroupError> {
        let message = parse_group_info(bytes)?;
        check_joinable(message.as_group_info().ok_or(GroupError::Kind("a GroupInfo"))?)?;
        match self.0.process_incoming_message(message)? {
            ExternalReceivedMessage::GroupInfo(_) => Ok(()),
            _ => Err(GroupError::Kind("a GroupInfo")),
        }
    }
}

/// The leaves of a tree that mls-rs has validated.
pub(super) fn leaves(roster: Roster<'_>) -> Result<Vec<Leaf>, GroupError> {
    let leaf =
        |member: Member| Ok(Leaf { index: member.index, certificate: checked_certificate(&member.signing_identity)? });
    roster.members_iter().map(leaf).collect()
}

fn reference(package: &KeyPackage) -> Result<Vec<u8>, GroupError> {
    Ok(package.to_reference(&Suite::new())?.to_vec())
}

fn parse_group_info(bytes: &[u8]) -> Result<MlsMessage, GroupError> {
    Ok(MlsMessage::from_bytes(bytes)?)
}

/// It has the key that an external commit needs, and not the tree, which is kept apart.
fn check_joinable(info: &GroupInfo) -> Result<(), GroupError> {
    let extensions = info.extensions();
    let joinable = extensions.has_extension(ExtensionType::EXTERNAL_PUB);
    if joinable && !extensions.has_extension(ExtensionType::RATCHET_TREE) { Ok(()) } else { Err(GroupError::GroupInfo) }
}

fn check_one_leaf_each(leaves: &[Leaf]) -> Result<(), GroupError> {
    let mut seen = BTreeSet::new();
    for Leaf { certificate, .. } in leaves {
        if !seen.insert((certificate.user(), certificate.device())) {
            return Err(GroupError::Leaf(format!("{}/{}", certificate.user(), certificate.device())));
        }
    }
    Ok(())
}

/// Each of these devices has one Welcome, and nobody else has one. With a reference the Welcome is for that key package.
fn check_welcomes<'a>(
    devices: impl Iterator<Item = (&'a DeviceCertificate, Option<&'a Vec<u8>>)>,
    welcomes: &[WelcomeFor<'_>],
) -> Result<(), GroupError> {
    let mut left = welcomes.iter().map(|w| ((w.user, w.device), w.message)).collect::<BTreeMap<_, _>>();
    if left.len() != welcomes.len() {
        return Err(GroupError::Welcomes);
    }
    for (certificate, reference) in devices {
        let name = (certificate.user().as_str(), certificate.device().as_str());
        let message = MlsMessage::from_bytes(left.remove(&name).ok_or(GroupError::Welcomes)?)?;
        match (&message.welcome_key_package_references()[..], reference) {
            ([found], Some(reference)) if found[..] == reference[..] => {}
            ([_], None) => {}
            _ => return Err(GroupError::Welcomes),
        }
    }
    if left.is_empty() { Ok(()) } else { Err(GroupError::Welcomes) }
}
