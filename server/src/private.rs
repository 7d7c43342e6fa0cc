//! What a server keeps is for its user only: messages, accounts, keys. What it makes is made so; what was there before, or was
//! made by an earlier version, is tightened at each start.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::Errno;
use rustix::process::umask;

/// Bits of everybody but the owner.
const OTHERS: u32 = 0o077;
/// What stands in a data folder, by how the names begin.
const OURS: [&str; 10] = [
    "store",
    "origin.json",
    "media",
    "admin",
    "listeners.",
    LOCK,
    "audit",
    "checkpoint",
    "settings.toml",
    "lost+found",
];
/// Held by a bridge that keeps no store in its data folder. (RocksDB locks its own.)
const LOCK: &str = "bridge.lock";

/// From now on this process makes nothing that others may open.
pub(crate) fn by_default() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// Makes the data folder, or tightens one that holds nothing else.
///
/// # Errors
/// It cannot be made.
pub(crate) fn data_folder(path: &Path) -> anyhow::Result<()> {
    make(path)?;
    let entries = fs::read_dir(path).with_context(|| format!("read the data folder {}", path.display()))?;
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
    let strange = names.into_iter().find(|name| !OURS.iter().any(|ours| name.to_string_lossy().starts_with(ours)));
    match (strange, open_to_others(path)) {
        (_, None) => {}
        (None, Some(mode)) => tighten(path, mode),
        (Some(strange), Some(mode)) => tracing::warn!(
            folder = %path.display(),
            mode = format!("{mode:o}"),
            beside = %strange.display(),
            "others may open the data folder; it is left so, since it is not for the server alone"
        ),
    }
    Ok(())
}

/// Keeps other bridges out of a data folder for as long as the file is open.
///
/// # Errors
/// Another one is there.
pub(crate) fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join(LOCK);
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let file = open.with_context(|| format!("open {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            let folder = data.display();
            Err(anyhow!("another bridge runs in {folder}: each member of a cluster needs a data folder of its own"))
        }
        Err(error) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

/// Makes a folder, or tightens it.
///
/// # Errors
/// It cannot be made.
pub(crate) fn folder(path: &Path) -> anyhow::Result<()> {
    make(path)?;
    file(path);
    Ok(())
}

/// Tightens a file, if it is there.
pub(crate) fn file(path: &Path) {
    if let Some(mode) = open_to_others(path) {
        tighten(path, mode);
    }
}

fn make(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("make the folder {}", path.display()))
}

/// Its permissions, if they are for more than its owner.
fn open_to_others(path: &Path) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    (mode & OTHERS != 0).then_some(mode)
}

/// A server that may not do that works all the same, as it did when the operator made it so.
fn tighten(path: &Path, mode: u32) {
    let (file, before) = (path.display(), format!("{mode:o}"));
    match fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS)) {
        Ok(()) => tracing::info!(%file, mode = before, "others could open it: it is for the server's user only now"),
        // It has gone in between.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%file, mode = before, %error, "others may open it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("its owner's");
    }

    #[test]
    fn what_is_made_and_what_was_there_is_for_its_owner_only() {
        let root = tempfile::tempdir().expect("a folder");
        let data = root.path().join("data");
        for before in [None, Some(0o755), Some(0o777), Some(0o770), Some(0o700)] {
            if let Some(before) = before {
                set_mode(&data, before);
            }
            data_folder(&data).expect("made");
            assert_eq!(mode(&data), 0o700);
            fs::write(data.join("media.keys"), "secret").expect("written");
            set_mode(&data.join("media.keys"), 0o644);
            file(&data.join("media.keys"));
            assert_eq!(mode(&data.join("media.keys")), 0o600);
            folder(&data.join("store")).expect("made");
            assert_eq!(mode(&data.join("store")), 0o700);
        }
        file(&data.join("not there"));
    }

    #[test]
    fn one_bridge_at_a_time_has_a_data_folder() {
        let data = tempfile::tempdir().expect("a folder");
        let first = lock(data.path()).expect("nobody is there");
        assert!(lock(data.path()).expect_err("somebody is").to_string().contains("another bridge runs in"));
        drop(first);
        lock(data.path()).expect("it has gone");
    }

    #[test]
    fn a_shared_folder_keeps_its_mode_and_its_files_lose_theirs() {
        let root = tempfile::tempdir().expect("a folder");
        set_mode(root.path(), 0o755);
        fs::write(root.path().join("passwd"), "").expect("written");
        data_folder(root.path()).expect("there");
        assert_eq!(mode(root.path()), 0o755);
        let store = root.path().join("store");
        fs::create_dir(&store).expect("made");
        set_mode(&store, 0o755);
        folder(&store).expect("there");
        assert_eq!(mode(&store), 0o700);
    }
}
