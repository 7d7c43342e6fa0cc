//! From what went wrong in RocksDB, and around it, to what an operator reads: what happened to which file, and what
//! to do. Every error of this crate that an operator sees is made here.

use std::io;
use std::path::Path;

use crate::StoreError;

/// Where operators read on.
pub(super) const CHAPTER: &str = "see \"When the disk fails\" in docs/operators/disk.md";

/// RocksDB's own error while `doing` something.
pub(super) fn failed(doing: &'static str) -> impl Fn(rocksdb::Error) -> StoreError {
    move |error| {
        let is_damage = error.kind() == rocksdb::ErrorKind::Corruption;
        let text = error.into_string();
        if is_damage {
            return StoreError { doing, cause: format!("{text}; what is on disk is damaged: {CHAPTER}") };
        }
        StoreError { doing, cause: with_advice(text) }
    }
}

/// A file of ours beside those of RocksDB.
pub(super) fn failed_beside(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError { doing, cause: with_advice(format!("{}: {error}", path.display())) }
}

fn with_advice(text: String) -> String {
    let advice = if text.contains("No space left") {
        "make room and start again: everything acknowledged is there"
    } else if text.contains("Read-only file system") {
        "the file system is read-only: find out why (its log, the disk), make it writable, start again"
    } else if text.contains("Permission denied") {
        "the server's user may not write there"
    } else {
        return text;
    };
    format!("{text}; {advice}")
}

/// Damage that was found before RocksDB looked.
pub(super) fn damaged(what: &str) -> StoreError {
    StoreError { doing: "open the store", cause: format!("{what}: what is on disk is damaged: {CHAPTER}") }
}

/// A file that cannot be read.
pub(super) fn unreadable(path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError { doing: "open the store", cause: format!("{}: {error}", path.display()) }
}
