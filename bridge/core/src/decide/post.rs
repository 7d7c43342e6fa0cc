//! Messages: who may send, and to whom.

use bytes::Bytes;
use godwit_schemas::ids::{ConversationId, DeviceId, Seq, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;

use super::{Decision, INBOX_FULL, NO_CONVERSATION, NO_MEMBER, NO_USER, Refused};
use crate::command::{Draft, Origin, To};
use crate::conversation::Sent;
use crate::entry::{Entry, Kind};
use crate::fact::Fact;
use crate::outcome::Change;
use crate::world::World;

const MAY_NOT_SEND: Refused = (Reason::NOT_AUTHORIZED, "not allowed to send in this group");
// PUBACK has no "packet too large" (MQTT 5.0, 3.4.2.1).
pub(super) const BODY_TOO_LARGE: Refused = (Reason::QUOTA_EXCEEDED, "body over the limit");

impl Decision<'_> {
    pub(super) fn post(&mut self, origin: &Origin, to: &To, draft: Draft) -> Result<(ConversationId, Seq), Refused> {
        let media = match self.attach(&origin.user, &draft.media) {
            Ok(media) => media,
            // What a retry refers to may have gone since it was accepted.
            Err(refused) => return self.accepted_before(origin, to, draft.client_sequence).ok_or(refused),
        };
        if draft.body.len() + media.len() > self.rules.body_bytes_max {
            return Err(BODY_TOO_LARGE);
        }
        let id = match to {
            To::Conversation(id) => *id,
            To::User(user) => self.open_direct(&origin.user, user)?,
        };
        let blocker = self.blocker(id, &origin.user);
        let room = self.has_room(id, Some(origin.device)).is_ok();
        if draft.client_sequence > 0 {
            self.forget_old_counts(id, origin.device);
        }
        let conversation = self.world.conversation_mut(id).ok_or(NO_CONVERSATION)?;
        conversation.member(&origin.user).ok_or(NO_MEMBER)?;
        if !conversation.may(&origin.user, conversation.settings.may_send) {
            return Err(MAY_NOT_SEND);
        }
        let group = conversation.group;
        let life_s = conversation.retention.life_s(draft.expires_in_s);
        let sent = conversation.send(&origin.user, origin.device, draft.client_sequence, blocker.as_ref(), room);
        let sent = sent.map_err(|reason| match reason {
            Reason::QUOTA_EXCEEDED => INBOX_FULL,
            reason => (reason, NO_USER.1),
        })?;
        let (sequence, sender) = match sent {
            Sent::New(sequence, sender) => (sequence, sender),
            Sent::Again(sequence) => return Ok((id, sequence)),
        };
        self.out.changes.push(Change::State(id));
        self.out.durable = true;
        self.out.note(|| {
            let (sender, bytes) = (origin.user.clone(), draft.body.len());
            Fact::Message { conversation: id, sequence, sender, bytes, group }
        });
        let lifetime_s = if life_s == 0 { self.rules.retention_s } else { life_s.min(self.rules.retention_s) };
        let entry = Entry {
            expires_at_s: self.now_s.saturating_add(lifetime_s),
            kind: Kind::Message,
            conversation: id,
            sequence,
            sender,
            sender_name: Bytes::copy_from_slice(origin.user.as_str().as_bytes()),
            stored_at_s: self.now_s,
            limited: life_s != 0,
            reply_to: draft.reply_to,
            unseen: blocker.is_some(),
            media,
            content: draft.body,
            ..Entry::default()
        };
        let mut recipients = self.recipients(id, |user| blocker.is_none() || !user.blocks(&origin.user));
        recipients.retain(|(device, _)| *device != origin.device);
        self.spread(entry, recipients);
        Ok((id, sequence))
    }

    /// Where a send stands that was accepted before.
    fn accepted_before(&self, origin: &Origin, to: &To, client_sequence: u64) -> Option<(ConversationId, Seq)> {
        let id = match to {
            To::Conversation(id) => *id,
            To::User(user) => self.world.direct(&World::pair(&origin.user, user))?,
        };
        let conversation = self.world.conversation(id)?;
        conversation.member(&origin.user)?;
        let place = conversation.place_of_accepted(origin.device, client_sequence)?;
        Some((id, place))
    }

    /// Makes room for the count of a device that has none yet.
    fn forget_old_counts(&mut self, id: ConversationId, device: DeviceId) {
        let Some(conversation) = self.world.conversation(id).filter(|it| it.accepted(device) == 0) else { return };
        let users = conversation.members.iter().filter_map(|member| self.world.user(&member.user));
        let devices: Vec<_> = users.flat_map(|user| &user.devices).map(|device| device.id).collect();
        if let Some(conversation) = self.world.conversation_mut(id) {
            conversation.keep_counts_of(&devices);
        }
    }

    /// The other side of a direct conversation, if it has blocked the user.
    fn blocker(&self, id: ConversationId, user: &UserId) -> Option<UserId> {
        let conversation = self.world.conversation(id).filter(|conversation| !conversation.group)?;
        let blocks = |other: &&UserId| self.world.user(other).is_some_and(|other| other.blocks(user));
        conversation.members.iter().map(|member| &member.user).find(blocks).cloned()
    }

    /// The direct conversation of the two, made if there is none.
    pub(super) fn open_direct(&mut self, from: &UserId, to: &UserId) -> Result<ConversationId, Refused> {
        let pair = World::pair(from, to);
        if let Some(id) = self.world.direct(&pair) {
            return Ok(id);
        }
        if self.world.user(from).is_none() || self.world.user(to).is_none() {
            return Err(NO_USER);
        }
        if !self.world.has_room([from, to], None) {
            return Err(INBOX_FULL);
        }
        self.may_be_in_more(from, [from, to])?;
        let users = if from == to { vec![from.clone()] } else { vec![from.clone(), to.clone()] };
        let id = self.create(Partition::of_pair(from, to), false, "", &users);
        self.world.set_direct(pair.clone(), Some(id));
        self.out.changes.push(Change::Pair(pair.0, pair.1, Some(id)));
        Ok(id)
    }
}
