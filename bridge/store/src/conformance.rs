//! What every store must do. An implementation's own test calls [`run`] with a way to make an empty store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use super::{ClockS, Durability, Store, Table, Write};

/// Runs the suite; panics at the first promise that is not kept.
pub async fn run<S: Store>(mut make: impl AsyncFnMut(ClockS) -> S) {
    let now_s = Arc::new(AtomicU32::new(1_000));
    let clock = |now_s: &Arc<AtomicU32>| -> ClockS {
        let now_s = now_s.clone();
        Arc::new(move || now_s.load(Ordering::Relaxed))
    };
    reads_what_was_written(&make(clock(&now_s)).await).await;
    tables_are_apart(&make(clock(&now_s)).await).await;
    later_writes_of_a_batch_win(&make(clock(&now_s)).await).await;
    scans_are_ordered_and_bounded(&make(clock(&now_s)).await).await;
    pages_cover_a_range_once(&make(clock(&now_s)).await).await;
    ranges_are_half_open(&make(clock(&now_s)).await).await;
    expired_entries_are_gone(&make(clock(&now_s)).await, &now_s).await;
    deleted_entries_do_not_come_back(&make(clock(&now_s)).await).await;
}

fn put(table: Table, key: &[u8], value: &[u8]) -> Write {
    Write::Put(table, key.to_vec(), Bytes::copy_from_slice(value))
}

async fn commit<S: Store>(store: &S, writes: Vec<Write>) {
    store.commit(writes, Durability::Synced).await.expect("commit");
}

async fn get<S: Store>(store: &S, table: Table, key: &[u8]) -> Option<Bytes> {
    store.multi_get(&[(table, key.to_vec())]).await.expect("multi_get").remove(0)
}

async fn keys<S: Store>(store: &S, table: Table, from: &[u8], to: &[u8], rows_max: usize) -> Vec<Bytes> {
    let rows = store.scan(table, from, to, rows_max, usize::MAX).await.expect("scan");
    rows.into_iter().map(|(key, _)| key).collect()
}

async fn reads_what_was_written<S: Store>(store: &S) {
    commit(store, vec![put(Table::Directory, b"a", b"1"), put(Table::Directory, b"b", b"")]).await;
    let wanted: Vec<_> = [b"b", b"x", b"a", b"a"].map(|key| (Table::Directory, key.to_vec())).to_vec();
    let found = store.multi_get(&wanted).await.expect("multi_get");
    let expected = [Some(&b""[..]), None, Some(b"1"), Some(b"1")].map(|v| v.map(Bytes::copy_from_slice));
    assert_eq!(found, expected, "in the order asked, twice if asked twice");
    store.commit(vec![put(Table::Directory, b"a", b"2")], Durability::Buffered).await.expect("commit");
    assert_eq!(get(store, Table::Directory, b"a").await.as_deref(), Some(&b"2"[..]), "buffered writes are read too");
    assert_eq!(store.multi_get(&[]).await.expect("multi_get"), Vec::<Option<Bytes>>::new());
    commit(store, vec![]).await;
}

async fn tables_are_apart<S: Store>(store: &S) {
    commit(store, vec![put(Table::Directory, b"k", b"d"), put(Table::Conversations, b"k", b"c")]).await;
    commit(store, vec![Write::Delete(Table::Directory, b"k".to_vec())]).await;
    assert_eq!(get(store, Table::Directory, b"k").await, None);
    assert_eq!(get(store, Table::Conversations, b"k").await.as_deref(), Some(&b"c"[..]));
    assert_eq!(get(store, Table::Receipts, b"k").await, None);
}

async fn later_writes_of_a_batch_win<S: Store>(store: &S) {
    let delete = |key: &[u8]| Write::Delete(Table::Receipts, key.to_vec());
    let writes = vec![
        put(Table::Receipts, b"a", b"1"),
        put(Table::Receipts, b"a", b"2"),
        put(Table::Receipts, b"b", b"1"),
        delete(b"b"),
        delete(b"c"),
        put(Table::Receipts, b"c", b"1"),
    ];
    commit(store, writes).await;
    assert_eq!(get(store, Table::Receipts, b"a").await.as_deref(), Some(&b"2"[..]));
    assert_eq!(get(store, Table::Receipts, b"b").await, None);
    assert!(get(store, Table::Receipts, b"c").await.is_some());
}

async fn scans_are_ordered_and_bounded<S: Store>(store: &S) {
    let writes = [3_u8, 1, 2, 255, 0].map(|n| put(Table::Conversations, &[7, n], &[n; 10]));
    commit(store, writes.into()).await;
    let all = keys(store, Table::Conversations, &[7], &[8], 100).await;
    assert_eq!(all, [[7, 0], [7, 1], [7, 2], [7, 3], [7, 255]].map(|key| Bytes::copy_from_slice(&key)));
    assert_eq!(keys(store, Table::Conversations, &[7, 1], &[7, 3], 100).await.len(), 2, "half open");
    assert_eq!(keys(store, Table::Conversations, &[7], &[8], 2).await.len(), 2);
    assert_eq!(keys(store, Table::Conversations, &[8], &[7], 2).await.len(), 0, "empty range");
    let rows = store.scan(Table::Conversations, &[7], &[8], 100, 15).await.expect("scan");
    assert_eq!(rows.len(), 2, "stops when the bytes are reached");
    let rows = store.scan(Table::Conversations, &[7], &[8], 100, 1).await.expect("scan");
    assert_eq!(rows.len(), 1, "but at least one");
}

async fn pages_cover_a_range_once<S: Store>(store: &S) {
    commit(store, (0..6).map(|n: u8| put(Table::Conversations, &[7, n], &[n])).collect()).await;
    for (rows_max, expected) in [(1, 7), (2, 4), (3, 3), (4, 2), (100, 1)] {
        let mut pages = store.pages(Table::Conversations, (vec![7], vec![8]), rows_max);
        let (mut count, mut found) = (0, Vec::new());
        while let Some(rows) = pages.next().await.expect("a page") {
            count += 1;
            found.extend(rows.into_iter().map(|(key, _)| key[1]));
        }
        assert_eq!((count, found), (expected, vec![0, 1, 2, 3, 4, 5]), "up to {rows_max} rows");
    }
    let page = store.page(Table::Conversations, &[7], &[8], 100, 2).await.expect("a page");
    assert_eq!((page.rows.len(), page.next), (2, Some(vec![7, 1, 0])), "ends when the bytes are reached");
}

async fn ranges_are_half_open<S: Store>(store: &S) {
    let entry = |n: u8| put(Table::Receipts, &[n], b"x");
    commit(store, (0..6).map(entry).collect()).await;
    commit(store, vec![Write::DeleteRange(Table::Receipts, vec![1], vec![4]), entry(2)]).await;
    let left = keys(store, Table::Receipts, &[], &[9], 100).await;
    assert_eq!(left, [[0], [2], [4], [5]].map(|key| Bytes::copy_from_slice(&key)));
}

async fn expired_entries_are_gone<S: Store>(store: &S, now_s: &AtomicU32) {
    let entry = |n: u8, expires_at_s: u32| put(Table::Inbox, &[n], &expires_at_s.to_be_bytes());
    commit(store, vec![entry(1, 1_010), entry(2, 1_020), entry(3, u32::MAX)]).await;
    assert_eq!(keys(store, Table::Inbox, &[], &[9], 100).await.len(), 3);
    now_s.store(1_010, Ordering::Relaxed);
    assert_eq!(keys(store, Table::Inbox, &[], &[9], 100).await.len(), 2, "at the second of its expiry");
    assert_eq!(get(store, Table::Inbox, &[1]).await, None);
    assert!(get(store, Table::Inbox, &[2]).await.is_some());
    now_s.store(2_000, Ordering::Relaxed);
    assert_eq!(keys(store, Table::Inbox, &[], &[9], 1).await, [Bytes::from_static(&[3])], "does not count as a row");
    now_s.store(1_000, Ordering::Relaxed);
}

async fn deleted_entries_do_not_come_back<S: Store>(store: &S) {
    let key = |n: u32| n.to_be_bytes().to_vec();
    let value = Bytes::copy_from_slice(&u32::MAX.to_be_bytes());
    for round in 0..10 {
        let these = || (0..200).map(move |n| key(round * 200 + n));
        commit(store, these().map(|key| Write::Put(Table::Inbox, key, value.clone())).collect()).await;
        commit(store, these().take(199).map(|key| Write::Delete(Table::Inbox, key)).collect()).await;
    }
    let left = keys(store, Table::Inbox, &key(0), &key(9_999), 100).await;
    assert_eq!(left.len(), 10);
    assert_eq!(left.last().map(|key| &key[..]), Some(&1_999_u32.to_be_bytes()[..]));
}
