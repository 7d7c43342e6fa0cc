//! A group as one of its members has it: founding, joining, commits, and the keys of its epochs.
//!
//! A group is loaded from bytes and turned into bytes again. Whoever holds it writes these in the commit that takes in what
//! led to them; if that commit fails, the object is dropped, and nothing has happened.

use std::collections::BTreeMap;

use mls_rs::MlsMessage;
use mls_rs::group::{CommitEffect, CommitOutput, CommitSecrets, ExportedTree, ReceivedMessage};
use zeroize::Zeroizing;

use super::device::{Config, Device, Slot};
use super::effect::{self, Applied};
use super::identity::checked_certificate;
use super::provider::Suite;
use super::public_group::{self, Leaf};
use super::rules::Rules;
use super::{Epoch, GroupError, GroupId, mls_time};
use crate::time::UnixTime;

/// Bytes of a base key of SFrame: of suite 0x0004, AES-128-GCM.
pub const BASE_KEY_BYTES: usize = 16;
/// Bytes of a key for live signals.
pub const LIVE_KEY_BYTES: usize = 16;

/// RFC 9605, section 5.2.
const LABEL_SFRAME: &[u8] = b"SFrame 1.0 Base Key";
const LABEL_LIVE: &[u8] = b"godwit live";

/// What an epoch's messages are sealed with. Whoever has it opens them, in any order, as often as wanted.
#[derive(Clone, PartialEq, Eq)]
pub struct EpochKeys {
    /// For messages, edits and reactions.
    pub base: Zeroizing<[u8; BASE_KEY_BYTES]>,
    /// For live signals, which nobody keeps.
    pub live: Zeroizing<[u8; LIVE_KEY_BYTES]>,
}

impl std::fmt::Debug for EpochKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EpochKeys")
    }
}

/// A group as it is kept.
#[derive(Clone)]
pub struct StoredGroup {
    /// Everything but the tree. It has private keys.
    pub state: Zeroizing<Vec<u8>>,
    /// The tree, which is public.
    pub tree: Vec<u8>,
}

/// What the server is handed of a new group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundingMessages {
    /// MLSMessage with a GroupInfo.
    pub group_info: Vec<u8>,
    /// The tree.
    pub tree: Vec<u8>,
    /// One for each key package, in their order.
    pub welcomes: Vec<Vec<u8>>,
}

/// What the server is handed of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitMessages {
    /// MLSMessage with a PublicMessage.
    pub commit: Vec<u8>,
    /// MLSMessage with a GroupInfo of the epoch that it begins.
    pub group_info: Vec<u8>,
    /// One for each key package that was added, in their order.
    pub welcomes: Vec<Vec<u8>>,
}

/// What another device's commit has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processed {
    /// Whom it added and removed.
    pub applied: Applied,
    /// Whether this device is still in the group. If it is not, the group stays at the epoch that it was in.
    pub still_in: bool,
}

/// A group at one epoch, with this device in it.
pub struct Group {
    group: mls_rs::Group<Config>,
    slot: Slot,
}

impl Group {
    /// Makes a group with the devices that these key packages are of. It is at epoch 1, and nobody else knows of it before
    /// the server has accepted it.
    ///
    /// # Errors
    ///
    /// A key package is none, is over, or is of a device that is there already.
    pub fn found(
        device: &Device,
        id: GroupId,
        key_packages: &[&[u8]],
        now: UnixTime,
    ) -> Result<(Self, FoundingMessages), GroupError> {
        let slot = Slot::default();
        let client = device.client(slot.clone(), Rules::FOUNDING);
        let id = id.to_bytes().to_vec();
        let mut group = client.create_group_with_id(id, Default::default(), Default::default(), Some(mls_time(now)))?;
        let mut builder = group.commit_builder().commit_time(mls_time(now));
        for package in key_packages {
            builder = builder.add_member(MlsMessage::from_bytes(package)?)?;
        }
        let output = builder.build()?;
        group.apply_pending_commit()?;
        // Loaded anew, it has the rules of later commits.
        let group = Self::load(device, &Self { group, slot }.store()?)?;
        let welcomes = in_order(key_packages, &output.welcome_messages)?;
        let messages = FoundingMessages { group_info: group_info(&output)?, tree: group.tree()?, welcomes };
        Ok((group, messages))
    }

    /// The references of the key packages that a Welcome is for.
    ///
    /// # Errors
    ///
    /// It is no Welcome.
    pub fn welcomed(welcome: &[u8]) -> Result<Vec<Vec<u8>>, GroupError> {
        let message = MlsMessage::from_bytes(welcome)?;
        Ok(message.welcome_key_package_references().into_iter().map(|reference| reference.to_vec()).collect())
    }

    /// Joins by a Welcome, with the key package that it is for ([`Group::welcomed`]) and the tree of its epoch.
    ///
    /// # Errors
    ///
    /// The Welcome is for another key package, the tree is of another epoch, or a leaf is nobody's.
    pub fn join(
        device: &Device,
        welcome: &[u8],
        (reference, secret): (&[u8], &[u8]),
        tree: &[u8],
    ) -> Result<Self, GroupError> {
        let slot = Slot::with_key_package(reference, secret);
        let client = device.client(slot.clone(), Rules::LATER);
        let (group, _) =
            client.join_group(Some(ExportedTree::from_bytes(tree)?), &MlsMessage::from_bytes(welcome)?, None)?;
        Ok(Self { group, slot })
    }

    /// Joins from outside, in the place of an older leaf of this device if there is one. The group is as the commit leaves
    /// it: keep it when the server has accepted that.
    ///
    /// # Errors
    ///
    /// The GroupInfo and the tree are not of one group, or a leaf is nobody's.
    pub fn join_from_outside(
        device: &Device,
        info: &[u8],
        tree: &[u8],
        now: UnixTime,
    ) -> Result<(Self, CommitMessages), GroupError> {
        let slot = Slot::default();
        let client = device.client(slot.clone(), Rules::LATER);
        let tree = ExportedTree::from_bytes(tree)?;
        let older = tree.roster().members_iter().find_map(|member| {
            let leaf = checked_certificate(&member.signing_identity).ok()?;
            leaf.same_device(device.certificate()).then_some(member.index)
        });
        let mut builder =
            client.external_commit_builder()?.with_tree_data(tree.into_owned()).commit_time(mls_time(now));
        if let Some(index) = older {
            builder = builder.with_removal(index);
        }
        let (group, commit) = builder.build(MlsMessage::from_bytes(info)?)?;
        let group = Self { group, slot };
        let messages =
            CommitMessages { commit: commit.to_bytes()?, group_info: group.group_info()?, welcomes: Vec::new() };
        Ok((group, messages))
    }

    /// The group as it was kept.
    ///
    /// # Errors
    ///
    /// The bytes are none that were kept.
    pub fn load(device: &Device, stored: &StoredGroup) -> Result<Self, GroupError> {
        let slot = Slot::with_group(&stored.state);
        let client = device.client(slot.clone(), Rules::LATER);
        // The slot holds one group, whatever it is asked for.
        let group = client.load_group_with_ratchet_tree(&[], ExportedTree::from_bytes(&stored.tree)?)?;
        Ok(Self { group, slot })
    }

    /// What is to be kept of it.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn store(&mut self) -> Result<StoredGroup, GroupError> {
        self.group.write_to_storage_without_ratchet_tree()?;
        let state = self.slot.take_group().ok_or(GroupError::Kind("a group"))?;
        Ok(StoredGroup { state, tree: self.tree()? })
    }

    fn tree(&self) -> Result<Vec<u8>, GroupError> {
        Ok(self.group.export_tree().to_bytes()?)
    }

    /// Makes a commit that adds the devices of these key packages, removes these leaves, and gives this device new keys.
    /// The group stays as it is: `secrets` are for [`Group::apply_own`], once the server has accepted the commit.
    ///
    /// # Errors
    ///
    /// A key package is none, is over, or is of a device that is there already; more than
    /// [`ADDS_PER_COMMIT_MAX`](super::ADDS_PER_COMMIT_MAX); a leaf that is not there.
    pub fn commit(
        &mut self,
        add: &[&[u8]],
        remove: &[u32],
        now: UnixTime,
    ) -> Result<(CommitMessages, Zeroizing<Vec<u8>>), GroupError> {
        let mut builder = self.group.commit_builder().commit_time(mls_time(now));
        for package in add {
            builder = builder.add_member(MlsMessage::from_bytes(package)?)?;
        }
        for index in remove {
            builder = builder.remove_member(*index)?;
        }
        let (output, secrets) = builder.build_detached()?;
        let commit = output.commit_message.to_bytes()?;
        let welcomes = in_order(add, &output.welcome_messages)?;
        let secrets = Zeroizing::new(secrets.to_bytes()?);
        Ok((CommitMessages { commit, group_info: group_info(&output)?, welcomes }, secrets))
    }

    /// Goes on with a commit of this device's own that the server has accepted.
    ///
    /// # Errors
    ///
    /// The secrets are none of [`Group::commit`].
    pub fn apply_own(&mut self, secrets: &[u8]) -> Result<(), GroupError> {
        self.group.apply_detached_commit(CommitSecrets::from_bytes(secrets)?)?;
        Ok(())
    }

    /// Goes on with another device's commit. What it does is for the caller to judge before it keeps the group.
    ///
    /// # Errors
    ///
    /// It is not valid in this group at this epoch, or this device cannot decrypt what is in it for it. The group is of no
    /// use then: load it again.
    pub fn process(&mut self, commit: &[u8]) -> Result<Processed, GroupError> {
        let message = effect::commit_in(self.group.context(), commit)?;
        let leaf = effect::committing_leaf(&message)?;
        // Without a time: a commit stays valid when the key packages in it are over.
        let ReceivedMessage::Commit(description) = self.group.process_incoming_message(message)? else {
            return Err(GroupError::Kind("a commit"));
        };
        let (applied, _) = effect::of(&description, leaf)?;
        let still_in = !matches!(description.effect, CommitEffect::Removed { .. });
        Ok(Processed { applied, still_in })
    }

    /// The keys of the epoch that the group is in. They are given once: the group forgets what it made them from.
    ///
    /// # Errors
    ///
    /// They were given already.
    pub fn take_keys(&mut self) -> Result<EpochKeys, GroupError> {
        let keys = EpochKeys { base: self.export(LABEL_SFRAME)?, live: self.export(LABEL_LIVE)? };
        self.group.delete_exporter();
        Ok(keys)
    }

    fn export<const N: usize>(&self, label: &[u8]) -> Result<Zeroizing<[u8; N]>, GroupError> {
        let secret = self.group.export_secret(label, &[], N)?;
        let mut key = Zeroizing::new([0; N]);
        key.copy_from_slice(secret.as_bytes());
        Ok(key)
    }

    /// A GroupInfo by which devices join from outside, without the tree.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn group_info(&self) -> Result<Vec<u8>, GroupError> {
        Ok(self.group.group_info_message_allowing_ext_commit(false)?.to_bytes()?)
    }

    /// What all members of the group at this epoch have the same of, and nobody else.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn authenticator(&self) -> Result<Vec<u8>, GroupError> {
        Ok(self.group.epoch_authenticator()?.as_bytes().to_vec())
    }

    /// Which group it is.
    ///
    /// # Errors
    ///
    /// Its name is none of ours.
    pub fn id(&self) -> Result<GroupId, GroupError> {
        Ok(GroupId::from_bytes(self.group.group_id())?)
    }

    /// The epoch that it is in.
    ///
    /// # Errors
    ///
    /// Its name is none of ours.
    pub fn epoch(&self) -> Result<Epoch, GroupError> {
        Ok(Epoch::new(self.id()?.generation, self.group.current_epoch())?)
    }

    /// Who is in it, by index.
    ///
    /// # Errors
    ///
    /// None that is known: leaves were checked when they came in.
    pub fn leaves(&self) -> Result<Vec<Leaf>, GroupError> {
        public_group::leaves(self.group.roster())
    }

    /// This device's own leaf.
    #[must_use]
    pub fn own_leaf(&self) -> u32 {
        self.group.current_member_index()
    }
}

fn group_info(output: &CommitOutput) -> Result<Vec<u8>, GroupError> {
    let info = output.external_commit_group_info.as_ref().ok_or(GroupError::GroupInfo)?;
    Ok(info.to_bytes()?)
}

/// The Welcomes in the order of the key packages that they are for.
fn in_order(key_packages: &[&[u8]], welcomes: &[MlsMessage]) -> Result<Vec<Vec<u8>>, GroupError> {
    let mut by_reference = BTreeMap::new();
    for welcome in welcomes {
        for reference in welcome.welcome_key_package_references() {
            by_reference.insert(reference.to_vec(), welcome);
        }
    }
    let found = key_packages.iter().map(|package| {
        let reference = MlsMessage::from_bytes(package)?.key_package_reference(&Suite::new())?;
        let reference = reference.ok_or(GroupError::Kind("a key package"))?;
        Ok(by_reference.get(&reference[..]).ok_or(GroupError::Welcomes)?.to_bytes()?)
    });
    found.collect()
}
