//! What the server delivered, each thing once, and the events that wait for the app.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};
use godwit_schemas::phone::PhoneNumber;

use super::amend::Belief;
use super::outbound::{kept, recipient};
use super::record::{
    EarlyRecord, FailedFileRecord, GroupResetRecord, InboxRecord, KnownConversationRecord, KnownMemberRecord,
    MessageRecord, PlaintextRecord, RestoredRecord, SentRecord, UnconfirmedEvent, UndecryptableRecord,
    UnplacedSendRecord, UnroutedSendsRecord,
};
use super::{Gap, HistoryFill, Ledger, decoded, failure, keep_tracker, keys, ordinal_of, place_of, tracker_of};
use crate::event::{Delivery, Event, Message, Reaction};
use crate::media::{FileId, told};
use crate::send::{SendId, refusal};
use crate::store::{LocalStoreError, Scan};
use crate::wire::{self, ConversationUpdate};

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
    /// What is to be asked for of what was before this device.
    pub(crate) fills: Vec<HistoryFill>,
    /// More may be sent than before, or there is something to do about groups.
    #[cfg(feature = "e2ee")]
    pub(crate) epochs: bool,
}

impl Ledger {
    /// Takes a batch of deliveries. What was received before has no effect. Once it is committed they may be
    /// acknowledged.
    pub(crate) fn receive(
        &mut self,
        batch: Vec<(wire::InboxEvent, Bytes)>,
        now_s: u64,
    ) -> Result<Received, LocalStoreError> {
        let mut received = Received::default();
        for (event, payload) in batch {
            match event {
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
                } => {
                    let at_s = now_s.saturating_sub(age_s);
                    let properties = properties.map(|it| Box::new((*it).into()));
                    let (sender, reply_to, media) = (sender.get(), reply_to.map_or(0, Seq::get), kept(media));
                    let message = MessageRecord {
                        sender,
                        at_s,
                        body,
                        reply_to,
                        media,
                        properties,
                        mls_epoch,
                        silent,
                        mentions,
                        ..Default::default()
                    };
                    self.receive_message(conversation, sequence, &message, &mut received)?;
                }
                wire::InboxEvent::Changed { conversation, sequence, by, change } => {
                    self.receive_change((conversation, sequence, by), change, payload, now_s, &mut received)?;
                }
                wire::InboxEvent::Receipt { conversation, member, delivered_up_to, read_up_to } => {
                    let raised = (delivered_up_to.get(), read_up_to.get());
                    self.receive_receipt(conversation, member, raised, &mut received)?;
                }
                // Belongs to a publish, which the engine knows.
                wire::InboxEvent::Refused { .. } => {}
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
    ) -> Result<(), LocalStoreError> {
        let mut conversation = self.conversation_record(id)?;
        if !self.take(&mut conversation, sequence) {
            return Ok(());
        }
        conversation.active_at_s = conversation.active_at_s.max(message.at_s);
        #[cfg(feature = "e2ee")]
        let Some(message) = &self.incoming(id, sequence, message.clone(), &conversation)? else {
            return self.finish(id, conversation, received);
        };
        conversation.last_message = conversation.last_message.max(sequence.get());
        let key = keys::message(id, sequence);
        if message.sealed {
            self.put(&key, message)?;
            return self.finish(id, conversation, received);
        }
        // One that history had already is counted.
        if let Some(unread) = conversation.unread.filter(|_| self.is_unread(&conversation, sequence, message))
            && self.store.get(&key)?.is_none()
        {
            conversation.unread = Some(unread + 1);
        }
        self.put(&key, message)?;
        self.tell(UnconfirmedEvent::Message(place_of(id, sequence.get())))?;
        self.finish(id, conversation, received)
    }

    fn receive_change(
        &mut self,
        (id, sequence, by): (ConversationId, Seq, Ordinal),
        change: ConversationUpdate,
        payload: Bytes,
        now_s: u64,
        received: &mut Received,
    ) -> Result<(), LocalStoreError> {
        let mut conversation = self.conversation_record(id)?;
        if !self.take(&mut conversation, sequence) {
            return Ok(());
        }
        conversation.active_at_s = conversation.active_at_s.max(now_s);
        #[cfg(feature = "e2ee")]
        let (change, payload) = {
            // Who is a member now, says the change itself.
            let place = (id, sequence, by);
            match self.incoming_change(place, change, &payload, &conversation, now_s)? {
                Some(told) => told,
                None => return self.finish(id, conversation, received),
            }
        };
        #[cfg(not(feature = "e2ee"))]
        if change == ConversationUpdate::Encrypted {
            return self.finish(id, conversation, received);
        }
        let belief = self.amend((id, sequence, by), &mut conversation, &change)?;
        self.apply((id, sequence), &mut conversation, change)?;
        self.tell_change(payload, belief)?;
        received.ticked = true;
        self.finish(id, conversation, received)
    }

    /// A change for the app, unless it is not to be believed.
    pub(super) fn tell_change(&mut self, payload: Bytes, belief: Belief) -> Result<(), LocalStoreError> {
        if belief != Belief::Refuted {
            let (waiting, checked) = (Some(UnconfirmedEvent::Change(payload)), belief == Belief::Checked);
            self.tell_record(&InboxRecord { waiting, checked })?;
        }
        Ok(())
    }

    pub(super) fn take(&mut self, conversation: &mut KnownConversationRecord, sequence: Seq) -> bool {
        let mut order = tracker_of(conversation);
        let new = order.receive(sequence.get());
        keep_tracker(conversation, order);
        new
    }

    fn finish(
        &mut self,
        id: ConversationId,
        mut conversation: KnownConversationRecord,
        received: &mut Received,
    ) -> Result<(), LocalStoreError> {
        received.placed.extend(self.settle(id, &mut conversation)?);
        if !conversation.known {
            received.unknown.insert(id);
        }
        received.news = true;
        self.put(&keys::conversation(id), &conversation)
    }

    fn apply(
        &mut self,
        (id, sequence): (ConversationId, Seq),
        conversation: &mut KnownConversationRecord,
        change: ConversationUpdate,
    ) -> Result<(), LocalStoreError> {
        match change {
            ConversationUpdate::Opened { group, title, members } => {
                self.opened(id, conversation, sequence, group, title, members)?
            }
            ConversationUpdate::Added(member) => join(conversation, sequence, member),
            ConversationUpdate::Removed(ordinal) => {
                conversation.members.iter_mut().filter(|m| m.ordinal == ordinal.get()).for_each(|m| m.gone = true);
            }
            ConversationUpdate::Renamed(title) => conversation.title = title,
            ConversationUpdate::Role(of) => {
                for member in conversation.members.iter_mut().filter(|member| !member.gone) {
                    if member.ordinal == of.ordinal.get() {
                        member.role = of.role.into();
                    } else if of.role == client::Role::Owner && member.role == i32::from(client::Role::Owner) {
                        member.role = client::Role::Admin.into();
                    }
                }
            }
            // Of messages: see `amend`. Or the app's own business.
            ConversationUpdate::Recalled(_)
            | ConversationUpdate::Edited(..)
            | ConversationUpdate::Reacted(..)
            | ConversationUpdate::Settings(_)
            | ConversationUpdate::Retention(_)
            | ConversationUpdate::Encrypted => {}
        }
        Ok(())
    }

    fn opened(
        &mut self,
        id: ConversationId,
        conversation: &mut KnownConversationRecord,
        sequence: Seq,
        group: bool,
        title: String,
        members: Vec<wire::OpenedMember>,
    ) -> Result<(), LocalStoreError> {
        (conversation.known, conversation.group, conversation.title) = (true, group, title);
        // Now it is known which messages are this user's own.
        conversation.unread = None;
        conversation.members.iter_mut().for_each(|member| member.gone = true);
        for member in members {
            join(conversation, sequence, member);
        }
        for EarlyRecord { ordinal, delivered, read } in std::mem::take(&mut conversation.early) {
            raise(conversation, ordinal, (delivered, read));
        }
        if !group {
            let other = conversation.members.iter().find(|member| member.user != self.me.as_str());
            let other = other.or(conversation.members.first()).and_then(|member| UserId::new(&member.user).ok());
            if let Some(other) = other {
                self.set_number(&keys::direct(&other), id.get())?;
                let unrouted: UnroutedSendsRecord = self.record(&keys::unrouted(&other))?.unwrap_or_default();
                let unplaced = unrouted.sends.into_iter().map(|id| UnplacedSendRecord { id, above: 0, below: 0 });
                conversation.unplaced.splice(0..0, unplaced);
                self.store.delete(&keys::unrouted(&other))?;
            }
        }
        Ok(())
    }

    /// The answer to a question about the members.
    pub(crate) fn described(&mut self, id: ConversationId, opened: client::Opened) -> Result<(), LocalStoreError> {
        #[cfg(feature = "e2ee")]
        self.announced(id, opened.mls_epoch)?;
        let mut conversation = self.conversation_record(id)?;
        let members = opened.members.into_iter().filter_map(|member| {
            let user = UserId::new(&member.user).ok()?;
            let role = client::Role::try_from(member.role).unwrap_or_default();
            Some(wire::OpenedMember { ordinal: Ordinal::new(member.ordinal), user, role })
        });
        let members = members.collect();
        // As if they had been there from the beginning: who joined when is not told.
        self.opened(id, &mut conversation, Seq::default(), opened.group, opened.title, members)?;
        self.put(&keys::conversation(id), &conversation)
    }

    fn receive_receipt(
        &mut self,
        id: ConversationId,
        member: Ordinal,
        raised: (u64, u64),
        received: &mut Received,
    ) -> Result<(), LocalStoreError> {
        let mut conversation = self.conversation_record(id)?;
        if !raise(&mut conversation, member.get(), raised) {
            return Ok(());
        }
        let mine = conversation.members.iter().any(|m| m.ordinal == member.get() && m.user == self.me.as_str());
        if mine {
            // This user has read, on another device.
            self.read_up_to(id, &mut conversation, raised.1)?;
        }
        if !conversation.known {
            received.unknown.insert(id);
        }
        self.put(&keys::conversation(id), &conversation)?;
        let key = keys::receipt(id, member);
        if let earlier @ 1.. = self.number(&key)? {
            self.store.delete(&keys::numbered(keys::INBOX, earlier))?;
        }
        let event = self.tell(UnconfirmedEvent::Receipt(place_of(id, member.get().into())))?;
        self.set_number(&key, event)?;
        received.news = true;
        received.ticked = true;
        Ok(())
    }

    /// Events that the app has not confirmed, after this one, and the last number that was looked at.
    pub(crate) fn events(&mut self, after: u64, limit: usize) -> Result<(u64, Vec<Delivery>), LocalStoreError> {
        let (from, to) = keys::above(keys::INBOX, after);
        let (mut last, mut deliveries) = (after, Vec::new());
        for (key, value) in self.store.scan(&from, &to, Scan::Forward, limit)? {
            let InboxRecord { waiting, checked } = decoded(&value)?;
            let event = waiting.map(|waiting| self.event(waiting, checked)).transpose()?.flatten();
            last = keys::number(&key);
            deliveries.extend(event.map(|event| Delivery { id: last, event }));
        }
        Ok((last, deliveries))
    }

    fn event(&mut self, waiting: UnconfirmedEvent, checked: bool) -> Result<Option<Event>, LocalStoreError> {
        Ok(match waiting {
            UnconfirmedEvent::Message(place) => {
                let (id, sequence) = (ConversationId::new(place.conversation), Seq::new(place.sequence));
                let conversation = self.conversation_record(id)?;
                let message = self.record(&keys::message(id, sequence))?;
                message.map(|message| Event::Message(self.message(id, sequence, message, &conversation)))
            }
            UnconfirmedEvent::Change(payload) => match wire::InboxEvent::parse(payload) {
                Ok(wire::InboxEvent::Changed { conversation, sequence, by, change }) => {
                    let (user, _, _) = watermark(&self.conversation_record(conversation)?, by);
                    Some(Event::Changed { conversation, sequence, by, user, change, checked })
                }
                _ => None,
            },
            UnconfirmedEvent::Receipt(place) => {
                let (conversation, member) = (ConversationId::new(place.conversation), ordinal_of(place));
                let (user, delivered, read) = watermark(&self.conversation_record(conversation)?, member);
                let (delivered_up_to, read_up_to) = (Seq::new(delivered), Seq::new(read));
                Some(Event::Receipt { conversation, member, user, delivered_up_to, read_up_to })
            }
            UnconfirmedEvent::Missing(gap) => {
                let (first, last) = (Seq::new(gap.first), Seq::new(gap.last));
                Some(Event::Missing { conversation: ConversationId::new(gap.conversation), first, last })
            }
            UnconfirmedEvent::Restored(RestoredRecord { lost }) => {
                Some(Event::ServerRestored { lost: lost.into_iter().map(ConversationId::new).collect() })
            }
            UnconfirmedEvent::Undecryptable(UndecryptableRecord { place, why }) => {
                let (conversation, sequence) = (ConversationId::new(place.conversation), Seq::new(place.sequence));
                Some(Event::Undecryptable { conversation, sequence, why })
            }
            UnconfirmedEvent::Plaintext(PlaintextRecord { place, sender, body }) => {
                let (conversation, sequence) = (ConversationId::new(place.conversation), Seq::new(place.sequence));
                Some(Event::Plaintext { conversation, sequence, sender: Ordinal::new(sender), body })
            }
            UnconfirmedEvent::GroupReset(GroupResetRecord { place, by }) => {
                let (conversation, sequence) = (ConversationId::new(place.conversation), Seq::new(place.sequence));
                let (user, _, _) = watermark(&self.conversation_record(conversation)?, Ordinal::new(by));
                Some(Event::GroupReset { conversation, sequence, user })
            }
            UnconfirmedEvent::IdentityChanged(user) => {
                UserId::new(&user).ok().map(|user| Event::IdentityChanged { user })
            }
            UnconfirmedEvent::Refused(send) => {
                let send = SendId::new(send);
                let record = self.record::<SentRecord>(&keys::sent(send))?;
                record.map(|sent| {
                    let to = recipient(&sent.user, &sent.phone, sent.conversation);
                    Event::Refused { send, to, refusal: refusal(sent.reason, &sent.text) }
                })
            }
            UnconfirmedEvent::FileFailed(FailedFileRecord { file, user, phone, conversation, name, failure: why }) => {
                let (file, to) = (FileId::new(file), recipient(&user, &phone, conversation));
                Some(Event::FileFailed { file, to, name, failure: failure(why.unwrap_or_default()) })
            }
        })
    }

    /// A message as the app sees it.
    pub(super) fn message(
        &self,
        conversation: ConversationId,
        sequence: Seq,
        record: MessageRecord,
        within: &KnownConversationRecord,
    ) -> Message {
        let MessageRecord {
            sender,
            at_s,
            body,
            send,
            reply_to,
            edited,
            recalled,
            media,
            reactions,
            properties,
            mls_epoch,
            sealed: unopened,
            ..
        } = record;
        let body = if unopened { Bytes::new() } else { body };
        let (user, _, _) = watermark(within, Ordinal::new(sender));
        let user = if send == 0 { user } else { Some(self.me.clone()) };
        let mine = user.as_ref() == Some(&self.me);
        let at = UNIX_EPOCH + Duration::from_secs(at_s);
        let send = Some(send).filter(|send| *send > 0).map(SendId::new);
        let reply_to = Seq::unless_zero(reply_to);
        let (sender, media) = (Ordinal::new(sender), told(media));
        let reactions = reactions.into_iter().filter(|reaction| !reaction.reaction.is_empty()).map(|reaction| {
            let member = Ordinal::new(reaction.member);
            Reaction { member, user: watermark(within, member).0, reaction: reaction.reaction }
        });
        let reactions = reactions.collect();
        Message {
            conversation,
            sequence,
            sender,
            user,
            mine,
            send,
            at,
            body,
            media,
            reply_to,
            edited,
            recalled,
            encrypted: mls_epoch > 0,
            unopened,
            reactions,
            properties: properties.map(|it| (*it).into()),
        }
    }

    /// The app is done with this event and those before it.
    pub(crate) fn confirm(&mut self, up_to: u64) -> Result<(), LocalStoreError> {
        let (from, mut to) = keys::above(keys::INBOX, 0);
        if let Some(next) = up_to.checked_add(1) {
            to = keys::numbered(keys::INBOX, next);
        }
        for (key, value) in self.store.scan(&from, &to, Scan::Forward, usize::MAX)? {
            match decoded::<InboxRecord>(&value)?.waiting {
                Some(UnconfirmedEvent::Message(place)) if !self.archive => {
                    let (id, sequence) = (ConversationId::new(place.conversation), Seq::new(place.sequence));
                    self.store.delete(&keys::message(id, sequence))?;
                }
                Some(UnconfirmedEvent::Receipt(place)) => {
                    self.store.delete(&keys::receipt(ConversationId::new(place.conversation), ordinal_of(place)))?;
                }
                _ => {}
            }
            self.store.delete(&key)?;
        }
        Ok(())
    }
}

fn join(conversation: &mut KnownConversationRecord, since: Seq, member: wire::OpenedMember) {
    let (ordinal, user, role) = (member.ordinal.get(), member.user.to_string(), member.role.into());
    match conversation.members.iter_mut().find(|known| known.ordinal == ordinal) {
        Some(known) => (known.user, known.role, known.gone) = (user, role, false),
        None => conversation.members.push(KnownMemberRecord {
            ordinal,
            user,
            role,
            since: since.get(),
            ..Default::default()
        }),
    }
}

pub(super) fn role(conversation: &KnownConversationRecord, ordinal: Ordinal) -> client::Role {
    let member = conversation.members.iter().find(|member| member.ordinal == ordinal.get());
    member.and_then(|member| client::Role::try_from(member.role).ok()).unwrap_or_default()
}

/// Raises a member's watermarks; false if that says nothing new.
fn raise(conversation: &mut KnownConversationRecord, ordinal: u32, (delivered, read): (u64, u64)) -> bool {
    let (known_delivered, known_read) = match conversation.members.iter_mut().find(|member| member.ordinal == ordinal) {
        Some(member) => (&mut member.delivered, &mut member.read),
        None => {
            let at = conversation.early.iter().position(|early| early.ordinal == ordinal).unwrap_or_else(|| {
                conversation.early.push(EarlyRecord { ordinal, delivered: 0, read: 0 });
                conversation.early.len() - 1
            });
            let early = &mut conversation.early[at];
            (&mut early.delivered, &mut early.read)
        }
    };
    let raised = delivered > *known_delivered || read > *known_read;
    *known_delivered = delivered.max(*known_delivered);
    *known_read = read.max(*known_read);
    raised
}

fn watermark(conversation: &KnownConversationRecord, ordinal: Ordinal) -> (Option<UserId>, u64, u64) {
    if let Some(member) = conversation.members.iter().find(|member| member.ordinal == ordinal.get()) {
        return (UserId::new(&member.user).ok(), member.delivered, member.read);
    }
    let early = conversation.early.iter().find(|early| early.ordinal == ordinal.get());
    early.map_or((None, 0, 0), |early| (None, early.delivered, early.read))
}
