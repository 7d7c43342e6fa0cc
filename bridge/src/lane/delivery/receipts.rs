//! Receipts that one device has still to get: the newest of each conversation and member, few at a time. What does
//! not fit here waits in the store. Keeps P7: an unread receipt is overwritten by a newer one.

use std::collections::VecDeque;

use bytes::Bytes;
use godwit_core::conversation::Watermark;
use godwit_core::stored::ReceiptRecord;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, Ordinal, Seq};
use prost::Message;

use godwit_store::record::decoded;
use godwit_store::{Row, keys};

/// Receipts without acknowledgement. A newer one for the same member waits until the device has the older one.
const IN_FLIGHT_MAX: usize = 8;
/// Receipts waiting in memory.
const OWED_MAX: usize = 64;

/// A receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lane) struct Receipt {
    pub(in crate::lane) conversation: ConversationId,
    pub(in crate::lane) member: Ordinal,
    pub(in crate::lane) watermark: Watermark,
}

impl Receipt {
    fn is_about(&self, other: &Self) -> bool {
        self.conversation == other.conversation && self.member == other.member
    }

    /// The payload that says it.
    pub(in crate::lane) fn event(&self) -> Bytes {
        let receipt = client::Receipt {
            conversation: self.conversation.get(),
            member: self.member.get(),
            delivered_up_to: self.watermark.delivered.get(),
            read_up_to: self.watermark.read.get(),
        };
        client::Event { event: Some(client::event::Event::Receipt(receipt)) }.encode_to_vec().into()
    }
}

/// Receipts of one connection: those that wait here, those in flight, and how far the store has been read.
#[derive(Debug, Default)]
pub(in crate::lane) struct Receipts {
    owed: VecDeque<Receipt>,
    flights: Vec<(u64, Receipt)>,
    /// The store may hold more, from this key on; empty: from the first.
    unread_from: Option<Vec<u8>>,
}

impl Receipts {
    /// Of a connection that begins: the store may hold some.
    pub(in crate::lane) fn behind() -> Self {
        Self { unread_from: Some(Vec::new()), ..Self::default() }
    }

    /// The store may hold some.
    pub(in crate::lane) fn set_behind(&mut self) {
        self.unread_from = Some(Vec::new());
    }

    /// A member has got further.
    pub(in crate::lane) fn owe(&mut self, device: DeviceId, receipt: Receipt) {
        if let Some(owed) = self.owed.iter_mut().find(|owed| owed.is_about(&receipt)) {
            owed.watermark = receipt.watermark;
            return;
        }
        if self.flights.iter().any(|(_, flight)| *flight == receipt) {
            return;
        }
        let to_be_read = self.unread_from.as_ref().is_some_and(|from| {
            let (_, key) = keys::receipt(device, receipt.conversation, receipt.member);
            key >= *from
        });
        if to_be_read {
            return;
        }
        if self.owed.len() >= OWED_MAX {
            self.set_behind();
        } else {
            self.owed.push_back(receipt);
        }
    }

    /// The next to hand out under this number, if there is one and room for it.
    pub(in crate::lane) fn next(&mut self, number: u64) -> Option<Receipt> {
        if self.flights.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let flights = &self.flights;
        let index = self.owed.iter().position(|owed| !flights.iter().any(|(_, flight)| flight.is_about(owed)))?;
        let receipt = self.owed.remove(index)?;
        self.flights.push((number, receipt));
        Some(receipt)
    }

    /// The device has it.
    pub(in crate::lane) fn acknowledge(&mut self, number: u64) -> Option<Receipt> {
        let index = self.flights.iter().position(|(flight, _)| *flight == number)?;
        Some(self.flights.swap_remove(index).1)
    }

    /// Whether to read on, and from which key.
    pub(in crate::lane) fn wants_read(&self) -> Option<&[u8]> {
        self.unread_from.as_deref().filter(|_| self.owed.len() * 2 <= OWED_MAX)
    }

    /// How many rows to read.
    pub(in crate::lane) const READ_ROWS: usize = OWED_MAX / 2;

    /// Rows that were read; fewer than asked for: there are no more.
    pub(in crate::lane) fn found(&mut self, rows: &[Row]) {
        self.unread_from = match rows.last() {
            Some((key, _)) if rows.len() >= Self::READ_ROWS => Some(keys::behind(key)),
            _ => None,
        };
        for (key, value) in rows {
            let Some((conversation, member)) = keys::parse_receipt(key) else { continue };
            let Some(record) = decoded::<ReceiptRecord>("receipt", &conversation, value) else { continue };
            let watermark = Watermark { delivered: Seq::new(record.delivered), read: Seq::new(record.read) };
            let receipt = Receipt { conversation, member, watermark };
            let known = self.owed.iter().chain(self.flights.iter().map(|(_, flight)| flight));
            if !known.into_iter().any(|known| known == &receipt) {
                self.owed.retain(|owed| !owed.is_about(&receipt));
                self.owed.push_back(receipt);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::new(1);

    fn receipt(conversation: u64, delivered: u64) -> Receipt {
        let watermark = Watermark { delivered: Seq::new(delivered), read: Seq::default() };
        Receipt { conversation: ConversationId::new(conversation), member: Ordinal::new(0), watermark }
    }

    #[test]
    fn a_newer_one_replaces_what_is_not_out_and_waits_for_what_is() {
        let mut it = Receipts::default();
        it.owe(DEVICE, receipt(1, 1));
        it.owe(DEVICE, receipt(1, 2));
        assert_eq!(it.next(10), Some(receipt(1, 2)));
        it.owe(DEVICE, receipt(1, 3));
        it.owe(DEVICE, receipt(1, 4));
        assert_eq!(it.next(11), None);
        assert_eq!(it.acknowledge(10), Some(receipt(1, 2)));
        assert_eq!(it.acknowledge(10), None);
        assert_eq!(it.next(11), Some(receipt(1, 4)));
        it.owe(DEVICE, receipt(1, 4));
        assert_eq!(it.acknowledge(11), Some(receipt(1, 4)));
        assert_eq!(it.next(12), None, "what is on its way need not be told again");
    }

    #[test]
    fn many_wait_in_the_store() {
        let mut it = Receipts::default();
        for conversation in 0..100 {
            it.owe(DEVICE, receipt(conversation, 1));
        }
        assert_eq!((0..100).filter(|n| it.next(*n).is_some()).count(), IN_FLIGHT_MAX);
        assert_eq!(it.wants_read(), None, "enough at hand");
        for order in 0..100 {
            it.acknowledge(order % 8);
            it.next(order % 8);
        }
        assert_eq!(it.wants_read(), Some(&[][..]));
        let row = |conversation| {
            let (_, key) = keys::receipt(DEVICE, ConversationId::new(conversation), Ordinal::new(0));
            (Bytes::from(key), ReceiptRecord { delivered: 9, read: 0 }.encode_to_vec().into())
        };
        let rows: Vec<_> = (0..Receipts::READ_ROWS as u64).map(row).collect();
        it.found(&rows);
        assert_eq!(it.owed.len(), Receipts::READ_ROWS);
        it.owe(DEVICE, receipt(90, 2));
        assert_eq!(it.owed.len(), Receipts::READ_ROWS, "will be read");
        it.owe(DEVICE, receipt(0, 10));
        assert_eq!(it.owed[0], receipt(0, 10), "was read");
        it.found(&rows[..1]);
        assert_eq!(it.wants_read(), None);
    }
}
