//! The audit log: who got in and who did not, and what became of accounts, by whose doing. JSON lines in a file that is only
//! ever appended to; never bodies, phone numbers, passwords, tokens or codes.
//!
//! Whoever notes something never waits: one thread owns the file, behind a bounded queue. When the queue is full, what comes
//! is dropped and counted, and the count stands in the next line. What has gathered is written at once, with one fsync, before
//! the next is taken: a crash loses what was noted in the last moments. Messaging goes on when the file cannot be written.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use godwit_metrics::{Counter, Gauge};
use godwit_store::time::wall_ms;
use rustix::fs::Access;
use serde::{Serialize, Serializer};
use tokio::sync::oneshot;
use tracing::{error, warn};

/// Entries that may wait: some megabytes. Further ones are dropped.
const QUEUE: usize = 16_384;
/// Entries that are written at once.
const BATCH_MAX: usize = 1_024;

/// By whose doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The administrator's token.
    Administrator,
    /// One of the operators' tokens that have names.
    Operator(TokenName),
    /// Somebody who proved to have a phone number.
    Registration,
    /// A token of the operator's own accounts.
    Token,
    /// The user, by one of its devices.
    User,
}

impl Actor {
    /// It may do what it likes, with whatever token.
    pub(crate) fn is_administrator(self) -> bool {
        matches!(self, Self::Administrator | Self::Operator(_))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Administrator | Self::Operator(_) => "administrator",
            Self::Registration => "registration",
            Self::Token => "token",
            Self::User => "user",
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The name of an operator's token: 1 to 32 of the characters `a-z A-Z 0-9 . _ -`. It tells in the audit who did something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenName {
    /// Filled up with zeros.
    bytes: [u8; Self::BYTES_MAX],
}

impl TokenName {
    /// Longest name.
    pub const BYTES_MAX: usize = 32;

    /// A name, if it is one.
    pub fn new(name: &str) -> Option<Self> {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let mut bytes = [0; Self::BYTES_MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        (!name.is_empty() && name.bytes().all(is_good)).then_some(Self { bytes })
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        let length = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(Self::BYTES_MAX);
        std::str::from_utf8(&self.bytes[..length]).unwrap_or_default()
    }
}

impl fmt::Debug for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenName").field(&self.as_str()).finish()
    }
}

/// One line, but for the time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// What happened.
    pub event: &'static str,
    /// Which user it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Which device of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Address of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// What was shown: "password", "certificate" or "token".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<&'static str>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl AuditEntry {
    /// An entry for an event that a client at this address caused.
    pub fn from(event: &'static str, address: Option<IpAddr>) -> Self {
        Self { event, address: address.map(|address| address.to_string()), ..Self::default() }
    }
}

/// Where entries go. Cheap to clone. The default: nowhere.
#[derive(Debug, Clone, Default)]
pub struct Audit(Option<AuditQueue>);

#[derive(Debug, Clone)]
struct AuditQueue {
    orders: SyncSender<AuditCommand>,
    dropped: Arc<AtomicU64>,
    metrics: Arc<AuditMetrics>,
}

/// What is counted of an audit.
#[derive(Debug, Default)]
pub struct AuditMetrics {
    /// Entries that wait to be written.
    pub waiting: Gauge,
    /// Entries that were noted.
    pub noted: Counter,
    /// Entries that were dropped, because the disk is too slow or the file cannot be written.
    pub dropped: Counter,
}

enum AuditCommand {
    Note(u64, AuditEntry),
    Reopen,
    Flush(oneshot::Sender<()>),
}

#[derive(Serialize)]
struct AuditLine<'a> {
    time_ms: u64,
    #[serde(flatten)]
    entry: &'a AuditEntry,
    /// Of the operator's token that did it, if it has a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

impl Audit {
    /// Appends to this file, which is made if it is not there (for its owner only), and again whenever it is moved away.
    ///
    /// # Errors
    /// The file cannot be opened, or the system gives no thread.
    pub fn start(path: &Path) -> io::Result<Self> {
        let (orders, queue) = sync_channel(QUEUE);
        let dropped = Arc::<AtomicU64>::default();
        let metrics = Arc::<AuditMetrics>::default();
        let writer = Writer {
            file: open(path)?,
            path: path.to_owned(),
            dropped: dropped.clone(),
            metrics: metrics.clone(),
            failing: false,
        };
        thread::Builder::new().name("godwit-audit".to_owned()).spawn(move || writer.run(&queue))?;
        Ok(Self(Some(AuditQueue { orders, dropped, metrics })))
    }

    /// Looks whether the file can be appended to, or made. Makes nothing.
    ///
    /// # Errors
    /// It cannot.
    pub fn check(path: &Path) -> io::Result<()> {
        match OpenOptions::new().append(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
            }
            opened => opened.map(drop),
        }
    }

    /// What is counted of it. `None`: nobody reads it.
    pub fn metrics(&self) -> Option<Arc<AuditMetrics>> {
        self.0.as_ref().map(|queue| queue.metrics.clone())
    }

    /// Somebody reads it.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Queues an entry. Never waits; without a file `entry` is not called. A full queue drops the entry and counts it.
    pub fn note(&self, entry: impl FnOnce() -> AuditEntry) {
        let Some(queue) = &self.0 else { return };
        queue.metrics.waiting.add(1);
        if queue.orders.try_send(AuditCommand::Note(wall_ms(), entry())).is_ok() {
            return queue.metrics.noted.increment();
        }
        queue.metrics.waiting.sub(1);
        queue.metrics.dropped.increment();
        if queue.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            warn!("audit: entries are dropped, the disk is too slow");
        }
    }

    /// Opens the file anew, for whoever has moved it away.
    pub fn reopen(&self) {
        if let Some(queue) = &self.0 {
            // When the queue is full the writer looks by itself, before it writes the next.
            _ = queue.orders.try_send(AuditCommand::Reopen);
        }
    }

    /// Returns when everything noted before is on disk, or cannot be.
    pub async fn flush(&self) {
        let Some(queue) = &self.0 else { return };
        let (tell, told) = oneshot::channel();
        if queue.orders.try_send(AuditCommand::Flush(tell)).is_ok() {
            _ = told.await;
        }
    }
}

/// The thread's own.
struct Writer {
    path: PathBuf,
    file: File,
    dropped: Arc<AtomicU64>,
    metrics: Arc<AuditMetrics>,
    /// The last attempt to write has failed, and that was said.
    failing: bool,
}

impl Writer {
    fn run(mut self, queue: &Receiver<AuditCommand>) {
        let mut lines = Vec::new();
        let mut waiting = Vec::new();
        while let Ok(first) = queue.recv() {
            let mut reopen = false;
            for order in std::iter::once(first).chain(queue.try_iter().take(BATCH_MAX)) {
                match order {
                    AuditCommand::Note(time_ms, entry) => {
                        self.metrics.waiting.sub(1);
                        write_line(&mut lines, time_ms, &entry);
                    }
                    AuditCommand::Reopen => reopen = true,
                    AuditCommand::Flush(tell) => waiting.push(tell),
                }
            }
            self.put(&mut lines, reopen);
            // Whoever waited may have gone.
            waiting.drain(..).for_each(|tell| _ = tell.send(()));
        }
    }

    fn put(&mut self, lines: &mut Vec<u8>, reopen: bool) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let line = serde_json::json!({ "time_ms": wall_ms(), "event": "dropped", "count": dropped });
            lines.extend_from_slice(format!("{line}\n").as_bytes());
        }
        match self.try_put(lines, reopen) {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    error!(%error, file = %self.path.display(), "audit: cannot be written, entries are dropped");
                }
                let lost = lines.iter().filter(|byte| **byte == b'\n').count();
                self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
                self.metrics.dropped.add(lost as u64);
            }
        }
        lines.clear();
    }

    fn try_put(&mut self, lines: &[u8], reopen: bool) -> io::Result<()> {
        if reopen || self.failing || self.has_been_moved() {
            self.file = open(&self.path)?;
        }
        if lines.is_empty() {
            return Ok(());
        }
        self.file.write_all(lines)?;
        self.file.sync_data()
    }

    fn has_been_moved(&self) -> bool {
        let identity = |found: fs::Metadata| (found.dev(), found.ino());
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(open)) => identity(there) != identity(open),
            _ => true,
        }
    }
}

fn write_line(lines: &mut Vec<u8>, time_ms: u64, entry: &AuditEntry) {
    // Strings and numbers always become JSON.
    let token = match &entry.by {
        Some(Actor::Operator(name)) => Some(name.as_str()),
        _ => None,
    };
    _ = serde_json::to_writer(&mut *lines, &AuditLine { time_ms, entry, token });
    lines.push(b'\n');
}

/// For appending, behind a whole line: a crash may have torn the last one.
fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    keep_from_others(&file);
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// A file that was there: a group may be meant to collect it, everybody is not.
fn keep_from_others(file: &File) {
    const EVERYBODY: u32 = 0o007;
    let Ok(found) = file.metadata() else { return };
    let mode = found.permissions().mode();
    if found.is_file()
        && mode & EVERYBODY != 0
        && let Err(error) = file.set_permissions(Permissions::from_mode(mode & !EVERYBODY))
    {
        warn!(%error, "audit: everybody may read the file");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn entry(user: &str) -> AuditEntry {
        AuditEntry { event: "login", user: Some(user.to_owned()), with: Some("password"), ..AuditEntry::default() }
    }

    fn events(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let values = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        values.map(|value| value["user"].as_str().or(value["event"].as_str()).unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn entries_are_lines_and_a_file_that_is_moved_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("audit"), folder.path().join("audit.1"));
        let audit = Audit::start(&path).unwrap();
        audit.note(|| entry("alice"));
        audit.flush().await;
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::rename(&path, &old).unwrap();
        audit.note(|| entry("bob"));
        audit.flush().await;
        assert_eq!((events(&old), events(&path)), (vec!["alice".to_owned()], vec!["bob".to_owned()]));
        for (before, after) in [(0o644, 0o640), (0o666, 0o660), (0o600, 0o600)] {
            fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            open(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, after, "a group may collect it");
        }
        fs::remove_file(&path).unwrap();
        audit.reopen();
        audit.flush().await;
        assert_eq!(events(&path), Vec::<String>::new());
    }

    #[test]
    fn a_line_names_the_token_that_did_it() {
        let line = |by| {
            let mut line = Vec::new();
            write_line(&mut line, 1, &AuditEntry { event: "user_removed", by: Some(by), ..AuditEntry::default() });
            String::from_utf8(line).unwrap()
        };
        assert_eq!(line(Actor::User), "{\"time_ms\":1,\"event\":\"user_removed\",\"by\":\"user\"}\n");
        let named = line(Actor::Operator(TokenName::new("grafana").unwrap()));
        assert!(named.ends_with("\"by\":\"administrator\",\"token\":\"grafana\"}\n"), "{named}");
    }

    #[test]
    fn names_of_tokens_are_short_and_plain() {
        let longest = "x".repeat(TokenName::BYTES_MAX);
        for good in ["a", "on-call.2", &longest] {
            assert_eq!(TokenName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "\u{e9}", "a\0", &format!("{longest}x")] {
            assert_eq!(TokenName::new(bad), None, "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_torn_line_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        fs::write(&path, "{\"event\":\"log").unwrap();
        let audit = Audit::start(&path).unwrap();
        audit.note(|| entry("alice"));
        audit.flush().await;
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"event\":\"log\n{\"time_ms\":"), "{text}");
    }

    #[test]
    fn a_full_queue_drops_and_the_next_lines_say_how_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let (orders, queue) = sync_channel(2);
        let dropped = Arc::<AtomicU64>::default();
        let metrics = Arc::<AuditMetrics>::default();
        let file = open(&path).unwrap();
        let writer =
            Writer { file, path: path.clone(), dropped: dropped.clone(), metrics: metrics.clone(), failing: false };
        let audit = Audit(Some(AuditQueue { orders, dropped, metrics: metrics.clone() }));
        for user in ["alice", "bob", "carol", "dave"] {
            audit.note(|| entry(user));
        }
        let counted = || [metrics.waiting.get(), metrics.noted.get(), metrics.dropped.get()];
        assert_eq!(counted(), [2, 2, 2]);
        drop(audit);
        writer.run(&queue);
        assert_eq!(counted(), [0, 2, 2]);
        assert_eq!(events(&path), ["alice", "bob", "dropped"]);
        assert!(fs::read_to_string(&path).unwrap().contains("\"count\":2"));
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub").join("audit");
        fs::create_dir(path.parent().unwrap()).unwrap();
        let dropped = Arc::<AtomicU64>::default();
        let file = open(&path).unwrap();
        let mut writer =
            Writer { file, path: path.clone(), dropped: dropped.clone(), metrics: Arc::default(), failing: false };
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        let mut lines = Vec::new();
        write_line(&mut lines, 1, &entry("alice"));
        writer.put(&mut lines, false);
        assert_eq!((dropped.load(Ordering::Relaxed), writer.failing, lines.len()), (1, true, 0));
        fs::create_dir(path.parent().unwrap()).unwrap();
        write_line(&mut lines, 2, &entry("bob"));
        writer.put(&mut lines, false);
        assert_eq!(events(&path), ["bob", "dropped"]);
    }
}
