//! What an app asks of this device's own store, and what it has read.

use std::time::{Duration, UNIX_EPOCH};

use godwit_schemas::client::{self, Role};
use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};

use super::record::{KnownConversationRecord, OutRecord, SentRecord, UnroutedSendsRecord};
use super::{Ledger, decoded, keys, outbound};
use crate::conversation::{Conversation, Member};
use crate::event::Message;
use crate::media::{Media, told};
use crate::send::{Recipient, SendId, SendState};
use crate::store::{LocalStoreError, Scan};

/// A send that has no place in its conversation yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingSend {
    /// Its number.
    pub id: SendId,
    /// Whom it is for.
    pub to: Recipient,
    /// What it says.
    pub body: bytes::Bytes,
    /// Files that it refers to.
    pub media: Vec<Media>,
    /// When the app sent it.
    pub queued_at: std::time::SystemTime,
    /// Queued, or sent.
    pub state: SendState,
}

impl Ledger {
    /// All conversations, the one in which something happened last first.
    pub(crate) fn conversations(&mut self) -> Result<Vec<Conversation>, LocalStoreError> {
        let (from, to) = keys::above(keys::CONVERSATIONS, 0);
        let pairs = self.store.scan(&from, &to, Scan::Forward, usize::MAX)?;
        let found = pairs
            .into_iter()
            .map(|(key, value)| self.as_seen(ConversationId::new(keys::number(&key)), decoded(&value)?));
        let mut found = found.collect::<Result<Vec<_>, LocalStoreError>>()?;
        found.sort_by_key(|it| std::cmp::Reverse((it.active_at, it.id)));
        Ok(found)
    }

    /// One of them.
    pub(crate) fn conversation(&mut self, id: ConversationId) -> Result<Option<Conversation>, LocalStoreError> {
        let record = self.record(&keys::conversation(id))?;
        record.map(|record| self.as_seen(id, record)).transpose()
    }

    /// A conversation as the app sees it.
    fn as_seen(
        &mut self,
        id: ConversationId,
        mut record: KnownConversationRecord,
    ) -> Result<Conversation, LocalStoreError> {
        let unread = self.unread(id, &mut record)?;
        let newest = Seq::new(record.last_message);
        let last = self.record(&keys::message(id, newest))?.map(|last| self.message(id, newest, last, &record));
        #[cfg(feature = "e2ee")]
        let encrypted = self.is_encrypted(id)?;
        #[cfg(not(feature = "e2ee"))]
        let encrypted = false;
        Ok(Conversation { unread, last, encrypted, ..conversation(id, record) })
    }

    /// Conversations whose members are not known.
    pub(crate) fn unknown(&mut self) -> Result<Vec<ConversationId>, LocalStoreError> {
        let (from, to) = keys::above(keys::CONVERSATIONS, 0);
        let mut unknown = Vec::new();
        for (key, value) in self.store.scan(&from, &to, Scan::Forward, usize::MAX)? {
            if decoded::<KnownConversationRecord>(&value)?.members.is_empty() {
                unknown.push(ConversationId::new(keys::number(&key)));
            }
        }
        Ok(unknown)
    }

    /// The newest messages below `before`, oldest first, each with its state if this device sent it.
    pub(crate) fn messages(
        &mut self,
        id: ConversationId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Vec<(Message, Option<SendState>)>, LocalStoreError> {
        let conversation = self.conversation_record(id)?;
        let to = keys::message(id, before.unwrap_or(Seq::new(u64::MAX)));
        let pairs = self.store.scan(&keys::message(id, Seq::default()), &to, Scan::Backward, limit)?;
        let messages = pairs.into_iter().rev().map(|(key, value)| {
            let sequence = keys::sequence(&key);
            let message = self.message(id, sequence, decoded(&value)?, &conversation);
            let state = message.send.map(|_| outbound::ticks(&conversation, &self.me, (id, sequence)));
            Ok((message, state))
        });
        messages.collect()
    }

    /// Sends to this recipient that have no place yet, oldest first.
    pub(crate) fn pending(&mut self, to: &Recipient) -> Result<Vec<PendingSend>, LocalStoreError> {
        let id = match to {
            Recipient::Conversation(id) => Some(*id),
            Recipient::User(user) => self.direct(user)?,
            Recipient::Phone(_) => None,
        };
        let mut pending = Vec::new();
        let unplaced = id.map(|id| self.conversation_record(id)).transpose()?.unwrap_or_default().unplaced;
        let unrouted: Option<UnroutedSendsRecord> = match to {
            Recipient::User(user) => self.record(&keys::unrouted(user))?,
            Recipient::Phone(number) => self.record(&keys::unrouted_phone(&number.to_string()))?,
            Recipient::Conversation(_) => None,
        };
        let sends = unrouted.into_iter().flat_map(|it| it.sends).chain(unplaced.into_iter().map(|send| send.id));
        for send in sends {
            if let Some(sent) = self.record::<SentRecord>(&keys::sent(SendId::new(send)))? {
                let state = SendState::Sent { at: None };
                pending.push(pending_send(send, to, (sent.body, sent.media), sent.queued_at_s, state));
            }
        }
        let (from, end) = keys::above(keys::OUTBOX, 0);
        for (key, value) in self.store.scan(&from, &end, Scan::Forward, usize::MAX)? {
            let out = decoded::<OutRecord>(&value)?;
            let target = outbound::recipient(&out.user, &out.phone, out.conversation);
            let same = match &target {
                Recipient::User(user) if target != *to => id.is_some() && self.direct(user)? == id,
                Recipient::Conversation(target) => Some(*target) == id,
                Recipient::User(_) => true,
                Recipient::Phone(_) => target == *to,
            };
            if same {
                let number = keys::number(&key);
                pending.push(pending_send(number, to, (out.body, out.media), out.queued_at_s, SendState::Queued));
            }
        }
        Ok(pending)
    }

    /// The user has read up to here; told to the server when there is a connection. Returns whether that is news.
    pub(crate) fn mark_read(&mut self, id: ConversationId, up_to: Seq) -> Result<bool, LocalStoreError> {
        let mut conversation = self.conversation_record(id)?;
        if up_to.get() <= conversation.read {
            return Ok(false);
        }
        self.read_up_to(id, &mut conversation, up_to.get())?;
        self.put(&keys::conversation(id), &conversation)?;
        self.set_number(&keys::read(id), up_to.get())?;
        Ok(true)
    }

    /// What was read and not told to the server.
    pub(crate) fn untold_reads(&mut self) -> Result<Vec<(ConversationId, Seq)>, LocalStoreError> {
        let (from, to) = keys::above(keys::READ, 0);
        let pairs = self.store.scan(&from, &to, Scan::Forward, usize::MAX)?;
        let read = pairs.into_iter().map(|(key, value)| {
            let up_to = value.try_into().map_or(0, u64::from_be_bytes);
            (ConversationId::new(keys::number(&key)), Seq::new(up_to))
        });
        Ok(read.collect())
    }

    /// The server knows that the user has read up to here.
    pub(crate) fn read_told(&mut self, id: ConversationId, up_to: Seq) -> Result<(), LocalStoreError> {
        if self.number(&keys::read(id))? <= up_to.get() {
            self.store.delete(&keys::read(id))?;
        }
        Ok(())
    }

    /// Forgets messages up to here.
    pub(crate) fn forget(&mut self, id: ConversationId, up_to: Seq) -> Result<(), LocalStoreError> {
        let (from, to) = (keys::message(id, Seq::default()), keys::message(id, Seq::new(up_to.get() + 1)));
        for (key, value) in self.store.scan(&from, &to, Scan::Forward, usize::MAX)? {
            let send = decoded::<super::MessageRecord>(&value)?.send;
            if send > 0 {
                self.store.delete(&keys::sent(SendId::new(send)))?;
            }
            self.store.delete(&key)?;
        }
        if let Some(mut it) = self.record::<KnownConversationRecord>(&keys::conversation(id))? {
            it.unread = None;
            self.put(&keys::conversation(id), &it)?;
        }
        Ok(())
    }
}

fn pending_send(
    id: u64,
    to: &Recipient,
    (body, media): (bytes::Bytes, Vec<client::Media>),
    queued_at_s: u64,
    state: SendState,
) -> PendingSend {
    let queued_at = UNIX_EPOCH + Duration::from_secs(queued_at_s);
    PendingSend { id: SendId::new(id), to: to.clone(), body, media: told(media), queued_at, state }
}

fn conversation(id: ConversationId, record: KnownConversationRecord) -> Conversation {
    let members = record.members.into_iter().filter_map(|member| {
        Some(Member {
            ordinal: Ordinal::new(member.ordinal),
            user: UserId::new(&member.user).ok()?,
            role: Role::try_from(member.role).unwrap_or_default(),
            present: !member.gone,
            delivered_up_to: Seq::new(member.delivered),
            read_up_to: Seq::new(member.read),
        })
    });
    Conversation {
        id,
        group: record.group,
        title: record.title,
        encrypted: false,
        members: members.collect(),
        read_up_to: Seq::new(record.read),
        unread: record.unread.unwrap_or_default(),
        last_message: Seq::new(record.last_message),
        last: None,
        active_at: UNIX_EPOCH + Duration::from_secs(record.active_at_s),
    }
}
