//! How many conversations a user is in, and how often strangers have added it to a group. Counted by the committer, which
//! alone sees the commits of all lanes (`bridge/src/memberships.rs`); decisions read it where somebody is to come in.

/// What a change makes of a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// It begins.
    Begun,
    /// It begins: a stranger has added the user to a group, on this day since 1970.
    BegunByStranger(u32),
    /// It ends.
    Ended,
}

impl Membership {
    /// There is one afterwards.
    pub fn is(self) -> bool {
        self != Self::Ended
    }
}

/// How many conversations a user is in, and by whom it was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MembershipCount {
    /// Conversations that the user is in.
    pub conversations: u64,
    /// Last day (since 1970) on which strangers added it to groups, and to how many.
    pub added: (u32, u32),
}

impl MembershipCount {
    /// To how many groups strangers have added the user on this day.
    pub fn added_on(self, day: u32) -> u32 {
        if self.added.0 == day { self.added.1 } else { 0 }
    }

    /// Takes a change in.
    pub fn count(&mut self, membership: Membership) {
        self.conversations = self.conversations.saturating_add_signed(if membership.is() { 1 } else { -1 });
        if let Membership::BegunByStranger(day) = membership {
            // Lanes may be at different sides of midnight.
            let day = day.max(self.added.0);
            self.added = (day, self.added_on(day).saturating_add(1));
        }
    }
}

/// The day since 1970 of a second since then.
pub fn day_of(now_s: u32) -> u32 {
    now_s / (24 * 3_600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_counted_by_the_day() {
        let mut it = MembershipCount::default();
        let changes = [Membership::BegunByStranger(7), Membership::Begun, Membership::BegunByStranger(7)];
        changes.into_iter().for_each(|change| it.count(change));
        assert_eq!((it.conversations, it.added_on(7), it.added_on(8)), (3, 2, 0));
        [Membership::Ended, Membership::BegunByStranger(8)].into_iter().for_each(|change| it.count(change));
        assert_eq!((it.conversations, it.added_on(7), it.added_on(8)), (3, 0, 1));
        it.count(Membership::BegunByStranger(7));
        assert_eq!(it.added_on(8), 2, "days go on");
    }
}
