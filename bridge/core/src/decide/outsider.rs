//! What a stranger, whom a user does not have as a contact, may do to it: open a direct conversation and add it to groups,
//! as far as the user lets it. Until the user has accepted such a conversation it is a request, of which its inboxes take
//! less (`room`). It accepts by sending, reading or changing something there, by adding the stranger as a contact, or by
//! saying so.

use godwit_schemas::client::GroupsFrom;
use godwit_schemas::ids::{ConversationId, UserId};

use super::fanout::DeviceLocation;
use super::{Decision, blocks};
use crate::outcome::StoreChange;
use crate::refusal::{self, Refusal};

impl Decision<'_> {
    /// Whether the user does not have this other one as a contact.
    pub(super) fn is_stranger(&self, to: &UserId, other: &UserId) -> bool {
        to != other && !self.cache.is_contact(to, other)
    }

    /// Whether a user lets this one add it to groups.
    pub(super) fn may_add(&self, by: &UserId, user: &UserId) -> Result<(), Refusal> {
        let from = self.cache.user(user).map(|it| it.record.groups_from()).unwrap_or_default();
        let lets = user == by
            || match from {
                GroupsFrom::Everybody => true,
                GroupsFrom::Contacts => !self.is_stranger(user, by),
                GroupsFrom::Nobody => false,
            };
        if lets && !blocks(self.cache, user, by) { Ok(()) } else { Err(refusal::MAY_NOT_ADD) }
    }

    /// In a new conversation, whose first member has made it, those to whom that one is a stranger have something to
    /// accept.
    pub(super) fn ask_those_who_did_not_choose(&mut self, id: ConversationId, users: &[UserId]) {
        let Some((creator, others)) = users.split_first() else { return };
        let asked: Vec<_> = others.iter().filter(|user| self.is_stranger(user, creator)).collect();
        let expires_at_s = self.now_s.saturating_add(self.rules.retention_s);
        let Some(conversation) = self.cache.conversation_mut(id) else { return };
        asked.into_iter().for_each(|user| conversation.set_pending(user));
        conversation.waits_until(expires_at_s);
    }

    /// The devices of members to whom the conversation is a request.
    pub(super) fn devices_asked(&self, id: ConversationId) -> Vec<DeviceLocation> {
        let members = self.cache.conversation(id).into_iter().flat_map(|conversation| &conversation.members);
        let asked = members.filter(|member| member.pending.is_some());
        asked.flat_map(|member| self.devices_of(&member.user)).collect()
    }

    /// A member says that it wants to be in the conversation.
    pub(super) fn accept_request(&mut self, id: ConversationId, user: &UserId) -> Result<ConversationId, Refusal> {
        self.cache
            .conversation(id)
            .ok_or(refusal::NO_CONVERSATION)?
            .member(user)
            .ok_or(refusal::NOT_IN_CONVERSATION)?;
        self.accept(user, id);
        Ok(id)
    }

    /// A member wants to be in the conversation, as what it does there shows.
    pub(super) fn accept(&mut self, user: &UserId, id: ConversationId) {
        if self.cache.conversation_mut(id).is_some_and(|conversation| conversation.accept(user)) {
            self.out.changes.push(StoreChange::State(id));
            self.out.durable = true;
        }
    }
}
