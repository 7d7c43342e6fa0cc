//! The mark beside the store, `origin.json`: which store was here at the last start. A store that does not fit it was brought
//! back from a backup, which nobody can see in the store alone (see [`godwit_bridge::origin`]).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use godwit_bridge::origin::{OutsideMark, WentBack, settle, settle_shared};
use godwit_store::rocks::RocksStore;
use godwit_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::exit::{CommandFailure, FAILED};
use crate::{private, runtime_files};

/// In the data folder.
const FILE: &str = "origin.json";
/// RocksDB makes it with the store, and never again.
const FIRST_FILE: &str = "store/IDENTITY";

#[derive(Debug, Serialize, Deserialize)]
struct MarkFile {
    /// 16 hexadecimal digits.
    server: String,
    /// 16 hexadecimal digits.
    epoch: String,
    starts: u64,
    /// When the store's first file was made on this file system, or its number there: a copy has another.
    files: String,
}

/// Finds out whether the open store of this data folder went back, and leaves the mark for the next start.
///
/// # Errors
/// The store fails, or the mark cannot be read or written.
pub(super) async fn find_out(data: &Path, store: &RocksStore) -> anyhow::Result<()> {
    let mark = read(data)?;
    keep(data, settle(store, mark.as_ref(), files(data)?, now_ms()).await)
}

/// As [`find_out`], of the store of a cluster that this process leads now. The mark says what this process saw when it led last.
///
/// # Errors
/// As [`find_out`].
pub(super) async fn find_out_shared(data: &Path, store: &impl Store) -> anyhow::Result<()> {
    let mark = read(data)?;
    keep(data, settle_shared(store, mark.as_ref(), now_ms()).await)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}

fn keep(data: &Path, settled: Result<(OutsideMark, Option<WentBack>), StoreError>) -> anyhow::Result<()> {
    let (mark, went_back) = settled.context("find out which store this is")?;
    write(data, &mark)?;
    if let Some(went_back) = went_back {
        tracing::warn!(
            why = went_back.why(),
            epoch = hex(mark.epoch),
            "the store counts as restored: clients are told, and numbers go on above all that were given"
        );
    }
    Ok(())
}

/// `godwit restored`: the next start takes the store for one that went back.
///
/// # Errors
/// There is no store, or the mark cannot be removed.
pub(crate) fn forget(data: &Path) -> Result<(), CommandFailure> {
    let failed = |text| CommandFailure::new(FAILED, text);
    if !data.join("store").is_dir() {
        return Err(failed(format!("no store in {}: say --data DIR", data.display())));
    }
    match fs::remove_file(data.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed(format!("remove {}: {error}", data.join(FILE).display())))
        }
        _ => Ok(()),
    }
}

/// `godwit restored` in a cluster: when this bridge leads next, it takes the store for one that went back.
///
/// # Errors
/// The mark cannot be written.
pub(crate) fn forget_shared(data: &Path) -> Result<(), CommandFailure> {
    private::data_folder(data)?;
    // No store has this name.
    write(data, &OutsideMark { server: 0, epoch: 0, starts: 0, files: String::new() })?;
    Ok(())
}

fn read(data: &Path) -> anyhow::Result<Option<OutsideMark>> {
    let path = data.join(FILE);
    let kept = match runtime_files::read::<MarkFile>(&path) {
        Ok(kept) => kept,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // It says nothing then, and that is safe.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            tracing::warn!(file = %path.display(), %error, "cannot be read");
            return Ok(None);
        }
        Err(error) => return Err(error).context(format!("read {}", path.display())),
    };
    let number = |hex: &str| u64::from_str_radix(hex, 16).ok();
    let (server, epoch) = (number(&kept.server), number(&kept.epoch));
    let mark = |(server, epoch)| OutsideMark { server, epoch, starts: kept.starts, files: kept.files.clone() };
    Ok(server.zip(epoch).map(mark))
}

fn write(data: &Path, mark: &OutsideMark) -> anyhow::Result<()> {
    let OutsideMark { server, epoch, starts, files } = mark;
    let kept = MarkFile { server: hex(*server), epoch: hex(*epoch), starts: *starts, files: files.clone() };
    runtime_files::write(&data.join(FILE), &kept)?;
    let folder = File::open(data).and_then(|folder| folder.sync_all());
    folder.with_context(|| format!("sync {}", data.display()))
}

/// What tells the store's files from a copy of them.
fn files(data: &Path) -> anyhow::Result<String> {
    let path = data.join(FIRST_FILE);
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error).context(format!("look at {}", path.display())),
    };
    let made = metadata.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    Ok(match made.filter(|made| !made.is_zero()) {
        Some(made) => format!("made {}.{:09}", made.as_secs(), made.subsec_nanos()),
        // This file system does not keep that.
        None => format!("number {}", metadata.ino()),
    })
}

fn hex(number: u64) -> String {
    format!("{number:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_kept_and_one_that_says_nothing_counts_as_none() {
        let data = tempfile::tempdir().expect("a folder");
        assert_eq!(read(data.path()).expect("read"), None);
        let mark = OutsideMark { server: u64::MAX, epoch: 1, starts: 7, files: "made 1.5".to_owned() };
        write(data.path(), &mark).expect("written");
        assert_eq!(read(data.path()).expect("read"), Some(mark));
        for bytes in ["", "{", "{}", "\0\0\0", r#"{"server":"x","epoch":"1","starts":1,"files":""}"#] {
            fs::write(data.path().join(FILE), bytes).expect("written");
            assert_eq!(read(data.path()).expect("no error"), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_copy_is_told_from_what_it_is_a_copy_of() {
        let data = tempfile::tempdir().expect("a folder");
        assert_eq!(files(data.path()).expect("none yet"), "");
        fs::create_dir(data.path().join("store")).expect("made");
        fs::write(data.path().join(FIRST_FILE), "id").expect("written");
        let first = files(data.path()).expect("there");
        assert_eq!(files(data.path()).expect("there"), first);
        fs::rename(data.path().join("store"), data.path().join("away")).expect("moved");
        // File systems tell times apart that are some milliseconds from each other.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::create_dir(data.path().join("store")).expect("made");
        fs::copy(data.path().join("away/IDENTITY"), data.path().join(FIRST_FILE)).expect("copied");
        assert_ne!(files(data.path()).expect("there"), first);
    }

    #[test]
    fn only_a_folder_with_a_store_can_have_been_restored() {
        let data = tempfile::tempdir().expect("a folder");
        assert!(forget(data.path()).is_err());
        fs::create_dir(data.path().join("store")).expect("made");
        write(data.path(), &OutsideMark { server: 1, epoch: 1, starts: 1, files: String::new() }).expect("written");
        assert!(forget(data.path()).is_ok() && forget(data.path()).is_ok(), "once or twice");
        assert_eq!(read(data.path()).expect("read"), None);
    }
}
