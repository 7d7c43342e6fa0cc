//! Messages: who may send, and to whom.

use bytes::Bytes;
use godwit_schemas::ids::{ConversationId, UserId};
use godwit_schemas::reason::Reason;

use super::content::content;
use super::room::limit;
use super::{Decision, Placed};
use crate::command::{CommandOrigin, Draft, To};
use crate::conversation::Conversation;
use crate::entry::{Entry, EntryKind};
use crate::event::DomainEvent;
use crate::outcome::StoreChange;
use crate::refusal::{self, Refusal};
use crate::send_count::SendNumber;
use crate::state_cache::StateCache;

impl Decision<'_> {
    pub(super) fn post(&mut self, origin: &CommandOrigin, to: &To, draft: Draft) -> Result<Placed, Refusal> {
        let number = origin.number_of(&draft);
        // First of all: what has changed since it was accepted does not make a retry another message.
        if let Some(number) = &number
            && let Some(again) = self.accepted_before(origin, to, number)?
        {
            return Ok(again);
        }
        // What is handed over was within the limit when it was sent.
        let known = |id| self.cache.media(id, &origin.user);
        let extras = content(self.rules, self.spared.is_some(), &draft, known)?;
        let id = match to {
            To::Conversation(id) => *id,
            To::User(user) => self.open_direct(&origin.user, user)?,
        };
        self.may_seal(origin, id, draft.mls_epoch)?;
        let blocker = self.blocker(id, &origin.user);
        let room = self.has_room(id, &origin.user, origin.device);
        if let Some(number) = &number {
            self.forget_old_counts(id, number);
        }
        let conversation = self.cache.conversation_mut(id).ok_or(refusal::NO_CONVERSATION)?;
        let member = conversation.member(&origin.user).ok_or(refusal::NOT_IN_CONVERSATION)?;
        let retention = if blocker.is_some() { conversation.retention_of(member) } else { conversation.retention };
        if !conversation.may(&origin.user, conversation.settings.may_send) {
            return Err(refusal::MAY_NOT_SEND);
        }
        let group = conversation.group;
        let life_s = retention.life_s(draft.expires_in_s);
        let sent = conversation.send(&origin.user, blocker.as_ref(), room.is_ok(), (self.now_s, life_s));
        let (sequence, sender) = sent.map_err(|reason| match (reason, room) {
            (Reason::QUOTA_EXCEEDED, Err(full)) => full,
            (reason, _) => Refusal { reason, ..refusal::NO_USER },
        })?;
        if let Some(number) = number {
            conversation.counts.accept(number, sequence);
        }
        let lifetime_s = life_s.map_or(self.rules.retention_s, |life_s| life_s.min(self.rules.retention_s));
        let expires_at_s = self.now_s.saturating_add(lifetime_s);
        conversation.waits_until(expires_at_s);
        self.out.changes.push(StoreChange::State(id));
        self.out.durable = true;
        self.out.note(|| {
            let (sender, bytes) = (origin.user.clone(), draft.body.len());
            DomainEvent::Message { conversation: id, sequence, sender, bytes, group }
        });
        let entry = Entry {
            expires_at_s,
            kind: EntryKind::Message,
            conversation: id,
            sequence,
            sender,
            sender_name: Bytes::copy_from_slice(origin.user.as_str().as_bytes()),
            stored_at_s: self.now_s,
            limited: life_s.is_some(),
            reply_to: draft.reply_to,
            unseen: blocker.is_some(),
            extras,
            content: draft.body,
            ..Entry::default()
        };
        let mut recipients = self.recipients(id, |user| blocker.is_none() || !user.blocks(&origin.user));
        recipients.retain(|(device, _)| Some(*device) != origin.device);
        self.spread(entry, recipients);
        Ok(Placed { conversation: Some(id), sequence: Some(sequence), repeated: None })
    }

    /// What a send became that was accepted before; `None`: it is new, as far as its number says.
    fn accepted_before(&self, origin: &CommandOrigin, to: &To, number: &SendNumber) -> Result<Option<Placed>, Refusal> {
        let id = match to {
            To::Conversation(id) => Some(*id),
            To::User(user) => self.cache.direct(&StateCache::pair(&origin.user, user)),
        };
        let conversation = id.and_then(|id| self.cache.conversation(id));
        let known = conversation.and_then(|it| Some((it.id, it.counts.get(&number.by, number.counter)?)));
        let last = known.map_or(0, |(_, count)| count.last);
        if number.is_absurd_after(last) {
            return Err(refusal::CLIENT_SEQUENCE_TOO_FAR);
        }
        Ok(known.filter(|_| number.number <= last).map(|(conversation, count)| {
            let sequence = (number.number == last).then_some(count.at);
            Placed { conversation: Some(conversation), sequence, repeated: Some(last) }
        }))
    }

    /// Makes room for a count that is not there yet.
    fn forget_old_counts(&mut self, id: ConversationId, number: &SendNumber) {
        let new = |it: &&Conversation| it.counts.get(&number.by, number.counter).is_none();
        let Some(conversation) = self.cache.conversation(id).filter(new) else { return };
        let users = conversation.members.iter().filter_map(|member| self.cache.user(&member.user));
        let devices: Vec<_> = users.flat_map(|user| &user.devices).map(|device| device.id).collect();
        if let Some(conversation) = self.cache.conversation_mut(id) {
            conversation.counts.forget_strangers(&devices);
        }
    }

    /// The direct conversation of the two, made if there is none.
    pub(super) fn open_direct(&mut self, from: &UserId, to: &UserId) -> Result<ConversationId, Refusal> {
        let pair = StateCache::pair(from, to);
        if let Some(id) = self.cache.direct(&pair) {
            return Ok(id);
        }
        if self.cache.user(from).is_none() || self.cache.user(to).is_none() {
            return Err(refusal::NO_USER);
        }
        self.any_takes([(to, limit(self.is_stranger(to, from)))], None)?;
        // Whose messages are handed over holds up nobody but itself.
        let asked = [from, to].into_iter().filter(|user| self.spared.as_ref() != Some(*user));
        self.may_be_in_more(from, asked)?;
        let users = if from == to { vec![from.clone()] } else { vec![from.clone(), to.clone()] };
        let id = self.create(self.cache.partitions().of_pair(from, to), false, "", &users);
        self.cache.set_direct(pair.clone(), Some(id));
        self.out.changes.push(StoreChange::Pair(pair.0, pair.1, Some(id)));
        Ok(id)
    }
}
