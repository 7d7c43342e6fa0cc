//! Keys of pushes: written by the lanes that own the devices, and by the pusher, which reads all of them.

use godwit_schemas::ids::{ConversationId, DeviceId, UserId};

use super::{RowKind, StoreKey, parse_counter};

/// Where a device is pushed.
pub fn push(device: DeviceId) -> StoreKey {
    RowKind::Push.key(&[&device.get().to_be_bytes()])
}

/// All of these.
pub fn pushes() -> (Vec<u8>, Vec<u8>) {
    (vec![b'p'], vec![b'p' + 1])
}

/// The device of a key of [`push`].
pub fn parse_push(key: &[u8]) -> Option<DeviceId> {
    Some(DeviceId::new(parse_counter(key.strip_prefix(b"p")?)?))
}

/// How far a device is pushed.
pub fn pushed(device: DeviceId) -> StoreKey {
    RowKind::Pushed.key(&[&device.get().to_be_bytes()])
}

/// Who is pushed at an address.
pub fn push_address(sha256: &[u8; 32]) -> StoreKey {
    RowKind::PushAddress.key(&[sha256])
}

/// What the server shows to push services that users choose.
pub fn push_key() -> StoreKey {
    RowKind::PushKey.key(&[])
}

/// That a user has muted a conversation.
pub fn mute(user: &UserId, id: ConversationId) -> StoreKey {
    RowKind::Mute.key(&[user.as_str().as_bytes(), b"\0", &id.get().to_be_bytes()])
}

/// All of a user's behind this conversation.
pub fn mutes_after(user: &UserId, after: ConversationId) -> (Vec<u8>, Vec<u8>) {
    let from = RowKind::Mute.key(&[user.as_str().as_bytes(), b"\0", &(after.get() + 1).to_be_bytes()]).1;
    (from, RowKind::Mute.key(&[user.as_str().as_bytes(), b"\x01"]).1)
}

/// The conversation of a key of [`mute`].
pub fn parse_mute(key: &[u8]) -> Option<ConversationId> {
    key.last_chunk::<8>().map(|number| ConversationId::new(u64::from_be_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutes_of_users_stand_apart() {
        let [al, alice] = ["al", "alice"].map(|name| UserId::new(name).unwrap());
        let (from, to) = mutes_after(&al, ConversationId::new(7));
        let holds = |user: &UserId, id: u64| {
            let key = mute(user, ConversationId::new(id)).1;
            from <= key && key < to
        };
        assert!(holds(&al, 8) && holds(&al, u64::MAX) && !holds(&al, 7) && !holds(&alice, 8));
        assert_eq!(parse_mute(&mute(&al, ConversationId::new(9)).1), Some(ConversationId::new(9)));
    }
}
