//! What an app is told. Events wait in the store until the app has confirmed them: it sees each at least until then, in
//! order, and exactly once thereafter, whoever is killed when.

use std::collections::VecDeque;
use std::time::SystemTime;

use bytes::Bytes;
use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};
use tokio::sync::watch;

use crate::client::Client;
use crate::error::{Error, FileFailure, Refusal};
use crate::media::{FileId, Media};
use crate::properties::Properties;
use crate::send::{Recipient, SendId};
use crate::wire::ConversationUpdate;

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// Its place there, among messages and changes.
    pub sequence: Seq,
    /// The sender's number in the conversation.
    pub sender: Ordinal,
    /// Who that is, if the members are known.
    pub user: Option<UserId>,
    /// Sent by this user, on this device (then with its number) or on another.
    pub mine: bool,
    /// Of a message that this device sent.
    pub send: Option<SendId>,
    /// When the server stored it, by this device's clock, to a second or so.
    pub at: SystemTime,
    /// Opaque to the server.
    pub body: Bytes,
    /// Files that it refers to.
    pub media: Vec<Media>,
    /// The message of this conversation that it answers.
    pub reply_to: Option<Seq>,
    /// The body is not the first. Its sender changed it before this was read.
    pub edited: bool,
    /// It was taken back, by its sender or an admin of the group, and is empty.
    pub recalled: bool,
    /// It was encrypted from end to end, and signed by a device of its sender.
    pub encrypted: bool,
    /// This device has not the key that would open it, and its body is empty.
    pub unopened: bool,
    /// How members react to it, the last of each.
    pub reactions: Vec<Reaction>,
    /// What it says beside its body, if it comes from a device that speaks MQTT by itself.
    pub properties: Option<Properties>,
}

/// How a member reacts to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// The member's number in the conversation.
    pub member: Ordinal,
    /// Who that is, if the members are known.
    pub user: Option<UserId>,
    /// In up to 32 bytes; not empty.
    pub reaction: String,
}

/// What an app is told: messages, changes, receipts and failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody else sent a message, or this user did on another device.
    Message(Message),
    /// A conversation began for this device, or its members or title changed, or one of its messages. That a message was
    /// edited or taken back is told if this device has it and who did it may (it sent the message, or administers the
    /// group), and then stands in [`crate::Client::messages`] already. By others it is not told.
    Changed {
        /// The conversation that changed.
        conversation: ConversationId,
        /// The change's place among the messages.
        sequence: Seq,
        /// Who did it.
        by: Ordinal,
        /// Who that is, if the members are known.
        user: Option<UserId>,
        /// The change.
        change: ConversationUpdate,
        /// False: it concerns a message that this device does not have (any more), so nobody has checked who may do it. An
        /// app that keeps messages itself compares `by` with who sent the message, as client.proto says.
        checked: bool,
    },
    /// How far a member is now. An event that waits is replaced by a newer one of the same member.
    Receipt {
        /// The conversation whose messages it is about.
        conversation: ConversationId,
        /// The member whose receipt it is.
        member: Ordinal,
        /// Who that is, if the members are known.
        user: Option<UserId>,
        /// One of its devices has everything up to here.
        delivered_up_to: Seq,
        /// It has read up to here.
        read_up_to: Seq,
    },
    /// These places hold messages that did not come: they expired before this device fetched them, or they are larger
    /// than it takes.
    Missing {
        /// The conversation that has the gap.
        conversation: ConversationId,
        /// The first.
        first: Seq,
        /// The last.
        last: Seq,
    },
    /// A send was refused. Its handle says so too; this also reaches an app that was killed in between.
    Refused {
        /// The refused send.
        send: SendId,
        /// Whom it was for.
        to: Recipient,
        /// The reason that the server gave.
        refusal: Refusal,
    },
    /// The server was restored from a backup: it has forgotten what happened after it, also what this device has received or
    /// sent since then. That stays here. Members, titles and settings are again what they were. Messages that had not been sent
    /// go to conversations with the same members, and to direct ones; each of the others is told as [`Event::Refused`].
    ServerRestored {
        /// Conversations that this user was in and that are not there any more.
        lost: Vec<ConversationId>,
    },
    /// A message that this device cannot read: it was sealed before the device was let in, or is not by whom it says.
    Undecryptable {
        /// The conversation it belongs to.
        conversation: ConversationId,
        /// Its place there.
        sequence: Seq,
        /// The reason, in English.
        why: String,
    },
    /// A message that came readable to the server, in a conversation whose messages are encrypted. It is not among the messages:
    /// show it as what it is, if at all.
    Plaintext {
        /// The conversation that it came in.
        conversation: ConversationId,
        /// Its place there.
        sequence: Seq,
        /// Who is said to have sent it.
        sender: Ordinal,
        /// What it says.
        body: Bytes,
    },
    /// The keys of an encrypted conversation were made anew, as after a restore of the server. Its messages go on encrypted, and
    /// earlier ones stay readable where they were.
    GroupReset {
        /// The conversation.
        conversation: ConversationId,
        /// Its place there.
        sequence: Seq,
        /// Who has made them.
        user: Option<UserId>,
    },
    /// A user has another identity key than before, or it is this user: its safety number is another one, and what was verified
    /// is not any more. Usually the user has lost its devices and begun anew. It may also be the server, or somebody in between.
    IdentityChanged {
        /// Who.
        user: UserId,
    },
    /// A file was not sent, and will not be tried again. Its handle says so too.
    FileFailed {
        /// The file that was not sent.
        file: FileId,
        /// Whom it was for.
        to: Recipient,
        /// What it is called.
        name: String,
        /// The reason why it was not.
        failure: FileFailure,
    },
}

/// An event, and the number under which it is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Later events have larger numbers.
    pub id: u64,
    /// What happened.
    pub event: Event,
}

/// The events of a client, beginning with the oldest that was not confirmed. Keeps the client open.
#[derive(Debug)]
pub struct Events {
    client: Client,
    news: watch::Receiver<u64>,
    /// The last one read from the store.
    last: u64,
    ready: VecDeque<Delivery>,
}

/// Read from the store at a time.
const BATCH: usize = 64;

impl Events {
    pub(crate) fn new(client: Client) -> Self {
        let news = client.shared().news.subscribe();
        Self { client, news, last: 0, ready: VecDeque::new() }
    }

    /// The next event. Waits until there is one. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Store`]
    pub async fn next(&mut self) -> Result<Delivery, Error> {
        loop {
            if let Some(delivery) = self.ready.pop_front() {
                return Ok(delivery);
            }
            self.news.mark_unchanged();
            let last = self.last;
            let (read_up_to, ready) = self.client.shared().ledger.call(move |it| it.events(last, BATCH)).await?;
            self.last = read_up_to;
            self.ready = ready.into();
            if read_up_to == last {
                self.news.changed().await.map_err(|_| Error::Closed)?;
            }
        }
    }

    /// The app has done what it wanted with this event and all before it: none of them is told again, after any crash.
    /// Durable when it returns. If it is dropped before, they may be told again.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn confirm(&self, delivery: &Delivery) -> Result<(), Error> {
        let id = delivery.id;
        self.client.shared().ledger.call(move |it| it.confirm(id)).await
    }
}
