//! What a decision asks for: entries and changes to write in one commit, and effects once that is on disk.

use bytes::Bytes;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Ordinal, Seq, UserId};
use godwit_schemas::media::MediaId;
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;

use crate::command::ReplyTo;
use crate::conversation::Watermark;
use crate::doubt::Doubt;
use crate::fact::Fact;
use crate::load::Load;
use crate::record::ReferenceRecord;
use crate::world::Place;

/// A new inbox entry for one device. It is given its order when it is committed, and wakes the device's session.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEntry {
    /// Recipient.
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
pub enum Change {
    /// Members or title changed, or it is new: write the whole conversation.
    Conversation(ConversationId),
    /// Nobody is in it any more.
    ConversationGone(ConversationId),
    /// Only its progress changed.
    State(ConversationId),
    /// The direct conversation of these two, lower name first; `None`: there is none any more.
    Pair(UserId, UserId, Option<ConversationId>),
    /// The user is (`true`) or is no more (`false`) a member.
    Membership(UserId, ConversationId, bool),
    /// A message's entry, for all who have a reference to it; `None`: nobody has any more.
    Message(ConversationId, Seq, Option<Bytes>),
    /// A member's reaction to a message, kept for history until so many seconds since 1970; `None`: none.
    Reaction(ConversationId, Seq, Ordinal, Option<(u32, String)>),
    /// There are no reactions to this message any more.
    ReactionsGone(ConversationId, Seq),
    /// Who has still to get a message that is kept apart: write it as it is in the world.
    Holders(ConversationId, Seq),
    /// A message refers to a file, so long.
    Shared(Place, MediaId, ReferenceRecord),
    /// It does so no more, since this second.
    Unshared(Place, MediaId, u32),
    /// The inbox entry was acknowledged.
    EntryGone(DeviceId, Order),
    /// The device has still to get this receipt; replaces an earlier one.
    Receipt(DeviceId, ConversationId, Ordinal, Watermark),
    /// The device has the newest receipt of this member.
    ReceiptGone(DeviceId, ConversationId, Ordinal),
    /// What a publish became.
    Doubt(DeviceId, Doubt),
    /// The partition's next conversation.
    NextConversation(Partition, u64),
}

/// What to do when the commit is on disk, in the lane of `partition`.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// Whose lane.
    pub partition: Partition,
    /// Which session there (none for `Forgotten`).
    pub device: DeviceId,
    /// What.
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
        /// Where the message stands; 0 for what is not a message.
        conversation: ConversationId,
        /// Where the message stands.
        sequence: Seq,
    },
    /// Answer a call.
    Responded {
        /// Where it came from.
        to: Option<ReplyTo>,
        /// The answer.
        response: Box<client::Response>,
        /// MQTT 5 correlation data of the request.
        correlation: Bytes,
    },
    /// Tell the device how far a member is.
    Tick {
        /// Where.
        conversation: ConversationId,
        /// Whose.
        member: Ordinal,
        /// How far.
        watermark: Watermark,
    },
    /// Tell the device, if it is connected and listens, what is going on.
    Live {
        /// Where.
        conversation: ConversationId,
        /// `client.Live`.
        payload: Bytes,
    },
    /// One `Acked` command of the device is on disk.
    Settled {
        /// The lowest order it had.
        lowest: Order,
        /// What is gone from the inbox.
        load: Load,
    },
    /// An entry of the device was taken back, with so many bytes.
    TakenBack(Order, u32),
    /// One `Forget` command of this user is on disk.
    Forgotten(UserId),
    /// Nobody is in this conversation any more: its history is to be cleared (in the conversation's lane).
    Abandoned(ConversationId),
}

/// What one or more decisions ask for.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// New inbox entries, in order.
    pub entries: Vec<NewEntry>,
    /// Changes of the store.
    pub changes: Vec<Change>,
    /// After the commit.
    pub effects: Vec<Effect>,
    /// Something that was promised to be on disk is among them: the commit needs an fsync.
    pub durable: bool,
    /// What happened; `None`: nobody wants to know.
    pub facts: Option<Vec<Fact>>,
}

impl Outcome {
    /// Notes what happened, if somebody wants to know.
    pub fn note(&mut self, fact: impl FnOnce() -> Fact) {
        if let Some(facts) = &mut self.facts {
            facts.push(fact());
        }
    }
}
