//! The client's memory: what was sent and how far it is, what was received and what the app has confirmed. Everything
//! that must survive the app is decided here, in jobs that run one after another and are committed before anybody is
//! told (`thread`). No network, no clock.
//!
//! - `outbound`: sends, from the call to the last tick.
//! - `identity`: this device's keys for end-to-end encryption, and who other users are by theirs.
//! - `inbound`: what the server delivered, each thing once; the events that wait for the app.
//! - `files`: files that are to be sent, until their message is in the outbox.
//! - `amend`: what happens to messages that are here: edited, taken back, reacted to.
//! - `unread`: how many messages this user has not read.
//! - `fill`: what a device that is new fetches of what was before it.
//! - `groups`, `sealed`, `vault`: encrypted conversations: their groups, what is sealed and opened, and keys of earlier epochs.
//! - `gaps`: what did not come, until it has been looked for.
//! - `passwords`: what the device is let in with.
//! - `queries`: what an app asks.
//! - `secret`: names that nobody can guess.
//! - `unplaced`: sends whose conversation is not known yet.
//! - `origin`: which server the store is of, and what a restored one has forgotten.
//! - `sequence`: which places of a conversation are accounted for.

mod amend;
#[cfg(feature = "media")]
pub(crate) mod files;
mod fill;
mod gaps;
#[cfg(feature = "e2ee")]
pub(crate) mod groups;
#[cfg(feature = "e2ee")]
pub(crate) mod identity;
mod inbound;
mod keys;
mod origin;
mod outbound;
mod passwords;
mod queries;
mod record;
#[cfg(feature = "e2ee")]
mod sealed;
#[cfg(feature = "media")]
mod secret;
mod sequence;
#[cfg(test)]
mod tests;
pub(crate) mod thread;
mod unplaced;
mod unread;
#[cfg(feature = "e2ee")]
mod vault;

use std::collections::BTreeSet;

use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};

use self::record::{
    FailureRecord, InboxRecord, KnownConversationRecord, MessageRecord, PlaceRecord, UnconfirmedEvent,
    UnplacedSendRecord,
};
use self::sequence::{SequenceTracker, UnplacedSend};
use crate::error::{Error, FileFailure};
use crate::send::{SendId, refusal};
use crate::store::{LocalStore, LocalStoreError};

pub(crate) use self::fill::{HistoryFill, PAGE as FILL_PAGE, PAGES_MAX as FILL_PAGES_MAX};
pub(crate) use self::gaps::Gap;
pub(crate) use self::inbound::Received;
pub(crate) use self::origin::{RestoreFindings, ServerIdentity};
pub(crate) use self::outbound::UnansweredSend;
#[cfg(feature = "media")]
pub(crate) use self::outbound::parts as recipient_parts;
pub use self::queries::PendingSend;
pub(crate) use self::unplaced::phone_hash;

/// What is subscribed to, each with what comes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Subscribed {
    #[default]
    Nothing,
    /// Events and responses.
    Inbox,
    /// What others do right now.
    Live,
}

/// Stored for [`Subscribed::Live`].
const LIVE: &[u8] = b"live";
/// Sends that an app without an archive can still ask about.
const SENT_KEPT: u64 = 1_000;

/// What an empty store begins with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Beginning {
    /// Sends are numbered from here on.
    pub(crate) after: u64,
    /// The name of the count that these numbers are of: one that no earlier store of this device has used.
    pub(crate) counter: u64,
}

/// The client's durable state on a store, and every decision about it.
pub(crate) struct Ledger {
    store: Box<dyn LocalStore>,
    me: UserId,
    /// See [`Beginning`]; 0: a store from before counts had names.
    counter: u64,
    /// Messages are kept when the app has confirmed them.
    archive: bool,
    /// There are gaps that nobody has been told of.
    has_new_gaps: bool,
    /// There is more history to ask for than was.
    has_new_fills: bool,
    /// There are sends to phone numbers of which nobody has asked whose they are.
    has_new_phones: bool,
    /// More of the outbox may be sent than before, or there is something to do about groups.
    #[cfg(feature = "e2ee")]
    has_new_epochs: bool,
    /// Of this opening of the store: see `godwit_e2ee::content::Number`.
    #[cfg(feature = "e2ee")]
    opened: godwit_e2ee::content::OpenedStore,
}

impl Ledger {
    /// Takes a store over, or begins one.
    pub(crate) fn open(
        store: Box<dyn LocalStore>,
        user: &UserId,
        device: &str,
        archive: bool,
        beginning: Beginning,
    ) -> Result<Self, Error> {
        let (me, counter, has_new_gaps, has_new_fills, has_new_phones) = (user.clone(), 0, false, false, false);
        let mut ledger = Self {
            store,
            me,
            counter,
            archive,
            has_new_gaps,
            has_new_fills,
            has_new_phones,
            #[cfg(feature = "e2ee")]
            has_new_epochs: false,
            #[cfg(feature = "e2ee")]
            opened: godwit_e2ee::content::OpenedStore::draw()
                .map_err(|error| LocalStoreError::new("draw random bytes", error))?,
        };
        let owner = format!("{user}/{device}");
        match ledger.store.get(keys::OWNER)? {
            Some(stored) if stored != owner.as_bytes() => {
                return Err(Error::Owner { owner: String::from_utf8_lossy(&stored).into_owned() });
            }
            Some(_) => {}
            None => {
                ledger.store.put(keys::OWNER, owner.as_bytes())?;
                ledger.set_number(keys::LAST_SEND, beginning.after)?;
                ledger.set_number(keys::COUNTER, beginning.counter)?;
                ledger.set_number(keys::LISTED, 0)?;
                ledger.store.commit()?;
            }
        }
        ledger.counter = ledger.number(keys::COUNTER)?;
        Ok(ledger)
    }

    pub(crate) fn commit(&mut self) -> Result<(), LocalStoreError> {
        self.store.commit()
    }

    pub(crate) fn rollback(&mut self) -> Result<(), LocalStoreError> {
        self.store.rollback()
    }

    /// What the server's session was told that this device wants.
    pub(crate) fn subscribed(&mut self) -> Result<Subscribed, LocalStoreError> {
        Ok(match self.store.get(keys::SUBSCRIBED)? {
            None => Subscribed::Nothing,
            Some(stored) if stored == LIVE => Subscribed::Live,
            Some(_) => Subscribed::Inbox,
        })
    }

    /// See [`Self::subscribed`].
    pub(crate) fn set_subscribed(&mut self, subscribed: Subscribed) -> Result<(), LocalStoreError> {
        match subscribed {
            Subscribed::Nothing => self.store.delete(keys::SUBSCRIBED),
            Subscribed::Inbox => self.store.put(keys::SUBSCRIBED, b""),
            Subscribed::Live => self.store.put(keys::SUBSCRIBED, LIVE),
        }
    }

    fn number(&mut self, key: &[u8]) -> Result<u64, LocalStoreError> {
        let value = self.store.get(key)?;
        Ok(value.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    fn set_number(&mut self, key: &[u8], number: u64) -> Result<(), LocalStoreError> {
        self.store.put(key, &number.to_be_bytes())
    }

    fn record<R: prost::Message + Default>(&mut self, key: &[u8]) -> Result<Option<R>, LocalStoreError> {
        self.store.get(key)?.map(|value| decoded(&value)).transpose()
    }

    fn put(&mut self, key: &[u8], record: &impl prost::Message) -> Result<(), LocalStoreError> {
        self.store.put(key, &record.encode_to_vec())
    }

    fn conversation_record(&mut self, id: ConversationId) -> Result<KnownConversationRecord, LocalStoreError> {
        Ok(self.record(&keys::conversation(id))?.unwrap_or_default())
    }

    /// An event for the app.
    fn tell(&mut self, waiting: UnconfirmedEvent) -> Result<u64, LocalStoreError> {
        self.tell_record(&InboxRecord { waiting: Some(waiting), checked: true })
    }

    fn tell_record(&mut self, record: &InboxRecord) -> Result<u64, LocalStoreError> {
        let id = self.number(keys::LAST_EVENT)? + 1;
        self.set_number(keys::LAST_EVENT, id)?;
        self.put(&keys::numbered(keys::INBOX, id), record)?;
        Ok(id)
    }

    /// Gives places to unplaced sends, and has what is missing looked for. Returns the sends.
    fn settle(
        &mut self,
        id: ConversationId,
        conversation: &mut KnownConversationRecord,
    ) -> Result<Vec<SendId>, LocalStoreError> {
        let mut tracker = tracker_of(conversation);
        let known = conversation.unplaced.iter();
        let mut unplaced: Vec<_> =
            known.map(|send| UnplacedSend { id: send.id, above: send.above, below: send.below }).collect();
        let waiting = self.has_unanswered(id, conversation)?;
        let settled = tracker.settle(&mut unplaced, waiting);
        keep_tracker(conversation, tracker);
        let left = unplaced.iter();
        conversation.unplaced =
            left.map(|send| UnplacedSendRecord { id: send.id, above: send.above, below: send.below }).collect();
        for (first, last) in settled.missing {
            self.look_for(Gap { conversation: id, first: Seq::new(first), last: Seq::new(last) })?;
        }
        let mut placed = Vec::new();
        for (send, place) in settled.placed {
            self.place(SendId::new(send), id, Seq::new(place), conversation)?;
            placed.push(SendId::new(send));
        }
        Ok(placed)
    }

    /// A send of this device stands at this place.
    fn place(
        &mut self,
        send: SendId,
        id: ConversationId,
        at: Seq,
        conversation: &mut KnownConversationRecord,
    ) -> Result<(), LocalStoreError> {
        conversation.last_own = conversation.last_own.max(at.get());
        let Some(mut sent) = self.record::<record::SentRecord>(&keys::sent(send))? else { return Ok(()) };
        (sent.conversation, sent.sequence) = (id.get(), at.get());
        let (body, media) = (std::mem::take(&mut sent.body), std::mem::take(&mut sent.media));
        self.put(&keys::sent(send), &sent)?;
        if self.archive {
            let sender = conversation.members.iter().find(|member| member.user == self.me.as_str());
            let sender = sender.map_or(0, |member| member.ordinal);
            let (at_s, reply_to) = (sent.queued_at_s, sent.reply_to);
            let send = send.get();
            let message = MessageRecord { sender, at_s, body, send, reply_to, media, ..Default::default() };
            self.put(&keys::message(id, at), &message)?;
        }
        conversation.last_message = conversation.last_message.max(at.get());
        Ok(())
    }
}

/// Reads a stored value.
fn decoded<R: prost::Message + Default>(value: &[u8]) -> Result<R, LocalStoreError> {
    R::decode(value).map_err(|error| LocalStoreError::new("read a damaged record", error))
}

fn tracker_of(conversation: &KnownConversationRecord) -> SequenceTracker {
    SequenceTracker {
        next: conversation.next,
        seen: conversation.seen.iter().copied().collect::<BTreeSet<_>>(),
        missing: conversation.missing.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect(),
        last_received: conversation.last_received,
    }
}

fn keep_tracker(conversation: &mut KnownConversationRecord, tracker: SequenceTracker) {
    conversation.next = tracker.next;
    conversation.seen = tracker.seen.into_iter().collect();
    conversation.missing = tracker.missing.into_iter().flat_map(|(first, last)| [first, last]).collect();
    conversation.last_received = tracker.last_received;
}

fn place_of(conversation: ConversationId, sequence: u64) -> PlaceRecord {
    PlaceRecord { conversation: conversation.get(), sequence }
}

/// Why a file was not sent, as it is kept: numbers are never reused.
#[cfg(feature = "media")]
fn failure_record(failure: &FileFailure) -> FailureRecord {
    let (kind, code, text) = match failure {
        FileFailure::Changed => (1, 0, ""),
        FileFailure::Gone => (2, 0, ""),
        FileFailure::Io(text) => (3, 0, text.as_str()),
        FileFailure::Refused(refusal) => (4, refusal.reason.get().into(), refusal.text.as_str()),
        FileFailure::Storage(status) => (5, (*status).into(), ""),
        FileFailure::Damaged => (6, 0, ""),
        FileFailure::Cancelled => (7, 0, ""),
        FileFailure::Exists => (8, 0, ""),
    };
    FailureRecord { kind, code, text: text.to_owned() }
}

/// The other way round.
fn failure(record: FailureRecord) -> FileFailure {
    match record.kind {
        1 => FileFailure::Changed,
        2 => FileFailure::Gone,
        4 => FileFailure::Refused(refusal(record.code, &record.text)),
        5 => FileFailure::Storage(u16::try_from(record.code).unwrap_or(0)),
        6 => FileFailure::Damaged,
        7 => FileFailure::Cancelled,
        8 => FileFailure::Exists,
        _ => FileFailure::Io(record.text),
    }
}

fn ordinal_of(place: PlaceRecord) -> Ordinal {
    Ordinal::new(u32::try_from(place.sequence).unwrap_or(u32::MAX))
}
