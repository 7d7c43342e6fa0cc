//! What happens to messages that are here: edited, taken back, reacted to. The server cannot check who may do that where it
//! keeps nothing of a message any more; so it is checked here, against the message that this device has (client.proto,
//! `Change`). What is not to be believed has no effect, and the app is not told of it.

use bytes::Bytes;
use godwit_schemas::client::Role;
use godwit_schemas::ids::{ConversationId, Ordinal, Seq};

use super::inbound::role;
use super::record::{KnownConversationRecord, MessageRecord, ReactionRecord};
use super::{Ledger, keys};
use crate::store::LocalStoreError;
use crate::wire::ConversationUpdate;

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belief {
    /// It is so.
    Checked,
    /// It concerns a message that is not here.
    Unchecked,
    /// Who did it may not.
    Refuted,
}

impl Ledger {
    /// Applies a change of a message, at this place and by this member. Others are none of this module's.
    pub(super) fn amend(
        &mut self,
        (id, sequence, by): (ConversationId, Seq, Ordinal),
        conversation: &mut KnownConversationRecord,
        change: &ConversationUpdate,
    ) -> Result<Belief, LocalStoreError> {
        let (ConversationUpdate::Recalled(place)
        | ConversationUpdate::Edited(place, _)
        | ConversationUpdate::Reacted(place, _)) = change
        else {
            return Ok(Belief::Checked);
        };
        let key = keys::message(id, *place);
        let Some(mut message) = self.record::<MessageRecord>(&key)? else {
            conversation.stale |= conversation.filling;
            return Ok(Belief::Unchecked);
        };
        let was_unread = self.is_unread(conversation, *place, &message);
        let Some(sent_it) = self.has_sent(conversation, &message, by) else { return Ok(Belief::Unchecked) };
        let believed = match change {
            ConversationUpdate::Recalled(_) => {
                let administers = conversation.group && role(conversation, by) != Role::Member;
                (sent_it || administers) && recall(&mut message)
            }
            ConversationUpdate::Edited(_, body) => sent_it && edit(&mut message, sequence, body),
            ConversationUpdate::Reacted(_, reaction) => react(&mut message, sequence, by, reaction),
            _ => false,
        };
        if !believed {
            return Ok(Belief::Refuted);
        }
        if was_unread && !self.is_unread(conversation, *place, &message) {
            conversation.unread = conversation.unread.map(|unread| unread.saturating_sub(1));
        }
        self.put(&key, &message)?;
        Ok(Belief::Checked)
    }

    /// Whether this member sent the message; `None`: nobody knows yet who the members are. What this device sent before it
    /// knew them has no sender, but is this user's.
    fn has_sent(&self, conversation: &KnownConversationRecord, message: &MessageRecord, by: Ordinal) -> Option<bool> {
        match message.send {
            0 => Some(message.sender == by.get()),
            _ if !conversation.known => None,
            _ => Some(
                conversation.members.iter().any(|member| member.ordinal == by.get() && member.user == self.me.as_str()),
            ),
        }
    }
}

fn recall(message: &mut MessageRecord) -> bool {
    (message.body, message.recalled) = (Bytes::new(), true);
    message.media.clear();
    message.properties = None;
    message.reactions.clear();
    true
}

/// What was taken back says nothing any more. One that comes late (`gaps`) is no news after what came after it.
fn edit(message: &mut MessageRecord, at: Seq, body: &Bytes) -> bool {
    let counts = !message.recalled && at.get() > message.edited_at;
    if counts {
        (message.body, message.edited, message.edited_at) = (body.clone(), true, at.get());
    }
    counts
}

/// What is no more is kept too, for one that comes late.
fn react(message: &mut MessageRecord, at: Seq, by: Ordinal, reaction: &str) -> bool {
    let (member, at) = (by.get(), at.get());
    if message.recalled {
        return false;
    }
    match message.reactions.iter_mut().find(|known| known.member == member) {
        Some(known) if known.at >= at => return false,
        Some(known) => {
            (known.reaction, known.at, known.sealed) = (reaction.to_owned(), at, Bytes::new());
        }
        None => {
            message.reactions.push(ReactionRecord { member, reaction: reaction.to_owned(), at, ..Default::default() })
        }
    }
    true
}
