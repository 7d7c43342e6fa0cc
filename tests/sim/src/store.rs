//! A disk: it keeps what was synced. At a loss of power it keeps of the commits after that an arbitrary prefix. It may be
//! slow, and it may fail.
//!
//! What gets on disk is told to the record: inbox entries, their end, and devices' numbers.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use godwit_core::entry::Entry;
use godwit_core::stored::{OriginRecord, StateRecord, UserRecord};
use godwit_store::memory::MemoryStore;
use godwit_store::{Durability, Row, Store, StoreError, Table, Write, keys};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::dice::Dice;
use crate::event::Event;
use crate::plan::{Plan, Turmoil};
use crate::record::Record;

/// All rows of a table.
const ALL: (&[u8], &[u8]) = (&[], &[0xFF; 64]);
const TABLES: [Table; 5] = [Table::Directory, Table::Conversations, Table::Inbox, Table::Receipts, Table::Messages];

struct State {
    dice: Dice,
    plan: Plan,
    turmoil: Turmoil,
    clock: Clock,
    record: Record,
    disk: Mutex<Disk>,
}

struct Disk {
    /// What reads see.
    current: MemoryStore,
    synced: MemoryStore,
    /// Commits after the last sync.
    tail: Vec<Vec<Write>>,
    /// Keys of the inbox that were deleted: a store does not forget them at once, and a scan walks over them.
    deleted: BTreeSet<Vec<u8>>,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct SimStore(Arc<State>);

impl SimStore {
    pub(crate) fn new(seed: u64, plan: &Plan, turmoil: Turmoil, clock: Clock, record: Record) -> Self {
        let origin = OriginRecord { server: 1, epoch: 1, floor: 0, partitions: plan.partitions };
        let (table, key) = keys::origin();
        let first = Write::Put(table, key, origin.encode_to_vec().into());
        let new = || {
            let store = MemoryStore::new(clock.handed_out());
            now(store.commit(vec![first.clone()], Durability::Synced));
            store
        };
        let disk = Disk { current: new(), synced: new(), tail: Vec::new(), deleted: BTreeSet::new() };
        Self(Arc::new(State {
            dice: Dice::new(seed, "store"),
            plan: plan.clone(),
            turmoil,
            record,
            disk: Mutex::new(disk),
            clock,
        }))
    }

    /// The process has ended; with `power_lost` what was not synced may be gone.
    pub(crate) fn crash(&self, power_lost: bool) {
        let disk = &mut *self.0.disk.lock();
        if power_lost {
            let kept = self.0.dice.within(0..=disk.tail.len() as u64) as usize;
            self.0.record.note(format!("power lost: {} commits are gone", disk.tail.len() - kept));
            disk.tail.truncate(kept);
        }
        // Whoever starts again reads the log, and syncs what it finds there.
        self.sync(disk);
        if !self.0.clock.may_delete() {
            self.0.clock.stop(power_lost);
        }
        // What has expired is compacted away.
        disk.current = copy(&disk.synced, &self.0.clock);
        self.0.clock.stop(power_lost);
    }

    /// What it knows of the time.
    pub(crate) fn time(&self) -> Option<Bytes> {
        now(self.0.disk.lock().current.multi_get(&[keys::time()])).pop().flatten()
    }

    /// All rows of all tables.
    pub(crate) fn rows(&self) -> Vec<(Table, Row)> {
        let current = &self.0.disk.lock().current;
        TABLES.iter().flat_map(|table| rows(current, *table).into_iter().map(|row| (*table, row))).collect()
    }

    /// What a scan costs: rows, and deleted keys on the way to the last of them.
    fn tell_of_scan(&self, table: Table, from: &[u8], to: &[u8], found: &[Row], rows_max: usize) {
        self.0.record.with(|facts| facts.cost.rows += found.len() as u64);
        let last = found.last().filter(|_| found.len() == rows_max).map_or(to, |(key, _)| key);
        let (Table::Inbox, Some(id)) = (table, device_of(from)) else { return };
        if from < last {
            let disk = self.0.disk.lock();
            let orders = disk.deleted.range(from.to_vec()..last.to_vec()).filter_map(|key| keys::parse_order(key));
            let orders: Vec<_> = orders.map(|order| order.get()).collect();
            drop(disk);
            if !orders.is_empty() {
                self.0.record.emit(Event::Passed { id, orders });
            }
        }
    }

    fn tell_of_costs(&self, writes: &[Write]) {
        for write in writes {
            let Write::Put(table, key, value) = write else { continue };
            if *table != Table::Inbox {
                self.0.record.with(|facts| facts.cost.largest = facts.cost.largest.max(value.len()));
            }
            if *table == Table::Conversations
                && key.first() == Some(&b't')
                && let Ok(state) = StateRecord::decode(value.clone())
            {
                let devices = state.accepted.len();
                self.0.record.with(|facts| facts.cost.counts = facts.cost.counts.max(devices));
            }
        }
    }

    fn sync(&self, disk: &mut Disk) {
        for writes in disk.tail.drain(..) {
            // Devices before their entries.
            writes.iter().for_each(|write| self.tell_of_devices(write));
            self.tell_of_entries(&writes);
            writes.iter().for_each(|write| self.tell_of_partitions(write));
            now(disk.synced.commit(writes, Durability::Synced));
        }
    }

    fn tell_of_entries(&self, writes: &[Write]) {
        for write in writes {
            let Write::Put(Table::Inbox, key, value) = write else { continue };
            let entry = Entry::decode(value.clone()).ok().and_then(|entry| whole(entry, writes));
            if let (Some(id), Some(order), Some(entry)) = (device_of(key), keys::parse_order(key), entry) {
                self.0.record.emit(Event::Stored { id, order: order.get(), entry });
            }
        }
    }

    fn tell_of_devices(&self, write: &Write) {
        let Write::Put(Table::Directory, key, value) = write else { return };
        let (Some(user), Ok(record)) = (keys::parse_user(key), UserRecord::decode(value.clone())) else { return };
        for device in record.devices {
            let (user, name, id) = (user.to_string(), device.name, device.id);
            if self.0.record.with(|facts| facts.device_of(id).is_none()) {
                self.0.record.emit(Event::Numbered { user, name, id });
            }
        }
    }

    fn tell_of_partitions(&self, write: &Write) {
        let (Write::Put(Table::Directory, key, _) | Write::Delete(Table::Directory, key)) = write else { return };
        if let Some((link, number)) = keys::parse_outbox_item(key) {
            let is_sent = matches!(write, Write::Put(..));
            self.0.record.emit(if is_sent { Event::SentOut { link, number } } else { Event::LetGo { link, number } });
        }
        if let (b'i', Write::Put(_, _, value), Some(link)) = (key[0], write, keys::parse_link(key))
            && let Some(number) = keys::parse_counter(value)
        {
            self.0.record.emit(Event::TakenIn { link, number });
        }
    }

    /// Deletions count when they are asked for.
    fn tell_of_deletions(&self, writes: &[Write]) {
        for write in writes {
            if let Write::Delete(Table::Inbox, key) = write
                && let (Some(id), Some(order)) = (device_of(key), keys::parse_order(key))
            {
                self.0.record.emit(Event::Erased { id, order: order.get() });
                self.0.disk.lock().deleted.insert(key.clone());
            }
        }
    }

    async fn dawdle(&self, most_us: u64) {
        let State { dice, plan, turmoil, .. } = &*self.0;
        if turmoil.reigns() && dice.chance(plan.slow_disk) {
            sleep(dice.ms(1..=800)).await;
        } else if dice.chance(0.5) {
            sleep(std::time::Duration::from_micros(dice.within(0..=most_us))).await;
        }
    }

    fn fail(&self, doing: &'static str) -> Result<(), StoreError> {
        let State { dice, plan, turmoil, .. } = &*self.0;
        if turmoil.reigns() && dice.chance(plan.disk_failure) {
            return Err(StoreError { doing, cause: "simulated".to_owned() });
        }
        Ok(())
    }
}

/// An entry with its body, which was written with the references to it. `None`: it was not, and nobody can receive it.
fn whole(entry: Entry, writes: &[Write]) -> Option<Entry> {
    if !entry.is_reference() {
        return Some(entry);
    }
    let message = keys::message(entry.conversation, entry.sequence);
    let of_message =
        |write: &&Write| matches!(write, Write::Put(table, key, _) if (*table, key) == (message.0, &message.1));
    let Some(Write::Put(_, _, value)) = writes.iter().find(of_message) else { return None };
    let body = Entry::decode(value.clone()).ok()?.content;
    Some(Entry { content: body, ..entry })
}

/// The device of an inbox key.
pub(crate) fn device_of(key: &[u8]) -> Option<u64> {
    key.first_chunk::<8>().map(|id| u64::from_be_bytes(*id))
}

fn rows(store: &MemoryStore, table: Table) -> Vec<Row> {
    now(store.scan(table, ALL.0, ALL.1, usize::MAX, usize::MAX))
}

fn copy(from: &MemoryStore, clock: &Clock) -> MemoryStore {
    let to = MemoryStore::new(clock.handed_out());
    for table in TABLES {
        let writes = rows(from, table).into_iter().map(|(key, value)| Write::Put(table, key.into(), value));
        now(to.commit(writes.collect(), Durability::Synced));
    }
    to
}

/// The store in memory never waits and never fails.
fn now<T: Default>(done: impl Future<Output = Result<T, StoreError>>) -> T {
    done.now_or_never().and_then(Result::ok).unwrap_or_default()
}

impl Store for SimStore {
    async fn multi_get(&self, keys: &[(Table, Vec<u8>)]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.dawdle(200).await;
        self.fail("read")?;
        self.0.record.with(|facts| facts.cost.keys += keys.len() as u64);
        let current = self.0.disk.lock().current.clone();
        let found = current.multi_get(keys).await;
        self.dawdle(200).await;
        found
    }

    async fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.dawdle(200).await;
        self.fail("scan")?;
        let current = self.0.disk.lock().current.clone();
        let found = current.scan(table, from, to, rows_max, bytes_max).await?;
        self.tell_of_scan(table, from, to, &found, rows_max);
        self.dawdle(200).await;
        Ok(found)
    }

    async fn commit(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        self.dawdle(1_000).await;
        self.fail("commit")?;
        self.tell_of_deletions(&writes);
        self.tell_of_costs(&writes);
        self.0.disk.lock().tail.push(writes.clone());
        if durability == Durability::Synced {
            self.dawdle(3_000).await;
            self.fail("sync")?;
            self.sync(&mut self.0.disk.lock());
        }
        // Nobody reads what is not as durable as it is to be.
        let current = self.0.disk.lock().current.clone();
        current.commit(writes, durability).await?;
        self.dawdle(200).await;
        Ok(())
    }

    async fn is_nearly_full(&self) -> bool {
        let State { dice, plan, turmoil, .. } = &*self.0;
        turmoil.reigns() && dice.chance(plan.disk_full)
    }
}
