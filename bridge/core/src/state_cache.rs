//! What a lane has read: users, pairs and conversations, kept between batches as far as there is room.
//!
//! A command is decided only when nothing it needs is missing. What was changed and is not on disk yet is pinned: it
//! must not be read again from the store.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use foldhash::fast::FixedState;
use godwit_schemas::client::{self, commit_group::With};
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Seq, UserId};
use godwit_schemas::media::MediaId;
use godwit_schemas::partition::{Partition, Partitions};

use crate::call::{AffectedUsers, CallSpec, LookBack, MessageNeeds};
use crate::command::{Command, To};
use crate::conversation::Conversation;
use crate::credential::{CredentialStanding, Fingerprint, standing};
use crate::entry::Entry;
use crate::floor::Floor;
use crate::keys::{MessageKey, Ticket, UserPair};
use crate::membership_count::{Membership, MembershipCount};
use crate::stored::{HoldersRecord, ReferenceRecord, UserRecord};
use crate::usage::Fullness;

/// Most files of one message.
pub const FILES_MAX: usize = 16;

/// Something a command needs that was not read yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MissingKey {
    /// A user.
    User(UserId),
    /// The direct conversation of two users.
    Pair(UserPair),
    /// A conversation.
    Conversation(ConversationId),
    /// Who has still to get a message that is kept apart.
    Holders(MessageKey),
    /// What was left of a message.
    Copies(MessageKey),
    /// Whether history says that a message was taken back.
    Recalled(MessageKey),
    /// A file, as far as the user may share it.
    Media(MediaId, UserId),
    /// How many conversations a user is in.
    Memberships(UserId),
    /// Whether the first has the second as a contact.
    Contact(UserId, UserId),
}

/// What was left of a message: in the messages table, and in the inboxes of its conversation's members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageCopies {
    /// Its entry in the messages table.
    pub row: Option<Entry>,
    /// What its sender alone sees in the place of that.
    pub own: Option<Entry>,
    /// Entries of devices that have still to get it.
    pub copies: Vec<(DeviceId, Order)>,
    /// One of them.
    pub copy: Option<Entry>,
    /// References to files.
    pub references: Vec<(MediaId, ReferenceRecord)>,
}

/// A device, as far as deliveries need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecipientDevice {
    /// Its number.
    pub id: DeviceId,
    /// Receipts are kept for it.
    pub reads_events: bool,
    /// Which certificate it has, as in `DeviceRecord`; 0: none.
    pub certificate: u64,
}

/// What was read of a user, and what every delivery to it needs ready at hand.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedUser {
    /// As stored.
    pub record: UserRecord,
    /// Its devices.
    pub devices: Vec<RecipientDevice>,
    /// Where its sessions are.
    pub partition: Partition,
    /// Whom it has blocked, ascending.
    blocked: Vec<UserId>,
}

impl CachedUser {
    /// From the stored form.
    pub fn new(id: &UserId, record: UserRecord, partitions: Partitions) -> Self {
        let devices = record.devices.iter();
        let devices = devices.map(|d| RecipientDevice {
            id: DeviceId::new(d.id),
            reads_events: d.reads_events,
            certificate: d.certificate,
        });
        let devices = devices.collect();
        let blocked = record.blocked.iter().filter_map(|name| UserId::new(name).ok()).collect();
        Self { record, devices, partition: partitions.of_user(id), blocked }
    }

    /// Whether what the device was let in with is still good.
    pub fn lets_in(&self, device: DeviceId, fingerprint: Fingerprint) -> bool {
        let is_good = standing(&self.record.devices, device, fingerprint) == CredentialStanding::Good;
        is_good && !self.record.is_suspended()
    }

    /// Whether it wants to hear nothing of `other` directly.
    pub fn blocks(&self, other: &UserId) -> bool {
        self.blocked.binary_search(other).is_ok()
    }
}

#[derive(Debug)]
struct Cached<T> {
    value: Option<T>,
    pinned_until: Ticket,
    used: bool,
}

#[derive(Debug)]
struct Cache<K, T>(HashMap<K, Cached<T>, FixedState>);

impl<K: Eq + Hash, T> Cache<K, T> {
    fn new(seed: u64) -> Self {
        Self(HashMap::with_hasher(FixedState::with_seed(seed)))
    }

    fn get(&self, key: &K) -> Option<&T> {
        self.0.get(key)?.value.as_ref()
    }

    fn has(&mut self, key: &K) -> bool {
        self.0.get_mut(key).is_some_and(|cached| {
            cached.used = true;
            true
        })
    }

    fn insert(&mut self, key: K, value: Option<T>, pinned_until: Ticket) {
        self.0.insert(key, Cached { value, pinned_until, used: true });
    }

    fn trim(&mut self, room: usize, confirmed: Ticket) {
        if self.0.len() > room {
            self.0.retain(|_, cached| std::mem::take(&mut cached.used) || cached.pinned_until > confirmed);
        }
    }
}

/// What a lane has read, and what its commits have changed since.
#[derive(Debug)]
pub struct StateCache {
    users: Cache<UserId, CachedUser>,
    pairs: Cache<UserPair, ConversationId>,
    conversations: Cache<ConversationId, Conversation>,
    holders: Cache<MessageKey, HoldersRecord>,
    /// For the batch under way only.
    found: BTreeMap<MessageKey, MessageCopies>,
    /// For the batch under way only: whether a message was taken back.
    taken_back: BTreeMap<MessageKey, bool>,
    /// For the batch under way only. `None`: not for this user.
    media: BTreeMap<(MediaId, UserId), Option<client::Media>>,
    /// For the batch under way only: other lanes write conversations of the same users.
    crowds: BTreeMap<UserId, MembershipCount>,
    /// For the batch under way only: whether the first has the second as a contact.
    contacts: BTreeMap<(UserId, UserId), bool>,
    partitions: Partitions,
    /// The last conversation of each partition.
    last_conversation: Vec<u64>,
    floor: Floor,
    /// Devices whose inbox does not take everything.
    filled: BTreeMap<DeviceId, Fullness>,
    ticket: Ticket,
    room: usize,
}

impl StateCache {
    /// Keeps about `room` of each kind. `last_conversation`: of each partition, as stored. `seed`: random, so that nobody who
    /// chooses names knows which of them collide.
    pub fn new(room: usize, partitions: Partitions, mut last_conversation: Vec<u64>, seed: u64) -> Self {
        last_conversation.resize(partitions.get() as usize, 0);
        Self {
            partitions,
            users: Cache::new(seed),
            pairs: Cache::new(seed),
            conversations: Cache::new(seed),
            holders: Cache::new(seed),
            found: BTreeMap::new(),
            taken_back: BTreeMap::new(),
            media: BTreeMap::new(),
            crowds: BTreeMap::new(),
            contacts: BTreeMap::new(),
            last_conversation,
            floor: Floor::default(),
            filled: BTreeMap::new(),
            ticket: 1,
            room,
        }
    }

    /// The store went back: numbers that it gives are above this.
    #[must_use]
    pub fn above(mut self, floor: Floor) -> Self {
        self.floor = floor;
        let lowest = floor.in_partition(self.partitions);
        self.last_conversation.iter_mut().for_each(|last| *last = lowest.max(*last));
        self
    }

    /// How the store is divided.
    pub fn partitions(&self) -> Partitions {
        self.partitions
    }

    /// The two users in the order that a [`UserPair`] has.
    pub fn pair(a: &UserId, b: &UserId) -> UserPair {
        if a <= b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) }
    }

    /// Pushes what `command` still needs. Nothing: it can be decided. Ask again after every read, since what was
    /// read may lead on.
    pub fn needs(&mut self, command: &Command, out: &mut Vec<MissingKey>) {
        if let Command::Post { origin, draft, .. } = command {
            self.need_media(&origin.user, &draft.media, out);
        }
        // Whether it still is who it was when it asked. A member is needed anyway.
        if let Some(origin) = command.origin() {
            self.need_users([&origin.user], out);
        }
        match command {
            Command::Post { origin, to: To::User(user), .. } => self.needs_of_pair(&origin.user, user, out),
            Command::Post { to: To::Conversation(conversation), .. }
            | Command::Live { conversation, .. }
            | Command::Read { conversation, .. }
            | Command::Forget { conversation, .. } => self.need_with_members(*conversation, out),
            Command::Acked { conversation, apart, .. } => {
                self.need_with_members(*conversation, out);
                self.need_holders(*conversation, apart, out);
            }
            Command::Released { conversation, apart, .. } => self.need_holders(*conversation, apart, out),
            Command::ReceiptAcked { conversation, .. } => {
                if !self.conversations.has(conversation) {
                    out.push(MissingKey::Conversation(*conversation));
                }
            }
            Command::Commit(commit) => {
                let caller = &commit.origin.user;
                match &commit.call.with {
                    Some(With::Add(user)) => {
                        self.needs_of_call(caller, &CallSpec::of_added(std::slice::from_ref(user)), out)
                    }
                    Some(With::Remove(_)) | None => {}
                }
                self.need_with_members(commit.conversation(), out);
            }
            Command::Call { origin, call, .. } => {
                let spec = call.spec();
                self.needs_of_call(&origin.user, &spec, out);
                match spec.looks_back {
                    Some(LookBack { message, needs: MessageNeeds::WhetherRecalled })
                        if self.taken_back.contains_key(&message) => {}
                    Some(LookBack { message, needs: MessageNeeds::WhetherRecalled }) => {
                        out.push(MissingKey::Recalled(message));
                    }
                    Some(LookBack { message, needs: MessageNeeds::EveryCopy | MessageNeeds::OneCopy }) => {
                        self.need_copies(message, out);
                    }
                    None => {}
                }
            }
        }
    }

    fn needs_of_pair(&mut self, from: &UserId, to: &UserId, out: &mut Vec<MissingKey>) {
        let pair = Self::pair(from, to);
        if !self.pairs.has(&pair) {
            return out.push(MissingKey::Pair(pair));
        }
        match self.pairs.get(&pair).copied() {
            Some(conversation) => self.need_with_members(conversation, out),
            None => {
                self.need_users([from, to], out);
                self.need_memberships([from, to], out);
                self.need_contacts([to], from, out);
            }
        }
    }

    fn needs_of_call(&mut self, caller: &UserId, call: &CallSpec<'_>, out: &mut Vec<MissingKey>) {
        // Whoever has another name is no user: the decision refuses it.
        let valid = |names: &[String]| names.iter().filter_map(|name| UserId::new(name).ok()).collect::<Vec<_>>();
        match call.users {
            AffectedUsers::None => {}
            AffectedUsers::Named(name) => self.need_users(UserId::new(name).ok().as_ref(), out),
            AffectedUsers::OtherSide(name) => {
                if let Ok(user) = UserId::new(name) {
                    self.needs_of_pair(caller, &user, out);
                }
            }
            AffectedUsers::Caller => self.need_memberships([caller], out),
            AffectedUsers::Added(names) => self.needs_of_added(caller, &valid(names), None, out),
            AffectedUsers::AddedByFounder(names) => self.needs_of_added(caller, &valid(names), Some(caller), out),
        }
        if let Some(conversation) = call.conversation {
            self.need_with_members(conversation, out);
        }
    }

    /// What is needed to add these to a conversation, and the one who makes it.
    fn needs_of_added(
        &mut self,
        caller: &UserId,
        users: &[UserId],
        founder: Option<&UserId>,
        out: &mut Vec<MissingKey>,
    ) {
        self.need_users(users, out);
        self.need_memberships(users.iter().chain(founder), out);
        self.need_contacts(users, caller, out);
    }

    fn need_with_members(&mut self, id: ConversationId, out: &mut Vec<MissingKey>) {
        if !self.conversations.has(&id) {
            return out.push(MissingKey::Conversation(id));
        }
        let Some(conversation) = self.conversations.get(&id) else { return };
        for member in &conversation.members {
            if !self.users.has(&member.user) {
                out.push(MissingKey::User(member.user.clone()));
            }
        }
    }

    fn need_users<'a>(&mut self, users: impl IntoIterator<Item = &'a UserId>, out: &mut Vec<MissingKey>) {
        for user in users {
            if !self.users.has(user) {
                out.push(MissingKey::User(user.clone()));
            }
        }
    }

    fn need_memberships<'a>(&self, users: impl IntoIterator<Item = &'a UserId>, out: &mut Vec<MissingKey>) {
        let unknown = users.into_iter().filter(|user| !self.crowds.contains_key(*user));
        out.extend(unknown.map(|user| MissingKey::Memberships(user.clone())));
    }

    /// Whether these have that one as a contact: whether it is a stranger to them.
    fn need_contacts<'a>(&self, users: impl IntoIterator<Item = &'a UserId>, of: &UserId, out: &mut Vec<MissingKey>) {
        let pairs = users.into_iter().filter(|user| *user != of).map(|user| (user.clone(), of.clone()));
        let unknown = pairs.filter(|pair| !self.contacts.contains_key(pair));
        out.extend(unknown.map(|(user, of)| MissingKey::Contact(user, of)));
    }

    fn need_media(&mut self, user: &UserId, media: &[client::Media], out: &mut Vec<MissingKey>) {
        let ids = media.iter().take(FILES_MAX).filter_map(|file| file.id.parse().ok());
        let unknown = ids.filter(|id| !self.media.contains_key(&(*id, user.clone())));
        out.extend(unknown.map(|id| MissingKey::Media(id, user.clone())));
    }

    fn need_copies(&mut self, place: MessageKey, out: &mut Vec<MissingKey>) {
        self.need_holders(place.0, &[place.1], out);
        // Whose inboxes to look into is known when the members are.
        if out.is_empty() && !self.found.contains_key(&place) {
            out.push(MissingKey::Copies(place));
        }
    }

    fn need_holders(&mut self, id: ConversationId, apart: &[Seq], out: &mut Vec<MissingKey>) {
        for place in apart.iter().map(|sequence| (id, *sequence)) {
            if !self.holders.has(&place) {
                out.push(MissingKey::Holders(place));
            }
        }
    }

    /// A user was read; `None`: there is no such user.
    pub fn insert_user(&mut self, id: UserId, record: Option<UserRecord>) {
        let user = record.map(|record| CachedUser::new(&id, record, self.partitions));
        self.users.insert(id, user, 0);
    }

    /// A pair was read.
    pub fn insert_pair(&mut self, pair: UserPair, conversation: Option<ConversationId>) {
        self.pairs.insert(pair, conversation, 0);
    }

    /// A conversation was read.
    pub fn insert_conversation(&mut self, id: ConversationId, mut conversation: Option<Conversation>) {
        // One that was made since then has given no number twice.
        let is_older = self.partitions.counter(id.get()) <= self.floor.in_partition(self.partitions);
        conversation.iter_mut().filter(|_| is_older).for_each(|it| it.go_on_above(self.floor));
        self.conversations.insert(id, conversation, 0);
    }

    /// The devices that have still to get a message were read.
    pub fn insert_holders(&mut self, place: MessageKey, holders: Option<HoldersRecord>) {
        self.holders.insert(place, holders, 0);
    }

    /// What was left of a message was read.
    pub fn insert_copies(&mut self, place: MessageKey, found: MessageCopies) {
        self.found.insert(place, found);
    }

    /// It was read whether a message was taken back, or it is so now.
    pub fn set_recalled(&mut self, place: MessageKey, taken_back: bool) {
        self.taken_back.insert(place, taken_back);
    }

    /// Whether history says that a message was taken back, if it was read.
    pub fn is_recalled(&self, place: MessageKey) -> bool {
        self.taken_back.get(&place).copied().unwrap_or(false)
    }

    /// A file was read, and whether the user may share it.
    pub fn insert_media(&mut self, id: MediaId, user: UserId, file: Option<client::Media>) {
        self.media.insert((id, user), file);
    }

    /// It was read how many conversations a user is in.
    pub fn insert_membership_count(&mut self, user: UserId, crowd: MembershipCount) {
        self.crowds.insert(user, crowd);
    }

    /// It was read whether `user` has `of` as a contact.
    pub fn insert_contact(&mut self, user: UserId, of: UserId, is_contact: bool) {
        self.contacts.insert((user, of), is_contact);
    }

    /// Whether `user` has `of` as a contact, as far as is on disk.
    pub fn is_contact(&self, user: &UserId, of: &UserId) -> bool {
        self.contacts.get(&(user.clone(), of.clone())).copied().unwrap_or(false)
    }

    /// How many conversations a user is in, if it was read: what is on disk, and what this batch changes.
    pub fn membership_count(&self, user: &UserId) -> MembershipCount {
        self.crowds.get(user).copied().unwrap_or_default()
    }

    /// In the commit under way the user joins a conversation, or leaves one.
    pub fn count_membership(&mut self, user: &UserId, membership: Membership) {
        if let Some(crowd) = self.crowds.get_mut(user) {
            crowd.count(membership);
        }
    }

    /// Size, content type and hash of a file that the user may share.
    pub fn media(&self, id: MediaId, user: &UserId) -> Option<&client::Media> {
        self.media.get(&(id, user.clone()))?.as_ref()
    }

    /// What was left of a message, to be changed by the commit under way.
    pub fn copies_mut(&mut self, place: MessageKey) -> Option<&mut MessageCopies> {
        self.found.get_mut(&place)
    }

    /// Whether the user has been read, or is known not to exist.
    pub fn knows_user(&mut self, id: &UserId) -> bool {
        self.users.has(id)
    }

    /// The user, if read and existing.
    pub fn user(&self, id: &UserId) -> Option<&CachedUser> {
        self.users.get(id)
    }

    /// The user was changed by its own lane in the commit under way.
    pub fn set_user(&mut self, id: UserId, record: Option<UserRecord>) {
        let user = record.map(|record| CachedUser::new(&id, record, self.partitions));
        self.users.insert(id, user, self.ticket);
    }

    /// Whether the user was changed in a commit after this one, which is not on disk yet.
    pub fn is_user_uncommitted(&self, id: &UserId, confirmed: Ticket) -> bool {
        self.users.0.get(id).is_some_and(|cached| cached.pinned_until > confirmed)
    }

    /// The user was changed by another lane: read it again when it is needed.
    pub fn forget_user(&mut self, id: &UserId) {
        self.users.0.remove(id);
    }

    /// The device's inbox is so full from now on.
    pub fn set_fullness(&mut self, device: DeviceId, fullness: Fullness) {
        if fullness == Fullness::Free {
            self.filled.remove(&device);
        } else {
            self.filled.insert(device, fullness);
        }
    }

    /// How full the device's inbox is.
    pub fn fullness(&self, device: DeviceId) -> Fullness {
        self.filled.get(&device).copied().unwrap_or_default()
    }

    /// Every inbox takes everything.
    pub fn all_have_room(&self) -> bool {
        self.filled.is_empty()
    }

    /// The direct conversation of two users.
    pub fn direct(&self, pair: &UserPair) -> Option<ConversationId> {
        self.pairs.get(pair).copied()
    }

    /// Changes a pair in the commit under way.
    pub fn set_direct(&mut self, pair: UserPair, conversation: Option<ConversationId>) {
        self.pairs.insert(pair, conversation, self.ticket);
    }

    /// A conversation.
    pub fn conversation(&self, id: ConversationId) -> Option<&Conversation> {
        self.conversations.get(&id)
    }

    /// A conversation, to change it in the commit under way.
    pub fn conversation_mut(&mut self, id: ConversationId) -> Option<&mut Conversation> {
        let cached = self.conversations.0.get_mut(&id)?;
        cached.pinned_until = self.ticket;
        cached.value.as_mut()
    }

    /// Adds a new conversation in the commit under way.
    pub fn add_conversation(&mut self, conversation: Conversation) {
        self.conversations.insert(conversation.id, Some(conversation), self.ticket);
    }

    /// A conversation is no more, from the commit under way on.
    pub fn remove_conversation(&mut self, id: ConversationId) {
        self.conversations.insert(id, None, self.ticket);
    }

    /// Who has still to get a message that is kept apart.
    pub fn holders(&self, place: MessageKey) -> Option<&HoldersRecord> {
        self.holders.get(&place)
    }

    /// Sets who has to get a new message that is kept apart, in the commit under way.
    pub fn hold(&mut self, place: MessageKey, holders: HoldersRecord) {
        self.holders.insert(place, Some(holders), self.ticket);
    }

    /// Nobody has to get a message any more.
    pub fn drop_holders(&mut self, place: MessageKey) {
        self.holders.insert(place, None, self.ticket);
    }

    /// A device has no use for a message any more: it has it, or is no more. Whether that is news, and whether it was
    /// the last.
    pub fn release(&mut self, place: MessageKey, device: DeviceId) -> Option<bool> {
        let cached = self.holders.0.get_mut(&place)?;
        let devices = &mut cached.value.as_mut()?.devices;
        // Not a count: an acknowledgement that is told twice must not let another device's body go.
        let index = devices.iter().position(|holder| *holder == device.get())?;
        devices.remove(index);
        let last = devices.is_empty();
        cached.pinned_until = self.ticket;
        if last {
            cached.value = None;
        }
        Some(last)
    }

    /// The next conversation's number in a partition, and the counter to store.
    pub fn allocate_conversation(&mut self, partition: Partition) -> (ConversationId, u64) {
        let last = &mut self.last_conversation[usize::from(partition.get())];
        *last += 1;
        (ConversationId::new(self.partitions.number(partition, *last)), *last)
    }

    /// The commit under way is complete; returns its ticket.
    pub fn seal(&mut self) -> Ticket {
        self.found.clear();
        self.taken_back.clear();
        self.media.clear();
        self.crowds.clear();
        self.contacts.clear();
        self.ticket += 1;
        self.ticket - 1
    }

    /// Commits up to this ticket are on disk: makes room if there is need.
    pub fn confirmed(&mut self, ticket: Ticket) {
        self.users.trim(self.room, ticket);
        self.pairs.trim(self.room, ticket);
        self.conversations.trim(self.room, ticket);
        self.holders.trim(self.room, ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(number: u64) -> Conversation {
        Conversation::new(ConversationId::new(number), true, "", &[])
    }

    #[test]
    fn what_is_not_on_disk_stays() {
        let mut cache = StateCache::new(2, Partitions::NEW, Vec::new(), 0);
        cache.add_conversation(conversation(1));
        let first = cache.seal();
        cache.add_conversation(conversation(2));
        let second = cache.seal();
        for number in 3..10 {
            cache.insert_conversation(ConversationId::new(number), None);
        }
        cache.confirmed(first);
        cache.confirmed(first);
        assert!(cache.conversation(ConversationId::new(1)).is_none(), "on disk, may go");
        assert!(cache.conversation(ConversationId::new(2)).is_some(), "not on disk, must stay");
        for number in 3..10 {
            cache.insert_conversation(ConversationId::new(number), None);
        }
        cache.confirmed(second);
        cache.confirmed(second);
        assert!(cache.conversation(ConversationId::new(2)).is_none());
    }

    #[test]
    fn a_changed_user_is_on_its_way_until_its_commit_is_on_disk() {
        let mut cache = StateCache::new(2, Partitions::NEW, Vec::new(), 0);
        let alice = UserId::new("alice").unwrap();
        cache.insert_user(alice.clone(), None);
        assert!(!cache.is_user_uncommitted(&alice, 0));
        cache.set_user(alice.clone(), Some(UserRecord::default()));
        let ticket = cache.seal();
        assert!(cache.is_user_uncommitted(&alice, ticket - 1));
        assert!(!cache.is_user_uncommitted(&alice, ticket));
    }

    #[test]
    fn conversation_numbers_carry_their_partition() {
        let mut cache = StateCache::new(2, Partitions::NEW, Vec::new(), 0);
        let partition = Partition::new(5);
        let (first, _) = cache.allocate_conversation(partition);
        let (second, counter) = cache.allocate_conversation(partition);
        assert_eq!((first.get(), second.get(), counter), (1_029, 2_053, 2));
        assert_eq!(cache.partitions().of_conversation(second), partition);
    }
}
