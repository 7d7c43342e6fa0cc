//! Keys of profiles, contacts and when users were last seen, for the lanes that own those users. A contact has two rows: of who
//! has it, in the user's lane, and of whom it is, in the contact's lane, which tells its watchers that it is online.

use godwit_schemas::ids::UserId;

use super::{RowKind, StoreKey};

/// A user's profile.
pub fn profile(user: &UserId) -> StoreKey {
    RowKind::Profile.key(&[user.as_str().as_bytes()])
}

/// When a user was last seen.
pub fn last_seen(user: &UserId) -> StoreKey {
    RowKind::LastSeen.key(&[user.as_str().as_bytes()])
}

/// How many contacts a user has.
pub fn contact_count(user: &UserId) -> StoreKey {
    RowKind::ContactCount.key(&[user.as_str().as_bytes()])
}

/// A contact of a user.
pub fn contact(user: &UserId, contact: &UserId) -> StoreKey {
    RowKind::Contact.key(&[user.as_str().as_bytes(), b"\0", contact.as_str().as_bytes()])
}

/// Contacts of a user, after this one.
pub fn contacts_after(user: &UserId, after: Option<&UserId>) -> (Vec<u8>, Vec<u8>) {
    pairs_after(RowKind::Contact, user, after)
}

/// A user that has this contact.
pub fn watcher(contact: &UserId, user: &UserId) -> StoreKey {
    RowKind::Watcher.key(&[contact.as_str().as_bytes(), b"\0", user.as_str().as_bytes()])
}

/// Whether anybody has this contact, or had it.
pub fn watched(contact: &UserId) -> StoreKey {
    RowKind::Watched.key(&[contact.as_str().as_bytes()])
}

/// Users that have this contact, after this one.
pub fn watchers_after(contact: &UserId, after: Option<&UserId>) -> (Vec<u8>, Vec<u8>) {
    pairs_after(RowKind::Watcher, contact, after)
}

fn pairs_after(kind: RowKind, first: &UserId, after: Option<&UserId>) -> (Vec<u8>, Vec<u8>) {
    let first = first.as_str().as_bytes();
    let (_, from) = match after {
        None => kind.key(&[first, b"\0"]),
        Some(after) => kind.key(&[first, b"\0", after.as_str().as_bytes(), b"\0"]),
    };
    (from, kind.key(&[first, b"\x01"]).1)
}

/// The second user of a key of [`contact`] or [`watcher`].
pub fn parse_second_user(key: &[u8]) -> Option<UserId> {
    let zero = key.iter().position(|byte| *byte == 0)?;
    UserId::new(std::str::from_utf8(&key[zero + 1..]).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_read_back_and_stand_apart_from_those_of_others() {
        let [al, alice, bob] = ["al", "alice", "bob"].map(|name| UserId::new(name).unwrap());
        assert_eq!(parse_second_user(&contact(&alice, &bob).1), Some(bob.clone()));
        assert_eq!(parse_second_user(&contact_count(&alice).1), None);
        let holds = |(from, to): (Vec<u8>, Vec<u8>), key: StoreKey| from <= key.1 && key.1 < to;
        assert!(holds(contacts_after(&al, None), contact(&al, &bob)));
        assert!(!holds(contacts_after(&al, None), contact(&alice, &bob)));
        assert!(!holds(contacts_after(&al, None), contact_count(&al)));
        assert!(!holds(contacts_after(&al, Some(&bob)), contact(&al, &bob)));
        assert!(holds(contacts_after(&al, Some(&al)), contact(&al, &alice)));
        assert!(holds(watchers_after(&al, None), watcher(&al, &bob)));
        assert!(!holds(watchers_after(&al, None), watcher(&alice, &bob)));
        assert!(!holds(watchers_after(&al, None), watched(&al)));
    }
}
