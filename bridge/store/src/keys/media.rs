//! Keys of the media table: files, what refers to them, and when to look at them again. The media service writes most of them,
//! and a lane writes references in the commit of their message. They keep the promise of `bridge/src/media`: whatever is in the
//! object store has a row here that will have it deleted.

use godwit_core::keys::MessageKey;
use godwit_schemas::ids::{ConversationId, Seq, UserId};
use godwit_schemas::media::MediaId;

use super::{RowKind, StoreKey};

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;
/// Bytes of a media id.
const ID_BYTES: usize = 16;

/// What refers to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A message.
    Message(MessageKey),
    /// A user's profile.
    Profile(UserId),
}

/// A file.
pub fn media(id: MediaId) -> StoreKey {
    RowKind::Media.key(&[id.as_bytes()])
}

/// Media of this content, in this object.
pub fn content(sha256: &[u8; HASH_BYTES], object: MediaId, id: MediaId) -> StoreKey {
    RowKind::MediaContent.key(&[sha256, object.as_bytes(), id.as_bytes()])
}

/// All media of this content.
pub fn contents(sha256: &[u8; HASH_BYTES]) -> (Vec<u8>, Vec<u8>) {
    range(RowKind::MediaContent.key(&[sha256]))
}

/// All media of this content that share an object.
pub fn contents_in(sha256: &[u8; HASH_BYTES], object: MediaId) -> (Vec<u8>, Vec<u8>) {
    range(RowKind::MediaContent.key(&[sha256, object.as_bytes()]))
}

/// A user's unfinished upload of a content.
pub fn unfinished(user: &UserId, sha256: &[u8; HASH_BYTES]) -> StoreKey {
    RowKind::MediaUnfinished.key(&[user.as_str().as_bytes(), b"\0", sha256])
}

/// All unfinished uploads of a user.
pub fn unfinished_of(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    range(RowKind::MediaUnfinished.key(&[user.as_str().as_bytes(), b"\0"]))
}

/// The value of [`unfinished`].
pub fn parse_id(value: &[u8]) -> Option<MediaId> {
    value.try_into().ok().map(MediaId::new)
}

/// The media at the end of a key: of [`content`], [`reference()`], [`due`] and [`garbage`].
pub fn parse_last(key: &[u8]) -> Option<MediaId> {
    key.last_chunk::<ID_BYTES>().map(|id| MediaId::new(*id))
}

/// A message's reference to a file.
pub fn reference(place: MessageKey, id: MediaId) -> StoreKey {
    let (conversation, sequence) = (place.0.get().to_be_bytes(), place.1.get().to_be_bytes());
    RowKind::MediaReference.key(&[&conversation, &sequence, id.as_bytes()])
}

/// All references of a message.
pub fn references(place: MessageKey) -> (Vec<u8>, Vec<u8>) {
    let (conversation, sequence) = (place.0.get().to_be_bytes(), place.1.get().to_be_bytes());
    range(RowKind::MediaReference.key(&[&conversation, &sequence]))
}

/// All references of a conversation's messages.
pub fn references_in(conversation: ConversationId) -> (Vec<u8>, Vec<u8>) {
    range(RowKind::MediaReference.key(&[&conversation.get().to_be_bytes()]))
}

/// The message of a key of [`reference()`].
pub fn parse_referring(key: &[u8]) -> Option<MessageKey> {
    let (conversation, rest) = key.get(1..)?.split_first_chunk::<8>()?;
    let (sequence, _) = rest.split_first_chunk::<8>()?;
    Some((ConversationId::new(u64::from_be_bytes(*conversation)), Seq::new(u64::from_be_bytes(*sequence))))
}

/// Where a file is referred to.
pub fn holder(id: MediaId, holder: &Holder) -> StoreKey {
    match holder {
        Holder::Message((conversation, sequence)) => {
            let place = [conversation.get().to_be_bytes(), sequence.get().to_be_bytes()].concat();
            RowKind::MediaHolder.key(&[id.as_bytes(), b"m", &place])
        }
        Holder::Profile(user) => RowKind::MediaHolder.key(&[id.as_bytes(), b"u", user.as_str().as_bytes()]),
    }
}

/// All that refers to a file.
pub fn holders(id: MediaId) -> (Vec<u8>, Vec<u8>) {
    range(RowKind::MediaHolder.key(&[id.as_bytes()]))
}

/// The messages of a conversation that refer to a file.
pub fn holders_in(id: MediaId, conversation: ConversationId) -> (Vec<u8>, Vec<u8>) {
    range(RowKind::MediaHolder.key(&[id.as_bytes(), b"m", &conversation.get().to_be_bytes()]))
}

/// What the key of [`holder`] names.
pub fn parse_holder(key: &[u8]) -> Option<Holder> {
    let (tag, rest) = key.get(1 + ID_BYTES..)?.split_first()?;
    match tag {
        b'm' => {
            let (conversation, sequence) = rest.split_first_chunk::<8>()?;
            let sequence = sequence.try_into().ok()?;
            let (conversation, sequence) = (u64::from_be_bytes(*conversation), u64::from_be_bytes(sequence));
            Some(Holder::Message((ConversationId::new(conversation), Seq::new(sequence))))
        }
        b'u' => UserId::new(std::str::from_utf8(rest).ok()?).ok().map(Holder::Profile),
        _ => None,
    }
}

/// Value of a row of [`due`] that was written with a reference: the time in which a first one may come is over.
pub const REFERENCE_ENDED: &[u8] = &[1];

/// When to look whether a file is still needed.
pub fn due(at_s: u32, id: MediaId) -> StoreKey {
    RowKind::MediaDue.key(&[&at_s.to_be_bytes(), id.as_bytes()])
}

/// What is to be looked at by now.
pub fn due_by(now_s: u32) -> (Vec<u8>, Vec<u8>) {
    (vec![b'g'], RowKind::MediaDue.key(&[&now_s.saturating_add(1).to_be_bytes()]).1)
}

/// When to delete an object.
pub fn garbage(at_s: u32, object: MediaId) -> StoreKey {
    RowKind::MediaGarbage.key(&[&at_s.to_be_bytes(), object.as_bytes()])
}

/// What is to be deleted by now.
pub fn garbage_by(now_s: u32) -> (Vec<u8>, Vec<u8>) {
    (vec![b'x'], RowKind::MediaGarbage.key(&[&now_s.saturating_add(1).to_be_bytes()]).1)
}

/// What a user has uploaded.
pub fn quota(user: &UserId) -> StoreKey {
    RowKind::MediaQuota.key(&[user.as_str().as_bytes()])
}

/// All keys that begin like this one.
fn range((_, from): StoreKey) -> (Vec<u8>, Vec<u8>) {
    let mut to = from.clone();
    // Adds one to the prefix as a number; a prefix of nothing but 0xFF cannot be, since tags are letters.
    while to.last() == Some(&u8::MAX) {
        to.pop();
    }
    if let Some(last) = to.last_mut() {
        *last += 1;
    }
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MediaId = MediaId::new([255; 16]);

    #[test]
    fn keys_read_back() {
        let place = (ConversationId::new(300), Seq::new(5));
        for of in [Holder::Message(place), Holder::Profile(UserId::new("alice").unwrap())] {
            assert_eq!(parse_holder(&holder(ID, &of).1), Some(of));
        }
        assert_eq!(parse_referring(&reference(place, ID).1), Some(place));
        for key in [content(&[1; 32], MediaId::new([0; 16]), ID), reference(place, ID), due(9, ID), garbage(9, ID)] {
            assert_eq!(parse_last(&key.1), Some(ID));
        }
    }

    #[test]
    fn ranges_hold_their_own_and_nothing_else() {
        let holds = |(from, to): (Vec<u8>, Vec<u8>), key: StoreKey| from <= key.1 && key.1 < to;
        let message = |conversation, sequence| Holder::Message((ConversationId::new(conversation), Seq::new(sequence)));
        assert!(holds(holders(ID), holder(ID, &message(u64::MAX, u64::MAX))));
        assert!(!holds(holders(MediaId::new([254; 16])), holder(ID, &message(1, 1))));
        assert!(holds(holders_in(ID, ConversationId::new(255)), holder(ID, &message(255, u64::MAX))));
        assert!(!holds(holders_in(ID, ConversationId::new(255)), holder(ID, &message(256, 0))));
        assert!(holds(due_by(9), due(9, ID)) && !holds(due_by(9), due(10, MediaId::new([0; 16]))));
        assert!(holds(contents(&[255; 32]), content(&[255; 32], ID, ID)));
        assert!(!holds(contents_in(&[7; 32], MediaId::new([1; 16])), content(&[7; 32], MediaId::new([2; 16]), ID)));
    }
}
