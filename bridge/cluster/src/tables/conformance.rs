//! What all tables must do. An implementation's own test calls [`run`] with empty tables.

use bytes::Bytes;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Ordinal};
use godwit_store::keys::{self, StoreKey};
use godwit_store::{Table, Write};

use super::{Change, Tables};

/// Runs the suite; panics at the first promise that is not kept.
pub(crate) async fn run<T: Tables>(tables: &T) {
    the_highest_timestamp_stays(tables).await;
    within_a_record_values_follow_deletions(tables).await;
    a_range_deletes_what_is_older(tables).await;
    scans_are_ordered_and_bounded(tables).await;
    many_changes_are_written_at_once(tables).await;
}

fn put((table, key): StoreKey, value: &'static str) -> Write {
    Write::Put(table, key, Bytes::from_static(value.as_bytes()))
}

fn delete((table, key): StoreKey) -> Write {
    Write::Delete(table, key)
}

fn receipt(device: u64, conversation: u64) -> StoreKey {
    keys::receipt(DeviceId::new(device), ConversationId::new(conversation), Ordinal::new(1))
}

async fn apply<T: Tables>(tables: &T, clock_us: u64, writes: Vec<Write>) {
    let changes: Vec<_> = writes.into_iter().map(|write| Change { write, clock_us }).collect();
    tables.apply(&changes).await.expect("applied");
}

async fn get<T: Tables>(tables: &T, key: StoreKey) -> Option<Bytes> {
    tables.get(&[key]).await.expect("read").remove(0)
}

async fn the_highest_timestamp_stays<T: Tables>(tables: &T) {
    let key = receipt(1, 1);
    assert_eq!(get(tables, key.clone()).await, None);
    apply(tables, 100, vec![put(key.clone(), "b")]).await;
    apply(tables, 90, vec![put(key.clone(), "a")]).await;
    assert_eq!(get(tables, key.clone()).await.as_deref(), Some(&b"b"[..]), "a late write");
    apply(tables, 98, vec![delete(key.clone())]).await;
    assert_eq!(get(tables, key.clone()).await.as_deref(), Some(&b"b"[..]), "a late deletion");
    apply(tables, 110, vec![delete(key.clone())]).await;
    apply(tables, 100, vec![put(key.clone(), "b")]).await;
    assert_eq!(get(tables, key.clone()).await, None, "a late write of what was deleted");
    apply(tables, 112, vec![put(key.clone(), "")]).await;
    apply(tables, 112, vec![put(key.clone(), "")]).await;
    assert_eq!(get(tables, key.clone()).await.as_deref(), Some(&b""[..]), "twice; an empty value is a value");
    let both = tables.get(&[receipt(1, 2), key.clone(), receipt(1, 2), key]).await.expect("read");
    assert_eq!(both, [None, Some(Bytes::new()), None, Some(Bytes::new())], "in the order asked");
}

async fn within_a_record_values_follow_deletions<T: Tables>(tables: &T) {
    let key = receipt(2, 1);
    let (from, to) = keys::receipts(DeviceId::new(2));
    apply(tables, 100, vec![put(key.clone(), "a")]).await;
    apply(tables, 102, vec![put(key.clone(), "b"), Write::DeleteRange(key.0, from, to)]).await;
    assert_eq!(get(tables, key).await.as_deref(), Some(&b"b"[..]));
}

async fn a_range_deletes_what_is_older<T: Tables>(tables: &T) {
    let (from, to) = keys::receipts(DeviceId::new(3));
    let of = |conversations: std::ops::Range<u64>| conversations.map(|id| put(receipt(3, id), "x")).collect::<Vec<_>>();
    apply(tables, 100, of(0..4)).await;
    apply(tables, 100, vec![put(receipt(4, 0), "x")]).await;
    apply(tables, 104, vec![Write::DeleteRange(Table::Receipts, from.clone(), to.clone())]).await;
    apply(tables, 100, of(0..4)).await;
    apply(tables, 106, of(2..3)).await;
    let rows = tables.scan(Table::Receipts, &from, &from, &to, 100).await.expect("scanned");
    assert_eq!(rows.into_iter().map(|(key, _)| key.to_vec()).collect::<Vec<_>>(), [receipt(3, 2).1]);
    assert!(get(tables, receipt(4, 0)).await.is_some(), "of another group");
}

async fn scans_are_ordered_and_bounded<T: Tables>(tables: &T) {
    let device = DeviceId::new(5);
    let entry = |order| put(keys::entry(device, Order::new(order)), "\u{7f}\u{7f}\u{7f}\u{7f}");
    apply(tables, 100, [3, 1, 700, 2, 5].map(entry).into()).await;
    apply(tables, 102, vec![delete(keys::entry(device, Order::new(2)))]).await;
    let (from, to) = keys::inbox_from(device, Order::new(1));
    let group = keys::group(Table::Inbox, &from);
    let orders = async |from: &[u8], to: &[u8], rows_max| {
        let rows = tables.scan(Table::Inbox, &group, from, to, rows_max).await.expect("scanned");
        rows.iter().filter_map(|(key, _)| keys::parse_order(key)).map(Order::get).collect::<Vec<_>>()
    };
    assert_eq!(orders(&from, &to, 100).await, [1, 3, 5, 700]);
    assert_eq!(orders(&from, &to, 2).await, [1, 3]);
    assert_eq!(orders(&keys::entry(device, Order::new(2)).1, &to, 2).await, [3, 5]);
    assert_eq!(orders(&from, &keys::entry(device, Order::new(5)).1, 100).await, [1, 3], "half open");
    assert!(orders(&to, &from, 100).await.is_empty(), "empty range");
}

async fn many_changes_are_written_at_once<T: Tables>(tables: &T) {
    let key = |n: u64| receipt(6 + n % 3, n);
    let value = Bytes::from(vec![1; 1_000]);
    let writes = (0..1_000).map(|n| Write::Put(Table::Receipts, key(n).1, value.clone()));
    apply(tables, 100, writes.collect()).await;
    apply(tables, 102, (0..1_000).step_by(2).map(|n| delete(key(n))).collect()).await;
    let found = tables.get(&(0..1_000).map(key).collect::<Vec<_>>()).await.expect("read");
    let expected: Vec<_> = (0..1_000).map(|n| (n % 2 == 1).then(|| value.clone())).collect();
    assert!(found == expected);
}
