//! What the server delivered, each thing once, and the events that wait for the app.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};
use godwit_schemas::phone::PhoneNumber;

use super::outbound::{kept, recipient};
use super::record::{
    ConversationRecord, DoubtRecord, EarlyRecord, HomelessRecord, InboxRecord, MemberRecord, MessageRecord, SentRecord,
    Waiting,
};
use super::{Gap, Ledger, decoded, failure, keep_order, keys, order_of, ordinal_of, place_of};
use crate::event::{Delivery, Event, Message};
use crate::media::{FileId, told};
use crate::send::{SendId, refusal};
use crate::store::{Scan, StoreError};
use crate::wire::{self, Change};

/// What a batch from the server changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// There are new events for the app.
    pub(crate) news: bool,
    /// Watermarks or members changed.
    pub(crate) ticked: bool,
    /// Phone numbers of which it is to be asked who has them.
    pub(crate) phones: Vec<PhoneNumber>,
    /// Sends that have a place now.
    pub(crate) placed: Vec<SendId>,
    /// Conversations whose members this device does not know.
    pub(crate) unknown: BTreeSet<ConversationId>,
    /// What did not come and is to be looked for.
    pub(crate) gaps: Vec<Gap>,
}

impl Ledger {
    /// Takes a batch of deliveries. What was received before has no effect. Once it is committed they may be
    /// acknowledged.
    pub(crate) fn receive(&mut self, batch: Vec<(wire::Event, Bytes)>, now_s: u64) -> Result<Received, StoreError> {
        let mut received = Received::default();
        for (event, payload) in batch {
            match event {
                wire::Event::Message { conversation, sequence, sender, age_s, body, reply_to, media } => {
                    let at_s = now_s.saturating_sub(age_s);
                    let (sender, reply_to, media) = (sender.get(), reply_to.get(), kept(media));
                    let message = MessageRecord { sender, at_s, body, reply_to, media, ..Default::default() };
                    self.receive_message(conversation, sequence, &message, &mut received)?;
                }
                wire::Event::Changed { conversation, sequence, by, change } => {
                    self.receive_change((conversation, sequence, by), change, payload, now_s, &mut received)?;
                }
                wire::Event::Receipt { conversation, member, delivered_up_to, read_up_to } => {
                    let raised = (delivered_up_to.get(), read_up_to.get());
                    self.receive_receipt(conversation, member, raised, &mut received)?;
                }
                // Belongs to a publish, which the engine knows.
                wire::Event::Refused { .. } => {}
            }
        }
        Ok(received)
    }

    pub(super) fn receive_message(
        &mut self,
        id: ConversationId,
        sequence: Seq,
        message: &MessageRecord,
        received: &mut Received,
    ) -> Result<(), StoreError> {
        let mut it = self.conversation_record(id)?;
        if !self.take(&mut it, sequence) {
            return Ok(());
        }
        it.active_at_s = it.active_at_s.max(message.at_s);
        it.last_message = it.last_message.max(sequence.get());
        self.put(&keys::message(id, sequence), message)?;
        self.tell(Waiting::Message(place_of(id, sequence.get())))?;
        self.finish(id, it, received)
    }

    fn receive_change(
        &mut self,
        (id, sequence, by): (ConversationId, Seq, Ordinal),
        change: Change,
        payload: Bytes,
        now_s: u64,
        received: &mut Received,
    ) -> Result<(), StoreError> {
        let mut it = self.conversation_record(id)?;
        if !self.take(&mut it, sequence) {
            return Ok(());
        }
        it.active_at_s = it.active_at_s.max(now_s);
        self.apply((id, sequence, by), &mut it, change)?;
        self.tell(Waiting::Change(payload))?;
        received.ticked = true;
        self.finish(id, it, received)
    }

    pub(super) fn take(&mut self, it: &mut ConversationRecord, sequence: Seq) -> bool {
        let mut order = order_of(it);
        let new = order.receive(sequence.get());
        keep_order(it, order);
        new
    }

    fn finish(
        &mut self,
        id: ConversationId,
        mut it: ConversationRecord,
        received: &mut Received,
    ) -> Result<(), StoreError> {
        received.placed.extend(self.settle(id, &mut it)?);
        if !it.known {
            received.unknown.insert(id);
        }
        received.news = true;
        self.put(&keys::conversation(id), &it)
    }

    fn apply(
        &mut self,
        (id, sequence, by): (ConversationId, Seq, Ordinal),
        it: &mut ConversationRecord,
        change: Change,
    ) -> Result<(), StoreError> {
        match change {
            Change::Opened { group, title, members } => self.opened(id, it, sequence, group, title, members)?,
            Change::Added(member) => join(it, sequence, member),
            Change::Removed(ordinal) => {
                it.members.iter_mut().filter(|m| m.ordinal == ordinal.get()).for_each(|m| m.gone = true);
            }
            Change::Renamed(title) => it.title = title,
            Change::Role(of) => {
                for member in it.members.iter_mut().filter(|member| !member.gone) {
                    if member.ordinal == of.ordinal.get() {
                        member.role = of.role.into();
                    } else if of.role == client::Role::Owner && member.role == i32::from(client::Role::Owner) {
                        member.role = client::Role::Admin.into();
                    }
                }
            }
            Change::Recalled(place) => {
                let administers = it.group && role(it, by) != client::Role::Member;
                self.amend(id, place, |message| {
                    if message.sender == by.get() || administers {
                        (message.body, message.recalled) = (Bytes::new(), true);
                        message.media.clear();
                    }
                })?;
            }
            Change::Edited(place, body) => self.amend(id, place, |message| {
                if message.sender == by.get() && !message.recalled {
                    (message.body, message.edited) = (body, true);
                }
            })?,
            // The app's own business.
            Change::Settings(_) | Change::Reacted(..) | Change::Retention(_) => {}
        }
        Ok(())
    }

    /// Changes a message, if it is kept.
    fn amend(
        &mut self,
        id: ConversationId,
        place: Seq,
        change: impl FnOnce(&mut MessageRecord),
    ) -> Result<(), StoreError> {
        let Some(mut message) = self.record::<MessageRecord>(&keys::message(id, place))? else { return Ok(()) };
        change(&mut message);
        self.put(&keys::message(id, place), &message)
    }

    fn opened(
        &mut self,
        id: ConversationId,
        it: &mut ConversationRecord,
        sequence: Seq,
        group: bool,
        title: String,
        members: Vec<wire::Member>,
    ) -> Result<(), StoreError> {
        (it.known, it.group, it.title) = (true, group, title);
        it.members.iter_mut().for_each(|member| member.gone = true);
        for member in members {
            join(it, sequence, member);
        }
        for EarlyRecord { ordinal, delivered, read } in std::mem::take(&mut it.early) {
            raise(it, ordinal, (delivered, read));
        }
        if !group {
            let other = it.members.iter().find(|member| member.user != self.me.as_str());
            let other = other.or(it.members.first()).and_then(|member| UserId::new(&member.user).ok());
            if let Some(other) = other {
                self.set_number(&keys::direct(&other), id.get())?;
                let homeless: HomelessRecord = self.record(&keys::homeless(&other))?.unwrap_or_default();
                let doubts = homeless.sends.into_iter().map(|id| DoubtRecord { id, above: 0, below: 0 });
                it.doubts.splice(0..0, doubts);
                self.store.delete(&keys::homeless(&other))?;
            }
        }
        Ok(())
    }

    /// The answer to a question about the members.
    pub(crate) fn described(&mut self, id: ConversationId, opened: client::Opened) -> Result<(), StoreError> {
        let mut it = self.conversation_record(id)?;
        let members = opened.members.into_iter().filter_map(|member| {
            let user = UserId::new(&member.user).ok()?;
            let role = client::Role::try_from(member.role).unwrap_or_default();
            Some(wire::Member { ordinal: Ordinal::new(member.ordinal), user, role })
        });
        let members = members.collect();
        // As if they had been there from the beginning: who joined when is not told.
        self.opened(id, &mut it, Seq::default(), opened.group, opened.title, members)?;
        self.put(&keys::conversation(id), &it)
    }

    fn receive_receipt(
        &mut self,
        id: ConversationId,
        member: Ordinal,
        raised: (u64, u64),
        received: &mut Received,
    ) -> Result<(), StoreError> {
        let mut it = self.conversation_record(id)?;
        if !raise(&mut it, member.get(), raised) {
            return Ok(());
        }
        let mine = it.members.iter().any(|m| m.ordinal == member.get() && m.user == self.me.as_str());
        if mine {
            // This user has read, on another device.
            it.read = it.read.max(raised.1);
        }
        if !it.known {
            received.unknown.insert(id);
        }
        self.put(&keys::conversation(id), &it)?;
        let key = keys::receipt(id, member);
        if let earlier @ 1.. = self.number(&key)? {
            self.store.delete(&keys::numbered(keys::INBOX, earlier))?;
        }
        let event = self.tell(Waiting::Receipt(place_of(id, member.get().into())))?;
        self.set_number(&key, event)?;
        received.news = true;
        received.ticked = true;
        Ok(())
    }

    /// Events that the app has not confirmed, after this one, and the last number that was looked at.
    pub(crate) fn events(&mut self, after: u64, limit: usize) -> Result<(u64, Vec<Delivery>), StoreError> {
        let (from, to) = keys::above(keys::INBOX, after);
        let (mut last, mut deliveries) = (after, Vec::new());
        for (key, value) in self.store.scan(&from, &to, Scan::Forward, limit)? {
            let waiting = decoded::<InboxRecord>(&value)?.waiting;
            let event = waiting.map(|waiting| self.event(waiting)).transpose()?.flatten();
            last = keys::number(&key);
            deliveries.extend(event.map(|event| Delivery { id: last, event }));
        }
        Ok((last, deliveries))
    }

    fn event(&mut self, waiting: Waiting) -> Result<Option<Event>, StoreError> {
        Ok(match waiting {
            Waiting::Message(place) => {
                let (id, sequence) = (ConversationId::new(place.conversation), Seq::new(place.sequence));
                let it = self.conversation_record(id)?;
                let record = self.record(&keys::message(id, sequence))?;
                record.map(|record| Event::Message(self.message(id, sequence, record, &it)))
            }
            Waiting::Change(payload) => match wire::Event::parse(payload) {
                Ok(wire::Event::Changed { conversation, sequence, by, change }) => {
                    Some(Event::Changed { conversation, sequence, by, change })
                }
                _ => None,
            },
            Waiting::Receipt(place) => {
                let (conversation, member) = (ConversationId::new(place.conversation), ordinal_of(place));
                let it = self.conversation_record(conversation)?;
                let (user, delivered, read) = watermark(&it, member);
                let (delivered_up_to, read_up_to) = (Seq::new(delivered), Seq::new(read));
                Some(Event::Receipt { conversation, member, user, delivered_up_to, read_up_to })
            }
            Waiting::Missing(it) => {
                let (first, last) = (Seq::new(it.first), Seq::new(it.last));
                Some(Event::Missing { conversation: ConversationId::new(it.conversation), first, last })
            }
            Waiting::Refused(send) => {
                let send = SendId::new(send);
                let record = self.record::<SentRecord>(&keys::sent(send))?;
                record.map(|it| {
                    let to = recipient(&it.user, &it.phone, it.conversation);
                    Event::Refused { send, to, refusal: refusal(it.reason, &it.text) }
                })
            }
            Waiting::FileFailed(it) => {
                let (file, to) = (FileId::new(it.file), recipient(&it.user, &it.phone, it.conversation));
                Some(Event::FileFailed { file, to, name: it.name, failure: failure(it.failure.unwrap_or_default()) })
            }
        })
    }

    /// A message as the app sees it.
    pub(super) fn message(
        &self,
        conversation: ConversationId,
        sequence: Seq,
        record: MessageRecord,
        it: &ConversationRecord,
    ) -> Message {
        let MessageRecord { sender, at_s, body, send, reply_to, edited, recalled, media } = record;
        let (user, _, _) = watermark(it, Ordinal::new(sender));
        let user = if send == 0 { user } else { Some(self.me.clone()) };
        let mine = user.as_ref() == Some(&self.me);
        let at = UNIX_EPOCH + Duration::from_secs(at_s);
        let send = Some(send).filter(|send| *send > 0).map(SendId::new);
        let reply_to = Some(reply_to).filter(|reply_to| *reply_to > 0).map(Seq::new);
        let (sender, media) = (Ordinal::new(sender), told(media));
        Message { conversation, sequence, sender, user, mine, send, at, body, media, reply_to, edited, recalled }
    }

    /// The app is done with this event and those before it.
    pub(crate) fn confirm(&mut self, up_to: u64) -> Result<(), StoreError> {
        let (from, mut to) = keys::above(keys::INBOX, 0);
        if let Some(next) = up_to.checked_add(1) {
            to = keys::numbered(keys::INBOX, next);
        }
        for (key, value) in self.store.scan(&from, &to, Scan::Forward, usize::MAX)? {
            match decoded::<InboxRecord>(&value)?.waiting {
                Some(Waiting::Message(place)) if !self.archive => {
                    let (id, sequence) = (ConversationId::new(place.conversation), Seq::new(place.sequence));
                    self.store.delete(&keys::message(id, sequence))?;
                }
                Some(Waiting::Receipt(place)) => {
                    self.store.delete(&keys::receipt(ConversationId::new(place.conversation), ordinal_of(place)))?;
                }
                _ => {}
            }
            self.store.delete(&key)?;
        }
        Ok(())
    }
}

fn join(it: &mut ConversationRecord, since: Seq, member: wire::Member) {
    let (ordinal, user, role) = (member.ordinal.get(), member.user.to_string(), member.role.into());
    match it.members.iter_mut().find(|known| known.ordinal == ordinal) {
        Some(known) => (known.user, known.role, known.gone) = (user, role, false),
        None => it.members.push(MemberRecord { ordinal, user, role, since: since.get(), ..Default::default() }),
    }
}

fn role(it: &ConversationRecord, ordinal: Ordinal) -> client::Role {
    let member = it.members.iter().find(|member| member.ordinal == ordinal.get());
    member.and_then(|member| client::Role::try_from(member.role).ok()).unwrap_or_default()
}

/// Raises a member's watermarks; false if that says nothing new.
fn raise(it: &mut ConversationRecord, ordinal: u32, (delivered, read): (u64, u64)) -> bool {
    let (known_delivered, known_read) = match it.members.iter_mut().find(|member| member.ordinal == ordinal) {
        Some(member) => (&mut member.delivered, &mut member.read),
        None => {
            let at = it.early.iter().position(|early| early.ordinal == ordinal).unwrap_or_else(|| {
                it.early.push(EarlyRecord { ordinal, delivered: 0, read: 0 });
                it.early.len() - 1
            });
            let early = &mut it.early[at];
            (&mut early.delivered, &mut early.read)
        }
    };
    let raised = delivered > *known_delivered || read > *known_read;
    *known_delivered = delivered.max(*known_delivered);
    *known_read = read.max(*known_read);
    raised
}

fn watermark(it: &ConversationRecord, ordinal: Ordinal) -> (Option<UserId>, u64, u64) {
    if let Some(member) = it.members.iter().find(|member| member.ordinal == ordinal.get()) {
        return (UserId::new(&member.user).ok(), member.delivered, member.read);
    }
    let early = it.early.iter().find(|early| early.ordinal == ordinal.get());
    early.map_or((None, 0, 0), |early| (None, early.delivered, early.read))
}
