//! Objects as files: `objects/<key>` is the content, and behind it its SHA-256 (32 bytes), so that one file says all and
//! appears in one step. `uploads/<key>.<upload>/<part>`: parts. `incoming/`: what is being received; emptied at each start.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;

use crate::condition::Condition;

/// Bytes of a SHA-256.
pub(crate) const HASH_BYTES: u64 = 32;
/// How long a sender may send nothing.
const SILENCE: Duration = Duration::from_secs(60);
const COPY_BYTES: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    reserve_bytes: u64,
    /// For names within `incoming`.
    next: AtomicU64,
    /// Held while an object is put in its place or leaves it: a condition is judged by what is replaced.
    placing: Mutex<()>,
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PutRefusal {
    /// No key, upload or part could have this name, or none has.
    #[error("no such object")]
    Absent,
    /// Another SHA-256 was announced.
    #[error("the content is not what was announced")]
    WrongHash,
    /// Another object is there than the condition of the request wants, or one at all.
    #[error("a condition does not hold")]
    Another,
    /// There is too little room.
    #[error("the disk is nearly full")]
    NoRoom,
    /// The sender stopped in the middle.
    #[error("the content was cut off: {0}")]
    CutOff(String),
    /// The file system.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An object that is there.
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) size: u64,
    pub(crate) hash: [u8; HASH_BYTES as usize],
    /// When it was received.
    pub(crate) modified: SystemTime,
}

impl Folder {
    /// Makes the folder if there is none, and drops what was being received when the last server ended. With less than
    /// `reserve_bytes` free on its disk nothing more is received.
    ///
    /// # Errors
    /// The file system's.
    pub async fn open(root: &Path, reserve_bytes: u64) -> io::Result<Self> {
        let incoming = root.join("incoming");
        match fs::remove_dir_all(&incoming).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for folder in [incoming, root.join("objects"), root.join("uploads")] {
            fs::create_dir_all(folder).await?;
        }
        Ok(Self { root: root.to_owned(), reserve_bytes, next: AtomicU64::new(0), placing: Mutex::default() })
    }

    fn object(&self, key: &str) -> Result<PathBuf, PutRefusal> {
        Ok(self.root.join("objects").join(name(key)?))
    }

    fn upload(&self, key: &str, upload: &str) -> Result<PathBuf, PutRefusal> {
        Ok(self.root.join("uploads").join(format!("{}.{}", name(key)?, name(upload)?)))
    }

    /// Receives an object and puts it in its place, if `condition` holds; returns its SHA-256. On disk when it returns.
    pub(crate) async fn put<S, E>(
        &self,
        key: &str,
        content: S,
        announced: Option<[u8; 32]>,
        condition: &Condition,
    ) -> Result<[u8; 32], PutRefusal>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let target = self.object(key)?;
        judge(&target, condition).await?;
        let mut incoming = self.incoming().await?;
        let mut hash = Sha256::new();
        incoming.receive(content, |bytes| hash.update(bytes)).await?;
        let hash: [u8; 32] = hash.finalize().into();
        if announced.is_some_and(|announced| announced != hash) {
            return Err(PutRefusal::WrongHash);
        }
        self.place(incoming, &target, &hash, condition).await?;
        Ok(hash)
    }

    /// Receives a part. It is on disk with the whole object, later.
    pub(crate) async fn put_part<S, E>(&self, key: &str, upload: &str, part: u32, content: S) -> Result<u64, PutRefusal>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let folder = self.upload(key, upload)?;
        if !fs::try_exists(&folder).await? {
            return Err(PutRefusal::Absent);
        }
        let mut incoming = self.incoming().await?;
        let mut size = 0;
        incoming.receive(content, |bytes| size += bytes.len() as u64).await?;
        incoming.file.flush().await?;
        incoming.rename(&folder.join(part.to_string())).await.map_err(absent)?;
        Ok(size)
    }

    /// Begins an upload in parts.
    pub(crate) async fn begin(&self, key: &str, upload: &str) -> Result<(), PutRefusal> {
        Ok(fs::create_dir(self.upload(key, upload)?).await?)
    }

    /// Parts that are there, with their sizes, ascending.
    pub(crate) async fn parts(&self, key: &str, upload: &str) -> Result<Vec<(u32, u64)>, PutRefusal> {
        let mut entries = fs::read_dir(self.upload(key, upload)?).await.map_err(absent)?;
        let mut parts = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let Some(part) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            parts.push((part, entry.metadata().await?.len()));
        }
        parts.sort_unstable();
        Ok(parts)
    }

    /// Makes an object of these parts, in this order; returns its SHA-256. On disk when it returns.
    pub(crate) async fn assemble(&self, key: &str, upload: &str, parts: &[u32]) -> Result<[u8; 32], PutRefusal> {
        let (target, folder) = (self.object(key)?, self.upload(key, upload)?);
        let mut incoming = self.incoming().await?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; COPY_BYTES];
        for part in parts {
            let mut file = File::open(folder.join(part.to_string())).await.map_err(absent)?;
            loop {
                let len = file.read(&mut buffer).await?;
                if len == 0 {
                    break;
                }
                hash.update(&buffer[..len]);
                incoming.file.write_all(&buffer[..len]).await?;
            }
        }
        let hash = hash.finalize().into();
        self.place(incoming, &target, &hash, &Condition::default()).await?;
        fs::remove_dir_all(&folder).await?;
        Ok(hash)
    }

    /// Uploads in parts of an object.
    pub(crate) async fn uploads(&self, key: &str) -> Result<Vec<String>, PutRefusal> {
        let before = format!("{}.", name(key)?);
        let mut entries = fs::read_dir(self.root.join("uploads")).await?;
        let mut uploads = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            let upload = entry.file_name().to_str().and_then(|name| name.strip_prefix(&before)).map(str::to_owned);
            uploads.extend(upload);
        }
        Ok(uploads)
    }

    /// Ends an upload.
    pub(crate) async fn abort(&self, key: &str, upload: &str) -> Result<(), PutRefusal> {
        fs::remove_dir_all(self.upload(key, upload)?).await.map_err(absent)
    }

    /// Looks at an object.
    pub(crate) async fn find(&self, key: &str) -> Result<Found, PutRefusal> {
        find(&self.object(key)?).await
    }

    /// Deletes an object. For good when it returns.
    pub(crate) async fn delete(&self, key: &str) -> Result<(), PutRefusal> {
        let path = self.object(key)?;
        let placing = self.placing.lock().await;
        fs::remove_file(&path).await.map_err(absent)?;
        drop(placing);
        Ok(sync_parent(&path).await?)
    }

    /// Completes an object and puts it in its place. On disk when it returns.
    async fn place(
        &self,
        mut incoming: Incoming,
        target: &Path,
        hash: &[u8; 32],
        condition: &Condition,
    ) -> Result<(), PutRefusal> {
        incoming.finish(hash).await?;
        let placing = self.placing.lock().await;
        judge(target, condition).await?;
        incoming.rename(target).await?;
        drop(placing);
        Ok(sync_parent(target).await?)
    }

    async fn incoming(&self) -> Result<Incoming, PutRefusal> {
        // Where the disk cannot be asked, the write will tell.
        let disk = rustix::fs::statvfs(&self.root).ok();
        let free = disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        if free.is_some_and(|free| free < self.reserve_bytes) {
            return Err(PutRefusal::NoRoom);
        }
        let path = self.root.join("incoming").join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        Ok(Incoming { file: File::create_new(&path).await?, path })
    }
}

/// A file that is not there yet. Whoever gives up on it leaves nothing.
struct Incoming {
    file: File,
    path: PathBuf,
}

impl Incoming {
    async fn receive<S, E>(&mut self, mut content: S, mut each: impl FnMut(&Bytes)) -> Result<(), PutRefusal>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        loop {
            let silent = |_| PutRefusal::CutOff("silence".to_owned());
            let next = tokio::time::timeout(SILENCE, content.next()).await.map_err(silent)?;
            let Some(bytes) = next else { return Ok(()) };
            let bytes = bytes.map_err(|error| PutRefusal::CutOff(error.to_string()))?;
            each(&bytes);
            self.file.write_all(&bytes).await?;
        }
    }

    /// All of it is on disk when this returns.
    async fn finish(&mut self, hash: &[u8; 32]) -> io::Result<()> {
        self.file.write_all(hash).await?;
        self.file.flush().await?;
        self.file.sync_all().await
    }

    async fn rename(&mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target).await?;
        self.path = PathBuf::new();
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The object of this path.
async fn find(path: &Path) -> Result<Found, PutRefusal> {
    let mut file = File::open(path).await.map_err(absent)?;
    let about = file.metadata().await?;
    let size = about.len().checked_sub(HASH_BYTES).ok_or(PutRefusal::Absent)?;
    let mut hash = [0; HASH_BYTES as usize];
    file.seek(SeekFrom::Start(size)).await?;
    file.read_exact(&mut hash).await?;
    Ok(Found { file, size, hash, modified: about.modified()? })
}

/// Whether what is there now may be replaced.
async fn judge(path: &Path, condition: &Condition) -> Result<(), PutRefusal> {
    if !condition.is_some() {
        return Ok(());
    }
    match find(path).await {
        Ok(found) => condition.judge(Some(&found.hash)),
        Err(PutRefusal::Absent) => condition.judge(None),
        Err(other) => Err(other),
    }
}

/// A new or removed name is on disk with its folder.
async fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder).await?.sync_all().await,
        None => Ok(()),
    }
}

/// Keys become names of files: nothing else is taken for one.
fn name(key: &str) -> Result<&str, PutRefusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=128).contains(&key.len()) && key.bytes().all(plain) { Ok(key) } else { Err(PutRefusal::Absent) }
}

fn absent(error: io::Error) -> PutRefusal {
    if error.kind() == io::ErrorKind::NotFound { PutRefusal::Absent } else { PutRefusal::Io(error) }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn content(chunks: &[&'static str]) -> impl Stream<Item = Result<Bytes, String>> + Unpin + use<> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        stream::iter(chunks)
    }

    async fn files(root: &Path, folder: &str) -> usize {
        let mut entries = fs::read_dir(root.join(folder)).await.expect("a folder");
        let mut count = 0;
        while entries.next_entry().await.expect("an entry").is_some() {
            count += 1;
        }
        count
    }

    #[tokio::test]
    async fn only_what_was_announced_is_there() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(root.path(), 0).await.expect("made");
        let hash: [u8; 32] = Sha256::digest(b"hello world").into();
        folder.put("a", content(&["hello", " world"]), Some(hash), &Condition::default()).await.expect("stored");
        let found = folder.find("a").await.expect("there");
        assert_eq!((found.size, found.hash), (11, hash));
        let wrong = folder.put("b", content(&["hello"]), Some(hash), &Condition::default()).await;
        assert!(matches!(wrong, Err(PutRefusal::WrongHash)));
        let cut_off = content(&["he"]).chain(stream::iter([Err("cut".to_owned())]));
        assert!(matches!(folder.put("c", cut_off, None, &Condition::default()).await, Err(PutRefusal::CutOff(_))));
        assert_eq!((files(root.path(), "objects").await, files(root.path(), "incoming").await), (1, 0));
        folder.delete("a").await.expect("deleted");
        assert!(matches!(folder.delete("a").await, Err(PutRefusal::Absent)));
    }

    #[tokio::test]
    async fn parts_become_one_object() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(root.path(), 0).await.expect("made");
        folder.begin("a", "u").await.expect("begun");
        for (part, text) in [(2, "world"), (1, "hell"), (1, "hello ")] {
            folder.put_part("a", "u", part, content(&[text])).await.expect("stored");
        }
        assert_eq!(folder.parts("a", "u").await.expect("parts"), [(1, 6), (2, 5)]);
        assert!(matches!(folder.assemble("a", "u", &[1, 2, 3]).await, Err(PutRefusal::Absent)));
        assert_eq!(folder.uploads("a").await.expect("uploads"), ["u"]);
        folder.assemble("a", "u", &[1, 2]).await.expect("assembled");
        let hash: [u8; 32] = Sha256::digest(b"hello world").into();
        assert_eq!(folder.find("a").await.expect("there").hash, hash);
        assert!(matches!(folder.put_part("a", "u", 1, content(&["x"])).await, Err(PutRefusal::Absent)));
        assert_eq!((files(root.path(), "uploads").await, files(root.path(), "incoming").await), (0, 0));
    }

    #[tokio::test]
    async fn of_many_who_create_an_object_one_does() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(root.path(), 0).await.expect("made");
        let mut headers = hyper::HeaderMap::new();
        headers.insert("if-none-match", "*".parse().expect("a value"));
        let create = Condition::of(&headers).expect("a condition");
        // All are received before the first is put in its place.
        let puts = ["one", "two", "three"].map(|text| folder.put("a", content(&[text]), None, &create));
        let ended = futures::future::join_all(puts).await;
        let created: Vec<_> = ended.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(created.len(), 1, "{ended:?}");
        assert_eq!(folder.find("a").await.expect("there").hash, *created[0]);
        assert!(matches!(folder.put("a", content(&["four"]), None, &create).await, Err(PutRefusal::Another)));
        assert_eq!(files(root.path(), "incoming").await, 0);
        folder.put("a", content(&["five"]), None, &Condition::default()).await.expect("replaced");
    }

    #[tokio::test]
    async fn nothing_outside_is_reached_and_a_start_empties_incoming() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(root.path(), 0).await.expect("made");
        for key in ["", ".", "..", "../a", "a/b", "a\0", "é"] {
            assert!(
                matches!(folder.put(key, content(&["x"]), None, &Condition::default()).await, Err(PutRefusal::Absent)),
                "{key}"
            );
            assert!(matches!(folder.begin("a", key).await, Err(PutRefusal::Absent)), "{key}");
        }
        std::fs::write(root.path().join("incoming/7"), "torn").expect("written");
        let folder = Folder::open(root.path(), u64::MAX).await.expect("opened again");
        assert!(matches!(folder.put("a", content(&["x"]), None, &Condition::default()).await, Err(PutRefusal::NoRoom)));
        assert_eq!(files(root.path(), "incoming").await, 0);
    }
}
