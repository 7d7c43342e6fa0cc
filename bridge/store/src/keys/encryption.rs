//! Keys of what end-to-end encryption needs: who users are to others' devices and what these encrypt to, for the lanes that own
//! the users; the group of a conversation, for the lane that owns that; and users' own vaults.

use godwit_schemas::ids::{ConversationId, DeviceId, UserId};

use super::{RowKind, StoreKey};

/// The identity keys of a user.
pub fn identity(user: &UserId) -> StoreKey {
    RowKind::Identity.key(&[user.as_str().as_bytes()])
}

/// A certificate of a user's device, by its number.
pub fn certificate(user: &UserId, number: u64) -> StoreKey {
    RowKind::Certificate.key(&[user.as_str().as_bytes(), b"\0", &number.to_be_bytes()])
}

/// All of a user's behind this one.
pub fn certificates_after(user: &UserId, after: u64) -> (Vec<u8>, Vec<u8>) {
    numbered_after(RowKind::Certificate, user, &[], after)
}

/// The number that ends a key of [`certificate`], [`key_package`] or [`vault_row`].
pub fn parse_last_number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|number| u64::from_be_bytes(*number))
}

/// What a device is encrypted to with, but for its key packages.
pub fn device_keys(device: DeviceId) -> StoreKey {
    RowKind::DeviceKeys.key(&[&device.get().to_be_bytes()])
}

/// A key package of a device, by its number.
pub fn key_package(device: DeviceId, number: u64) -> StoreKey {
    RowKind::KeyPackage.key(&[&device.get().to_be_bytes(), &number.to_be_bytes()])
}

/// All of a device's.
pub fn key_packages(device: DeviceId) -> (Vec<u8>, Vec<u8>) {
    (key_package(device, 0).1, key_package(DeviceId::new(device.get() + 1), 0).1)
}

/// What a user's device has sealed for a new one.
pub fn link(user: &UserId) -> StoreKey {
    RowKind::Link.key(&[user.as_str().as_bytes()])
}

/// The MLS group of a conversation.
pub fn mls_group(id: ConversationId) -> StoreKey {
    RowKind::MlsGroup.key(&[&id.get().to_be_bytes()])
}

/// The key of a conversation's epoch, as the user has sealed it.
pub fn vault_row(user: &UserId, id: ConversationId, epoch: u64) -> StoreKey {
    let parts = [user.as_str().as_bytes(), b"\0", &id.get().to_be_bytes(), &epoch.to_be_bytes()];
    RowKind::VaultRow.key(&parts)
}

/// All of a user's of a conversation, behind this epoch.
pub fn vault_after(user: &UserId, id: ConversationId, after: u64) -> (Vec<u8>, Vec<u8>) {
    numbered_after(RowKind::VaultRow, user, &id.get().to_be_bytes(), after)
}

/// All of a user's.
pub fn vault(user: &UserId) -> (Vec<u8>, Vec<u8>) {
    let bound = |end: u8| RowKind::VaultRow.key(&[user.as_str().as_bytes(), &[end]]).1;
    (bound(0), bound(1))
}

/// How many of these there are.
pub fn vault_count(user: &UserId) -> StoreKey {
    RowKind::VaultCount.key(&[user.as_str().as_bytes()])
}

/// Rows of a user that go on with `of` and a number above this one.
fn numbered_after(kind: RowKind, user: &UserId, of: &[u8], after: u64) -> (Vec<u8>, Vec<u8>) {
    let row = |number: u64| kind.key(&[user.as_str().as_bytes(), b"\0", of, &number.to_be_bytes()]).1;
    (super::behind(&row(after)), super::behind(&row(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_users_stand_apart() {
        let [al, alice] = ["al", "alice"].map(|name| UserId::new(name).unwrap());
        let (id, other) = (ConversationId::new(7), ConversationId::new(8));
        let holds = |(from, to): &(Vec<u8>, Vec<u8>), key: StoreKey| *from <= key.1 && key.1 < *to;
        let range = certificates_after(&al, 3);
        assert!(holds(&range, certificate(&al, 4)) && holds(&range, certificate(&al, u64::MAX)));
        assert!(!holds(&range, certificate(&al, 3)) && !holds(&range, certificate(&alice, 4)));
        let range = vault_after(&al, id, 3);
        assert!(holds(&range, vault_row(&al, id, 4)) && !holds(&range, vault_row(&al, id, 3)));
        assert!(!holds(&range, vault_row(&al, other, 4)) && !holds(&range, vault_row(&alice, id, 4)));
        let range = vault(&al);
        assert!(holds(&range, vault_row(&al, other, 0)) && !holds(&range, vault_row(&alice, id, 0)));
        assert!(!holds(&range, vault_count(&al)));
        let range = key_packages(DeviceId::new(255));
        assert!(holds(&range, key_package(DeviceId::new(255), u64::MAX)));
        assert!(!holds(&range, key_package(DeviceId::new(256), 0)) && !holds(&range, device_keys(DeviceId::new(255))));
    }

    #[test]
    fn numbers_read_back() {
        let alice = UserId::new("alice").unwrap();
        assert_eq!(parse_last_number(&certificate(&alice, 9).1), Some(9));
        assert_eq!(parse_last_number(&key_package(DeviceId::new(5), 9).1), Some(9));
        assert_eq!(parse_last_number(&vault_row(&alice, ConversationId::new(5), 9).1), Some(9));
    }
}
