//! Whose inboxes take a message or a change, and when it is refused for want of room.
//!
//! An inbox that is full gets nothing new, except that somebody is gone. Its device is left out, and sees that by the gap in
//! the numbers; everybody else gets it. Only where nobody whom it is for would get it, it is refused: in a direct
//! conversation if all devices of the other side are full, in a group if all devices of all others are. A sender's own
//! devices never refuse it.
//!
//! In conversations that a user has not accepted an inbox takes only half: strangers cannot fill it up. And in a direct one
//! only so many messages wait for it. Costs a message no read: what waits is what was ordered and not delivered.

use godwit_schemas::ids::{ConversationId, DeviceId, UserId};

use super::Decision;
use crate::conversation::Member;
use crate::refusal::{self, Refusal};
use crate::usage::Fullness;

impl Decision<'_> {
    /// Whether there is room for what this user sends or changes, on this device of its own.
    pub(super) fn has_room(
        &mut self,
        id: ConversationId,
        by: &UserId,
        device: Option<DeviceId>,
    ) -> Result<(), Refusal> {
        let (most, now_s) = (u64::from(self.rules.request_messages), self.now_s);
        let Some(conversation) = self.cache.conversation_mut(id) else { return Ok(()) };
        if most > 0
            && conversation.member(by).is_some_and(|member| member.pending.is_none())
            && conversation.waits_for_acceptance(now_s).is_some_and(|waiting| waiting >= most)
        {
            return Err(refusal::REQUEST_NOT_ACCEPTED);
        }
        if self.cache.all_have_room() {
            return Ok(());
        }
        let members = self.cache.conversation(id).map_or(&[][..], |conversation| &conversation.members);
        let others = members.iter().filter(|member| member.user != *by || members.len() == 1);
        self.any_takes(others.map(|member| (&member.user, limit_of(member))), device)
    }

    /// Whether any inbox of these users, each up to its limit, takes something, but for one device; or there is none.
    pub(super) fn any_takes<'u>(
        &self,
        users: impl IntoIterator<Item = (&'u UserId, Fullness)>,
        except: Option<DeviceId>,
    ) -> Result<(), Refusal> {
        let mut none = true;
        for (user, limit) in users {
            let devices = self.cache.user(user).map_or(&[][..], |user| &user.devices);
            for device in devices.iter().filter(|device| Some(device.id) != except) {
                if self.cache.fullness(device.id) < limit {
                    return Ok(());
                }
                none = false;
            }
        }
        if none { Ok(()) } else { Err(refusal::INBOX_FULL) }
    }
}

/// How full an inbox of a member may be to take what comes in the conversation.
pub(super) fn limit_of(member: &Member) -> Fullness {
    limit(member.pending.is_some())
}

/// The same, of a user to whom it is a `request`.
pub(super) fn limit(request: bool) -> Fullness {
    if request { Fullness::Half } else { Fullness::Full }
}
