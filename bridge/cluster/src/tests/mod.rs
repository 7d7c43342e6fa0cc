//! The whole, with everything in memory and on paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Ordinal};
use godwit_store::keys::{self, StoreKey};
use godwit_store::time::{ClockSource, Time};
use godwit_store::{ClockS, Durability, Store, Table, Write};
use tokio::time::{Instant, sleep};

use crate::candidate::{Candidate, OVERLAY_BYTES};
use crate::journal::memory::{Fault, MemoryJournal};
use crate::registry::memory::MemoryRegistry;
use crate::tables::memory::MemoryTables;
use crate::{ClusterStore, Leadership};

mod cassandra;
mod leaders;
mod model;
mod store;

type MemoryCandidate = Candidate<MemoryJournal, MemoryTables, MemoryRegistry>;

/// The database of a cluster, and the clocks of its members.
#[derive(Clone)]
struct Scene {
    journal: MemoryJournal,
    tables: MemoryTables,
    registry: MemoryRegistry,
    time: Time,
    steady: ClockSource,
}

impl Scene {
    fn new() -> Self {
        Self::of(MemoryJournal::default(), MemoryTables::default(), Arc::new(|| 1_000))
    }

    fn of(journal: MemoryJournal, tables: MemoryTables, clock: ClockS) -> Self {
        let began = Instant::now();
        let steady: ClockSource = Arc::new(move || began.elapsed() + Duration::from_secs(1_000));
        Self { journal, tables, registry: MemoryRegistry::default(), time: clock.into(), steady }
    }

    /// One in which everything goes wrong that may, by a seed.
    fn troubled(seed: u64) -> Self {
        let coin = move |salt: u64, chance: u8| {
            let dice = Mutex::new(fastrand::Rng::with_seed(seed ^ salt));
            move || dice.lock().expect("no panic").u8(..) < chance
        };
        let (lost, late, lands, fails) = (coin(1, 10), coin(2, 10), coin(3, 128), coin(4, 2));
        let journal = MemoryJournal::faulty(Arc::new(move |fault| match fault {
            Fault::AnswerLost => lost(),
            Fault::Late => late(),
            Fault::LandsAfterAll => lands(),
        }));
        Self::of(journal, MemoryTables::failing(Arc::new(fails)), Arc::new(|| 1_000))
    }

    fn member(&self, name: &str) -> MemoryCandidate {
        Candidate {
            journal: self.journal.clone(),
            tables: self.tables.clone(),
            registry: self.registry.clone(),
            name: name.to_owned(),
            time: self.time.clone(),
            wall: Arc::new(|| Duration::from_secs(1_790_000_000)),
            steady: self.steady.clone(),
            overlay_bytes: OVERLAY_BYTES,
        }
    }

    async fn lead(&self, name: &str) -> (ClusterStore<MemoryTables>, Leadership) {
        self.member(name).lead().await.expect("leads")
    }
}

fn receipt(device: u64, conversation: u64) -> StoreKey {
    keys::receipt(DeviceId::new(device), ConversationId::new(conversation), Ordinal::new(1))
}

fn entry(device: u64, order: u64) -> StoreKey {
    keys::entry(DeviceId::new(device), Order::new(order))
}

fn put((table, key): StoreKey, value: &[u8]) -> Write {
    let expiry: &[u8] = if table.expires() { &[0xFF; 4] } else { &[] };
    Write::Put(table, key, [expiry, value].concat().into())
}

fn delete((table, key): StoreKey) -> Write {
    Write::Delete(table, key)
}

async fn commit<S: Store>(store: &S, writes: Vec<Write>) {
    store.commit(writes, Durability::Synced).await.expect("committed");
}

async fn get<S: Store>(store: &S, key: StoreKey) -> Option<Bytes> {
    store.multi_get(&[key]).await.expect("read").remove(0)
}

/// Until what was committed by now is in tables.
async fn applied() {
    sleep(Duration::from_secs(10)).await;
}
