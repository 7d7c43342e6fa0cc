//! A file on this device. What is sent must be what it was when the app said so: size and time of the last change are
//! compared whenever it is opened, and its hash is of all that was read.

use std::fs::{self, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::task::spawn_blocking;

use crate::error::{Error, FileFailure};

/// Read for a hash at a time.
const READ_BYTES: usize = 256 << 10;

/// Why a file was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadError {
    /// It will not be read the next time either.
    Failed(FileFailure),
    /// The app's runtime is ending. That says nothing about the file.
    Interrupted,
}

impl From<FileFailure> for ReadError {
    fn from(failure: FileFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Failed(failure) => failure.into(),
            ReadError::Interrupted => Self::Closed,
        }
    }
}

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
    pub(super) async fn look(path: &Path) -> Result<Self, ReadError> {
        let path = path.to_owned();
        read(move || {
            let metadata = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
            if metadata.is_file() {
                Ok(Self::of(&metadata))
            } else {
                Err(FileFailure::Io(format!("{}: no file", path.display())))
            }
        })
        .await
    }
}

/// Opens a file that must be what it was, to be read on from this byte.
pub(super) async fn open_unchanged(path: &Path, stamp: FileStamp, from: u64) -> Result<File, ReadError> {
    let path = path.to_owned();
    let file = read(move || {
        let unreadable = |error| unreadable(&path, &error);
        let mut file = fs::File::open(&path).map_err(unreadable)?;
        if FileStamp::of(&file.metadata().map_err(unreadable)?) != stamp {
            return Err(FileFailure::Changed);
        }
        file.seek(SeekFrom::Start(from)).map_err(unreadable)?;
        Ok(file)
    });
    Ok(File::from_std(file.await?))
}

/// SHA-256 of a file, off the runtime. `told` hears now and then how many bytes are read. Stops when it is dropped.
pub(super) async fn hash(path: &Path, told: impl Fn(u64) + Send + 'static) -> Result<Bytes, ReadError> {
    let wanted = Arc::new(());
    let (path, asked): (PathBuf, _) = (path.to_owned(), Arc::downgrade(&wanted));
    let hash = read(move || {
        let mut file = fs::File::open(&path).map_err(|error| unreadable(&path, &error))?;
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
    let hash = hash.await;
    drop(wanted);
    hash
}

/// Reads off the runtime.
async fn read<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileFailure> + Send + 'static,
) -> Result<T, ReadError> {
    match spawn_blocking(work).await {
        Ok(read) => Ok(read?),
        // A runtime begins nothing any more when it is ending.
        Err(error) if error.is_cancelled() => Err(ReadError::Interrupted),
        Err(error) => Err(FileFailure::Io(error.to_string()).into()),
    }
}

/// What a failure to read means.
fn unreadable(path: &Path, error: &io::Error) -> FileFailure {
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
        assert_eq!(FileStamp::look(&path).await, Err(FileFailure::Gone.into()));
        let folder_itself = FileStamp::look(folder.path()).await;
        assert!(matches!(folder_itself, Err(ReadError::Failed(FileFailure::Io(_)))), "{folder_itself:?}");
        std::fs::write(&path, "abc").unwrap();
        let stamp = FileStamp::look(&path).await.unwrap();
        open_unchanged(&path, stamp, 0).await.unwrap();
        // printf abc | sha256sum
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash = hash(&path, |_| {}).await.unwrap();
        assert_eq!(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
        std::fs::write(&path, "abcd").unwrap();
        assert_eq!(open_unchanged(&path, stamp, 0).await.unwrap_err(), FileFailure::Changed.into());
    }

    #[test]
    fn a_runtime_that_ends_says_nothing_about_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        let outside = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let inside = tokio::runtime::Runtime::new().unwrap();
        let handle = inside.handle().clone();
        inside.shutdown_background();
        let looked = outside.block_on(async {
            let _ended = handle.enter();
            FileStamp::look(&path).await
        });
        assert_eq!(looked, Err(ReadError::Interrupted));
    }
}
