//! What a device that is new fetches of what was before it: this user's conversations, and of those in which something
//! happened most recently the last messages, as far as the server keeps them. The engine asks for a little at a time, beside
//! everything else, and over connections and restarts until it has all. What comes is no news: it is among the messages,
//! and no event. More of a conversation is fetched when an app wants it (`Client::load_older`).

use godwit_schemas::client::{self, Response, event};
use godwit_schemas::ids::{ConversationId, Seq};
use prost::Message as _;

use super::outbound::kept;
use super::record::{FillRecord, MessageRecord, ReactionRecord};
use super::{Ledger, decoded, keys};
use crate::store::{LocalStoreError, Scan};
use crate::wire;

/// Pages that are asked for at a time.
const AT_ONCE: usize = 2;
/// Conversations whose last messages are fetched.
const CONVERSATIONS_MAX: usize = 100;
/// Messages and changes of a page.
pub(crate) const PAGE: u32 = 50;
/// Pages of one conversation, where some hold nothing but changes.
pub(crate) const PAGES_MAX: u32 = 4;

/// What is to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HistoryFill {
    /// The conversations behind this one.
    List { after: ConversationId },
    /// A page of history, newest first; zero: from the end.
    Page { conversation: ConversationId, before: Seq },
}

impl Ledger {
    /// What is to be asked for now.
    pub(crate) fn fills(&mut self) -> Result<Vec<HistoryFill>, LocalStoreError> {
        if self.store.get(keys::LISTED)?.is_some() {
            let after = ConversationId::new(self.number(keys::LISTED)?);
            return Ok(vec![HistoryFill::List { after }]);
        }
        let (from, to) = keys::above(keys::FILLS, 0);
        let pages = self.store.scan(&from, &to, Scan::Forward, AT_ONCE)?;
        let pages = pages.into_iter().map(|(key, value)| {
            let before = Seq::new(decoded::<FillRecord>(&value)?.before);
            Ok(HistoryFill::Page { conversation: keys::filled(&key), before })
        });
        pages.collect()
    }

    /// The same, if there may be more than when it was asked last.
    pub(crate) fn new_fills(&mut self) -> Result<Vec<HistoryFill>, LocalStoreError> {
        if std::mem::take(&mut self.has_new_fills) { self.fills() } else { Ok(Vec::new()) }
    }

    /// The server's answer. If it is a refusal, the next connection asks again for a list; a page is left out.
    pub(crate) fn filled(&mut self, fill: HistoryFill, response: Response, now_s: u64) -> Result<(), LocalStoreError> {
        match fill {
            HistoryFill::List { after } => self.listed(after, response, now_s),
            HistoryFill::Page { conversation, before } => self.paged(conversation, before, response, now_s),
        }
    }

    fn listed(&mut self, after: ConversationId, response: Response, now_s: u64) -> Result<(), LocalStoreError> {
        let awaited = self.store.get(keys::LISTED)?.is_some() && self.number(keys::LISTED)? == after.get();
        if !awaited || response.reason != 0 {
            return Ok(());
        }
        for summary in response.conversations {
            self.summarized(summary, now_s)?;
        }
        self.has_new_fills = true;
        if response.next > after.get() {
            return self.set_number(keys::LISTED, response.next);
        }
        self.store.delete(keys::LISTED)?;
        let (from, to) = keys::above(keys::FILLS, 0);
        for (key, _) in self.store.scan(&from, &to, Scan::Forward, usize::MAX)?.into_iter().skip(CONVERSATIONS_MAX) {
            self.set_filling(keys::filled(&key), false)?;
            self.store.delete(&key)?;
        }
        Ok(())
    }

    fn summarized(&mut self, summary: client::Summary, now_s: u64) -> Result<(), LocalStoreError> {
        let id = ConversationId::new(summary.conversation);
        // What is known came with events, which may be newer.
        if let Some(opened) = summary.description.filter(|_| id.get() > 0)
            && !self.conversation_record(id)?.known
        {
            self.described(id, opened)?;
        }
        let mut conversation = self.conversation_record(id)?;
        if !conversation.known {
            return Ok(());
        }
        self.read_up_to(id, &mut conversation, summary.read_up_to)?;
        let has_history = summary.last.is_some();
        if let Some(event::Event::Message(last)) = summary.last.and_then(|last| last.event) {
            conversation.active_at_s = conversation.active_at_s.max(now_s.saturating_sub(last.age_s));
        }
        if has_history && self.archive {
            conversation.filling = true;
            self.put(&keys::fill(conversation.active_at_s, id), &FillRecord::default())?;
        }
        self.put(&keys::conversation(id), &conversation)
    }

    fn paged(
        &mut self,
        id: ConversationId,
        before: Seq,
        response: Response,
        now_s: u64,
    ) -> Result<(), LocalStoreError> {
        let Some((key, mut fill)) = self.fill_of(id)?.filter(|(_, fill)| fill.before == before.get()) else {
            return Ok(());
        };
        self.has_new_fills = true;
        fill.pages += 1;
        let may_go_on = fill.pages < PAGES_MAX;
        let mut conversation = self.conversation_record(id)?;
        if std::mem::take(&mut conversation.stale) && may_go_on {
            // A message of it may have been changed since.
            self.put(&keys::conversation(id), &conversation)?;
            return self.put(&key, &fill);
        }
        let next = response.next;
        let found = self.keep_past(id, response.history, now_s)?;
        if found == 0 && next > 0 && may_go_on {
            return self.put(&key, &FillRecord { before: next, ..fill });
        }
        self.store.delete(&key)?;
        self.set_filling(id, false)
    }

    fn fill_of(&mut self, id: ConversationId) -> Result<Option<(Vec<u8>, FillRecord)>, LocalStoreError> {
        let (from, to) = keys::above(keys::FILLS, 0);
        let pages = self.store.scan(&from, &to, Scan::Forward, CONVERSATIONS_MAX)?;
        let found = pages.into_iter().find(|(key, _)| keys::filled(key) == id);
        found.map(|(key, value)| Ok((key, decoded(&value)?))).transpose()
    }

    fn set_filling(&mut self, id: ConversationId, filling: bool) -> Result<(), LocalStoreError> {
        let mut conversation = self.conversation_record(id)?;
        (conversation.filling, conversation.stale) = (filling, false);
        self.put(&keys::conversation(id), &conversation)
    }

    /// The place of the oldest message that is kept; `None`: there is none.
    pub(crate) fn oldest(&mut self, id: ConversationId) -> Result<Option<Seq>, LocalStoreError> {
        let (from, to) = (keys::message(id, Seq::default()), keys::message(id, Seq::new(u64::MAX)));
        let oldest = self.store.scan(&from, &to, Scan::Forward, 1)?;
        Ok(oldest.first().map(|(key, _)| keys::sequence(key)))
    }

    /// Keeps messages of history that are not here. Returns how many there were, here before or not.
    pub(crate) fn keep_past(
        &mut self,
        id: ConversationId,
        history: Vec<client::Event>,
        now_s: u64,
    ) -> Result<usize, LocalStoreError> {
        let mut conversation = self.conversation_record(id)?;
        let (mut found, mut newest, mut at_s) = (0, 0, 0);
        for event in history {
            #[cfg_attr(not(feature = "e2ee"), allow(unused_mut, reason = "it is opened"))]
            let Some((sequence, mut message)) = past(id, event, now_s, conversation.last_received) else { continue };
            found += 1;
            (newest, at_s) = (newest.max(sequence.get()), at_s.max(message.at_s));
            let key = keys::message(id, sequence);
            if self.store.get(&key)?.is_none() {
                #[cfg(feature = "e2ee")]
                self.past_message((id, sequence), &mut message, &conversation)?;
                self.put(&key, &message)?;
            }
        }
        conversation.last_message = conversation.last_message.max(newest);
        conversation.active_at_s = conversation.active_at_s.max(at_s);
        conversation.unread = None;
        self.put(&keys::conversation(id), &conversation)?;
        Ok(found)
    }
}

/// A message of this conversation, as history has it: with all changes at least up to `changed_up_to`, which was the last
/// that this device had received.
pub(super) fn past(
    id: ConversationId,
    event: client::Event,
    now_s: u64,
    changed_up_to: u64,
) -> Option<(Seq, MessageRecord)> {
    let Some(event::Event::Message(message)) = &event.event else { return None };
    let (edited, recalled) = (message.edited, message.recalled);
    let reactions = message.reactions.iter().map(|it| {
        let (member, reaction) = (it.member, it.reaction.clone());
        ReactionRecord { member, reaction, at: changed_up_to, sealed: it.sealed.clone(), mls_epoch: it.mls_epoch }
    });
    let reactions = reactions.collect();
    match wire::InboxEvent::parse(event.encode_to_vec().into()).ok()? {
        wire::InboxEvent::Message {
            conversation,
            sequence,
            sender,
            age_s,
            body,
            reply_to,
            media,
            properties,
            mls_epoch,
            silent,
            mentions,
        } if conversation == id && sequence.get() > 0 => {
            let (sender, at_s) = (sender.get(), now_s.saturating_sub(age_s));
            let (reply_to, media) = (reply_to.map_or(0, Seq::get), kept(media));
            let (send, edited_at) = (0, if edited { changed_up_to } else { 0 });
            let properties = properties.map(|it| Box::new((*it).into()));
            let message = MessageRecord {
                sender,
                at_s,
                body,
                send,
                reply_to,
                edited,
                recalled,
                media,
                edited_at,
                reactions,
                properties,
                mls_epoch,
                sealed: false,
                silent,
                mentions,
            };
            Some((sequence, message))
        }
        _ => None,
    }
}
