//! Who owns what: users and conversations fall into [`PARTITIONS`], and a lane owns whole partitions.
//!
//! A conversation's partition is part of its id, so the number of partitions can never change; the number of lanes
//! can, from one start to the next.

use crate::ids::{ConversationId, DeviceId, UserId};

/// Number of partitions, for ever.
pub const PARTITIONS: u64 = 64;

/// A share of all users and conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u8);

impl Partition {
    /// Where this user's sessions are kept.
    pub fn of_user(user: &UserId) -> Self {
        Self::of_hash(fnv1a(&[user.as_str()]))
    }

    /// Where the direct conversation of these two is kept; the order of the two does not matter.
    pub fn of_pair(a: &UserId, b: &UserId) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        Self::of_hash(fnv1a(&[low.as_str(), "/", high.as_str()]))
    }

    /// Where this conversation is kept.
    pub fn of_conversation(id: ConversationId) -> Self {
        Self((id.get() % PARTITIONS) as u8)
    }

    /// Where this device's session is: its user's partition, which its number carries.
    pub fn of_device(id: DeviceId) -> Self {
        Self((id.get() % PARTITIONS) as u8)
    }

    /// A partition chosen by any number.
    pub fn of_hash(hash: u64) -> Self {
        Self((hash % PARTITIONS) as u8)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self::of_hash)
    }

    /// 0 to [`PARTITIONS`] - 1.
    pub fn get(self) -> u8 {
        self.0
    }

    /// Which of `lanes` lanes (at least 1) owns it.
    pub fn lane(self, lanes: u32) -> u32 {
        u32::from(self.0) % lanes
    }
}

/// FNV-1a, 64 bits: stable for ever, since partitions are part of what is stored.
fn fnv1a(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_do_not_depend_on_direction() {
        let (a, b) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
        assert_eq!(Partition::of_pair(&a, &b), Partition::of_pair(&b, &a));
    }

    #[test]
    fn hashes_never_change() {
        assert_eq!(fnv1a(&[""]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(&["a"]), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(&["foo", "bar"]), 0x8594_4171_f739_67e8);
    }
}
