//! What a conversation is asked to do, by whom.

use std::num::NonZeroU64;

use bytes::Bytes;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, DeviceId, Order, Ordinal, Seq, UserId};
use godwit_schemas::partition::{Partition, Partitions};

use crate::call::{ConversationCall, LookBack};
use crate::conversation::Watermark;
use crate::credential::Fingerprint;
use crate::group::InviteSecret;
use crate::mls::CheckedGroup;
use crate::reply_to::ReplyTo;
use crate::retry::PublishRecord;
use crate::send_count::{SendNumber, Sender};

/// The publish that a command came from.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandOrigin {
    /// Authenticated user.
    pub user: UserId,
    /// Its device; `None`: a user without one, over HTTP.
    pub device: Option<DeviceId>,
    /// What the device was let in with, to be compared where the command is decided; `None`: no device asks, but an
    /// administrator, say.
    pub fingerprint: Option<Fingerprint>,
    /// Whom to answer; `None`: nobody.
    pub reply_to: Option<ReplyTo>,
    /// Kept so that a retry has no effect; `None` for QoS 0 and for sends that carry a client sequence.
    pub publish_record: Option<PublishRecord>,
    /// What waited for a phone number is sent once more, to who has claimed it. It was taken once: limits of its sender hold
    /// nobody else up.
    pub handed_over: bool,
}

/// A recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// The direct conversation with this user.
    User(UserId),
    /// This conversation.
    Conversation(ConversationId),
}

/// The number that a client gives to what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientSequence {
    /// The number, above those before it in the same count.
    pub number: NonZeroU64,
    /// Which of the sender's counts.
    pub count: CountName,
}

/// What a client calls one of its counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountName {
    /// A count of the device, or of the user if no device is named; 0: the one that was never given a name.
    Sender(u64),
    /// An idempotency key over HTTP: a count of the user, whichever device is named beside it.
    Key(u64),
}

/// A message that is to be sent, as the server has read it. An app writes it as `Draft` of godwit-client
/// (`client-sdk/src/send.rs`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Draft {
    /// The message as its sender wrote it; the server does not read it.
    pub body: Bytes,
    /// Its number among the sender's; `None`: the sender does not count.
    pub client_sequence: Option<ClientSequence>,
    /// Seconds to live; 0: for devices that can be given it right now, it does not wait. `None`: what the conversation says.
    pub expires_in_s: Option<u32>,
    /// The message that it answers.
    pub reply_to: Option<Seq>,
    /// Files, as the sender names them.
    pub media: Vec<client::Media>,
    /// What receivers are told beside the body.
    pub properties: Option<Box<client::Properties>>,
    /// Nobody is pushed because of it.
    pub silent: bool,
    /// Whom it names.
    pub mentions: Vec<u32>,
    /// The epoch whose key has sealed the body; 0: it is not sealed.
    pub mls_epoch: u64,
}

impl Draft {
    /// There is more than a body. Most messages have no more.
    pub fn has_extras(&self) -> bool {
        let Self { media, properties, silent, mentions, mls_epoch, .. } = self;
        !media.is_empty() || properties.is_some() || *silent || !mentions.is_empty() || *mls_epoch != 0
    }
}

/// What is to begin a conversation's next epoch, on its way to the conversation's lane: once to be looked at, and once more when
/// it was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupCommit {
    /// The publish that asks for it.
    pub origin: CommandOrigin,
    /// `Request.id`.
    pub id: u64,
    /// MQTT 5 correlation data.
    pub correlation: Bytes,
    /// As it was handed in.
    pub call: client::CommitGroup,
    /// SHA-256 of that.
    pub hash: [u8; 32],
    /// `None`: it was not checked yet.
    pub checked: Option<Result<CheckedGroup, &'static str>>,
}

impl GroupCommit {
    /// The conversation.
    pub fn conversation(&self) -> ConversationId {
        ConversationId::new(self.call.conversation)
    }

    /// It founds a group, and is no commit.
    pub fn founds(&self) -> bool {
        self.call.commit.is_empty()
    }
}

/// Messages that a device has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMessages {
    /// The highest sequence.
    pub up_to: Seq,
    /// From here up to there every place was acknowledged, changes included.
    pub unbroken_from: Seq,
    /// Who sent them.
    pub senders: Vec<Ordinal>,
}

/// A command to one conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Send a message.
    Post {
        /// The publish that asks for it.
        origin: CommandOrigin,
        /// The recipient.
        to: To,
        /// The message.
        draft: Draft,
    },
    /// Something is going on that is worth nothing later.
    Live {
        /// The publish that asks for it.
        origin: CommandOrigin,
        /// The conversation.
        conversation: ConversationId,
        /// The signal as its sender wrote it; the server does not read it.
        body: Bytes,
    },
    /// Everything up to here was read.
    Read {
        /// The publish that asks for it.
        origin: CommandOrigin,
        /// The conversation.
        conversation: ConversationId,
        /// Last sequence that was read.
        up_to: Seq,
    },
    /// A remote procedure call.
    Call {
        /// The publish that asks for it.
        origin: CommandOrigin,
        /// `Request.id`.
        id: u64,
        /// The call.
        call: ConversationCall,
        /// MQTT 5 correlation data.
        correlation: Bytes,
        /// Random bits for what must not be guessed.
        secret: InviteSecret,
    },
    /// Begin the next epoch of a conversation's MLS group.
    Commit(Box<GroupCommit>),
    /// A device acknowledged inbox entries of this conversation.
    Acked {
        /// The device's user.
        user: UserId,
        /// The device.
        device: DeviceId,
        /// The conversation of all the entries.
        conversation: ConversationId,
        /// The messages among them; `None`: none was a message.
        messages: Option<ReceivedMessages>,
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
        /// The conversation.
        conversation: ConversationId,
        /// Messages kept apart that the device has not got.
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
        /// The user.
        user: UserId,
        /// From where.
        conversation: ConversationId,
    },
}

impl CommandOrigin {
    /// Who counts what is sent.
    pub fn sender(&self) -> Sender {
        self.device.map_or_else(|| Sender::User(self.user.clone()), Sender::Device)
    }

    /// The number of a message in the count of its sender; `None`: it carries none.
    pub fn number_of(&self, draft: &Draft) -> Option<SendNumber> {
        let ClientSequence { number, count } = draft.client_sequence?;
        let (by, counter) = match count {
            CountName::Sender(counter) => (self.sender(), counter),
            CountName::Key(counter) => (Sender::User(self.user.clone()), counter),
        };
        Some(SendNumber { by, counter, number: number.get() })
    }
}

impl Command {
    /// Nobody waits for what becomes of it: an acknowledgement, which only tidies up and moves ticks.
    pub fn can_wait(&self) -> bool {
        matches!(self, Self::Acked { .. } | Self::ReceiptAcked { .. })
    }

    /// The publish that it came from, if it came from one.
    pub fn origin(&self) -> Option<&CommandOrigin> {
        match self {
            Self::Post { origin, .. }
            | Self::Live { origin, .. }
            | Self::Read { origin, .. }
            | Self::Call { origin, .. } => Some(origin),
            Self::Commit(commit) => Some(&commit.origin),
            Self::Acked { .. } | Self::Released { .. } | Self::ReceiptAcked { .. } | Self::Forget { .. } => None,
        }
    }

    /// Who sent what is handed over with it.
    pub fn handed_over_by(&self) -> Option<UserId> {
        let (Self::Post { origin, .. } | Self::Call { origin, .. }) = self else { return None };
        origin.handed_over.then(|| origin.user.clone())
    }

    /// The message that a command is about, and what it needs of it. What was sent before must be on disk.
    pub fn looks_back(&self) -> Option<LookBack> {
        let Self::Call { call, .. } = self else { return None };
        call.spec().looks_back
    }

    /// Where the conversation is kept. A group lives in the partition of the user that creates it.
    pub fn partition(&self, partitions: Partitions) -> Partition {
        match self {
            Self::Post { origin, to: To::User(user), .. } => partitions.of_pair(&origin.user, user),
            Self::Call { origin, call: ConversationCall::OpenDirect(call), .. } => match UserId::new(&call.user) {
                Ok(user) => partitions.of_pair(&origin.user, &user),
                Err(_) => partitions.of_user(&origin.user),
            },
            Self::Commit(commit) => partitions.of_conversation(commit.conversation()),
            Self::Call { origin, call, .. } => match call.spec().conversation {
                Some(conversation) => partitions.of_conversation(conversation),
                None => partitions.of_user(&origin.user),
            },
            Self::Post { to: To::Conversation(conversation), .. }
            | Self::Live { conversation, .. }
            | Self::Read { conversation, .. }
            | Self::Acked { conversation, .. }
            | Self::Released { conversation, .. }
            | Self::ReceiptAcked { conversation, .. }
            | Self::Forget { conversation, .. } => partitions.of_conversation(*conversation),
        }
    }
}
