//! What a row of the journal holds. A record is what one append commits: the writes of all lanes of that moment. It is
//! encoded, compressed and cut into rows; it counts only when its last row is there.
//!
//! A row, numbers big endian: format (1 byte), which row of its record it is (2), of how many (2), CRC-32C of all the rest (4),
//! a piece of the record (the rest). The pieces in a row are an lz4 block, with the length of what it holds in front (4, little
//! endian): the protobuf of [`RecordBody`].

use bytes::{BufMut as _, Bytes, BytesMut};
use godwit_store::{Table, Write};
use prost::Message;

use crate::journal::ROW_BYTES;

/// Of rows as they are written. Later formats have higher numbers, and earlier builds refuse them.
pub(crate) const FORMAT: u8 = 1;
const HEADER: usize = 9;

/// A commit, as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Microseconds since 1970, about; grows strictly from record to record, by two at least, over all leaders. Deletions are
    /// written to tables with this timestamp, values with the next: at equal ones a deletion would win.
    pub(crate) clock_us: u64,
    /// In order.
    pub(crate) writes: Vec<Write>,
}

/// Why rows cannot be read as records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// What is there is not what was written.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// A later build wrote it.
    #[error("it has format {0}, and this build knows {FORMAT}: start the newer build")]
    Newer(u8),
}

/// The protobuf of a [`Record`].
#[derive(Clone, PartialEq, Message)]
struct RecordBody {
    #[prost(fixed64, tag = "1")]
    clock_us: u64,
    #[prost(message, repeated, tag = "2")]
    writes: Vec<WriteBody>,
}

/// The protobuf of a [`Write`]: a value makes it a put, an end a deletion of a range.
#[derive(Clone, PartialEq, Message)]
struct WriteBody {
    #[prost(uint32, tag = "1")]
    table: u32,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    value: Option<Bytes>,
    #[prost(bytes = "vec", optional, tag = "4")]
    end: Option<Vec<u8>>,
}

impl From<&Write> for WriteBody {
    fn from(write: &Write) -> Self {
        let (Write::Put(table, key, _) | Write::Delete(table, key) | Write::DeleteRange(table, key, _)) = write;
        let table = *table as u32;
        let (value, end) = match write {
            Write::Put(_, _, value) => (Some(value.clone()), None),
            Write::Delete(..) => (None, None),
            Write::DeleteRange(_, _, end) => (None, Some(end.clone())),
        };
        Self { table, key: key.clone(), value, end }
    }
}

impl WriteBody {
    fn write(self) -> Option<Write> {
        let table = *Table::ALL.get(self.table as usize)?;
        Some(match (self.value, self.end) {
            (Some(value), _) => Write::Put(table, self.key, value),
            (None, Some(end)) => Write::DeleteRange(table, self.key, end),
            (None, None) => Write::Delete(table, self.key),
        })
    }
}

impl Record {
    /// As rows, at least one.
    pub(crate) fn rows(&self) -> Vec<Bytes> {
        let body = RecordBody { clock_us: self.clock_us, writes: self.writes.iter().map(WriteBody::from).collect() };
        let packed = lz4_flex::compress_prepend_size(&body.encode_to_vec());
        let pieces = packed.chunks(ROW_BYTES - HEADER);
        let count = u16::try_from(pieces.len());
        // 16 GiB: a commit is bounded far below by the entries that the committer gathers.
        let count = count.unwrap_or_else(|_| unreachable!("a record of {} bytes", packed.len()));
        (0..count).zip(pieces).map(|(number, piece)| row(number, count, piece)).collect()
    }

    fn unpack(packed: &[u8]) -> Result<Self, RecordError> {
        let body = lz4_flex::decompress_size_prepended(packed);
        let body = body.map_err(|_| RecordError::Damaged("it cannot be decompressed"))?;
        let body = RecordBody::decode(&*body).map_err(|_| RecordError::Damaged("it is no protobuf"))?;
        let writes = body.writes.into_iter().map(WriteBody::write).collect::<Option<_>>();
        Ok(Self { clock_us: body.clock_us, writes: writes.ok_or(RecordError::Damaged("it writes to no known table"))? })
    }
}

fn row(number: u16, count: u16, piece: &[u8]) -> Bytes {
    let mut row = BytesMut::with_capacity(HEADER + piece.len());
    row.put_u8(FORMAT);
    row.put_u16(number);
    row.put_u16(count);
    row.put_u32(checksum(number, count, piece));
    row.put_slice(piece);
    row.freeze()
}

fn checksum(number: u16, count: u16, piece: &[u8]) -> u32 {
    let head = [&[FORMAT][..], &number.to_be_bytes(), &count.to_be_bytes()].concat();
    crc32c::crc32c_append(crc32c::crc32c(&head), piece)
}

/// Puts records together again.
#[derive(Debug, Default)]
pub(crate) struct RecordReader {
    packed: Vec<u8>,
    /// Rows of a record whose last one has not come.
    rows: u16,
}

impl RecordReader {
    /// Whether the last row was the last of its record.
    pub(crate) fn is_between_records(&self) -> bool {
        self.rows == 0
    }

    /// Takes the next row; returns the record that ends with it.
    ///
    /// # Errors
    /// The row is damaged, is not the next one, or of a later format.
    pub(crate) fn push(&mut self, row: &[u8]) -> Result<Option<Record>, RecordError> {
        let short = RecordError::Damaged("it is too short");
        let (format, rest) = row.split_first().ok_or(short.clone())?;
        if *format > FORMAT {
            return Err(RecordError::Newer(*format));
        }
        let (head, piece) = rest.split_first_chunk::<8>().ok_or(short)?;
        let [n0, n1, c0, c1, crc @ ..] = *head;
        let (number, count) = (u16::from_be_bytes([n0, n1]), u16::from_be_bytes([c0, c1]));
        if u32::from_be_bytes(crc) != checksum(number, count, piece) || *format != FORMAT {
            return Err(RecordError::Damaged("its checksum is wrong"));
        }
        if number != self.rows || number >= count {
            return Err(RecordError::Damaged("a row of its record is missing"));
        }
        self.packed.extend_from_slice(piece);
        self.rows += 1;
        if self.rows < count {
            return Ok(None);
        }
        self.rows = 0;
        Record::unpack(&std::mem::take(&mut self.packed)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bytes: usize) -> Record {
        let mut dice = fastrand::Rng::with_seed(7);
        let value: Vec<u8> = std::iter::repeat_with(|| dice.u8(..)).take(bytes).collect();
        let writes = vec![
            Write::Put(Table::Directory, b"a".to_vec(), Bytes::new()),
            Write::Put(Table::Media, vec![0; 3], value.into()),
            Write::Delete(Table::Inbox, b"b".to_vec()),
            Write::DeleteRange(Table::Receipts, vec![], vec![0xFF]),
        ];
        Record { clock_us: u64::MAX, writes }
    }

    #[test]
    fn records_are_read_back_whatever_their_size() {
        let empty = Record { clock_us: 1, writes: vec![] };
        let mut reader = RecordReader::default();
        for (record, rows) in [(empty, 1), (record(0), 1), (record(100_000), 1), (record(600_000), 3)] {
            let mut written = record.rows();
            assert_eq!(written.len(), rows);
            assert!(written.iter().all(|row| row.len() <= ROW_BYTES));
            let last = written.pop().expect("a row");
            assert!(written.iter().all(|row| reader.push(row) == Ok(None)), "not before its last row");
            assert_eq!(reader.push(&last), Ok(Some(record)));
        }
    }

    #[test]
    fn damage_is_noticed() {
        let row = record(100).rows().remove(0);
        for at in 0..row.len() {
            let mut damaged = row.to_vec();
            damaged[at] ^= 1;
            assert!(RecordReader::default().push(&damaged).is_err(), "byte {at}");
            assert!(RecordReader::default().push(&row[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_missing_row_is_noticed() {
        let rows = record(600_000).rows();
        let mut reader = RecordReader::default();
        assert_eq!(reader.push(&rows[0]), Ok(None));
        assert!(reader.push(&rows[2]).is_err());
        assert!(RecordReader::default().push(&rows[1]).is_err());
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let mut row = record(100).rows().remove(0).to_vec();
        row[0] = FORMAT + 1;
        assert_eq!(RecordReader::default().push(&row), Err(RecordError::Newer(FORMAT + 1)));
    }
}
