//! Groups are made and changed. A change takes its place among the messages, and everybody is told by an event.

use godwit_schemas::client::{self, Role, change};
use godwit_schemas::ids::{ConversationId, Ordinal, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;

use super::call::{NO_INVITE, done};
use super::{Decision, INBOX_FULL, NO_CONVERSATION, NO_USER, Refused, TITLE_BYTES_MAX, opened};
use crate::group::{Invite, Secret, Settings};
use crate::outcome::Change;

/// Most invites of a group.
const INVITES_MAX: usize = 16;

const BAD_TITLE: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "title over 256 bytes");
const BAD_ROLE: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "unknown role");
const TOO_FEW: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "a group has at least two members");
const ALREADY: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "a member already");
const NOT_A_MEMBER: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "that user is not a member");
const NOT_THE_OWNER: Refused = (Reason::NOT_AUTHORIZED, "nobody removes the owner");
const OWNER_ONLY: Refused = (Reason::NOT_AUTHORIZED, "only the owner may do that");
const FULL: Refused = (Reason::QUOTA_EXCEEDED, "the group is full");
const TOO_MANY_INVITES: Refused = (Reason::QUOTA_EXCEEDED, "the group has 16 invites");

impl Decision<'_> {
    pub(super) fn create_group(
        &mut self,
        caller: &UserId,
        call: &client::CreateGroup,
    ) -> Result<ConversationId, Refused> {
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
            _ => {
                self.may_be_in_more(caller, &users)?;
                Ok(self.create(Partition::of_user(caller), true, &call.title, &users))
            }
        }
    }

    fn known_user(&self, name: &str) -> Result<UserId, Refused> {
        let user = UserId::new(name).map_err(|_| NO_USER)?;
        // Who has not registered yet reads nothing that would have to wait in a group's name.
        self.world.user(&user).filter(|it| !it.record.waiting).ok_or(NO_USER)?;
        Ok(user)
    }

    pub(super) fn add_member(
        &mut self,
        id: ConversationId,
        by: &UserId,
        name: &str,
    ) -> Result<ConversationId, Refused> {
        let user = self.known_user(name)?;
        self.enrol(id, user, by)
    }

    /// A new member joins, added by another or on its own.
    fn enrol(&mut self, id: ConversationId, user: UserId, by: &UserId) -> Result<ConversationId, Refused> {
        let members_max = self.rules.group_members_max;
        let room = self.has_room(id, None).is_ok() && self.world.has_room([&user], None);
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
        self.may_be_in_more(by, [&user])?;
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        let sequence = conversation.advance();
        let ordinal = conversation.join(user.clone(), Role::Member);
        let snapshot = opened(conversation);
        self.out.changes.push(Change::Conversation(id));
        self.count(&user, id, true);
        self.out.durable = true;
        let joined = client::Member { ordinal: ordinal.get(), user: user.to_string(), role: Role::Member.into() };
        let added = change::Change::Added(joined);
        self.note_change(id, sequence, Some(by), &added, None);
        let by = self.ordinal(id, by);
        let for_others = self.change_entry(id, sequence, by, added);
        let for_the_new = self.change_entry(id, sequence, by, change::Change::Opened(snapshot));
        let (new, mut others) = (self.devices_of(&user), self.recipients(id, |_| true));
        others.retain(|recipient| !new.contains(recipient));
        self.spread(for_others, others);
        self.enter(&for_the_new, new);
        Ok(id)
    }

    pub(super) fn remove_member(
        &mut self,
        id: ConversationId,
        by: &UserId,
        name: &str,
    ) -> Result<ConversationId, Refused> {
        let user = UserId::new(name).map_err(|_| NO_USER)?;
        let conversation = self.world.conversation(id).ok_or(NO_CONVERSATION)?;
        let member = conversation.member(&user).ok_or(NOT_A_MEMBER)?;
        if member.role == Role::Owner && user != *by {
            return Err(NOT_THE_OWNER);
        }
        self.part(id, &user, by);
        Ok(id)
    }

    pub(super) fn rename(&mut self, id: ConversationId, by: &UserId, title: &str) -> Result<ConversationId, Refused> {
        if title.len() > TITLE_BYTES_MAX {
            return Err(BAD_TITLE);
        }
        self.has_room(id, None)?;
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        title.clone_into(&mut conversation.title);
        Ok(self.changed(id, by, change::Change::Renamed(title.to_owned())))
    }

    pub(super) fn set_role(
        &mut self,
        id: ConversationId,
        by: &UserId,
        call: &client::SetRole,
    ) -> Result<ConversationId, Refused> {
        let user = UserId::new(&call.user).map_err(|_| NO_USER)?;
        let role = Role::try_from(call.role).map_err(|_| BAD_ROLE)?;
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        let owner = conversation.member(by).is_some_and(|member| member.role == Role::Owner);
        let before = conversation.member(&user).ok_or(NOT_A_MEMBER)?.role;
        if before == role {
            return Ok(id);
        }
        let promotes = before == Role::Member && role == Role::Admin;
        // An owner stays until it names another.
        if before == Role::Owner || (!owner && !promotes) {
            return Err(OWNER_ONLY);
        }
        self.has_room(id, None)?;
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        for member in &mut conversation.members {
            if role == Role::Owner && member.role == Role::Owner {
                member.role = Role::Admin;
            }
            if member.user == user {
                member.role = role;
            }
        }
        let ordinal = self.ordinal(id, &user).get();
        let member = client::Member { ordinal, user: user.to_string(), role: role.into() };
        Ok(self.changed(id, by, change::Change::Role(member)))
    }

    pub(super) fn change_settings(
        &mut self,
        id: ConversationId,
        by: &UserId,
        settings: Option<&client::GroupSettings>,
    ) -> Result<ConversationId, Refused> {
        let settings = Settings::parse(&settings.copied().unwrap_or_default()).ok_or(BAD_ROLE)?;
        self.has_room(id, None)?;
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        conversation.settings = settings;
        Ok(self.changed(id, by, change::Change::Settings(settings.to_message())))
    }

    /// A change that was made takes its place, and everybody is told.
    pub(super) fn changed(&mut self, id: ConversationId, by: &UserId, change: change::Change) -> ConversationId {
        let ordinal = self.ordinal(id, by);
        let Some(conversation) = self.world.conversation_mut(id) else { return id };
        let sequence = conversation.advance();
        self.out.changes.push(Change::Conversation(id));
        self.out.durable = true;
        self.note_change(id, sequence, Some(by), &change, None);
        let entry = self.change_entry(id, sequence, ordinal, change);
        let group = self.world.conversation(id).is_some_and(|conversation| conversation.group);
        let recipients = self.recipients(id, |user| group || !user.blocks(by));
        self.spread(entry, recipients);
        id
    }

    fn ordinal(&self, id: ConversationId, user: &UserId) -> Ordinal {
        let member = self.world.conversation(id).and_then(|conversation| conversation.member(user));
        member.map_or_else(Default::default, |member| member.ordinal)
    }

    pub(super) fn create_invite(
        &mut self,
        id: ConversationId,
        by: &UserId,
        expires_in_s: u32,
        secret: Secret,
    ) -> Result<client::Response, Refused> {
        let (by, now_s) = (self.ordinal(id, by), self.now_s);
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        conversation.invites.retain(|invite| invite.expires_at_s > now_s);
        if conversation.invites.len() >= INVITES_MAX {
            return Err(TOO_MANY_INVITES);
        }
        let expires_at_s = if expires_in_s == 0 { u32::MAX } else { now_s.saturating_add(expires_in_s) };
        let invite = Invite { secret, by, expires_at_s };
        let shown = invite.to_message(id, now_s);
        conversation.invites.push(invite);
        self.out.changes.push(Change::Conversation(id));
        self.out.durable = true;
        Ok(client::Response { invites: vec![shown], ..done(id) })
    }

    pub(super) fn revoke_invite(&mut self, id: ConversationId, secret: Secret) -> Result<ConversationId, Refused> {
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        let index = conversation.invites.iter().position(|invite| invite.secret == secret).ok_or(NO_INVITE)?;
        conversation.invites.remove(index);
        self.out.changes.push(Change::Conversation(id));
        self.out.durable = true;
        Ok(id)
    }

    pub(super) fn invites(&self, id: ConversationId) -> Vec<client::Invite> {
        let invites = self.world.conversation(id).into_iter().flat_map(|conversation| &conversation.invites);
        let open = invites.filter(|invite| invite.expires_at_s > self.now_s);
        open.map(|invite| invite.to_message(id, self.now_s)).collect()
    }

    pub(super) fn join(
        &mut self,
        id: ConversationId,
        user: &UserId,
        secret: Secret,
    ) -> Result<ConversationId, Refused> {
        // Who does not know the secret does not learn either whether there is such a group.
        let conversation = self.world.conversation(id).ok_or(NO_INVITE)?;
        let open = |invite: &&Invite| invite.secret == secret && invite.expires_at_s > self.now_s;
        conversation.invites.iter().find(open).ok_or(NO_INVITE)?;
        self.enrol(id, user.clone(), user)
    }
}
