//! Who has come and who has gone, but for those who are back within seconds: a connection that breaks and comes back is
//! no news, and costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use godwit_schemas::ids::UserId;
use tokio::time::Instant;

use super::queue::UniqueQueue;

/// Holds those who came since the last tick, and those who went within [`Self::after`].
pub(super) struct Debounce {
    /// How long somebody must be gone.
    after: Duration,
    came: UniqueQueue<UserId>,
    gone: BTreeMap<UserId, Gone>,
    /// One place for each that is gone, by time; who went once more meanwhile gets another place then.
    due: BTreeSet<(Instant, UserId)>,
}

pub(in crate::lane) struct Gone {
    at: Instant,
    minute: u64,
}

impl Debounce {
    /// Who has come or gone, and that is not told.
    pub(super) fn waiting(&self) -> usize {
        self.came.len() + self.due.len()
    }

    pub(super) fn new(after: Duration) -> Self {
        Self { after, came: UniqueQueue::default(), gone: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// A user who was offline is connected.
    pub(super) fn came(&mut self, user: &UserId) {
        if !self.gone.contains_key(user) {
            self.came.push(user.clone());
        }
    }

    /// A user's last connection has ended, in this minute. True unless that was known.
    pub(super) fn went(&mut self, user: &UserId, now: Instant, minute: u64) -> bool {
        match self.gone.insert(user.clone(), Gone { at: now, minute }) {
            Some(before) => before.minute != minute,
            None => {
                self.due.insert((now + self.after, user.clone()));
                true
            }
        }
    }

    /// Whether others have not been told yet that the user is there.
    pub(super) fn is_news(&self, user: &UserId) -> bool {
        self.came.contains(user)
    }

    /// Whether others believe still that the user is there.
    pub(super) fn lingers(&self, user: &UserId) -> bool {
        self.gone.contains_key(user)
    }

    /// Somebody who has come, and may be gone again.
    pub(super) fn next_came(&mut self) -> Option<UserId> {
        self.came.pop()
    }

    /// Somebody who went long enough ago, and in which minute; it may have come back since.
    pub(super) fn next_gone(&mut self, now: Instant) -> Option<(UserId, u64)> {
        while self.due.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, user)) = self.due.pop_first() else { break };
            let Some(gone) = self.gone.get(&user) else { continue };
            let (due, minute) = (gone.at + self.after, gone.minute);
            if due <= now {
                self.gone.remove(&user);
                return Some((user, minute));
            }
            self.due.insert((due, user));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    fn users<const N: usize>(names: [&str; N]) -> [UserId; N] {
        names.map(|name| UserId::new(name).unwrap())
    }

    #[tokio::test]
    async fn who_stays_away_is_gone_and_who_comes_back_never_was() {
        let [alice, bob] = users(["alice", "bob"]);
        let (mut debounce, now) = (Debounce::new(AFTER), Instant::now());
        debounce.came(&alice);
        assert_eq!(debounce.next_came(), Some(alice.clone()));
        assert!(debounce.went(&alice, now, 5));
        assert!(debounce.went(&bob, now + AFTER / 2, 5));
        debounce.came(&alice);
        assert_eq!(debounce.next_came(), None, "nobody has heard that it was gone");
        assert_eq!(debounce.next_gone(now + AFTER / 2), None);
        assert_eq!(debounce.next_gone(now + AFTER), Some((alice.clone(), 5)), "the lane knows that it is back");
        assert!(debounce.lingers(&bob) && !debounce.lingers(&alice));
        assert_eq!(debounce.next_gone(now + AFTER), None);
        assert_eq!(debounce.next_gone(now + 2 * AFTER), Some((bob, 5)));
    }

    #[tokio::test]
    async fn who_flaps_is_gone_after_the_last_time_and_takes_one_place() {
        let [alice] = users(["alice"]);
        let (mut debounce, start) = (Debounce::new(AFTER), Instant::now());
        let mut writes = 0;
        for second in 0..1_000_u64 {
            writes += usize::from(debounce.went(&alice, start + Duration::from_secs(second), second / 60));
            debounce.came(&alice);
            assert_eq!(debounce.next_gone(start + Duration::from_secs(second)), None);
            assert_eq!((debounce.due.len(), debounce.next_came()), (1, None));
        }
        assert_eq!(writes, 17, "once a minute");
        let last = start + Duration::from_secs(999);
        assert_eq!(debounce.next_gone(last + AFTER), Some((alice, 16)));
        assert!(debounce.due.is_empty() && debounce.gone.is_empty());
    }
}
