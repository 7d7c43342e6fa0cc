//! Backups as operators make them: copies of the store, or of the whole data folder.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::server::Server;

/// What is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored {
    /// The store, beside the mark of the last start.
    Store,
    /// The store, in a folder that has nothing else, as on another machine.
    StoreAlone,
    /// The whole folder, the mark included.
    Folder,
}

pub(crate) const WAYS: [Restored; 3] = [Restored::Store, Restored::StoreAlone, Restored::Folder];

/// A copy of a data folder.
pub(crate) struct Backup(TempDir);

impl Backup {
    /// Of a server that does not run.
    pub(crate) fn of(server: &Server) -> Self {
        let it = Self(tempfile::tempdir().expect("a folder"));
        copy(server.data(), it.0.path());
        it
    }

    /// Into the folder of a server that does not run.
    pub(crate) fn put_back(&self, server: &Server, what: Restored) {
        let (from, to) = (self.0.path(), server.data());
        match what {
            Restored::Store => fs::remove_dir_all(to.join("store")).expect("removed"),
            Restored::StoreAlone | Restored::Folder => empty(to),
        }
        match what {
            Restored::Store | Restored::StoreAlone => copy(&from.join("store"), &to.join("store")),
            Restored::Folder => copy(from, to),
        }
    }
}

/// Leaves nothing in a folder but what tests keep there for clients.
pub(crate) fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match is_clients(&path) {
            true => {}
            false if path.is_dir() => fs::remove_dir_all(path).expect("removed"),
            false => fs::remove_file(path).expect("removed"),
        }
    }
}

/// Tests keep clients' stores in the same folder.
fn is_clients(path: &Path) -> bool {
    path.extension().is_some_and(|it| it.to_string_lossy().starts_with("sqlite"))
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&from, &to),
            false if is_clients(&from) => {}
            false => _ = fs::copy(&from, &to).expect("copied"),
        }
    }
}
