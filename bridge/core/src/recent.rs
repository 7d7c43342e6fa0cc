//! What stands in the newest places of a conversation, as far as is needed to count what a member has not read: which are
//! messages, of whom, and how long they are there. Nothing is counted when a message comes or is read, only when somebody
//! asks.
//!
//! Places come in blocks of eight. The last one stands in the record that is written with each message; one that is full
//! becomes a row, which the block `BLOCKS` later overwrites: so a message costs some bytes, and a conversation no more rows
//! than that, whatever becomes of it.

use std::collections::BTreeSet;

use bytes::{Buf as _, BufMut as _, Bytes};
use godwit_schemas::ids::{Ordinal, Seq};
use prost::encoding::{decode_varint, encode_varint};

/// Places of a block: few, since half a block is written with each message.
const BLOCK: u64 = 8;
/// Rows of a conversation.
pub const BLOCKS: u64 = 64;
/// So many of the newest places of a conversation are looked at. What stands before them is not counted.
pub const PLACES: u64 = 500;

const MESSAGE: u64 = 1;
const LIMITED: u64 = 2;
const TAKEN_BACK: u64 = 3;
const TAKEN_BACK_BY_ADMIN: u64 = 4;
/// How many bits these take.
const KIND_BITS: u32 = 3;

/// What stands in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceContent {
    /// Nothing that could be unread: a change, or a message that nobody but its sender sees.
    Other,
    /// A message.
    Message(Sent),
    /// A change: this message was taken back, by whoever has sent it, if that is this member; `None`: by an admin.
    Recalled(Seq, Option<Ordinal>),
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its sender.
    pub by: Ordinal,
    /// Second since 1970 at which it was stored.
    pub at_s: u32,
    /// It vanishes after so many seconds; `None`: it does not.
    pub life_s: Option<u32>,
}

/// What the last places of a conversation hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecentPlaces {
    /// The places of the last block, encoded.
    block: Vec<u8>,
    /// When its last message was stored.
    at_s: u32,
    /// Blocks that are full and no rows yet.
    full: Vec<BlockRow>,
}

/// A block as a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRow {
    /// Which of the conversation's [`BLOCKS`] rows.
    pub slot: u8,
    /// Its value: the number of the block, and its places.
    pub value: Bytes,
}

impl RecentPlaces {
    /// The stored form of the last block.
    pub fn to_record(&self) -> Vec<u8> {
        self.block.clone()
    }

    /// Reads the stored form.
    pub fn from_record(block: &[u8]) -> Self {
        let at_s = BlockPlaces::of(block)
            .fold(0, |at_s, what| if let PlaceContent::Message(sent) = what { sent.at_s } else { at_s });
        Self { block: block.to_vec(), at_s, full: Vec::new() }
    }

    /// What stands at `seq`, the next place.
    pub(crate) fn push(&mut self, seq: Seq, what: PlaceContent) {
        if let (true, Some(before)) = (is_first(seq), block_of(seq).checked_sub(1)) {
            self.end_block(before);
        }
        self.encode(seq, what);
    }

    /// The place after `last` is `next`: those between are nobody's.
    pub(crate) fn leave_out(&mut self, last: Seq, next: Seq) {
        let mut from = last.get() + 1;
        if block_of(last) != block_of(next) {
            self.end_block(block_of(last));
            from = block_of(next) * BLOCK + 1;
        }
        (from..next.get()).for_each(|seq| self.encode(Seq::new(seq), PlaceContent::Other));
    }

    /// It becomes a row, if there is something in it.
    fn end_block(&mut self, number: u64) {
        let block = std::mem::take(&mut self.block);
        self.at_s = 0;
        if !block.is_empty() {
            let mut value = Vec::with_capacity(block.len() + 4);
            encode_varint(number, &mut value);
            value.put_slice(&block);
            self.full.push(BlockRow { slot: slot(number), value: value.into() });
        }
    }

    fn encode(&mut self, seq: Seq, what: PlaceContent) {
        let head = |kind, by: Ordinal| (u64::from(by.get()) << KIND_BITS) | kind;
        let block = &mut self.block;
        match what {
            PlaceContent::Other => encode_varint(0, block),
            PlaceContent::Message(Sent { by, at_s, life_s }) => {
                encode_varint(head(if life_s.is_none() { MESSAGE } else { LIMITED }, by), block);
                // After a start it may be earlier than before.
                encode_varint(zigzag(i64::from(at_s) - i64::from(self.at_s)), block);
                if let Some(life_s) = life_s {
                    encode_varint(u64::from(life_s), block);
                }
                self.at_s = at_s;
            }
            PlaceContent::Recalled(message, by) => {
                encode_varint(by.map_or(TAKEN_BACK_BY_ADMIN, |by| head(TAKEN_BACK, by)), block);
                encode_varint(seq.get().saturating_sub(message.get()), block);
            }
        }
    }

    /// Blocks that are to be written.
    pub fn take_full(&mut self) -> Vec<BlockRow> {
        std::mem::take(&mut self.full)
    }
}

/// What is asked: how many messages are unread.
#[derive(Debug, Clone, Copy)]
pub struct UnreadQuery {
    /// By this member.
    pub by: Ordinal,
    /// Who has read up to here.
    pub read: Seq,
    /// The last place of the conversation.
    pub last: Seq,
}

impl UnreadQuery {
    /// The first place that is looked at.
    fn first(&self) -> u64 {
        (self.read.get() + 1).max((self.last.get() + 1).saturating_sub(PLACES))
    }

    /// Rows that are needed for the answer.
    pub fn slots(&self) -> impl Iterator<Item = u8> + use<> {
        let first = block_of(Seq::new(self.first()));
        (first..block_of(self.last)).map(slot)
    }

    /// Messages of others that are not read and not taken back, of those that are there still. `rows`: what was found.
    pub fn unread<'a>(
        &self,
        recent: &RecentPlaces,
        rows: impl IntoIterator<Item = &'a Bytes>,
        is_there: impl Fn(&Sent) -> bool,
    ) -> u64 {
        let last = block_of(self.last);
        let rows = rows.into_iter().filter_map(|row| {
            let mut places = &row[..];
            // One of another number was overwritten, or will be.
            let block = decode_varint(&mut places).ok().filter(|block| *block < last)?;
            Some((block, places))
        });
        let mut places: Vec<_> = rows.flat_map(|(block, places)| numbered(block, places)).collect();
        places.extend(numbered(last, &recent.block));
        places.retain(|(seq, _)| (self.first()..=self.last.get()).contains(seq));
        let taken_back: BTreeSet<_> = places.iter().filter_map(|(_, what)| taken_back(what)).collect();
        let is_taken_back = |seq: u64, by: Ordinal| {
            let message = Seq::new(seq);
            taken_back.contains(&(message, Some(by))) || taken_back.contains(&(message, None))
        };
        let unread = places.iter().filter(|(seq, what)| match what {
            PlaceContent::Message(sent) => sent.by != self.by && is_there(sent) && !is_taken_back(*seq, sent.by),
            PlaceContent::Other | PlaceContent::Recalled(..) => false,
        });
        unread.count() as u64
    }
}

fn taken_back(what: &PlaceContent) -> Option<(Seq, Option<Ordinal>)> {
    if let PlaceContent::Recalled(message, by) = what { Some((*message, *by)) } else { None }
}

/// The first sequence is 1.
fn block_of(seq: Seq) -> u64 {
    seq.get().saturating_sub(1) / BLOCK
}

fn is_first(seq: Seq) -> bool {
    seq.get() % BLOCK == 1
}

fn slot(block: u64) -> u8 {
    (block % BLOCKS) as u8
}

/// Small numbers of either sign, as small ones without (as protobuf has it).
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn numbered(block: u64, places: &[u8]) -> impl Iterator<Item = (u64, PlaceContent)> {
    let first = block * BLOCK + 1;
    (first..first + BLOCK).zip(BlockPlaces { first, ..BlockPlaces::of(places) })
}

/// The places of a block. What is damaged ends it.
struct BlockPlaces<'a> {
    left: &'a [u8],
    at_s: u32,
    /// Sequence of the next one.
    first: u64,
}

impl<'a> BlockPlaces<'a> {
    fn of(block: &'a [u8]) -> Self {
        Self { left: block, at_s: 0, first: 0 }
    }

    fn number(&mut self) -> Option<u64> {
        decode_varint(&mut self.left).ok()
    }
}

impl Iterator for BlockPlaces<'_> {
    type Item = PlaceContent;

    fn next(&mut self) -> Option<PlaceContent> {
        if !self.left.has_remaining() {
            return None;
        }
        let (seq, head) = (self.first, self.number()?);
        self.first += 1;
        let by = Ordinal::new(u32::try_from(head >> KIND_BITS).ok()?);
        match head & ((1 << KIND_BITS) - 1) {
            0 => Some(PlaceContent::Other),
            kind @ (MESSAGE | LIMITED) => {
                let since = unzigzag(self.number()?);
                self.at_s = u32::try_from(i64::from(self.at_s).checked_add(since)?).ok()?;
                let life_s = if kind == LIMITED { Some(u32::try_from(self.number()?).ok()?) } else { None };
                Some(PlaceContent::Message(Sent { by, at_s: self.at_s, life_s }))
            }
            kind @ (TAKEN_BACK | TAKEN_BACK_BY_ADMIN) => {
                let message = Seq::new(seq.saturating_sub(self.number()?));
                Some(PlaceContent::Recalled(message, (kind == TAKEN_BACK).then_some(by)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ALICE: Ordinal = Ordinal::new(0);
    const BOB: Ordinal = Ordinal::new(1);

    /// A conversation, as far as it is on disk.
    #[derive(Default)]
    struct Stored {
        recent: RecentPlaces,
        rows: BTreeMap<u8, Bytes>,
        last: u64,
    }

    impl Stored {
        fn push(&mut self, what: PlaceContent) -> u64 {
            self.last += 1;
            self.recent.push(Seq::new(self.last), what);
            self.rows.extend(self.recent.take_full().into_iter().map(|row| (row.slot, row.value)));
            self.recent = RecentPlaces::from_record(&self.recent.to_record());
            self.last
        }

        fn message(&mut self, by: Ordinal) -> u64 {
            self.push(PlaceContent::Message(Sent { by, at_s: 1_000 + self.last as u32, life_s: None }))
        }

        fn unread(&self, by: Ordinal, read: u64, is_there: impl Fn(&Sent) -> bool) -> u64 {
            let asked = UnreadQuery { by, read: Seq::new(read), last: Seq::new(self.last) };
            let rows: Vec<_> = asked.slots().filter_map(|slot| self.rows.get(&slot)).collect();
            asked.unread(&self.recent, rows, is_there)
        }
    }

    #[test]
    fn places_that_are_left_out_are_nobody_s() {
        for (before, next) in [(3, 5), (3, 1 << 26), (8, (1 << 26) + 1), (11, (1 << 26) + 8)] {
            let mut it = Stored::default();
            (0..before).for_each(|_| _ = it.message(ALICE));
            it.recent.leave_out(Seq::new(it.last), Seq::new(next));
            it.last = next - 1;
            for _ in 0..20 {
                it.message(ALICE);
            }
            assert_eq!(it.unread(BOB, next - 1, |_| true), 20, "after {before} comes {next}");
            assert_eq!(it.unread(BOB, next + 4, |_| true), 15, "after {before} comes {next}");
            assert_eq!(it.unread(BOB, 0, |_| true), 20 + if next < 100 { before } else { 0 });
        }
    }

    #[test]
    fn only_messages_of_others_above_the_mark_are_unread() {
        let mut it = Stored::default();
        it.push(PlaceContent::Other);
        for _ in 0..5 {
            it.message(ALICE);
        }
        for _ in 0..5 {
            it.message(BOB);
        }
        let unread = |it: &Stored, by, read| it.unread(by, read, |_| true);
        assert_eq!([0, 1, 2, 5, 6, 11].map(|read| unread(&it, BOB, read)), [5, 5, 4, 1, 0, 0]);
        assert_eq!([0, 6, 7, 11].map(|read| unread(&it, ALICE, read)), [5, 5, 4, 0]);
        for read in 0..=11 {
            it.push(PlaceContent::Other);
            assert_eq!(unread(&it, BOB, read), 6u64.saturating_sub(read.max(1)), "changes are none");
        }
    }

    #[test]
    fn what_its_sender_took_back_is_not_unread() {
        let mut it = Stored::default();
        let messages: Vec<_> = (0..20).map(|_| Seq::new(it.message(ALICE))).collect();
        let unread = |it: &Stored, read| it.unread(BOB, read, |_| true);
        it.push(PlaceContent::Recalled(messages[3], Some(ALICE)));
        it.push(PlaceContent::Recalled(messages[3], Some(ALICE)));
        assert_eq!((unread(&it, 0), unread(&it, 4), unread(&it, 19)), (19, 16, 1));
        it.push(PlaceContent::Recalled(messages[19], Some(BOB)));
        assert_eq!(unread(&it, 19), 1, "it was not his");
        it.push(PlaceContent::Recalled(messages[19], None));
        assert_eq!((unread(&it, 0), unread(&it, 19)), (18, 0));
    }

    #[test]
    fn what_is_not_there_any_more_is_not_unread() {
        let mut it = Stored::default();
        for life_s in [None, Some(60), Some(3_600), Some(0), None] {
            it.push(PlaceContent::Message(Sent { by: ALICE, at_s: 1_700_000_000 + life_s.unwrap_or(0), life_s }));
        }
        let seen = |wanted: Sent| it.unread(BOB, 0, |sent| *sent == wanted);
        assert_eq!(seen(Sent { by: ALICE, at_s: 1_700_000_060, life_s: Some(60) }), 1);
        assert_eq!(seen(Sent { by: ALICE, at_s: 1_700_000_000, life_s: Some(0) }), 1, "for who is there at once");
        assert_eq!(it.unread(BOB, 0, |sent| sent.life_s.is_none_or(|life_s| life_s > 60)), 3);
        assert_eq!(it.unread(BOB, 2, |sent| sent.life_s.is_none()), 1);
    }

    /// Seed 51.
    #[test]
    fn the_clock_may_have_been_set_back_between_two_messages() {
        let mut it = Stored::default();
        let times = [1_000_003_291, 999_999_106, 0, u32::MAX, 7];
        for at_s in times {
            it.push(PlaceContent::Message(Sent { by: ALICE, at_s, life_s: Some(6) }));
        }
        for at_s in times {
            assert_eq!(it.unread(BOB, 0, |sent| sent.at_s == at_s), 1, "{at_s}");
        }
    }

    #[test]
    fn the_newest_places_count_and_take_so_many_rows() {
        let mut it = Stored::default();
        for number in 1..=5_000_u64 {
            it.message(if number % 2 == 0 { ALICE } else { BOB });
            let read = number - (number % 600).min(number);
            let expected = (read + 1).max((number + 1).saturating_sub(PLACES))..=number;
            assert_eq!(it.unread(BOB, read, |_| true), expected.filter(|seq| seq % 2 == 0).count() as u64, "{number}");
        }
        assert_eq!((it.rows.len() as u64, it.unread(BOB, 0, |_| true)), (BLOCKS, PLACES / 2));
        let bytes = it.rows.values().map(Bytes::len).max().unwrap() + 1;
        assert!(bytes <= 24, "{bytes} bytes for {BLOCK} messages");
    }

    #[test]
    fn damage_ends_a_block_and_is_no_more_than_that() {
        let mut it = Stored::default();
        for _ in 0..20 {
            it.message(ALICE);
        }
        let asked = UnreadQuery { by: BOB, read: Seq::new(0), last: Seq::new(20) };
        for bytes in [&b""[..], b"\xFF", b"\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", b"\x00\x09", b"\x01\x07\x07"]
        {
            let row = Bytes::copy_from_slice(bytes);
            assert_eq!(asked.unread(&it.recent, [&row], |_| true), 4, "{bytes:?}");
        }
    }
}
