//! From what went wrong in RocksDB, and around it, to what an operator reads: what happened to which file, and what to do.

use std::path::Path;

use crate::store::StoreError;

const CHAPTER: &str = "see \"When the disk fails\" in docs/operators.md";

/// RocksDB's own error while `doing` something.
pub(super) fn failed(doing: &'static str) -> impl Fn(rocksdb::Error) -> StoreError {
    move |error| {
        let kind = error.kind();
        let text = error.into_string();
        let advice = if kind == rocksdb::ErrorKind::Corruption {
            format!("what is on disk is damaged: {CHAPTER}")
        } else if text.contains("No space left") {
            "make room and start again: everything acknowledged is there".to_owned()
        } else if text.contains("Read-only file system") {
            "the file system is read-only: find out why (its log, the disk), make it writable, start again".to_owned()
        } else if text.contains("Permission denied") {
            "the server's user may not write there".to_owned()
        } else {
            return StoreError { doing, cause: text };
        };
        StoreError { doing, cause: format!("{text}; {advice}") }
    }
}

/// Damage that was found before RocksDB looked.
pub(super) fn damaged(what: &str) -> StoreError {
    StoreError { doing: "open the store", cause: format!("{what}: what is on disk is damaged: {CHAPTER}") }
}

/// A file that cannot be read.
pub(super) fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    move |error| StoreError { doing: "open the store", cause: format!("{}: {error}", path.display()) }
}
