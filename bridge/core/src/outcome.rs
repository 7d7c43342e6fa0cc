//! What a decision asks for: entries and changes to write in one commit, and effects once that is on disk.

use bytes::Bytes;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Ordinal, Seq, UserId};
use godwit_schemas::media::MediaId;
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;

use crate::command::GroupCommit;
use crate::conversation::Watermark;
use crate::event::DomainEvent;
use crate::keys::MessageKey;
use crate::outbox::{Link, Outgoing, Outside};
use crate::reaction::StoredReaction;
use crate::reply_to::ReplyTo;
use crate::retry::PublishRecord;
use crate::stored::{MlsGroupRecord, ReferenceRecord};
use crate::usage::InboxUsage;

/// A new inbox entry for one device. It is given its order when it is committed, and wakes the device's session.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEntry {
    /// The recipient.
    pub device: DeviceId,
    /// Where the recipient's session is.
    pub partition: Partition,
    /// `Entry::encode`, shared by all recipients: what a connected device is told.
    pub value: Bytes,
    /// What its inbox holds, if that is only a reference.
    pub reference: Option<Bytes>,
    /// Length of its content, wherever that is.
    pub bytes: u32,
}

impl NewEntry {
    /// One that is kept whole.
    pub fn of(device: DeviceId, partition: Partition, value: &Bytes, bytes: u32) -> Self {
        Self { device, partition, value: value.clone(), reference: None, bytes }
    }
}

/// A change of the store.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreChange {
    /// Members or title changed, or it is new: write the whole conversation.
    Conversation(ConversationId),
    /// Nobody is in it any more.
    ConversationGone(ConversationId),
    /// Only its progress changed.
    State(ConversationId),
    /// The direct conversation of these two, lower name first; `None`: there is none any more.
    Pair(UserId, UserId, Option<ConversationId>),
    /// A message's entry, for all who have a reference to it; `None`: nobody has any more.
    Message(ConversationId, Seq, Option<Bytes>),
    /// A member's reaction to a message, kept for history until so many seconds since 1970; `None`: none.
    Reaction(ConversationId, Seq, Ordinal, Option<(u32, StoredReaction)>),
    /// What the sender of a message, which is blocked, alone sees in its place; `None`: what everybody sees.
    OwnMessage(ConversationId, Seq, Option<Bytes>),
    /// A reaction that the member, which is blocked, alone sees in place of its own (empty: it sees none); `None`: it sees
    /// what everybody sees.
    OwnReaction(ConversationId, Seq, Ordinal, Option<(u32, StoredReaction)>),
    /// There are no reactions to this message any more.
    ReactionsGone(ConversationId, Seq),
    /// Who has still to get a message that is kept apart: write it as it is in the cache.
    Holders(ConversationId, Seq),
    /// A message refers to a file, so long.
    Shared(MessageKey, MediaId, ReferenceRecord),
    /// It does so no more, since this second.
    Unshared(MessageKey, MediaId, u32),
    /// The MLS group of a conversation, as it is kept for commits.
    MlsGroup(ConversationId, Box<MlsGroupRecord>),
    /// The inbox entry was acknowledged.
    EntryGone(DeviceId, Order),
    /// The device has still to get this receipt; replaces an earlier one.
    Receipt(DeviceId, ConversationId, Ordinal, Watermark),
    /// The device has the newest receipt of this member.
    ReceiptGone(DeviceId, ConversationId, Ordinal),
    /// What a publish became.
    PublishRecord(DeviceId, PublishRecord),
    /// The partition's next conversation.
    NextConversation(Partition, u64),
}

/// What to do when the commit is on disk, in the lane of `partition`.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// Whose lane.
    pub partition: Partition,
    /// What to do.
    pub kind: EffectKind,
}

/// See [`Effect`].
#[derive(Debug, Clone, PartialEq)]
pub enum EffectKind {
    /// Answer a publish.
    Published {
        /// Which one.
        to: ReplyTo,
        /// How it went.
        reason: Reason,
        /// English, for a refusal.
        text: &'static str,
        /// The conversation that it went to, or made; `None`: it is about none, or was refused.
        conversation: Option<ConversationId>,
        /// Where the message stands there; `None`: it is no message, or was accepted before and nobody knows where.
        sequence: Option<Seq>,
        /// It was accepted before: up to this number, of those in its count; 0: it has none.
        repeated: Option<u64>,
        /// It was refused because its conversation's MLS group is in this epoch; 0: it was not.
        mls_epoch: u64,
    },
    /// Have this checked beside the lane, and decide it then.
    Check(Box<GroupCommit>),
    /// Answer a call.
    Responded {
        /// Where it came from.
        to: ReplyTo,
        /// The answer.
        response: Box<client::Response>,
        /// MQTT 5 correlation data of the request.
        correlation: Bytes,
    },
    /// Tell the device how far a member is.
    Tick {
        /// The device.
        device: DeviceId,
        /// The conversation.
        conversation: ConversationId,
        /// The member whose watermark it is.
        member: Ordinal,
        /// How far.
        watermark: Watermark,
    },
    /// Tell the device, if it is connected and listens, what is going on.
    Live {
        /// The device.
        device: DeviceId,
        /// The conversation.
        conversation: ConversationId,
        /// `client.Live`.
        payload: Bytes,
    },
    /// One `Acked` command of the device is on disk.
    Settled {
        /// The device.
        device: DeviceId,
        /// The lowest order it had.
        lowest: Order,
        /// What is gone from the inbox.
        load: InboxUsage,
    },
    /// An entry of the device was taken back, with so many bytes.
    Recalled(DeviceId, Order, u32),
    /// One `Forget` command of this user is on disk.
    Forgotten(UserId),
    /// Nobody is in this conversation any more: its history is to be cleared (in the conversation's lane).
    Abandoned(ConversationId),
    /// Another partition has sent something, which is to be taken in (in the lane of the link's end).
    Arrived(Outside),
    /// What was sent on this link is taken in up to this number (in the lane of the link's beginning).
    TakenIn(Link, u64),
}

/// What one or more decisions ask for.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// New inbox entries, in order.
    pub entries: Vec<NewEntry>,
    /// Changes of the store.
    pub changes: Vec<StoreChange>,
    /// What concerns rows of other partitions, in order.
    pub outgoing: Vec<Outgoing>,
    /// After the commit.
    pub effects: Vec<Effect>,
    /// Something that was promised to be on disk is among them: the commit needs an fsync.
    pub durable: bool,
    /// What happened; `None`: nobody wants to know.
    pub events: Option<Vec<DomainEvent>>,
}

impl Outcome {
    /// Notes what happened, if somebody wants to know.
    pub fn note(&mut self, event: impl FnOnce() -> DomainEvent) {
        if let Some(events) = &mut self.events {
            events.push(event());
        }
    }
}
