//! What a conversation is asked to do, by whom.

use bytes::Bytes;
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Ordinal, Seq, UserId};
use godwit_schemas::partition::Partition;

use crate::conversation::Watermark;
use crate::doubt::Doubt;
use crate::group::{Secret, parse_invite};
use crate::world::Place;

/// A device's connection: what an edge calls it, and which edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// A message that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// Opaque.
    pub body: Bytes,
    /// The device's count, 0: none.
    pub client_sequence: u64,
    /// Seconds to live; 0: what the conversation says.
    pub expires_in_s: u32,
    /// The message that it answers; 0: none.
    pub reply_to: Seq,
    /// Files, as the sender names them.
    pub media: Vec<client::Media>,
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
        /// What.
        draft: Draft,
    },
    /// Something is going on that is worth nothing later.
    Live {
        /// Who.
        origin: Origin,
        /// Where.
        conversation: ConversationId,
        /// Opaque.
        body: Bytes,
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
        /// Random bits for what must not be guessed.
        secret: Secret,
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
        /// What is in them together.
        bytes: u64,
        /// Messages among them that are kept apart.
        apart: Vec<Seq>,
    },
    /// The device is being removed from the server: it will not get these messages, which are kept apart.
    Released {
        /// The device.
        device: DeviceId,
        /// Where.
        conversation: ConversationId,
        /// Which.
        apart: Vec<Seq>,
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

/// Publishes of this edge come from the bridge's own HTTP API.
pub const HTTP: u64 = 0;

impl ReplyTo {
    /// The answer to a request over HTTP, which has this number.
    pub fn http(number: u64) -> Self {
        Self { connection: ConnectionKey { edge: HTTP, connection: number }, number, packet_id: 0 }
    }
}

impl Command {
    /// Nobody waits for what becomes of it: an acknowledgement, which only tidies up and moves ticks.
    pub fn can_wait(&self) -> bool {
        matches!(self, Self::Acked { .. } | Self::ReceiptAcked { .. })
    }

    /// The message that a command is about, of which it needs what was left of it. What was sent before must be on disk.
    pub fn looks_back_at(&self) -> Option<Place> {
        let Self::Call { call, .. } = self else { return None };
        let (conversation, sequence) = match call {
            Call::Recall(call) => (call.conversation, call.sequence),
            Call::Edit(call) => (call.conversation, call.sequence),
            _ => return None,
        };
        Some((ConversationId::new(conversation), Seq::new(sequence)))
    }

    /// Where the conversation is kept. A group lives in the partition of the user that creates it.
    pub fn partition(&self) -> Partition {
        match self {
            Self::Post { origin, to: To::User(user), .. } => Partition::of_pair(&origin.user, user),
            Self::Call { origin, call: Call::OpenDirect(call), .. } => match UserId::new(&call.user) {
                Ok(user) => Partition::of_pair(&origin.user, &user),
                Err(_) => Partition::of_user(&origin.user),
            },
            Self::Call { origin, call, .. } => match called(call) {
                Some(conversation) => Partition::of_conversation(conversation),
                None => Partition::of_user(&origin.user),
            },
            Self::Post { to: To::Conversation(conversation), .. }
            | Self::Live { conversation, .. }
            | Self::Read { conversation, .. }
            | Self::Acked { conversation, .. }
            | Self::Released { conversation, .. }
            | Self::ReceiptAcked { conversation, .. }
            | Self::Forget { conversation, .. } => Partition::of_conversation(*conversation),
        }
    }
}

/// Whether a call is about the caller's own account, and carried out where its session is.
pub fn is_about_account(call: &Call) -> bool {
    matches!(
        call,
        Call::Block(_)
            | Call::Unblock(_)
            | Call::ListBlocked(_)
            | Call::ListDevices(_)
            | Call::LabelDevice(_)
            | Call::RemoveDevice(_)
            | Call::RenewPassword(_)
            | Call::ListConversations(_)
            | Call::GetHistory(_)
            | Call::LookUpPhones(_)
            | Call::GetProfile(_)
            | Call::SetProfile(_)
            | Call::AddContact(_)
            | Call::RemoveContact(_)
            | Call::ListContacts(_)
            | Call::GetPresence(_)
            | Call::EraseAccount(_)
            | Call::CreateUpload(_)
            | Call::GetUpload(_)
            | Call::CompleteUpload(_)
            | Call::DiscardUpload(_)
            | Call::DownloadLink(_)
    )
}

/// The conversation a call is about; `None` where it makes one, or names none that could be.
pub(crate) fn called(call: &Call) -> Option<ConversationId> {
    let invited = |invite: &str| parse_invite(invite).map(|(id, _)| id);
    let conversation = match call {
        Call::Join(call) => return invited(&call.invite),
        Call::RevokeInvite(call) => return invited(&call.invite),
        Call::SetRole(call) => call.conversation,
        Call::ChangeSettings(call) => call.conversation,
        Call::CreateInvite(call) => call.conversation,
        Call::ListInvites(call) => call.conversation,
        Call::DeleteConversation(call) => call.conversation,
        Call::SetRetention(call) => call.conversation,
        Call::Recall(call) => call.conversation,
        Call::Edit(call) => call.conversation,
        Call::React(call) => call.conversation,
        Call::AddMember(call) => call.conversation,
        Call::RemoveMember(call) => call.conversation,
        Call::Leave(call) => call.conversation,
        Call::Rename(call) => call.conversation,
        Call::Describe(call) => call.conversation,
        Call::CreateGroup(_) | Call::OpenDirect(_) => return None,
        call => {
            debug_assert!(is_about_account(call));
            return None;
        }
    };
    Some(ConversationId::new(conversation))
}
