//! A file on this device. What is sent must be what it was when the app said so: size and time of the last change are
//! compared whenever it is opened, and its hash is of all that was read.

use std::fs::Metadata;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::task::spawn_blocking;

use crate::error::FileFailure;

/// Read for a hash at a time.
const READ_BYTES: usize = 256 << 10;

/// What a file was like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileStamp {
    pub(super) size: u64,
    /// Since 1970; 0 where the file system does not say.
    pub(super) modified_ns: u64,
}

impl FileStamp {
    fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ns = modified.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
        Self { size: metadata.len(), modified_ns }
    }

    /// Of a file that is there.
    pub(super) async fn look(path: &Path) -> Result<Self, FileFailure> {
        let metadata = tokio::fs::metadata(path).await.map_err(|error| unreadable(path, &error))?;
        if metadata.is_file() {
            Ok(Self::of(&metadata))
        } else {
            Err(FileFailure::Io(format!("{}: no file", path.display())))
        }
    }
}

/// Opens a file that must be what it was.
pub(super) async fn open_unchanged(path: &Path, stamp: FileStamp) -> Result<File, FileFailure> {
    let file = File::open(path).await.map_err(|error| unreadable(path, &error))?;
    let metadata = file.metadata().await.map_err(|error| unreadable(path, &error))?;
    if FileStamp::of(&metadata) == stamp { Ok(file) } else { Err(FileFailure::Changed) }
}

/// SHA-256 of a file, off the runtime. `told` hears now and then how many bytes are read. Stops when it is dropped.
pub(super) async fn hash(path: &Path, told: impl Fn(u64) + Send + 'static) -> Result<Bytes, FileFailure> {
    let wanted = Arc::new(());
    let (path, asked): (PathBuf, _) = (path.to_owned(), Arc::downgrade(&wanted));
    let hash = spawn_blocking(move || -> Result<Bytes, FileFailure> {
        let mut file = std::fs::File::open(&path).map_err(|error| unreadable(&path, &error))?;
        let (mut hash, mut buffer, mut done) = (Sha256::new(), vec![0; READ_BYTES], 0);
        while asked.strong_count() > 0 {
            match file.read(&mut buffer).map_err(|error| unreadable(&path, &error))? {
                0 => return Ok(hash.finalize().to_vec().into()),
                read => {
                    hash.update(&buffer[..read]);
                    done += read as u64;
                    told(done);
                }
            }
        }
        Err(FileFailure::Cancelled)
    });
    let hash = hash.await.map_err(|error| FileFailure::Io(error.to_string()));
    drop(wanted);
    hash?
}

/// What a failure to read means.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> FileFailure {
    match error.kind() {
        io::ErrorKind::NotFound => FileFailure::Gone,
        _ => FileFailure::Io(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_known_by_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert_eq!(FileStamp::look(&path).await, Err(FileFailure::Gone));
        assert!(matches!(FileStamp::look(folder.path()).await, Err(FileFailure::Io(_))));
        std::fs::write(&path, "abc").unwrap();
        let stamp = FileStamp::look(&path).await.unwrap();
        open_unchanged(&path, stamp).await.unwrap();
        // printf abc | sha256sum
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash = hash(&path, |_| {}).await.unwrap();
        assert_eq!(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
        std::fs::write(&path, "abcd").unwrap();
        assert_eq!(open_unchanged(&path, stamp).await.unwrap_err(), FileFailure::Changed);
    }
}
