//! What every store must do, as calls and answers. For the tests of stores, also of an app's own.

use super::{LocalStore, Scan};

/// Panics with what is wrong. `open` opens the store of this name: a new one at first, afterwards the same one again,
/// as an app would that was killed in between.
///
/// # Panics
/// If it is no store.
pub fn check<S: LocalStore>(mut open: impl FnMut(&str) -> S) {
    values(open("values"));
    scans(open("scans"));
    rollbacks(open("rollbacks"));
    what_was_committed_is_there_again(&mut open);
    much(open("much"));
}

fn get(store: &mut impl LocalStore, key: &[u8]) -> Option<Vec<u8>> {
    store.get(key).expect("read")
}

fn put(store: &mut impl LocalStore, key: &[u8], value: &[u8]) {
    store.put(key, value).expect("write");
}

fn keys(store: &mut impl LocalStore, from: &[u8], to: &[u8], order: Scan, limit: usize) -> Vec<Vec<u8>> {
    store.scan(from, to, order, limit).expect("read").into_iter().map(|(key, _)| key).collect()
}

fn values(mut store: impl LocalStore) {
    assert_eq!(get(&mut store, b"a"), None, "nothing is there at first");
    put(&mut store, b"a", b"one");
    assert_eq!(get(&mut store, b"a"), Some(b"one".to_vec()), "a read sees the write before it");
    put(&mut store, b"a", b"two");
    put(&mut store, b"empty", b"");
    put(&mut store, b"", b"the empty key");
    store.commit().expect("commit");
    assert_eq!(get(&mut store, b"a"), Some(b"two".to_vec()));
    assert_eq!(get(&mut store, b"empty"), Some(Vec::new()), "an empty value is one");
    assert_eq!(get(&mut store, b""), Some(b"the empty key".to_vec()));
    assert_eq!(get(&mut store, b"A"), None, "keys are bytes");
    store.delete(b"a").expect("write");
    store.delete(b"was never there").expect("write");
    assert_eq!(get(&mut store, b"a"), None);
    store.commit().expect("commit");
    store.commit().expect("a commit of nothing");
}

fn scans(mut store: impl LocalStore) {
    for key in [&b"b"[..], b"a", b"a\x00", b"a\xff", b"c", b"\xff"] {
        put(&mut store, key, key);
    }
    let all: Vec<Vec<u8>> = [&b"a"[..], b"a\x00", b"a\xff", b"b", b"c"].map(<[u8]>::to_vec).to_vec();
    let reversed: Vec<_> = all.iter().rev().cloned().collect();
    assert_eq!(keys(&mut store, b"a", b"d", Scan::Forward, 99), all, "by bytes, also before the commit");
    store.commit().expect("commit");
    assert_eq!(keys(&mut store, b"a", b"d", Scan::Forward, 99), all);
    assert_eq!(keys(&mut store, b"a", b"d", Scan::Backward, 99), reversed);
    assert_eq!(keys(&mut store, b"a", b"d", Scan::Forward, 2), all[..2]);
    assert_eq!(keys(&mut store, b"a", b"d", Scan::Backward, 2), reversed[..2]);
    assert_eq!(keys(&mut store, b"a\x00", b"b", Scan::Forward, 99), all[1..3], "from, not to");
    assert_eq!(keys(&mut store, b"b", b"b", Scan::Forward, 99), Vec::<Vec<u8>>::new());
    assert_eq!(keys(&mut store, b"c", b"a", Scan::Forward, 99), Vec::<Vec<u8>>::new(), "the wrong way round");
    assert_eq!(store.scan(b"b", b"c", Scan::Forward, 9).expect("read"), [(b"b".to_vec(), b"b".to_vec())]);
}

fn rollbacks(mut store: impl LocalStore) {
    put(&mut store, b"kept", b"old");
    put(&mut store, b"kept too", b"old");
    store.commit().expect("commit");
    put(&mut store, b"kept", b"new");
    put(&mut store, b"kept", b"newer");
    put(&mut store, b"other", b"new");
    store.delete(b"kept too").expect("write");
    store.rollback().expect("roll back");
    let there = [&b"kept"[..], b"kept too", b"other"].map(|key| get(&mut store, key));
    assert_eq!(there, [Some(b"old".to_vec()), Some(b"old".to_vec()), None]);
    store.rollback().expect("roll back nothing");
    put(&mut store, b"other", b"again");
    store.commit().expect("commit");
    assert_eq!(get(&mut store, b"other"), Some(b"again".to_vec()), "life goes on");
}

fn what_was_committed_is_there_again<S: LocalStore>(open: &mut impl FnMut(&str) -> S) {
    let mut store = open("again");
    put(&mut store, b"committed", b"1");
    store.commit().expect("commit");
    put(&mut store, b"committed", b"2");
    put(&mut store, b"not committed", b"1");
    drop(store);
    let mut store = open("again");
    assert_eq!(get(&mut store, b"committed"), Some(b"1".to_vec()));
    assert_eq!(get(&mut store, b"not committed"), None);
}

fn much(mut store: impl LocalStore) {
    let body = vec![7; 100_000];
    for number in 0..200_u64 {
        put(&mut store, &number.to_be_bytes(), &body[..number as usize * 500]);
    }
    store.commit().expect("commit");
    let pairs = store.scan(&[], &[0xFF], Scan::Forward, usize::MAX).expect("read");
    assert_eq!(pairs.len(), 200);
    assert!(pairs.iter().enumerate().all(|(at, (_, value))| value.len() == at * 500), "of any size, in order");
}
