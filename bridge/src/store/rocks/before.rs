//! What is looked at before RocksDB opens a store, since RocksDB would not say it, or not clearly.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use tracing::warn;

use super::fault::{damaged, unreadable};
use super::wal::{self, End};
use crate::store::StoreError;

/// Whether a store is to be made in this folder: there is none.
///
/// # Errors
/// Another process has it; a log is damaged; or the file that says what belongs to the store is gone: RocksDB would take
/// that for an empty folder.
pub(super) fn look(path: &Path) -> Result<bool, StoreError> {
    let names = match names(path) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(unreadable(path)(error)),
    };
    let has = |name: &str| names.iter().any(|it| it.file_name().is_some_and(|it| it == name));
    if has("LOCK") && is_held(&path.join("LOCK")) {
        let cause = format!("the data in {} is held by another server that runs", path.display());
        return Err(StoreError { doing: "open the store", cause });
    }
    if !has("CURRENT") {
        let is_data = |it: &&PathBuf| it.extension().is_some_and(|it| it == "sst" || it == "log");
        return match names.iter().find(is_data) {
            Some(data) => {
                let missing = path.join("CURRENT");
                Err(damaged(&format!("{} is missing, and there is {}", missing.display(), data.display())))
            }
            None => Ok(true),
        };
    }
    for log in wal::logs(path).map_err(unreadable(path))? {
        match wal::end(&log).map_err(unreadable(&log))? {
            End::Clean => {}
            End::Torn(at) => warn!(
                file = %at.file.display(),
                offset = at.offset,
                "the store's log ends within a record, as a crash leaves it: what was being written and was not \
                 acknowledged is dropped"
            ),
            End::Damaged(at) => {
                let (file, offset) = (at.file.display(), at.offset);
                return Err(damaged(&format!("{file} cannot be read at byte {offset}, and is not just cut off there")));
            }
        }
    }
    Ok(false)
}

/// Says in which log RocksDB has found damage, if it was a log.
pub(super) fn name_damage(path: &Path, error: StoreError) -> StoreError {
    let damage = wal::logs(path).unwrap_or_default().iter().find_map(|log| wal::first_damage(log).ok().flatten());
    match damage {
        Some(at) => damaged(&format!("{} has a wrong checksum at byte {}", at.file.display(), at.offset)),
        None => error,
    }
}

fn names(path: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

/// Whether another process has it: looking at logs that grow would show them torn. RocksDB locks it for good right after.
fn is_held(lock: &Path) -> bool {
    // Whoever may not even write it will hear so from RocksDB.
    let Ok(file) = File::options().write(true).open(lock) else { return false };
    let held = fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive);
    matches!(held, Err(Errno::AGAIN | Errno::ACCESS))
}
