//! Where a message or change is kept, and for how long: in inboxes, and in history.
//!
//! A small body stands in every inbox entry. A large one for more than one device stands once in the messages table, with
//! the list of those who have still to get it (its holders); when the last of them acknowledges, or is no more, it goes in
//! the same commit as the entry. All of it expires together.
//!
//! With history everything stands in the messages table, until it expires there; nobody holds it.
//!
//! A message with files always stands in the messages table, so that the commit in which it goes can let go of them.

use godwit_schemas::client::{self, change};
use godwit_schemas::ids::{ConversationId, DeviceId, Ordinal, Seq, UserId};
use godwit_schemas::partition::Partition;
use prost::Message as _;

use super::Decision;
use super::media::{file_bytes, reference};
use super::room::limit_of;
use crate::entry::{Entry, EntryKind};
use crate::outcome::{NewEntry, StoreChange};
use crate::retention::History;
use crate::state_cache::{CachedUser, RecipientDevice};
use crate::stored::HoldersRecord;

/// Smallest body that is kept apart: below it the reference, and the list of holders, cost as much as the copies
/// (docs/dev/design/delivery.md has the figures).
const APART_BYTES_MIN: usize = 256;
/// What must be saved by it, over all recipients: two small writes and two deletions are not worth less.
const SAVED_BYTES_MIN: usize = 1_024;

/// A device, and where its session is.
pub(super) type DeviceLocation = (DeviceId, Partition);

impl Decision<'_> {
    /// The devices of the members that `wanted` picks, as far as their inboxes take something. Of an encrypted conversation
    /// devices without a certificate are given nothing.
    pub(super) fn recipients(&self, id: ConversationId, wanted: impl Fn(&CachedUser) -> bool) -> Vec<DeviceLocation> {
        let is_sealed = self.is_sealed(id);
        self.taking(id, wanted, |device| !is_sealed || device.certificate != 0)
    }

    /// The devices of all members, as far as their inboxes take something, with and without a certificate.
    pub(super) fn plain_and_certified(&self, id: ConversationId) -> Vec<DeviceLocation> {
        self.taking(id, |_| true, |_| true)
    }

    fn taking(
        &self,
        id: ConversationId,
        wanted: impl Fn(&CachedUser) -> bool,
        reads: impl Fn(&RecipientDevice) -> bool,
    ) -> Vec<DeviceLocation> {
        let members = self.cache.conversation(id).into_iter().flat_map(|conversation| &conversation.members);
        let users = members.filter_map(|member| Some((limit_of(member), self.cache.user(&member.user)?)));
        let wanted = users.filter(|(_, user)| wanted(user));
        let devices = wanted.flat_map(|(limit, user)| user.devices.iter().map(move |it| (limit, it, user.partition)));
        let taking = devices.filter(|(limit, it, _)| reads(it) && self.cache.fullness(it.id) < *limit);
        taking.map(|(_, device, partition)| (device.id, partition)).collect()
    }

    /// The conversation is encrypted.
    fn is_sealed(&self, id: ConversationId) -> bool {
        self.cache.conversation(id).is_some_and(|conversation| conversation.mls.is_some())
    }

    /// The devices of all members, and of this one who may be none any more, whether or not there is room.
    pub(super) fn devices_of_all_and(&self, id: ConversationId, user: &UserId) -> Vec<DeviceLocation> {
        let is_sealed = self.is_sealed(id);
        let members = self.cache.conversation(id).into_iter().flat_map(|conversation| &conversation.members);
        let users = members.map(|member| &member.user).chain([user]).filter_map(|user| self.cache.user(user));
        let devices = users.flat_map(|user| user.devices.iter().map(|device| (device, user.partition)));
        let reading = devices.filter(|(device, _)| !is_sealed || device.certificate != 0);
        reading.map(|(device, partition)| (device.id, partition)).collect()
    }

    /// The devices of a user, whether or not there is room.
    pub(super) fn devices_of(&self, user: &UserId) -> Vec<DeviceLocation> {
        let user = self.cache.user(user).into_iter();
        user.flat_map(|user| user.devices.iter().map(|device| (device.id, user.partition))).collect()
    }

    /// The entry of a change.
    pub(super) fn change_entry(&self, id: ConversationId, sequence: Seq, by: Ordinal, change: change::Change) -> Entry {
        self.entry_of_change(id, sequence, by, client::Change { change: Some(change), ..Default::default() })
    }

    /// The entry of a change that has everything but its place.
    pub(super) fn entry_of_change(
        &self,
        id: ConversationId,
        sequence: Seq,
        by: Ordinal,
        change: client::Change,
    ) -> Entry {
        let change = client::Change { conversation: id.get(), sequence: sequence.get(), by: by.get(), ..change };
        Entry {
            expires_at_s: self.now_s.saturating_add(self.rules.retention_s),
            kind: EntryKind::Change,
            conversation: id,
            sequence,
            sender: by,
            stored_at_s: self.now_s,
            content: change.encode_to_vec().into(),
            ..Entry::default()
        }
    }

    /// What a conversation keeps of what was delivered; of what concerns one member alone, as that one has set it.
    pub(super) fn history(&self, id: ConversationId, alone: Option<Ordinal>) -> History {
        let retention = self.cache.conversation(id).map(|conversation| {
            let member = alone.and_then(|ordinal| conversation.member_by_ordinal(ordinal));
            member.map_or(conversation.retention, |member| conversation.retention_of(member))
        });
        retention.unwrap_or_default().history(self.rules.history)
    }

    /// An entry for each of these devices, and for history.
    pub(super) fn spread(&mut self, mut entry: Entry, recipients: Vec<DeviceLocation>) {
        let place = (entry.conversation, entry.sequence);
        let history = self.history(place.0, entry.unseen.then_some(entry.sender)).expires_at_s(self.now_s);
        let bytes = entry.content_len() as usize;
        let saved = bytes * recipients.len().saturating_sub(1);
        let files = entry.files();
        let has_files = !files.is_empty();
        let apart = has_files || (bytes >= APART_BYTES_MIN && saved >= SAVED_BYTES_MIN);
        if apart {
            entry.apart = Some(entry.content_len());
        }
        if let Some(end_s) = history {
            // A message whose life was limited ends with it; one that somebody has still to get does not end before.
            let end_s = if entry.limited { entry.expires_at_s.min(end_s) } else { end_s };
            let end_s = if apart { end_s.max(entry.expires_at_s) } else { end_s };
            self.write_row(&Entry { expires_at_s: end_s, ..entry.clone() });
            self.share(&entry, end_s);
        }
        if !apart {
            return self.enter(&entry, recipients);
        }
        if history.is_none() && recipients.is_empty() {
            return self.share(&entry, entry.expires_at_s.min(self.grace_end_s()));
        }
        if history.is_none() {
            let devices = recipients.iter().map(|(device, _)| device.get()).collect();
            let mut holders = HoldersRecord { devices, expires_at_s: entry.expires_at_s, ..Default::default() };
            if has_files {
                holders.media = files.iter().filter_map(file_bytes).collect();
                holders.reference = Some(reference(&entry, entry.expires_at_s));
                self.share(&entry, entry.expires_at_s);
            }
            self.cache.hold(place, holders);
            self.out.changes.push(StoreChange::Holders(place.0, place.1));
            self.write_row(&entry);
        }
        let (value, reference, bytes) = (entry.encode(), entry.reference(), entry.content_len());
        self.out.entries.extend(recipients.into_iter().map(|(device, partition)| NewEntry {
            reference: Some(reference.clone()),
            ..NewEntry::of(device, partition, &value, bytes)
        }));
    }

    /// The whole entry for each of these devices, and no history.
    pub(super) fn enter(&mut self, entry: &Entry, recipients: Vec<DeviceLocation>) {
        let (value, bytes) = (entry.encode(), entry.content_len());
        self.out.entries.extend(recipients.into_iter().map(|(device, at)| NewEntry::of(device, at, &value, bytes)));
    }

    /// Sets a row of the messages table.
    pub(super) fn write_row(&mut self, entry: &Entry) {
        self.out.changes.push(StoreChange::Message(entry.conversation, entry.sequence, Some(entry.encode())));
    }

    /// A device has no use for these any more. A body goes with the last.
    pub(super) fn release(&mut self, device: DeviceId, id: ConversationId, apart: &[Seq]) {
        for place in apart.iter().map(|sequence| (id, *sequence)) {
            let files = self.cache.holders(place).filter(|holders| !holders.media.is_empty()).cloned();
            let Some(last) = self.cache.release(place, device) else { continue };
            self.out.changes.push(StoreChange::Holders(id, place.1));
            if last {
                self.out.changes.push(StoreChange::Message(id, place.1, None));
                self.release_files(place, files);
            }
        }
    }
}
