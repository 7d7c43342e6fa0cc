//! The store on a real disk: what every store does, restarts, damage, and kills.

mod damage;
mod killed;

use super::*;
use crate::time::tests::begun;
use crate::{ClockS, conformance};

const SETTINGS: RocksSettings = RocksSettings { memtable_bytes: 1 << 20, cache_bytes: 1 << 20, reserve_bytes: 1 };
/// Tables are written often.
const TINY: RocksSettings = RocksSettings { memtable_bytes: 64 << 10, cache_bytes: 1 << 20, reserve_bytes: 1 };

/// Nothing expires.
fn open(path: &Path, settings: &RocksSettings) -> Result<RocksStore, StoreError> {
    let clock: ClockS = Arc::new(|| 0);
    RocksStore::open(path, settings, clock)
}

fn put(table: Table, key: &[u8], value: &[u8]) -> Write {
    Write::Put(table, key.to_vec(), Bytes::copy_from_slice(value))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// What the environment says of how long a test goes on.
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[tokio::test]
async fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    let mut stores = 0;
    let make = async |clock| {
        stores += 1;
        RocksStore::open(&folder.path().join(stores.to_string()), &SETTINGS, clock).unwrap()
    };
    conformance::run(make).await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &SETTINGS).unwrap();
    store.commit(vec![put(Table::Directory, b"synced", b"v")], Durability::Synced).await.unwrap();
    store.commit(vec![put(Table::Directory, b"buffered", b"v")], Durability::Buffered).await.unwrap();
    assert!(open(folder.path(), &SETTINGS).is_err(), "one process at a time");
    drop(store);
    let store = open(folder.path(), &SETTINGS).unwrap();
    let keys = [(Table::Directory, b"synced".to_vec()), (Table::Directory, b"buffered".to_vec())];
    assert!(store.multi_get(&keys).await.unwrap().iter().all(Option::is_some));
}

#[tokio::test]
async fn expired_entries_stay_on_disk_while_a_leap_stands() {
    let folder = tempfile::tempdir().unwrap();
    let (time, clocks) = begun();
    let now_s = time.now_s();
    let store = RocksStore::open(folder.path(), &SETTINGS, time).unwrap();
    let entry = |n: u8, life_s: u32| put(Table::Inbox, &[n], &(now_s + life_s).to_be_bytes());
    let day_ms = 24 * 3_600_000;
    // Ten seconds pass, and the wall clock is set.
    let pass = |set_ms: i64| {
        clocks.advance(10_000 + set_ms, 10_000);
    };
    let compacted = async |set_ms: i64, life_s: u32| {
        pass(set_ms);
        store.commit((1..=3).map(|n| entry(n, life_s)).collect(), Durability::Synced).await.unwrap();
        store.flush().unwrap();
        let family = store.family(Table::Inbox).unwrap();
        store.db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
        store.db.iterator_cf(family, rocksdb::IteratorMode::Start).count()
    };
    assert_eq!(compacted(40 * day_ms, 5).await, 3);
    assert_eq!(compacted(0, 5).await, 3);
    assert!(store.multi_get(&[(Table::Inbox, vec![1])]).await.unwrap()[0].is_none(), "it has expired");
    assert_eq!(compacted(-40 * day_ms, 5).await, 0);
    assert_eq!(compacted(0, 1_000).await, 3);
}
