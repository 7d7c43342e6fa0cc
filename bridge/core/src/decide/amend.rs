//! What is done to a message after it was sent: it is taken back, edited, reacted to. Each is a change with a place of its
//! own, which everybody is told. And what members agree on for all messages.
//!
//! What the server knows of a message is what was left of it: its row in history, copies that wait in inboxes, references
//! to files. Where
//! nothing was left, it cannot check who sent the message, and the devices have to (see `client.Change`).

use bytes::Bytes;
use godwit_schemas::client::{self, Role, change};
use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;

use super::post::BODY_TOO_LARGE;
use super::{Decision, NO_CONVERSATION, NO_MEMBER, Refused};
use crate::entry::{Entry, Kind};
use crate::outcome::{Change, Effect, EffectKind};
use crate::retention::Retention;
use crate::world::{Place, Traces};

/// Longest reaction in bytes.
const REACTION_BYTES_MAX: usize = 32;

const NO_MESSAGE: Refused = (Reason::TOPIC_NAME_INVALID, "no such message");
const NOT_YOURS: Refused = (Reason::NOT_AUTHORIZED, "not your message");
const TOO_LATE: Refused = (Reason::NOT_AUTHORIZED, "too late");
const BAD_REACTION: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "reaction over 32 bytes");
const MAY_NOT: Refused = (Reason::NOT_AUTHORIZED, "your role in this group does not allow that");

impl Decision<'_> {
    pub(super) fn recall(&mut self, by: &UserId, call: &client::Recall) -> Result<ConversationId, Refused> {
        let place = (ConversationId::new(call.conversation), Seq::new(call.sequence));
        let administers = self.world.conversation(place.0).is_some_and(|it| it.group && it.may(by, Role::Admin));
        let traces = self.amendable(place, by, administers)?;
        if let (Some(sender), Some(conversation)) = (traces.sender(), self.world.conversation_mut(place.0)) {
            conversation.uncount(place.1, sender);
        }
        // Also what was handed out and not acknowledged: it will not be handed out again.
        let bytes = traces.copy.as_ref().map_or(0, Entry::content_len);
        for (device, order) in traces.copies.iter().copied() {
            self.out.changes.push(Change::EntryGone(device, order));
            let (partition, kind) = (Partition::of_device(device), EffectKind::TakenBack(order, bytes));
            self.out.effects.push(Effect { partition, device, kind });
        }
        if self.world.holders(place).is_some() {
            self.world.drop_holders(place);
            self.out.changes.push(Change::Holders(place.0, place.1));
            self.out.changes.push(Change::Message(place.0, place.1, None));
        } else if let Some(row) = &traces.row {
            self.write_row(&recalled(row));
            self.out.changes.push(Change::ReactionsGone(place.0, place.1));
        }
        let now_s = self.now_s;
        self.out.changes.extend(traces.references.iter().map(|(id, _)| Change::Unshared(place, *id, now_s)));
        if let Some(left) = self.world.traces_mut(place) {
            // A later command of the batch finds that.
            let row = traces.row.or(traces.copy).map(|row| recalled(&row));
            *left = Traces { row, ..Traces::default() };
        }
        Ok(self.changed(place.0, by, change::Change::Recalled(place.1.get())))
    }

    pub(super) fn edit(&mut self, by: &UserId, call: &client::Edit) -> Result<ConversationId, Refused> {
        if call.body.len() > self.rules.body_bytes_max {
            return Err(BODY_TOO_LARGE);
        }
        let place = (ConversationId::new(call.conversation), Seq::new(call.sequence));
        self.has_room(place.0, None)?;
        let traces = self.amendable(place, by, false)?;
        // What waits in inboxes is delivered as it was; the edit follows.
        if let (Some(row), None) = (traces.row, self.world.holders(place)) {
            // A reference to it says how long it was: it is filled in with what is there.
            let len = row.media.len() + call.body.len();
            if len > self.rules.body_bytes_max {
                return Err(BODY_TOO_LARGE);
            }
            let apart = row.apart.map(|_| u32::try_from(len).unwrap_or(u32::MAX));
            let row = Entry { edited: true, apart, content: call.body.clone(), ..row };
            self.write_row(&row);
            if let Some(left) = self.world.traces_mut(place) {
                left.row = Some(row);
            }
        }
        let edited = client::Edited { sequence: place.1.get(), body: call.body.clone() };
        Ok(self.changed(place.0, by, change::Change::Edited(edited)))
    }

    pub(super) fn react(&mut self, by: &UserId, call: &client::React) -> Result<ConversationId, Refused> {
        if call.reaction.len() > REACTION_BYTES_MAX {
            return Err(BAD_REACTION);
        }
        let (id, sequence) = (ConversationId::new(call.conversation), Seq::new(call.sequence));
        self.has_room(id, None)?;
        let member = self.sees(id, sequence, by)?;
        if let Some(end_s) = self.history(id).expires_at_s(self.now_s) {
            let reaction = (!call.reaction.is_empty()).then(|| (end_s, call.reaction.clone()));
            self.out.changes.push(Change::Reaction(id, sequence, member, reaction));
        }
        let reacted = client::Reacted { sequence: sequence.get(), reaction: call.reaction.clone() };
        Ok(self.changed(id, by, change::Change::Reacted(reacted)))
    }

    /// The sequence has been given, and the user is a member who may see it.
    fn sees(&self, id: ConversationId, sequence: Seq, user: &UserId) -> Result<Ordinal, Refused> {
        let conversation = self.world.conversation(id).ok_or(NO_CONVERSATION)?;
        let member = conversation.member(user).ok_or(NO_MEMBER)?;
        if sequence > conversation.last_seq || sequence <= conversation.floor(member) {
            return Err(NO_MESSAGE);
        }
        Ok(member.ordinal)
    }

    /// What was left of a message that this user may take back or edit, as far as is known.
    fn amendable(&mut self, place: Place, by: &UserId, administers: bool) -> Result<Traces, Refused> {
        let member = self.sees(place.0, place.1, by)?;
        let traces = self.world.traces_mut(place).cloned().unwrap_or_default();
        let Some(known) = traces.row.as_ref().or(traces.copy.as_ref()) else {
            let own = traces.sender().is_none_or(|sender| sender == member) || administers;
            return if own { Ok(traces) } else { Err(NOT_YOURS) };
        };
        if known.kind != Kind::Message {
            return Err(NO_MESSAGE);
        }
        if known.sender != member && !administers {
            return Err(NOT_YOURS);
        }
        if known.sender == member && self.now_s.saturating_sub(known.stored_at_s) > self.rules.recall_window_s {
            return Err(TOO_LATE);
        }
        Ok(traces)
    }

    pub(super) fn delete_conversation(&mut self, id: ConversationId, user: &UserId) -> Result<ConversationId, Refused> {
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        conversation.member(user).ok_or(NO_MEMBER)?;
        let last = conversation.last_seq;
        conversation.hide(user);
        self.out.changes.push(Change::State(id));
        self.out.durable = true;
        self.mark_read(user, id, last, None);
        Ok(id)
    }

    pub(super) fn set_retention(
        &mut self,
        by: &UserId,
        call: &client::SetRetention,
    ) -> Result<ConversationId, Refused> {
        let id = ConversationId::new(call.conversation);
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        conversation.member(by).ok_or(NO_MEMBER)?;
        if !conversation.may(by, Role::Admin) {
            return Err(MAY_NOT);
        }
        conversation.retention = Retention::parse(&call.retention.unwrap_or_default());
        let retention = conversation.retention.to_message();
        Ok(self.changed(id, by, change::Change::Retention(retention)))
    }
}

impl Traces {
    fn sender(&self) -> Option<Ordinal> {
        let known = self.row.as_ref().or(self.copy.as_ref()).map(|known| known.sender);
        known.or_else(|| self.references.first().map(|(_, reference)| Ordinal::new(reference.sender)))
    }
}

/// What is left of a message that was taken back.
fn recalled(row: &Entry) -> Entry {
    let (media, content) = (Bytes::new(), Bytes::new());
    Entry { kind: Kind::Recalled, apart: None, media, content, edited: false, unseen: false, ..row.clone() }
}
