//! What is sealed on its way out, and opened on its way in. A send is sealed when it is about to leave, and what has left is in
//! the store first: under one epoch a number has one ciphertext, for ever. A message is opened in the commit that takes it in; one
//! whose key is not here yet is held back, and told to the app when it has come.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use godwit_e2ee::content::{self, Clear, Kind, Number, OpenError, Place};
use godwit_e2ee::live;
use godwit_e2ee::mls::group::EpochKeys;
use godwit_e2ee::mls::{Device, Epoch};
use godwit_schemas::client;
use godwit_schemas::content::Content;
use godwit_schemas::ids::{ConversationId, Ordinal, Seq};
use prost::Message as _;

use super::groups::Beginning;
use super::inbound::Received;
use super::record::{
    GroupResetRecord, KnownConversationRecord, MessageRecord, OutRecord, PlaintextRecord, ReactionRecord,
    UnconfirmedEvent, UndecryptableRecord,
};
use super::{Ledger, keys, place_of};
use crate::error::EncryptionFailure;
use crate::send::{Recipient, SendId};
use crate::store::{LocalStoreError, Scan};
use crate::wire::ConversationUpdate;

/// Messages that are looked through for some that are still sealed.
const PAST: usize = 10_000;

/// What becomes of a send.
pub(super) enum Outgoing {
    /// Its conversation is not encrypted.
    Plain,
    /// This is what leaves, under this epoch.
    Sealed(Bytes, u64),
    /// Nothing can be sealed there now.
    Waits,
    /// It cannot be sent there, for this reason.
    Never(&'static str),
}

/// What is needed to seal, by conversation: the same for all sends that are read together.
#[derive(Default)]
pub(super) struct Sealers(BTreeMap<ConversationId, Option<Sealer>>);

struct Sealer {
    device: Device,
    leaf: u32,
    epoch: Epoch,
    keys: EpochKeys,
}

/// What became of a sealed body.
enum Incoming {
    Opened(Bytes),
    /// Something is missing that may still come.
    Later,
    Never(String),
}

fn failed(error: impl ToString) -> LocalStoreError {
    LocalStoreError::new("seal", error)
}

impl Ledger {
    /// Seals a send that is about to leave, unless that was done.
    pub(super) fn outgoing(
        &mut self,
        id: SendId,
        to: &Recipient,
        out: &mut OutRecord,
        sealers: &mut Sealers,
        now_s: u64,
    ) -> Result<Outgoing, LocalStoreError> {
        let Recipient::Conversation(conversation) = *to else { return Ok(Outgoing::Plain) };
        let Some(record) = self.group_record(conversation)? else { return Ok(Outgoing::Plain) };
        if record.epoch == 0 && record.is_founding() {
            return Ok(Outgoing::Waits);
        }
        if !out.media.is_empty() {
            return Ok(Outgoing::Never("files cannot be sent into encrypted conversations yet"));
        }
        let known = match sealers.0.entry(conversation) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(self.sealer(conversation, &record, now_s)?),
        };
        let Some(sealer) = known else { return Ok(Outgoing::Waits) };
        if out.mls_epoch != sealer.epoch.number() || out.sealed.is_empty() {
            let content = Content { body: out.body.clone() }.encode_to_vec();
            let clear = Clear { reply_to: out.reply_to, media: &[], mentions: &out.mentions, silent: out.silent };
            let place = Place { conversation, epoch: sealer.epoch, kind: Kind::Message, target: 0, clear };
            let number = Number::of_send(self.opened, id.get());
            let by = (&sealer.device, sealer.leaf);
            let sealed = content::seal(&sealer.keys.base, &place, by, number, &content).map_err(failed)?;
            (out.sealed, out.mls_epoch) = (sealed.into(), sealer.epoch.number());
            self.store.put(&keys::outbox(id), &out.encode_to_vec())?;
        }
        Ok(Outgoing::Sealed(out.sealed.clone(), out.mls_epoch))
    }

    fn sealer(
        &mut self,
        id: ConversationId,
        record: &super::groups::GroupRecord,
        now_s: u64,
    ) -> Result<Option<Sealer>, LocalStoreError> {
        let Some((device, leaf)) = self.sealing(id, record, now_s)? else { return Ok(None) };
        let Some(epoch) = Epoch::from_number(record.epoch) else { return Ok(None) };
        let keys = self.epoch_keys(id, epoch)?;
        Ok(keys.map(|keys| Sealer { device, leaf, epoch, keys }))
    }

    /// The server did not take a send, because the conversation is in this epoch by now, or must leave it first. It stays in the
    /// outbox.
    pub(crate) fn stale(&mut self, id: SendId, current: u64) -> Result<(), LocalStoreError> {
        let Some(out) = self.record::<OutRecord>(&keys::outbox(id))? else { return Ok(()) };
        let to = super::outbound::recipient(&out.user, &out.phone, out.conversation);
        let conversation = match to {
            Recipient::Conversation(conversation) => Some(conversation),
            Recipient::User(user) => self.direct(&user)?,
            Recipient::Phone(_) => None,
        };
        match conversation {
            Some(conversation) => self.send_refused_in(conversation, out.mls_epoch, current),
            None => Ok(()),
        }
    }

    /// What is said about a message, sealed: the body that it is to have instead, or a reaction. `None`: the conversation is not
    /// encrypted.
    pub(crate) fn seal_about(
        &mut self,
        id: ConversationId,
        (kind, sequence): (Kind, Seq),
        body: &Bytes,
        now_s: u64,
    ) -> Result<Result<Option<(Bytes, u64)>, EncryptionFailure>, LocalStoreError> {
        if !self.is_encrypted(id)? {
            return Ok(Ok(None));
        }
        let record = self.group_record(id)?.unwrap_or_default();
        let Some(sealer) = self.sealer(id, &record, now_s)? else { return Ok(Err(EncryptionFailure::NotNow)) };
        let content = Content { body: body.clone() }.encode_to_vec();
        let (target, clear) = (sequence.get(), Clear::default());
        let place = Place { conversation: id, epoch: sealer.epoch, kind, target, clear };
        let by = (&sealer.device, sealer.leaf);
        let number = Number::random().map_err(failed)?;
        let sealed = content::seal(&sealer.keys.base, &place, by, number, &content).map_err(failed)?;
        Ok(Ok(Some((sealed.into(), sealer.epoch.number()))))
    }

    /// What others are to be told now, sealed; `None`: nothing can be told there now.
    pub(crate) fn seal_signal(&mut self, id: ConversationId, body: Bytes) -> Result<Option<Bytes>, LocalStoreError> {
        let Some(record) = self.group_record(id)? else { return Ok(Some(body)) };
        let Some((epoch, keys)) = self.current_keys(id, record.epoch)? else { return Ok(None) };
        Ok(live::seal(&keys.live, id, epoch, &body).ok().map(Bytes::from))
    }

    /// What somebody tells now; `None`: it is not of the epoch that the conversation is in.
    pub(crate) fn open_signal(&mut self, id: ConversationId, body: Bytes) -> Result<Option<Bytes>, LocalStoreError> {
        let Some(record) = self.group_record(id)? else { return Ok(Some(body)) };
        let Some((epoch, keys)) = self.current_keys(id, record.epoch)? else { return Ok(None) };
        Ok(live::open(&keys.live, id, epoch, &body).ok().map(Bytes::from))
    }

    fn current_keys(&mut self, id: ConversationId, epoch: u64) -> Result<Option<(Epoch, EpochKeys)>, LocalStoreError> {
        let Some(epoch) = Epoch::from_number(epoch) else { return Ok(None) };
        Ok(self.epoch_keys(id, epoch)?.map(|keys| (epoch, keys)))
    }

    /// A message as it is to be kept; `None`: it is no message for the app, which is told what it is instead. One that is still
    /// sealed is kept, and told later.
    pub(super) fn incoming(
        &mut self,
        id: ConversationId,
        sequence: Seq,
        mut message: MessageRecord,
        conversation: &KnownConversationRecord,
    ) -> Result<Option<MessageRecord>, LocalStoreError> {
        let place = place_of(id, sequence.get());
        if message.mls_epoch == 0 {
            if !self.is_encrypted(id)? {
                return Ok(Some(message));
            }
            let (sender, body) = (message.sender, message.body);
            self.tell(UnconfirmedEvent::Plaintext(PlaintextRecord { place, sender, body }))?;
            return Ok(None);
        }
        match self.open_message(id, sequence, &message, conversation)? {
            Incoming::Opened(body) => message.body = body,
            Incoming::Later => {
                message.sealed = true;
                self.store.put(&keys::held(id, sequence), b"")?;
            }
            Incoming::Never(why) => {
                message.sealed = true;
                self.tell(UnconfirmedEvent::Undecryptable(UndecryptableRecord { place, why }))?;
            }
        }
        Ok(Some(message))
    }

    /// A message of history, which is no news: opened if its key is here.
    pub(super) fn past_message(
        &mut self,
        (id, sequence): (ConversationId, Seq),
        message: &mut MessageRecord,
        conversation: &KnownConversationRecord,
    ) -> Result<(), LocalStoreError> {
        if message.mls_epoch > 0 && !message.recalled {
            match self.open_message(id, sequence, message, conversation)? {
                Incoming::Opened(body) => message.body = body,
                Incoming::Later | Incoming::Never(_) => message.sealed = true,
            }
        }
        for reaction in &mut message.reactions {
            self.open_reaction(id, sequence, reaction, conversation)?;
        }
        Ok(())
    }

    fn open_reaction(
        &mut self,
        id: ConversationId,
        sequence: Seq,
        reaction: &mut ReactionRecord,
        conversation: &KnownConversationRecord,
    ) -> Result<bool, LocalStoreError> {
        if reaction.sealed.is_empty() {
            return Ok(false);
        }
        let what = (reaction.mls_epoch, Kind::Reaction, sequence.get(), Clear::default());
        let sealed = reaction.sealed.clone();
        let Incoming::Opened(body) = self.open_body(id, what, reaction.member, &sealed, conversation)? else {
            return Ok(false);
        };
        (reaction.reaction, reaction.sealed) = (String::from_utf8_lossy(&body).into_owned(), Bytes::new());
        Ok(true)
    }

    fn open_message(
        &mut self,
        id: ConversationId,
        sequence: Seq,
        message: &MessageRecord,
        conversation: &KnownConversationRecord,
    ) -> Result<Incoming, LocalStoreError> {
        let media: Vec<_> = message.media.iter().map(|media| media.id.as_str()).collect();
        let clear =
            Clear { reply_to: message.reply_to, media: &media, mentions: &message.mentions, silent: message.silent };
        // A message that was edited has the body of its edit.
        let edit = (message.mls_epoch, Kind::Edit, sequence.get(), Clear::default());
        let what = if message.edited { edit } else { (message.mls_epoch, Kind::Message, 0, clear) };
        self.open_body(id, what, message.sender, &message.body, conversation)
    }

    fn open_body(
        &mut self,
        id: ConversationId,
        (number, kind, target, clear): (u64, Kind, u64, Clear<'_>),
        sender: u32,
        sealed: &[u8],
        conversation: &KnownConversationRecord,
    ) -> Result<Incoming, LocalStoreError> {
        let Some(epoch) = Epoch::from_number(number) else { return Ok(Incoming::Never("no epoch".to_owned())) };
        let Some(keys) = self.epoch_keys(id, epoch)? else {
            return Ok(if self.may_come(id, number)? {
                Incoming::Later
            } else {
                Incoming::Never("this device has not the key that it was sealed with".to_owned())
            });
        };
        let Some(user) = conversation.members.iter().find(|member| member.ordinal == sender) else {
            return Ok(Incoming::Later);
        };
        let user = user.user.clone();
        let place = Place { conversation: id, epoch, kind, target, clear };
        let mut missing = None;
        let opened = match content::open(&keys.base, &place, sealed, |_| None) {
            Err(OpenError::Signer(by)) => {
                let certificate = self.signer(&user, by)?;
                missing = certificate.is_none().then_some(by);
                content::open(&keys.base, &place, sealed, |_| certificate.as_ref())
            }
            other => other,
        };
        Ok(match opened {
            Ok(opened) => match Content::decode(&opened.content[..]) {
                Ok(content) => Incoming::Opened(content.body),
                Err(error) => Incoming::Never(error.to_string()),
            },
            Err(_) if missing.is_some() => {
                Incoming::Never("it is not signed by a device of its sender that was in the conversation".to_owned())
            }
            Err(error) => Incoming::Never(error.to_string()),
        })
    }

    /// Opens what was held back, as far as its keys have come, and tells the app.
    pub(crate) fn open_held(&mut self, received: &mut Received) -> Result<(), LocalStoreError> {
        let (from, to) = keys::HELD;
        for (key, _) in self.store.scan(from, to, Scan::Forward, usize::MAX)? {
            let (id, sequence) = keys::held_at(&key);
            let place = place_of(id, sequence.get());
            let mut conversation = self.conversation_record(id)?;
            let Some(mut message) = self.record::<MessageRecord>(&keys::message(id, sequence))? else {
                self.store.delete(&key)?;
                continue;
            };
            match self.open_message(id, sequence, &message, &conversation)? {
                Incoming::Later => continue,
                Incoming::Opened(body) => {
                    (message.body, message.sealed) = (body, false);
                    self.put(&keys::message(id, sequence), &message)?;
                    if let Some(unread) =
                        conversation.unread.filter(|_| self.is_unread(&conversation, sequence, &message))
                    {
                        conversation.unread = Some(unread + 1);
                        self.put(&keys::conversation(id), &conversation)?;
                    }
                    self.tell(UnconfirmedEvent::Message(place))?;
                }
                Incoming::Never(why) => {
                    self.tell(UnconfirmedEvent::Undecryptable(UndecryptableRecord { place, why }))?;
                }
            }
            self.store.delete(&key)?;
            received.news = true;
        }
        Ok(())
    }

    /// Opens what came from history before its key did.
    pub(super) fn open_past(&mut self, id: ConversationId) -> Result<(), LocalStoreError> {
        let conversation = self.conversation_record(id)?;
        let (from, to) = (keys::message(id, Seq::default()), keys::message(id, Seq::new(u64::MAX)));
        for (key, value) in self.store.scan(&from, &to, Scan::Backward, PAST)? {
            let mut message: MessageRecord = super::decoded(&value)?;
            let sequence = keys::sequence(&key);
            let mut opened = false;
            for reaction in &mut message.reactions {
                opened |= self.open_reaction(id, sequence, reaction, &conversation)?;
            }
            // What is held back is told when it is opened.
            if message.sealed
                && self.store.get(&keys::held(id, sequence))?.is_none()
                && let Incoming::Opened(body) = self.open_message(id, sequence, &message, &conversation)?
            {
                (message.body, message.sealed, opened) = (body, false, true);
            }
            if opened {
                self.put(&key, &message)?;
            }
        }
        Ok(())
    }

    /// Takes what a change says of the group, and opens the body that it has. Returns the change and its payload as the app is to
    /// be told of them; `None`: it is not told.
    pub(super) fn incoming_change(
        &mut self,
        (id, sequence, by): (ConversationId, Seq, Ordinal),
        change: ConversationUpdate,
        payload: &Bytes,
        conversation: &KnownConversationRecord,
        now_s: u64,
    ) -> Result<Option<(ConversationUpdate, Bytes)>, LocalStoreError> {
        let Ok(client::Event { event: Some(client::event::Event::Change(mut raw)) }) =
            client::Event::decode(payload.clone())
        else {
            return Ok(Some((change, payload.clone())));
        };
        let mut beginning = Beginning::Next;
        if let Some(mls) = raw.mls.take() {
            let me = conversation.members.iter().find(|member| member.user == self.me.as_str());
            let by_me = me.is_some_and(|me| me.ordinal == by.get());
            beginning = self.begins_epoch(id, &mls, by_me, now_s)?;
        }
        if beginning == Beginning::Anew {
            let place = place_of(id, sequence.get());
            self.tell(UnconfirmedEvent::GroupReset(GroupResetRecord { place, by: by.get() }))?;
        }
        match (&change, &mut raw.change) {
            (ConversationUpdate::Encrypted, _) if beginning != Beginning::First => Ok(None),
            (ConversationUpdate::Opened { .. }, Some(client::change::Change::Opened(opened))) => {
                self.announced(id, opened.mls_epoch)?;
                Ok(Some((change, payload.clone())))
            }
            (ConversationUpdate::Edited(target, body), Some(client::change::Change::Edited(edited))) => {
                if edited.mls_epoch == 0 && !self.is_encrypted(id)? {
                    return Ok(Some((change, payload.clone())));
                }
                let what = (edited.mls_epoch, Kind::Edit, target.get(), Clear::default());
                match self.open_body(id, what, by.get(), body, conversation)? {
                    Incoming::Opened(body) => {
                        edited.body = body.clone();
                        let change = ConversationUpdate::Edited(*target, body);
                        let event = Some(client::event::Event::Change(raw));
                        Ok(Some((change, client::Event { event }.encode_to_vec().into())))
                    }
                    Incoming::Later | Incoming::Never(_) => {
                        let (place, why) = (place_of(id, sequence.get()), "an edit that cannot be opened".to_owned());
                        self.tell(UnconfirmedEvent::Undecryptable(UndecryptableRecord { place, why }))?;
                        Ok(None)
                    }
                }
            }
            (ConversationUpdate::Reacted(target, _), Some(client::change::Change::Reacted(reacted))) => {
                if reacted.sealed.is_empty() {
                    // A reaction that is not sealed is not believed where all are; that there is none any more, is.
                    let is_none = reacted.reaction.is_empty() || !self.is_encrypted(id)?;
                    return Ok(is_none.then(|| (change, payload.clone())));
                }
                let what = (reacted.mls_epoch, Kind::Reaction, target.get(), Clear::default());
                let Incoming::Opened(body) = self.open_body(id, what, by.get(), &reacted.sealed, conversation)? else {
                    return Ok(None);
                };
                let text = String::from_utf8_lossy(&body).into_owned();
                (reacted.reaction, reacted.sealed) = (text.clone(), Bytes::new());
                let change = ConversationUpdate::Reacted(*target, text);
                let event = Some(client::event::Event::Change(raw));
                Ok(Some((change, client::Event { event }.encode_to_vec().into())))
            }
            _ => Ok(Some((change, payload.clone()))),
        }
    }
}
