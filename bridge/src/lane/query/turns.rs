//! Whose turn it is with work that reads much. Each user has a queue of its own, and they take turns: a slice of work each.
//! So whoever asks for much waits behind itself, and others behind a slice of it.

use std::collections::{BTreeMap, VecDeque};

use godwit_schemas::ids::UserId;

/// On whose account something is done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::lane) enum TurnOwner {
    User(UserId),
    /// What is cleared away.
    House,
}

/// Queues that take turns. A queue is there as long as there is something in it, or its turn is under way.
#[derive(Debug)]
pub(in crate::lane) struct Turns<J> {
    ring: VecDeque<TurnOwner>,
    queues: BTreeMap<TurnOwner, VecDeque<J>>,
}

impl<J> Default for Turns<J> {
    fn default() -> Self {
        Self { ring: VecDeque::new(), queues: BTreeMap::new() }
    }
}

impl<J> Turns<J> {
    /// How many take turns.
    pub(in crate::lane) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(in crate::lane) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// What waits on this account, the turn under way left out.
    pub(in crate::lane) fn waiting(&self, whose: &TurnOwner) -> impl Iterator<Item = &J> {
        self.queues.get(whose).into_iter().flatten()
    }

    /// Behind what waits on the same account.
    pub(in crate::lane) fn push(&mut self, whose: TurnOwner, job: J) {
        if let Some(queue) = self.queues.get_mut(&whose) {
            return queue.push_back(job);
        }
        self.queues.insert(whose.clone(), VecDeque::from([job]));
        self.ring.push_back(whose);
    }

    /// Begins a turn, which [`Self::end`] ends.
    pub(in crate::lane) fn begin(&mut self) -> Option<(TurnOwner, J)> {
        let whose = self.ring.pop_front()?;
        let job = self.queues.get_mut(&whose)?.pop_front()?;
        Some((whose, job))
    }

    /// Ends a turn. `rest`: what is left to do of the job, before anything else on the same account; of the house's, after
    /// everything else, since it is different people's.
    pub(in crate::lane) fn end(&mut self, whose: TurnOwner, rest: Option<J>) {
        let Some(queue) = self.queues.get_mut(&whose) else { return };
        match (rest, &whose) {
            (Some(rest), TurnOwner::House) => queue.push_back(rest),
            (Some(rest), TurnOwner::User(_)) => queue.push_front(rest),
            (None, _) => {}
        }
        if queue.is_empty() {
            self.queues.remove(&whose);
        } else {
            self.ring.push_back(whose);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> TurnOwner {
        TurnOwner::User(UserId::new(name).unwrap())
    }

    /// Takes turns, of jobs that take as many as their number says.
    fn run(turns: &mut Turns<(u32, char)>) -> String {
        let mut order = String::new();
        while let Some((whose, (left, name))) = turns.begin() {
            order.push(name);
            turns.end(whose, (left > 1).then_some((left - 1, name)));
        }
        assert!(turns.is_empty() && turns.queues.is_empty());
        order
    }

    #[test]
    fn whoever_asks_for_much_waits_behind_itself() {
        let mut turns = Turns::default();
        for job in [(3, 'a'), (2, 'b'), (1, 'c')] {
            turns.push(user("mallory"), job);
        }
        turns.push(user("alice"), (1, 'A'));
        turns.push(user("bob"), (2, 'B'));
        assert_eq!(run(&mut turns), "aABaBabbc");
    }

    #[test]
    fn the_house_does_many_things_at_once() {
        let mut turns = Turns::default();
        for job in [(3, 'a'), (2, 'b'), (1, 'c')] {
            turns.push(TurnOwner::House, job);
        }
        assert_eq!(run(&mut turns), "abcaba");
    }

    #[test]
    fn what_comes_during_a_turn_is_behind_it() {
        let mut turns = Turns::default();
        turns.push(user("alice"), 1);
        let (whose, job) = turns.begin().unwrap();
        turns.push(user("alice"), 2);
        assert_eq!((turns.waiting(&whose).count(), turns.is_empty()), (1, true));
        turns.end(whose.clone(), Some(job));
        assert_eq!(turns.waiting(&whose).copied().collect::<Vec<_>>(), [1, 2]);
    }
}
