//! Exactly once and in order, seen from outside: what a receiver got is compared with what its sender sent.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// Broken promises, counted. All zero in a run that may be believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Violations {
    /// Acknowledged to the sender and not delivered by the end of the run.
    pub lost: u64,
    /// Delivered again.
    pub duplicated: u64,
    /// Delivered after a later message of the same sender.
    pub reordered: u64,
    /// Delivered to a receiver that it was not for.
    pub misrouted: u64,
    /// Delivered with another body than it was sent with.
    pub damaged: u64,
}

impl Violations {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.lost + self.duplicated + self.reordered + self.misrouted + self.damaged
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.misrouted += other.misrouted;
        self.damaged += other.damaged;
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total() == 0 {
            return f.write_str("none (exactly once, in order)");
        }
        let Self { lost, duplicated, reordered, misrouted, damaged } = self;
        write!(f, "*** {} VIOLATIONS *** {lost} lost, {duplicated} duplicated, ", self.total())?;
        write!(f, "{reordered} reordered, {misrouted} misrouted, {damaged} damaged")
    }
}

/// What one receiver has seen of one sender.
#[derive(Debug, Default)]
pub(crate) struct DeliveryTracker {
    /// One above the highest sequence seen.
    next: u64,
    /// Not seen below `next`; ascending, apart.
    gaps: Vec<Range<u64>>,
}

impl DeliveryTracker {
    /// One above the highest sequence seen.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Takes a delivery into account. The caller has checked that `sequence` was sent at all.
    pub(crate) fn see(&mut self, sequence: u64, violations: &mut Violations) {
        if sequence == self.next {
            self.next += 1;
        } else if sequence > self.next {
            self.gaps.push(self.next..sequence);
            self.next = sequence + 1;
        } else if let Some(at) = self.gaps.iter().position(|gap| gap.contains(&sequence)) {
            violations.reordered += 1;
            let gap = self.gaps[at].clone();
            let halves = [gap.start..sequence, sequence + 1..gap.end];
            self.gaps.splice(at..=at, halves.into_iter().filter(|half| !half.is_empty()));
        } else {
            violations.duplicated += 1;
        }
    }

    /// Whether everything below `sent` was seen.
    pub(crate) fn is_complete(&self, sent: u64) -> bool {
        self.next == sent && self.gaps.is_empty()
    }

    /// How many of the sequences below `sent` were not seen, leaving out `in_doubt`: those never acknowledged.
    pub(crate) fn lost(&self, sent: u64, in_doubt: impl Iterator<Item = u64>) -> u64 {
        let seen = |sequence: u64| sequence < self.next && !self.gaps.iter().any(|gap| gap.contains(&sequence));
        let gaps: u64 = self.gaps.iter().map(|gap| gap.end - gap.start).sum();
        (sent - self.next) + gaps - in_doubt.filter(|&sequence| !seen(sequence)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sequence: &[u64], sent: u64, lost: u64, duplicated: u64, reordered: u64) {
        let (mut tracker, mut violations) = (DeliveryTracker::default(), Violations::default());
        sequence.iter().for_each(|&s| tracker.see(s, &mut violations));
        violations.lost = tracker.lost(sent, std::iter::empty());
        let expected = Violations { lost, duplicated, reordered, ..Violations::default() };
        assert_eq!(violations, expected, "{sequence:?}");
        assert_eq!(tracker.is_complete(sent), lost == 0, "{sequence:?}");
    }

    #[test]
    fn finds_every_kind() {
        check(&[0, 1, 2], 3, 0, 0, 0);
        check(&[], 0, 0, 0, 0);
        check(&[0, 1], 3, 1, 0, 0);
        check(&[0, 2], 3, 1, 0, 0);
        check(&[2], 3, 2, 0, 0);
        check(&[0, 1, 1, 2], 3, 0, 1, 0);
        check(&[1, 0, 2, 0], 3, 0, 1, 1);
        check(&[9, 5, 3, 4, 5], 10, 6, 1, 3);
        check(&[4, 2, 0, 1, 3], 5, 0, 0, 4);
    }

    #[test]
    fn what_was_never_acknowledged_is_not_lost() {
        let (mut tracker, mut violations) = (DeliveryTracker::default(), Violations::default());
        [0, 1, 4].iter().for_each(|&s| tracker.see(s, &mut violations));
        assert_eq!(tracker.lost(6, [4, 5].into_iter()), 2);
        assert_eq!(tracker.lost(6, [2, 3, 5].into_iter()), 0);
    }

    #[test]
    fn violations_are_loud() {
        let violations = Violations { duplicated: 2, ..Violations::default() };
        assert!(violations.to_string().starts_with("*** 2 VIOLATIONS ***"));
        assert!(!Violations::default().to_string().contains("VIOLATION"));
    }
}
