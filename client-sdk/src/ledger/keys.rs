//! Every key of the store. A letter says what it is, numbers follow in big-endian so that they sort.

use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};
use godwit_schemas::phone::PhoneNumber;

use crate::send::SendId;

/// Whose store this is: user, a slash, device.
pub(crate) const OWNER: &[u8] = b"M/owner";
/// Which server it is of, and its epoch (8 each).
pub(crate) const SERVER: &[u8] = b"M/server";
/// The last number that a send was given.
pub(crate) const LAST_SEND: &[u8] = b"M/send";
/// The name of the count that these numbers are of; absent: it has none.
pub(crate) const COUNTER: &[u8] = b"M/counter";
/// Of numbers up to here the server has counted some that this store did not give.
pub(crate) const STRANGE: &[u8] = b"M/strange";
/// The last number that an event for the app was given.
pub(crate) const LAST_EVENT: &[u8] = b"M/event";
/// The last number that a file was given.
#[cfg(feature = "media")]
pub(crate) const LAST_FILE: &[u8] = b"M/file";
/// The server's session was told what this device wants.
pub(crate) const SUBSCRIBED: &[u8] = b"M/subscribed";

/// What the device is let in with, if that is not what the app brings.
pub(crate) const PASSWORD: &[u8] = b"M/password";

/// What this store makes names from that nobody can guess.
#[cfg(feature = "media")]
pub(crate) const SECRET: &[u8] = b"M/secret";

/// The conversation behind which those of this user are to be listed; absent: all were.
pub(crate) const LISTED: &[u8] = b"M/listed";

/// How many sends to phone numbers were not answered.
pub(crate) const UNANSWERED_PHONES: &[u8] = b"M/phones";

/// This device's keys for end-to-end encryption.
#[cfg(feature = "e2ee")]
pub(crate) const OWN_KEYS: &[u8] = b"X/own";
/// Sends that were not answered.
pub(crate) const OUTBOX: u8 = b'O';
/// Sends that were answered.
pub(crate) const SENT: u8 = b'S';
/// Conversations that this device knows, by number.
pub(crate) const CONVERSATIONS: u8 = b'C';
/// Messages at their places.
pub(crate) const MESSAGES: u8 = b'A';
/// Events that the app has not confirmed.
pub(crate) const INBOX: u8 = b'I';
/// What did not come and is looked for.
pub(crate) const GAPS: u8 = b'G';
/// Pages of history that are to be asked for.
pub(crate) const FILLS: u8 = b'B';
/// What was read and not told to the server.
pub(crate) const READ: u8 = b'R';
/// Files that are to be sent.
#[cfg(feature = "media")]
pub(crate) const FILES: u8 = b'F';
/// What became of files.
#[cfg(feature = "media")]
pub(crate) const FILES_OVER: u8 = b'E';

/// The key of a number in one of the above.
pub(crate) fn numbered(kind: u8, number: u64) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The number in a key of [`numbered`].
pub(crate) fn number(key: &[u8]) -> u64 {
    key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// Everything of a kind above a number: the bounds of a scan.
pub(crate) fn above(kind: u8, number: u64) -> (Vec<u8>, Vec<u8>) {
    let mut from = numbered(kind, number);
    from.push(0);
    (from, vec![kind + 1])
}

/// An unanswered send.
pub(crate) fn outbox(id: SendId) -> Vec<u8> {
    numbered(OUTBOX, id.get())
}

/// An answered send.
pub(crate) fn sent(id: SendId) -> Vec<u8> {
    numbered(SENT, id.get())
}

/// What did not come from this place on.
pub(crate) fn gap(id: ConversationId, first: Seq) -> Vec<u8> {
    let mut key = numbered(GAPS, id.get());
    key.extend_from_slice(&first.get().to_be_bytes());
    key
}

/// A page of history of a conversation in which something happened then: the one of most recently is the first.
pub(crate) fn fill(active_at_s: u64, id: ConversationId) -> Vec<u8> {
    let mut key = numbered(FILLS, u64::MAX - active_at_s);
    key.extend_from_slice(&id.get().to_be_bytes());
    key
}

/// The conversation in a key of [`fill`].
pub(crate) fn filled(key: &[u8]) -> ConversationId {
    ConversationId::new(sequence(key).get())
}

/// A conversation.
pub(crate) fn conversation(id: ConversationId) -> Vec<u8> {
    numbered(CONVERSATIONS, id.get())
}

/// A message.
pub(crate) fn message(id: ConversationId, sequence: Seq) -> Vec<u8> {
    let mut key = numbered(MESSAGES, id.get());
    key.extend_from_slice(&sequence.get().to_be_bytes());
    key
}

/// The sequence in a key of [`message`].
pub(crate) fn sequence(key: &[u8]) -> Seq {
    let bytes = key.get(9..17).and_then(|bytes| bytes.try_into().ok());
    Seq::new(bytes.map_or(0, u64::from_be_bytes))
}

/// Read, and not told.
pub(crate) fn read(id: ConversationId) -> Vec<u8> {
    numbered(READ, id.get())
}

/// How many sends to this recipient were not answered.
pub(crate) fn unanswered_of_user(user: &UserId) -> Vec<u8> {
    [b"N/", user.as_str().as_bytes()].concat()
}

/// The same of a conversation.
pub(crate) fn unanswered_of(id: ConversationId) -> Vec<u8> {
    numbered(b'Q', id.get())
}

/// Sends to a user that were stored in a conversation which this device does not know yet.
pub(crate) fn unrouted(user: &UserId) -> Vec<u8> {
    [b"H/", user.as_str().as_bytes()].concat()
}

/// The same of a phone number.
pub(crate) fn unrouted_phone(number: &str) -> Vec<u8> {
    [b"T/", number.as_bytes()].concat()
}

/// All of them: the bounds of a scan.
pub(crate) const UNROUTED_PHONES: (&[u8], &[u8]) = (b"T/", b"T0");

/// The number in a key of [`unrouted_phone`].
pub(crate) fn phone_number(key: &[u8]) -> Option<PhoneNumber> {
    PhoneNumber::parse(std::str::from_utf8(key.get(2..)?).ok()?).ok()
}

/// The direct conversation with a user.
pub(crate) fn direct(user: &UserId) -> Vec<u8> {
    [b"D/", user.as_str().as_bytes()].concat()
}

/// The event that waits for the app with a receipt of this member.
pub(crate) fn receipt(id: ConversationId, member: Ordinal) -> Vec<u8> {
    let mut key = numbered(b'U', id.get());
    key.extend_from_slice(&member.get().to_be_bytes());
    key
}

/// The private keys of a key package.
#[cfg(feature = "e2ee")]
pub(crate) fn key_package(reference: &[u8]) -> Vec<u8> {
    [b"X/package/", reference].concat()
}

/// All of them: the bounds of a scan.
#[cfg(feature = "e2ee")]
pub(crate) const KEY_PACKAGES: (&[u8], &[u8]) = (b"X/package/", b"X/package0");

/// The identity keys that a user has had.
#[cfg(feature = "e2ee")]
pub(crate) fn person(user: &UserId) -> Vec<u8> {
    [b"X/person/", user.as_str().as_bytes()].concat()
}

/// The group of an encrypted conversation.
#[cfg(feature = "e2ee")]
pub(crate) fn group(id: ConversationId) -> Vec<u8> {
    [&b"X/group/"[..], &id.get().to_be_bytes()].concat()
}

/// All of them: the bounds of a scan.
#[cfg(feature = "e2ee")]
pub(crate) const GROUPS: (&[u8], &[u8]) = (b"X/group/", b"X/group0");

/// The conversation in a key of [`group`].
#[cfg(feature = "e2ee")]
pub(crate) fn group_of(key: &[u8]) -> ConversationId {
    let bytes = key.get(8..16).and_then(|bytes| bytes.try_into().ok());
    ConversationId::new(bytes.map_or(0, u64::from_be_bytes))
}

/// The ratchet tree of a group.
#[cfg(feature = "e2ee")]
pub(crate) fn tree(id: ConversationId) -> Vec<u8> {
    [&b"X/tree/"[..], &id.get().to_be_bytes()].concat()
}

/// The keys of an epoch.
#[cfg(feature = "e2ee")]
pub(crate) fn epoch(id: ConversationId, epoch: u64) -> Vec<u8> {
    [&b"X/epoch/"[..], &id.get().to_be_bytes(), &epoch.to_be_bytes()].concat()
}

/// A commit that waits until this device is in the group.
#[cfg(feature = "e2ee")]
pub(crate) fn waiting_commit(id: ConversationId, epoch: u64) -> Vec<u8> {
    [&b"X/commit/"[..], &id.get().to_be_bytes(), &epoch.to_be_bytes()].concat()
}

/// All of a conversation: the bounds of a scan.
#[cfg(feature = "e2ee")]
pub(crate) fn waiting_commits(id: ConversationId) -> (Vec<u8>, Vec<u8>) {
    (waiting_commit(id, 0), waiting_commit(id, u64::MAX))
}

/// A message that was not opened yet, and of which the app was not told.
#[cfg(feature = "e2ee")]
pub(crate) fn held(id: ConversationId, sequence: Seq) -> Vec<u8> {
    [&b"X/held/"[..], &id.get().to_be_bytes(), &sequence.get().to_be_bytes()].concat()
}

/// All of them: the bounds of a scan.
#[cfg(feature = "e2ee")]
pub(crate) const HELD: (&[u8], &[u8]) = (b"X/held/", b"X/held0");

/// The place in a key of [`held`].
#[cfg(feature = "e2ee")]
pub(crate) fn held_at(key: &[u8]) -> (ConversationId, Seq) {
    let number = |at: usize| key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
    (ConversationId::new(number(7)), Seq::new(number(15)))
}

/// The certificate of a user's device, by the key that it signs with.
#[cfg(feature = "e2ee")]
pub(crate) fn signer(user: &UserId, id: godwit_e2ee::content::SignerId) -> Vec<u8> {
    [b"X/signer/", user.as_str().as_bytes(), b"/", &id.to_bytes()].concat()
}

/// The key of this epoch is to be put into the vault.
#[cfg(feature = "e2ee")]
pub(crate) fn to_vault(id: ConversationId, epoch: u64) -> Vec<u8> {
    [&b"X/vault/"[..], &id.get().to_be_bytes(), &epoch.to_be_bytes()].concat()
}

/// All of them: the bounds of a scan.
#[cfg(feature = "e2ee")]
pub(crate) const TO_VAULT: (&[u8], &[u8]) = (b"X/vault/", b"X/vault0");

/// The conversation and the epoch in a key of [`to_vault`].
#[cfg(feature = "e2ee")]
pub(crate) fn vaulted(key: &[u8]) -> (ConversationId, u64) {
    let number = |at: usize| key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
    (ConversationId::new(number(8)), number(16))
}
