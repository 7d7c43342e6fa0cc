//! How many entries wait in each inbox of this lane's devices. An inbox that has `limits.inbox_entries` takes no more:
//! senders are refused until a quarter of it is gone. Keeps P2 (nothing is dropped, so something must be refused) and the
//! disk bounded.
//!
//! A count is kept in memory for as long as something waits, and written when it has moved by a hundredth of the limit:
//! after a crash it is off by less than that and what the last commit moved. It is set right whenever a connected device
//! has caught up and all that it acknowledged is on disk, and in full inboxes of devices that are not connected by counting them piece by piece, since what expires leaves without a word.
//! The lanes that decide are told when an inbox becomes full or is so no longer; what they decide before they hear of it
//! goes in: an inbox may get somewhat longer than the limit.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::FixedState;
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
    limit: u32,
    devices: HashMap<DeviceId, Backlog, FixedState>,
    full: BTreeSet<DeviceId>,
    /// Inboxes that have become full (`true`), or are so no longer: not told yet.
    turned: Vec<(DeviceId, bool)>,
    unwritten: BTreeSet<DeviceId>,
}

#[derive(Default)]
struct Backlog {
    entries: u32,
    /// Entries up to here are counted.
    counted: Order,
    /// The count on disk.
    written: u32,
}

impl Backlogs {
    /// With what is on disk.
    pub(super) fn new(limit: u32, seed: u64, stored: impl IntoIterator<Item = (DeviceId, u32)>) -> Self {
        let mut backlogs = Self {
            limit,
            devices: HashMap::with_hasher(FixedState::with_seed(seed)),
            full: BTreeSet::new(),
            turned: Vec::new(),
            unwritten: BTreeSet::new(),
        };
        for (device, entries) in stored {
            backlogs.devices.insert(device, Backlog { entries, written: entries, ..Backlog::default() });
            backlogs.look(device);
        }
        backlogs
    }

    /// A new entry is on disk.
    pub(super) fn added(&mut self, device: DeviceId, order: Order) {
        let backlog = self.devices.entry(device).or_default();
        if order > backlog.counted {
            backlog.counted = order;
            backlog.entries += 1;
            self.look(device);
        }
    }

    /// So many entries are gone.
    pub(super) fn removed(&mut self, device: DeviceId, entries: u32) {
        if let Some(backlog) = self.devices.get_mut(&device) {
            backlog.entries = backlog.entries.saturating_sub(entries);
            self.look(device);
        }
    }

    /// There are so many entries up to this order, and none after it that was not [`Self::added`].
    pub(super) fn measured(&mut self, device: DeviceId, entries: u32, up_to: Order) {
        let backlog = self.devices.entry(device).or_default();
        backlog.entries = entries;
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
    pub(super) fn take_unwritten(&mut self) -> Vec<(DeviceId, Option<u32>)> {
        let step = self.step();
        let mut rows = Vec::with_capacity(self.unwritten.len());
        for device in std::mem::take(&mut self.unwritten) {
            let Some(backlog) = self.devices.get_mut(&device) else { continue };
            backlog.written = if backlog.entries < step { 0 } else { backlog.entries };
            rows.push((device, Some(backlog.written).filter(|entries| *entries > 0)));
            self.tidy(device);
        }
        rows
    }

    fn step(&self) -> u32 {
        (self.limit / 100).max(1)
    }

    /// Draws the conclusions of a count that has changed.
    fn look(&mut self, device: DeviceId) {
        let step = self.step();
        let Some(backlog) = self.devices.get(&device) else { return };
        let (was_full, entries) = (self.full.contains(&device), backlog.entries);
        let is_full = if was_full { entries > self.limit - self.limit / 4 } else { entries >= self.limit };
        let moved = entries.abs_diff(backlog.written) >= step;
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
        let empty = self.devices.get(&device).is_some_and(|it| it.entries == 0 && it.written == 0);
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
    entries: u32,
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
        for (device, entries) in self.backlogs.take_unwritten() {
            let value = entries.map(|entries| writes::counter(entries.into()));
            out.push(writes::set(keys::backlog(device), value));
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
            self.recount = Recount { device, counted, entries: 0, under_way: true };
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
        self.recount.entries += rows.len() as u32;
        if let Some(order) = rows.last().and_then(|(key, _)| keys::parse_order(key)) {
            self.recount.counted = order;
        }
        if rows.len() < RECOUNT_ROWS && bytes < RECOUNT_BYTES {
            self.recount.under_way = false;
            self.backlogs.measured(device, self.recount.entries, self.recount.counted);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::new(7);

    fn filled(limit: u32, entries: u64) -> Backlogs {
        let mut it = Backlogs::new(limit, 0, []);
        (1..=entries).for_each(|order| it.added(DEVICE, Order::new(order)));
        it
    }

    #[test]
    fn an_inbox_is_full_at_its_limit_and_until_a_quarter_of_it_is_gone() {
        let mut it = filled(8, 7);
        assert_eq!(it.take_turned(), []);
        it.added(DEVICE, Order::new(8));
        it.added(DEVICE, Order::new(8));
        assert_eq!(it.take_turned(), [(DEVICE, true)]);
        assert_eq!(it.next_full(DeviceId::new(0)), Some(DEVICE));
        it.removed(DEVICE, 1);
        assert_eq!(it.take_turned(), []);
        it.removed(DEVICE, 1);
        assert_eq!(it.take_turned(), [(DEVICE, false)]);
        assert_eq!(it.next_full(DeviceId::new(0)), None);
    }

    #[test]
    fn a_count_is_written_seldom_and_found_again() {
        let mut it = filled(1_000, 9);
        assert!(!it.has_unwritten());
        it.added(DEVICE, Order::new(10));
        assert_eq!(it.take_unwritten(), [(DEVICE, Some(10))]);
        it.removed(DEVICE, 9);
        assert!(!it.has_unwritten());
        it.removed(DEVICE, 1);
        assert_eq!(it.take_unwritten(), [(DEVICE, None)]);
        assert!(it.devices.is_empty(), "nothing is left of it");
        let mut it = Backlogs::new(1_000, 0, [(DEVICE, 999)]);
        assert_eq!(it.take_turned(), []);
        it.added(DEVICE, Order::new(2_000));
        assert_eq!(it.take_turned(), [(DEVICE, true)]);
        assert_eq!(it.take_unwritten(), [(DEVICE, Some(1_000))]);
    }

    #[test]
    fn what_was_measured_is_not_counted_again() {
        let mut it = filled(10, 9);
        it.measured(DEVICE, 3, Order::new(12));
        for order in 10..=12 {
            it.added(DEVICE, Order::new(order));
        }
        it.removed(DEVICE, 3);
        it.take_unwritten();
        assert!(it.devices.is_empty());
    }

    #[test]
    fn a_removed_device_is_full_no_more() {
        let mut it = filled(4, 4);
        it.take_turned();
        it.forget(DEVICE);
        assert_eq!(it.take_turned(), [(DEVICE, false)]);
        assert!(it.take_unwritten().is_empty() && it.devices.is_empty());
    }
}
