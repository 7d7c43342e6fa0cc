//! How much an answer may hold. A page ends where the next item does not fit; the asker goes on behind the last one.

use godwit_core::refusal::Refusal;
use godwit_schemas::client::{self, event};
use prost::Message;

/// About how many bytes a page may have, whoever asks.
pub(in crate::lane) const PAGE_BYTES: usize = 256 << 10;
/// What else is in a response with a page: its numbers, and where the next one begins.
const RESPONSE_BYTES: usize = 128;
/// Key and length of an item.
const ITEM_BYTES: usize = 6;

/// What an asker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lane) struct AnswerRoom {
    /// No response has more bytes; otherwise it cannot be told.
    pub(in crate::lane) most: usize,
}

impl AnswerRoom {
    /// Whoever asks over HTTP, or has named no Maximum Packet Size, takes an item of any size.
    pub(in crate::lane) const ANY: Self = Self { most: usize::MAX };

    /// Of a connection whose packets have so much room for a payload (`None`: any).
    pub(in crate::lane) fn of_payload(bytes_max: Option<u32>) -> Self {
        bytes_max.map_or(Self::ANY, |most| Self { most: most as usize })
    }

    /// Without so many bytes, which something else in the packet takes.
    pub(in crate::lane) fn without(self, bytes: usize) -> Self {
        if self == Self::ANY { self } else { Self { most: self.most.saturating_sub(bytes) } }
    }
}

/// An item of a page.
pub(in crate::lane) trait PageItem: Message {
    /// Leaves something out and says so, for who cannot take the whole. False: there is nothing to leave out.
    fn shrink(&mut self) -> bool;
}

/// Not even the first item fits, shrunk as far as may be.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::lane) struct TooLarge;

/// Items of a page, as many as fit.
#[derive(Debug)]
pub(in crate::lane) struct PageBuilder<T> {
    items: Vec<T>,
    bytes: usize,
    room: AnswerRoom,
}

impl<T: PageItem> PageBuilder<T> {
    pub(in crate::lane) fn new(room: AnswerRoom) -> Self {
        Self { items: Vec::new(), bytes: 0, room: room.without(RESPONSE_BYTES) }
    }

    pub(in crate::lane) fn len(&self) -> usize {
        self.items.len()
    }

    pub(in crate::lane) fn into_items(self) -> Vec<T> {
        self.items
    }

    /// Takes the next item, if it fits: `false`, the page ends before it. The first one always does: what the asker
    /// cannot take is left out of it.
    pub(in crate::lane) fn take(&mut self, mut item: T) -> Result<bool, TooLarge> {
        let size = |item: &T| item.encoded_len() + ITEM_BYTES;
        if !self.items.is_empty() {
            let fits = self.bytes + size(&item) <= self.room.most.min(PAGE_BYTES);
            if !fits {
                return Ok(false);
            }
        }
        while size(&item) > self.room.most {
            if !item.shrink() {
                return Err(TooLarge);
            }
        }
        self.bytes += size(&item);
        self.items.push(item);
        Ok(true)
    }
}

impl PageItem for client::Event {
    fn shrink(&mut self) -> bool {
        let before = self.encoded_len();
        match &mut self.event {
            Some(event::Event::Message(message)) if message.omitted_bytes == 0 => {
                (message.body, message.media, message.reactions) = Default::default();
                (message.properties, message.mentions) = Default::default();
                let after = message.encoded_len();
                message.omitted_bytes = before.saturating_sub(after) as u64;
            }
            Some(event::Event::Change(change)) if change.omitted_bytes == 0 => {
                (change.change, change.mls) = (None, None);
                let after = change.encoded_len();
                change.omitted_bytes = before.saturating_sub(after) as u64;
            }
            _ => return false,
        }
        true
    }
}

impl PageItem for client::Summary {
    fn shrink(&mut self) -> bool {
        self.last.as_mut().is_some_and(PageItem::shrink)
            || self.last.take().is_some()
            || self.description.take().is_some()
    }
}

impl PageItem for client::Contact {
    fn shrink(&mut self) -> bool {
        false
    }
}

/// What a call is answered with. `None`: there is more to do.
pub(in crate::lane) type ReadAnswer = Option<Result<client::Response, Refusal>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body_bytes: usize) -> client::Event {
        let message = client::Message { sequence: 7, body: vec![b'x'; body_bytes].into(), ..Default::default() };
        client::Event { event: Some(event::Event::Message(message)) }
    }

    fn bodies(page: PageBuilder<client::Event>) -> Vec<usize> {
        let len = |event: client::Event| match event.event {
            Some(event::Event::Message(message)) => message.body.len(),
            other => panic!("{other:?}"),
        };
        page.into_items().into_iter().map(len).collect()
    }

    #[test]
    fn a_page_ends_before_what_does_not_fit() {
        let mut page = PageBuilder::new(AnswerRoom::ANY);
        assert_eq!(page.take(message(PAGE_BYTES / 2)), Ok(true));
        assert_eq!(page.take(message(PAGE_BYTES / 2)), Ok(false));
        assert_eq!(page.take(message(10)), Ok(true));
        assert_eq!(bodies(page), [PAGE_BYTES / 2, 10]);
        let mut page = PageBuilder::new(AnswerRoom::ANY);
        assert_eq!(page.take(message(2 * PAGE_BYTES)), Ok(true), "who takes any size takes one");
        assert_eq!(page.take(message(0)), Ok(false));
    }

    #[test]
    fn what_never_fits_is_told_without_its_body() {
        let mut page = PageBuilder::new(AnswerRoom::of_payload(Some(300)));
        assert_eq!(page.take(message(1_000)), Ok(true));
        let Some(event::Event::Message(told)) = &page.items[0].event else { panic!() };
        assert_eq!((told.sequence, told.body.len()), (7, 0));
        assert!(told.omitted_bytes >= 1_000, "{}", told.omitted_bytes);
        assert_eq!(page.take(message(1_000)), Ok(false), "the next page begins with it");
        assert_eq!(PageBuilder::new(AnswerRoom::of_payload(Some(130))).take(message(1_000)), Err(TooLarge));
    }

    #[test]
    fn a_page_never_has_more_than_the_asker_takes() {
        for most in [200, 400, 1_000, 10_000] {
            for body in [0, 1, 90, 100, 500] {
                let mut page = PageBuilder::new(AnswerRoom::of_payload(Some(most)));
                while page.take(message(body)) == Ok(true) {}
                let history = page.into_items();
                assert!(!history.is_empty());
                let (id, next, conversation) = (u64::MAX, u64::MAX, u64::MAX);
                let response = client::Response { id, next, conversation, history, ..Default::default() };
                assert!(response.encoded_len() <= most as usize, "{most} {body}: {}", response.encoded_len());
            }
        }
    }

    #[test]
    fn a_summary_loses_its_last_message_before_its_members() {
        let member = |ordinal| client::Member { ordinal, user: "somebody".to_owned(), ..Default::default() };
        let opened = client::Opened { members: (0..5).map(member).collect(), ..Default::default() };
        let (description, last) = (Some(opened), Some(message(100)));
        let mut summary = client::Summary { conversation: 9, description, last, ..Default::default() };
        assert!(summary.shrink());
        let Some(event::Event::Message(last)) = &summary.last.as_ref().unwrap().event else { panic!() };
        assert!(last.body.is_empty() && summary.description.is_some());
        assert!(summary.shrink() && summary.last.is_none() && summary.description.is_some());
        assert!(summary.shrink() && summary.description.is_none() && !summary.shrink());
    }
}
