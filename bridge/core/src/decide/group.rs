//! Groups are made and changed. A change takes its place among the messages, and everybody is told by an event.

use godwit_schemas::client::{self, Role, change};
use godwit_schemas::ids::{ConversationId, Ordinal, UserId};

use super::call::done;
use super::room::limit;
use super::{Decision, TITLE_BYTES_MAX, opened};
use crate::entry::Entry;
use crate::group::{GroupInvite, GroupSettings, InviteSecret};
use crate::mls::EpochStep;
use crate::outcome::StoreChange;
use crate::recent::PlaceContent;
use crate::refusal::{self, Refusal};

/// Most invites of a group.
const INVITES_MAX: usize = 16;

impl Decision<'_> {
    pub(super) fn create_group(
        &mut self,
        caller: &UserId,
        call: &client::CreateGroup,
    ) -> Result<ConversationId, Refusal> {
        if call.title.len() > TITLE_BYTES_MAX {
            return Err(refusal::TITLE_TOO_LARGE);
        }
        if call.users.len() > self.rules.group_members_max {
            return Err(refusal::GROUP_FULL);
        }
        let mut users = vec![caller.clone()];
        for name in &call.users {
            let user = self.known_user(name)?;
            self.may_add(caller, &user)?;
            if !users.contains(&user) {
                users.push(user);
            }
        }
        match users.len() {
            len if len < 2 => Err(refusal::TOO_FEW_MEMBERS),
            len if len > self.rules.group_members_max => Err(refusal::GROUP_FULL),
            _ => {
                let others = users.iter().filter(|user| *user != caller);
                self.any_takes(others.map(|user| (user, limit(self.is_stranger(user, caller)))), None)?;
                self.may_be_in_more(caller, &users)?;
                self.may_add_more(caller, &users)?;
                Ok(self.create(self.cache.partitions().of_user(caller), true, &call.title, &users))
            }
        }
    }

    fn known_user(&self, name: &str) -> Result<UserId, Refusal> {
        let user = UserId::new(name).map_err(|_| refusal::NO_USER)?;
        // Who has not registered yet reads nothing that would have to wait in a group's name.
        self.cache.user(&user).filter(|it| !it.record.waiting).ok_or(refusal::NO_USER)?;
        Ok(user)
    }

    pub(super) fn add_member(
        &mut self,
        id: ConversationId,
        by: &UserId,
        name: &str,
    ) -> Result<ConversationId, Refusal> {
        let user = self.may_add_member(id, by, name)?;
        self.enrolled(id, user, by, None);
        Ok(id)
    }

    /// Whom this one would add, if it may.
    pub(super) fn may_add_member(&mut self, id: ConversationId, by: &UserId, name: &str) -> Result<UserId, Refusal> {
        let user = self.known_user(name)?;
        self.may_add(by, &user)?;
        self.may_enrol(id, &user, by)?;
        Ok(user)
    }

    /// Whether a new member may join, added by another or on its own.
    fn may_enrol(&mut self, id: ConversationId, user: &UserId, by: &UserId) -> Result<(), Refusal> {
        let stranger = user != by && self.is_stranger(user, by);
        let room = if user == by { Ok(()) } else { self.any_takes([(user, limit(stranger))], None) };
        let conversation = self.cache.conversation(id).ok_or(refusal::NO_CONVERSATION)?;
        if conversation.member(user).is_some() {
            return Err(refusal::ALREADY_A_MEMBER);
        }
        if conversation.members.len() >= self.rules.group_members_max {
            return Err(refusal::GROUP_FULL);
        }
        if conversation.mls.is_some() && !self.has_keys(user) {
            return Err(refusal::MEMBER_WITHOUT_KEYS);
        }
        room?;
        self.may_be_in_more(by, [user])?;
        self.may_add_more(by, [user])
    }

    /// A new member joins, which may. With a step its devices are let into the group, too; otherwise they join that by
    /// themselves, if there is one.
    pub(super) fn enrolled(&mut self, id: ConversationId, user: UserId, by: &UserId, step: Option<EpochStep>) {
        let stranger = user != *by && self.is_stranger(&user, by);
        let mut new = self.devices_of(&user);
        let devices: Vec<_> = new.iter().map(|(device, _)| *device).collect();
        let Some(conversation) = self.cache.conversation_mut(id) else { return };
        let sequence = conversation.advance(None, PlaceContent::Other);
        let ordinal = conversation.join(user.clone(), Role::Member);
        conversation.counts.come_back(&user, &devices);
        if stranger {
            conversation.set_pending(&user);
        }
        conversation.accept(by);
        let snapshot = client::Opened { request: stranger, ..opened(conversation) };
        self.out.changes.push(StoreChange::Conversation(id));
        self.count(&user, id, self.begun(stranger));
        self.out.durable = true;
        let joined = client::Member { ordinal: ordinal.get(), user: user.to_string(), role: Role::Member.into() };
        let added = change::Change::Added(joined);
        self.note_change(id, sequence, Some(by), &added, None);
        let by = self.ordinal(id, by);
        let mut others = self.recipients(id, |_| true);
        new.retain(|recipient| others.contains(recipient));
        others.retain(|recipient| !new.contains(recipient));
        let opened = change::Change::Opened(snapshot);
        if let Some(step) = step {
            self.spread_step(id, (sequence, by), &step, Some(added), others);
            return self.enter_step(id, (sequence, by), &step, Some(opened), new);
        }
        let for_others = self.change_entry(id, sequence, by, added);
        let for_the_new = self.change_entry(id, sequence, by, opened);
        self.spread(for_others, others);
        self.enter(&for_the_new, new);
    }

    pub(super) fn remove_member(
        &mut self,
        id: ConversationId,
        by: &UserId,
        name: &str,
    ) -> Result<ConversationId, Refusal> {
        let user = self.may_remove_member(id, by, name)?;
        self.part(id, &user, by, None);
        Ok(id)
    }

    /// Whom this one would remove, if it may.
    pub(super) fn may_remove_member(&self, id: ConversationId, by: &UserId, name: &str) -> Result<UserId, Refusal> {
        let user = UserId::new(name).map_err(|_| refusal::NO_USER)?;
        let conversation = self.cache.conversation(id).ok_or(refusal::NO_CONVERSATION)?;
        let member = conversation.member(&user).ok_or(refusal::NOT_A_MEMBER)?;
        if member.role == Role::Owner && user != *by {
            return Err(refusal::OWNER_STAYS);
        }
        Ok(user)
    }

    pub(super) fn rename(&mut self, id: ConversationId, by: &UserId, title: &str) -> Result<ConversationId, Refusal> {
        if title.len() > TITLE_BYTES_MAX {
            return Err(refusal::TITLE_TOO_LARGE);
        }
        self.has_room(id, by, None)?;
        let conversation = self.cache.conversation_mut(id).ok_or(refusal::NO_CONVERSATION)?;
        title.clone_into(&mut conversation.title);
        Ok(self.changed(id, by, change::Change::Renamed(title.to_owned())))
    }

    pub(super) fn set_role(
        &mut self,
        id: ConversationId,
        by: &UserId,
        call: &client::SetRole,
    ) -> Result<ConversationId, Refusal> {
        let user = UserId::new(&call.user).map_err(|_| refusal::NO_USER)?;
        let role = Role::try_from(call.role).map_err(|_| refusal::UNKNOWN_ROLE)?;
        let conversation = self.cache.conversation_mut(id).ok_or(refusal::NO_CONVERSATION)?;
        let owner = conversation.member(by).is_some_and(|member| member.role == Role::Owner);
        let before = conversation.member(&user).ok_or(refusal::NOT_A_MEMBER)?.role;
        if before == role {
            return Ok(id);
        }
        let promotes = before == Role::Member && role == Role::Admin;
        // An owner stays until it names another.
        if before == Role::Owner || (!owner && !promotes) {
            return Err(refusal::OWNER_ONLY);
        }
        self.has_room(id, by, None)?;
        let conversation = self.cache.conversation_mut(id).ok_or(refusal::NO_CONVERSATION)?;
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
    ) -> Result<ConversationId, Refusal> {
        let settings = GroupSettings::parse(&settings.copied().unwrap_or_default()).ok_or(refusal::UNKNOWN_ROLE)?;
        self.has_room(id, by, None)?;
        let conversation = self.cache.conversation_mut(id).ok_or(refusal::NO_CONVERSATION)?;
        conversation.settings = settings;
        Ok(self.changed(id, by, change::Change::Settings(settings.to_message())))
    }

    /// A change that was made takes its place, and everybody is told.
    pub(super) fn changed(&mut self, id: ConversationId, by: &UserId, change: change::Change) -> ConversationId {
        self.changed_to(id, by, change, PlaceContent::Other)
    }

    /// The same, with what becomes of what members have not read.
    pub(super) fn changed_to(
        &mut self,
        id: ConversationId,
        by: &UserId,
        change: change::Change,
        what: PlaceContent,
    ) -> ConversationId {
        let (ordinal, blocker) = (self.ordinal(id, by), self.blocker(id, by));
        let Some(conversation) = self.cache.conversation_mut(id) else { return id };
        let sequence = conversation.advance(blocker.as_ref(), what);
        conversation.accept(by);
        conversation.waits_until(self.now_s.saturating_add(self.rules.retention_s));
        self.out.changes.push(StoreChange::Conversation(id));
        self.out.durable = true;
        self.note_change(id, sequence, Some(by), &change, None);
        let entry = Entry { unseen: blocker.is_some(), ..self.change_entry(id, sequence, ordinal, change) };
        let recipients = self.recipients(id, |user| blocker.is_none() || !user.blocks(by));
        self.spread(entry, recipients);
        id
    }

    pub(super) fn ordinal(&self, id: ConversationId, user: &UserId) -> Ordinal {
        let member = self.cache.conversation(id).and_then(|conversation| conversation.member(user));
        member.map_or_else(Default::default, |member| member.ordinal)
    }

    pub(super) fn create_invite(
        &mut self,
        id: ConversationId,
        by: &UserId,
        expires_in_s: u32,
        secret: InviteSecret,
    ) -> Result<client::Response, Refusal> {
        let (by, now_s) = (self.ordinal(id, by), self.now_s);
        let conversation = self.cache.conversation_mut(id).ok_or(refusal::NO_CONVERSATION)?;
        conversation.invites.retain(|invite| invite.expires_at_s > now_s);
        if conversation.invites.len() >= INVITES_MAX {
            return Err(refusal::TOO_MANY_INVITES);
        }
        let expires_at_s = if expires_in_s == 0 { u32::MAX } else { now_s.saturating_add(expires_in_s) };
        let invite = GroupInvite { secret, by, expires_at_s };
        let shown = invite.to_message(id, now_s);
        conversation.invites.push(invite);
        self.out.changes.push(StoreChange::Conversation(id));
        self.out.durable = true;
        Ok(client::Response { invites: vec![shown], ..done(id) })
    }

    pub(super) fn revoke_invite(
        &mut self,
        id: ConversationId,
        secret: InviteSecret,
    ) -> Result<ConversationId, Refusal> {
        let conversation = self.cache.conversation_mut(id).ok_or(refusal::NO_CONVERSATION)?;
        let index = conversation.invites.iter().position(|invite| invite.secret == secret).ok_or(refusal::NO_INVITE)?;
        conversation.invites.remove(index);
        self.out.changes.push(StoreChange::Conversation(id));
        self.out.durable = true;
        Ok(id)
    }

    pub(super) fn invites(&self, id: ConversationId) -> Vec<client::Invite> {
        let invites = self.cache.conversation(id).into_iter().flat_map(|conversation| &conversation.invites);
        let open = invites.filter(|invite| invite.expires_at_s > self.now_s);
        open.map(|invite| invite.to_message(id, self.now_s)).collect()
    }

    pub(super) fn join(
        &mut self,
        id: ConversationId,
        user: &UserId,
        secret: InviteSecret,
    ) -> Result<ConversationId, Refusal> {
        // Who does not know the secret does not learn either whether there is such a group.
        let conversation = self.cache.conversation(id).ok_or(refusal::NO_INVITE)?;
        let open = |invite: &&GroupInvite| invite.secret == secret && invite.expires_at_s > self.now_s;
        conversation.invites.iter().find(open).ok_or(refusal::NO_INVITE)?;
        self.may_enrol(id, user, user)?;
        self.enrolled(id, user.clone(), user, None);
        Ok(id)
    }
}
