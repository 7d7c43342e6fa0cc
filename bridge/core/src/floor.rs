//! Where numbers go on after a store went back to an earlier state of itself. What it had given since then is known to
//! clients, and means something else there: a conversation with other members, a message that was never stored here. So no
//! number is given twice, over any number of restores, whatever a backup knows of those before it.
//!
//! A store alone cannot know what it gave in a history that is no more. But it knows the time: a floor is the time of the
//! restore, in units so short that no server gives as many numbers in any time. What was given before is below it.

use godwit_schemas::ids::Order;
use godwit_schemas::partition::Partitions;

/// Where numbers go on. The default: from the beginning; the store never went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Floor(u64);

/// Milliseconds from 1970 to 2026, when there was no store yet.
const BEGINNING_MS: u64 = 1_767_225_600_000;
/// A conversation orders fewer messages in a millisecond. All partitions together open fewer conversations, and get fewer
/// devices, than this times [`COUNTED`].
const PER_MS: u64 = 64;
/// Partitions of a store of which each gives as many numbers as a floor is high. Where there are more, each gives fewer.
const COUNTED: u64 = 64;
/// If the clock is behind: more than is given between a backup and its restoration.
const LEAP: u64 = 1 << 32;
/// In the time in which a partition gives one number the store gives fewer orders.
const ORDERS: u64 = 256;

impl Floor {
    /// After the store went back, at this time (milliseconds since 1970), with this `floor` until now.
    ///
    /// Numbers stay below 2^53, as JSON has them, until 2095: a conversation's is its partition's counter times the number of
    /// partitions, which comes to 64 times the floor.
    pub fn after(self, now_ms: u64) -> Self {
        let by_time = now_ms.saturating_sub(BEGINNING_MS).saturating_mul(PER_MS);
        // A clock that is wrong by centuries must not use up what there is.
        let by_time = if by_time < 1 << 47 { by_time } else { 0 };
        let leap = self.0.saturating_add(LEAP).min(u64::MAX >> 16);
        Self(by_time.max(leap))
    }

    /// As stored.
    pub fn new(stored: u64) -> Self {
        Self(stored)
    }

    /// About the second since 1970 at which the store went back; 0: it never did.
    pub fn at_s(self) -> u32 {
        let since_s = self.0 / (PER_MS * 1_000);
        if self.0 == 0 { 0 } else { u32::try_from(BEGINNING_MS / 1_000 + since_s).unwrap_or(u32::MAX) }
    }

    /// To store.
    pub fn get(self) -> u64 {
        self.0
    }

    /// A conversation's last message is at least this one.
    pub fn raise(self, last: u64) -> u64 {
        last.max(self.0)
    }

    /// Where the conversations and devices of each of so many partitions go on.
    pub fn in_partition(self, partitions: Partitions) -> u64 {
        (u128::from(self.0) * u128::from(COUNTED) / u128::from(partitions.get())) as u64
    }

    /// The store's last order is at least this one.
    pub fn raise_order(self, last: Order) -> Order {
        Order::new(last.get().max(self.0.saturating_mul(ORDERS).min(1 << 61)))
    }

    /// A member that joins is at least this one. A conversation gives fewer ordinals than one in a second, seen from one
    /// restoration to the next.
    pub fn raise_ordinal(self, next: u32) -> u32 {
        next.max(u32::try_from(self.0 / (PER_MS * 1_000)).unwrap_or(u32::MAX / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = BEGINNING_MS + 333 * 24 * 3_600_000;

    #[test]
    fn every_restoration_begins_above_all_earlier_numbers() {
        let first = Floor::default().after(NOW_MS);
        assert!(first.raise(1_000_000) > 1_000_000);
        // The same backup, which knows nothing of the first restoration, a second later.
        let second = Floor::default().after(NOW_MS + 1_000);
        assert!(second.get() - first.get() >= 64_000);
        // A store that went back, knows it, and has a clock that stands.
        assert!(first.after(NOW_MS).get() > first.get() + (1 << 31));
        assert!(first.after(0).get() > first.get() + (1 << 31));
    }

    #[test]
    fn numbers_fit_where_they_are_told() {
        let in_2094 = Floor::default().after(BEGINNING_MS + 68 * 366 * 24 * 3_600_000);
        for partitions in [Partitions::UNSAID, Partitions::NEW] {
            let counter = in_2094.in_partition(partitions) + 1_000_000;
            let highest = partitions.all().map(|partition| partitions.number(partition, counter)).max();
            assert!(highest < Some(1 << 53), "a conversation's number in JSON");
            let later = in_2094.after(BEGINNING_MS + 68 * 366 * 24 * 3_600_000 + 1_000).in_partition(partitions);
            assert!(later > in_2094.in_partition(partitions) + 1_000, "a second later it goes on above");
        }
        assert!(in_2094.raise_order(Order::default()).get() < 1 << 61, "answers begin at 2^62");
        assert!((2_000_000_000..u32::MAX - 1_000_000_000).contains(&in_2094.raise_ordinal(0)));
        assert_eq!(Floor::default().after(u64::MAX), Floor(LEAP), "a clock that is wrong");
    }

    #[test]
    fn a_store_that_never_went_back_goes_on_as_it_did() {
        let none = Floor::default();
        assert_eq!((none.raise(7), none.raise_order(Order::new(8)), none.raise_ordinal(9)), (7, Order::new(8), 9));
    }
}
