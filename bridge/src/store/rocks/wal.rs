//! Looks at the ends of the store's logs before RocksDB reads them. Called at every start. Keeps P1: what was synced and
//! acknowledged is not dropped in silence.
//!
//! A crash leaves a log that ends within a record: what was being written, and was not acknowledged. RocksDB passes over
//! such an end without a word, but also over one whose last records are all there and have a damaged header: it takes
//! the length for that of a record which was not written to its end. The difference can be seen: behind a torn record
//! there is nothing, and it is not complete. (Everything else that is damaged RocksDB notices itself, by checksum, but
//! does not say where: [`first_damage`] does.)
//!
//! What nobody can see: a log that was cut off, or a disk that lost the end of what it said it had synced.
//!
//! The format: blocks of 32 KiB; in them records, each with a masked CRC-32C (4 bytes), the length of its content (2,
//! little endian) and its type (1); no record crosses a block, larger ones are in parts. Source: RocksDB,
//! db/log_format.h and db/log_reader.cc.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;
/// Types of records that hold data: whole, first, middle and last part.
const DATA: std::ops::RangeInclusive<u8> = 1..=4;
/// A part that another follows.
const UNFINISHED: [u8; 2] = [2, 3];

/// A place in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) offset: u64,
}

/// How a log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// With a record.
    Clean,
    /// Within a record: a crash.
    Torn(Place),
    /// There are records behind, or in, what cannot be read.
    Damaged(Place),
}

/// The logs of a store, oldest first. None if there is no store.
pub(super) fn logs(store: &Path) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|it| it == "log")) {
            logs.push((number, path));
        }
    }
    logs.sort_unstable();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

/// Looks at a log's end. Reads the log once.
pub(super) fn end(log: &Path) -> io::Result<End> {
    let mut broken = None;
    let mut unfinished = None;
    for_each_block(log, |at, block| {
        let place = |offset: usize| Place { file: log.to_owned(), offset: at + offset as u64 };
        if let Some(torn) = broken.take() {
            // Records begin anew with each block.
            let goes_on = record(block, 0).is_some_and(|record| record.is_intact());
            broken = Some(if goes_on { End::Damaged(place(0)) } else { torn });
            return goes_on;
        }
        let mut offset = 0;
        while offset + HEADER <= BLOCK.min(block.len()) {
            match record(block, offset) {
                Some(it) => {
                    unfinished = UNFINISHED.contains(&it.kind).then(|| unfinished.take().unwrap_or(place(offset)));
                    offset = it.end;
                }
                None if is_damaged(block, offset) => {
                    broken = Some(End::Damaged(place(offset)));
                    return true;
                }
                None => {
                    broken = Some(End::Torn(place(offset)));
                    return false;
                }
            }
        }
        // Less than a header: the rest of a full block, or of a file.
        if block.len() < BLOCK && offset < block.len() {
            broken = Some(End::Torn(place(offset)));
        }
        false
    })?;
    Ok(broken.or(unfinished.map(End::Torn)).unwrap_or(End::Clean))
}

/// The first record whose checksum is wrong.
pub(super) fn first_damage(log: &Path) -> io::Result<Option<Place>> {
    let mut found = None;
    for_each_block(log, |at, block| {
        let mut offset = 0;
        while let Some(it) = record(block, offset) {
            if !it.is_intact() {
                found = Some(Place { file: log.to_owned(), offset: at + offset as u64 });
                return true;
            }
            offset = it.end;
        }
        false
    })?;
    Ok(found)
}

/// Until the end, or until it is enough.
fn for_each_block(log: &Path, mut enough: impl FnMut(u64, &[u8]) -> bool) -> io::Result<()> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(log)?);
    let (mut at, mut block) = (0, Vec::with_capacity(BLOCK));
    loop {
        block.clear();
        let len = file.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        if len == 0 || enough(at, &block) {
            return Ok(());
        }
        at += len as u64;
    }
}

struct Record<'a> {
    crc: u32,
    kind: u8,
    /// Type and content.
    checked: &'a [u8],
    /// Where in the block the next one begins.
    end: usize,
}

impl Record<'_> {
    fn is_intact(&self) -> bool {
        self.crc == masked_crc32c(self.checked)
    }
}

/// The record at this place, if its header can be one.
fn record(block: &[u8], offset: usize) -> Option<Record<'_>> {
    let (header, rest) = block.get(offset..)?.split_first_chunk::<HEADER>()?;
    let [crc @ .., low, high, kind] = *header;
    let len = usize::from(u16::from_le_bytes([low, high]));
    let end = offset + HEADER + len;
    (kind != 0 && len <= rest.len()).then(|| Record {
        crc: u32::from_le_bytes(crc),
        kind,
        checked: &block[offset + HEADER - 1..end],
        end,
    })
}

/// Whether a record that seems to be cut off is complete, or has an intact one behind it.
fn is_damaged(block: &[u8], offset: usize) -> bool {
    let Some((header, _)) = block[offset..].split_first_chunk::<HEADER>() else { return false };
    let [crc @ .., _, _, _] = *header;
    let is_complete = u32::from_le_bytes(crc) == masked_crc32c(&block[offset + HEADER - 1..]);
    let intact = |at| record(block, at).is_some_and(|it| DATA.contains(&it.kind) && it.is_intact());
    is_complete || (offset + 1..block.len()).any(intact)
}

/// CRC-32C as RocksDB stores it (util/crc32c.h), bit by bit: little is checked.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    const MASK: u32 = 0xA282_EAD8;
    let mut crc = !0;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
        }
    }
    (!crc).rotate_right(15).wrapping_add(MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of records of these sizes, in parts where they cross blocks.
    fn log(sizes: &[usize]) -> Vec<u8> {
        let mut log = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            let (mut left, mut first) = (*size, true);
            loop {
                let room = BLOCK - log.len() % BLOCK;
                if room < HEADER {
                    log.resize(log.len() + room, 0);
                    continue;
                }
                let part = left.min(room - HEADER);
                left -= part;
                let kind = match (first, left == 0) {
                    (true, true) => 1,
                    (true, false) => 2,
                    (false, false) => 3,
                    (false, true) => 4,
                };
                let checked = [&[kind][..], &vec![number as u8 + 1; part]].concat();
                log.extend(masked_crc32c(&checked).to_le_bytes());
                log.extend((part as u16).to_le_bytes());
                log.extend(checked);
                first = false;
                if left == 0 {
                    break;
                }
            }
        }
        log
    }

    fn judge(bytes: &[u8]) -> (&'static str, u64) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("000007.log");
        fs::write(&file, bytes).unwrap();
        match end(&file).unwrap() {
            End::Clean => ("clean", 0),
            End::Torn(place) => ("torn", place.offset),
            End::Damaged(place) => ("damaged", place.offset),
        }
    }

    #[test]
    fn the_checksum_is_that_of_rocksdb() {
        // CRC-32C of "123456789" is 0xE3069283 (RFC 3720 gives the polynomial).
        assert_eq!(masked_crc32c(b"123456789"), 0xE306_9283_u32.rotate_right(15).wrapping_add(0xA282_EAD8));
    }

    #[test]
    fn a_log_that_is_cut_off_anywhere_is_clean_or_torn() {
        let whole = log(&[100, 0, 40_000, 24_000, 70_000, 9]);
        assert_eq!(judge(&whole), ("clean", 0));
        let ends = [107, 114];
        for cut in (0..300).chain(BLOCK - 20..BLOCK + 20).chain(whole.len() - 30..whole.len()) {
            let (end, _) = judge(&whole[..cut]);
            let expected = if cut == 0 || ends.contains(&cut) || cut == whole.len() - 16 { "clean" } else { "torn" };
            assert_eq!(end, expected, "at {cut}");
        }
        assert_eq!(judge(&whole[..200]), ("torn", 114));
    }

    #[test]
    fn zeros_behind_the_last_record_are_torn() {
        let mut bytes = log(&[100, 100]);
        bytes.resize(3 * BLOCK, 0);
        assert_eq!(judge(&bytes), ("torn", 214));
    }

    #[test]
    fn a_damaged_length_is_seen() {
        let whole = log(&[100, 100, 100]);
        for at in [0, 107, 214] {
            let mut bytes = whole.clone();
            bytes[at + 5] ^= 0x40;
            assert_eq!(judge(&bytes), ("damaged", at as u64), "the record at {at}");
        }
        let mut bytes = log(&[100, 20_000, 20_000, 100]);
        bytes[107 + 5] ^= 0x80;
        let (end, _) = judge(&bytes);
        assert_eq!(end, "damaged", "the next block goes on");
    }

    #[test]
    fn a_hole_of_zeros_is_seen() {
        let mut bytes = log(&[100, 100, 100]);
        bytes[107..214].fill(0);
        assert_eq!(judge(&bytes), ("damaged", 107));
        let mut bytes = log(&[100, 40_000, 40_000]);
        bytes[107..BLOCK].fill(0);
        assert_eq!(judge(&bytes), ("damaged", BLOCK as u64));
    }

    #[test]
    fn damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("000007.log");
        let mut bytes = log(&[100, 100, 40_000]);
        fs::write(&file, &bytes).unwrap();
        assert_eq!(first_damage(&file).unwrap(), None);
        bytes[150] ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert_eq!(first_damage(&file).unwrap(), Some(Place { file: file.clone(), offset: 107 }));
        assert_eq!(logs(folder.path()).unwrap(), [file]);
    }
}
