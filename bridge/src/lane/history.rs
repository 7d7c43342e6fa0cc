//! A user's conversations and their history, read from the store as it is: what was committed when the call came.

use std::collections::BTreeMap;

use godwit_core::conversation::{Conversation, Member};
use godwit_core::decide::opened;
use godwit_core::entry::Entry;
use godwit_core::record::{ConversationRecord, StateRecord};
use godwit_core::retention::{History, Policy};
use godwit_schemas::bus::Bus;
use godwit_schemas::client::{self, event};
use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};
use godwit_schemas::reason::Reason;

use super::Lane;
use super::account::Refused;
use super::read::decoded;
use crate::store::keys::OfMessage;
use crate::store::{EXPIRY_BYTES, Row, Store, StoreError, Table, keys};

/// Most items of a page.
const PAGE_MAX: usize = 100;
/// Ranges of sequences looked into for one page, where most are empty.
const RANGES_MAX: usize = 16;

const NO_CONVERSATION: Refused = (Reason::TOPIC_NAME_INVALID, "no such conversation");
const NO_MEMBER: Refused = (Reason::NOT_AUTHORIZED, "not a member of this conversation");

impl<S: Store, B: Bus> Lane<S, B> {
    pub(super) async fn list_conversations(
        &mut self,
        user: &UserId,
        call: &client::ListConversations,
    ) -> Result<client::Response, StoreError> {
        let limit = page(call.limit);
        let (_, to) = keys::memberships(user);
        let (_, from) = keys::membership(user, ConversationId::new(call.after.saturating_add(1)));
        let rows = self.store.scan(Table::Conversations, &from, &to, limit, usize::MAX).await?;
        let ids: Vec<_> = rows.iter().filter_map(|(key, _)| keys::parse_membership(key)).collect();
        let next = ids.last().filter(|_| rows.len() == limit).map_or(0, |last| last.get());
        let conversations: Vec<_> = self.stored(&ids).await?.into_iter().flatten().collect();
        let places = conversations.iter().map(|conversation| keys::message(conversation.id, conversation.last_seq));
        let last = self.store.multi_get(&places.collect::<Vec<_>>()).await?;
        let mut summaries = Vec::with_capacity(conversations.len());
        for (conversation, last) in conversations.iter().zip(last) {
            let Some(member) = conversation.member(user) else { continue };
            let view = View::new(conversation, member, self.rules.history, self.now_s);
            if member.hidden < conversation.last_seq {
                summaries.push(view.summary(last.and_then(|value| Entry::decode(value).ok())));
            }
        }
        Ok(client::Response { conversations: summaries, next, ..Default::default() })
    }

    pub(super) async fn get_history(
        &mut self,
        user: &UserId,
        call: &client::GetHistory,
    ) -> Result<Result<client::Response, Refused>, StoreError> {
        let id = ConversationId::new(call.conversation);
        let Some(conversation) = self.stored(&[id]).await?.pop().flatten() else { return Ok(Err(NO_CONVERSATION)) };
        let Some(member) = conversation.member(user) else { return Ok(Err(NO_MEMBER)) };
        let view = View::new(&conversation, member, self.rules.history, self.now_s);
        let limit = page(call.limit);
        // What is left to look at: above `low`, below `high`.
        let last = conversation.last_seq.get() + 1;
        let mut low = call.after.max(conversation.floor(member).get()).min(last);
        let mut high = if call.before == 0 { last } else { call.before.min(last) };
        let mut events = Vec::new();
        for _ in 0..RANGES_MAX {
            if events.len() >= limit || high <= low + 1 || view.history == History::None {
                break;
            }
            let width = (limit - events.len()) as u64;
            let range = if call.oldest_first {
                (low + 1)..high.min((low + 1).saturating_add(width))
            } else {
                high.saturating_sub(width).max(low + 1)..high
            };
            let (_, from) = keys::message(id, Seq::new(range.start));
            let (_, to) = keys::message(id, Seq::new(range.end));
            let mut found = view.events(self.store.scan(Table::Messages, &from, &to, usize::MAX, usize::MAX).await?);
            if call.oldest_first {
                low = range.end - 1;
            } else {
                found.reverse();
                high = range.start;
            }
            events.extend(found);
        }
        let more = view.history != History::None && high > low + 1;
        let next = match (more, call.oldest_first) {
            (false, _) => 0,
            (true, true) => low,
            (true, false) => high,
        };
        Ok(Ok(client::Response { conversation: id.get(), history: events, next, ..Default::default() }))
    }

    /// Conversations as they are on disk.
    pub(super) async fn stored(&mut self, ids: &[ConversationId]) -> Result<Vec<Option<Conversation>>, StoreError> {
        let keys: Vec<_> = ids.iter().flat_map(|id| [keys::conversation(*id), keys::state(*id)]).collect();
        let found = self.store.multi_get(&keys).await?;
        let conversations = ids.iter().zip(found.chunks(2)).map(|(id, found)| {
            let [Some(record), Some(state)] = found else { return None };
            let record = decoded::<ConversationRecord>("conversation", id, record)?;
            Conversation::from_records(*id, &record, &decoded::<StateRecord>("state", id, state)?)
        });
        Ok(conversations.collect())
    }
}

fn page(limit: u32) -> usize {
    if limit == 0 { PAGE_MAX } else { (limit as usize).min(PAGE_MAX) }
}

/// A conversation as one of its members sees it now.
struct View<'a> {
    conversation: &'a Conversation,
    member: &'a Member,
    history: History,
    now_s: u32,
}

impl<'a> View<'a> {
    fn new(conversation: &'a Conversation, member: &'a Member, server: Policy, now_s: u32) -> Self {
        Self { conversation, member, history: conversation.retention.history(server), now_s }
    }

    fn shows(&self, entry: &Entry) -> bool {
        entry.sequence > self.conversation.floor(self.member)
            && self.history.holds(entry.stored_at_s, self.now_s)
            && (!entry.unseen || entry.sender == self.member.ordinal)
    }

    /// The rows of a range of sequences, in order.
    fn events(&self, rows: Vec<Row>) -> Vec<client::Event> {
        let mut events = BTreeMap::new();
        for (key, value) in rows {
            match keys::parse_of_message(&key) {
                Some((sequence, OfMessage::Entry)) => {
                    let entry = Entry::decode(value).ok().filter(|entry| self.shows(entry));
                    events.extend(entry.and_then(|entry| entry.seen(self.now_s)).map(|event| (sequence, event)));
                }
                Some((sequence, OfMessage::Reaction(member))) => {
                    // Reactions sort behind their message.
                    if let Some(event::Event::Message(message)) = events.get_mut(&sequence) {
                        message.reactions.extend(reaction(member, &value));
                    }
                }
                Some((_, OfMessage::Holders)) | None => {}
            }
        }
        events.into_values().map(|event| client::Event { event: Some(event) }).collect()
    }

    fn summary(&self, last: Option<Entry>) -> client::Summary {
        let last = last.filter(|entry| self.shows(entry)).and_then(|entry| entry.seen(self.now_s));
        client::Summary {
            conversation: self.conversation.id.get(),
            description: Some(opened(self.conversation)),
            last_sequence: self.conversation.last_seq.get(),
            last: last.map(|event| client::Event { event: Some(event) }),
            unread: self.member.unread,
            read_up_to: self.member.watermark.read.get(),
        }
    }
}

fn reaction(member: Ordinal, value: &[u8]) -> Option<client::Reaction> {
    let reaction = String::from_utf8(value.get(EXPIRY_BYTES..)?.to_vec()).ok()?;
    Some(client::Reaction { member: member.get(), reaction })
}
