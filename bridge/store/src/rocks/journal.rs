//! The format of the store's logs and of its MANIFEST, and what their ends tell. Called at every start, before RocksDB reads
//! them. Keeps P1: what was synced and acknowledged is not dropped in silence.
//!
//! A crash leaves a journal that ends within a record: what was being written, and was not acknowledged. RocksDB passes over
//! such an end without a word, but also over one whose last records are all there and have a damaged header: it takes
//! the length for that of a record which was not written to its end. The difference can be seen: behind a torn record
//! there is nothing, and it is not complete. (A journal that was cut off between two records looks like any other: for that
//! there is `synced`.)
//!
//! The format: blocks of 32 KiB; in them records, each with a masked CRC-32C (4 bytes), the length of its content (2,
//! little endian) and its type (1); no record crosses a block, larger ones are in parts. Source: RocksDB,
//! db/log_format.h, db/log_reader.cc and util/crc32c.h.

use std::fs::File;
use std::io::{self, BufReader, Read as _};

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;
/// Types of records that hold data; the third is a part in the middle.
const DATA: std::ops::RangeInclusive<u8> = WHOLE..=LAST;
const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// How a journal ends, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With a record.
    Clean,
    /// Within a record: a crash.
    Torn(u64),
    /// There are records behind, or in, what cannot be read.
    Damaged(u64),
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JournalReading {
    pub(super) end: End,
    /// Up to here there are whole records.
    pub(super) whole_bytes: u64,
}

/// A part of a record, or all of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordPart<'a> {
    pub(super) content: &'a [u8],
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

/// Reads a journal once, handing out what is intact up to its end, or up to damage.
pub(super) fn read(file: &File, mut each: impl FnMut(RecordPart<'_>)) -> io::Result<JournalReading> {
    let (mut whole_bytes, mut broken, mut unfinished) = (0, None, None);
    for_each_block(file, |at, block| {
        if let Some(torn) = broken.take() {
            // Records begin anew with each block.
            let goes_on = record(block, 0).is_some_and(|record| record.is_intact());
            broken = Some(if goes_on { End::Damaged(at) } else { torn });
            return goes_on;
        }
        let mut offset = 0;
        while offset + HEADER <= block.len() {
            let here = at + offset as u64;
            match record(block, offset) {
                Some(it) if it.is_intact() && it.part().is_none_or(|part| part.is_first == unfinished.is_none()) => {
                    offset = it.end;
                    let part = it.part();
                    part.into_iter().for_each(&mut each);
                    unfinished = part.filter(|part| !part.is_last).map(|_| unfinished.unwrap_or(here));
                    if unfinished.is_none() {
                        whole_bytes = at + offset as u64;
                    }
                }
                None if !is_damaged(block, offset) => {
                    broken = Some(End::Torn(here));
                    return false;
                }
                _ => {
                    broken = Some(End::Damaged(here));
                    return true;
                }
            }
        }
        // Less than a header: the rest of a full block, or of a file.
        if block.len() < BLOCK && offset < block.len() {
            broken = Some(End::Torn(at + offset as u64));
        }
        false
    })?;
    Ok(JournalReading { end: broken.or(unfinished.map(End::Torn)).unwrap_or(End::Clean), whole_bytes })
}

/// Until the end, or until it is enough.
fn for_each_block(file: &File, mut enough: impl FnMut(u64, &[u8]) -> bool) -> io::Result<()> {
    let mut file = BufReader::with_capacity(1 << 20, file);
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

    /// None: a type that holds no data.
    fn part(&self) -> Option<RecordPart<'_>> {
        let is = |kinds: [u8; 2]| kinds.contains(&self.kind);
        let part = RecordPart { content: &self.checked[1..], is_first: is([WHOLE, FIRST]), is_last: is([WHOLE, LAST]) };
        DATA.contains(&self.kind).then_some(part)
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

/// Whether a record that seems to be cut off is complete, has an intact one behind it, or never was one: none crosses a block.
fn is_damaged(block: &[u8], offset: usize) -> bool {
    let Some((header, rest)) = block[offset..].split_first_chunk::<HEADER>() else { return false };
    let [crc @ .., low, high, _] = *header;
    if block.len() == BLOCK && usize::from(u16::from_le_bytes([low, high])) > rest.len() {
        return true;
    }
    let is_complete = u32::from_le_bytes(crc) == masked_crc32c(&block[offset + HEADER - 1..]);
    let intact = |at| record(block, at).is_some_and(|it| DATA.contains(&it.kind) && it.is_intact());
    is_complete || (offset + 1..block.len()).any(intact)
}

/// CRC-32C as RocksDB stores it.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    const MASK: u32 = 0xA282_EAD8;
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(MASK)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

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
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let reading = read(&file, |_| ()).unwrap();
        match reading.end {
            End::Clean => {
                assert_eq!(reading.whole_bytes, bytes.len() as u64);
                ("clean", 0)
            }
            End::Torn(at) => ("torn", at),
            End::Damaged(at) => ("damaged", at),
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
    fn a_record_across_its_block_is_damage_unless_it_is_the_last() {
        let mut bytes = log(&[100, 100]);
        bytes.resize(300, 0xff);
        assert_eq!(judge(&bytes), ("torn", 214));
        // RocksDB refuses this one, and names no file.
        bytes.resize(BLOCK + 1, 0xff);
        assert_eq!(judge(&bytes), ("damaged", 214));
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
    fn a_wrong_byte_is_found_where_its_record_begins() {
        let whole = log(&[100, 100, 40_000]);
        for (at, begins) in [(0, 0), (6, 0), (106, 0), (150, 107), (214, 214), (30_000, 214)] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert_eq!(judge(&bytes), ("damaged", begins), "byte {at}");
        }
    }

    #[test]
    fn a_part_without_its_beginning_or_its_end_is_damage() {
        let whole = log(&[100, 60_000, 100]);
        let last = BLOCK;
        assert_eq!(judge(&[&whole[..107], &whole[last..]].concat()), ("damaged", 107));
        let mut bytes = log(&[BLOCK - HEADER]);
        bytes.extend_from_slice(&whole[last..]);
        assert_eq!(judge(&bytes), ("damaged", BLOCK as u64));
        let mut bytes = whole[..BLOCK].to_vec();
        bytes.extend_from_slice(&log(&[5]));
        assert_eq!(judge(&bytes), ("damaged", BLOCK as u64));
    }

    #[test]
    fn contents_are_put_together_again() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&log(&[100, 70_000, 0])).unwrap();
        file.rewind().unwrap();
        let (mut sizes, mut size) = (Vec::new(), 0);
        let reading = read(&file, |part| {
            size = if part.is_first { 0 } else { size } + part.content.len();
            if part.is_last {
                sizes.push(size);
            }
        });
        assert_eq!((reading.unwrap().end, sizes), (End::Clean, vec![100, 70_000, 0]));
    }
}
