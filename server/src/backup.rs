//! `godwit backup` and `godwit restore`: a copy of a running server's data, and back.
//!
//! A backup folder has `files/`, each by the SHA-256 of its content, and `backups/`, a listing for each backup. So a later backup
//! copies only what is new, each backup is whole, and damage is seen. A listing appears when all that it names is on disk: a backup
//! that was cut off leaves the ones before as they were.
//!
//! The server makes a checkpoint of its store, which is one moment of it and holds all that was acknowledged; this program copies
//! from there. Files that users sent are copied after it, so none that the store refers to is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use godwit_store::time;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::admin::AdminClient;
use crate::cli::{BackupArgs, RestoreArgs};
use crate::commands::{connect, print_json};
use crate::exit::{CommandFailure, DATA, FAILED};
use crate::serve::origin;
use crate::{private, settings};

const FILES: &str = "files";
const LISTINGS: &str = "backups";
/// Where a file is written before its content is known.
const UNFINISHED: &str = "unfinished";
const CHUNK: usize = 1 << 20;

/// One backup.
#[derive(Debug, Serialize, Deserialize)]
struct Listing {
    /// Second since 1970, which is its name too.
    made_at_s: u64,
    /// Of the program that made it.
    version: String,
    /// By their places in the data folder.
    files: BTreeMap<String, BackedUp>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct BackedUp {
    sha256: String,
    bytes: u64,
    /// Nanoseconds since 1970 of its last change: with the same place and length, the same content.
    changed_ns: i128,
}

/// A folder of backups, which this process has for itself.
struct BackupFolder {
    path: PathBuf,
    _lock: File,
}

/// `godwit backup DIR`
pub(crate) fn backup(BackupArgs { folder, keep, place }: BackupArgs) -> Result<(), CommandFailure> {
    private::by_default();
    let (settings, _) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    let server = connect(&place)?;
    let folder = BackupFolder::open(&folder, true)?;
    let checkpoint = Checkpoint::make(&server)?;
    let mut sources = vec![("store".to_owned(), checkpoint.path.clone())];
    sources.extend(["media", "media.keys", "admin-tokens.toml"].map(|it| (it.to_owned(), settings.data_dir.join(it))));
    sources.extend(place.config.map(|file| ("settings.toml".to_owned(), file)));
    let before = folder.newest()?.map(|listing| listing.files).unwrap_or_default();
    let mut run = BackupRun { folder: &folder, before, files: BTreeMap::new(), copied: 0 };
    for (name, source) in sources {
        run.take(&name, &source)?;
    }
    let BackupRun { files, copied, .. } = run;
    drop(checkpoint);
    let bytes: u64 = files.values().map(|file| file.bytes).sum();
    let count = files.len();
    let last = folder.names()?.last().copied().unwrap_or(0);
    let made_at_s = time::wall().as_secs().max(last + 1);
    folder.write(&Listing { made_at_s, version: crate::VERSION.to_owned(), files })?;
    if let Some(keep) = keep {
        folder.prune(keep)?;
    }
    print_json(&serde_json::json!({ "backup": made_at_s, "files": count, "bytes": bytes, "copied_bytes": copied }))
}

/// `godwit restore DIR`
pub(crate) fn restore(RestoreArgs { folder, backup, check, place }: RestoreArgs) -> Result<(), CommandFailure> {
    private::by_default();
    let (settings, _) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    let folder = BackupFolder::open(&folder, false)?;
    let listing = match backup {
        Some(backup) => folder.read(backup)?,
        None => folder.newest()?.ok_or_else(|| anyhow!("there is no backup in {}", folder.path.display()))?,
    };
    if check {
        for (name, file) in &listing.files {
            folder.copy_out(name, file, &mut io::sink())?;
        }
    } else {
        put_back(&folder, &listing, &settings.data_dir)?;
    }
    print_json(&serde_json::json!({
        "backup": listing.made_at_s,
        "files": listing.files.len(),
        "bytes": listing.files.values().map(|file| file.bytes).sum::<u64>(),
    }))
}

/// Into a data folder without a store. The store gets its name when all of it is there.
fn put_back(folder: &BackupFolder, listing: &Listing, data: &Path) -> Result<(), CommandFailure> {
    let store = data.join("store");
    if store.exists() {
        let text = format!("{} is there already: stop the server and move it away first", store.display());
        return Err(CommandFailure::new(FAILED, text));
    }
    private::data_folder(data)?;
    let unfinished = data.join("store.unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).context("remove what an earlier attempt has left")?;
    }
    for (name, file) in &listing.files {
        let to = match name.strip_prefix("store/") {
            Some(rest) => unfinished.join(rest),
            None => data.join(name),
        };
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        }
        let mut out = File::create(&to).with_context(|| format!("write {}", to.display()))?;
        folder.copy_out(name, file, &mut out)?;
        out.sync_all().with_context(|| format!("write {}", to.display()))?;
    }
    let finish = || {
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, &store)?;
        File::open(data)?.sync_all()
    };
    finish().with_context(|| format!("write {}", store.display()))?;
    // However the folder looked before: the next start counts as one after a restore.
    origin::forget(data)
}

/// A checkpoint of a running server's store, which is removed when this is dropped.
struct Checkpoint<'a> {
    server: &'a AdminClient,
    path: PathBuf,
}

impl<'a> Checkpoint<'a> {
    fn make(server: &'a AdminClient) -> Result<Self, CommandFailure> {
        Ok(Self { server, path: server.make_checkpoint()? })
    }
}

impl Drop for Checkpoint<'_> {
    fn drop(&mut self) {
        // A server that has ended removes it at its next start, and the next checkpoint takes its place.
        _ = self.server.remove_checkpoint();
    }
}

/// A backup that is being made.
struct BackupRun<'a> {
    folder: &'a BackupFolder,
    before: BTreeMap<String, BackedUp>,
    files: BTreeMap<String, BackedUp>,
    copied: u64,
}

impl BackupRun<'_> {
    /// Takes in a file, or a folder with all that is in it. What is not there, or goes meanwhile, is left out.
    fn take(&mut self, name: &str, path: &Path) -> anyhow::Result<()> {
        let found = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found.with_context(|| format!("read {}", path.display()))?,
        };
        if found.is_dir() {
            for entry in fs::read_dir(path).with_context(|| format!("read {}", path.display()))? {
                let entry = entry.with_context(|| format!("read {}", path.display()))?;
                let within = entry.file_name();
                let within =
                    within.to_str().with_context(|| format!("{} has no name in UTF-8", entry.path().display()))?;
                self.take(&format!("{name}/{within}"), &entry.path())?;
            }
            return Ok(());
        }
        let changed_ns = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        let known = self.before.get(name).filter(|known| known.bytes == found.len() && known.changed_ns == changed_ns);
        if let Some(known) = known.filter(|known| self.folder.has(known)) {
            self.files.insert(name.to_owned(), known.clone());
            return Ok(());
        }
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file.with_context(|| format!("read {}", path.display()))?,
        };
        let (sha256, bytes) = self.folder.copy_in(&mut file).with_context(|| format!("copy {}", path.display()))?;
        self.copied += bytes;
        self.files.insert(name.to_owned(), BackedUp { sha256, bytes, changed_ns });
        Ok(())
    }
}

impl BackupFolder {
    fn open(path: &Path, make: bool) -> anyhow::Result<Self> {
        if make {
            for folder in [FILES, LISTINGS] {
                fs::create_dir_all(path.join(folder)).with_context(|| format!("make {}", path.display()))?;
            }
        }
        let lock = File::open(path).with_context(|| format!("open {}", path.display()))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("{} is in use by another backup or restore", path.display()))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    fn place(&self, sha256: &str) -> PathBuf {
        self.path.join(FILES).join(sha256.get(..2).unwrap_or_default()).join(sha256)
    }

    fn has(&self, file: &BackedUp) -> bool {
        fs::metadata(self.place(&file.sha256)).is_ok_and(|found| found.len() == file.bytes)
    }

    /// Copies a file in: the SHA-256 of its content, in hexadecimal, and its length. Durable when it returns.
    fn copy_in(&self, file: &mut File) -> anyhow::Result<(String, u64)> {
        let unfinished = self.path.join(UNFINISHED);
        let mut copy = File::create(&unfinished)?;
        let (hash, bytes) = copy_hashed(file, &mut copy)?;
        copy.sync_all()?;
        let place = self.place(&hash);
        let folder = place.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder)?;
        fs::rename(&unfinished, &place)?;
        File::open(folder)?.sync_all()?;
        Ok((hash, bytes))
    }

    /// Copies a file out, and looks whether it is what was copied in.
    fn copy_out(&self, name: &str, file: &BackedUp, to: &mut impl io::Write) -> Result<(), CommandFailure> {
        let place = self.place(&file.sha256);
        let damaged = |what: String| CommandFailure::new(DATA, format!("{}, which is {name}: {what}", place.display()));
        let mut stored = File::open(&place).map_err(|error| damaged(error.to_string()))?;
        let (hash, bytes) = copy_hashed(&mut stored, to).map_err(|error| damaged(error.to_string()))?;
        if (&hash, bytes) != (&file.sha256, file.bytes) {
            return Err(damaged("its content is not what was backed up".to_owned()));
        }
        Ok(())
    }

    /// Of all backups, oldest first.
    fn names(&self) -> anyhow::Result<Vec<u64>> {
        let listings = self.path.join(LISTINGS);
        let entries =
            fs::read_dir(&listings).with_context(|| format!("{} is no folder of backups", self.path.display()))?;
        let names =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        Ok(names)
    }

    fn newest(&self) -> anyhow::Result<Option<Listing>> {
        self.names()?.last().map(|name| self.read(*name)).transpose()
    }

    fn listing(&self, name: u64) -> PathBuf {
        self.path.join(LISTINGS).join(format!("{name}.json"))
    }

    fn read(&self, name: u64) -> anyhow::Result<Listing> {
        let path = self.listing(name);
        let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let listing: Listing = serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))?;
        for (name, file) in &listing.files {
            let is_inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
            let is_hash = file.sha256.len() == 64 && file.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
            ensure!(is_inside && is_hash, "{}: {name:?} is no file of a backup", path.display());
        }
        Ok(listing)
    }

    /// Durable when it returns.
    fn write(&self, listing: &Listing) -> anyhow::Result<()> {
        let path = self.listing(listing.made_at_s);
        let write = || {
            let unfinished = self.path.join(UNFINISHED);
            let mut file = File::create(&unfinished)?;
            serde_json::to_writer(&mut file, listing)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(self.path.join(LISTINGS))?.sync_all()
        };
        write().with_context(|| format!("write {}", path.display()))
    }

    /// Leaves the newest backups, and the files that they name.
    fn prune(&self, keep: usize) -> anyhow::Result<()> {
        let names = self.names()?;
        let (old, kept) = names.split_at(names.len().saturating_sub(keep.max(1)));
        for name in old {
            fs::remove_file(self.listing(*name)).context("remove an old backup")?;
        }
        let mut named = BTreeSet::new();
        for name in kept {
            named.extend(self.read(*name)?.files.into_values().map(|file| file.sha256));
        }
        for folder in fs::read_dir(self.path.join(FILES))?.flatten() {
            for file in fs::read_dir(folder.path())?.flatten() {
                if file.file_name().to_str().is_some_and(|name| !named.contains(name)) {
                    fs::remove_file(file.path()).context("remove a file of an old backup")?;
                }
            }
        }
        Ok(())
    }
}

/// Copies all there is: its SHA-256 in hexadecimal, and its length.
fn copy_hashed(from: &mut File, to: &mut impl io::Write) -> io::Result<(String, u64)> {
    let (mut hash, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok((hash, bytes));
        }
        hash.update(&chunk[..read]);
        to.write_all(&chunk[..read])?;
        bytes += read as u64;
    }
}
