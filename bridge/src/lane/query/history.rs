//! A user's conversations and their history, read from the store as it is: what is committed when the call has its turn, a
//! slice after the other.

use std::collections::BTreeMap;

use bytes::Bytes;
use godwit_core::conversation::{Conversation, Member};
use godwit_core::decide::described;
use godwit_core::entry::Entry;
use godwit_core::reaction::StoredReaction;
use godwit_core::recent::Sent;
use godwit_core::refusal;
use godwit_core::retention::{History, Policy};
use godwit_core::stored::{ConversationRecord, StateRecord};
use godwit_schemas::client::{self, event};
use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};

use crate::lane::context::Context;
use crate::lane::query::page::{AnswerRoom, PageBuilder, ReadAnswer, TooLarge};
use godwit_store::keys::MessageRowKind;
use godwit_store::record::decoded;
use godwit_store::{EXPIRY_BYTES, Row, RowPage, Store, StoreError, Table, keys};

/// Most items of a page.
pub(crate) const PAGE_MAX: usize = 100;
/// Conversations of a list that are read in one slice.
const CONVERSATIONS: usize = 8;
/// Rows of history that are read in one slice, and about how many bytes.
pub(in crate::lane) const ROWS: usize = 256;
pub(in crate::lane) const BYTES: usize = 64 << 10;
/// Ranges of sequences looked into for one page, where most are empty.
const RANGES_MAX: usize = 24;
/// Sequences of such a range: few where all are there, since what does not fit into the page is read in vain.
const RANGE_MIN: u64 = 16;
const RANGE_MAX: u64 = 128;

/// A page of a user's conversations, as far as it is read.
pub(in crate::lane) struct Listing {
    /// The last one that was looked at.
    after: ConversationId,
    /// So many are still to be looked at.
    left: usize,
    page: PageBuilder<client::Summary>,
}

impl Listing {
    pub(in crate::lane) fn new(call: &client::ListConversations, room: AnswerRoom) -> Self {
        Self { after: ConversationId::new(call.after), left: page(call.limit), page: PageBuilder::new(room) }
    }

    fn answer(&mut self, more: bool) -> ReadAnswer {
        let page = std::mem::replace(&mut self.page, PageBuilder::new(AnswerRoom::ANY));
        let next = if more { self.after.get() } else { 0 };
        Some(Ok(client::Response { conversations: page.into_items(), next, ..Default::default() }))
    }
}

/// A page of the history of a conversation, as far as it is read. What is left to look at is above `low`, below `high`.
pub(in crate::lane) struct HistoryPage {
    call: client::GetHistory,
    conversation: Option<Conversation>,
    low: u64,
    high: u64,
    width: u64,
    ranges: usize,
    range: Option<SequenceRange>,
    page: PageBuilder<client::Event>,
}

/// Sequences that are being read, ascending.
struct SequenceRange {
    first: u64,
    end: u64,
    from: Vec<u8>,
    to: Vec<u8>,
    found: BTreeMap<Seq, event::Event>,
}

impl HistoryPage {
    pub(in crate::lane) fn new(call: client::GetHistory, room: AnswerRoom) -> Self {
        let page = PageBuilder::new(room);
        Self { call, conversation: None, low: 0, high: 0, width: RANGE_MIN, ranges: 0, range: None, page }
    }

    fn has_more(&self) -> bool {
        self.high > self.low + 1
    }

    fn is_over(&self) -> bool {
        !self.has_more() || self.page.len() >= page(self.call.limit) || self.ranges >= RANGES_MAX
    }

    fn next_range(&mut self, id: ConversationId) -> SequenceRange {
        self.ranges += 1;
        let (first, end) = if self.call.oldest_first {
            (self.low + 1, self.high.min((self.low + 1).saturating_add(self.width)))
        } else {
            (self.high.saturating_sub(self.width).max(self.low + 1), self.high)
        };
        let (_, from) = keys::message(id, Seq::new(first));
        let (_, to) = keys::message(id, Seq::new(end));
        SequenceRange { first, end, from, to, found: BTreeMap::new() }
    }

    /// A range is read. False: no more fits.
    fn take(&mut self, range: SequenceRange) -> Result<bool, TooLarge> {
        let limit = page(self.call.limit);
        if (range.found.len() as u64) * 4 < range.end - range.first {
            self.width = (self.width * 2).min(RANGE_MAX);
        }
        let mut found: Vec<_> = range.found.into_iter().collect();
        if !self.call.oldest_first {
            found.reverse();
        }
        for (sequence, event) in found {
            if self.page.len() >= limit || !self.page.take(client::Event { event: Some(event) })? {
                return Ok(false);
            }
            self.reached(sequence.get());
        }
        self.reached(if self.call.oldest_first { range.end - 1 } else { range.first });
        Ok(true)
    }

    /// The next page begins behind this sequence.
    fn reached(&mut self, sequence: u64) {
        let end = if self.call.oldest_first { &mut self.low } else { &mut self.high };
        *end = sequence;
    }

    fn answer(&mut self, id: ConversationId) -> ReadAnswer {
        let page = std::mem::replace(&mut self.page, PageBuilder::new(AnswerRoom::ANY));
        let next = match (self.has_more(), self.call.oldest_first) {
            (false, _) => 0,
            (true, true) => self.low,
            (true, false) => self.high,
        };
        Some(Ok(client::Response { conversation: id.get(), history: page.into_items(), next, ..Default::default() }))
    }
}

impl<S: Store> Context<S> {
    /// A slice of a list of conversations.
    pub(in crate::lane) async fn list_on(
        &self,
        user: &UserId,
        listing: &mut Listing,
    ) -> Result<ReadAnswer, StoreError> {
        let (_, to) = keys::memberships(user);
        let (_, from) = keys::membership(user, ConversationId::new(listing.after.get().saturating_add(1)));
        let rows_max = listing.left.min(CONVERSATIONS);
        let rows = self.store.scan(Table::Conversations, &from, &to, rows_max, usize::MAX).await?;
        let is_last = rows.len() < rows_max;
        let ids: Vec<_> = rows.iter().filter_map(|(key, _)| keys::parse_membership(key)).collect();
        let found = self.stored(&ids).await?;
        let last = |it: &Conversation| it.member(user).map_or(it.last_seq, |member| it.last_shown(member));
        let places = found.iter().flatten().flat_map(|it| {
            let (id, last) = (it.id, last(it));
            [keys::message(id, last), keys::own_message(id, last)]
        });
        let last = self.store.multi_get(&places.collect::<Vec<_>>()).await?;
        let mut last = last.chunks(2);
        let recent = self.recent_rows(user, &found).await?;
        for ((id, conversation), recent) in ids.into_iter().zip(found).zip(recent) {
            let Some(conversation) = conversation else {
                listing.after = id;
                continue;
            };
            let mut last = last.next().into_iter().flatten().map(|value| Entry::decode(value.clone()?).ok());
            let (row, own) = (last.next().flatten(), last.next().flatten());
            let member = conversation.member(user);
            if let Some(member) = member.filter(|member| member.hidden < conversation.last_shown(member)) {
                let view = MemberView::new(&conversation, member, self.rules.history, self.now_s);
                let own = own.filter(|own| own.sender == member.ordinal);
                let is_there = |sent: &Sent| view.may_have(sent, self.rules.retention_s);
                let unread = conversation.asked(member).unread(&conversation.recent, &recent, is_there);
                match listing.page.take(view.summary(own.or(row), unread)) {
                    Ok(true) => {}
                    Ok(false) => return Ok(listing.answer(true)),
                    Err(TooLarge) => return Ok(Some(Err(refusal::ITEM_TOO_LARGE))),
                }
            }
            listing.after = id;
        }
        listing.left -= rows.len();
        let over = is_last || listing.left == 0;
        Ok(if over { listing.answer(!is_last) } else { None })
    }

    /// A slice of a page of history.
    pub(in crate::lane) async fn history_on(
        &self,
        user: &UserId,
        page: &mut HistoryPage,
    ) -> Result<ReadAnswer, StoreError> {
        let id = ConversationId::new(page.call.conversation);
        if page.conversation.is_none() {
            page.conversation = self.stored(&[id]).await?.pop().flatten();
            let Some(conversation) = &page.conversation else { return Ok(Some(Err(refusal::NO_CONVERSATION))) };
            let Some(member) = conversation.member(user) else { return Ok(Some(Err(refusal::NOT_IN_CONVERSATION))) };
            let last = conversation.last_seq.get() + 1;
            page.low = page.call.after.max(conversation.floor(member).get()).min(last);
            page.high = if page.call.before == 0 { last } else { page.call.before.min(last) };
            if conversation.retention_of(member).history(self.rules.history) == History::None {
                page.high = page.low;
            }
        }
        if page.is_over() {
            return Ok(page.answer(id));
        }
        let mut range = page.range.take().unwrap_or_else(|| page.next_range(id));
        let Some(conversation) = &page.conversation else { return Ok(Some(Err(refusal::NO_CONVERSATION))) };
        let Some(member) = conversation.member(user) else { return Ok(Some(Err(refusal::NOT_IN_CONVERSATION))) };
        let RowPage { rows, next } = self.store.page(Table::Messages, &range.from, &range.to, ROWS, BYTES).await?;
        MemberView::new(conversation, member, self.rules.history, self.now_s).gather(rows, &mut range.found);
        if let Some(next) = next {
            range.from = next;
            page.range = Some(range);
            return Ok(None);
        }
        match page.take(range) {
            Ok(true) if !page.is_over() => Ok(None),
            Ok(_) => Ok(page.answer(id)),
            Err(TooLarge) => Ok(Some(Err(refusal::ITEM_TOO_LARGE))),
        }
    }

    /// What is needed of each conversation to count what a user has not read: at most 64 rows.
    async fn recent_rows(
        &self,
        user: &UserId,
        conversations: &[Option<Conversation>],
    ) -> Result<Vec<Vec<Bytes>>, StoreError> {
        let keys_of = |it: &Option<Conversation>| -> Vec<_> {
            let Some((it, member)) = it.as_ref().and_then(|it| Some((it, it.member(user)?))) else { return Vec::new() };
            it.asked(member).slots().map(|slot| keys::recent(it.id, slot)).collect()
        };
        let keys: Vec<_> = conversations.iter().map(keys_of).collect();
        let found = self.store.multi_get(&keys.concat()).await?;
        let mut found = found.into_iter();
        Ok(keys.iter().map(|keys| found.by_ref().take(keys.len()).flatten().collect()).collect())
    }

    /// Conversations as they are on disk.
    pub(in crate::lane) async fn stored(
        &self,
        ids: &[ConversationId],
    ) -> Result<Vec<Option<Conversation>>, StoreError> {
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

pub(in crate::lane) fn page(limit: u32) -> usize {
    if limit == 0 { PAGE_MAX } else { (limit as usize).min(PAGE_MAX) }
}

/// A conversation as one of its members sees it now.
struct MemberView<'a> {
    conversation: &'a Conversation,
    member: &'a Member,
    history: History,
    now_s: u32,
}

impl<'a> MemberView<'a> {
    pub(in crate::lane) fn new(conversation: &'a Conversation, member: &'a Member, server: Policy, now_s: u32) -> Self {
        Self { conversation, member, history: conversation.retention_of(member).history(server), now_s }
    }

    fn shows(&self, entry: &Entry) -> bool {
        entry.sequence > self.conversation.floor(self.member)
            && self.history.holds(entry.stored_at_s, self.now_s)
            && (!entry.unseen || entry.sender == self.member.ordinal)
    }

    /// An inbox or history may still have the message.
    fn may_have(&self, sent: &Sent, retention_s: u32) -> bool {
        let lives = |life_s: u32| sent.at_s.saturating_add(life_s) > self.now_s;
        match sent.life_s {
            None => lives(retention_s) || self.history.holds(sent.at_s, self.now_s),
            Some(life_s) => lives(life_s.min(retention_s)),
        }
    }

    /// Some rows of a range of sequences, in order; `events`: of those before.
    fn gather(&self, rows: Vec<Row>, events: &mut BTreeMap<Seq, event::Event>) {
        for (key, value) in rows {
            match keys::parse_of_message(&key) {
                Some((sequence, MessageRowKind::Entry)) => {
                    let entry = Entry::decode(value).ok().filter(|entry| self.shows(entry));
                    let event = entry.and_then(|entry| entry.seen(self.now_s)).map(without_commit);
                    events.extend(event.map(|event| (sequence, event)));
                }
                // What follows sorts behind its message.
                Some((sequence, MessageRowKind::Own)) => {
                    let own = Entry::decode(value).ok().filter(|own| own.sender == self.member.ordinal);
                    if let (Some(event), Some(own)) = (events.get_mut(&sequence), own) {
                        *event = event::Event::Message(own.message(self.now_s));
                    }
                }
                Some((sequence, MessageRowKind::Reaction(member))) => {
                    if let Some(message) = reactable(events, sequence) {
                        message.reactions.extend(reaction(member, &value));
                    }
                }
                Some((sequence, MessageRowKind::OwnReaction(member))) if member == self.member.ordinal => {
                    if let Some(message) = reactable(events, sequence) {
                        message.reactions.retain(|reaction| reaction.member != member.get());
                        let own = reaction(member, &value);
                        let own = own.filter(|own| !own.reaction.is_empty() || !own.sealed.is_empty());
                        message.reactions.extend(own);
                    }
                }
                Some((_, MessageRowKind::OwnReaction(_) | MessageRowKind::Holders)) | None => {}
            }
        }
    }

    fn summary(&self, last: Option<Entry>, unread: u64) -> client::Summary {
        let last = last.filter(|entry| self.shows(entry)).and_then(|entry| entry.seen(self.now_s)).map(without_commit);
        client::Summary {
            conversation: self.conversation.id.get(),
            description: Some(described(self.conversation, &self.member.user)),
            last_sequence: self.conversation.last_shown(self.member).get(),
            last: last.map(|event| client::Event { event: Some(event) }),
            unread,
            read_up_to: self.member.watermark.read.get(),
        }
    }
}

/// The message of this sequence, unless it was taken back.
fn reactable(events: &mut BTreeMap<Seq, event::Event>, sequence: Seq) -> Option<&mut client::Message> {
    match events.get_mut(&sequence)? {
        event::Event::Message(message) if !message.recalled => Some(message),
        _ => None,
    }
}

fn reaction(member: Ordinal, value: &Bytes) -> Option<client::Reaction> {
    let stored = (value.len() >= EXPIRY_BYTES).then(|| value.slice(EXPIRY_BYTES..))?;
    StoredReaction::new(stored).to_message(member)
}

/// A commit is of use to devices in the epoch before it, which have it in their inboxes. To others it is nothing but long.
fn without_commit(mut event: event::Event) -> event::Event {
    if let event::Event::Change(client::Change { mls: Some(mls), .. }) = &mut event {
        mls.commit.clear();
    }
    event
}
