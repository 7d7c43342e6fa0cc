//! The committer: one task that writes the commits of all lanes. All pending commits go into one batch with one fsync. Keeps
//! P1: effects, PUBACK among them, are told only after the batch is on disk.
//!
//! It numbers inbox entries in the order of commits. So for any one device, entries are stored, announced and delivered in the
//! same order, whichever lanes its conversations live in.

use std::sync::Arc;

use bytes::Bytes;
use godwit_core::event::DomainEvent;
use godwit_core::outcome::{EffectKind, NewEntry};
use godwit_schemas::ids::Order;
use godwit_schemas::partition::Partition;
use godwit_store::crash::{self, Point};
use godwit_store::{Durability, Store, StoreError, Write, keys};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::field::display;
use tracing::{Level, enabled, trace};

use crate::memberships::Memberships;
use crate::messages::{Commit, Committed, NewInboxEntry};
use crate::metrics::CommitMetrics;

/// Commits that may wait. A lane that has another one waits for room, and gathers more meanwhile.
pub(crate) const QUEUE: usize = 4;

/// Inbox entries of one batch: when it has as many, further commits wait for the next batch.
const ENTRIES_MAX: usize = 16_384;

impl Committed {
    fn is_empty(&self) -> bool {
        self.new_entries.is_empty() && self.effects.is_empty() && self.ticket.is_none()
    }
}

/// Tells lanes and operators what is on disk.
pub(crate) trait CommitNotifier: Send {
    /// Tells a lane. Never waits: what is told is bounded by what devices and lanes have under way.
    fn tell(&self, lane: u32, committed: Committed);

    /// Tells operators what has happened. Never waits. Not called without events.
    fn tell_operators(&mut self, events: Vec<DomainEvent>);
}

/// Writes what lanes hand over, until all lanes have ended.
///
/// # Errors
/// The store has failed. Nothing more is acknowledged, and the process must end.
pub(crate) async fn run<S: Store>(
    store: S,
    mut queue: mpsc::Receiver<Commit>,
    lanes: u32,
    mut last_order: Order,
    mut notifier: impl CommitNotifier,
    metrics: Arc<CommitMetrics>,
) -> Result<(), StoreError> {
    let mut gathered = Vec::new();
    while let Some(first) = queue.recv().await {
        let mut entries = first.entries.len();
        gathered.push(first);
        while entries < ENTRIES_MAX
            && let Ok(more) = queue.try_recv()
        {
            entries += more.entries.len();
            gathered.push(more);
        }
        write(&store, &mut gathered, lanes, &mut last_order, &mut notifier, &metrics).await?;
    }
    Ok(())
}

/// Writes all gathered commits as one batch, then tells their effects.
async fn write<S: Store>(
    store: &S,
    gathered: &mut Vec<Commit>,
    lanes: u32,
    last_order: &mut Order,
    notifier: &mut impl CommitNotifier,
    metrics: &CommitMetrics,
) -> Result<(), StoreError> {
    let mut told: Vec<Committed> = (0..lanes).map(|_| Committed::default()).collect();
    let mut writes = Vec::with_capacity(gathered.iter().map(|commit| commit.writes.len() + commit.entries.len()).sum());
    let durable = gathered.iter().any(|commit| commit.durable);
    let before = *last_order;
    let mut events = Vec::new();
    let (mut waiting, mut memberships) = (Vec::new(), Memberships::default());
    let lane_of = |partition: Partition| partition.lane(lanes) as usize;
    for commit in gathered.drain(..) {
        trace!(
            lane = commit.lane,
            ticket = commit.ticket,
            entries = commit.entries.len(),
            writes = commit.writes.len(),
            "commit handed over"
        );
        for entry in commit.entries {
            *last_order = Order::new(last_order.get() + 1);
            let (table, key) = keys::entry(entry.device, *last_order);
            let NewEntry { device, bytes, .. } = entry;
            let new_entry = NewInboxEntry { device, order: *last_order, value: entry.value.clone(), bytes };
            told[lane_of(entry.partition)].new_entries.push(new_entry);
            writes.push(Write::Put(table, key, entry.reference.unwrap_or(entry.value)));
        }
        writes.extend(commit.writes);
        memberships.add(commit.memberships);
        events.extend(commit.events);
        if let Some(then) = commit.then {
            waiting.push(then);
            continue;
        }
        for effect in commit.effects {
            told[lane_of(effect.partition)].effects.push(effect.kind);
        }
        let own = &mut told[commit.lane as usize];
        own.ticket = Some(commit.ticket);
        own.done.extend(commit.done);
    }
    memberships.write(store, &mut writes).await?;
    if *last_order != before {
        let (table, key) = keys::last_order();
        writes.push(Write::Put(table, key, Bytes::copy_from_slice(&last_order.get().to_be_bytes())));
    }
    let durability = if durable { Durability::Synced } else { Durability::Buffered };
    metrics.writes.observe_alone(writes.len() as u64);
    crash::point(Point::BeforeCommit);
    let began = Instant::now();
    store.commit(writes, durability).await?;
    let at = Instant::now();
    crash::point(Point::AfterCommit);
    let of_kind = if durable { &metrics.synced } else { &metrics.buffered };
    of_kind.time_alone(at - began);
    trace!(
        entries = last_order.get() - before.get(),
        last_order = last_order.get(),
        fsynced = durable,
        "batch written"
    );
    waiting.into_iter().for_each(|then| then());
    for (lane, mut committed) in (0..).zip(told) {
        if !committed.is_empty() {
            (committed.last_order, committed.at) = (*last_order, Some(at));
            trace_answers(lane, &committed);
            notifier.tell(lane, committed);
        }
    }
    if !events.is_empty() {
        notifier.tell_operators(events);
    }
    Ok(())
}

/// Which publishes a lane may answer now.
fn trace_answers(lane: u32, committed: &Committed) {
    if !enabled!(Level::TRACE) {
        return;
    }
    for effect in &committed.effects {
        if let EffectKind::Published { to, reason, conversation, sequence, .. } = effect {
            let (conversation, sequence) = (conversation.map(display), sequence.map(display));
            trace!(lane, ?to, ?reason, conversation, sequence, "PUBACK told to the lane");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use godwit_schemas::ids::{DeviceId, UserId};
    use godwit_store::memory::MemoryStore;
    use godwit_store::{Row, Table};

    use super::*;

    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<(u32, Committed)>>>, Arc<Mutex<Vec<DomainEvent>>>);

    impl CommitNotifier for Told {
        fn tell(&self, lane: u32, committed: Committed) {
            self.0.lock().unwrap().push((lane, committed));
        }

        fn tell_operators(&mut self, events: Vec<DomainEvent>) {
            self.1.lock().unwrap().extend(events);
        }
    }

    fn entry(device: u64, partition: u16) -> NewEntry {
        let value = Bytes::copy_from_slice(&u32::MAX.to_be_bytes());
        NewEntry::of(DeviceId::new(device), Partition::new(partition), &value, 0)
    }

    #[tokio::test]
    async fn entries_are_numbered_in_the_order_of_commits() {
        let store = MemoryStore::new(Arc::new(|| 0));
        let (tx, rx) = mpsc::channel(8);
        for (lane, ticket) in [(0, 1), (1, 1), (0, 2)] {
            let commit = Commit { lane, ticket, entries: vec![entry(7, 0), entry(8, 1)], ..Default::default() };
            tx.send(commit).await.unwrap();
        }
        drop(tx);
        let told = Told::default();
        run(store.clone(), rx, 2, Order::new(100), told.clone(), Arc::default()).await.unwrap();
        let last = store.multi_get(&[keys::last_order()]).await.unwrap().remove(0).unwrap();
        assert_eq!(keys::parse_counter(&last), Some(106));
        let told = told.0.lock().unwrap();
        let orders = |lane: u32| -> Vec<u64> {
            let of_lane = told.iter().filter(|(of, _)| *of == lane);
            of_lane.flat_map(|(_, committed)| committed.new_entries.iter().map(|entry| entry.order.get())).collect()
        };
        assert_eq!(orders(0), [101, 103, 105]);
        assert_eq!(orders(1), [102, 104, 106]);
        assert_eq!(told[0].1.ticket, Some(2), "the last of its commits");
    }

    /// Fails, or looks at what was told before it has written.
    #[derive(Clone)]
    struct Watching(MemoryStore, Told, bool);

    impl Store for Watching {
        async fn multi_get(&self, keys: &[(Table, Vec<u8>)]) -> Result<Vec<Option<Bytes>>, StoreError> {
            self.0.multi_get(keys).await
        }

        async fn scan(
            &self,
            of: Table,
            from: &[u8],
            to: &[u8],
            rows: usize,
            max: usize,
        ) -> Result<Vec<Row>, StoreError> {
            self.0.scan(of, from, to, rows, max).await
        }

        async fn commit(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
            assert!(self.1.1.lock().unwrap().is_empty(), "told before it is on disk");
            match self.2 {
                true => Err(StoreError { doing: "commit", cause: "no space".to_owned() }),
                false => self.0.commit(writes, durability).await,
            }
        }
    }

    #[tokio::test]
    async fn operators_are_told_only_of_what_is_on_disk() {
        for fails in [false, true] {
            let told = Told::default();
            let store = Watching(MemoryStore::new(Arc::new(|| 0)), told.clone(), fails);
            let (tx, rx) = mpsc::channel(8);
            let user = UserId::new("alice").unwrap();
            let facts = vec![DomainEvent::Account { user, device: None, added: true }];
            tx.send(Commit { entries: vec![entry(7, 0)], events: facts.clone(), ..Default::default() }).await.unwrap();
            drop(tx);
            assert_eq!(run(store, rx, 1, Order::default(), told.clone(), Arc::default()).await.is_err(), fails);
            assert_eq!(*told.1.lock().unwrap(), if fails { vec![] } else { facts });
        }
    }
}
