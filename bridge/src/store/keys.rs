//! Every key of the store. Numbers are big endian, so that keys sort as numbers do.
//!
//! | table | key | value |
//! |---|---|---|
//! | Directory | `u` user | `UserRecord` |
//! | Directory | `s` device | `SessionRecord` |
//! | Directory | `d` device, slot (1) | `Doubt` |
//! | Directory | `q` device | what waits in its inbox, about: entries (4), bytes (8) |
//! | Directory | `f` user | `ProfileRecord` |
//! | Directory | `k` user | how many contacts it has (8) |
//! | Directory | `k` user, 0, contact | `ContactRecord` |
//! | Directory | `K` contact, 0, user | nothing: the user has this contact |
//! | Directory | `K` contact | nothing: somebody has this contact, or had it |
//! | Directory | `l` user | minute since 1970 in which it was last seen (8) |
//! | Directory | `n` partition (1) | counter of devices (8) |
//! | Directory | `h` SHA-256 of a phone number (32) | name of the user who has it |
//! | Directory | `w` SHA-256 of a phone number (32) | device (8): in its inbox is what waits for who will have it |
//! | Directory | `g` SHA-256 of a phone number (32) | `CodeRecord`: its latest registration code, hashed; has an expiry, and is swept |
//! | Directory | `g` SHA-256 of "revoked", 0, user, 0, device (32) | `RevokedRecord`: no token makes it again for a while |
//! | Directory | `y` | random bits that names of waiting users are made with, and hashes of codes (32) |
//! | Directory | `o` | order given last (8) |
//! | Directory | `b` | how often the bridge has started (8) |
//! | Directory | `e`, `u` user | nothing: it is no more, and something of it may be left |
//! | Directory | `e`, `d` device | nothing: it is no more, and something of it may be left |
//! | Directory | `e`, `c` conversation | nothing: nobody is in it, and something of it may be left |
//! | Conversations | `c` conversation | `ConversationRecord` |
//! | Conversations | `t` conversation | `StateRecord` |
//! | Conversations | `p` lower user, 0, higher user | conversation (8) |
//! | Conversations | `m` user, 0, conversation | nothing: the user is a member |
//! | Conversations | `m` user | how many of these there are (8); none: 0 |
//! | Conversations | `n` partition (1) | counter of conversations (8) |
//! | Inbox | device, order | `Entry` |
//! | Receipts | device, conversation, ordinal (4) | `ReceiptRecord` |
//! | Messages | conversation, sequence | `Entry`: history, and what inboxes have references to |
//! | Messages | conversation, sequence, `r`, ordinal (4) | expiry (4), reaction: of this member |
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
//! Media and object are 16 bytes. User, device, conversation, sequence and order without a size are 8 bytes; names end the key or are followed by 0, which no
//! name contains.

use bytes::Bytes;
use godwit_core::load::Load;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Ordinal, Seq, UserId};
use godwit_schemas::partition::Partition;

use super::Table;

mod identity;
pub mod media;
mod people;

pub use self::identity::*;
pub use self::people::*;

/// A key and its table.
pub type Key = (Table, Vec<u8>);

fn key(table: Table, tag: u8, rest: &[&[u8]]) -> Key {
    let mut key = Vec::with_capacity(1 + rest.iter().map(|part| part.len()).sum::<usize>());
    key.push(tag);
    rest.iter().for_each(|part| key.extend_from_slice(part));
    (table, key)
}

/// The first key behind this one: where a scan goes on.
pub fn behind(key: &[u8]) -> Vec<u8> {
    [key, b"\0"].concat()
}

/// A user.
pub fn user(id: &UserId) -> Key {
    key(Table::Directory, b'u', &[id.as_str().as_bytes()])
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
pub fn session(device: DeviceId) -> Key {
    key(Table::Directory, b's', &[&device.get().to_be_bytes()])
}

/// What became of a publish.
pub fn doubt(device: DeviceId, slot: u8) -> Key {
    key(Table::Directory, b'd', &[&device.get().to_be_bytes(), &[slot]])
}

/// All of a device's publishes.
pub fn doubts(device: DeviceId) -> (Vec<u8>, Vec<u8>) {
    (doubt(device, 0).1, doubt(DeviceId::new(device.get() + 1), 0).1)
}

/// About how much waits in a device's inbox.
pub fn backlog(device: DeviceId) -> Key {
    key(Table::Directory, b'q', &[&device.get().to_be_bytes()])
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
pub fn load(load: Load) -> Bytes {
    [&load.entries.to_be_bytes()[..], &load.bytes.to_be_bytes()].concat().into()
}

/// The other way round.
pub fn parse_load(value: &[u8]) -> Option<Load> {
    let (entries, bytes) = value.split_first_chunk::<4>()?;
    Some(Load { entries: u32::from_be_bytes(*entries), bytes: parse_counter(bytes)? })
}

/// Who has a phone number.
pub fn phone(sha256: &[u8; 32]) -> Key {
    key(Table::Directory, b'h', &[sha256])
}

/// Whose inbox is to be handed over to who will have a phone number.
pub fn phone_inbox(sha256: &[u8; 32]) -> Key {
    key(Table::Directory, b'w', &[sha256])
}

/// What names of waiting users are made with.
pub fn phone_secret() -> Key {
    key(Table::Directory, b'y', &[])
}

/// A partition's counter of devices.
pub fn device_counter(partition: Partition) -> Key {
    key(Table::Directory, b'n', &[&[partition.get()]])
}

/// The order given last.
pub fn last_order() -> Key {
    key(Table::Directory, b'o', &[])
}

/// How often the bridge has started.
pub fn starts() -> Key {
    key(Table::Directory, b'b', &[])
}

/// What is to be cleared away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marked {
    /// A user that is no more.
    User(UserId),
    /// A device that is no more.
    Device(DeviceId),
    /// A conversation that nobody is in.
    Conversation(ConversationId),
}

impl Marked {
    /// Whose lane clears it.
    pub fn partition(&self) -> Partition {
        match self {
            Self::User(user) => Partition::of_user(user),
            Self::Device(device) => Partition::of_device(*device),
            Self::Conversation(conversation) => Partition::of_conversation(*conversation),
        }
    }
}

/// Something is to be cleared away.
pub fn mark(marked: &Marked) -> Key {
    let mark = |kind: &[u8], rest: &[u8]| key(Table::Directory, b'e', &[kind, rest]);
    match marked {
        Marked::User(user) => mark(b"u", user.as_str().as_bytes()),
        Marked::Device(device) => mark(b"d", &device.get().to_be_bytes()),
        Marked::Conversation(conversation) => mark(b"c", &conversation.get().to_be_bytes()),
    }
}

/// All of these.
pub fn marks() -> (Vec<u8>, Vec<u8>) {
    (vec![b'e'], vec![b'e' + 1])
}

/// What a key of [`mark`] marks.
pub fn parse_mark(key: &[u8]) -> Option<Marked> {
    let (kind, rest) = key.strip_prefix(b"e")?.split_first()?;
    match kind {
        b'u' => UserId::new(std::str::from_utf8(rest).ok()?).ok().map(Marked::User),
        b'd' => Some(Marked::Device(DeviceId::new(parse_counter(rest)?))),
        b'c' => Some(Marked::Conversation(ConversationId::new(parse_counter(rest)?))),
        _ => None,
    }
}

/// What seldom changes of a conversation.
pub fn conversation(id: ConversationId) -> Key {
    key(Table::Conversations, b'c', &[&id.get().to_be_bytes()])
}

/// What changes with every message of a conversation.
pub fn state(id: ConversationId) -> Key {
    key(Table::Conversations, b't', &[&id.get().to_be_bytes()])
}

/// The direct conversation of two users, lower name first.
pub fn pair(low: &UserId, high: &UserId) -> Key {
    key(Table::Conversations, b'p', &[low.as_str().as_bytes(), b"\0", high.as_str().as_bytes()])
}

/// A user's membership.
pub fn membership(user: &UserId, id: ConversationId) -> Key {
    key(Table::Conversations, b'm', &[user.as_str().as_bytes(), b"\0", &id.get().to_be_bytes()])
}

/// How many memberships a user has.
pub fn membership_count(user: &UserId) -> Key {
    key(Table::Conversations, b'm', &[user.as_str().as_bytes()])
}

/// All memberships of a user.
pub fn memberships(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    let bound = |end: u8| key(Table::Conversations, b'm', &[user.as_str().as_bytes(), &[end]]).1;
    (bound(0), bound(1))
}

/// The conversation of a key of [`membership`].
pub fn parse_membership(key: &[u8]) -> Option<ConversationId> {
    let number = key.last_chunk::<8>()?;
    Some(ConversationId::new(u64::from_be_bytes(*number)))
}

/// A partition's counter of conversations.
pub fn conversation_counter(partition: Partition) -> Key {
    key(Table::Conversations, b'n', &[&[partition.get()]])
}

/// An inbox entry.
pub fn entry(device: DeviceId, order: Order) -> Key {
    (Table::Inbox, [device.get().to_be_bytes(), order.get().to_be_bytes()].concat())
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
pub fn message(id: ConversationId, sequence: Seq) -> Key {
    (Table::Messages, [id.get().to_be_bytes(), sequence.get().to_be_bytes()].concat())
}

/// A member's reaction to a message.
pub fn reaction(id: ConversationId, sequence: Seq, member: Ordinal) -> Key {
    let (table, mut key) = message(id, sequence);
    key.push(b'r');
    key.extend_from_slice(&member.get().to_be_bytes());
    (table, key)
}

/// All reactions to a message.
pub fn reactions(id: ConversationId, sequence: Seq) -> (Vec<u8>, Vec<u8>) {
    let bound = |tag: u8| [&message(id, sequence).1[..], &[tag]].concat();
    (bound(b'r'), bound(b'r' + 1))
}

/// What a row of the messages table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfMessage {
    /// A message or change.
    Entry,
    /// A reaction, of this member.
    Reaction(Ordinal),
    /// Who has still to get it.
    Holders,
}

/// Place and kind of a row of the messages table.
pub fn parse_of_message(key: &[u8]) -> Option<(Seq, OfMessage)> {
    let (sequence, rest) = key.get(8..)?.split_first_chunk::<8>()?;
    let kind = match rest.split_first() {
        None => OfMessage::Entry,
        Some((b'r', member)) => OfMessage::Reaction(Ordinal::new(u32::from_be_bytes(member.try_into().ok()?))),
        Some((b'w', [])) => OfMessage::Holders,
        Some(_) => return None,
    };
    Some((Seq::new(u64::from_be_bytes(*sequence)), kind))
}

/// Who has still to get a message.
pub fn holders(id: ConversationId, sequence: Seq) -> Key {
    let (table, mut key) = message(id, sequence);
    key.push(b'w');
    (table, key)
}

/// A receipt.
pub fn receipt(device: DeviceId, conversation: ConversationId, member: Ordinal) -> Key {
    let parts = [&device.get().to_be_bytes()[..], &conversation.get().to_be_bytes(), &member.get().to_be_bytes()];
    (Table::Receipts, parts.concat())
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
        let waiting = Load { entries: 7, bytes: 1 << 40 };
        assert_eq!(parse_load(&load(waiting)), Some(waiting));
        for marked in [Marked::User(alice.clone()), Marked::Device(device), Marked::Conversation(id)] {
            assert_eq!(parse_mark(&mark(&marked).1), Some(marked));
        }
        assert_eq!(parse_order(&entry(device, Order::new(9)).1), Some(Order::new(9)));
        let (sequence, bob) = (Seq::new(5), Ordinal::new(2));
        assert_eq!(parse_of_message(&message(id, sequence).1), Some((sequence, OfMessage::Entry)));
        assert_eq!(parse_of_message(&reaction(id, sequence, bob).1), Some((sequence, OfMessage::Reaction(bob))));
        assert_eq!(parse_of_message(&holders(id, sequence).1), Some((sequence, OfMessage::Holders)));
        assert_eq!(parse_receipt(&receipt(device, id, Ordinal::new(2)).1), Some((id, Ordinal::new(2))));
    }

    #[test]
    fn ranges_hold_their_own_and_nothing_else() {
        let (al, alice) = (UserId::new("al").unwrap(), UserId::new("alice").unwrap());
        let (from, to) = memberships(&al);
        let holds = |key: Key| from <= key.1 && key.1 < to;
        assert!(holds(membership(&al, ConversationId::new(u64::MAX))));
        assert!(!holds(membership(&alice, ConversationId::new(1))));
        assert!(!holds(membership_count(&al)) && !holds(membership_count(&alice)));
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
