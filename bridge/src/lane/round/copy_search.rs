//! The search for copies of a message in inboxes.

use godwit_core::conversation::Conversation;
use godwit_core::entry::Entry;
use godwit_core::keys::MessageKey;
use godwit_schemas::client::Role;
use godwit_schemas::ids::{DeviceId, Order, Seq, UserId};

use godwit_store::{Row, keys};

/// Rows read in one slice, and about how many bytes.
pub(in crate::lane) const ROWS: usize = 256;
pub(in crate::lane) const BYTES: usize = 64 << 10;
/// The same where a copy should be the first or second.
const NEAR_ROWS: usize = 16;
/// Orders that are looked through first, at the end of an inbox; then twice as many, and so on.
const FIRST_WIDTH: u64 = 1 << 10;
/// Copies of a message are no further apart than this, however large groups may be. It is more than one has members now:
/// there may have been more of them, with more devices, when it was sent.
const APART_MAX: u64 = 1 << 14;

/// Entries of a message that wait in inboxes.
#[derive(Debug, Default)]
pub(in crate::lane) struct Copies {
    pub(super) places: Vec<(DeviceId, Order)>,
    /// One of them.
    pub(super) copy: Option<Entry>,
}

/// A search, as far as it is.
pub(in crate::lane) struct CopySearch {
    pub(super) place: MessageKey,
    pub(super) found: Copies,
    /// Devices whose inboxes have still to be looked into; the last is next. `None`: it has not begun.
    pub(super) devices: Option<Vec<DeviceId>>,
    /// One copy is enough: it only matters who sent the message.
    pub(super) one_will_do: bool,
    /// Every order is lower.
    pub(super) end: Order,
    /// So many orders around a copy that was found hold the others, mostly.
    pub(super) near: u64,
    /// What of the next device's inbox is being read.
    pub(super) part: Option<InboxPart>,
}

/// A part of an inbox, and what is left of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InboxPart {
    /// Reading goes on here...
    pub(super) next: u64,
    /// ...up to here, not included.
    pub(super) end: u64,
    /// This part began here, and everything left is below.
    pub(super) start: u64,
    /// Nothing below this is of interest.
    pub(super) low: u64,
    pub(super) width: u64,
    /// Rows read at once.
    pub(super) rows: usize,
    /// An entry from before the message was seen: it is not further down.
    pub(super) passed: bool,
}

impl InboxPart {
    /// The end of what is between these orders.
    pub(in crate::lane) fn last(low: u64, end: u64, width: u64) -> Self {
        let start = end.saturating_sub(width).max(low);
        Self { next: start, end, start, low, width, rows: ROWS, passed: false }
    }

    /// What lies before. `None`: nothing that could be of interest.
    fn before(self) -> Option<Self> {
        let more = !self.passed && self.start > self.low;
        more.then(|| Self::last(self.low, self.start, self.width.saturating_mul(2)))
    }
}

/// What some rows told.
#[derive(Debug, PartialEq)]
enum RowsSeen {
    Copy(Order, Box<Entry>),
    /// An entry from behind the message: what follows is, too.
    Behind,
    /// The next row to read; nothing was decided.
    Nothing(Option<u64>),
}

/// False: the command will be refused, whatever is found.
pub(in crate::lane) fn may_concern(
    conversation: &Conversation,
    by: &UserId,
    sequence: Seq,
    row: Option<&Entry>,
) -> bool {
    let Some(member) = conversation.member(by).filter(|_| sequence <= conversation.last_seq) else { return false };
    let administers = conversation.group && conversation.may(by, Role::Admin);
    administers || row.is_none_or(|row| row.sender == member.ordinal)
}

impl CopySearch {
    pub(in crate::lane) fn new(place: MessageKey, one_will_do: bool) -> Self {
        Self { place, found: Copies::default(), devices: None, one_will_do, end: Order::default(), near: 0, part: None }
    }

    pub(in crate::lane) fn is_over(&self) -> bool {
        let enough = self.one_will_do && self.found.copy.is_some();
        enough || self.devices.as_ref().is_some_and(Vec::is_empty)
    }

    /// Where to begin in the next inbox.
    pub(super) fn first_part(&self, low: Order) -> InboxPart {
        let (low, end) = (low.get(), self.end.get());
        let Some((_, found)) = self.found.places.first() else { return InboxPart::last(low, end, FIRST_WIDTH) };
        // A copy was found in another inbox.
        let (low, end) = (low.max(found.get().saturating_sub(APART_MAX)), end.min(found.get() + APART_MAX));
        let start = found.get().saturating_sub(self.near).max(low);
        InboxPart { next: start, end, start, low, width: self.near.max(1), rows: NEAR_ROWS, passed: false }
    }

    /// Rows of a part were read: what is to be read next?
    pub(super) fn have_read(&mut self, device: DeviceId, mut part: InboxPart, rows: Vec<Row>) {
        let next = match self.look_at(&mut part, rows) {
            RowsSeen::Copy(order, entry) => {
                self.found.places.push((device, order));
                self.found.copy = Some(*entry);
                None
            }
            RowsSeen::Nothing(Some(next)) => Some(InboxPart { next, rows: ROWS, ..part }),
            RowsSeen::Behind | RowsSeen::Nothing(None) => part.before(),
        };
        self.part = next;
        if next.is_none() {
            self.devices.as_mut().map(Vec::pop);
        }
    }

    fn look_at(&self, part: &mut InboxPart, rows: Vec<Row>) -> RowsSeen {
        let bytes: usize = rows.iter().map(|(_, value)| value.len()).sum();
        let cut_off = rows.len() >= part.rows || bytes >= BYTES;
        let last = rows.last().and_then(|(key, _)| keys::parse_order(key));
        for (key, value) in rows {
            let (Some(order), Ok(entry)) = (keys::parse_order(&key), Entry::decode(value)) else { continue };
            if entry.conversation != self.place.0 {
                continue;
            }
            match entry.sequence.cmp(&self.place.1) {
                std::cmp::Ordering::Less => part.passed = true,
                std::cmp::Ordering::Equal => return RowsSeen::Copy(order, Box::new(entry)),
                std::cmp::Ordering::Greater => return RowsSeen::Behind,
            }
        }
        RowsSeen::Nothing(last.filter(|_| cut_off).map(|last| last.get() + 1))
    }
}
