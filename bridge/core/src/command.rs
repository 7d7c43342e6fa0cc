//! What a conversation is asked to do, by whom.

use bytes::Bytes;
use godwit_schemas::client::request::Call;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Ordinal, Seq, UserId};
use godwit_schemas::partition::Partition;

use crate::conversation::Watermark;
use crate::doubt::Doubt;

/// A device's connection: what an edge calls it, and which edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// The edge, by the number it chose when it started.
    pub edge: u64,
    /// The connection's number there.
    pub connection: u64,
}

/// Where the answer to a publish goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// The connection it came from; if that has ended, nobody is answered.
    pub connection: ConnectionKey,
    /// The publish's number there.
    pub number: u64,
    /// The client's own name for it.
    pub packet_id: u16,
}

/// The publish that a command came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// Authenticated user.
    pub user: UserId,
    /// Its device.
    pub device: DeviceId,
    /// Whom to answer; `None`: QoS 0, nobody.
    pub reply_to: Option<ReplyTo>,
    /// Kept so that a retry has no effect; `None` for QoS 0 and for sends that carry a client sequence.
    pub doubt: Option<Doubt>,
}

/// A recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// The direct conversation with this user.
    User(UserId),
    /// This conversation.
    Conversation(ConversationId),
}

/// A command to one conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Send a message.
    Post {
        /// Who sends.
        origin: Origin,
        /// Where to.
        to: To,
        /// Opaque.
        body: Bytes,
        /// The device's count, 0: none.
        client_sequence: u64,
        /// Seconds to live; 0: the retention.
        expires_in_s: u32,
    },
    /// Everything up to here was read.
    Read {
        /// Who read.
        origin: Origin,
        /// Where.
        conversation: ConversationId,
        /// Last sequence that was read.
        up_to: Seq,
    },
    /// A remote procedure call.
    Call {
        /// Who calls.
        origin: Origin,
        /// `Request.id`.
        id: u64,
        /// What.
        call: Call,
        /// MQTT 5 correlation data.
        correlation: Bytes,
    },
    /// A device acknowledged inbox entries of this conversation.
    Acked {
        /// The device's user.
        user: UserId,
        /// The device.
        device: DeviceId,
        /// The conversation of all the entries.
        conversation: ConversationId,
        /// Highest message sequence among them; 0: none was a message.
        up_to: Seq,
        /// Who sent those messages.
        senders: Vec<Ordinal>,
        /// The entries.
        orders: Vec<Order>,
    },
    /// A device acknowledged a receipt.
    ReceiptAcked {
        /// The device's user.
        user: UserId,
        /// The device.
        device: DeviceId,
        /// The receipt's conversation.
        conversation: ConversationId,
        /// The receipt's member.
        member: Ordinal,
        /// What it said.
        watermark: Watermark,
    },
    /// The user is being removed from the server.
    Forget {
        /// Who.
        user: UserId,
        /// From where.
        conversation: ConversationId,
    },
}

impl Command {
    /// Nobody waits for what becomes of it: an acknowledgement, which only tidies up and moves ticks.
    pub fn can_wait(&self) -> bool {
        matches!(self, Self::Acked { .. } | Self::ReceiptAcked { .. })
    }

    /// Where the conversation is kept. A group lives in the partition of the user that creates it.
    pub fn partition(&self) -> Partition {
        match self {
            Self::Post { origin, to: To::User(user), .. } => Partition::of_pair(&origin.user, user),
            Self::Call { origin, call, .. } => match called(call) {
                Some(conversation) => Partition::of_conversation(conversation),
                None => Partition::of_user(&origin.user),
            },
            Self::Post { to: To::Conversation(conversation), .. }
            | Self::Read { conversation, .. }
            | Self::Acked { conversation, .. }
            | Self::ReceiptAcked { conversation, .. }
            | Self::Forget { conversation, .. } => Partition::of_conversation(*conversation),
        }
    }
}

/// The conversation a call is about; `None` where it makes one.
pub(crate) fn called(call: &Call) -> Option<ConversationId> {
    let conversation = match call {
        Call::CreateGroup(_) => return None,
        Call::AddMember(call) => call.conversation,
        Call::RemoveMember(call) => call.conversation,
        Call::Leave(call) => call.conversation,
        Call::Rename(call) => call.conversation,
        Call::Describe(call) => call.conversation,
    };
    Some(ConversationId::new(conversation))
}
