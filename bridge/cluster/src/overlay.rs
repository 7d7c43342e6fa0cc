//! What is committed and not in tables yet, in memory. Reads look here first.
//!
//! It has two layers. Commits go to the *active* one. From time to time it is *frozen* and a new one begins; the frozen one is
//! applied to tables, then dropped. So of what happened to a key in between only the last reaches the tables, and an inbox
//! entry that was acknowledged before its layer was frozen never does: neither it nor its deletion.
//!
//! A read takes what the overlay knows, then asks the tables for the rest. Meanwhile no later commit may reach the tables, or the
//! read would see a part of it. So the applier waits for reads that began before its layer was frozen.
//!
//! Filled by the appender, emptied by the applier, read by everybody.

use std::collections::{BTreeMap, btree_map};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use godwit_store::keys::{self, StoreKey};
use godwit_store::{Table, Write};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::floor::Floors;
use crate::tables::Change;

/// About what a row takes beside its key and value.
const ROW_COST: usize = 96;

/// The last that happened to a key within a layer.
#[derive(Debug, Clone)]
struct Slot {
    /// `None`: deleted.
    value: Option<Bytes>,
    clock_us: u64,
    /// An inbox entry which no table can have: when it is deleted, nothing is left to do.
    is_new: bool,
}

#[derive(Debug)]
struct Range {
    table: Table,
    from: Vec<u8>,
    to: Vec<u8>,
    clock_us: u64,
}

impl Range {
    fn has(&self, table: Table, key: &[u8]) -> bool {
        self.table == table && *self.from <= *key && *key < *self.to
    }
}

/// Rows and deleted ranges. A row is later than any range that it is in.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    slots: BTreeMap<StoreKey, Slot>,
    ranges: Vec<Range>,
    bytes: usize,
}

impl Layer {
    fn write(&mut self, clock_us: u64, write: Write, last_entry: &mut u64) {
        match write {
            Write::Put(table, key, value) => {
                let order = keys::parse_order(&key).filter(|_| table == Table::Inbox).map_or(0, |order| order.get());
                let is_new = order > *last_entry;
                *last_entry = order.max(*last_entry);
                let is_new = is_new || self.slots.get(&(table, key.clone())).is_some_and(|slot| slot.is_new);
                self.set((table, key), Slot { value: Some(value), clock_us, is_new });
            }
            Write::Delete(table, key) => {
                let key = (table, key);
                if self.slots.get(&key).is_some_and(|slot| slot.is_new) {
                    self.remove(&key);
                } else {
                    self.set(key, Slot { value: None, clock_us, is_new: false });
                }
            }
            Write::DeleteRange(table, from, to) if from < to => {
                let within: Vec<_> = self.in_range(table, &from, &to).map(|(key, _)| key.clone()).collect();
                within.iter().for_each(|key| self.remove(key));
                self.bytes += ROW_COST + from.len() + to.len();
                self.ranges.push(Range { table, from, to, clock_us });
            }
            Write::DeleteRange(..) => {}
        }
    }

    fn set(&mut self, key: StoreKey, slot: Slot) {
        self.remove(&key);
        self.bytes += cost(&key, &slot);
        self.slots.insert(key, slot);
    }

    fn remove(&mut self, key: &StoreKey) {
        if let Some(slot) = self.slots.remove(key) {
            self.bytes -= cost(key, &slot);
        }
    }

    fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.ranges.is_empty()
    }

    fn in_range(&self, table: Table, from: &[u8], to: &[u8]) -> btree_map::Range<'_, StoreKey, Slot> {
        self.slots.range((table, from.to_vec())..(table, to.to_vec()))
    }

    /// `None`: this layer does not know it.
    fn look(&self, (table, key): &StoreKey) -> Option<Option<Bytes>> {
        if let Some(slot) = self.slots.get(&(*table, key.clone())) {
            return Some(slot.value.clone());
        }
        self.ranges.iter().any(|range| range.has(*table, key)).then_some(None)
    }

    /// What is to be written to tables.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Change> {
        let ranges = self.ranges.iter().map(|range| {
            let write = Write::DeleteRange(range.table, range.from.clone(), range.to.clone());
            Change { write, clock_us: range.clock_us }
        });
        let slots = self.slots.iter().map(|((table, key), slot)| {
            let write = match &slot.value {
                Some(value) => Write::Put(*table, key.clone(), value.clone()),
                None => Write::Delete(*table, key.clone()),
            };
            Change { write, clock_us: slot.clock_us }
        });
        ranges.chain(slots)
    }
}

fn cost((_, key): &StoreKey, slot: &Slot) -> usize {
    ROW_COST + key.len() + slot.value.as_ref().map_or(0, Bytes::len)
}

#[derive(Debug, Default)]
struct State {
    active: Layer,
    frozen: Option<Arc<Layer>>,
    /// How many layers were frozen that were not empty.
    generation: u64,
    /// Layers up to this one are, or may be, in tables.
    applying: u64,
    /// Reads under way, by the generation in which they began.
    reads: BTreeMap<u64, usize>,
    /// The highest order of an inbox entry that tables may have.
    last_entry: u64,
}

impl State {
    fn bytes(&self) -> usize {
        self.active.bytes + self.frozen.as_ref().map_or(0, |frozen| frozen.bytes)
    }
}

/// See the module. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Overlay {
    state: Arc<Mutex<State>>,
    /// Something was frozen, or is applied.
    changed: Arc<Notify>,
    floors: Floors,
    bytes_max: usize,
}

/// What the overlay knows of keys.
#[derive(Debug)]
pub(crate) struct Looked {
    /// In the order of the keys; `None`: tables have it.
    pub(crate) known: Vec<Option<Option<Bytes>>>,
    pub(crate) reading: Reading,
}

/// What the overlay knows of a range.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Ascending. `None`: deleted.
    pub(crate) rows: Vec<(Vec<u8>, Option<Bytes>)>,
    /// Of tables, keys in these are deleted.
    pub(crate) ranges: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A read is under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Reading {
    overlay: Overlay,
    generation: u64,
}

impl Reading {
    /// Whether what tables said fits what the overlay said. Otherwise the read took so long that the applier went on without
    /// it.
    pub(crate) fn is_whole(&self) -> bool {
        self.overlay.locked(|state| state.applying <= self.generation)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.overlay.locked(|state| {
            if let Some(reads) = state.reads.get_mut(&self.generation) {
                *reads -= 1;
            }
            state.reads.retain(|_, reads| *reads > 0);
        });
        self.overlay.changed.notify_waiters();
    }
}

impl Overlay {
    /// An empty one, which is full with about so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { state: Arc::default(), changed: Arc::default(), floors: Floors::default(), bytes_max }
    }

    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // A panic while the lock is held cannot leave it half changed: no step of `Layer` panics between two changes.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a record's writes, or some of them, visible, all at once.
    pub(crate) fn write(&self, clock_us: u64, writes: impl IntoIterator<Item = Write>) {
        self.locked(|state| {
            let State { active, last_entry, .. } = state;
            for write in writes {
                self.floors.note(&write);
                active.write(clock_us, write, last_entry);
            }
        });
    }

    /// Where queues begin. To be asked before a snapshot is taken.
    pub(crate) fn floors(&self) -> &Floors {
        &self.floors
    }

    /// From here on inbox entries of higher orders than this are in no table: whoever replays journals calls it when it is done.
    pub(crate) fn begin_entries_above(&self, order: u64) {
        self.locked(|state| state.last_entry = order);
    }

    /// While entries are replayed, tables may have any of them.
    pub(crate) fn replaying(&self) {
        self.begin_entries_above(u64::MAX);
    }

    pub(crate) fn look(&self, keys: &[StoreKey]) -> Looked {
        self.locked(|state| {
            let frozen = state.frozen.as_deref();
            let look = |key| state.active.look(key).or_else(|| frozen?.look(key));
            let known = keys.iter().map(look).collect();
            Looked { known, reading: self.begin(state) }
        })
    }

    /// What is known of a range, up to the key at which there are `rows_max` rows for which `is_live` holds.
    pub(crate) fn snapshot(
        &self,
        table: Table,
        (from, to): (&[u8], &[u8]),
        rows_max: usize,
        is_live: impl Fn(&Bytes) -> bool,
    ) -> (Snapshot, Reading) {
        self.locked(|state| {
            let frozen = state.frozen.as_deref();
            let mut newer = state.active.in_range(table, from, to).peekable();
            let mut older = frozen.map(|frozen| frozen.in_range(table, from, to)).into_iter().flatten().peekable();
            let hides = |key: &[u8]| state.active.ranges.iter().any(|range| range.has(table, key));
            let (mut rows, mut live) = (Vec::new(), 0);
            while live < rows_max {
                let is_older = match (newer.peek(), older.peek()) {
                    (Some((new, _)), Some((old, _))) if old == new => {
                        older.next();
                        false
                    }
                    (Some((new, _)), Some((old, _))) => old < new,
                    (None, Some(_)) => true,
                    (Some(_), None) => false,
                    (None, None) => break,
                };
                let Some(((_, key), slot)) = (if is_older { older.next() } else { newer.next() }) else { break };
                let value = slot.value.clone().filter(|_| !is_older || !hides(key));
                live += usize::from(value.as_ref().is_some_and(&is_live));
                rows.push((key.clone(), value));
            }
            let ranges = [Some(&state.active), frozen].into_iter().flatten().flat_map(|layer| &layer.ranges);
            let ranges = ranges.filter(|range| range.table == table && *range.from < *to && *from < *range.to);
            let ranges = ranges.map(|range| (range.from.clone(), range.to.clone())).collect();
            (Snapshot { rows, ranges }, self.begin(state))
        })
    }

    fn begin(&self, state: &mut State) -> Reading {
        *state.reads.entry(state.generation).or_default() += 1;
        Reading { overlay: self.clone(), generation: state.generation }
    }

    /// Before the frozen layer is applied: waits for reads that do not know it, up to `limit`. Those that take longer are made
    /// again.
    pub(crate) async fn until_read(&self, limit: Duration) {
        let _ = timeout(limit, self.until(|state| state.reads.range(..state.generation).next().is_none())).await;
        self.locked(|state| state.applying = state.generation);
    }

    /// Begins a new layer, unless the one before is not applied. Called when all that is in the active one is in the journal.
    pub(crate) fn freeze(&self) -> Option<Arc<Layer>> {
        let frozen = self.locked(|state| {
            if state.frozen.is_some() {
                return None;
            }
            state.generation += u64::from(!state.active.is_empty());
            state.frozen = Some(Arc::new(std::mem::take(&mut state.active)));
            state.frozen.clone()
        });
        self.changed.notify_waiters();
        frozen
    }

    /// The frozen layer is in tables.
    pub(crate) fn applied(&self) {
        self.locked(|state| state.frozen = None);
        self.changed.notify_waiters();
    }

    /// Bytes that are not in tables, about.
    pub(crate) fn bytes(&self) -> usize {
        self.locked(|state| state.bytes())
    }

    /// Whether the active layer should not wait for its time to be frozen.
    pub(crate) fn is_filling(&self) -> bool {
        self.locked(|state| state.active.bytes > self.bytes_max / 4)
    }

    /// Whether little room is left.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.bytes() > self.bytes_max / 4 * 3
    }

    /// Waits until it is not full. Cancel safe.
    pub(crate) async fn room(&self) {
        self.until(|state| state.bytes() < self.bytes_max).await;
    }

    /// Waits until the frozen layer is applied. Cancel safe.
    pub(crate) async fn until_applied(&self) {
        self.until(|state| state.frozen.is_none()).await;
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            if self.locked(|state| is_so(state)) {
                return;
            }
            changed.await;
        }
    }
}
