//! Who is in a conversation, counted: a user is in so many and no more. Who is in as many as that opens and joins none, and
//! nobody adds it; where it is it stays, also when the limit has been lowered. Strangers bring a user into half as many, and
//! add it to so many groups in a day: the rest is for those whom it knows.

use godwit_schemas::ids::{ConversationId, UserId};

use super::Decision;
use crate::membership_count::{Membership, day_of};
use crate::outbox::{Item, Link, Outgoing};
use crate::refusal::{self, Refusal};

impl Decision<'_> {
    /// Whether all of these may be in one conversation more. `by`: who wants it.
    pub(super) fn may_be_in_more<'a>(
        &self,
        by: &UserId,
        users: impl IntoIterator<Item = &'a UserId>,
    ) -> Result<(), Refusal> {
        let most = self.rules.conversations_per_user;
        let is_in_enough = |user: &&UserId| {
            let most = if self.is_stranger(user, by) { most.div_ceil(2) } else { most };
            most > 0 && self.cache.membership_count(user).conversations >= most.into()
        };
        match users.into_iter().find(is_in_enough) {
            None => Ok(()),
            Some(user) if user == by => Err(refusal::CALLER_IN_TOO_MANY_CONVERSATIONS),
            Some(_) => Err(refusal::USER_IN_TOO_MANY_CONVERSATIONS),
        }
    }

    /// Whether this one may add all of these to a group today, those to whom it is a stranger.
    pub(super) fn may_add_more<'a>(
        &self,
        by: &UserId,
        users: impl IntoIterator<Item = &'a UserId>,
    ) -> Result<(), Refusal> {
        let (most, day) = (self.rules.stranger_adds_per_day, day_of(self.now_s));
        let has_enough = |user: &&UserId| most > 0 && self.cache.membership_count(user).added_on(day) >= most;
        match users.into_iter().filter(|user| self.is_stranger(user, by)).find(has_enough) {
            None => Ok(()),
            Some(_) => Err(refusal::ADDED_BY_STRANGERS_TOO_OFTEN),
        }
    }

    /// How a membership begins.
    pub(super) fn begun(&self, by_stranger: bool) -> Membership {
        if by_stranger { Membership::BegunByStranger(day_of(self.now_s)) } else { Membership::Begun }
    }

    /// The user is a member from here on, or is none any more.
    pub(super) fn count(&mut self, user: &UserId, id: ConversationId, membership: Membership) {
        self.cache.count_membership(user, membership);
        let partitions = self.cache.partitions();
        let link = Link { from: partitions.of_conversation(id), to: partitions.of_user(user) };
        self.out.outgoing.push(Outgoing { link, item: Item::Membership(user.clone(), id, membership) });
    }
}
