//! Encrypted conversations: the group of each, as this device has it, and the keys of its epochs.
//!
//! A group goes on in the commit that takes in the change which says so. This device's own commits wait in the store until the
//! inbox brings them, in their place; when another device's comes there instead, they are forgotten. Nothing is sealed before all
//! devices in the group are known to be of members, by keys that this device has seen.

use godwit_e2ee::certificate::DeviceCertificate;
use godwit_e2ee::content::SignerId;
use godwit_e2ee::mls::group::{CommitMessages, EpochKeys, FoundingMessages, Group, StoredGroup};
use godwit_e2ee::mls::public_group::Leaf;
use godwit_e2ee::mls::{Device, Epoch, GroupError, GroupId, key_package};
use godwit_e2ee::time::UnixTime;
use godwit_schemas::client::{self, MlsChange};
use godwit_schemas::ids::{ConversationId, UserId};
use prost::Message;
use tracing::{debug, info};
use zeroize::Zeroizing;

use super::record::KnownConversationRecord;
use super::{Ledger, keys};
use crate::error::EncryptionFailure;
use crate::store::{LocalStoreError, Scan};

/// So old, an epoch is ended before something is sent in it: who takes a device reads no more than what was sent in the epochs
/// whose keys it still has.
const EPOCH_S: u64 = 24 * 60 * 60;

/// A group as this device has it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GroupRecord {
    /// The conversation is encrypted, for ever: it is there if there is this record.
    /// The epoch that `state` is at; 0: this device is in no group.
    #[prost(uint64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(bytes = "vec", tag = "2")]
    state: Vec<u8>,
    /// The newest epoch that the server has told of.
    #[prost(uint64, tag = "3")]
    pub(super) announced: u64,
    /// What this device is let in by; empty: by nobody.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) welcome: Vec<u8>,
    /// The epoch that the Welcome is of.
    #[prost(uint64, tag = "5")]
    pub(super) welcome_epoch: u64,
    /// What this device has handed in, or will.
    #[prost(message, optional, tag = "6")]
    pub(super) pending: Option<PendingRecord>,
    /// A send was refused in this epoch: the next one has to begin first.
    #[prost(uint64, tag = "7")]
    refused_epoch: u64,
    /// When the epoch began here.
    #[prost(uint64, tag = "8")]
    begun_at_s: u64,
    /// All devices in the group are known to be of members.
    #[prost(bool, tag = "9")]
    checked: bool,
    /// Something is here that was sealed under an epoch whose key this device does not have.
    #[prost(bool, tag = "10")]
    pub(super) wants_vault: bool,
    /// Of epochs up to this one the vault was asked.
    #[prost(uint64, tag = "11")]
    pub(super) vault_read: u64,
}

/// What this device wants to be the next epoch.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PendingRecord {
    /// Which one.
    #[prost(uint64, tag = "1")]
    pub(super) epoch: u64,
    /// Empty: the group is founded.
    #[prost(bytes = "vec", tag = "2")]
    commit: Vec<u8>,
    /// Of a commit to a group that this device is in.
    #[prost(bytes = "vec", tag = "3")]
    secrets: Vec<u8>,
    /// Otherwise the group, as it is then.
    #[prost(bytes = "vec", tag = "4")]
    state: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    tree: Vec<u8>,
}

/// Keys of an epoch.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EpochKeysRecord {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) base: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) live: Vec<u8>,
}

/// What a change says of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// The conversation was not encrypted before.
    First,
    /// Another group has taken the place of the one before.
    Anew,
    /// The group goes on.
    Next,
}

/// The group that the one which is founded takes the place of, as the server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BrokenGroup {
    pub(crate) epoch: u64,
    /// The lowest generation that the server takes.
    pub(crate) reset_generation: u32,
}

/// What is to be done about a conversation's group, with the server's help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupWork {
    /// Join by the Welcome of this epoch.
    Join(ConversationId, u64),
    /// Join from outside.
    JoinFromOutside(ConversationId),
    /// End the epoch, and remove who is to be removed.
    Commit(ConversationId),
    /// Learn who these are.
    Meet(ConversationId, Vec<UserId>),
    /// Ask the vault for keys of epochs before this device.
    Vault(ConversationId, Vec<UserId>),
    /// Find out whether what was handed in counts: nobody has said so.
    Confirm(ConversationId),
}

fn from_group(error: GroupError) -> LocalStoreError {
    LocalStoreError::new("go on with a group", error)
}

fn key(bytes: &[u8]) -> Option<Zeroizing<[u8; 16]>> {
    bytes.try_into().ok().map(Zeroizing::new)
}

impl Ledger {
    /// The group of an encrypted conversation; `None`: it is not encrypted, as far as this device has ever heard.
    pub(super) fn group_record(&mut self, id: ConversationId) -> Result<Option<GroupRecord>, LocalStoreError> {
        self.record(&keys::group(id))
    }

    /// Whether a conversation is encrypted. Once it is, it stays so.
    pub(crate) fn is_encrypted(&mut self, id: ConversationId) -> Result<bool, LocalStoreError> {
        Ok(self.group_record(id)?.is_some_and(|record| record.announced > 0))
    }

    /// The server describes a conversation as being in this epoch.
    pub(super) fn announced(&mut self, id: ConversationId, epoch: u64) -> Result<(), LocalStoreError> {
        if epoch == 0 {
            return Ok(());
        }
        let mut record = self.group_record(id)?.unwrap_or_default();
        self.has_new_epochs |= record.announced < epoch;
        record.announced = record.announced.max(epoch);
        self.put(&keys::group(id), &record)
    }

    fn load(&mut self, id: ConversationId, record: &GroupRecord, device: &Device) -> Result<Group, LocalStoreError> {
        let tree = self.store.get(&keys::tree(id))?.unwrap_or_default();
        let stored = StoredGroup { state: Zeroizing::new(record.state.clone()), tree };
        Group::load(device, &stored).map_err(from_group)
    }

    /// The group is at another epoch: keeps it, its keys, and who is in it.
    fn enter(
        &mut self,
        id: ConversationId,
        record: &mut GroupRecord,
        group: &mut Group,
        now_s: u64,
    ) -> Result<(), LocalStoreError> {
        let epoch = group.epoch().map_err(from_group)?;
        let EpochKeys { base, live } = group.take_keys().map_err(from_group)?;
        let stored = group.store().map_err(from_group)?;
        for leaf in group.leaves().map_err(from_group)? {
            self.keep_signer(&leaf.certificate)?;
        }
        (record.epoch, record.state) = (epoch.number(), stored.state.to_vec());
        (record.begun_at_s, record.checked) = (now_s, false);
        (record.welcome, record.pending) = (Vec::new(), None);
        record.announced = record.announced.max(record.epoch);
        self.store.put(&keys::tree(id), &stored.tree)?;
        self.put(&keys::epoch(id, epoch.number()), &EpochKeysRecord { base: base.to_vec(), live: live.to_vec() })?;
        self.store.put(&keys::to_vault(id, epoch.number()), b"")?;
        self.has_new_epochs = true;
        Ok(())
    }

    pub(super) fn keep_signer(&mut self, certificate: &DeviceCertificate) -> Result<(), LocalStoreError> {
        let key = keys::signer(certificate.user(), SignerId::of(certificate));
        self.store.put(&key, &certificate.to_bytes())
    }

    /// The certificate of a user's device, by the key that it signs with.
    pub(super) fn signer(&mut self, user: &str, id: SignerId) -> Result<Option<DeviceCertificate>, LocalStoreError> {
        let Ok(user) = UserId::new(user) else { return Ok(None) };
        let bytes = self.store.get(&keys::signer(&user, id))?;
        Ok(bytes.and_then(|bytes| DeviceCertificate::from_bytes(&bytes).ok()).filter(|it| *it.user() == user))
    }

    /// The keys of an epoch, if this device has them.
    pub(super) fn epoch_keys(
        &mut self,
        id: ConversationId,
        epoch: Epoch,
    ) -> Result<Option<EpochKeys>, LocalStoreError> {
        let record: Option<EpochKeysRecord> = self.record(&keys::epoch(id, epoch.number()))?;
        Ok(record.and_then(|record| Some(EpochKeys { base: key(&record.base)?, live: key(&record.live)? })))
    }

    /// A change says that another epoch begins.
    pub(super) fn begins_epoch(
        &mut self,
        id: ConversationId,
        change: &MlsChange,
        by_me: bool,
        now_s: u64,
    ) -> Result<Beginning, LocalStoreError> {
        let mut record = self.group_record(id)?.unwrap_or_default();
        let beginning = match record.announced {
            0 => Beginning::First,
            before if generation(change.epoch) > generation(before) => Beginning::Anew,
            _ => Beginning::Next,
        };
        record.announced = record.announced.max(change.epoch);
        if change.epoch > record.epoch
            && let Some(device) = self.own_device()?
        {
            self.go_on(id, &mut record, change, (&device, by_me), now_s)?;
        }
        self.put(&keys::group(id), &record)?;
        self.has_new_epochs = true;
        Ok(beginning)
    }

    fn go_on(
        &mut self,
        id: ConversationId,
        record: &mut GroupRecord,
        change: &MlsChange,
        (device, by_me): (&Device, bool),
        now_s: u64,
    ) -> Result<(), LocalStoreError> {
        if let Some(pending) = record.pending.take().filter(|it| it.epoch == change.epoch) {
            let founded = pending.commit.is_empty() && by_me && change.device == device.certificate().device().as_str();
            let is_own = if change.commit.is_empty() { founded } else { pending.commit[..] == change.commit[..] };
            if is_own {
                let mut group = self.own_group(id, record, &pending, device)?;
                return self.enter(id, record, &mut group, now_s);
            }
        }
        if !change.welcome.is_empty() {
            (record.welcome, record.welcome_epoch) = (change.welcome.to_vec(), change.epoch);
            return Ok(());
        }
        if change.commit.is_empty() {
            return Ok(());
        }
        if !record.welcome.is_empty() {
            // Processed when this device is in.
            return self.store.put(&keys::waiting_commit(id, change.epoch), &change.commit);
        }
        if record.epoch > 0 && record.epoch + 1 == change.epoch {
            self.process(id, record, &change.commit, device, now_s)?;
        }
        Ok(())
    }

    fn own_group(
        &mut self,
        id: ConversationId,
        record: &GroupRecord,
        pending: &PendingRecord,
        device: &Device,
    ) -> Result<Group, LocalStoreError> {
        if pending.secrets.is_empty() {
            let stored = StoredGroup { state: Zeroizing::new(pending.state.clone()), tree: pending.tree.clone() };
            return Group::load(device, &stored).map_err(from_group);
        }
        let mut group = self.load(id, record, device)?;
        group.apply_own(&pending.secrets).map_err(from_group)?;
        Ok(group)
    }

    /// Another device's commit. One that this device cannot process leaves it behind: it joins from outside.
    fn process(
        &mut self,
        id: ConversationId,
        record: &mut GroupRecord,
        commit: &[u8],
        device: &Device,
        now_s: u64,
    ) -> Result<bool, LocalStoreError> {
        let mut group = self.load(id, record, device)?;
        match group.process(commit) {
            Ok(processed) if processed.still_in => {
                self.enter(id, record, &mut group, now_s)?;
                Ok(true)
            }
            Ok(_) => {
                (record.epoch, record.state) = (0, Vec::new());
                Ok(false)
            }
            Err(error) => {
                info!(%error, conversation = id.get(), "cannot go on with the group");
                Ok(false)
            }
        }
    }

    /// The tree has come for the Welcome of this epoch.
    pub(crate) fn join(
        &mut self,
        id: ConversationId,
        epoch: u64,
        tree: &[u8],
        now_s: u64,
    ) -> Result<(), LocalStoreError> {
        let (Some(mut record), Some(device)) = (self.group_record(id)?, self.own_device()?) else { return Ok(()) };
        if record.welcome.is_empty() || record.welcome_epoch != epoch {
            return Ok(());
        }
        let welcome = std::mem::take(&mut record.welcome);
        match self.by_welcome(&device, &welcome, tree)? {
            Ok(mut group) => {
                self.enter(id, &mut record, &mut group, now_s)?;
                let (from, to) = keys::waiting_commits(id);
                for (key, commit) in self.store.scan(&from, &to, Scan::Forward, usize::MAX)? {
                    let next = keys::waiting_commit(id, record.epoch + 1) == key;
                    if next {
                        self.process(id, &mut record, &commit, &device, now_s)?;
                    }
                    self.store.delete(&key)?;
                }
            }
            Err(error) => info!(%error, conversation = id.get(), "cannot join by the Welcome"),
        }
        self.put(&keys::group(id), &record)
    }

    /// Nobody has the tree of the Welcome's epoch any more.
    pub(crate) fn give_up_welcome(&mut self, id: ConversationId, epoch: u64) -> Result<(), LocalStoreError> {
        let Some(mut record) = self.group_record(id)?.filter(|it| it.welcome_epoch == epoch) else { return Ok(()) };
        record.welcome = Vec::new();
        self.put(&keys::group(id), &record)
    }

    fn by_welcome(
        &mut self,
        device: &Device,
        welcome: &[u8],
        tree: &[u8],
    ) -> Result<Result<Group, GroupError>, LocalStoreError> {
        let references = match Group::welcomed(welcome) {
            Ok(references) => references,
            Err(error) => return Ok(Err(error)),
        };
        for reference in references {
            let Some(secret) = self.package_secret(&reference)? else { continue };
            let joined = Group::join(device, welcome, (&reference, &secret), tree);
            if joined.is_ok() {
                self.package_used(&reference)?;
            }
            return Ok(joined);
        }
        Ok(Err(GroupError::Kind("a Welcome for a key package of this device")))
    }

    /// What the server is handed so that this device joins from outside.
    pub(crate) fn join_from_outside(
        &mut self,
        id: ConversationId,
        epoch: u64,
        (info, tree): (&[u8], &[u8]),
        now_s: u64,
    ) -> Result<Option<client::CommitGroup>, LocalStoreError> {
        let (Some(mut record), Some(device)) = (self.group_record(id)?, self.own_device()?) else { return Ok(None) };
        if !wants_in(&record) {
            return Ok(None);
        }
        let (mut group, messages) = match Group::join_from_outside(&device, info, tree, UnixTime::new(now_s)) {
            Ok(joined) => joined,
            Err(error) => {
                info!(%error, conversation = id.get(), "cannot join from outside");
                return Ok(None);
            }
        };
        let next = group.epoch().map_err(from_group)?.number();
        let stored = group.store().map_err(from_group)?;
        let (state, tree) = (stored.state.to_vec(), stored.tree);
        record.pending =
            Some(PendingRecord { epoch: next, commit: messages.commit.clone(), secrets: Vec::new(), state, tree });
        self.put(&keys::group(id), &record)?;
        Ok(Some(commit_group(id, epoch, messages, &[])))
    }

    /// Who is a member of a conversation now.
    pub(crate) fn present_members(&mut self, id: ConversationId) -> Result<Vec<UserId>, LocalStoreError> {
        let members = self.conversation_record(id)?.members.into_iter();
        Ok(members.filter(|it| !it.gone).filter_map(|it| UserId::new(&it.user).ok()).collect())
    }

    /// Whether the group that the server has can only be founded anew. It says so itself after a restore; or it is at an epoch
    /// that this device has left behind, and takes no commit of this device.
    pub(crate) fn is_broken(&mut self, id: ConversationId, there: &client::MlsGroup) -> Result<bool, LocalStoreError> {
        Ok(there.outdated || self.group_record(id)?.is_some_and(|record| record.epoch > there.epoch))
    }

    /// What the server is handed so that a conversation becomes encrypted, with these devices in it; or, if it is, so that this
    /// group takes the place of a broken one. Keys of earlier epochs stay.
    pub(crate) fn found_group(
        &mut self,
        id: ConversationId,
        broken: Option<BrokenGroup>,
        claimed: &[ClaimedPackage],
        now_s: u64,
    ) -> Result<Result<client::CommitGroup, EncryptionFailure>, LocalStoreError> {
        let Some(device) = self.own_device()? else { return Ok(Err(EncryptionFailure::Unlinked)) };
        if let Err(failure) = self.check_packages(claimed, now_s)? {
            return Ok(Err(failure));
        }
        let packages: Vec<_> = claimed.iter().map(|it| &it.package[..]).collect();
        let mut record = self.group_record(id)?.unwrap_or_default();
        // The server may have forgotten generations that this device has seen.
        let seen = generation(record.announced.max(record.epoch));
        let generation = broken.map_or(0, |it| it.reset_generation.max(seen.saturating_add(1)));
        let group_id = GroupId { conversation: id, generation };
        let (mut group, messages) =
            Group::found(&device, group_id, &packages, UnixTime::new(now_s)).map_err(from_group)?;
        let epoch = group.epoch().map_err(from_group)?.number();
        let stored = group.store().map_err(from_group)?;
        let FoundingMessages { group_info, tree, welcomes } = messages;
        let state = stored.state.to_vec();
        record.pending =
            Some(PendingRecord { epoch, commit: Vec::new(), secrets: Vec::new(), state, tree: stored.tree });
        self.put(&keys::group(id), &record)?;
        let messages = CommitMessages { commit: Vec::new(), group_info, welcomes };
        let current = broken.map_or(0, |it| it.epoch);
        Ok(Ok(client::CommitGroup { tree: tree.into(), generation, ..commit_group(id, current, messages, claimed) }))
    }

    /// What the server is handed so that the next epoch begins: with these devices added, and with the leaves of `gone`
    /// removed, which are named by user and device, or by user alone, and those of users that are no members any more.
    pub(crate) fn commit_group(
        &mut self,
        id: ConversationId,
        claimed: &[ClaimedPackage],
        gone: &[(String, Option<String>)],
        now_s: u64,
    ) -> Result<Result<client::CommitGroup, EncryptionFailure>, LocalStoreError> {
        let Some(device) = self.own_device()? else { return Ok(Err(EncryptionFailure::Unlinked)) };
        let Some(mut record) = self.group_record(id)?.filter(|it| it.epoch > 0) else {
            return Ok(Err(EncryptionFailure::NotThere));
        };
        if let Err(failure) = self.check_packages(claimed, now_s)? {
            return Ok(Err(failure));
        }
        let mut group = self.load(id, &record, &device)?;
        let own = group.own_leaf();
        let conversation = self.conversation_record(id)?;
        let is_gone = |leaf: &Leaf| {
            let (user, name) = (leaf.certificate.user().as_str(), leaf.certificate.device().as_str());
            let is_named = gone.iter().any(|(it, of)| it == user && of.as_ref().is_none_or(|of| of == name));
            leaf.index != own && (is_named || conversation.known && !is_present(&conversation, user))
        };
        let leaves = group.leaves().map_err(from_group)?;
        let remove: Vec<_> = leaves.iter().filter(|leaf| is_gone(leaf)).map(|leaf| leaf.index).collect();
        let add: Vec<_> = claimed.iter().map(|it| &it.package[..]).collect();
        let (messages, secrets) = group.commit(&add, &remove, UnixTime::new(now_s)).map_err(from_group)?;
        let (commit, secrets) = (messages.commit.clone(), secrets.to_vec());
        record.pending = Some(PendingRecord { epoch: record.epoch + 1, commit, secrets, ..Default::default() });
        self.put(&keys::group(id), &record)?;
        Ok(Ok(commit_group(id, record.epoch, messages, claimed)))
    }

    /// Key packages that were claimed are of devices of these users, certified by keys that this device knows as theirs.
    fn check_packages(
        &mut self,
        claimed: &[ClaimedPackage],
        now_s: u64,
    ) -> Result<Result<(), EncryptionFailure>, LocalStoreError> {
        for ClaimedPackage { user, device, package } in claimed {
            let bad = || EncryptionFailure::Code(format!("{user}/{device} has a key package that is not its own"));
            let Some(chain) = self.chain(user)? else { return Ok(Err(EncryptionFailure::NoKeys(user.to_string()))) };
            let Ok((certificate, _)) = key_package::read(package, UnixTime::new(now_s)) else { return Ok(Err(bad())) };
            if certificate.device().as_str() != device || !chain.certifies(&certificate, false) {
                return Ok(Err(bad()));
            }
        }
        Ok(Ok(()))
    }

    /// The server did not take what this device handed in.
    pub(crate) fn commit_refused(&mut self, id: ConversationId, current: u64) -> Result<(), LocalStoreError> {
        let Some(mut record) = self.group_record(id)? else { return Ok(()) };
        record.pending = None;
        record.announced = record.announced.max(current);
        if record == GroupRecord::default() {
            // It never was encrypted.
            return self.store.delete(&keys::group(id));
        }
        self.put(&keys::group(id), &record)
    }

    /// The conversation is in this epoch. What this device has handed in for a later one was not taken.
    pub(crate) fn confirm_commit(&mut self, id: ConversationId, current: u64) -> Result<(), LocalStoreError> {
        let pending = self.group_record(id)?.and_then(|record| record.pending);
        if pending.is_some_and(|pending| pending.epoch > current) {
            self.commit_refused(id, current)?;
            self.has_new_epochs = true;
        }
        Ok(())
    }

    /// A send was refused in the epoch that it was sealed in; this is the current one.
    pub(super) fn send_refused_in(
        &mut self,
        id: ConversationId,
        epoch: u64,
        current: u64,
    ) -> Result<(), LocalStoreError> {
        let mut record = self.group_record(id)?.unwrap_or_default();
        record.refused_epoch = record.refused_epoch.max(epoch);
        record.announced = record.announced.max(current);
        self.has_new_epochs = true;
        self.put(&keys::group(id), &record)
    }

    /// The group and this device in it, if something can be sealed now.
    pub(super) fn sealing(
        &mut self,
        id: ConversationId,
        record: &GroupRecord,
        now_s: u64,
    ) -> Result<Option<(Device, u32)>, LocalStoreError> {
        let ready = record.epoch > 0
            && record.checked
            && record.epoch >= record.announced
            && record.pending.is_none()
            && record.epoch != record.refused_epoch
            && now_s.saturating_sub(record.begun_at_s) < EPOCH_S;
        let Some(device) = self.own_device()?.filter(|_| ready) else { return Ok(None) };
        let leaf = self.load(id, record, &device)?.own_leaf();
        Ok(Some((device, leaf)))
    }

    /// What is to be done about groups.
    pub(crate) fn group_work(&mut self, now_s: u64) -> Result<Vec<GroupWork>, LocalStoreError> {
        let Some(device) = self.own_device()? else { return Ok(Vec::new()) };
        let (from, to) = keys::GROUPS;
        let mut work = Vec::new();
        for (key, value) in self.store.scan(from, to, Scan::Forward, usize::MAX)? {
            let id = keys::group_of(&key);
            let mut record: GroupRecord = super::decoded(&value)?;
            let conversation = self.conversation_record(id)?;
            if !is_present(&conversation, self.me.as_str()) {
                continue;
            }
            if record.pending.is_some() {
                work.push(GroupWork::Confirm(id));
            }
            if record.wants_vault {
                let users = conversation.members.iter().filter_map(|member| UserId::new(&member.user).ok());
                work.push(GroupWork::Vault(id, users.collect()));
            }
            if !record.welcome.is_empty() {
                work.push(GroupWork::Join(id, record.welcome_epoch));
            } else if wants_in(&record) {
                work.push(GroupWork::JoinFromOutside(id));
            } else if record.epoch > 0 && !record.checked {
                let unknown = self.unknown_devices(id, &record, &conversation, &device)?;
                if unknown.is_empty() {
                    record.checked = true;
                    self.put(&keys::group(id), &record)?;
                    self.has_new_epochs = true;
                } else {
                    work.push(GroupWork::Meet(id, unknown));
                }
            }
            let old = now_s.saturating_sub(record.begun_at_s) >= EPOCH_S || record.refused_epoch == record.epoch;
            let may = record.epoch > 0 && record.pending.is_none() && record.epoch >= record.announced;
            if may
                && self.has_unanswered(id, &conversation)?
                && (old || self.has_strangers(id, &record, &conversation, &device)?)
            {
                work.push(GroupWork::Commit(id));
            }
        }
        Ok(work)
    }

    /// Whether there are devices in the group of users that are no members any more.
    fn has_strangers(
        &mut self,
        id: ConversationId,
        record: &GroupRecord,
        conversation: &KnownConversationRecord,
        device: &Device,
    ) -> Result<bool, LocalStoreError> {
        if record.checked || !conversation.known {
            return Ok(false);
        }
        let leaves = self.load(id, record, device)?.leaves().map_err(from_group)?;
        Ok(leaves.iter().any(|leaf| !is_present(conversation, leaf.certificate.user().as_str())))
    }

    /// Users of devices in the group that are not known to be of members.
    fn unknown_devices(
        &mut self,
        id: ConversationId,
        record: &GroupRecord,
        conversation: &KnownConversationRecord,
        device: &Device,
    ) -> Result<Vec<UserId>, LocalStoreError> {
        let mut unknown = Vec::new();
        for Leaf { certificate, .. } in self.load(id, record, device)?.leaves().map_err(from_group)? {
            let user = certificate.user();
            let is_member = is_present(conversation, user.as_str());
            let certified = self.chain(user)?.is_some_and(|chain| chain.certifies(&certificate, false));
            if !(unknown.contains(user) || is_member && certified) {
                debug!(%user, is_member, certified, "a device in the group is not known");
                unknown.push(user.clone());
            }
        }
        Ok(unknown)
    }

    /// A GroupInfo of the group at this epoch, if this device is in it.
    #[cfg(test)]
    pub(crate) fn group_info_of(&mut self, id: ConversationId, epoch: u64) -> Option<Vec<u8>> {
        let device = self.own_device().ok()??;
        let record = self.group_record(id).ok()??;
        if record.epoch != epoch {
            return None;
        }
        self.load(id, &record, &device).ok()?.group_info().ok()
    }

    /// Whether there may be something else to send or to do than when it was asked last.
    pub(crate) fn new_epochs(&mut self) -> bool {
        std::mem::take(&mut self.has_new_epochs)
    }
}

/// Which group of the conversation an epoch is of.
fn generation(epoch: u64) -> u32 {
    Epoch::from_number(epoch).map_or(0, Epoch::generation)
}

/// Whether a user is a member.
fn is_present(conversation: &KnownConversationRecord, user: &str) -> bool {
    conversation.members.iter().any(|member| member.user == user && !member.gone)
}

impl GroupRecord {
    /// This device wants to found the group, and is not answered yet.
    pub(super) fn is_founding(&self) -> bool {
        self.announced == 0
    }
}

/// This device is in no group, or in one that has gone on without it, and nobody lets it in.
fn wants_in(record: &GroupRecord) -> bool {
    record.announced > record.epoch && record.welcome.is_empty() && record.pending.is_none()
}

/// A key package that was claimed.
#[derive(Debug, Clone)]
pub(crate) struct ClaimedPackage {
    pub(crate) user: UserId,
    pub(crate) device: String,
    pub(crate) package: Vec<u8>,
}

fn commit_group(
    id: ConversationId,
    epoch: u64,
    messages: CommitMessages,
    claimed: &[ClaimedPackage],
) -> client::CommitGroup {
    let welcomes = claimed.iter().zip(messages.welcomes).map(|(it, welcome)| client::Welcome {
        user: it.user.to_string(),
        device: it.device.clone(),
        welcome: welcome.into(),
    });
    client::CommitGroup {
        conversation: id.get(),
        epoch,
        commit: messages.commit.into(),
        group_info: messages.group_info.into(),
        welcomes: welcomes.collect(),
        ..Default::default()
    }
}
