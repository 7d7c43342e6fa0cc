//! What two people compare to know that nobody stands between them: a number, or a code that one scans of the other.

use godwit_schemas::ids::UserId;

use crate::crypto::{self, HASH_BYTES, KEY_BYTES};
use crate::wire::put_opaque;

const VERSION: u8 = 1;
/// Who looks for keys that make a given number has to do so much work for each that it tries.
const ITERATIONS: usize = 5_200;
const GROUPS: usize = 12;
/// Of each group of five digits.
const GROUP_BYTES: usize = 5;

/// A user with the identity key that it has as another knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party<'a> {
    /// Who.
    pub user: &'a UserId,
    /// The key.
    pub identity_key: &'a [u8; KEY_BYTES],
}

/// What one of the two shows to be scanned by the other: the same for both, if they know the same keys.
#[must_use]
pub fn scannable(one: Party<'_>, other: Party<'_>) -> Vec<u8> {
    let mut out = vec![VERSION];
    for party in if one <= other { [one, other] } else { [other, one] } {
        put_opaque(&mut out, party.user.as_str().as_bytes());
        out.extend_from_slice(party.identity_key);
    }
    out
}

/// The safety number of two users: 60 digits, the same for both, if they know the same keys.
#[must_use]
pub fn safety_number(one: Party<'_>, other: Party<'_>) -> String {
    let pair = scannable(one, other);
    let mut hash = [0; HASH_BYTES];
    for _ in 0..ITERATIONS {
        hash = crypto::sha256(&[b"Godwit 1.0 safety number", &hash, &pair]);
    }
    let mut bytes = [0; GROUPS * GROUP_BYTES];
    crypto::hkdf_expand(&hash, b"digits", &mut bytes).expect("60 bytes are fewer than 8,160");
    let groups = bytes.chunks_exact(GROUP_BYTES).map(|group| {
        let number = group.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        format!("{:05}", number % 100_000)
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_see_the_same_number_unless_a_key_is_another() {
        let (ann, ben) = (UserId::new("ann").unwrap(), UserId::new("ben").unwrap());
        let party = |user, identity_key| Party { user, identity_key };
        let number = safety_number(party(&ann, &[1; 32]), party(&ben, &[2; 32]));
        assert_eq!(number.len(), 60);
        assert!(number.bytes().all(|digit| digit.is_ascii_digit()));
        assert_eq!(safety_number(party(&ben, &[2; 32]), party(&ann, &[1; 32])), number);
        assert_ne!(safety_number(party(&ann, &[1; 32]), party(&ben, &[3; 32])), number);
        assert_ne!(safety_number(party(&ben, &[1; 32]), party(&ann, &[2; 32])), number);
        assert_ne!(
            scannable(party(&ann, &[1; 32]), party(&ben, &[2; 32])),
            scannable(party(&ann, &[2; 32]), party(&ben, &[1; 32]))
        );
    }
}
