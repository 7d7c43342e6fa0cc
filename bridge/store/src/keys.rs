//! Every key of the store: which row is where. The bridge makes its keys here and nowhere else: lanes and committer, media
//! service and registrar. Submodules have the keys of one subject each; [`RowKind`] lists the kinds of rows.
//!
//! Numbers are big endian, so that keys sort as numbers do. Two promises rest on that: an inbox is read in the order in which
//! its entries were committed (P4), and whatever is deleted together lies in one range (P8). Bytes of keys never change: the
//! golden store (tests/golden) was written with them.
//!
//! | table | key | value |
//! |---|---|---|
//! | Directory | `u` user | `UserRecord` |
//! | Directory | `s` device | `SessionRecord` |
//! | Directory | `d` device, slot (1) | `PublishRecord` |
//! | Directory | `q` device | what waits in its inbox, about: entries (4), bytes (8) |
//! | Directory | `v` device | second since 1970 (8) at which its inbox became full for the last time |
//! | Directory | `f` user | `ProfileRecord` |
//! | Directory | `k` user | how many contacts it has (8) |
//! | Directory | `k` user, 0, contact | `ContactRecord` |
//! | Directory | `K` contact, 0, user | nothing: the user has this contact |
//! | Directory | `K` contact | nothing: somebody has this contact, or had it |
//! | Directory | `l` user | minute since 1970 in which it was last seen (8) |
//! | Directory | `n` partition | counter of devices (8) |
//! | Directory | `h` SHA-256 of a phone number (32) | name of the user who has it |
//! | Directory | `w` SHA-256 of a phone number (32) | device (8): in its inbox is what waits for who will have it |
//! | Directory | `W` user, 0, SHA-256 of a phone number (32) | nothing: the user has written to it |
//! | Directory | `g` SHA-256 of a phone number (32) | `CodeRecord`: its latest registration code, hashed; has an expiry, and is swept |
//! | Directory | `g` SHA-256 of "revoked", 0, user, 0, device (32) | `RevokedRecord`: no token makes it again for a while |
//! | Directory | `y` | random bits that names of waiting users are made with, and hashes of codes (32) |
//! | Directory | `o` | order given last (8) |
//! | Directory | `b` | how often the bridge has started (8) |
//! | Directory | `t` | `TimeRecord`: what time it was |
//! | Directory | `Z` | `OriginRecord` |
//! | Directory | `j` from, to, number (8) | `ItemRecord`: one partition has sent it to another, which has not taken it in |
//! | Directory | `J` from, to | number that a partition gave last to what it sent to another (8) |
//! | Directory | `i` to, from | number up to which a partition has taken in what another sent (8) |
//! | Directory | `e`, `u` user | nothing: it is no more, and something of it may be left |
//! | Directory | `e`, `d` device | nothing: it is no more, and something of it may be left |
//! | Directory | `e`, `c` conversation | nothing: nobody is in it, and something of it may be left |
//! | Directory | `p` device | `PushRecord`: where it is pushed |
//! | Directory | `x` device | `PushedRecord`: how far it is |
//! | Directory | `a` SHA-256 of an address (32) | `PushAddressRecord`: who is pushed there |
//! | Directory | `z` | what the server shows to push services that users choose: a private key in PKCS #8 |
//! | Directory | `I` user | `IdentityRecord`: its identity keys |
//! | Directory | `c` user, 0, number (8) | `CertificateRecord`: of one of its devices, which may be no more |
//! | Directory | `M` device | `DeviceKeysRecord`: what it is encrypted to with, but for its key packages |
//! | Directory | `m` device, number (8) | `KeyPackageRecord`: for one use |
//! | Directory | `L` user | `LinkRecord`: what one of its devices has sealed for a new one |
//! | Conversations | `c` conversation | `ConversationRecord` |
//! | Conversations | `t` conversation | `StateRecord` |
//! | Conversations | `r` conversation, slot (1) | what stands in eight of its newest places (see `recent`) |
//! | Conversations | `p` lower user, 0, higher user | conversation (8) |
//! | Conversations | `m` user, 0, conversation | nothing: the user is a member |
//! | Conversations | `m` user | how many of these there are (8), and, if strangers have added it to groups: the last day since 1970 (4), to how many on it (4); none: 0 |
//! | Conversations | `q` user, 0, conversation | `MuteRecord` |
//! | Conversations | `g` conversation | `MlsGroupRecord`: the group of an encrypted conversation |
//! | Conversations | `v` user, 0, conversation, epoch (8) | the key of that epoch, as the user has sealed it |
//! | Conversations | `V` user | how many of these there are (8) |
//! | Conversations | `n` partition | counter of conversations (8) |
//! | Inbox | device, order | `Entry` |
//! | Receipts | device, conversation, ordinal (4) | `ReceiptRecord` |
//! | Messages | conversation, sequence | `Entry`: history, and what inboxes have references to |
//! | Messages | conversation, sequence, `o` | `Entry`: what its sender, which was blocked, alone sees in its place |
//! | Messages | conversation, sequence, `r`, ordinal (4) | expiry (4), reaction: of this member |
//! | Messages | conversation, sequence, `s`, ordinal (4) | expiry (4), reaction: which this member, which was blocked, alone sees as its own |
//! | Messages | conversation, sequence, `w` | expiry (4), `HoldersRecord`: who has still to get it |
//! | Media | `o` media | `MediaRecord` |
//! | Media | `h` hash (32), object, media | nothing: this media is this content, in this object |
//! | Media | `w` user, 0, hash (32) | media (16): the user's unfinished upload of this content |
//! | Media | `r` conversation, sequence, media | `ReferenceRecord`: of a message |
//! | Media | `b` media, `m`, conversation, sequence | nothing: look there |
//! | Media | `b` media, `u`, user | nothing: the user's profile shows it |
//! | Media | `g` second (4), media | whether a reference ends then (0 or 1 bytes): look whether it is still needed |
//! | Media | `x` second (4), object | whether it goes up in parts (1): delete it then |
//! | Media | `q` user | `QuotaRecord` |
//!
//! Media and object are 16 bytes. A partition is one byte below 256, and two from there on; from and to are partitions of two bytes. User, device, conversation, sequence and order without a size are 8 bytes; names end the key or are followed by 0, which no
//! name contains.

use bytes::Bytes;
use godwit_core::membership_count::MembershipCount;
use godwit_core::usage::InboxUsage;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Ordinal, Seq, UserId};
use godwit_schemas::partition::{Partition, Partitions};

use super::Table;

mod encryption;
mod group;
mod identity;
pub mod media;
mod partition;
mod people;
mod push;
mod row_kind;

pub use self::encryption::*;
pub use self::group::{Groups, group, groups};
pub use self::identity::*;
pub use self::partition::*;
pub use self::people::*;
pub use self::push::*;
pub use self::row_kind::RowKind;

/// A key and its table.
pub type StoreKey = (Table, Vec<u8>);

/// The first key behind this one: where a scan goes on.
pub fn behind(key: &[u8]) -> Vec<u8> {
    [key, b"\0"].concat()
}

/// A user.
pub fn user(id: &UserId) -> StoreKey {
    RowKind::User.key(&[id.as_str().as_bytes()])
}

/// From the user after `after` on, and the end of all users.
pub fn users_after(after: Option<&UserId>) -> (Vec<u8>, Vec<u8>) {
    let from = after.map_or_else(|| vec![b'u'], |after| [b"u", after.as_str().as_bytes(), b"\0"].concat());
    (from, vec![b'u' + 1])
}

/// The user of a key of [`user`].
pub fn parse_user(key: &[u8]) -> Option<UserId> {
    let name = std::str::from_utf8(key.strip_prefix(b"u")?).ok()?;
    UserId::new(name).ok()
}

/// A device's session.
pub fn session(device: DeviceId) -> StoreKey {
    RowKind::Session.key(&[&device.get().to_be_bytes()])
}

/// What became of a publish.
pub fn publish_record(device: DeviceId, slot: u8) -> StoreKey {
    RowKind::PublishRecord.key(&[&device.get().to_be_bytes(), &[slot]])
}

/// All of a device's publishes.
pub fn publish_records(device: DeviceId) -> (Vec<u8>, Vec<u8>) {
    (publish_record(device, 0).1, publish_record(DeviceId::new(device.get() + 1), 0).1)
}

/// About how much waits in a device's inbox.
pub fn backlog(device: DeviceId) -> StoreKey {
    RowKind::Backlog.key(&[&device.get().to_be_bytes()])
}

/// When a device's inbox became full for the last time.
pub fn full_since(device: DeviceId) -> StoreKey {
    RowKind::FullSince.key(&[&device.get().to_be_bytes()])
}

/// All of these.
pub fn backlogs() -> (Vec<u8>, Vec<u8>) {
    (vec![b'q'], vec![b'q' + 1])
}

/// The device of a key of [`backlog`].
pub fn parse_backlog(key: &[u8]) -> Option<DeviceId> {
    Some(DeviceId::new(parse_counter(key.strip_prefix(b"q")?)?))
}

/// A value of [`backlog`].
pub fn load(load: InboxUsage) -> Bytes {
    [&load.entries.to_be_bytes()[..], &load.bytes.to_be_bytes()].concat().into()
}

/// The other way round.
pub fn parse_load(value: &[u8]) -> Option<InboxUsage> {
    let (entries, bytes) = value.split_first_chunk::<4>()?;
    Some(InboxUsage { entries: u32::from_be_bytes(*entries), bytes: parse_counter(bytes)? })
}

/// Who has a phone number.
pub fn phone(sha256: &[u8; 32]) -> StoreKey {
    RowKind::Phone.key(&[sha256])
}

/// Whose inbox is to be handed over to who will have a phone number.
pub fn phone_inbox(sha256: &[u8; 32]) -> StoreKey {
    RowKind::PhoneInbox.key(&[sha256])
}

/// A user has written to a phone number.
pub fn written_to(user: &UserId, sha256: &[u8; 32]) -> StoreKey {
    RowKind::WrittenTo.key(&[user.as_str().as_bytes(), b"\0", sha256])
}

/// All numbers that a user has written to.
pub fn all_written_to(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    let bound = |end: u8| RowKind::WrittenTo.key(&[user.as_str().as_bytes(), &[end]]).1;
    (bound(0), bound(1))
}

/// What names of waiting users are made with.
pub fn phone_secret() -> StoreKey {
    RowKind::PhoneSecret.key(&[])
}

/// The order given last.
pub fn last_order() -> StoreKey {
    RowKind::LastOrder.key(&[])
}

/// How often the bridge has started.
pub fn starts() -> StoreKey {
    RowKind::Starts.key(&[])
}

/// What time it was, and what the wall clock said.
pub fn time() -> StoreKey {
    RowKind::Time.key(&[])
}

/// Which store this is.
pub fn origin() -> StoreKey {
    RowKind::Origin.key(&[])
}

/// What is to be cleared away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tombstone {
    /// A user that is no more.
    User(UserId),
    /// A device that is no more.
    Device(DeviceId),
    /// A conversation that nobody is in.
    Conversation(ConversationId),
}

impl Tombstone {
    /// Whose lane clears it.
    pub fn partition(&self, partitions: Partitions) -> Partition {
        match self {
            Self::User(user) => partitions.of_user(user),
            Self::Device(device) => partitions.of_device(*device),
            Self::Conversation(conversation) => partitions.of_conversation(*conversation),
        }
    }
}

/// Something is to be cleared away.
pub fn mark(marked: &Tombstone) -> StoreKey {
    match marked {
        Tombstone::User(user) => RowKind::MarkedUser.key(&[user.as_str().as_bytes()]),
        Tombstone::Device(device) => RowKind::MarkedDevice.key(&[&device.get().to_be_bytes()]),
        Tombstone::Conversation(conversation) => RowKind::MarkedConversation.key(&[&conversation.get().to_be_bytes()]),
    }
}

/// All of these.
pub fn marks() -> (Vec<u8>, Vec<u8>) {
    (vec![b'e'], vec![b'e' + 1])
}

/// What a key of [`mark`] marks.
pub fn parse_mark(key: &[u8]) -> Option<Tombstone> {
    let (kind, rest) = key.strip_prefix(b"e")?.split_first()?;
    match kind {
        b'u' => UserId::new(std::str::from_utf8(rest).ok()?).ok().map(Tombstone::User),
        b'd' => Some(Tombstone::Device(DeviceId::new(parse_counter(rest)?))),
        b'c' => Some(Tombstone::Conversation(ConversationId::new(parse_counter(rest)?))),
        _ => None,
    }
}

/// What seldom changes of a conversation.
pub fn conversation(id: ConversationId) -> StoreKey {
    RowKind::Conversation.key(&[&id.get().to_be_bytes()])
}

/// What changes with every message of a conversation.
pub fn state(id: ConversationId) -> StoreKey {
    RowKind::State.key(&[&id.get().to_be_bytes()])
}

/// What stands in some of the newest places of a conversation.
pub fn recent(id: ConversationId, slot: u8) -> StoreKey {
    RowKind::Recent.key(&[&id.get().to_be_bytes(), &[slot]])
}

/// All of [`recent`] of a conversation.
pub fn recents(id: ConversationId) -> (Vec<u8>, Vec<u8>) {
    (recent(id, 0).1, recent(id, u8::MAX).1)
}

/// The direct conversation of two users, lower name first.
pub fn pair(low: &UserId, high: &UserId) -> StoreKey {
    RowKind::Pair.key(&[low.as_str().as_bytes(), b"\0", high.as_str().as_bytes()])
}

/// A user's membership.
pub fn membership(user: &UserId, id: ConversationId) -> StoreKey {
    RowKind::Membership.key(&[user.as_str().as_bytes(), b"\0", &id.get().to_be_bytes()])
}

/// How many memberships a user has.
pub fn membership_count(user: &UserId) -> StoreKey {
    RowKind::MembershipCount.key(&[user.as_str().as_bytes()])
}

/// A value of [`membership_count`].
pub fn crowd(MembershipCount { conversations, added }: MembershipCount) -> Option<Bytes> {
    let conversations = conversations.to_be_bytes();
    match added {
        (_, 0) if conversations == [0; 8] => None,
        (_, 0) => Some(Bytes::copy_from_slice(&conversations)),
        (day, groups) => Some([&conversations[..], &day.to_be_bytes(), &groups.to_be_bytes()].concat().into()),
    }
}

/// The other way round.
pub fn parse_crowd(value: &[u8]) -> Option<MembershipCount> {
    let (conversations, rest) = value.split_first_chunk::<8>()?;
    let number = |bytes: &[u8; 4]| u32::from_be_bytes(*bytes);
    let added = rest.split_first_chunk::<4>().zip(rest.last_chunk::<4>());
    let added = added.map_or((0, 0), |((day, _), groups)| (number(day), number(groups)));
    Some(MembershipCount { conversations: u64::from_be_bytes(*conversations), added })
}

/// All memberships of a user.
pub fn memberships(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    let bound = |end: u8| RowKind::Membership.key(&[user.as_str().as_bytes(), &[end]]).1;
    (bound(0), bound(1))
}

/// The conversation of a key of [`membership`].
pub fn parse_membership(key: &[u8]) -> Option<ConversationId> {
    let number = key.last_chunk::<8>()?;
    Some(ConversationId::new(u64::from_be_bytes(*number)))
}

/// An inbox entry.
pub fn entry(device: DeviceId, order: Order) -> StoreKey {
    RowKind::Entry.key(&[&device.get().to_be_bytes(), &order.get().to_be_bytes()])
}

/// All of a device's inbox entries.
pub fn inbox(device: DeviceId) -> (Vec<u8>, Vec<u8>) {
    inbox_from(device, Order::default())
}

/// A device's inbox from `first` on.
pub fn inbox_from(device: DeviceId, first: Order) -> (Vec<u8>, Vec<u8>) {
    (entry(device, first).1, entry(DeviceId::new(device.get() + 1), Order::default()).1)
}

/// A device's inbox above `cursor`.
pub fn inbox_after(device: DeviceId, cursor: Order) -> (Vec<u8>, Vec<u8>) {
    inbox_from(device, Order::new(cursor.get() + 1))
}

/// The order of a key of [`entry`].
pub fn parse_order(key: &[u8]) -> Option<Order> {
    let number = key.last_chunk::<8>()?;
    Some(Order::new(u64::from_be_bytes(*number)))
}

/// A message that is kept apart from inboxes.
pub fn message(id: ConversationId, sequence: Seq) -> StoreKey {
    of_message(RowKind::Message, id, sequence, &[])
}

/// What the sender of a message alone sees in its place.
pub fn own_message(id: ConversationId, sequence: Seq) -> StoreKey {
    of_message(RowKind::OwnMessage, id, sequence, &[])
}

/// A member's reaction to a message.
pub fn reaction(id: ConversationId, sequence: Seq, member: Ordinal) -> StoreKey {
    of_message(RowKind::Reaction, id, sequence, &member.get().to_be_bytes())
}

/// What a member alone sees as its reaction to a message.
pub fn own_reaction(id: ConversationId, sequence: Seq, member: Ordinal) -> StoreKey {
    of_message(RowKind::OwnReaction, id, sequence, &member.get().to_be_bytes())
}

fn of_message(kind: RowKind, id: ConversationId, sequence: Seq, rest: &[u8]) -> StoreKey {
    let (table, tag) = kind.tag();
    (table, [&id.get().to_be_bytes()[..], &sequence.get().to_be_bytes(), tag, rest].concat())
}

/// All reactions to a message, whoever sees them.
pub fn reactions(id: ConversationId, sequence: Seq) -> (Vec<u8>, Vec<u8>) {
    let bound = |tag: u8| [&message(id, sequence).1[..], &[tag]].concat();
    (bound(b'r'), bound(b's' + 1))
}

/// What a row of the messages table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageRowKind {
    /// A message or change.
    Entry,
    /// What its sender alone sees in its place.
    Own,
    /// A reaction, of this member.
    Reaction(Ordinal),
    /// What this member alone sees as its reaction.
    OwnReaction(Ordinal),
    /// Who has still to get it.
    Holders,
}

/// Place and kind of a row of the messages table.
pub fn parse_of_message(key: &[u8]) -> Option<(Seq, MessageRowKind)> {
    let (sequence, rest) = key.get(8..)?.split_first_chunk::<8>()?;
    let kind = match rest.split_first() {
        None => MessageRowKind::Entry,
        Some((b'o', [])) => MessageRowKind::Own,
        Some((b'r', member)) => MessageRowKind::Reaction(Ordinal::new(u32::from_be_bytes(member.try_into().ok()?))),
        Some((b's', member)) => MessageRowKind::OwnReaction(Ordinal::new(u32::from_be_bytes(member.try_into().ok()?))),
        Some((b'w', [])) => MessageRowKind::Holders,
        Some(_) => return None,
    };
    Some((Seq::new(u64::from_be_bytes(*sequence)), kind))
}

/// Who has still to get a message.
pub fn holders(id: ConversationId, sequence: Seq) -> StoreKey {
    of_message(RowKind::Holders, id, sequence, &[])
}

/// A receipt.
pub fn receipt(device: DeviceId, conversation: ConversationId, member: Ordinal) -> StoreKey {
    let parts = [&device.get().to_be_bytes()[..], &conversation.get().to_be_bytes(), &member.get().to_be_bytes()];
    RowKind::Receipt.key(&parts)
}

/// All receipts of a device.
pub fn receipts(device: DeviceId) -> (Vec<u8>, Vec<u8>) {
    (device.get().to_be_bytes().to_vec(), (device.get() + 1).to_be_bytes().to_vec())
}

/// Conversation and member of a key of [`receipt`].
pub fn parse_receipt(key: &[u8]) -> Option<(ConversationId, Ordinal)> {
    let (_, rest) = key.split_first_chunk::<8>()?;
    let (conversation, rest) = rest.split_first_chunk::<8>()?;
    let member = rest.try_into().ok()?;
    Some((ConversationId::new(u64::from_be_bytes(*conversation)), Ordinal::new(u32::from_be_bytes(member))))
}

/// A counter's value.
pub fn parse_counter(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back() {
        let alice = UserId::new("alice").unwrap();
        let (id, device) = (ConversationId::new(300), DeviceId::new(7));
        assert_eq!(parse_user(&user(&alice).1), Some(alice.clone()));
        assert_eq!(parse_membership(&membership(&alice, id).1), Some(id));
        assert_eq!(parse_backlog(&backlog(device).1), Some(device));
        let waiting = InboxUsage { entries: 7, bytes: 1 << 40 };
        assert_eq!(parse_load(&load(waiting)), Some(waiting));
        for (conversations, added) in [(0, (0, 0)), (7, (0, 0)), (0, (20_000, 3)), (u64::MAX, (u32::MAX, u32::MAX))] {
            let crowd = MembershipCount { conversations, added };
            let read = self::crowd(crowd).map_or(Some(MembershipCount::default()), |value| parse_crowd(&value));
            assert_eq!(read, Some(crowd));
        }
        for marked in [Tombstone::User(alice.clone()), Tombstone::Device(device), Tombstone::Conversation(id)] {
            assert_eq!(parse_mark(&mark(&marked).1), Some(marked));
        }
        assert_eq!(parse_order(&entry(device, Order::new(9)).1), Some(Order::new(9)));
        let (sequence, bob) = (Seq::new(5), Ordinal::new(2));
        assert_eq!(parse_of_message(&message(id, sequence).1), Some((sequence, MessageRowKind::Entry)));
        assert_eq!(parse_of_message(&reaction(id, sequence, bob).1), Some((sequence, MessageRowKind::Reaction(bob))));
        assert_eq!(parse_of_message(&own_message(id, sequence).1), Some((sequence, MessageRowKind::Own)));
        assert_eq!(
            parse_of_message(&own_reaction(id, sequence, bob).1),
            Some((sequence, MessageRowKind::OwnReaction(bob)))
        );
        assert_eq!(parse_of_message(&holders(id, sequence).1), Some((sequence, MessageRowKind::Holders)));
        assert_eq!(parse_receipt(&receipt(device, id, Ordinal::new(2)).1), Some((id, Ordinal::new(2))));
    }

    #[test]
    fn ranges_hold_their_own_and_nothing_else() {
        let (al, alice) = (UserId::new("al").unwrap(), UserId::new("alice").unwrap());
        let (from, to) = memberships(&al);
        let holds = |key: StoreKey| from <= key.1 && key.1 < to;
        assert!(holds(membership(&al, ConversationId::new(u64::MAX))));
        assert!(!holds(membership(&alice, ConversationId::new(1))));
        assert!(!holds(membership_count(&al)) && !holds(membership_count(&alice)));
        let (from, to) = all_written_to(&al);
        let holds = |key: StoreKey| from <= key.1 && key.1 < to;
        assert!(holds(written_to(&al, &[0; 32])) && holds(written_to(&al, &[0xFF; 32])));
        assert!(!holds(written_to(&alice, &[0; 32])));
        let (from, to) = inbox_after(DeviceId::new(7), Order::new(5));
        let holds = |device, order| {
            let key = entry(DeviceId::new(device), Order::new(order)).1;
            from <= key && key < to
        };
        assert!(holds(7, 6) && holds(7, u64::MAX) && !holds(7, 5) && !holds(8, 0) && !holds(6, 9));
        let (from, _) = users_after(Some(&al));
        assert!(from > user(&al).1 && from < user(&alice).1);
    }
}
