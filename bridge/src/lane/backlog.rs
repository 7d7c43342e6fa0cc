//! How much waits in each inbox of this lane's devices. An inbox that has `limits.inbox_entries`, or in them
//! `limits.inbox_bytes`, takes no more: senders are refused until it is a quarter below both. Keeps P2 (nothing is dropped,
//! so something must be refused) and the disk bounded.
//!
//! Bytes are those of bodies and changes. A body that is kept apart counts in each inbox that waits for it: what counts is
//! what a device has still to fetch.
//!
//! A count is kept in memory for as long as something waits, and written when it has moved by a hundredth of a limit:
//! after a crash it is off by less than that and what the last commit moved. It is set right whenever a connected device
//! has caught up and all that it acknowledged is on disk, and in full inboxes of devices that are not connected by
//! counting them piece by piece, since what expires leaves without a word.
//! The lanes that decide are told when an inbox becomes full or is so no longer; what they decide before they hear of it
//! goes in: an inbox may get somewhat longer than the limit.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::FixedState;
use godwit_core::entry::Entry;
use godwit_core::load::Load;
use godwit_core::record::SessionRecord;
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::{DeviceId, Order};

use super::Lane;
use super::read::decoded;
use crate::mail::Mail;
use crate::store::{Store, StoreError, Table, Write, keys};
use crate::writes;

/// Entries of a full inbox that are counted at a time...
const RECOUNT_ROWS: usize = 500;
/// ...and about how many bytes are read for it.
const RECOUNT_BYTES: usize = 1 << 20;

/// See the module.
pub(super) struct Backlogs {
    limits: Limits,
    devices: HashMap<DeviceId, Backlog, FixedState>,
    full: BTreeSet<DeviceId>,
    /// Inboxes that have become full (`true`), or are so no longer: not told yet.
    turned: Vec<(DeviceId, bool)>,
    unwritten: BTreeSet<DeviceId>,
}

/// What an inbox takes, and steps of a hundredth.
struct Limits {
    most: Load,
    step: Load,
}

#[derive(Default)]
struct Backlog {
    load: Load,
    /// Entries up to here are counted.
    counted: Order,
    /// The count on disk.
    written: Load,
}

impl Limits {
    /// Without bytes: only entries are limited.
    fn new(Load { entries, bytes }: Load) -> Self {
        let bytes = if bytes == 0 { u64::MAX } else { bytes };
        let step = Load { entries: (entries / 100).max(1), bytes: (bytes / 100).max(1) };
        Self { most: Load { entries, bytes }, step }
    }

    fn is_full(&self, load: Load, was_full: bool) -> bool {
        let Load { entries, bytes } = self.most;
        match was_full {
            true => load.entries > entries - entries / 4 || load.bytes > bytes - bytes / 4,
            false => load.entries >= entries || load.bytes >= bytes,
        }
    }

    /// Whether two counts are so far apart that it is worth a row.
    fn differ(&self, one: Load, other: Load) -> bool {
        one.entries.abs_diff(other.entries) >= self.step.entries || one.bytes.abs_diff(other.bytes) >= self.step.bytes
    }
}

impl Backlogs {
    /// With what is on disk. `most`: what an inbox takes; no bytes: however many.
    pub(super) fn new(most: Load, seed: u64, stored: impl IntoIterator<Item = (DeviceId, Load)>) -> Self {
        let mut backlogs = Self {
            limits: Limits::new(most),
            devices: HashMap::with_hasher(FixedState::with_seed(seed)),
            full: BTreeSet::new(),
            turned: Vec::new(),
            unwritten: BTreeSet::new(),
        };
        for (device, load) in stored {
            backlogs.devices.insert(device, Backlog { load, written: load, ..Backlog::default() });
            backlogs.look(device);
        }
        backlogs
    }

    /// A new entry with so much in it is on disk.
    pub(super) fn added(&mut self, device: DeviceId, order: Order, bytes: u32) {
        let backlog = self.devices.entry(device).or_default();
        if order > backlog.counted {
            backlog.counted = order;
            backlog.load = backlog.load + Load::of(bytes);
            self.look(device);
        }
    }

    /// So much is gone.
    pub(super) fn removed(&mut self, device: DeviceId, load: Load) {
        if let Some(backlog) = self.devices.get_mut(&device) {
            backlog.load = backlog.load - load;
            self.look(device);
        }
    }

    /// There is so much up to this order, and nothing after it that was not [`Self::added`].
    pub(super) fn measured(&mut self, device: DeviceId, load: Load, up_to: Order) {
        let backlog = self.devices.entry(device).or_default();
        backlog.load = load;
        backlog.counted = backlog.counted.max(up_to);
        self.look(device);
    }

    /// The device is no more.
    pub(super) fn forget(&mut self, device: DeviceId) {
        self.devices.remove(&device);
        self.unwritten.remove(&device);
        if self.full.remove(&device) {
            self.turned.push((device, false));
        }
    }

    /// The full inbox after this device's, if there is one.
    pub(super) fn next_full(&self, after: DeviceId) -> Option<DeviceId> {
        self.full.range(DeviceId::new(after.get() + 1)..).next().copied()
    }

    /// What the lanes are to be told.
    pub(super) fn take_turned(&mut self) -> Vec<(DeviceId, bool)> {
        std::mem::take(&mut self.turned)
    }

    pub(super) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Counts to write; `None`: not worth a row any more.
    pub(super) fn take_unwritten(&mut self) -> Vec<(DeviceId, Option<Load>)> {
        let mut rows = Vec::with_capacity(self.unwritten.len());
        for device in std::mem::take(&mut self.unwritten) {
            let Some(backlog) = self.devices.get_mut(&device) else { continue };
            let worth = self.limits.differ(backlog.load, Load::default());
            backlog.written = if worth { backlog.load } else { Load::default() };
            rows.push((device, worth.then_some(backlog.load)));
            self.tidy(device);
        }
        rows
    }

    /// Draws the conclusions of a count that has changed.
    fn look(&mut self, device: DeviceId) {
        let Some(backlog) = self.devices.get(&device) else { return };
        let was_full = self.full.contains(&device);
        let is_full = self.limits.is_full(backlog.load, was_full);
        let moved = self.limits.differ(backlog.load, backlog.written);
        if is_full != was_full {
            self.turned.push((device, is_full));
            if is_full {
                self.full.insert(device)
            } else {
                self.full.remove(&device)
            };
        }
        if moved || is_full != was_full {
            self.unwritten.insert(device);
        }
        self.tidy(device);
    }

    /// Nothing is kept of an inbox that is empty.
    fn tidy(&mut self, device: DeviceId) {
        let empty =
            self.devices.get(&device).is_some_and(|it| it.load == Load::default() && it.written == Load::default());
        if empty && !self.unwritten.contains(&device) {
            self.devices.remove(&device);
        }
    }
}

/// A full inbox that is being counted.
#[derive(Default)]
pub(super) struct Recount {
    device: DeviceId,
    /// Up to here it has been.
    counted: Order,
    load: Load,
    /// There is more to count; otherwise the next one begins.
    under_way: bool,
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// Tells the lanes which inboxes have become full, and which are so no longer.
    pub(super) fn tell_of_full(&mut self) {
        for (device, full) in self.backlogs.take_turned() {
            for mailbox in self.lanes.iter() {
                // A lane that is gone: the server is ending.
                let _ = mailbox.send(Mail::Full(device, full));
            }
        }
    }

    pub(super) fn write_backlogs(&mut self, out: &mut Vec<Write>) {
        for (device, load) in self.backlogs.take_unwritten() {
            out.push(writes::set(keys::backlog(device), load.map(keys::load)));
        }
    }

    /// Counts on in the full inboxes of devices that are not connected.
    pub(super) async fn recount(&mut self) -> Result<(), StoreError> {
        if !self.recount.under_way {
            let next = self.backlogs.next_full(self.recount.device);
            let Some(device) = next.or_else(|| self.backlogs.next_full(DeviceId::default())) else { return Ok(()) };
            let stored = self.store.multi_get(&[keys::session(device)]).await?.pop().flatten();
            let record = stored.and_then(|value| decoded::<SessionRecord>("session", &device, &value));
            let counted = Order::new(record.map_or(0, |record| record.low.saturating_sub(1)));
            self.recount = Recount { device, counted, load: Load::default(), under_way: true };
        }
        let Recount { device, counted, .. } = self.recount;
        // A connected device is measured when it has caught up.
        self.recount.under_way = self.sessions.get(&device).is_none_or(|session| session.connection.is_none());
        if !self.recount.under_way {
            return Ok(());
        }
        let (from, to) = keys::inbox_after(device, counted);
        let rows = self.store.scan(Table::Inbox, &from, &to, RECOUNT_ROWS, RECOUNT_BYTES).await?;
        let bytes = rows.iter().map(|(_, value)| value.len()).sum::<usize>();
        for (_, value) in &rows {
            let bytes = Entry::decode(value.clone()).map_or(0, |entry| entry.content_len());
            self.recount.load = self.recount.load + Load::of(bytes);
        }
        if let Some(order) = rows.last().and_then(|(key, _)| keys::parse_order(key)) {
            self.recount.counted = order;
        }
        if rows.len() < RECOUNT_ROWS && bytes < RECOUNT_BYTES {
            self.recount.under_way = false;
            self.backlogs.measured(device, self.recount.load, self.recount.counted);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::new(7);

    fn load(entries: u32, bytes: u64) -> Load {
        Load { entries, bytes }
    }

    /// Entries of a byte each.
    fn filled(most: Load, entries: u64) -> Backlogs {
        let mut it = Backlogs::new(most, 0, []);
        (1..=entries).for_each(|order| it.added(DEVICE, Order::new(order), 1));
        it
    }

    #[test]
    fn an_inbox_is_full_at_its_limit_and_until_a_quarter_of_it_is_gone() {
        let mut it = filled(load(8, 0), 7);
        assert_eq!(it.take_turned(), []);
        it.added(DEVICE, Order::new(8), 1);
        it.added(DEVICE, Order::new(8), 1);
        assert_eq!(it.take_turned(), [(DEVICE, true)]);
        assert_eq!(it.next_full(DeviceId::new(0)), Some(DEVICE));
        it.removed(DEVICE, load(1, 1));
        assert_eq!(it.take_turned(), []);
        it.removed(DEVICE, load(1, 1));
        assert_eq!(it.take_turned(), [(DEVICE, false)]);
        assert_eq!(it.next_full(DeviceId::new(0)), None);
    }

    #[test]
    fn bytes_fill_an_inbox_too_and_it_is_free_when_it_is_below_both_limits() {
        let mut it = Backlogs::new(load(8, 1_000), 0, []);
        it.added(DEVICE, Order::new(1), 999);
        assert_eq!(it.take_turned(), []);
        it.added(DEVICE, Order::new(2), 400);
        assert_eq!(it.take_turned(), [(DEVICE, true)]);
        it.removed(DEVICE, load(1, 400));
        assert_eq!(it.take_turned(), []);
        (3..=9).for_each(|order| it.added(DEVICE, Order::new(order), 1));
        it.removed(DEVICE, load(1, 999));
        assert_eq!(it.take_turned(), [], "seven entries");
        it.removed(DEVICE, load(1, 1));
        assert_eq!(it.take_turned(), [(DEVICE, false)]);
    }

    #[test]
    fn without_a_limit_of_bytes_only_entries_count() {
        let mut it = Backlogs::new(load(8, 0), 0, []);
        (1..=7).for_each(|order| it.added(DEVICE, Order::new(order), u32::MAX));
        assert_eq!(it.take_turned(), []);
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
        assert_eq!(it.take_turned(), []);
        it.added(DEVICE, Order::new(2_000), 1);
        assert_eq!(it.take_turned(), [(DEVICE, true)]);
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
        assert_eq!(it.take_turned(), [(DEVICE, true)]);
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
        assert_eq!(it.take_turned(), [(DEVICE, false)]);
        assert!(it.take_unwritten().is_empty() && it.devices.is_empty());
    }
}
