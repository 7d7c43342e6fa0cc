//! What this lane's partitions say to others and take in from others (`godwit_core::outbox`, `godwit_core::intake`). What a lane
//! changes in rows of other partitions goes through here, so that two partitions need nothing in common but their links.
//!
//! All partitions of a bridge share a store. So an item that only writes rows is taken in by the commit that sends it, as long
//! as nothing that was sent before on the same link is outside: that costs nothing, and no row of an outbox is written. Other
//! items are told to the lane that takes them in when the commit that sends them is on disk, and again at the next start if
//! they are outside then.

use std::collections::BTreeMap;

use godwit_core::intake::Intake;
use godwit_core::outbox::{Item, Link, Outbox, Outgoing, Outside};
use godwit_schemas::partition::Partition;

use crate::lane::cleanup::Cleanup;

pub(in crate::lane) mod send;
pub(in crate::lane) mod take_in;

/// Links whose cursors are kept in memory though they are not in use.
const LINKS: usize = 1_024;

/// See the module.
pub(in crate::lane) struct Exchange {
    /// For the next commit, before what its commands decide.
    unsent: Vec<Outgoing>,
    outbox: Outbox,
    intake: Intake,
    /// What goes on when everything that a partition has sent by the next commit is taken in.
    parking: Vec<(Partition, Cleanup)>,
    /// The same, once that is known.
    parked: Vec<Parked>,
    /// What was outside when the bridge started: not told again yet.
    left: Vec<Outside>,
}

/// Work that waits until links are taken in up to these numbers.
struct Parked {
    until: BTreeMap<Link, u64>,
    job: Cleanup,
}

impl Exchange {
    /// `left`: what is outside of what this lane's partitions have sent, in order for each link.
    pub(in crate::lane) fn new(left: Vec<Outside>) -> Self {
        let mut outbox = Outbox::default();
        left.iter().for_each(|outside| outbox.restore(outside.link, outside.number));
        Self { unsent: Vec::new(), outbox, intake: Intake::default(), parking: Vec::new(), parked: Vec::new(), left }
    }

    /// Sends an item with the next commit.
    pub(in crate::lane) fn send(&mut self, link: Link, item: Item) {
        self.unsent.push(Outgoing { link, item });
    }

    /// Goes on with this when everything is taken in that a partition has sent, up to the next commit.
    pub(in crate::lane) fn when_taken_in(&mut self, from: Partition, job: Cleanup) {
        self.parking.push((from, job));
    }

    /// How much of what was sent is not taken in.
    pub(in crate::lane) fn outside(&self) -> u64 {
        self.outbox.outside_count()
    }

    /// Something goes with the next commit.
    pub(in crate::lane) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || !self.parking.is_empty()
    }
}
