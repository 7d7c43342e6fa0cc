//! What a MANIFEST says belongs to the store. Read before RocksDB opens the store, since RocksDB deletes what the MANIFEST
//! does not name: a MANIFEST that lost its end would take tables with it.
//!
//! A MANIFEST is a journal (see `journal`) of edits. Each edit is a list of tags with values. A new MANIFEST begins with the
//! whole state and goes on with what changes. Source: RocksDB, db/version_edit.h and .cc, db/version_edit_handler.cc.

use std::collections::HashMap;

use super::journal::RecordPart;

/// Tags, by RocksDB's names for them.
mod tag {
    pub(super) const COMPARATOR: u64 = 1;
    pub(super) const LOG_NUMBER: u64 = 2;
    pub(super) const NEXT_FILE_NUMBER: u64 = 3;
    pub(super) const LAST_SEQUENCE: u64 = 4;
    pub(super) const COMPACT_CURSOR: u64 = 5;
    pub(super) const DELETED_FILE: u64 = 6;
    pub(super) const PREV_LOG_NUMBER: u64 = 9;
    pub(super) const MIN_LOG_NUMBER_TO_KEEP: u64 = 10;
    pub(super) const NEW_FILE_4: u64 = 103;
    pub(super) const COLUMN_FAMILY: u64 = 200;
    pub(super) const COLUMN_FAMILY_ADD: u64 = 201;
    pub(super) const COLUMN_FAMILY_DROP: u64 = 202;
    pub(super) const MAX_COLUMN_FAMILY: u64 = 203;
    pub(super) const IN_ATOMIC_GROUP: u64 = 300;
    /// Those with this bit have a value with its length before it, and may be passed over; but for the first few.
    pub(super) const IGNORABLE: u64 = 1 << 13;
    pub(super) const NOT_IGNORABLE: std::ops::RangeInclusive<u64> = IGNORABLE + 2..=IGNORABLE + 5;
    /// Within a new file's fields.
    pub(super) const END_OF_FIELDS: u64 = 1;
    pub(super) const FIELD_MIN_LOG_NUMBER: u64 = 3;
}

/// The store's state after the edits that were applied.
#[derive(Debug)]
pub(super) struct Manifest {
    /// Tables: their column family and their size in bytes, by file number.
    tables: HashMap<u64, (u64, u64)>,
    /// The oldest log with what a column family has not in its tables.
    logs: HashMap<u64, u64>,
    oldest_log: u64,
    has_log: bool,
    has_next_file: bool,
    has_last_sequence: bool,
    /// A record of which parts were read.
    record: Vec<u8>,
    /// Edits of a group that counts only as a whole.
    group: Vec<Edit>,
}

/// An edit cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

#[derive(Debug, Default)]
struct Edit {
    column_family: u64,
    added: bool,
    dropped: bool,
    log: Option<u64>,
    oldest_log: Option<u64>,
    has_next_file: bool,
    has_last_sequence: bool,
    deleted: Vec<u64>,
    /// Number and size.
    new: Vec<(u64, u64)>,
    /// How many more edits its group has.
    to_come: Option<u64>,
}

impl Manifest {
    /// Nothing but the column family that every store has.
    pub(super) fn new() -> Self {
        Self {
            tables: HashMap::new(),
            logs: HashMap::from([(0, 0)]),
            oldest_log: 0,
            has_log: false,
            has_next_file: false,
            has_last_sequence: false,
            record: Vec::new(),
            group: Vec::new(),
        }
    }

    /// Takes the next part of the journal.
    pub(super) fn take(&mut self, part: RecordPart<'_>) -> Result<(), Unreadable> {
        if part.is_first {
            self.record.clear();
        }
        self.record.extend_from_slice(part.content);
        if !part.is_last {
            return Ok(());
        }
        let edit = Edit::parse(&self.record).ok_or(Unreadable)?;
        match edit.to_come {
            Some(to_come) => {
                self.group.push(edit);
                if to_come == 0 {
                    for edit in std::mem::take(&mut self.group) {
                        self.apply(edit);
                    }
                }
            }
            None => self.apply(edit),
        }
        Ok(())
    }

    /// Whether it is a state that the store was in: the state that a MANIFEST begins with was written to its end, which the
    /// first change behind it shows.
    pub(super) fn is_complete(&self) -> bool {
        self.has_log && self.has_next_file && self.has_last_sequence
    }

    /// File numbers and sizes in bytes, in no order.
    pub(super) fn tables(&self) -> impl Iterator<Item = (u64, u64)> {
        self.tables.iter().map(|(number, (_, bytes))| (*number, *bytes))
    }

    /// Logs from this number on have what is not in tables. Older ones are not read any more.
    pub(super) fn oldest_log(&self) -> u64 {
        self.logs.values().min().copied().unwrap_or(0).max(self.oldest_log)
    }

    fn apply(&mut self, edit: Edit) {
        let of = edit.column_family;
        if edit.dropped {
            self.logs.remove(&of);
            self.tables.retain(|_, (column_family, _)| *column_family != of);
        } else if edit.added {
            self.logs.insert(of, 0);
        }
        if let Some(log) = edit.log {
            let oldest = self.logs.entry(of).or_default();
            *oldest = log.max(*oldest);
            self.has_log = true;
        }
        for number in edit.deleted {
            self.tables.remove(&number);
        }
        self.tables.extend(edit.new.into_iter().map(|(number, bytes)| (number, (of, bytes))));
        self.oldest_log = edit.oldest_log.unwrap_or(0).max(self.oldest_log);
        self.has_next_file |= edit.has_next_file;
        self.has_last_sequence |= edit.has_last_sequence;
    }
}

impl Edit {
    fn parse(mut from: &[u8]) -> Option<Self> {
        let mut edit = Self::default();
        let from = &mut from;
        while !from.is_empty() {
            match varint(from)? {
                tag::COMPARATOR => _ = prefixed(from)?,
                tag::LOG_NUMBER => edit.log = Some(varint(from)?),
                tag::NEXT_FILE_NUMBER => {
                    varint(from)?;
                    edit.has_next_file = true;
                }
                tag::LAST_SEQUENCE => {
                    varint(from)?;
                    edit.has_last_sequence = true;
                }
                tag::COMPACT_CURSOR => {
                    varint(from)?;
                    prefixed(from)?;
                }
                tag::DELETED_FILE => {
                    varint(from)?;
                    edit.deleted.push(varint(from)?);
                }
                tag::PREV_LOG_NUMBER | tag::MAX_COLUMN_FAMILY => _ = varint(from)?,
                tag::MIN_LOG_NUMBER_TO_KEEP => edit.oldest_log = Some(varint(from)?),
                tag::NEW_FILE_4 => edit.parse_new_file(from)?,
                tag::COLUMN_FAMILY => edit.column_family = varint(from)?,
                tag::COLUMN_FAMILY_ADD => {
                    prefixed(from)?;
                    edit.added = true;
                }
                tag::COLUMN_FAMILY_DROP => edit.dropped = true,
                tag::IN_ATOMIC_GROUP => edit.to_come = Some(varint(from)?),
                tag if tag & tag::IGNORABLE != 0 && !tag::NOT_IGNORABLE.contains(&tag) => _ = prefixed(from)?,
                _ => return None,
            }
        }
        Some(edit)
    }

    /// Level, number, size, smallest and largest key, smallest and largest sequence, and fields.
    fn parse_new_file(&mut self, from: &mut &[u8]) -> Option<()> {
        varint(from)?;
        self.new.push((varint(from)?, varint(from)?));
        prefixed(from)?;
        prefixed(from)?;
        varint(from)?;
        varint(from)?;
        loop {
            match varint(from)? {
                tag::END_OF_FIELDS => return Some(()),
                tag::FIELD_MIN_LOG_NUMBER => {
                    let number = prefixed(from)?.try_into().ok()?;
                    self.oldest_log = Some(u64::from_le_bytes(number));
                }
                _ => _ = prefixed(from)?,
            }
        }
    }
}

/// Seven bits a byte, the lowest first; the eighth says that there are more.
fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *from.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Bytes with their number before them.
fn prefixed<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(varint(from)?).ok()?;
    from.split_off(..len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(manifest: &mut Manifest, record: &[u8]) -> Result<(), Unreadable> {
        manifest.take(RecordPart { content: record, is_first: true, is_last: true })
    }

    /// Table 9 of 500 bytes in column family 1, whose log is 8, and where a field says 7.
    const NEW: &[u8] =
        &[200, 1, 1, 2, 8, 103, 0, 9, 0xf4, 3, 1, b'a', 1, b'z', 1, 2, 3, 8, 7, 0, 0, 0, 0, 0, 0, 0, 12, 2, 0, 0, 1];

    #[test]
    fn tables_come_and_go() {
        let mut manifest = Manifest::new();
        take(&mut manifest, &[2, 5, 3, 20, 4, 0]).unwrap();
        assert!(manifest.is_complete());
        assert_eq!(manifest.oldest_log(), 5);
        take(&mut manifest, &[200, 1, 1, 201, 1, 2, b'c', b'f']).unwrap();
        assert_eq!(manifest.oldest_log(), 0, "a column family of which nothing is in tables");
        take(&mut manifest, NEW).unwrap();
        assert_eq!(manifest.oldest_log(), 7);
        assert_eq!(manifest.tables().collect::<Vec<_>>(), [(9, 500)]);
        take(&mut manifest, &[200, 1, 1, 6, 0, 9]).unwrap();
        assert_eq!(manifest.tables().count(), 0);
    }

    #[test]
    fn a_group_counts_when_it_is_whole() {
        let mut manifest = Manifest::new();
        take(&mut manifest, &[&[0xac, 2, 1], NEW].concat()).unwrap();
        assert_eq!(manifest.tables().count(), 0);
        take(&mut manifest, &[0xac, 2, 0, 10, 8]).unwrap();
        assert_eq!((manifest.tables().count(), manifest.oldest_log()), (1, 8));
    }

    #[test]
    fn what_is_not_an_edit_is_refused() {
        for cut in 1..NEW.len() {
            _ = take(&mut Manifest::new(), &NEW[..cut]);
        }
        for bad in [&NEW[..NEW.len() - 1], &[11], &[0x81, 0xc0], &[6, 0], &[1, 200, 1], &[0xff; 11]] {
            assert_eq!(take(&mut Manifest::new(), bad), Err(Unreadable), "{bad:?}");
        }
        take(&mut Manifest::new(), &[0xff, 0x7f, 2, 0, 0, 2, 1]).unwrap();
    }
}
