//! Sends: queued, answered, placed, ticked.

use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, Seq, UserId};
use godwit_schemas::phone::PhoneNumber;
use prost::Message as _;

use super::record::{KnownConversationRecord, OutRecord, SentRecord, UnconfirmedEvent, UnplacedSendRecord};
use super::{Ledger, SENT_KEPT, decoded, keep_tracker, keys, tracker_of};
use crate::media::{Media, told};
use crate::send::{Draft, Recipient, SendId, SendState, refusal};
use crate::store::{LocalStoreError, Scan};

/// A send that was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnansweredSend {
    pub(crate) id: SendId,
    /// The name of the count that its number is of.
    pub(crate) counter: u64,
    /// The conversation, where it is known: that is shorter than a name.
    pub(crate) to: Recipient,
    /// With the body as it leaves.
    pub(crate) draft: Draft,
    /// The epoch whose key sealed it; 0: it is not sealed.
    pub(crate) mls_epoch: u64,
}

/// A piece of the outbox.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct OutboxPage {
    /// What may leave, oldest first.
    pub(crate) sends: Vec<UnansweredSend>,
    /// What can never leave, and why.
    pub(crate) refused: Vec<(SendId, u8, String)>,
    /// The last one that was looked at.
    pub(crate) read_up_to: u64,
    /// There may be more behind it.
    pub(crate) more: bool,
}

impl Ledger {
    /// Puts a message in the outbox.
    pub(crate) fn queue(&mut self, to: &Recipient, draft: Draft, now_s: u64) -> Result<SendId, LocalStoreError> {
        let id = SendId::new(self.number(keys::LAST_SEND)? + 1);
        self.set_number(keys::LAST_SEND, id.get())?;
        let (user, phone, conversation) = parts(to);
        let Draft { body, expires_in_s, reply_to, media, silent, mentions } = draft;
        let (reply_to, media) = (reply_to.map_or(0, Seq::get), kept(media));
        let queued_at_s = now_s;
        let (sealed, mls_epoch) = (bytes::Bytes::new(), 0);
        let out = OutRecord {
            user,
            conversation,
            body,
            expires_in_s,
            queued_at_s,
            reply_to,
            media,
            phone,
            silent,
            mentions,
            sealed,
            mls_epoch,
        };
        self.store.put(&keys::outbox(id), &out.encode_to_vec())?;
        self.count_unanswered(to, 1)?;
        Ok(id)
    }

    /// The oldest unanswered sends after this one that may leave now.
    pub(crate) fn unanswered(&mut self, after: u64, limit: usize, now_s: u64) -> Result<OutboxPage, LocalStoreError> {
        let (from, to) = keys::above(keys::OUTBOX, after);
        let pairs = self.store.scan(&from, &to, Scan::Forward, limit)?;
        let mut page = OutboxPage { read_up_to: after, more: pairs.len() == limit, ..OutboxPage::default() };
        #[cfg(feature = "e2ee")]
        let mut sealers = super::sealed::Sealers::default();
        #[cfg(not(feature = "e2ee"))]
        let _ = now_s;
        for (key, value) in pairs {
            #[cfg_attr(not(feature = "e2ee"), allow(unused_mut, reason = "it is sealed"))]
            let mut out = decoded::<OutRecord>(&value)?;
            let mut to = recipient(&out.user, &out.phone, out.conversation);
            if let Recipient::User(user) = &to
                && let Some(known) = self.direct(user)?
            {
                to = Recipient::Conversation(known);
            }
            let id = SendId::new(keys::number(&key));
            page.read_up_to = id.get();
            #[cfg(feature = "e2ee")]
            let sealed = match self.outgoing(id, &to, &mut out, &mut sealers, now_s)? {
                super::sealed::Outgoing::Plain => None,
                super::sealed::Outgoing::Sealed(body, epoch) => Some((body, epoch)),
                super::sealed::Outgoing::Waits => continue,
                super::sealed::Outgoing::Never(why) => {
                    page.refused.push((
                        id,
                        godwit_schemas::reason::Reason::IMPLEMENTATION_SPECIFIC.get(),
                        why.to_owned(),
                    ));
                    continue;
                }
            };
            #[cfg(not(feature = "e2ee"))]
            let sealed = None;
            let OutRecord { body, expires_in_s, reply_to, media, silent, mentions, .. } = out;
            let (body, mls_epoch) = sealed.unwrap_or((body, 0));
            let (reply_to, media) = (Seq::unless_zero(reply_to), told(media));
            let draft = Draft { body, expires_in_s, reply_to, media, silent, mentions };
            page.sends.push(UnansweredSend { id, counter: self.counter, to, draft, mls_epoch });
        }
        Ok(page)
    }

    /// The server has stored a send, at this place if it says so. Returns every send that has a place now.
    pub(crate) fn stored(
        &mut self,
        id: SendId,
        at: Option<(ConversationId, Seq)>,
    ) -> Result<Vec<SendId>, LocalStoreError> {
        let Some((to, out)) = self.answered(id)? else { return Ok(Vec::new()) };
        let conversation = match (&at, &to) {
            (Some((conversation, _)), _) | (None, Recipient::Conversation(conversation)) => Some(*conversation),
            (None, Recipient::User(user)) => self.direct(user)?,
            (None, Recipient::Phone(_)) => None,
        };
        let sent = SentRecord {
            conversation: conversation.unwrap_or_default().get(),
            body: out.body,
            reply_to: out.reply_to,
            queued_at_s: out.queued_at_s,
            user: out.user,
            phone: out.phone,
            media: out.media,
            ..SentRecord::default()
        };
        self.put(&keys::sent(id), &sent)?;
        if !self.archive && id.get() > SENT_KEPT {
            self.store.delete(&keys::sent(SendId::new(id.get() - SENT_KEPT)))?;
        }
        let Some(conversation) = conversation else {
            self.stored_without_conversation(&to, id)?;
            return Ok(Vec::new());
        };
        let mut record = self.conversation_record(conversation)?;
        record.active_at_s = record.active_at_s.max(out.queued_at_s);
        let mut placed = Vec::new();
        match at {
            Some((_, place)) => {
                let mut order = tracker_of(&record);
                order.own(place.get());
                keep_tracker(&mut record, order);
                self.place(id, conversation, place, &mut record)?;
                placed.push(id);
                let earlier = record.unplaced.iter_mut().filter(|send| send.id < id.get() && send.below == 0);
                earlier.for_each(|send| send.below = place.get());
            }
            None => record.unplaced.push(UnplacedSendRecord { id: id.get(), above: record.last_own, below: 0 }),
        }
        placed.extend(self.settle(conversation, &mut record)?);
        self.put(&keys::conversation(conversation), &record)?;
        Ok(placed)
    }

    /// The server says that it took this send before, as all of this store's count up to `last`. Believed of what this
    /// store may have sent; false: others have counted further under its name, and what this number was for is not known.
    /// Numbers go on above theirs.
    pub(crate) fn is_own_repetition(&mut self, id: SendId, last: u64) -> Result<bool, LocalStoreError> {
        let given = self.number(keys::LAST_SEND)?;
        if last > given {
            self.set_number(keys::STRANGE, given)?;
            self.set_number(keys::LAST_SEND, last)?;
        }
        Ok(id.get() > self.number(keys::STRANGE)?)
    }

    /// The server does not take a send.
    pub(crate) fn refused(&mut self, id: SendId, reason: u32, text: &str) -> Result<Vec<SendId>, LocalStoreError> {
        let Some((to, out)) = self.answered(id)? else { return Ok(Vec::new()) };
        let OutRecord { conversation, queued_at_s, user, phone, .. } = out;
        let text = text.to_owned();
        let sent = SentRecord { conversation, queued_at_s, reason, text, user, phone, ..Default::default() };
        self.put(&keys::sent(id), &sent)?;
        self.tell(UnconfirmedEvent::Refused(id.get()))?;
        let Recipient::Conversation(conversation) = to else { return Ok(Vec::new()) };
        let mut record = self.conversation_record(conversation)?;
        let placed = self.settle(conversation, &mut record)?;
        self.put(&keys::conversation(conversation), &record)?;
        Ok(placed)
    }

    fn answered(&mut self, id: SendId) -> Result<Option<(Recipient, OutRecord)>, LocalStoreError> {
        let Some(out) = self.record::<OutRecord>(&keys::outbox(id))? else { return Ok(None) };
        self.store.delete(&keys::outbox(id))?;
        let to = recipient(&out.user, &out.phone, out.conversation);
        self.count_unanswered(&to, -1)?;
        Ok(Some((to, out)))
    }

    pub(super) fn count_unanswered(&mut self, to: &Recipient, by: i64) -> Result<(), LocalStoreError> {
        let key = match to {
            Recipient::User(user) => keys::unanswered_of_user(user),
            Recipient::Conversation(id) => keys::unanswered_of(*id),
            Recipient::Phone(_) => keys::UNANSWERED_PHONES.to_vec(),
        };
        match self.number(&key)?.saturating_add_signed(by) {
            0 => self.store.delete(&key),
            count => self.set_number(&key, count),
        }
    }

    /// Sends to this conversation are on their way, under its number or the other side's name, or to a phone number that
    /// may be theirs.
    pub(super) fn has_unanswered(
        &mut self,
        id: ConversationId,
        conversation: &KnownConversationRecord,
    ) -> Result<bool, LocalStoreError> {
        let mut keys = vec![keys::unanswered_of(id)];
        if !conversation.group {
            let users = conversation.members.iter().filter_map(|member| UserId::new(&member.user).ok());
            keys.extend(users.map(|user| keys::unanswered_of_user(&user)));
            keys.push(keys::UNANSWERED_PHONES.to_vec());
        }
        for key in keys {
            if self.number(&key)? > 0 {
                return Ok(true);
            }
        }
        Ok(!conversation.group && self.has_unrouted_phones()?)
    }

    /// The direct conversation with a user, if this device knows of it.
    pub(crate) fn direct(&mut self, user: &UserId) -> Result<Option<ConversationId>, LocalStoreError> {
        Ok(Some(self.number(&keys::direct(user))?).filter(|id| *id > 0).map(ConversationId::new))
    }

    /// How far a send is; `None`: there is none, or it is no longer kept.
    pub(crate) fn state(&mut self, id: SendId) -> Result<Option<SendState>, LocalStoreError> {
        if self.store.get(&keys::outbox(id))?.is_some() {
            return Ok(Some(SendState::Queued));
        }
        let Some(sent) = self.record::<SentRecord>(&keys::sent(id))? else { return Ok(None) };
        if sent.reason != 0 {
            return Ok(Some(SendState::Refused(refusal(sent.reason, &sent.text))));
        }
        if sent.sequence == 0 {
            return Ok(Some(SendState::Sent { at: None }));
        }
        let at = (ConversationId::new(sent.conversation), Seq::new(sent.sequence));
        let conversation = self.conversation_record(at.0)?;
        Ok(Some(ticks(&conversation, &self.me, at)))
    }

    /// How far these sends are; those that are gone are left out.
    pub(crate) fn states(&mut self, ids: &[SendId]) -> Result<Vec<(SendId, SendState)>, LocalStoreError> {
        let states = ids.iter().map(|id| Ok(self.state(*id)?.map(|state| (*id, state))));
        states.filter_map(Result::transpose).collect()
    }
}

/// What a message at this place has reached with all who were to get it and are still there.
pub(super) fn ticks(conversation: &KnownConversationRecord, me: &UserId, at: (ConversationId, Seq)) -> SendState {
    let place = at.1.get();
    let others = conversation.members.iter().filter(|m| m.user != me.as_str() && !m.gone && m.since < place);
    let reached = others.fold(None, |least: Option<(u64, u64)>, member| {
        let (delivered, read) = least.unwrap_or((u64::MAX, u64::MAX));
        Some((delivered.min(member.delivered.max(member.read)), read.min(member.read)))
    });
    match reached {
        Some((_, read)) if read >= place => SendState::Read { at },
        Some((delivered, _)) if delivered >= place => SendState::Delivered { at },
        _ => SendState::Sent { at: Some(at) },
    }
}

/// A recipient as records have it.
pub(crate) fn parts(to: &Recipient) -> (String, String, u64) {
    match to {
        Recipient::User(user) => (user.to_string(), String::new(), 0),
        Recipient::Phone(number) => (String::new(), number.to_string(), 0),
        Recipient::Conversation(id) => (String::new(), String::new(), id.get()),
    }
}

/// The other way round.
pub(super) fn recipient(user: &str, phone: &str, conversation: u64) -> Recipient {
    match (UserId::new(user), PhoneNumber::parse(phone)) {
        (Ok(user), _) => Recipient::User(user),
        (_, Ok(number)) => Recipient::Phone(number),
        _ => Recipient::Conversation(ConversationId::new(conversation)),
    }
}

/// Files as records have them.
pub(super) fn kept(media: Vec<Media>) -> Vec<client::Media> {
    media.into_iter().map(client::Media::from).collect()
}
