//! What a partition has to say to others, as the sending side counts it. Nothing is written into another partition's rows: what
//! concerns them is an [`Item`], which that partition's owner takes in (see [`crate::intake`]).
//!
//! The lane that makes a commit sorts its items. One that only writes rows is taken in by the same commit, as long as its
//! partition has taken in all that was sent to it before. Any other is **outside**: the commit that sends it stores it under the
//! next number of its [`Link`], and its row goes when it is taken in. So an item that is outside is never lost, and the numbers
//! say which come first.

use std::collections::BTreeMap;
use std::ops::Range;

use godwit_schemas::ids::{ConversationId, DeviceId, Seq, UserId};
use godwit_schemas::partition::Partition;
use prost::Message as _;

use crate::membership_count::Membership;
use crate::stored::{
    ContactGoneRecord, ForgetRecord, ItemRecord, MembershipRecord, ReleasedRecord, WatchRecord, item_record,
};

/// From one partition to another, which may be itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// Who sends.
    pub from: Partition,
    /// Who takes in.
    pub to: Partition,
}

/// What a partition says to another.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// From a conversation's partition to a user's: the user is a member, or is none any more.
    Membership(UserId, ConversationId, Membership),
    /// From a user's partition to its contact's: the user has it as a contact, or has it no more.
    Watch {
        /// Who is watched.
        contact: UserId,
        /// Who watches.
        by: UserId,
        /// From now on, or no more.
        begins: bool,
    },
    /// From the partition of a user that is removed to that of one who has it as a contact.
    ContactGone {
        /// Whose contact it is.
        user: UserId,
        /// Who is no more.
        contact: UserId,
    },
    /// From the partition of a user that is removed to that of a conversation which it is still in: it leaves.
    Forget {
        /// The user.
        user: UserId,
        /// The conversation.
        conversation: ConversationId,
    },
    /// From the partition of a device that is removed to a conversation's: the device will not get these messages, which are
    /// kept apart.
    Released {
        /// The device.
        device: DeviceId,
        /// The conversation.
        conversation: ConversationId,
        /// Messages kept apart that the device has not got.
        apart: Vec<Seq>,
    },
}

/// An item that a commit sends.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// From where to where.
    pub link: Link,
    /// What.
    pub item: Item,
}

/// An item that is outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Outside {
    /// From where to where.
    pub link: Link,
    /// Its number on this link, from 1 on, without gaps.
    pub number: u64,
    /// What.
    pub item: Item,
}

impl Link {
    /// The way back.
    pub fn back(self) -> Self {
        Self { from: self.to, to: self.from }
    }
}

impl Item {
    /// Taking it in needs nothing but what it says: rows are written.
    pub fn is_rows(&self) -> bool {
        matches!(self, Self::Membership(..) | Self::Watch { .. })
    }

    /// To store.
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self {
            Self::Membership(user, conversation, membership) => {
                let (begins, by_stranger_on) = match membership {
                    Membership::Begun => (true, None),
                    Membership::BegunByStranger(day) => (true, Some(*day)),
                    Membership::Ended => (false, None),
                };
                let (user, conversation) = (user.to_string(), conversation.get());
                item_record::Kind::Membership(MembershipRecord { user, conversation, begins, by_stranger_on })
            }
            Self::Watch { contact, by, begins } => {
                let (contact, by) = (contact.to_string(), by.to_string());
                item_record::Kind::Watch(WatchRecord { contact, by, begins: *begins })
            }
            Self::ContactGone { user, contact } => {
                let (user, contact) = (user.to_string(), contact.to_string());
                item_record::Kind::ContactGone(ContactGoneRecord { user, contact })
            }
            Self::Forget { user, conversation } => {
                let (user, conversation) = (user.to_string(), conversation.get());
                item_record::Kind::Forget(ForgetRecord { user, conversation })
            }
            Self::Released { device, conversation, apart } => {
                let (device, conversation) = (device.get(), conversation.get());
                let apart = apart.iter().map(|sequence| sequence.get()).collect();
                item_record::Kind::Released(ReleasedRecord { device, conversation, apart })
            }
        };
        ItemRecord { kind: Some(kind) }.encode_to_vec()
    }

    /// The other way round. `None`: it is none that this program knows.
    pub fn decode(stored: &[u8]) -> Option<Self> {
        let name = |name: &str| UserId::new(name).ok();
        Some(match ItemRecord::decode(stored).ok()?.kind? {
            item_record::Kind::Membership(MembershipRecord { user, conversation, begins, by_stranger_on }) => {
                let membership = match (begins, by_stranger_on) {
                    (true, None) => Membership::Begun,
                    (true, Some(day)) => Membership::BegunByStranger(day),
                    (false, _) => Membership::Ended,
                };
                Self::Membership(name(&user)?, ConversationId::new(conversation), membership)
            }
            item_record::Kind::Watch(WatchRecord { contact, by, begins }) => {
                Self::Watch { contact: name(&contact)?, by: name(&by)?, begins }
            }
            item_record::Kind::ContactGone(ContactGoneRecord { user, contact }) => {
                Self::ContactGone { user: name(&user)?, contact: name(&contact)? }
            }
            item_record::Kind::Forget(ForgetRecord { user, conversation }) => {
                Self::Forget { user: name(&user)?, conversation: ConversationId::new(conversation) }
            }
            item_record::Kind::Released(ReleasedRecord { device, conversation, apart }) => {
                let (device, conversation) = (DeviceId::new(device), ConversationId::new(conversation));
                Self::Released { device, conversation, apart: apart.into_iter().map(Seq::new).collect() }
            }
        })
    }
}

/// What is outside of what some partitions have sent. A link on which nothing is outside costs no memory.
#[derive(Debug, Default)]
pub struct Outbox {
    links: BTreeMap<Link, SentItems>,
}

/// On one link. Outside is what is above `taken_in`, up to `last`.
#[derive(Debug)]
struct SentItems {
    last: u64,
    taken_in: u64,
}

impl Outbox {
    /// How many items are outside, on all links.
    pub fn outside_count(&self) -> u64 {
        self.links.values().map(|sent| sent.last - sent.taken_in).sum()
    }

    /// An item was outside when the bridge started. Items of a link come in the order of their numbers.
    pub fn restore(&mut self, link: Link, number: u64) {
        let sent = self.links.entry(link).or_insert(SentItems { last: number, taken_in: number.saturating_sub(1) });
        sent.last = number;
    }

    /// Nothing that was sent on this link is outside: what is sent next may be taken in at once.
    pub fn is_clear(&self, link: Link) -> bool {
        !self.links.contains_key(&link)
    }

    /// Gives an item its number: it is outside from here on. `last`: the number that the link gave last, as stored, which
    /// counts only if the link [is clear](Self::is_clear).
    pub fn send(&mut self, link: Link, last: u64) -> u64 {
        let sent = self.links.entry(link).or_insert(SentItems { last, taken_in: last });
        sent.last += 1;
        sent.last
    }

    /// Items up to this number are taken in, and that is on disk. Returns those that are outside no more. Their numbers may be
    /// told again.
    pub fn taken_in(&mut self, link: Link, up_to: u64) -> Range<u64> {
        let Some(sent) = self.links.get_mut(&link) else { return 0..0 };
        let up_to = up_to.min(sent.last);
        if up_to <= sent.taken_in {
            return 0..0;
        }
        let first = std::mem::replace(&mut sent.taken_in, up_to) + 1;
        if sent.taken_in == sent.last {
            self.links.remove(&link);
        }
        first..up_to + 1
    }

    /// Links from this partition on which something is outside, and the last number on each.
    pub fn outside(&self, from: Partition) -> impl Iterator<Item = (Link, u64)> {
        let bound = |to| Link { from, to: Partition::new(to) };
        self.links.range(bound(0)..=bound(u16::MAX)).map(|(link, sent)| (*link, sent.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = Link { from: Partition::new(3), to: Partition::new(1_000) };
    const BACK: Link = Link { from: Partition::new(1_000), to: Partition::new(3) };

    #[test]
    fn numbers_go_on_and_a_link_is_clear_when_all_are_taken_in() {
        let mut outbox = Outbox::default();
        assert!(outbox.is_clear(LINK));
        assert_eq!([outbox.send(LINK, 7), outbox.send(LINK, 7), outbox.send(BACK, 0)], [8, 9, 1]);
        assert!(!outbox.is_clear(LINK));
        assert_eq!(outbox.taken_in(LINK, 8), 8..9);
        assert!(outbox.taken_in(LINK, 8).is_empty(), "told again");
        assert!(!outbox.is_clear(LINK), "9 is outside");
        assert_eq!(outbox.send(LINK, 0), 10, "what is stored does not count while something is outside");
        assert_eq!(outbox.taken_in(LINK, 10), 9..11);
        assert!(outbox.is_clear(LINK) && !outbox.is_clear(BACK));
        assert!(outbox.taken_in(LINK, 99).is_empty());
    }

    #[test]
    fn what_was_outside_at_the_start_is_so_until_it_is_taken_in() {
        let mut outbox = Outbox::default();
        (4..=6).for_each(|number| outbox.restore(LINK, number));
        outbox.restore(BACK, 1);
        assert_eq!(outbox.outside(LINK.from).collect::<Vec<_>>(), [(LINK, 6)]);
        assert_eq!(outbox.send(LINK, 6), 7);
        assert_eq!(outbox.taken_in(LINK, 5), 4..6);
        assert_eq!(outbox.outside(LINK.from).collect::<Vec<_>>(), [(LINK, 7)]);
    }

    #[test]
    fn items_read_back() {
        let (alice, bob) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
        let (device, conversation) = (DeviceId::new(1 << 60), ConversationId::new(77));
        let memberships = [Membership::Begun, Membership::BegunByStranger(0), Membership::Ended];
        let mut items = memberships.map(|it| Item::Membership(alice.clone(), conversation, it)).to_vec();
        items.extend([true, false].map(|begins| Item::Watch { contact: alice.clone(), by: bob.clone(), begins }));
        items.push(Item::Forget { user: bob.clone(), conversation });
        items.push(Item::ContactGone { user: alice, contact: bob });
        items.push(Item::Released { device, conversation, apart: vec![Seq::new(1), Seq::new(u64::MAX)] });
        for item in items {
            assert_eq!(Item::decode(&item.encode()), Some(item));
        }
        assert_eq!(Item::decode(b""), None, "of a newer program");
    }
}
