//! A message on its way: what the app holds of it. Cheap to keep and to drop: dropping a handle changes nothing.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};
use godwit_schemas::phone::PhoneNumber;
use godwit_schemas::reason::Reason;
use tokio::sync::watch;

use crate::error::{Error, Refusal};
use crate::media::Media;

/// A send of this device, numbered in the order of the calls. It is also the client sequence that makes a retry safe:
/// it grows, and is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SendId(u64);

impl SendId {
    /// Wraps a number that the app kept.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, to keep.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A message that an app sends, with what is seldom said. It travels as `client.Send`; what the server reads from that is
/// `Draft` of godwit-core (`bridge/core/src/command.rs`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    pub(crate) body: Bytes,
    pub(crate) expires_in_s: u32,
    pub(crate) reply_to: Option<Seq>,
    pub(crate) media: Vec<Media>,
    pub(crate) silent: bool,
    pub(crate) mentions: Vec<u32>,
}

impl Draft {
    /// Just a body.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// It vanishes where it was not delivered within this time (whole seconds, at least one), and from history.
    #[must_use]
    pub fn expires_in(self, time: Duration) -> Self {
        Self { expires_in_s: lifetime_s(time), ..self }
    }

    /// It answers the message at this place of the same conversation.
    #[must_use]
    pub fn reply_to(self, sequence: Seq) -> Self {
        Self { reply_to: Some(sequence), ..self }
    }

    /// Nobody is pushed because of it.
    #[must_use]
    pub fn silent(self) -> Self {
        Self { silent: true, ..self }
    }

    /// It names this member: whoever has muted the conversation but for mentions is pushed. Up to 100 in a message, which the
    /// server can read.
    #[must_use]
    pub fn mention(mut self, member: Ordinal) -> Self {
        self.mentions.push(member.get());
        self
    }

    /// It refers to this file, which was uploaded or is seen by this user; up to 16 in a message.
    #[must_use]
    pub fn attach(mut self, media: Media) -> Self {
        self.media.push(media);
        self
    }
}

/// A lifetime as the server takes it: in whole seconds, at least one, since none is for ever.
pub(crate) fn lifetime_s(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Recipient {
    /// The direct conversation with this user, which the first message opens.
    User(UserId),
    /// This conversation.
    Conversation(ConversationId),
    /// Whoever has this phone number when the message is stored. If nobody has it, the message waits for who registers
    /// with it.
    Phone(PhoneNumber),
}

impl From<UserId> for Recipient {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

impl From<&UserId> for Recipient {
    fn from(user: &UserId) -> Self {
        Self::User(user.clone())
    }
}

impl From<PhoneNumber> for Recipient {
    fn from(number: PhoneNumber) -> Self {
        Self::Phone(number)
    }
}

impl From<ConversationId> for Recipient {
    fn from(conversation: ConversationId) -> Self {
        Self::Conversation(conversation)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Conversation(id) => id.fmt(f),
            Self::Phone(number) => number.fmt(f),
        }
    }
}

/// How far a message is. Only grows: each state includes those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendState {
    /// On this device's disk.
    Queued,
    /// On the server's disk, with an entry in the inbox of every recipient's devices: one tick.
    Sent {
        /// Where. Unknown for a while if the first attempt's answer was lost.
        at: Option<(ConversationId, Seq)>,
    },
    /// A device of each other member has it: two ticks.
    Delivered {
        /// The place of the message.
        at: (ConversationId, Seq),
    },
    /// Each other member has read it.
    Read {
        /// The place of the message.
        at: (ConversationId, Seq),
    },
    /// The server did not take it, and it will not be tried again. With 0x91 it is not known whether it did: see
    /// [`Refusal::retry_helps`].
    Refused(Refusal),
}

impl SendState {
    /// 0: queued, 1: sent, 2: delivered, 3: read; `None`: refused. As many ticks as an app would show, and one.
    pub fn rank(&self) -> Option<u8> {
        match self {
            Self::Queued => Some(0),
            Self::Sent { .. } => Some(1),
            Self::Delivered { .. } => Some(2),
            Self::Read { .. } => Some(3),
            Self::Refused(_) => None,
        }
    }
}

/// Follows one send until it is read or refused.
#[derive(Debug, Clone)]
pub struct SendHandle {
    id: SendId,
    states: watch::Receiver<SendState>,
}

impl SendHandle {
    pub(crate) fn new(id: SendId, states: watch::Receiver<SendState>) -> Self {
        Self { id, states }
    }

    /// Its number: `Client::follow` finds it again after a restart of the app.
    pub fn id(&self) -> SendId {
        self.id
    }

    /// How far it is now.
    pub fn state(&self) -> SendState {
        self.states.borrow().clone()
    }

    /// How far it is, to be watched.
    pub fn watch(&self) -> watch::Receiver<SendState> {
        self.states.clone()
    }

    /// Until it is on the server's disk. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Refused`] if the server does not take it; [`Error::Closed`] if the client was closed before.
    pub async fn sent(&self) -> Result<(), Error> {
        self.reached(1).await
    }

    /// Until every other member has it. Cancel safe.
    ///
    /// # Errors
    /// As [`Self::sent`].
    pub async fn delivered(&self) -> Result<(), Error> {
        self.reached(2).await
    }

    /// Until every other member has read it. Cancel safe.
    ///
    /// # Errors
    /// As [`Self::sent`].
    pub async fn read(&self) -> Result<(), Error> {
        self.reached(3).await
    }

    /// Waits until it is further; false: that is all.
    #[cfg(feature = "media")]
    pub(crate) async fn changed(&mut self) -> bool {
        self.states.changed().await.is_ok()
    }

    async fn reached(&self, rank: u8) -> Result<(), Error> {
        let mut states = self.states.clone();
        let state = states.wait_for(|state| state.rank().is_none_or(|reached| reached >= rank)).await;
        match &*state.map_err(|_| Error::Closed)? {
            SendState::Refused(refusal) => Err(Error::Refused(refusal.clone())),
            _ => Ok(()),
        }
    }
}

/// What a server said that does not take something.
pub(crate) fn refusal(reason: u32, text: &str) -> Refusal {
    Refusal { reason: Reason::from_u32(reason), text: text.to_owned() }
}
