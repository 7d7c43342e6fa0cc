//! Which places of a conversation are accounted for: as received, as sent by this device, or as missing. Pure; the
//! ledger keeps one for each conversation. It is why an app sees nothing twice (P3) and is told of every gap.
//!
//! An inbox is handed out in order, so a place below the last received one that did not come will not come, with two
//! exceptions: it is a message of this device, which gets no copy; or it was too large, and then may come later.
//! Where a message of this device stands is in its PUBACK, but not in the PUBACK of each retry: such a send is a
//! *unplaced*, and gets its place from the holes that are left.

use std::collections::BTreeSet;

/// The places of one conversation: received, sent by this device, or missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SequenceTracker {
    /// Everything below is accounted for; 0: nothing was received yet, so nobody knows where this device's part begins.
    pub(crate) next: u64,
    /// Accounted for, at or above `next`.
    pub(crate) seen: BTreeSet<u64>,
    /// Below `next`, reported as missing: first and last.
    pub(crate) missing: Vec<(u64, u64)>,
    /// The highest place that came from the inbox.
    pub(crate) last_received: u64,
}

/// A send that was accepted, nobody said at which place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnplacedSend {
    /// The send.
    pub(crate) id: u64,
    /// The place is above this one: that of an earlier send.
    pub(crate) above: u64,
    /// And below this one, of a later send; 0: there is none yet.
    pub(crate) below: u64,
}

/// What [`SequenceTracker::settle`] found out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Sends with their places.
    pub(crate) placed: Vec<(u64, u64)>,
    /// Places that hold something that did not come: first and last.
    pub(crate) missing: Vec<(u64, u64)>,
}

impl SequenceTracker {
    /// Something came from the inbox. Returns whether it is new.
    pub(crate) fn receive(&mut self, place: u64) -> bool {
        if self.next == 0 {
            self.next = place;
            self.seen.retain(|seen| *seen >= place);
        }
        self.last_received = self.last_received.max(place);
        self.take(place)
    }

    /// The server was restored, and gives places above this one. What did not come below it may come yet, or was forgotten.
    pub(crate) fn leap(&mut self, above: u64) {
        if self.next == 0 || self.next > above {
            return;
        }
        let mut open = Vec::new();
        let mut from = self.next;
        for seen in self.seen.range(from..=above) {
            if from < *seen {
                open.push((from, seen - 1));
            }
            from = seen + 1;
        }
        if from <= above {
            open.push((from, above));
        }
        self.missing.extend(open);
        self.next = above + 1;
        self.seen.retain(|seen| *seen > above);
        while self.seen.remove(&self.next) {
            self.next += 1;
        }
    }

    /// A message of this device stands here.
    pub(crate) fn own(&mut self, place: u64) {
        self.take(place);
    }

    fn take(&mut self, place: u64) -> bool {
        if place < self.next {
            return self.take_missing(place);
        }
        let new = self.seen.insert(place);
        while self.next > 0 && self.seen.remove(&self.next) {
            self.next += 1;
        }
        new
    }

    fn take_missing(&mut self, place: u64) -> bool {
        let Some(at) = self.missing.iter().position(|(first, last)| (*first..=*last).contains(&place)) else {
            return false;
        };
        let (first, last) = self.missing.remove(at);
        let left = [(first, place - 1), (place + 1, last)];
        self.missing.splice(at..at, left.into_iter().filter(|(first, last)| first <= last));
        true
    }

    /// What is not accounted for, between `above` and `below`, both excluded: first and last of each run.
    fn holes(&self, above: u64, below: u64) -> Vec<(u64, u64)> {
        let mut holes = Vec::new();
        let mut from = self.next;
        for seen in self.seen.iter().copied().filter(|_| self.next > 0) {
            if from < seen {
                holes.push((from.max(above + 1), (seen - 1).min(below.saturating_sub(1))));
            }
            from = seen + 1;
        }
        holes.retain(|(first, last)| first <= last);
        holes
    }

    /// Finds places for `unplaced` (oldest first), and what is missing. `waiting`: sends to this conversation have not
    /// been answered, so a hole may be theirs.
    pub(crate) fn settle(&mut self, unplaced: &mut Vec<UnplacedSend>, waiting: bool) -> Settled {
        let mut settled = Settled::default();
        let mut left = Vec::new();
        for group in unplaced.chunk_by(|a, b| (a.above, a.below) == (b.above, b.below)) {
            let (above, below) = (group[0].above, group[0].below);
            let limit = if below == 0 { self.last_received } else { below };
            let holes = self.holes(above, limit);
            let count: u64 = holes.iter().map(|(first, last)| last - first + 1).sum();
            let wanted = group.len() as u64;
            // As many holes as sends: they are theirs. More: others' messages may still come, unless the inbox is past.
            let past = !waiting && self.last_received >= limit;
            let enough = if below == 0 { count <= wanted || past } else { count == wanted || past };
            if !enough || count == 0 {
                left.extend_from_slice(group);
                continue;
            }
            let places = holes.iter().flat_map(|(first, last)| *first..=*last);
            let places = places.skip(usize::try_from(count.saturating_sub(wanted)).unwrap_or(usize::MAX));
            let placed: Vec<_> = group.iter().map(|send| send.id).zip(places).collect();
            left.extend_from_slice(&group[placed.len()..]);
            settled.placed.extend(placed);
        }
        *unplaced = left;
        for (_, place) in &settled.placed {
            self.own(*place);
        }
        if unplaced.is_empty() && !waiting {
            settled.missing = self.close();
        }
        settled
    }

    /// Gives up what did not come.
    fn close(&mut self) -> Vec<(u64, u64)> {
        let holes = self.holes(0, self.last_received);
        if let Some((_, last)) = holes.last() {
            self.missing.extend(&holes);
            self.next = last + 1;
            self.seen.retain(|seen| seen > last);
            while self.seen.remove(&self.next) {
                self.next += 1;
            }
        }
        holes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(places: &[u64]) -> SequenceTracker {
        let mut tracker = SequenceTracker::default();
        for place in places {
            assert!(tracker.receive(*place), "{place} is new");
        }
        tracker
    }

    fn send(id: u64, above: u64, below: u64) -> UnplacedSend {
        UnplacedSend { id, above, below }
    }

    #[test]
    fn everything_once() {
        let mut tracker = after(&[5, 6, 8]);
        assert_eq!((tracker.next, tracker.last_received), (7, 8));
        for again in [5, 6, 8, 4] {
            assert!(!tracker.receive(again), "{again}");
        }
        tracker.own(7);
        assert_eq!((tracker.next, tracker.seen.len()), (9, 0));
    }

    #[test]
    fn an_own_message_before_the_first_received_one_begins_nothing() {
        let mut tracker = SequenceTracker::default();
        tracker.own(9);
        assert_eq!(tracker.settle(&mut Vec::new(), false), Settled::default());
        tracker.receive(7);
        assert_eq!(tracker.settle(&mut Vec::new(), false), Settled::default(), "8 may come");
        tracker.receive(8);
        assert_eq!(tracker.next, 10);
    }

    #[test]
    fn a_gap_is_reported_once_and_what_comes_late_is_new() {
        let mut tracker = after(&[1, 5]);
        assert_eq!(tracker.settle(&mut Vec::new(), true), Settled::default(), "it may be a send's place");
        assert_eq!(tracker.settle(&mut Vec::new(), false).missing, [(2, 4)]);
        assert_eq!(tracker.settle(&mut Vec::new(), false), Settled::default());
        assert!(tracker.receive(3), "it was too large for the last connection");
        assert!(!tracker.receive(3));
        assert_eq!((tracker.missing.clone(), tracker.next), (vec![(2, 2), (4, 4)], 6));
    }

    #[test]
    fn after_a_leap_nothing_is_missing_and_what_comes_late_is_new() {
        let mut tracker = after(&[1, 2, 5]);
        tracker.leap(1 << 40);
        assert_eq!(tracker.settle(&mut Vec::new(), false), Settled::default());
        assert!(tracker.receive((1 << 40) + 1));
        assert_eq!(tracker.settle(&mut Vec::new(), false), Settled::default());
        assert!(tracker.receive(3), "it was in the inbox that was brought back");
        for again in [1, 2, 3, 5, (1 << 40) + 1] {
            assert!(!tracker.receive(again), "{again}");
        }
        tracker.leap(1 << 40);
        assert!(tracker.receive((1 << 40) + 2), "the same leap once more");
        let mut fresh = SequenceTracker::default();
        fresh.leap(1 << 40);
        assert_eq!(fresh, SequenceTracker::default(), "nobody knows where its part begins");
    }

    #[test]
    fn sends_in_doubt_take_the_holes_before_the_next_known_one() {
        let mut tracker = after(&[1, 2, 4]);
        tracker.own(6);
        let mut unplaced = vec![send(10, 0, 6), send(11, 0, 6)];
        assert_eq!(tracker.settle(&mut unplaced, true).placed, [(10, 3), (11, 5)]);
        assert_eq!((tracker.next, unplaced.len()), (7, 0));
    }

    #[test]
    fn with_more_holes_than_sends_others_messages_may_still_come() {
        let mut tracker = after(&[1]);
        tracker.own(5);
        let mut unplaced = vec![send(10, 0, 5)];
        assert_eq!(tracker.settle(&mut unplaced, false), Settled::default());
        tracker.receive(2);
        assert_eq!(tracker.settle(&mut unplaced, false), Settled::default());
        tracker.receive(4);
        assert_eq!(tracker.settle(&mut unplaced, false).placed, [(10, 3)]);
    }

    #[test]
    fn when_the_inbox_is_past_the_rest_is_missing() {
        let mut tracker = after(&[1]);
        tracker.own(5);
        tracker.receive(6);
        let mut unplaced = vec![send(10, 0, 5)];
        let settled = tracker.settle(&mut unplaced, false);
        assert_eq!(settled, Settled { placed: vec![(10, 4)], missing: vec![(2, 3)] });
        assert_eq!(tracker.next, 7);
    }

    #[test]
    fn without_any_known_place_holes_are_taken_as_they_appear() {
        let mut tracker = after(&[1]);
        let mut unplaced = vec![send(10, 0, 0), send(11, 0, 0)];
        assert_eq!(tracker.settle(&mut unplaced, false), Settled::default());
        tracker.receive(3);
        assert_eq!(tracker.settle(&mut unplaced, false).placed, [(10, 2)]);
        assert_eq!(unplaced, [send(11, 0, 0)]);
        tracker.receive(5);
        assert_eq!(tracker.settle(&mut unplaced, false).placed, [(11, 4)]);
    }

    #[test]
    fn each_doubt_stays_between_its_neighbours() {
        let mut tracker = after(&[1, 3, 5]);
        tracker.own(4);
        tracker.own(7);
        let mut unplaced = vec![send(10, 0, 4), send(12, 4, 7)];
        assert_eq!(tracker.settle(&mut unplaced, true).placed, [(10, 2), (12, 6)]);
    }
}
