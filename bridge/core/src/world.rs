//! What a lane has read: users, pairs and conversations, kept between batches as far as there is room.
//!
//! A command is decided only when nothing it needs is missing. What was changed and is not on disk yet is pinned: it
//! must not be read again from the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use foldhash::fast::FixedState;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Seq, UserId};
use godwit_schemas::media::MediaId;
use godwit_schemas::partition::{PARTITIONS, Partition};

use crate::command::{Command, To, called};
use crate::conversation::Conversation;
use crate::entry::Entry;
use crate::record::{HoldersRecord, ReferenceRecord, UserRecord};
use godwit_schemas::client::{self, request::Call};

/// Number of a commit of this lane, counting up.
pub type Ticket = u64;

/// Two users, lower name first.
pub type Pair = (UserId, UserId);

/// Most files of one message.
pub const FILES_MAX: usize = 16;

/// A message's place.
pub type Place = (ConversationId, Seq);

/// Something a command needs that was not read yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Need {
    /// A user.
    User(UserId),
    /// The direct conversation of two users.
    Pair(Pair),
    /// A conversation.
    Conversation(ConversationId),
    /// Who has still to get a message that is kept apart.
    Holders(Place),
    /// What was left of a message.
    Traces(Place),
    /// A file, as far as the user may share it.
    Media(MediaId, UserId),
    /// How many conversations a user is in.
    Memberships(UserId),
}

/// What was left of a message: in the messages table, and in the inboxes of its conversation's members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traces {
    /// Its entry in the messages table.
    pub row: Option<Entry>,
    /// Entries of devices that have still to get it.
    pub copies: Vec<(DeviceId, Order)>,
    /// One of them.
    pub copy: Option<Entry>,
    /// References to files.
    pub references: Vec<(MediaId, ReferenceRecord)>,
}

/// A device, as far as deliveries need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub id: DeviceId,
    /// Receipts are kept for it.
    pub reads_events: bool,
}

/// What was read of a user, and what every delivery to it needs ready at hand.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// As stored.
    pub record: UserRecord,
    /// Its devices.
    pub devices: Vec<Device>,
    /// Where its sessions are.
    pub partition: Partition,
    /// Whom it has blocked, ascending.
    blocked: Vec<UserId>,
}

impl User {
    /// From the stored form.
    pub fn new(id: &UserId, record: UserRecord) -> Self {
        let devices = record.devices.iter();
        let devices = devices.map(|d| Device { id: DeviceId::new(d.id), reads_events: d.reads_events }).collect();
        let blocked = record.blocked.iter().filter_map(|name| UserId::new(name).ok()).collect();
        Self { record, devices, partition: Partition::of_user(id), blocked }
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

/// See the module.
#[derive(Debug)]
pub struct World {
    users: Cache<UserId, User>,
    pairs: Cache<Pair, ConversationId>,
    conversations: Cache<ConversationId, Conversation>,
    holders: Cache<Place, HoldersRecord>,
    /// For the batch under way only.
    traces: BTreeMap<Place, Traces>,
    /// For the batch under way only. `None`: not for this user.
    media: BTreeMap<(MediaId, UserId), Option<client::Media>>,
    /// For the batch under way only: other lanes write conversations of the same users.
    memberships: BTreeMap<UserId, u32>,
    next_conversation: [u64; PARTITIONS as usize],
    full: BTreeSet<DeviceId>,
    ticket: Ticket,
    room: usize,
}

impl World {
    /// Keeps about `room` of each kind. `next_conversation` as stored. `seed`: random, so that nobody who chooses names
    /// knows which of them collide.
    pub fn new(room: usize, next_conversation: [u64; PARTITIONS as usize], seed: u64) -> Self {
        Self {
            users: Cache::new(seed),
            pairs: Cache::new(seed),
            conversations: Cache::new(seed),
            holders: Cache::new(seed),
            traces: BTreeMap::new(),
            media: BTreeMap::new(),
            memberships: BTreeMap::new(),
            next_conversation,
            full: BTreeSet::new(),
            ticket: 1,
            room,
        }
    }

    /// The two in the order that a [`Pair`] has.
    pub fn pair(a: &UserId, b: &UserId) -> Pair {
        if a <= b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) }
    }

    /// Pushes what `command` still needs. Nothing: it can be decided. Ask again after every read, since what was
    /// read may lead on.
    pub fn needs(&mut self, command: &Command, out: &mut Vec<Need>) {
        if let Command::Post { origin, draft, .. } = command {
            self.need_media(&origin.user, &draft.media, out);
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
                    out.push(Need::Conversation(*conversation));
                }
            }
            Command::Call { origin, call, .. } => {
                self.needs_of_call(&origin.user, call, out);
                if let Some(place) = command.looks_back_at() {
                    self.need_traces(place, out);
                }
            }
        }
    }

    fn needs_of_pair(&mut self, from: &UserId, to: &UserId, out: &mut Vec<Need>) {
        let pair = Self::pair(from, to);
        if !self.pairs.has(&pair) {
            return out.push(Need::Pair(pair));
        }
        match self.pairs.get(&pair).copied() {
            Some(conversation) => self.need_with_members(conversation, out),
            None => {
                self.need_users([from, to], out);
                self.need_memberships([from, to], out);
            }
        }
    }

    fn needs_of_call(&mut self, caller: &UserId, call: &Call, out: &mut Vec<Need>) {
        self.need_users([caller], out);
        if let Call::OpenDirect(call) = call {
            if let Ok(user) = UserId::new(&call.user) {
                self.needs_of_pair(caller, &user, out);
            }
            return;
        }
        let named: &[String] = match call {
            Call::CreateGroup(call) => &call.users,
            Call::AddMember(call) => std::slice::from_ref(&call.user),
            Call::RemoveMember(call) => std::slice::from_ref(&call.user),
            _ => &[],
        };
        let users: Vec<_> = named.iter().filter_map(|name| UserId::new(name).ok()).collect();
        self.need_users(&users, out);
        match call {
            Call::CreateGroup(_) => self.need_memberships(users.iter().chain([caller]), out),
            Call::AddMember(_) => self.need_memberships(&users, out),
            Call::Join(_) => self.need_memberships([caller], out),
            _ => {}
        }
        if let Some(conversation) = called(call) {
            self.need_with_members(conversation, out);
        }
    }

    fn need_with_members(&mut self, id: ConversationId, out: &mut Vec<Need>) {
        if !self.conversations.has(&id) {
            return out.push(Need::Conversation(id));
        }
        let Some(conversation) = self.conversations.get(&id) else { return };
        for member in &conversation.members {
            if !self.users.has(&member.user) {
                out.push(Need::User(member.user.clone()));
            }
        }
    }

    fn need_users<'a>(&mut self, users: impl IntoIterator<Item = &'a UserId>, out: &mut Vec<Need>) {
        for user in users {
            if !self.users.has(user) {
                out.push(Need::User(user.clone()));
            }
        }
    }

    fn need_memberships<'a>(&self, users: impl IntoIterator<Item = &'a UserId>, out: &mut Vec<Need>) {
        let unknown = users.into_iter().filter(|user| !self.memberships.contains_key(*user));
        out.extend(unknown.map(|user| Need::Memberships(user.clone())));
    }

    fn need_media(&mut self, user: &UserId, media: &[client::Media], out: &mut Vec<Need>) {
        let ids = media.iter().take(FILES_MAX).filter_map(|file| file.id.parse().ok());
        let unknown = ids.filter(|id| !self.media.contains_key(&(*id, user.clone())));
        out.extend(unknown.map(|id| Need::Media(id, user.clone())));
    }

    fn need_traces(&mut self, place: Place, out: &mut Vec<Need>) {
        self.need_holders(place.0, &[place.1], out);
        // Whose inboxes to look into is known when the members are.
        if out.is_empty() && !self.traces.contains_key(&place) {
            out.push(Need::Traces(place));
        }
    }

    fn need_holders(&mut self, id: ConversationId, apart: &[Seq], out: &mut Vec<Need>) {
        for place in apart.iter().map(|sequence| (id, *sequence)) {
            if !self.holders.has(&place) {
                out.push(Need::Holders(place));
            }
        }
    }

    /// A user was read; `None`: there is no such user.
    pub fn found_user(&mut self, id: UserId, record: Option<UserRecord>) {
        let user = record.map(|record| User::new(&id, record));
        self.users.insert(id, user, 0);
    }

    /// A pair was read.
    pub fn found_pair(&mut self, pair: Pair, conversation: Option<ConversationId>) {
        self.pairs.insert(pair, conversation, 0);
    }

    /// A conversation was read.
    pub fn found_conversation(&mut self, id: ConversationId, conversation: Option<Conversation>) {
        self.conversations.insert(id, conversation, 0);
    }

    /// The devices that have still to get a message were read.
    pub fn found_holders(&mut self, place: Place, holders: Option<HoldersRecord>) {
        self.holders.insert(place, holders, 0);
    }

    /// What was left of a message was read.
    pub fn found_traces(&mut self, place: Place, traces: Traces) {
        self.traces.insert(place, traces);
    }

    /// A file was read, and whether the user may share it.
    pub fn found_media(&mut self, id: MediaId, user: UserId, file: Option<client::Media>) {
        self.media.insert((id, user), file);
    }

    /// It was read how many conversations a user is in.
    pub fn found_memberships(&mut self, user: UserId, conversations: u32) {
        self.memberships.insert(user, conversations);
    }

    /// How many conversations a user is in, if it was read: what is on disk, and what this batch changes.
    pub fn memberships(&self, user: &UserId) -> u32 {
        self.memberships.get(user).copied().unwrap_or(0)
    }

    /// In the commit under way the user joins a conversation, or leaves one.
    pub fn count_membership(&mut self, user: &UserId, joins: bool) {
        if let Some(conversations) = self.memberships.get_mut(user) {
            *conversations = conversations.saturating_add_signed(if joins { 1 } else { -1 });
        }
    }

    /// Size, content type and hash of a file that the user may share.
    pub fn media(&self, id: MediaId, user: &UserId) -> Option<&client::Media> {
        self.media.get(&(id, user.clone()))?.as_ref()
    }

    /// What was left of a message, to be changed by the commit under way.
    pub fn traces_mut(&mut self, place: Place) -> Option<&mut Traces> {
        self.traces.get_mut(&place)
    }

    /// Whether the user has been read, or is known not to exist.
    pub fn knows_user(&mut self, id: &UserId) -> bool {
        self.users.has(id)
    }

    /// The user, if read and existing.
    pub fn user(&self, id: &UserId) -> Option<&User> {
        self.users.get(id)
    }

    /// The user was changed by its own lane in the commit under way.
    pub fn set_user(&mut self, id: UserId, record: Option<UserRecord>) {
        let user = record.map(|record| User::new(&id, record));
        self.users.insert(id, user, self.ticket);
    }

    /// Whether the user was changed in a commit after this one, which is not on disk yet.
    pub fn is_user_on_its_way(&self, id: &UserId, confirmed: Ticket) -> bool {
        self.users.0.get(id).is_some_and(|cached| cached.pinned_until > confirmed)
    }

    /// The user was changed by another lane: read it again when it is needed.
    pub fn forget_user(&mut self, id: &UserId) {
        self.users.0.remove(id);
    }

    /// The device's inbox takes no more (`full`), or does again.
    pub fn set_full(&mut self, device: DeviceId, full: bool) {
        if full {
            self.full.insert(device)
        } else {
            self.full.remove(&device)
        };
    }

    /// Whether the inboxes of these users' devices take an entry, but for one device.
    pub fn has_room<'a>(&self, users: impl IntoIterator<Item = &'a UserId>, except: Option<DeviceId>) -> bool {
        if self.full.is_empty() {
            return true;
        }
        let devices = users.into_iter().filter_map(|user| self.user(user)).flat_map(|user| &user.devices);
        !devices.into_iter().any(|device| Some(device.id) != except && self.full.contains(&device.id))
    }

    /// The direct conversation of two users.
    pub fn direct(&self, pair: &Pair) -> Option<ConversationId> {
        self.pairs.get(pair).copied()
    }

    /// Changes a pair in the commit under way.
    pub fn set_direct(&mut self, pair: Pair, conversation: Option<ConversationId>) {
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
    pub fn holders(&self, place: Place) -> Option<&HoldersRecord> {
        self.holders.get(&place)
    }

    /// Sets who has to get a new message that is kept apart, in the commit under way.
    pub fn hold(&mut self, place: Place, holders: HoldersRecord) {
        self.holders.insert(place, Some(holders), self.ticket);
    }

    /// Nobody has to get a message any more.
    pub fn drop_holders(&mut self, place: Place) {
        self.holders.insert(place, None, self.ticket);
    }

    /// A device has no use for a message any more: it has it, or is no more. Whether that is news, and whether it was
    /// the last.
    pub fn let_go(&mut self, place: Place, device: DeviceId) -> Option<bool> {
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
        let next = &mut self.next_conversation[usize::from(partition.get())];
        *next += 1;
        (ConversationId::new(*next * PARTITIONS + u64::from(partition.get())), *next)
    }

    /// The commit under way is complete; returns its ticket.
    pub fn seal(&mut self) -> Ticket {
        self.traces.clear();
        self.media.clear();
        self.memberships.clear();
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
        let mut world = World::new(2, [0; PARTITIONS as usize], 0);
        world.add_conversation(conversation(1));
        let first = world.seal();
        world.add_conversation(conversation(2));
        let second = world.seal();
        for number in 3..10 {
            world.found_conversation(ConversationId::new(number), None);
        }
        world.confirmed(first);
        world.confirmed(first);
        assert!(world.conversation(ConversationId::new(1)).is_none(), "on disk, may go");
        assert!(world.conversation(ConversationId::new(2)).is_some(), "not on disk, must stay");
        for number in 3..10 {
            world.found_conversation(ConversationId::new(number), None);
        }
        world.confirmed(second);
        world.confirmed(second);
        assert!(world.conversation(ConversationId::new(2)).is_none());
    }

    #[test]
    fn a_changed_user_is_on_its_way_until_its_commit_is_on_disk() {
        let mut world = World::new(2, [0; PARTITIONS as usize], 0);
        let alice = UserId::new("alice").unwrap();
        world.found_user(alice.clone(), None);
        assert!(!world.is_user_on_its_way(&alice, 0));
        world.set_user(alice.clone(), Some(UserRecord::default()));
        let ticket = world.seal();
        assert!(world.is_user_on_its_way(&alice, ticket - 1));
        assert!(!world.is_user_on_its_way(&alice, ticket));
    }

    #[test]
    fn conversation_numbers_carry_their_partition() {
        let mut world = World::new(2, [0; PARTITIONS as usize], 0);
        let partition = Partition::of_hash(5);
        let (first, _) = world.allocate_conversation(partition);
        let (second, counter) = world.allocate_conversation(partition);
        assert_eq!((first.get(), second.get(), counter), (69, 133, 2));
        assert_eq!(Partition::of_conversation(second), partition);
    }
}
