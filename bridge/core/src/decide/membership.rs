//! Who is in a conversation, counted: a user is in so many and no more. Who is in as many as that opens and joins none, and
//! nobody adds it; where it is it stays, also when the limit has been lowered.

use godwit_schemas::ids::{ConversationId, UserId};
use godwit_schemas::reason::Reason;

use super::{Decision, Refused};
use crate::outcome::Change;

const YOU: Refused = (Reason::QUOTA_EXCEEDED, "you are in as many conversations as a user may be in");
const ANOTHER: Refused = (Reason::QUOTA_EXCEEDED, "another user is in as many conversations as a user may be in");

impl Decision<'_> {
    /// Whether all of these may be in one conversation more. `by`: who wants it.
    pub(super) fn may_be_in_more<'a>(
        &self,
        by: &UserId,
        users: impl IntoIterator<Item = &'a UserId>,
    ) -> Result<(), Refused> {
        let most = self.rules.conversations_per_user;
        let is_in_enough = |user: &&UserId| most > 0 && self.world.memberships(user) >= most;
        match users.into_iter().find(is_in_enough) {
            None => Ok(()),
            Some(user) if user == by => Err(YOU),
            Some(_) => Err(ANOTHER),
        }
    }

    /// The user is a member from here on (`joins`), or is none any more.
    pub(super) fn count(&mut self, user: &UserId, id: ConversationId, joins: bool) {
        self.world.count_membership(user, joins);
        self.out.changes.push(Change::Membership(user.clone(), id, joins));
    }
}
