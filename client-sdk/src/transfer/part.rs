//! A file that is not whole yet, beside the place where it is to be. Its name is made of a secret of the client's store, so
//! that it is nobody else's and no sender can choose it; it is made only where there is nothing of that name, and written on
//! only if it is the plain file that was looked at. A later attempt, also of another run of the app, finds it by its name.

use std::fs::Metadata;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncSeekExt as _;

use crate::error::Error;
use crate::ledger::thread::LedgerThread;
use crate::media::Media;

/// Where it is.
pub(super) async fn path(ledger: &LedgerThread, media: &Media, path: &Path) -> Result<PathBuf, Error> {
    let (id, sha256, place) = (media.id.clone(), media.sha256.clone(), path.as_os_str().as_encoded_bytes().to_vec());
    let name = ledger.call(move |ledger| ledger.secret_name(&[id.as_bytes(), &sha256, &place])).await?;
    Ok(path.with_file_name(format!(".godwit-{name}.part")))
}

/// How much of it is there.
///
/// # Errors
/// What is there is no plain file, or cannot be looked at.
pub(super) async fn size(part: &Path) -> io::Result<u64> {
    match fs::symlink_metadata(part).await {
        Ok(metadata) => plain(&metadata).map(|()| metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// What is there up to here, to be written on.
///
/// # Errors
/// What is there is no plain file, or cannot be written.
pub(super) async fn open(part: &Path, from: u64) -> io::Result<File> {
    // Where something is already, a link included, nothing is made.
    let mut file = match OpenOptions::new().write(true).create_new(true).open(part).await {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_known(part).await?,
        made => made?,
    };
    file.set_len(from).await?;
    file.seek(SeekFrom::Start(from)).await?;
    Ok(file)
}

/// One of an earlier attempt: what is opened must be what was looked at, and that no link.
async fn open_known(part: &Path) -> io::Result<File> {
    let seen = fs::symlink_metadata(part).await?;
    plain(&seen)?;
    let file = OpenOptions::new().write(true).open(part).await?;
    let opened = file.metadata().await?;
    plain(&opened)?;
    if is_same(&seen, &opened) { Ok(file) } else { Err(io::Error::other("was replaced")) }
}

/// A file with this name only.
fn plain(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() && names(metadata) == 1 {
        Ok(())
    } else {
        Err(io::Error::other("is no file of this program"))
    }
}

#[cfg(unix)]
fn names(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

#[cfg(not(unix))]
fn names(_: &Metadata) -> u64 {
    1
}

#[cfg(unix)]
fn is_same(one: &Metadata, two: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (two.dev(), two.ino())
}

#[cfg(not(unix))]
fn is_same(one: &Metadata, two: &Metadata) -> bool {
    one.created().ok() == two.created().ok()
}

/// On the disk before it has its name, and with it afterwards. What has that name meanwhile stays.
///
/// # Errors
/// `AlreadyExists`, or it cannot be written.
pub(super) async fn put_in_place(part: &Path, path: &Path) -> io::Result<()> {
    open_known(part).await?.sync_all().await?;
    match fs::hard_link(part, path).await {
        Ok(()) => fs::remove_file(part).await?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // A file system without links: an empty file of this program's own keeps the place.
        Err(_) => {
            OpenOptions::new().write(true).create_new(true).open(path).await?;
            fs::rename(part, path).await?;
        }
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Not everywhere can a folder be synced.
    if let Ok(folder) = File::open(folder).await {
        _ = folder.sync_all().await;
    }
    Ok(())
}

/// Whether an attempt that was killed had put it in its place. Then it is there only.
pub(super) async fn was_put(part: &Path, path: &Path) -> bool {
    match (fs::symlink_metadata(part).await, fs::symlink_metadata(path).await) {
        (Ok(one), Ok(two)) if is_same(&one, &two) => fs::remove_file(part).await.is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs as now;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn written(part: &Path, from: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = open(part, from).await?;
        file.write_all(bytes).await?;
        file.flush().await
    }

    #[tokio::test]
    async fn it_goes_on_where_it_was_and_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (part, path) = (folder.path().join("part"), folder.path().join("saved"));
        assert_eq!(size(&part).await.unwrap(), 0);
        written(&part, 0, b"abcdef").await.unwrap();
        written(&part, 3, b"DE").await.unwrap();
        assert_eq!(size(&part).await.unwrap(), 5);
        put_in_place(&part, &path).await.unwrap();
        assert_eq!((now::read(&path).unwrap(), part.exists()), (b"abcDE".to_vec(), false));
        assert!(!was_put(&part, &path).await, "another file");
        now::hard_link(&path, &part).unwrap();
        assert!(was_put(&part, &path).await && path.exists() && !part.exists());
    }

    #[tokio::test]
    async fn what_somebody_has_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        now::write(at("mine"), "mine").unwrap();
        written(&at("part"), 0, b"new").await.unwrap();
        let taken = put_in_place(&at("part"), &at("mine")).await.unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("mine"), at("link")).unwrap();
            std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
            now::hard_link(at("mine"), at("second name")).unwrap();
            for name in ["link", "dangling", "second name"] {
                assert!(written(&at(name), 0, b"new").await.is_err(), "{name}");
                assert!(size(&at(name)).await.is_err(), "{name}");
            }
            assert!(put_in_place(&at("part"), &at("dangling")).await.is_err());
            assert!(!at("nowhere").exists());
        }
        assert_eq!(now::read(at("mine")).unwrap(), b"mine");
    }
}
