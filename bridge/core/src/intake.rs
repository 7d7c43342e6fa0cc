//! What partitions take in of what others have sent (see [`crate::outbox`]): in the order of its numbers, and once. The commit
//! that carries an item out also stores its number, the link's **cursor**. So after a crash either both are there or neither,
//! and what comes again is known by its number.

use std::collections::{BTreeMap, VecDeque};

use crate::keys::Ticket;
use crate::outbox::{Link, Outside};

/// What becomes of an item that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It waits for its turn: [`Intake::next`].
    Queued,
    /// It waits already.
    Known,
    /// It was taken in before: its sender is to be told again.
    TakenIn,
    /// One before it has not come. Its sender sends both again.
    Early,
}

/// What some partitions have taken in. Holds the links that were in use lately.
#[derive(Debug, Default)]
pub struct Intake {
    links: BTreeMap<Link, Incoming>,
}

/// On one link.
#[derive(Debug)]
struct Incoming {
    /// Taken in up to here, by commits that may not be on disk yet.
    cursor: u64,
    /// The commit that stores it.
    ticket: Ticket,
    /// The item behind the cursor is being carried out.
    is_busy: bool,
    waiting: VecDeque<Outside>,
}

impl Intake {
    /// Whether the link's cursor is here. If not it is to be read.
    pub fn knows(&self, link: Link) -> bool {
        self.links.contains_key(&link)
    }

    /// A link's cursor was read.
    pub fn insert(&mut self, link: Link, cursor: u64) {
        let incoming = Incoming { cursor, ticket: 0, is_busy: false, waiting: VecDeque::new() };
        self.links.entry(link).or_insert(incoming);
    }

    /// An item has come, on a link whose cursor is known.
    pub fn arrived(&mut self, outside: Outside) -> Arrival {
        let Some(incoming) = self.links.get_mut(&outside.link) else { return Arrival::Early };
        let known = incoming.cursor + u64::from(incoming.is_busy) + incoming.waiting.len() as u64;
        match outside.number {
            number if number <= incoming.cursor => Arrival::TakenIn,
            number if number <= known => Arrival::Known,
            number if number > known + 1 => Arrival::Early,
            _ => {
                incoming.waiting.push_back(outside);
                Arrival::Queued
            }
        }
    }

    /// The next item of a link to carry out, once the one before is [done](Self::done).
    pub fn next(&mut self, link: Link) -> Option<Outside> {
        let incoming = self.links.get_mut(&link).filter(|incoming| !incoming.is_busy)?;
        let next = incoming.waiting.pop_front()?;
        incoming.is_busy = true;
        Some(next)
    }

    /// The item that [`Self::next`] gave is carried out by this commit. Returns the cursor that the commit is to store.
    pub fn done(&mut self, link: Link, ticket: Ticket) -> u64 {
        let Some(incoming) = self.links.get_mut(&link) else { return 0 };
        (incoming.is_busy, incoming.ticket) = (false, ticket);
        incoming.cursor += 1;
        incoming.cursor
    }

    /// Commits up to this ticket are on disk: forgets links that are not in use, if there are more than `room`.
    pub fn trim(&mut self, room: usize, confirmed: Ticket) {
        if self.links.len() > room {
            let in_use = |it: &Incoming| it.is_busy || !it.waiting.is_empty() || it.ticket > confirmed;
            self.links.retain(|_, incoming| in_use(incoming));
        }
    }
}

#[cfg(test)]
mod tests {
    use godwit_schemas::ids::{ConversationId, DeviceId};
    use godwit_schemas::partition::Partition;

    use super::*;
    use crate::outbox::Item;

    const LINK: Link = Link { from: Partition::new(3), to: Partition::new(1_000) };

    fn outside(number: u64) -> Outside {
        let (device, conversation) = (DeviceId::new(number), ConversationId::new(7));
        Outside { link: LINK, number, item: Item::Released { device, conversation, apart: Vec::new() } }
    }

    #[test]
    fn items_are_carried_out_one_after_the_other_and_once() {
        let mut intake = Intake::default();
        assert!(!intake.knows(LINK));
        intake.insert(LINK, 4);
        let arrived = [4, 6, 5, 5, 6, 6, 8].map(|number| intake.arrived(outside(number)));
        let (queued, known, early) = (Arrival::Queued, Arrival::Known, Arrival::Early);
        assert_eq!(arrived, [Arrival::TakenIn, early, queued, known, queued, known, early]);
        assert_eq!(intake.next(LINK), Some(outside(5)));
        assert_eq!(intake.next(LINK), None, "5 is under way");
        assert_eq!([5, 7].map(|number| intake.arrived(outside(number))), [known, queued]);
        assert_eq!(intake.done(LINK, 1), 5);
        assert_eq!(intake.arrived(outside(5)), Arrival::TakenIn);
        assert_eq!((intake.next(LINK), intake.done(LINK, 1)), (Some(outside(6)), 6));
        assert_eq!((intake.next(LINK), intake.done(LINK, 2)), (Some(outside(7)), 7));
        assert_eq!(intake.next(LINK), None);
    }

    #[test]
    fn a_cursor_is_kept_until_it_is_on_disk() {
        let mut intake = Intake::default();
        intake.insert(LINK, 0);
        intake.arrived(outside(1));
        intake.trim(0, 0);
        assert!(intake.next(LINK).is_some());
        intake.trim(0, 0);
        intake.done(LINK, 9);
        intake.trim(0, 8);
        assert!(intake.knows(LINK), "not on disk");
        intake.insert(LINK, 0);
        assert_eq!(intake.arrived(outside(1)), Arrival::TakenIn, "what was read late does not put it back");
        intake.trim(1, 9);
        assert!(intake.knows(LINK), "there is room");
        intake.trim(0, 9);
        assert!(!intake.knows(LINK));
    }
}
