//! What was sent before: taken back, edited, reacted to; and what the server keeps of it. A device that is new begins
//! here: with the user's conversations, and their history.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use godwit_schemas::client::request::Call;
use godwit_schemas::client::{
    self, Accept, DeleteConversation, GetHistory, ListConversations, OpenDirect, Recall, Retention, SetRetention, event,
};
use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};
use prost::Message as _;

use super::Client;
use crate::engine::now_s;
use crate::error::Error;
use crate::ledger::{FILL_PAGE, FILL_PAGES_MAX};
use crate::media::{self, Media};
use crate::properties::Properties;
use crate::send::lifetime_s;
use crate::wire::{self, ConversationUpdate, OpenedMember};

/// A part of a conversation's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageRange {
    /// Only what is below; zero: no bound.
    pub before: Seq,
    /// Only what is above.
    pub after: Seq,
    /// Oldest first; otherwise newest first.
    pub oldest_first: bool,
    /// 1 to 100; 0: 100.
    pub limit: u32,
}

/// A page of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultPage<T, N> {
    /// In the order asked for.
    pub items: Vec<T>,
    /// Where the next page begins: what to ask for `after` (newest first: `before`). `None`: there is no more.
    pub next: Option<N>,
}

/// Something that history has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Past {
    /// A message, as it is now.
    Message(PastMessage),
    /// A change of the conversation, as it was then.
    Changed {
        /// Its place.
        sequence: Seq,
        /// Who did it.
        by: Ordinal,
        /// The change.
        change: ConversationUpdate,
    },
}

/// A message as history has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastMessage {
    /// Its place.
    pub sequence: Seq,
    /// Who sent it.
    pub sender: Ordinal,
    /// When the server stored it, by this device's clock, to a second or so.
    pub at: SystemTime,
    /// As last edited; empty if it was taken back.
    pub body: Bytes,
    /// Files that it refers to.
    pub media: Vec<Media>,
    /// The message that it answers.
    pub reply_to: Option<Seq>,
    /// The body is not the first.
    pub edited: bool,
    /// It was taken back.
    pub recalled: bool,
    /// By member, the last of each.
    pub reactions: Vec<(Ordinal, String)>,
    /// What it says beside its body.
    pub properties: Option<Properties>,
}

/// One of the user's conversations, as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its number.
    pub id: ConversationId,
    /// Group rather than direct.
    pub group: bool,
    /// Of a group.
    pub title: String,
    /// In the order they joined.
    pub members: Vec<OpenedMember>,
    /// Place of the last message or change.
    pub last_sequence: Seq,
    /// That message or change, if history has it.
    pub last: Option<Past>,
    /// Messages of others that the user has not read, of the last 500 messages and changes.
    pub unread: u64,
    /// The user has read up to here.
    pub read_up_to: Seq,
    /// A stranger has opened it, or added the user to it, and the user has not accepted that (see [`Client::accept`]).
    pub request: bool,
}

impl Client {
    /// The direct conversation with a user, made if there is none.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn open_direct(&self, user: &UserId) -> Result<ConversationId, Error> {
        let response = self.call(Call::OpenDirect(OpenDirect { user: user.to_string() })).await?;
        Ok(ConversationId::new(response.conversation))
    }

    /// This user wants to be in a conversation that a stranger has opened, or has added it to. Sending there, reacting, saying
    /// that something was read, and adding the stranger as a contact do the same. To decline, block who opened it or leave.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn accept(&self, id: ConversationId) -> Result<(), Error> {
        self.call(Call::Accept(Accept { conversation: id.get() })).await.map(drop)
    }

    /// Takes a message back: what was not delivered never is, and the others are told to forget it. For its sender, for two
    /// days unless the server is set otherwise, and for admins of a group.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn recall(&self, id: ConversationId, sequence: Seq) -> Result<(), Error> {
        let call = Recall { conversation: id.get(), sequence: sequence.get() };
        self.call(Call::Recall(call)).await.map(drop)
    }

    /// Gives a message another body. For its sender, within the same time.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn edit(&self, id: ConversationId, sequence: Seq, body: impl Into<Bytes>) -> Result<(), Error> {
        #[cfg(feature = "e2ee")]
        let call = self.edit_call(id, sequence, body.into()).await?;
        #[cfg(not(feature = "e2ee"))]
        let call = client::Edit { conversation: id.get(), sequence: sequence.get(), body: body.into(), mls_epoch: 0 };
        self.call(Call::Edit(call)).await.map(drop)
    }

    /// Reacts to a message in up to 32 bytes, instead of how this user did before; with nothing, no more.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn react(&self, id: ConversationId, sequence: Seq, reaction: &str) -> Result<(), Error> {
        #[cfg(feature = "e2ee")]
        let call = self.react_call(id, sequence, reaction).await?;
        #[cfg(not(feature = "e2ee"))]
        let call = client::React {
            conversation: id.get(),
            sequence: sequence.get(),
            reaction: reaction.to_owned(),
            ..Default::default()
        };
        self.call(Call::React(call)).await.map(drop)
    }

    /// Says how long what is sent from now on is kept: days of history (`None`: as the server does), and after which time
    /// messages vanish everywhere (whole seconds; `None`: they do not). For both sides of a direct conversation, owner and
    /// admins of a group.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn set_retention(
        &self,
        id: ConversationId,
        history_days: Option<u32>,
        expires_in: Option<Duration>,
    ) -> Result<(), Error> {
        let retention = Retention {
            history_days_plus_one: history_days.map_or(0, |days| days.saturating_add(1)),
            expires_in_s: expires_in.map_or(0, lifetime_s),
        };
        let call = SetRetention { conversation: id.get(), retention: Some(retention) };
        self.call(Call::SetRetention(call)).await.map(drop)
    }

    /// Everything so far is gone for this user, on all its devices, and counts as read. The others keep theirs, and what
    /// this device has in its store stays until [`Self::forget`].
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn delete_conversation(&self, id: ConversationId) -> Result<(), Error> {
        self.call(Call::DeleteConversation(DeleteConversation { conversation: id.get() })).await.map(drop)
    }

    /// What the server keeps of a conversation. Nothing of it gets into this device's store; see [`Self::load_older`].
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn history(&self, id: ConversationId, range: PageRange) -> Result<ResultPage<Past, Seq>, Error> {
        let PageRange { before, after, oldest_first, limit } = range;
        let (before, after) = (before.get(), after.get());
        let call = GetHistory { conversation: id.get(), before, after, oldest_first, limit };
        let response = self.call(Call::GetHistory(call)).await?;
        let next = Some(response.next).filter(|next| *next > 0).map(Seq::new);
        Ok(ResultPage { items: response.history.into_iter().filter_map(past).collect(), next })
    }

    /// Brings messages before the oldest one that this device has into its store, a page of them, as far as the server keeps
    /// them. [`Self::messages`] has them when it returns; they are no events. Whether there may be more.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn load_older(&self, id: ConversationId) -> Result<bool, Error> {
        let oldest = self.shared().ledger.call(move |it| it.oldest(id)).await?;
        let mut before = oldest.unwrap_or_default().get();
        // Some pages hold nothing but changes.
        for _ in 0..FILL_PAGES_MAX {
            let call = GetHistory { conversation: id.get(), before, limit: FILL_PAGE, ..GetHistory::default() };
            let response = self.call(Call::GetHistory(call)).await?;
            let (history, now_s) = (response.history, now_s());
            let found = self.shared().ledger.call(move |it| it.keep_past(id, history, now_s)).await?;
            if found > 0 {
                self.shared().changed();
            }
            // A server that does not come nearer to the beginning would be asked for ever.
            if response.next == 0 || before > 0 && response.next >= before {
                return Ok(false);
            }
            if found > 0 {
                return Ok(true);
            }
            before = response.next;
        }
        Ok(true)
    }

    /// The user's conversations behind this one, by number, as the server knows them. [`Self::conversations`] are those
    /// that this device has heard of.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn all_conversations(
        &self,
        after: Option<ConversationId>,
    ) -> Result<ResultPage<Summary, ConversationId>, Error> {
        let after = after.map_or(0, ConversationId::get);
        let response = self.call(Call::ListConversations(ListConversations { after, limit: 0 })).await?;
        let next = Some(response.next).filter(|next| *next > 0).map(ConversationId::new);
        Ok(ResultPage { items: response.conversations.into_iter().map(summary).collect(), next })
    }
}

fn past(event: client::Event) -> Option<Past> {
    if let Some(event::Event::Message(message)) = event.event {
        return Some(Past::Message(PastMessage {
            sequence: Seq::new(message.sequence),
            sender: Ordinal::new(message.sender),
            at: SystemTime::now().checked_sub(Duration::from_secs(message.age_s)).unwrap_or(SystemTime::UNIX_EPOCH),
            body: message.body,
            media: media::told(message.media),
            reply_to: Seq::unless_zero(message.reply_to),
            edited: message.edited,
            recalled: message.recalled,
            reactions: message.reactions.into_iter().map(|it| (Ordinal::new(it.member), it.reaction)).collect(),
            properties: message.properties.map(|it| (*it).into()),
        }));
    }
    match wire::InboxEvent::parse(event.encode_to_vec().into()).ok()? {
        wire::InboxEvent::Changed { sequence, by, change, .. } => Some(Past::Changed { sequence, by, change }),
        _ => None,
    }
}

fn summary(summary: client::Summary) -> Summary {
    let description = summary.description.unwrap_or_default();
    Summary {
        id: ConversationId::new(summary.conversation),
        group: description.group,
        title: description.title,
        members: description.members.into_iter().filter_map(|member| wire::parse_member(member).ok()).collect(),
        last_sequence: Seq::new(summary.last_sequence),
        last: summary.last.and_then(past),
        unread: summary.unread,
        read_up_to: Seq::new(summary.read_up_to),
        request: description.request,
    }
}
