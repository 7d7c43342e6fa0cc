//! Who owns what: users and conversations fall into partitions, and a lane owns whole partitions.
//!
//! A partition is part of the number of every conversation and device in it. So the number of partitions is a property of the
//! store, drawn at its first start, and never changes ([`Partitions`]); the number of lanes can, from one start to the next.

use crate::ids::{ConversationId, DeviceId, UserId};

/// Most lanes of a bridge: the smallest store has as many partitions.
pub const LANES_MAX: u32 = 64;

/// How many partitions a store has, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions(u16);

/// A share of all users and conversations of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u16);

impl Partitions {
    /// Of a store that is made now.
    pub const NEW: Self = Self(1_024);
    /// Of a store that does not say: it was made when all had as many.
    pub const UNSAID: Self = Self(64);
    /// The most that a store may have.
    pub const MAX: u32 = 4_096;

    /// As it is stored and told. 0: not said.
    ///
    /// `None`: there are more than [`Self::MAX`].
    pub fn new(count: u32) -> Option<Self> {
        match count {
            0 => Some(Self::UNSAID),
            1..=Self::MAX => u16::try_from(count).ok().map(Self),
            _ => None,
        }
    }

    /// How many there are.
    pub fn get(self) -> u32 {
        self.0.into()
    }

    /// All of them.
    pub fn all(self) -> impl Iterator<Item = Partition> {
        (0..self.0).map(Partition)
    }

    /// Where this user's sessions are kept.
    pub fn of_user(self, user: &UserId) -> Partition {
        self.of_number(fnv1a(&[user.as_str()]))
    }

    /// Where the direct conversation of these two is kept; the order of the two does not matter.
    pub fn of_pair(self, a: &UserId, b: &UserId) -> Partition {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        self.of_number(fnv1a(&[low.as_str(), "/", high.as_str()]))
    }

    /// Where this conversation is kept.
    pub fn of_conversation(self, id: ConversationId) -> Partition {
        self.of_number(id.get())
    }

    /// Where this device's session is: its user's partition, which its number carries.
    pub fn of_device(self, id: DeviceId) -> Partition {
        self.of_number(id.get())
    }

    /// A partition chosen by any number.
    pub fn of_number(self, number: u64) -> Partition {
        Partition((number % u64::from(self.0)) as u16)
    }

    /// The number of the conversation or device that is the partition's `counter`-th.
    pub fn number(self, partition: Partition, counter: u64) -> u64 {
        counter * u64::from(self.0) + u64::from(partition.0)
    }

    /// Which in its partition has this number: the other way round.
    pub fn counter(self, number: u64) -> u64 {
        number / u64::from(self.0)
    }
}

impl Default for Partitions {
    fn default() -> Self {
        Self::NEW
    }
}

impl Partition {
    /// Wraps a number that came from the store.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// 0 and up, below the number of partitions.
    pub fn get(self) -> u16 {
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
        assert_eq!(Partitions::NEW.of_pair(&a, &b), Partitions::NEW.of_pair(&b, &a));
    }

    #[test]
    fn hashes_never_change() {
        assert_eq!(fnv1a(&[""]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(&["a"]), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(&["foo", "bar"]), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_number_carries_its_partition_and_its_place_there() {
        for count in [1, 4, 64, 1_024, Partitions::MAX] {
            let partitions = Partitions::new(count).unwrap();
            for partition in partitions.all().step_by(13) {
                let number = partitions.number(partition, 77);
                assert_eq!((partitions.of_number(number), partitions.counter(number)), (partition, 77), "{count}");
            }
        }
    }

    #[test]
    fn a_store_that_says_nothing_has_as_many_as_all_had() {
        assert_eq!(Partitions::new(0), Some(Partitions::UNSAID));
        assert_eq!(Partitions::new(Partitions::MAX + 1), None);
        let alice = UserId::new("alice").unwrap();
        assert_eq!((Partitions::UNSAID.of_user(&alice).get(), Partitions::NEW.of_user(&alice).get()), (7, 263));
    }
}
