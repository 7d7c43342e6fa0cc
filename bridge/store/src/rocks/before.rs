//! What is looked at before RocksDB opens a store. RocksDB deletes what its MANIFEST does not name, and passes over logs that
//! are missing or cut off: so what is there is compared first with what is known to have been there, and nothing is changed
//! when something is missing. Called when a store is opened. Keeps P1: what was acknowledged is not lost in silence.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use tracing::warn;

use super::fault::{damaged, unreadable};
use super::journal::{self, End, RecordPart};
use super::manifest::Manifest;
use super::synced::{self, Extent, Synced};
use crate::StoreError;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct PriorState {
    /// A store is to be made: there is none.
    pub(super) nothing: bool,
    /// A log that ends within a record: if RocksDB calls a log damaged and does not name it, it is this one.
    pub(super) torn: Option<PathBuf>,
}

/// Looks at a store that is in this folder, or is to be made there.
///
/// # Errors
/// Another process has it, or something of it is damaged or missing. The text names the file.
pub(super) fn look(path: &Path) -> Result<PriorState, StoreError> {
    let nothing = || Ok(PriorState { nothing: true, torn: None });
    let names = match names(path) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return nothing(),
        Err(error) => return Err(unreadable(path)(error)),
    };
    let has = |name: &str| names.iter().any(|it| it.file_name().is_some_and(|it| it == name));
    if has("LOCK") && is_held(&path.join("LOCK")) {
        let cause = format!("the data in {} is held by another server that runs", path.display());
        return Err(StoreError { doing: "open the store", cause });
    }
    if !has("CURRENT") {
        return match names.iter().find(|name| is_data(name)) {
            Some(data) => {
                let missing = path.join("CURRENT");
                Err(damaged(&format!("{} is missing, and there is {}", missing.display(), data.display())))
            }
            None => nothing(),
        };
    }
    let synced = read_synced(path)?;
    let (name, manifest) = read_manifest(path, synced.as_ref().map(|synced| &synced.manifest))?;
    look_at_tables(path, &name, &manifest)?;
    let torn = look_at_logs(path, &name, &manifest, synced.as_ref().map_or(&[], |synced| &synced.logs))?;
    Ok(PriorState { nothing: false, torn })
}

/// What is in a folder.
pub(super) fn names(path: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

/// What is there only if there was a CURRENT. The first MANIFEST is written before it.
fn is_data(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_later_manifest = name.starts_with("MANIFEST-") && name != "MANIFEST-000001";
    name.ends_with(".sst") || name.ends_with(".log") || name == synced::NAME || is_later_manifest
}

/// Whether another process has it: looking at logs that grow would show them torn. RocksDB locks it for good right after.
fn is_held(lock: &Path) -> bool {
    // Whoever may not even write it will hear so from RocksDB.
    let Ok(file) = File::options().write(true).open(lock) else { return false };
    let held = fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive);
    matches!(held, Err(Errno::AGAIN | Errno::ACCESS))
}

fn read_synced(path: &Path) -> Result<Option<Synced>, StoreError> {
    let file = path.join(synced::NAME);
    let synced = match Synced::read(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(damaged(&format!("{} is not what was written", file.display())));
        }
        synced => synced.map_err(unreadable(&file))?,
    };
    if synced.is_none() {
        warn!(
            file = %file.display(),
            "nothing says how much of the store was on disk, as in a store of an earlier version: what is there is taken for \
             all there was"
        );
    }
    Ok(synced)
}

/// Reads the MANIFEST that CURRENT names.
fn read_manifest(path: &Path, known: Option<&Extent>) -> Result<(PathBuf, Manifest), StoreError> {
    let current = path.join("CURRENT");
    let number = synced::current(path).map_err(unreadable(&current))?;
    let number = number.ok_or_else(|| damaged(&format!("{} does not name a MANIFEST", current.display())))?;
    let name = synced::manifest(path, number);
    let known = match known {
        Some(known) if number < known.number => {
            let (current, latest) = (current.display(), synced::manifest(path, known.number));
            let (name, note) = (name.display(), synced::NAME);
            return Err(damaged(&format!(
                "{current} names {name}, and {note} says that {} was there",
                latest.display()
            )));
        }
        known => known.filter(|known| known.number == number),
    };
    let missing = || format!("{} is missing, and {} names it", name.display(), current.display());
    let file = open(&name)?.ok_or_else(|| damaged(&missing()))?;
    let mut manifest = Manifest::new();
    let mut is_readable = true;
    let torn = read(&name, &file, known, |part| is_readable = is_readable && manifest.take(part).is_ok())?;
    if let Some(offset) = torn {
        warn!(file = %name.display(), offset, "the store's MANIFEST ends within a record, as a crash leaves it");
    }
    if is_readable && manifest.is_complete() {
        Ok((name, manifest))
    } else {
        Err(damaged(&format!("{} does not say what belongs to the store", name.display())))
    }
}

/// Every table that the MANIFEST names is there, with the length that it has there. What is in it has checksums that are
/// looked at whenever it is read.
fn look_at_tables(path: &Path, manifest_name: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    let by = manifest_name.display();
    for (number, bytes) in manifest.tables() {
        let name = path.join(format!("{number:06}.sst"));
        let file = name.display();
        match fs::metadata(&name) {
            Ok(found) if found.len() == bytes => {}
            Ok(found) => {
                return Err(damaged(&format!("{file} has {} bytes, and had {bytes}, as {by} says", found.len())));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(&format!("{file} is missing, and {by} names it")));
            }
            Err(error) => return Err(unreadable(&name)(error)),
        }
    }
    Ok(())
}

/// What the MANIFEST has not in tables is in logs. Returns the last that is torn.
fn look_at_logs(
    path: &Path,
    manifest_name: &Path,
    manifest: &Manifest,
    known: &[Extent],
) -> Result<Option<PathBuf>, StoreError> {
    let is_needed = |number: u64| number >= manifest.oldest_log();
    let logs = synced::logs(path).map_err(unreadable(path))?;
    for known in known.iter().filter(|known| is_needed(known.number)) {
        if !logs.iter().any(|(number, _)| *number == known.number) {
            let missing = path.join(format!("{:06}.log", known.number));
            let (missing, by, note, bytes) = (missing.display(), manifest_name.display(), synced::NAME, known.bytes);
            let what = format!("{missing} is missing, {by} needs it, and {note} says that it had {bytes} bytes");
            return Err(damaged(&what));
        }
    }
    let mut last_torn = None;
    for (number, name) in logs.iter().filter(|(number, _)| is_needed(*number)) {
        let known = known.iter().find(|known| known.number == *number);
        let Some(file) = open(name)? else { continue };
        if let Some(offset) = read(name, &file, known, |_| ())? {
            warn!(
                file = %name.display(),
                offset,
                "the store's log ends within a record, as a crash leaves it: what was being written and was not \
                 acknowledged is dropped"
            );
            last_torn = Some(name.clone());
        }
    }
    Ok(last_torn)
}

fn open(name: &Path) -> Result<Option<File>, StoreError> {
    synced::open_if_there(name).map_err(unreadable(name))
}

/// Reads a journal to its end, which may be torn (where, is returned), but not before what is known to have been on disk.
fn read(
    name: &Path,
    file: &File,
    known: Option<&Extent>,
    each: impl FnMut(RecordPart<'_>),
) -> Result<Option<u64>, StoreError> {
    let shown = name.display();
    let reading = journal::read(file, each).map_err(unreadable(name))?;
    if let End::Damaged(at) = reading.end {
        return Err(damaged(&format!("{shown} cannot be read at byte {at}, and is not just cut off there")));
    }
    if let Some(known) = known {
        let (bytes, whole, note) = (known.bytes, reading.whole_bytes, synced::NAME);
        if whole < bytes {
            return Err(damaged(&format!("{shown} ends at byte {whole}, and {note} says that it had {bytes} bytes")));
        }
        if !known.is_of(file).map_err(unreadable(name))? {
            return Err(damaged(&format!("{shown} is not the file that {note} says, or that is of another store")));
        }
    }
    Ok(if let End::Torn(at) = reading.end { Some(at) } else { None })
}
