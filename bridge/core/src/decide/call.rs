//! Calls: groups are made, changed and described.

use bytes::Bytes;
use godwit_schemas::client::request::Call;
use godwit_schemas::client::{self, Role, change};
use godwit_schemas::ids::{ConversationId, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;

use super::{Decision, INBOX_FULL, NO_CONVERSATION, NO_MEMBER, NO_USER, Refused, TITLE_BYTES_MAX, opened};
use crate::command::Origin;
use crate::outcome::{Change, Effect, EffectKind};

const NOT_A_GROUP: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "not a group");
const BAD_TITLE: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "title over 256 bytes");
const TOO_FEW: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "a group has at least two members");
const ALREADY: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "a member already");
const NOT_A_MEMBER: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "that user is not a member");
const ADMINS_ONLY: Refused = (Reason::NOT_AUTHORIZED, "only the owner and admins may do that");
const NOT_THE_OWNER: Refused = (Reason::NOT_AUTHORIZED, "nobody removes the owner");
const FULL: Refused = (Reason::QUOTA_EXCEEDED, "the group is full");

impl Decision<'_> {
    pub(super) fn call(&mut self, mut origin: Origin, id: u64, call: Call, correlation: Bytes) {
        let done = self.carry_out(&origin, &call);
        if done.is_err() || matches!(call, Call::Describe(_)) {
            // It changed nothing: a retry is carried out anew.
            origin.doubt = None;
        }
        let mut response = client::Response { id, ..Default::default() };
        match done {
            Ok(conversation) => {
                response.conversation = conversation.get();
                if matches!(call, Call::Describe(_)) {
                    response.description = self.world.conversation(conversation).map(opened);
                }
            }
            Err((reason, text)) => (response.reason, response.text) = (reason.into(), text.to_owned()),
        }
        let kind = EffectKind::Responded { response, correlation };
        let partition = Partition::of_user(&origin.user);
        self.out.effects.push(Effect { partition, device: origin.device, kind });
        // The call was understood: the publish itself is answered with success.
        let place = (done.unwrap_or_default(), Default::default());
        self.answer(origin, Ok(place));
    }

    fn carry_out(&mut self, origin: &Origin, call: &Call) -> Result<ConversationId, Refused> {
        let caller = &origin.user;
        match call {
            Call::CreateGroup(call) => self.create_group(caller, call),
            Call::AddMember(call) => {
                let id = ConversationId::new(call.conversation);
                self.allow(id, caller, true)?;
                self.add_member(id, caller, &call.user)
            }
            Call::RemoveMember(call) => {
                let id = ConversationId::new(call.conversation);
                self.allow(id, caller, true)?;
                self.remove_member(id, caller, &call.user)
            }
            Call::Leave(call) => {
                let id = ConversationId::new(call.conversation);
                self.allow(id, caller, false)?;
                self.part(id, caller, caller);
                Ok(id)
            }
            Call::Rename(call) => {
                let id = ConversationId::new(call.conversation);
                self.allow(id, caller, true)?;
                self.rename(id, caller, &call.title)
            }
            Call::Describe(call) => {
                let id = ConversationId::new(call.conversation);
                let conversation = self.world.conversation(id).ok_or(NO_CONVERSATION)?;
                conversation.member(caller).ok_or(NO_MEMBER)?;
                Ok(id)
            }
        }
    }

    /// The conversation is a group and the caller a member of it, `admin`: one with rights.
    fn allow(&self, id: ConversationId, caller: &UserId, admin: bool) -> Result<(), Refused> {
        let conversation = self.world.conversation(id).ok_or(NO_CONVERSATION)?;
        let member = conversation.member(caller).ok_or(NO_MEMBER)?;
        if !conversation.group {
            return Err(NOT_A_GROUP);
        }
        if admin && member.role == Role::Member {
            return Err(ADMINS_ONLY);
        }
        Ok(())
    }

    fn create_group(&mut self, caller: &UserId, call: &client::CreateGroup) -> Result<ConversationId, Refused> {
        if call.title.len() > TITLE_BYTES_MAX {
            return Err(BAD_TITLE);
        }
        if call.users.len() > self.rules.group_members_max {
            return Err(FULL);
        }
        let mut users = vec![caller.clone()];
        for name in &call.users {
            let user = self.known_user(name)?;
            if !users.contains(&user) {
                users.push(user);
            }
        }
        match users.len() {
            len if len < 2 => Err(TOO_FEW),
            len if len > self.rules.group_members_max => Err(FULL),
            _ if !self.world.has_room(&users, None) => Err(INBOX_FULL),
            _ => Ok(self.create(Partition::of_user(caller), true, &call.title, &users)),
        }
    }

    fn known_user(&self, name: &str) -> Result<UserId, Refused> {
        let user = UserId::new(name).map_err(|_| NO_USER)?;
        self.world.user(&user).ok_or(NO_USER)?;
        Ok(user)
    }

    fn add_member(&mut self, id: ConversationId, by: &UserId, name: &str) -> Result<ConversationId, Refused> {
        let user = self.known_user(name)?;
        let members_max = self.rules.group_members_max;
        let room = self.has_room(id, None) && self.world.has_room([&user], None);
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        if conversation.member(&user).is_some() {
            return Err(ALREADY);
        }
        if conversation.members.len() >= members_max {
            return Err(FULL);
        }
        if !room {
            return Err(INBOX_FULL);
        }
        let by = conversation.member(by).map_or_else(Default::default, |member| member.ordinal);
        let sequence = conversation.advance();
        let ordinal = conversation.join(user.clone(), Role::Member);
        let snapshot = opened(conversation);
        self.out.changes.push(Change::Conversation(id));
        self.out.changes.push(Change::Membership(user.clone(), id, true));
        self.out.durable = true;
        let joined = client::Member { ordinal: ordinal.get(), user: user.to_string(), role: Role::Member.into() };
        let for_others = self.change_entry(id, sequence, by, change::Change::Added(joined));
        let for_the_new = self.change_entry(id, sequence, by, change::Change::Opened(snapshot));
        self.fan_out_to_others(id, &user, &for_others);
        self.enter(&user, &for_the_new);
        Ok(id)
    }

    fn fan_out_to_others(&mut self, id: ConversationId, except: &UserId, value: &Bytes) {
        let Some(conversation) = self.world.conversation(id) else { return };
        let others: Vec<_> = conversation.members.iter().map(|member| member.user.clone()).collect();
        for user in others.iter().filter(|user| *user != except) {
            self.enter(user, value);
        }
    }

    fn remove_member(&mut self, id: ConversationId, by: &UserId, name: &str) -> Result<ConversationId, Refused> {
        let user = UserId::new(name).map_err(|_| NO_USER)?;
        let conversation = self.world.conversation(id).ok_or(NO_CONVERSATION)?;
        let member = conversation.member(&user).ok_or(NOT_A_MEMBER)?;
        if member.role == Role::Owner && user != *by {
            return Err(NOT_THE_OWNER);
        }
        self.part(id, &user, by);
        Ok(id)
    }

    fn rename(&mut self, id: ConversationId, by: &UserId, title: &str) -> Result<ConversationId, Refused> {
        if title.len() > TITLE_BYTES_MAX {
            return Err(BAD_TITLE);
        }
        if !self.has_room(id, None) {
            return Err(INBOX_FULL);
        }
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        title.clone_into(&mut conversation.title);
        let by = conversation.member(by).map_or_else(Default::default, |member| member.ordinal);
        let sequence = conversation.advance();
        self.out.changes.push(Change::Conversation(id));
        self.out.durable = true;
        let entry = self.change_entry(id, sequence, by, change::Change::Renamed(title.to_owned()));
        self.fan_out(id, entry, None);
        Ok(id)
    }
}
