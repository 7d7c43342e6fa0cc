//! What the store of a leader does, beside what every store does.

use godwit_store::{Row, StoreError, conformance};

use super::*;
use crate::tables::{Change, Tables};

#[tokio::test(start_paused = true)]
async fn conforms() {
    let mut leaders = Vec::new();
    conformance::run(async |clock| {
        let (store, leadership) = Scene::of(MemoryJournal::default(), MemoryTables::default(), clock).lead("a").await;
        leaders.push(leadership);
        store
    })
    .await;
}

/// A store that waits after each commit until it is in tables.
#[derive(Clone)]
struct Applied(ClusterStore<MemoryTables>);

impl Store for Applied {
    async fn multi_get(&self, keys: &[StoreKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.0.multi_get(keys).await
    }

    async fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.0.scan(table, from, to, rows_max, bytes_max).await
    }

    async fn commit(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        self.0.commit(writes, durability).await?;
        applied().await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn conforms_when_everything_is_in_tables() {
    let mut leaders = Vec::new();
    conformance::run(async |clock| {
        let (store, leadership) = Scene::of(MemoryJournal::default(), MemoryTables::default(), clock).lead("a").await;
        leaders.push(leadership);
        Applied(store)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_overwritten_soon_is_written_to_tables_once() {
    let scene = Scene::new();
    let (store, _leadership) = scene.lead("a").await;
    for n in 0..100_u8 {
        commit(&store, vec![put(receipt(1, 1), &[n])]).await;
    }
    applied().await;
    assert_eq!(scene.tables.changes(), 1);
    assert_eq!(get(&store, receipt(1, 1)).await.as_deref(), Some(&[99][..]));
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_acknowledged_soon_never_reaches_the_tables() {
    let scene = Scene::new();
    let (store, _leadership) = scene.lead("a").await;
    commit(&store, vec![put(entry(1, 1), b"x"), put(entry(1, 2), b"y")]).await;
    commit(&store, vec![delete(entry(1, 1))]).await;
    assert_eq!(get(&store, entry(1, 1)).await, None);
    applied().await;
    assert_eq!(scene.tables.changes(), 1, "neither the entry nor its deletion");
    commit(&store, vec![delete(entry(1, 2))]).await;
    applied().await;
    assert_eq!(get(&store, entry(1, 2)).await, None, "what is in tables is deleted there");
}

#[tokio::test(start_paused = true)]
async fn an_inherited_entry_is_deleted_in_tables() {
    let scene = Scene::new();
    let (store, leadership) = scene.lead("a").await;
    commit(&store, vec![put(entry(1, 1), b"x"), put(keys::last_order(), &1_u64.to_be_bytes())]).await;
    drop((store, leadership));
    // The dead leader may have written the entry to tables.
    let change = Change { write: put(entry(1, 1), b"x"), clock_us: 1 };
    scene.tables.apply(&[change]).await.expect("applied");
    let (store, _leadership) = scene.lead("b").await;
    commit(&store, vec![delete(entry(1, 1))]).await;
    applied().await;
    assert_eq!(get(&store, entry(1, 1)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_buffered_commit_is_read_at_once_and_is_durable_soon() {
    let scene = Scene::new();
    let (store, leadership) = scene.lead("a").await;
    store.commit(vec![put(receipt(1, 1), b"x")], Durability::Buffered).await.expect("committed");
    assert!(get(&store, receipt(1, 1)).await.is_some());
    sleep(Duration::from_millis(100)).await;
    drop((store, leadership));
    let (store, _leadership) = scene.lead("b").await;
    assert!(get(&store, receipt(1, 1)).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_buffered_commit_is_not_ahead_of_an_earlier_one() {
    let scene = Scene::new();
    let (store, _leadership) = scene.lead("a").await;
    let synced = store.commit(vec![put(receipt(1, 1), b"1")], Durability::Synced);
    let buffered = store.commit(vec![put(receipt(1, 1), b"2")], Durability::Buffered);
    let (synced, buffered) = futures::join!(synced, buffered);
    synced.and(buffered).expect("committed");
    assert_eq!(get(&store, receipt(1, 1)).await.as_deref(), Some(&b"2"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_range_over_many_groups_is_refused_and_nothing_of_it_is_written() {
    let (store, _leadership) = Scene::new().lead("a").await;
    let range = Write::DeleteRange(Table::Receipts, vec![0; 8], vec![0xFF; 8]);
    store.commit(vec![put(receipt(1, 1), b"x"), range], Durability::Synced).await.expect_err("refused");
    assert_eq!(get(&store, receipt(1, 1)).await, None);
    store.scan(Table::Receipts, &[0; 8], &[0xFF; 8], 1, 1).await.expect_err("refused");
}

/// Tables that take so long to read.
#[derive(Clone)]
struct Slow(MemoryTables, Duration);

impl Tables for Slow {
    async fn apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.0.apply(changes).await
    }

    async fn get(&self, keys: &[StoreKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        sleep(self.1).await;
        self.0.get(keys).await
    }

    async fn scan(
        &self,
        table: Table,
        group: &[u8],
        from: &[u8],
        to: &[u8],
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        sleep(self.1).await;
        self.0.scan(table, group, from, to, rows_max).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_sees_all_of_a_commit_or_nothing() {
    // Shorter, and longer, than the applier waits for reads.
    for seconds in [8, 15] {
        read_while_it_is_written(Duration::from_secs(seconds)).await;
    }
}

async fn read_while_it_is_written(delay: Duration) {
    let Candidate { journal, registry, name, time, wall, steady, overlay_bytes, .. } = Scene::new().member("a");
    let tables = Slow(MemoryTables::default(), delay);
    let candidate = Candidate { journal, tables, registry, name, time, wall, steady, overlay_bytes };
    let (store, _leadership) = candidate.lead().await.expect("leads");
    let (first, second) = (receipt(1, 1), receipt(1, 2));
    let (from, to) = keys::receipts(DeviceId::new(1));
    // With this one a layer is frozen; the next one begins.
    commit(&store, vec![put(receipt(2, 1), b"x")]).await;
    commit(&store, vec![put(second.clone(), b"old")]).await;
    // While the tables are read both rows are written, and applied.
    let write = async {
        sleep(Duration::from_secs(1)).await;
        commit(&store, vec![put(first.clone(), b"new"), put(second.clone(), b"new")]).await;
    };
    let keys = [first.clone(), second.clone()];
    let (found, rows, ()) =
        futures::join!(store.multi_get(&keys), store.scan(Table::Receipts, &from, &to, 9, usize::MAX), write);
    let found: Vec<_> = found.expect("read").into_iter().map(Option::unwrap_or_default).collect();
    assert!([["", "old"], ["new", "new"]].iter().any(|whole| found == whole), "{found:?}");
    let rows: Vec<_> = rows.expect("scanned").into_iter().map(|(_, value)| value).collect();
    assert!(rows == ["old"] || rows == ["new", "new"], "{rows:?}");
}

#[tokio::test(start_paused = true)]
async fn commits_wait_while_too_much_is_not_in_tables() {
    let scene = Scene::new();
    let stuck = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_stuck = stuck.clone();
    let tables = MemoryTables::failing(Arc::new(move || is_stuck.load(std::sync::atomic::Ordering::Relaxed)));
    let candidate = Candidate { tables: tables.clone(), overlay_bytes: 10_000, ..scene.member("a") };
    let (store, _leadership) = candidate.lead().await.expect("leads");
    let mut committed = 0;
    while committed < 100 {
        let commit = store.commit(vec![put(receipt(1, committed), &[0; 1_000])], Durability::Synced);
        let Ok(done) = tokio::time::timeout(Duration::from_secs(60), commit).await else { break };
        done.expect("committed");
        committed += 1;
    }
    assert!((8..12).contains(&committed), "{committed}");
    assert!(store.is_nearly_full().await);
    stuck.store(false, std::sync::atomic::Ordering::Relaxed);
    commit(&store, vec![put(receipt(1, 100), b"x")]).await;
    applied().await;
    assert!(!store.is_nearly_full().await);
    assert_eq!(scene.tables.changes(), 0, "the other tables");
}

#[tokio::test(start_paused = true)]
async fn users_of_all_partitions_are_listed_in_order() {
    let scene = Scene::new();
    let (store, _leadership) = scene.lead("a").await;
    let user = |n: u32| keys::user(&godwit_schemas::ids::UserId::new(&format!("user-{n:04}")).expect("a name"));
    for half in [0, 500] {
        commit(&store, (0..500).map(|n| put(user(half + n), b"x")).collect()).await;
        applied().await;
    }
    commit(&store, (0..1_000).step_by(10).map(|n| delete(user(n))).collect()).await;
    let mut pages = store.pages(Table::Directory, keys::users_after(None), 100);
    let mut found = Vec::new();
    while let Some(rows) = pages.next().await.expect("read") {
        found.extend(rows.into_iter().map(|(key, _)| key.to_vec()));
    }
    let expected: Vec<_> = (0..1_000).filter(|n| n % 10 != 0).map(|n| user(n).1).collect();
    assert!(found == expected);
}
