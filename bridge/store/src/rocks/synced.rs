//! `SYNCED`, a file beside RocksDB's own: how much of MANIFEST and logs is known to be on disk. Keeps P1: a MANIFEST or a log
//! that was cut off between two records, lost or replaced looks like any other, and is told by this.
//!
//! It says no more than what is on disk already, whenever the process or the power goes: it may lag behind, and that is safe.
//! Tables need no line: the MANIFEST names them with their sizes. A later MANIFEST, or a longer one, is later than what is
//! said here. It makes the same state of tables and those logs that it has not in tables, and all logs that anything
//! acknowledged went to are named here, by the first synced commit that went there; unless they were in tables before, as the
//! MANIFEST that is named here says.
//!
//! The file: first how long the newest log is, which is overwritten in place after each synced commit, without an fsync: a
//! process that dies leaves it, and after a power cut an older one may be there. From [`LIST`] on the list, which is written
//! anew, atomically and with an fsync, at each start and with the first synced commit in each log.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::journal;

/// Its name.
pub(super) const NAME: &str = "SYNCED";
/// Where the list begins: what is overwritten in place shares no sector with it.
const LIST: usize = 4_096;
/// Bytes of the line that is overwritten.
const LINE: usize = 64;
/// Bytes at the beginning of a file by which it is known again.
const HEAD: u64 = 4_096;
/// No store has so many logs that the file is longer.
const FILE_MAX: u64 = 1 << 20;

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// In its name.
    pub(super) number: u64,
    /// So many are on disk, at least.
    pub(super) bytes: u64,
    /// So many at its beginning have the checksum `head`.
    head_bytes: u64,
    head: u32,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Synced {
    pub(super) manifest: Extent,
    /// Oldest first.
    pub(super) logs: Vec<Extent>,
}

impl Extent {
    /// Of so many bytes of a file.
    fn of(file: &File, number: u64, bytes: u64) -> io::Result<Self> {
        let head_bytes = bytes.min(HEAD);
        Ok(Self { number, bytes, head_bytes, head: head(file, head_bytes)? })
    }

    /// Whether the file begins as it did.
    pub(super) fn is_of(&self, file: &File) -> io::Result<bool> {
        Ok(head(file, self.head_bytes)? == self.head)
    }
}

impl Synced {
    /// What stands in the folder. None: there is no such file, as before there was one.
    ///
    /// # Errors
    /// It cannot be read, or (`InvalidData`) it is damaged.
    pub(super) fn read(store: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(store.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(FILE_MAX).read_to_end(&mut bytes)?;
        let synced = Self::parse(&bytes);
        synced.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not what was written"))
    }

    fn parse(file: &[u8]) -> Option<Self> {
        let (first, list) = file.split_at_checked(LIST)?;
        let mut lines = checked(list)?.lines();
        let manifest = parse_extent(lines.next()?.strip_prefix("manifest ")?)?;
        let logs: Option<Vec<_>> = lines.map(|line| parse_extent(line.strip_prefix("log ")?)).collect();
        let mut synced = Self { manifest, logs: logs? };
        // Torn, it says nothing; the list has what was true when it was written.
        let newest = checked(&first[..LINE]).and_then(|text| parse_numbers(text.trim_end()));
        if let (Some([number, bytes]), Some(log)) = (newest, synced.logs.last_mut())
            && number == log.number
        {
            log.bytes = log.bytes.max(bytes);
        }
        Some(synced)
    }

    fn write(&self) -> Vec<u8> {
        let mut file = vec![b' '; LIST];
        file[LINE - 1] = b'\n';
        let mut list = format!("manifest {}", show(&self.manifest));
        for log in &self.logs {
            list.push_str("log ");
            list.push_str(&show(log));
        }
        let end = end(list.as_bytes());
        file[LIST - 1] = b'\n';
        file.extend_from_slice(list.as_bytes());
        file.extend_from_slice(&end);
        file
    }
}

/// Keeps the file. Called with each commit, one at a time.
pub(super) struct Recorder {
    store: PathBuf,
    file: File,
    log: Option<Newest>,
    /// Whether the newest log is in the list.
    is_listed: bool,
}

/// The log that commits go to.
struct Newest {
    number: u64,
    file: File,
    bytes: u64,
}

impl Recorder {
    /// Says what is there now, after RocksDB has opened the store and put everything in tables that was in older logs.
    ///
    /// # Errors
    /// The disk failed.
    pub(super) fn start(store: &Path) -> io::Result<Self> {
        let log = Newest::find(store)?;
        let file = replace(store, &Synced { manifest: manifest_extent(store)?, logs: Vec::new() })?;
        Ok(Self { store: store.to_owned(), file, log, is_listed: false })
    }

    /// A commit was written, and synced if so it says. Only when this returns it may be acknowledged.
    ///
    /// # Errors
    /// The disk failed.
    pub(super) fn committed(&mut self, is_synced: bool) -> io::Result<()> {
        let has_grown = self.log.as_mut().map_or(Ok(false), Newest::has_grown)?;
        if !has_grown {
            // Every commit makes its log longer: this one went to another.
            self.log = Newest::find(&self.store)?;
            self.is_listed = false;
        }
        let Some(log) = &self.log else { return Ok(()) };
        match (is_synced, self.is_listed) {
            (false, _) => Ok(()),
            (true, true) => self.file.write_all_at(&line(log.number, log.bytes), 0),
            (true, false) => self.list(),
        }
    }

    /// A synced commit has synced older logs with its own.
    fn list(&mut self) -> io::Result<()> {
        let mut listed = Vec::new();
        for (number, path) in logs(&self.store)? {
            // A log that has gone is in tables, as the MANIFEST says that is read after this.
            let Some(file) = open_if_there(&path)? else { continue };
            let bytes = match &self.log {
                Some(log) if log.number == number => log.bytes,
                _ => file.metadata()?.len(),
            };
            if bytes > 0 {
                listed.push(Extent::of(&file, number, bytes)?);
            }
        }
        self.is_listed = listed.last().map(|log| log.number) == self.log.as_ref().map(|log| log.number);
        self.file = replace(&self.store, &Synced { manifest: manifest_extent(&self.store)?, logs: listed })?;
        Ok(())
    }
}

impl Newest {
    fn find(store: &Path) -> io::Result<Option<Self>> {
        let Some((number, path)) = logs(store)?.pop() else { return Ok(None) };
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Some(Self { number, file, bytes }))
    }

    fn has_grown(&mut self) -> io::Result<bool> {
        let before = std::mem::replace(&mut self.bytes, self.file.metadata()?.len());
        Ok(self.bytes > before)
    }
}

/// The logs of a store by number, oldest first.
pub(super) fn logs(store: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|it| it == "log")) {
            logs.push((number, path));
        }
    }
    logs.sort_unstable();
    Ok(logs)
}

/// The number of the MANIFEST that counts. None: the file that says so is not what RocksDB wrote.
pub(super) fn current(store: &Path) -> io::Result<Option<u64>> {
    let mut text = Vec::new();
    File::open(store.join("CURRENT"))?.take(64).read_to_end(&mut text)?;
    let number = text.strip_prefix(b"MANIFEST-").and_then(|rest| rest.strip_suffix(b"\n"));
    let number = number.filter(|digits| digits.iter().all(u8::is_ascii_digit));
    Ok(number.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok()))
}

/// The MANIFEST of this number.
pub(super) fn manifest(store: &Path, number: u64) -> PathBuf {
    store.join(format!("MANIFEST-{number:06}"))
}

/// How much of the MANIFEST is there for good. RocksDB may be writing to it.
fn manifest_extent(store: &Path) -> io::Result<Extent> {
    let number = current(store)?.ok_or_else(|| io::Error::other("CURRENT names no MANIFEST"))?;
    let file = File::open(manifest(store, number))?;
    let reading = journal::read(&file, |_| ())?;
    file.sync_all()?;
    Extent::of(&file, number, reading.whole_bytes)
}

/// None: there is no such file.
pub(super) fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

/// Writes the file anew; who reads it, sees the old one or the new one. It stays open for what is overwritten.
fn replace(store: &Path, synced: &Synced) -> io::Result<File> {
    let beside = store.join(format!("{NAME}.new"));
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&synced.write())?;
    file.sync_all()?;
    fs::rename(&beside, store.join(NAME))?;
    File::open(store)?.sync_all()?;
    Ok(file)
}

fn head(file: &File, bytes: u64) -> io::Result<u32> {
    let mut head = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    match file.read_exact_at(&mut head, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        read => read.map(|()| crc32c::crc32c(&head)),
    }
}

fn show(extent: &Extent) -> String {
    let Extent { number, bytes, head_bytes, head } = extent;
    format!("{number} {bytes} {head_bytes} {head}\n")
}

fn parse_extent(text: &str) -> Option<Extent> {
    let [number, bytes, head_bytes, head] = parse_numbers(text)?;
    let head = u32::try_from(head).ok()?;
    (head_bytes <= HEAD.min(bytes)).then_some(Extent { number, bytes, head_bytes, head })
}

fn parse_numbers<const N: usize>(text: &str) -> Option<[u64; N]> {
    let numbers: Option<Vec<u64>> = text.split(' ').map(|number| number.parse().ok()).collect();
    numbers?.try_into().ok()
}

/// The line that is overwritten: number and bytes of the newest log, and a checksum.
fn line(number: u64, bytes: u64) -> [u8; LINE] {
    let mut line = [b' '; LINE];
    let mut rest = &mut line[..LINE - END];
    // 2 numbers of 20 digits at the most.
    _ = write!(rest, "{number} {bytes}");
    let (text, rest) = line.split_at_mut(LINE - END);
    rest.copy_from_slice(&end(text));
    line
}

/// Bytes of a checksum.
const END: usize = 10;

/// A checksum of what stands before it.
fn end(text: &[u8]) -> [u8; END] {
    let mut end = *b" 00000000\n";
    _ = write!(&mut end[1..END - 1], "{:08x}", crc32c::crc32c(text));
    end
}

/// The text before a checksum that is right.
fn checked(bytes: &[u8]) -> Option<&str> {
    let (text, checksum) = bytes.split_last_chunk::<END>()?;
    (end(text) == *checksum).then(|| str::from_utf8(text).ok())?
}
