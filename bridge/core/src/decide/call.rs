//! Calls of `rpc` that concern conversations: who may, and the answer. What they do to a group is in `group`.

use bytes::Bytes;
use godwit_schemas::client::{self, Role};
use godwit_schemas::ids::{ConversationId, UserId};

use super::{Decision, Placed, described};
use crate::call::{CallEffect, ConversationCall};
use crate::command::CommandOrigin;
use crate::conversation::Conversation;
use crate::group::{GroupInvite, InviteSecret, parse_invite};
use crate::outcome::{Effect, EffectKind};
use crate::refusal::{self, Refusal};

/// What a call answers with, but for its id.
type CallResult = Result<client::Response, Refusal>;

impl Decision<'_> {
    pub(super) fn call(
        &mut self,
        mut origin: CommandOrigin,
        id: u64,
        call: &ConversationCall,
        correlation: Bytes,
        secret: InviteSecret,
    ) {
        let done = self.carry_out(&origin, call, secret);
        if done.is_err() || call.spec().effect != CallEffect::ChangesOnce {
            // A retry is carried out anew.
            origin.publish_record = None;
        }
        let response = done.unwrap_or_else(Refusal::to_response);
        let conversation = ConversationId::unless_zero(response.conversation);
        if let (Some(publish_record), ConversationCall::CreateInvite(_)) = (&mut origin.publish_record, call) {
            // For a repetition, which is to be told the same.
            let invites = conversation.and_then(|id| self.cache.conversation(id)).map(|it| &it.invites);
            publish_record.invite = invites.and_then(|invites| invites.last()).map(GroupInvite::to_record);
        }
        if let Some(to) = origin.reply_to {
            let response = Box::new(client::Response { id, ..response });
            let kind = EffectKind::Responded { to, response, correlation };
            self.out.effects.push(Effect { partition: self.cache.partitions().of_user(&origin.user), kind });
        }
        // The call was understood: the publish itself is answered with success.
        self.answer(origin, Ok(Placed { conversation, ..Placed::default() }));
    }

    fn carry_out(&mut self, origin: &CommandOrigin, call: &ConversationCall, secret: InviteSecret) -> CallResult {
        let caller = &origin.user;
        let group = |conversation| ConversationId::new(conversation);
        match call {
            ConversationCall::CreateGroup(call) => self.create_group(caller, call).map(done),
            ConversationCall::OpenDirect(call) => {
                let user = UserId::new(&call.user).map_err(|_| refusal::NO_USER)?;
                self.open_direct(caller, &user).map(done)
            }
            ConversationCall::Describe(call) => {
                let conversation = self.cache.conversation(group(call.conversation)).ok_or(refusal::NO_CONVERSATION)?;
                conversation.member(caller).ok_or(refusal::NOT_IN_CONVERSATION)?;
                let last_client_sequence = conversation.counts.last(&origin.sender(), call.counter);
                let description = Some(described(conversation, caller));
                Ok(client::Response { description, last_client_sequence, ..done(conversation.id) })
            }
            ConversationCall::AddMember(call) => {
                let id = self.allow(group(call.conversation), caller, |it| it.settings.may_add)?;
                self.add_member(id, caller, &call.user).map(done)
            }
            ConversationCall::RemoveMember(call) => {
                let id = self.allow(group(call.conversation), caller, |_| Role::Admin)?;
                self.remove_member(id, caller, &call.user).map(done)
            }
            ConversationCall::Leave(call) => {
                let id = self.allow(group(call.conversation), caller, |_| Role::Member)?;
                self.part(id, caller, caller, None);
                Ok(done(id))
            }
            ConversationCall::Rename(call) => {
                let id = self.allow(group(call.conversation), caller, |it| it.settings.may_rename)?;
                self.rename(id, caller, &call.title).map(done)
            }
            ConversationCall::SetRole(call) => {
                let id = self.allow(group(call.conversation), caller, |_| Role::Admin)?;
                self.set_role(id, caller, call).map(done)
            }
            ConversationCall::ChangeSettings(call) => {
                let id = self.allow(group(call.conversation), caller, |_| Role::Admin)?;
                self.change_settings(id, caller, call.settings.as_ref()).map(done)
            }
            ConversationCall::CreateInvite(call) => {
                let id = self.allow(group(call.conversation), caller, |it| it.settings.may_add)?;
                self.create_invite(id, caller, call.expires_in_s, secret)
            }
            ConversationCall::RevokeInvite(call) => {
                let (id, secret) = parse_invite(&call.invite).ok_or(refusal::NO_INVITE)?;
                let id = self.allow(id, caller, |it| it.settings.may_add)?;
                self.revoke_invite(id, secret).map(done)
            }
            ConversationCall::ListInvites(call) => {
                let id = self.allow(group(call.conversation), caller, |it| it.settings.may_add)?;
                Ok(client::Response { invites: self.invites(id), ..done(id) })
            }
            ConversationCall::Join(call) => {
                let (id, secret) = parse_invite(&call.invite).ok_or(refusal::NO_INVITE)?;
                self.join(id, caller, secret).map(done)
            }
            ConversationCall::DeleteConversation(call) => {
                self.delete_conversation(group(call.conversation), caller).map(done)
            }
            ConversationCall::SetRetention(call) => self.set_retention(caller, call).map(done),
            ConversationCall::Recall(call) => self.recall(caller, call).map(done),
            ConversationCall::Edit(call) => self.edit(origin, call).map(done),
            ConversationCall::React(call) => self.react(origin, call).map(done),
            ConversationCall::Accept(call) => self.accept_request(group(call.conversation), caller).map(done),
        }
    }

    /// The conversation is a group, and the caller a member of it with at least the role that `least` says.
    pub(super) fn allow(
        &self,
        id: ConversationId,
        caller: &UserId,
        least: impl FnOnce(&Conversation) -> Role,
    ) -> Result<ConversationId, Refusal> {
        let conversation = self.cache.conversation(id).ok_or(refusal::NO_CONVERSATION)?;
        conversation.member(caller).ok_or(refusal::NOT_IN_CONVERSATION)?;
        if !conversation.group {
            return Err(refusal::NOT_A_GROUP);
        }
        if conversation.may(caller, least(conversation)) { Ok(id) } else { Err(refusal::ROLE_TOO_LOW) }
    }
}

pub(super) fn done(id: ConversationId) -> client::Response {
    client::Response { conversation: id.get(), ..Default::default() }
}
