//! A store is of one server, a person types the same command for all. So a store that turns out to be of another server than
//! the one that answers is put aside under that server's name, and the one of this server, if there was one, comes back.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use godwit_client::{Client, OfflineCause, Status};
use tokio::time::timeout;

/// What SQLite may leave beside a store.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// Whether the store is of another server than the one that answers within `wait`: the two servers, the store's first. A store
/// that is of none yet is not waited for.
pub(crate) async fn other_server(client: &Client, wait: Duration) -> Option<(String, String)> {
    client.server()?;
    let mut status = client.status();
    let known = timeout(wait, status.wait_for(|status| *status != Status::Connecting)).await.ok()?.ok()?.clone();
    match known {
        Status::Offline(OfflineCause::OtherServer { expected, found }) => Some((expected, found)),
        _ => None,
    }
}

/// Puts a closed store aside, as that of `expected`, and brings back that of `found`, if there is one.
pub(crate) fn exchange(store: &Path, expected: &str, found: &str) -> io::Result<()> {
    for part in PARTS {
        rename(&with(store, part), &with(store, &format!(".{expected}{part}")))?;
    }
    for part in PARTS {
        rename(&with(store, &format!(".{found}{part}")), &with(store, part))?;
    }
    Ok(())
}

fn with(store: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(store);
    name.push(end);
    name.into()
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_its_store_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("alice.phone.sqlite");
        fs::write(&store, "first").unwrap();
        exchange(&store, "1", "2").unwrap();
        assert!(!store.exists());
        fs::write(&store, "second").unwrap();
        fs::write(with(&store, "-wal"), "second's").unwrap();
        exchange(&store, "2", "1").unwrap();
        assert_eq!(fs::read_to_string(&store).unwrap(), "first");
        assert!(!with(&store, "-wal").exists());
        exchange(&store, "1", "2").unwrap();
        assert_eq!(fs::read_to_string(with(&store, "-wal")).unwrap(), "second's");
    }
}
