//! What is done to a message after it was sent: it is taken back, edited, reacted to. Each is a change with a place of its
//! own, which everybody is told. And what members agree on for all messages.
//!
//! What the server knows of a message is what was left of it: its row in history, copies that wait in inboxes, references
//! to files. Where
//! nothing was left, it cannot check who sent the message, and the devices have to (see `client.Change`).

use godwit_schemas::client::{self, Role, change};
use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};

use super::Decision;
use super::blocked::recalled;
use super::content::still_fits;
use crate::command::CommandOrigin;
use crate::entry::{Entry, EntryKind};
use crate::keys::MessageKey;
use crate::outcome::{Effect, EffectKind, StoreChange};
use crate::reaction::StoredReaction;
use crate::recent::PlaceContent;
use crate::refusal::{self, Refusal};
use crate::retention::Retention;
use crate::state_cache::MessageCopies;

/// Longest reaction in bytes.
pub const REACTION_BYTES_MAX: usize = 32;
/// Longest sealed one.
pub const SEALED_REACTION_BYTES_MAX: usize = 512;

impl Decision<'_> {
    pub(super) fn recall(&mut self, by: &UserId, call: &client::Recall) -> Result<ConversationId, Refusal> {
        let place = (ConversationId::new(call.conversation), Seq::new(call.sequence));
        let administers = self.cache.conversation(place.0).is_some_and(|it| it.group && it.may(by, Role::Admin));
        let alone = self.blocker(place.0, by).is_some();
        let found = self.amendable(place, by, administers, alone)?;
        let what = if alone && !found.is_unseen() {
            self.recall_alone(place, by, found);
            PlaceContent::Other
        } else {
            self.take_back(place, found);
            let sender = self.cache.conversation(place.0).and_then(|it| it.member(by)).map(|member| member.ordinal);
            PlaceContent::Recalled(place.1, sender.filter(|_| !administers))
        };
        Ok(self.changed_to(place.0, by, change::Change::Recalled(place.1.get()), what))
    }

    /// Nobody has the message any more.
    fn take_back(&mut self, place: MessageKey, found: MessageCopies) {
        // Also what was handed out and not acknowledged: it will not be handed out again.
        let bytes = found.copy.as_ref().map_or(0, Entry::content_len);
        for (device, order) in found.copies.iter().copied() {
            self.out.changes.push(StoreChange::EntryGone(device, order));
            let (partition, kind) =
                (self.cache.partitions().of_device(device), EffectKind::Recalled(device, order, bytes));
            self.out.effects.push(Effect { partition, kind });
        }
        if self.cache.holders(place).is_some() {
            self.cache.drop_holders(place);
            self.out.changes.push(StoreChange::Holders(place.0, place.1));
            self.out.changes.push(StoreChange::Message(place.0, place.1, None));
        } else if let Some(row) = &found.row {
            self.write_row(&recalled(row));
            self.cache.set_recalled(place, true);
            self.out.changes.push(StoreChange::ReactionsGone(place.0, place.1));
            self.out.changes.push(StoreChange::OwnMessage(place.0, place.1, None));
        }
        let now_s = self.now_s;
        self.out.changes.extend(found.references.iter().map(|(id, _)| StoreChange::Unshared(place, *id, now_s)));
        if let Some(left) = self.cache.copies_mut(place) {
            // A later command of the batch finds that.
            let row = found.row.or(found.copy).map(|row| recalled(&row));
            *left = MessageCopies { row, ..MessageCopies::default() };
        }
    }

    pub(super) fn edit(&mut self, origin: &CommandOrigin, call: &client::Edit) -> Result<ConversationId, Refusal> {
        let by = &origin.user;
        // What is handed over was within the limit when it was sent.
        if call.body.len() > self.rules.body_bytes_max && self.spared.is_none() {
            return Err(refusal::BODY_TOO_LARGE);
        }
        let place = (ConversationId::new(call.conversation), Seq::new(call.sequence));
        self.may_seal(origin, place.0, call.mls_epoch)?;
        self.has_room(place.0, by, None)?;
        let alone = self.blocker(place.0, by).is_some();
        let found = self.amendable(place, by, false, alone)?;
        let alone = alone && !found.is_unseen();
        let row = if alone { found.own.or(found.row) } else { found.row };
        // What waits in inboxes is delivered as it was; the edit follows.
        if let (Some(row), None) = (row, self.cache.holders(place)) {
            still_fits(row.properties().as_deref(), &call.body)?;
            let row = row.sealed_in(call.mls_epoch);
            // A reference to it says how long it was: it is filled in with what is there.
            let len = row.extras.len() + call.body.len();
            if len > self.rules.body_bytes_max {
                return Err(refusal::BODY_TOO_LARGE);
            }
            let apart = row.apart.map(|_| u32::try_from(len).unwrap_or(u32::MAX));
            let row = Entry { edited: true, apart, content: call.body.clone(), ..row };
            if alone {
                self.write_own(place, row);
            } else {
                self.write_row(&row);
                self.out.changes.push(StoreChange::OwnMessage(place.0, place.1, None));
                if let Some(left) = self.cache.copies_mut(place) {
                    (left.row, left.own) = (Some(row), None);
                }
            }
        }
        let edited = client::Edited { sequence: place.1.get(), body: call.body.clone(), mls_epoch: call.mls_epoch };
        Ok(self.changed(place.0, by, change::Change::Edited(edited)))
    }

    pub(super) fn react(&mut self, origin: &CommandOrigin, call: &client::React) -> Result<ConversationId, Refusal> {
        let by = &origin.user;
        if call.reaction.len() > REACTION_BYTES_MAX || call.sealed.len() > SEALED_REACTION_BYTES_MAX {
            return Err(refusal::REACTION_TOO_LARGE);
        }
        let (id, sequence) = (ConversationId::new(call.conversation), Seq::new(call.sequence));
        // To take one back says nothing.
        if !call.reaction.is_empty() || !call.sealed.is_empty() {
            let epoch = if call.reaction.is_empty() { call.mls_epoch } else { 0 };
            self.may_seal(origin, id, epoch)?;
        }
        self.has_room(id, by, None)?;
        let member = self.sees(id, sequence, by)?;
        if self.cache.is_recalled((id, sequence)) {
            return Err(refusal::NO_MESSAGE);
        }
        let alone = self.blocker(id, by).is_some();
        if let Some(end_s) = self.history(id, alone.then_some(member)).expires_at_s(self.now_s) {
            let reaction = (end_s, StoredReaction::of(call));
            if alone {
                // Also none: it hides the one that the other side sees.
                self.out.changes.push(StoreChange::OwnReaction(id, sequence, member, Some(reaction)));
            } else {
                let reaction = Some(reaction).filter(|(_, reaction)| !reaction.is_none());
                self.out.changes.push(StoreChange::Reaction(id, sequence, member, reaction));
                self.out.changes.push(StoreChange::OwnReaction(id, sequence, member, None));
            }
        }
        let client::React { reaction, sealed, mls_epoch, .. } = call.clone();
        let reacted = client::Reacted { sequence: sequence.get(), reaction, sealed, mls_epoch };
        Ok(self.changed(id, by, change::Change::Reacted(reacted)))
    }

    /// The sequence has been given, and the user is a member who may see it.
    fn sees(&self, id: ConversationId, sequence: Seq, user: &UserId) -> Result<Ordinal, Refusal> {
        let conversation = self.cache.conversation(id).ok_or(refusal::NO_CONVERSATION)?;
        let member = conversation.member(user).ok_or(refusal::NOT_IN_CONVERSATION)?;
        if sequence > conversation.last_seq || sequence <= conversation.floor(member) {
            return Err(refusal::NO_MESSAGE);
        }
        Ok(member.ordinal)
    }

    /// What was left of a message that this user may take back or edit, as far as is known; `alone`: as it alone sees it.
    fn amendable(
        &mut self,
        place: MessageKey,
        by: &UserId,
        administers: bool,
        alone: bool,
    ) -> Result<MessageCopies, Refusal> {
        let member = self.sees(place.0, place.1, by)?;
        let found = self.cache.copies_mut(place).cloned().unwrap_or_default();
        let own = found.own.as_ref().filter(|_| alone);
        let Some(known) = own.or(found.row.as_ref()).or(found.copy.as_ref()) else {
            let own = found.sender().is_none_or(|sender| sender == member) || administers;
            return if own { Ok(found) } else { Err(refusal::NOT_YOUR_MESSAGE) };
        };
        if known.kind != EntryKind::Message {
            return Err(refusal::NO_MESSAGE);
        }
        if known.sender != member && !administers {
            return Err(refusal::NOT_YOUR_MESSAGE);
        }
        if known.sender == member && self.now_s.saturating_sub(known.stored_at_s) > self.rules.recall_window_s {
            return Err(refusal::RECALL_WINDOW_OVER);
        }
        Ok(found)
    }

    pub(super) fn delete_conversation(&mut self, id: ConversationId, user: &UserId) -> Result<ConversationId, Refusal> {
        let conversation = self.cache.conversation_mut(id).ok_or(refusal::NO_CONVERSATION)?;
        conversation.member(user).ok_or(refusal::NOT_IN_CONVERSATION)?;
        let last = conversation.last_seq;
        conversation.hide(user);
        self.out.changes.push(StoreChange::State(id));
        self.out.durable = true;
        self.mark_read(user, id, last, None);
        Ok(id)
    }

    pub(super) fn set_retention(
        &mut self,
        by: &UserId,
        call: &client::SetRetention,
    ) -> Result<ConversationId, Refusal> {
        let id = ConversationId::new(call.conversation);
        let alone = self.blocker(id, by).map(|_| by);
        self.has_room(id, by, None)?;
        let conversation = self.cache.conversation_mut(id).ok_or(refusal::NO_CONVERSATION)?;
        conversation.member(by).ok_or(refusal::NOT_IN_CONVERSATION)?;
        if !conversation.may(by, Role::Admin) {
            return Err(refusal::ROLE_TOO_LOW);
        }
        let retention = Retention::parse(&call.retention.unwrap_or_default());
        conversation.set_retention(retention, alone);
        Ok(self.changed(id, by, change::Change::Retention(retention.to_message())))
    }
}

impl MessageCopies {
    fn sender(&self) -> Option<Ordinal> {
        let known = self.row.as_ref().or(self.copy.as_ref()).map(|known| known.sender);
        known.or_else(|| self.references.first().map(|(_, reference)| Ordinal::new(reference.sender)))
    }

    /// Only its sender knows of the message.
    fn is_unseen(&self) -> bool {
        let known = self.row.as_ref().or(self.copy.as_ref()).map(|known| known.unseen);
        known.or_else(|| self.references.first().map(|(_, reference)| reference.unseen)).unwrap_or(false)
    }
}
