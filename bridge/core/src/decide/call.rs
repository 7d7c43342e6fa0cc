//! Calls of `rpc` that concern conversations: who may, and the answer. What they do to a group is in `group`.

use bytes::Bytes;
use godwit_schemas::client::{self, Role, request::Call};
use godwit_schemas::ids::{ConversationId, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;

use super::{Decision, NO_CONVERSATION, NO_MEMBER, NO_USER, Refused, opened};
use crate::command::Origin;
use crate::conversation::Conversation;
use crate::group::{Secret, parse_invite};
use crate::outcome::{Effect, EffectKind};

pub(super) const NO_INVITE: Refused = (Reason::TOPIC_NAME_INVALID, "no such invite");
const NOT_A_GROUP: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "not a group");
const NOT_HERE: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "unknown call");
const MAY_NOT: Refused = (Reason::NOT_AUTHORIZED, "your role in this group does not allow that");

/// What a call answers with, but for its id.
type Answer = Result<client::Response, Refused>;

impl Decision<'_> {
    pub(super) fn call(&mut self, mut origin: Origin, id: u64, call: &Call, correlation: Bytes, secret: Secret) {
        let done = self.carry_out(&origin.user, call, secret);
        if done.is_err() || !changes_something(call) {
            // A retry is carried out anew.
            origin.doubt = None;
        }
        let response = done.unwrap_or_else(|(reason, text)| client::Response {
            reason: reason.into(),
            text: text.to_owned(),
            ..Default::default()
        });
        // The call was understood: the publish itself is answered with success.
        let place = (ConversationId::new(response.conversation), Default::default());
        let response = Box::new(client::Response { id, ..response });
        let kind = EffectKind::Responded { to: origin.reply_to, response, correlation };
        let partition = Partition::of_user(&origin.user);
        self.out.effects.push(Effect { partition, device: origin.device, kind });
        self.answer(origin, Ok(place));
    }

    fn carry_out(&mut self, caller: &UserId, call: &Call, secret: Secret) -> Answer {
        let group = |conversation| ConversationId::new(conversation);
        match call {
            Call::CreateGroup(call) => self.create_group(caller, call).map(done),
            Call::OpenDirect(call) => {
                let user = UserId::new(&call.user).map_err(|_| NO_USER)?;
                self.open_direct(caller, &user).map(done)
            }
            Call::Describe(call) => {
                let conversation = self.world.conversation(group(call.conversation)).ok_or(NO_CONVERSATION)?;
                conversation.member(caller).ok_or(NO_MEMBER)?;
                Ok(client::Response { description: Some(opened(conversation)), ..done(conversation.id) })
            }
            Call::AddMember(call) => {
                let id = self.allow(group(call.conversation), caller, |it| it.settings.may_add)?;
                self.add_member(id, caller, &call.user).map(done)
            }
            Call::RemoveMember(call) => {
                let id = self.allow(group(call.conversation), caller, |_| Role::Admin)?;
                self.remove_member(id, caller, &call.user).map(done)
            }
            Call::Leave(call) => {
                let id = self.allow(group(call.conversation), caller, |_| Role::Member)?;
                self.part(id, caller, caller);
                Ok(done(id))
            }
            Call::Rename(call) => {
                let id = self.allow(group(call.conversation), caller, |it| it.settings.may_rename)?;
                self.rename(id, caller, &call.title).map(done)
            }
            Call::SetRole(call) => {
                let id = self.allow(group(call.conversation), caller, |_| Role::Admin)?;
                self.set_role(id, caller, call).map(done)
            }
            Call::ChangeSettings(call) => {
                let id = self.allow(group(call.conversation), caller, |_| Role::Admin)?;
                self.change_settings(id, caller, call.settings.as_ref()).map(done)
            }
            Call::CreateInvite(call) => {
                let id = self.allow(group(call.conversation), caller, |it| it.settings.may_add)?;
                self.create_invite(id, caller, call.expires_in_s, secret)
            }
            Call::RevokeInvite(call) => {
                let (id, secret) = parse_invite(&call.invite).ok_or(NO_INVITE)?;
                let id = self.allow(id, caller, |it| it.settings.may_add)?;
                self.revoke_invite(id, secret).map(done)
            }
            Call::ListInvites(call) => {
                let id = self.allow(group(call.conversation), caller, |it| it.settings.may_add)?;
                Ok(client::Response { invites: self.invites(id), ..done(id) })
            }
            Call::Join(call) => {
                let (id, secret) = parse_invite(&call.invite).ok_or(NO_INVITE)?;
                self.join(id, caller, secret).map(done)
            }
            Call::DeleteConversation(call) => self.delete_conversation(group(call.conversation), caller).map(done),
            Call::SetRetention(call) => self.set_retention(caller, call).map(done),
            Call::Recall(call) => self.recall(caller, call).map(done),
            Call::Edit(call) => self.edit(caller, call).map(done),
            Call::React(call) => self.react(caller, call).map(done),
            _ => Err(NOT_HERE),
        }
    }

    /// The conversation is a group, and the caller a member of it with at least the role that `least` says.
    fn allow(
        &self,
        id: ConversationId,
        caller: &UserId,
        least: impl FnOnce(&Conversation) -> Role,
    ) -> Result<ConversationId, Refused> {
        let conversation = self.world.conversation(id).ok_or(NO_CONVERSATION)?;
        conversation.member(caller).ok_or(NO_MEMBER)?;
        if !conversation.group {
            return Err(NOT_A_GROUP);
        }
        if conversation.may(caller, least(conversation)) { Ok(id) } else { Err(MAY_NOT) }
    }
}

/// Whether carrying it out twice could be seen.
pub fn changes_something(call: &Call) -> bool {
    !matches!(call, Call::Describe(_) | Call::ListInvites(_) | Call::OpenDirect(_))
}

pub(super) fn done(id: ConversationId) -> client::Response {
    client::Response { conversation: id.get(), ..Default::default() }
}
