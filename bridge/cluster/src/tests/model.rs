//! The store of a cluster is compared with the store in memory: random commits, reads and deletions of ranges, while things go
//! wrong, the applier runs, and leaders die.

use godwit_store::memory::MemoryStore;

use super::*;

/// Devices, conversations and orders are few, so that steps meet.
const FEW: u64 = 4;

struct Run {
    dice: fastrand::Rng,
    scene: Scene,
    model: MemoryStore,
    store: ClusterStore<MemoryTables>,
    leadership: Leadership,
    order: u64,
}

impl Run {
    async fn new(seed: u64) -> Self {
        let scene = Scene::troubled(seed);
        let (store, leadership) = scene.lead("first").await;
        let model = MemoryStore::new(Arc::new(|| 1_000));
        Self { dice: fastrand::Rng::with_seed(seed), scene, model, store, leadership, order: 0 }
    }

    fn few(&mut self) -> u64 {
        self.dice.u64(1..=FEW)
    }

    fn key(&mut self) -> StoreKey {
        let (device, conversation) = (self.few(), self.few());
        match self.dice.u8(0..5) {
            0 => receipt(device, conversation),
            1 => keys::backlog(DeviceId::new(device)),
            2 => keys::message(ConversationId::new(conversation), godwit_schemas::ids::Seq::new(device)),
            3 => keys::publish_record(DeviceId::new(device), conversation as u8),
            _ => entry(device, self.dice.u64(1..=self.order.max(1))),
        }
    }

    fn range(&mut self) -> (Table, (Vec<u8>, Vec<u8>)) {
        let device = DeviceId::new(self.few());
        match self.dice.u8(0..5) {
            0 => (Table::Receipts, keys::receipts(device)),
            1 => (Table::Directory, keys::publish_records(device)),
            2 => (Table::Inbox, keys::inbox_from(device, Order::new(self.dice.u64(0..=self.order)))),
            3 => {
                let (from, to) = (ConversationId::new(device.get()), ConversationId::new(device.get() + 1));
                let start = |id| keys::message(id, godwit_schemas::ids::Seq::new(0)).1;
                (Table::Messages, (start(from), start(to)))
            }
            _ => (Table::Directory, keys::backlogs()),
        }
    }

    fn write(&mut self) -> Vec<Write> {
        match self.dice.u8(0..10) {
            0..3 => {
                self.order += 1;
                let last = put(keys::last_order(), &self.order.to_be_bytes());
                vec![put(entry(self.few(), self.order), &[self.dice.u8(..)]), last]
            }
            3..6 => vec![put(self.key(), &[self.dice.u8(..)])],
            6..9 => vec![delete(self.key())],
            _ => match self.range() {
                (_, (from, _)) if from == keys::backlogs().0 => vec![],
                (table, (from, to)) => vec![Write::DeleteRange(table, from, to)],
            },
        }
    }

    /// A commit that has returned is there for ever. The model learns it in the same order.
    async fn commit(&mut self) {
        let writes: Vec<_> = (0..self.dice.u8(1..6)).flat_map(|_| self.write()).collect();
        self.model.commit(writes.clone(), Durability::Synced).await.expect("committed");
        commit(&self.store, writes).await;
    }

    async fn compare(&mut self) {
        let keys: Vec<_> = (0..self.dice.u8(1..10)).map(|_| self.key()).collect();
        let found = self.store.multi_get(&keys).await.expect("read");
        assert_eq!(found, self.model.multi_get(&keys).await.expect("read"), "{keys:?}");
        let (table, (from, to)) = self.range();
        let (rows_max, bytes_max) = (self.dice.usize(1..8), self.dice.usize(1..40));
        let found = self.store.scan(table, &from, &to, rows_max, bytes_max).await.expect("scanned");
        let expected = self.model.scan(table, &from, &to, rows_max, bytes_max).await.expect("scanned");
        assert_eq!(found, expected, "{table:?} {from:?} {to:?}");
    }

    /// The leader ends, somewhere in its work, and another one takes over.
    async fn end_leader(mut self, released: bool) -> Self {
        if released {
            self.leadership.release().await;
        } else {
            drop(self.leadership);
        }
        // One that dies while it takes over, at some moment.
        let ms = self.dice.u64(0..8_000);
        let _ = tokio::time::timeout(Duration::from_millis(ms), self.scene.lead("doomed")).await;
        (self.store, self.leadership) = self.scene.lead("next").await;
        self
    }
}

async fn run(seed: u64) {
    let mut run = Run::new(seed).await;
    for _ in 0..150 {
        match run.dice.u8(0..100) {
            0..50 => run.commit().await,
            50..90 => run.compare().await,
            90..97 => {
                let ms = run.dice.u64(0..4_000);
                sleep(Duration::from_millis(ms)).await;
            }
            _ => {
                let released = run.dice.bool();
                run = run.end_leader(released).await;
            }
        }
    }
    applied().await;
    for _ in 0..20 {
        run.compare().await;
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_as_the_store_in_memory_whatever_goes_wrong() {
    let seeds = std::env::var("GODWIT_CLUSTER_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(100);
    for seed in 0..seeds {
        // The seed stands in the log of a test that fails.
        println!("seed {seed}");
        run(seed).await;
    }
}
