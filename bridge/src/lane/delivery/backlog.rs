//! How much waits in each inbox of this lane's devices. An inbox that has `limits.inbox_entries`, or in them
//! `limits.inbox_bytes`, takes no more until it is a quarter below both: its device is left out, and where nobody else
//! would get it, it is refused (`godwit_core::decide`). From half of that on it takes nothing more in conversations that its
//! user has not accepted, until it is a quarter below the half. Keeps P2 (nothing is dropped from an inbox, so something must
//! not get in) and the disk bounded.
//!
//! Bytes are those of bodies and changes. A body that is kept apart counts in each inbox that waits for it: what counts is
//! what a device has still to fetch.
//!
//! A count is kept in memory for as long as something waits, and written when it has moved by a hundredth of a limit:
//! after a crash it is off by less than that and what the last commit moved. It is set right whenever a connected device
//! has caught up and all that it acknowledged is on disk, and in full and half full inboxes of devices that are not connected
//! by counting them piece by piece, since what expires leaves without a word.
//! The lanes that decide are told how full an inbox becomes; what they decide before they hear of it
//! goes in: an inbox may get somewhat longer than the limit.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;
use godwit_core::usage::{Fullness, InboxUsage};
use godwit_schemas::ids::{DeviceId, Order};

/// An inbox of a device that has been away for long takes the whole, divided by this.
const IDLE_SHARE: u32 = 10;

/// How much waits in each inbox, how full that makes it, and what of that is still to be told and written.
pub(in crate::lane) struct Backlogs {
    limits: BacklogLimits,
    devices: HashMap<DeviceId, Backlog, FixedState>,
    /// Inboxes that do not take everything.
    filled: BTreeMap<DeviceId, Fullness>,
    /// How many of these are full.
    full: usize,
    /// Inboxes that are so full now: not told yet.
    turned: Vec<(DeviceId, Fullness)>,
    /// Of these, inboxes that were not full when the bridge started.
    pub(super) newly_full: Vec<DeviceId>,
    /// Devices that have much in their inbox, and which of them have been away for long.
    heavy: BTreeSet<DeviceId>,
    idle: BTreeSet<DeviceId>,
    unwritten: BTreeSet<DeviceId>,
    total: BacklogTotal,
}

/// How much waits in all inboxes together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::lane) struct BacklogTotal {
    pub(in crate::lane) entries: u64,
    pub(in crate::lane) bytes: u64,
}

impl BacklogTotal {
    /// An inbox has changed.
    fn change(&mut self, before: InboxUsage, after: InboxUsage) {
        self.entries = (self.entries + u64::from(after.entries)).saturating_sub(before.entries.into());
        self.bytes = (self.bytes + after.bytes).saturating_sub(before.bytes);
    }
}

/// What an inbox takes, and steps of a hundredth.
struct BacklogLimits {
    most: InboxUsage,
    step: InboxUsage,
}

#[derive(Default)]
struct Backlog {
    load: InboxUsage,
    /// Entries up to here are counted.
    counted: Order,
    /// The count on disk.
    written: InboxUsage,
}

impl BacklogLimits {
    /// Without bytes: only entries are limited.
    pub(in crate::lane) fn new(InboxUsage { entries, bytes }: InboxUsage) -> Self {
        let bytes = if bytes == 0 { u64::MAX } else { bytes };
        let step = InboxUsage { entries: (entries / 100).max(1), bytes: (bytes / 100).max(1) };
        Self { most: InboxUsage { entries, bytes }, step }
    }

    /// How full an inbox is that was so full before, of a device that is `idle` or not.
    fn fullness(&self, load: InboxUsage, before: Fullness, idle: bool) -> Fullness {
        let share = if idle { IDLE_SHARE } else { 1 };
        let (entries, bytes) = self.share(share);
        let is = |entries: u32, bytes: u64, was| match was {
            true => load.entries > entries - entries / 4 || load.bytes > bytes - bytes / 4,
            false => load.entries >= entries || load.bytes >= bytes,
        };
        if is(entries, bytes, before == Fullness::Full) {
            Fullness::Full
        } else if is(entries / 2, bytes / 2, before >= Fullness::Half) {
            Fullness::Half
        } else {
            Fullness::Free
        }
    }

    /// Whether the inbox would be worth a look if its device were idle.
    fn is_heavy(&self, load: InboxUsage) -> bool {
        let (entries, bytes) = self.share(2 * IDLE_SHARE);
        load.entries >= entries || load.bytes >= bytes
    }

    /// What an inbox takes, divided by this.
    pub(in crate::lane) fn share(&self, divisor: u32) -> (u32, u64) {
        ((self.most.entries / divisor).max(1), (self.most.bytes / u64::from(divisor)).max(1))
    }

    /// Whether two counts are so far apart that it is worth a row.
    fn differ(&self, one: InboxUsage, other: InboxUsage) -> bool {
        one.entries.abs_diff(other.entries) >= self.step.entries || one.bytes.abs_diff(other.bytes) >= self.step.bytes
    }
}

impl Backlogs {
    /// With what is on disk. `most`: what an inbox takes; no bytes: however many.
    pub(in crate::lane) fn new(
        most: InboxUsage,
        seed: u64,
        stored: impl IntoIterator<Item = (DeviceId, InboxUsage)>,
    ) -> Self {
        let mut backlogs = Self {
            limits: BacklogLimits::new(most),
            devices: HashMap::with_hasher(FixedState::with_seed(seed)),
            filled: BTreeMap::new(),
            full: 0,
            turned: Vec::new(),
            newly_full: Vec::new(),
            heavy: BTreeSet::new(),
            idle: BTreeSet::new(),
            unwritten: BTreeSet::new(),
            total: BacklogTotal::default(),
        };
        for (device, load) in stored {
            backlogs.total.change(InboxUsage::default(), load);
            backlogs.devices.insert(device, Backlog { load, written: load, ..Backlog::default() });
            backlogs.look(device);
        }
        backlogs.newly_full.clear();
        backlogs
    }

    /// A new entry with so much in it is on disk.
    pub(in crate::lane) fn added(&mut self, device: DeviceId, order: Order, bytes: u32) {
        let backlog = self.devices.entry(device).or_default();
        if order > backlog.counted {
            backlog.counted = order;
            let before = backlog.load;
            backlog.load = before + InboxUsage::of(bytes);
            self.total.change(before, backlog.load);
            self.look(device);
        }
    }

    /// So much is gone.
    pub(in crate::lane) fn removed(&mut self, device: DeviceId, load: InboxUsage) {
        if let Some(backlog) = self.devices.get_mut(&device) {
            let before = backlog.load;
            backlog.load = before - load;
            self.total.change(before, backlog.load);
            self.look(device);
        }
    }

    /// There is so much up to this order, and nothing after it that was not [`Self::added`].
    pub(in crate::lane) fn measured(&mut self, device: DeviceId, load: InboxUsage, up_to: Order) {
        let backlog = self.devices.entry(device).or_default();
        self.total.change(std::mem::replace(&mut backlog.load, load), load);
        backlog.counted = backlog.counted.max(up_to);
        self.look(device);
    }

    /// How many entries wait in an inbox, as far as is known.
    pub(in crate::lane) fn entries(&self, device: DeviceId) -> u32 {
        self.devices.get(&device).map_or(0, |backlog| backlog.load.entries)
    }

    /// The device is no more.
    pub(in crate::lane) fn forget(&mut self, device: DeviceId) {
        if let Some(backlog) = self.devices.remove(&device) {
            self.total.change(backlog.load, InboxUsage::default());
        }
        self.unwritten.remove(&device);
        self.heavy.remove(&device);
        self.idle.remove(&device);
        if self.set_filled(device, Fullness::Free) != Fullness::Free {
            self.turned.push((device, Fullness::Free));
        }
    }

    /// How much waits in all inboxes, and in how many.
    pub(in crate::lane) fn total(&self) -> (BacklogTotal, usize) {
        (self.total, self.devices.len())
    }

    /// How many inboxes take nothing more, and how many no more from strangers.
    pub(in crate::lane) fn filled(&self) -> (usize, usize) {
        (self.full, self.filled.len() - self.full)
    }

    /// Notes how full an inbox is.
    fn set_filled(&mut self, device: DeviceId, fullness: Fullness) -> Fullness {
        let before = match fullness {
            Fullness::Free => self.filled.remove(&device),
            _ => self.filled.insert(device, fullness),
        };
        self.full += usize::from(fullness == Fullness::Full);
        self.full -= usize::from(before == Some(Fullness::Full));
        before.unwrap_or_default()
    }

    /// The device after this one that has much in its inbox, if there is one.
    pub(in crate::lane) fn next_heavy(&self, after: DeviceId) -> Option<DeviceId> {
        self.heavy.range(DeviceId::new(after.get() + 1)..).next().copied()
    }

    /// The device has been away for long, or is there again.
    pub(in crate::lane) fn set_idle(&mut self, device: DeviceId, idle: bool) {
        let changed =
            if idle { self.heavy.contains(&device) && self.idle.insert(device) } else { self.idle.remove(&device) };
        if changed {
            self.look(device);
        }
    }

    /// The full or half full inbox after this device's, if there is one.
    pub(in crate::lane) fn next_filled(&self, after: DeviceId) -> Option<DeviceId> {
        self.filled.range(DeviceId::new(after.get() + 1)..).next().map(|(device, _)| *device)
    }

    /// Whether the device's inbox takes nothing more.
    pub(in crate::lane) fn is_full(&self, device: DeviceId) -> bool {
        self.filled.get(&device) == Some(&Fullness::Full)
    }

    /// What the lanes are to be told.
    pub(in crate::lane) fn take_turned(&mut self) -> Vec<(DeviceId, Fullness)> {
        std::mem::take(&mut self.turned)
    }

    pub(in crate::lane) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Counts to write; `None`: not worth a row any more.
    pub(in crate::lane) fn take_unwritten(&mut self) -> Vec<(DeviceId, Option<InboxUsage>)> {
        let mut rows = Vec::with_capacity(self.unwritten.len());
        for device in std::mem::take(&mut self.unwritten) {
            let Some(backlog) = self.devices.get_mut(&device) else { continue };
            let worth = self.limits.differ(backlog.load, InboxUsage::default());
            backlog.written = if worth { backlog.load } else { InboxUsage::default() };
            rows.push((device, worth.then_some(backlog.load)));
            self.tidy(device);
        }
        rows
    }

    /// Draws the conclusions of a count that has changed.
    pub(in crate::lane) fn look(&mut self, device: DeviceId) {
        let Some(backlog) = self.devices.get(&device) else { return };
        let before = self.filled.get(&device).copied().unwrap_or_default();
        if self.limits.is_heavy(backlog.load) {
            self.heavy.insert(device);
        } else {
            self.heavy.remove(&device);
            self.idle.remove(&device);
        }
        let now = self.limits.fullness(backlog.load, before, self.idle.contains(&device));
        let moved = self.limits.differ(backlog.load, backlog.written);
        if now != before {
            self.turned.push((device, now));
            self.newly_full.extend((now == Fullness::Full).then_some(device));
            self.set_filled(device, now);
        }
        if moved || now != before {
            self.unwritten.insert(device);
        }
        self.tidy(device);
    }

    /// Nothing is kept of an inbox that is empty.
    fn tidy(&mut self, device: DeviceId) {
        let empty = self
            .devices
            .get(&device)
            .is_some_and(|it| it.load == InboxUsage::default() && it.written == InboxUsage::default());
        if empty && !self.unwritten.contains(&device) {
            self.devices.remove(&device);
        }
    }
}

/// A full or half full inbox that is being counted.
#[derive(Default)]
pub(in crate::lane) struct Recount {
    pub(super) device: DeviceId,
    /// Up to here it has been.
    pub(super) counted: Order,
    pub(super) load: InboxUsage,
    /// There is more to count; otherwise the next one begins.
    pub(super) under_way: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::new(7);

    fn load(entries: u32, bytes: u64) -> InboxUsage {
        InboxUsage { entries, bytes }
    }

    /// Entries of a byte each.
    fn filled(most: InboxUsage, entries: u64) -> Backlogs {
        let mut it = Backlogs::new(most, 0, []);
        (1..=entries).for_each(|order| it.added(DEVICE, Order::new(order), 1));
        it
    }

    #[test]
    fn an_inbox_at_its_limit_is_full_until_a_quarter_is_gone() {
        let mut it = filled(load(8, 0), 7);
        it.take_turned();
        it.added(DEVICE, Order::new(8), 1);
        it.added(DEVICE, Order::new(8), 1);
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Full)]);
        assert_eq!(it.next_filled(DeviceId::new(0)), Some(DEVICE));
        it.removed(DEVICE, load(1, 1));
        assert_eq!(it.take_turned(), []);
        it.removed(DEVICE, load(1, 1));
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Half)]);
        it.removed(DEVICE, load(3, 3));
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Free)]);
        assert_eq!(it.next_filled(DeviceId::new(0)), None);
    }

    #[test]
    fn strangers_fill_one_half_and_wait_until_a_quarter_is_gone() {
        let mut it = filled(load(8, 0), 4);
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Half)]);
        it.removed(DEVICE, load(1, 1));
        assert_eq!((it.take_turned(), it.is_full(DEVICE)), (vec![(DEVICE, Fullness::Free)], false));
        (5..=9).for_each(|order| it.added(DEVICE, Order::new(order), 1));
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Half), (DEVICE, Fullness::Full)]);
        it.measured(DEVICE, load(4, 4), Order::new(9));
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Half)]);
    }

    #[test]
    fn of_an_idle_device_it_takes_a_tenth_until_that_is_there_again() {
        let mut it = filled(load(100, 0), 4);
        assert_eq!(it.next_heavy(DeviceId::default()), None);
        (5..=20).for_each(|order| it.added(DEVICE, Order::new(order), 1));
        assert_eq!((it.next_heavy(DeviceId::default()), it.take_turned()), (Some(DEVICE), vec![]));
        it.set_idle(DEVICE, true);
        assert_eq!((it.take_turned(), it.is_full(DEVICE)), (vec![(DEVICE, Fullness::Full)], true));
        it.removed(DEVICE, load(11, 11));
        assert_eq!(it.take_turned(), [], "three quarters of the tenth are there still");
        it.set_idle(DEVICE, false);
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Free)]);
        it.set_idle(DEVICE, true);
        it.removed(DEVICE, load(5, 5));
        assert!(it.heavy.is_empty() && it.idle.is_empty());
    }

    #[test]
    fn who_was_full_when_it_was_read_is_no_news_for_the_operator() {
        let it = Backlogs::new(load(8, 0), 0, [(DEVICE, load(9, 5))]);
        assert!(it.newly_full.is_empty() && it.is_full(DEVICE));
        assert_eq!(filled(load(8, 0), 8).newly_full, [DEVICE]);
    }

    #[test]
    fn bytes_fill_an_inbox_too_until_it_is_below_both_limits() {
        let mut it = Backlogs::new(load(8, 1_000), 0, []);
        it.added(DEVICE, Order::new(1), 999);
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Half)]);
        it.added(DEVICE, Order::new(2), 400);
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Full)]);
        it.removed(DEVICE, load(1, 400));
        assert_eq!(it.take_turned(), []);
        (3..=9).for_each(|order| it.added(DEVICE, Order::new(order), 1));
        it.removed(DEVICE, load(1, 999));
        assert_eq!(it.take_turned(), [], "seven entries");
        it.removed(DEVICE, load(4, 4));
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Free)]);
    }

    #[test]
    fn without_a_limit_of_bytes_only_entries_count() {
        let mut it = Backlogs::new(load(8, 0), 0, []);
        (1..=7).for_each(|order| it.added(DEVICE, Order::new(order), u32::MAX));
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Half)], "by entries");
    }

    #[test]
    fn a_count_is_written_seldom_and_found_again() {
        let mut it = filled(load(1_000, 0), 9);
        assert!(!it.has_unwritten());
        it.added(DEVICE, Order::new(10), 1);
        assert_eq!(it.take_unwritten(), [(DEVICE, Some(load(10, 10)))]);
        it.removed(DEVICE, load(9, 9));
        assert!(!it.has_unwritten());
        it.removed(DEVICE, load(1, 1));
        assert_eq!(it.take_unwritten(), [(DEVICE, None)]);
        assert!(it.devices.is_empty(), "nothing is left of it");
        let mut it = Backlogs::new(load(1_000, 0), 0, [(DEVICE, load(999, 5))]);
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Half)]);
        it.added(DEVICE, Order::new(2_000), 1);
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Full)]);
        assert_eq!(it.take_unwritten(), [(DEVICE, Some(load(1_000, 6)))]);
    }

    #[test]
    fn bytes_are_written_by_hundredths_too() {
        let mut it = Backlogs::new(load(1_000, 10_000), 0, []);
        it.added(DEVICE, Order::new(1), 99);
        assert!(!it.has_unwritten());
        it.added(DEVICE, Order::new(2), 1);
        assert_eq!(it.take_unwritten(), [(DEVICE, Some(load(2, 100)))]);
        let mut it = Backlogs::new(load(1_000, 10_000), 0, [(DEVICE, load(1, 9_999))]);
        it.added(DEVICE, Order::new(3), 1);
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Half), (DEVICE, Fullness::Full)]);
    }

    #[test]
    fn what_was_measured_is_not_counted_again() {
        let mut it = filled(load(10, 0), 9);
        it.measured(DEVICE, load(3, 3), Order::new(12));
        for order in 10..=12 {
            it.added(DEVICE, Order::new(order), 1);
        }
        it.removed(DEVICE, load(3, 3));
        it.take_unwritten();
        assert!(it.devices.is_empty());
    }

    #[test]
    fn an_empty_inbox_has_no_bytes() {
        let mut it = filled(load(10, 0), 2);
        it.removed(DEVICE, load(2, 1));
        it.take_unwritten();
        assert!(it.devices.is_empty());
    }

    #[test]
    fn a_removed_device_is_full_no_more() {
        let mut it = filled(load(4, 0), 4);
        it.take_turned();
        it.forget(DEVICE);
        assert_eq!(it.take_turned(), [(DEVICE, Fullness::Free)]);
        assert!(it.take_unwritten().is_empty() && it.devices.is_empty());
    }
}
