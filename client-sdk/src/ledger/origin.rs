//! Which server this store is of, and what happens to it when that server was restored from a backup: it has forgotten what
//! came after the backup, and this device has not. What both know stays; conversations that the server does not have are
//! nobody's any more; messages that were not sent go only where the members are those that this device knew.

use std::collections::{BTreeMap, BTreeSet};

use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, UserId};
use godwit_schemas::reason::Reason;
use prost::Message as _;

use super::outbound::recipient;
use super::record::{KnownConversationRecord, OutRecord, RestoredRecord, UnconfirmedEvent};
use super::{Ledger, decoded, keep_tracker, keys, tracker_of};
#[cfg(feature = "media")]
use crate::error::FileFailure;
#[cfg(feature = "media")]
use crate::send::refusal;
use crate::send::{Recipient, SendId};
use crate::store::{LocalStoreError, Scan};

const GONE: &str = "the server was restored from a backup, and this conversation is not there any more";
const UNSURE: &str = "the server was restored from a backup, and whether this conversation is what it was is not known";
const OTHERS: &str =
    "the server was restored from a backup, and this conversation has other members than when it was written";

/// A server, and since when its memory goes on without a break: see `client.Server`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerIdentity {
    pub(crate) server: u64,
    pub(crate) epoch: u64,
}

/// What a restored server has of the conversations that this device knows.
#[derive(Debug, Default)]
pub(crate) struct RestoreFindings {
    /// Those that it described.
    pub(crate) there: BTreeMap<ConversationId, client::Opened>,
    /// Those that it does not let this user look at, or does not have.
    pub(crate) gone: BTreeSet<ConversationId>,
    /// Those of which it says nothing.
    pub(crate) unsure: BTreeSet<ConversationId>,
}

impl Ledger {
    /// The server that this store is of; `None`: it does not know yet.
    pub(crate) fn origin(&mut self) -> Result<Option<ServerIdentity>, LocalStoreError> {
        let stored = self.store.get(keys::SERVER)?.and_then(|value| <[u8; 16]>::try_from(value).ok());
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok(stored.map(|value| ServerIdentity { server: number(&value[..8]), epoch: number(&value[8..]) }))
    }

    /// From now on it is of this one.
    pub(crate) fn set_origin(&mut self, origin: ServerIdentity) -> Result<(), LocalStoreError> {
        self.store.put(keys::SERVER, &[origin.server.to_be_bytes(), origin.epoch.to_be_bytes()].concat())
    }

    /// The server was restored: it gives places above this one. Those below it that did not come are of a history that is no
    /// more, or come yet; none of them is missing. Returns the conversations that are known, each to be asked about.
    pub(crate) fn leap(&mut self, above: u64) -> Result<BTreeSet<ConversationId>, LocalStoreError> {
        let (from, to) = keys::above(keys::CONVERSATIONS, 0);
        let mut known = BTreeSet::new();
        for (key, value) in self.store.scan(&from, &to, Scan::Forward, usize::MAX)? {
            let mut conversation = decoded::<KnownConversationRecord>(&value)?;
            let mut order = tracker_of(&conversation);
            order.leap(above);
            keep_tracker(&mut conversation, order);
            // Where these sends stood only the server could have told.
            conversation.unplaced.clear();
            self.put(&key, &conversation)?;
            known.insert(ConversationId::new(keys::number(&key)));
        }
        Ok(known)
    }

    /// The server was restored, and has said what it has. Returns the sends that are refused now.
    pub(crate) fn restored(
        &mut self,
        origin: ServerIdentity,
        found: RestoreFindings,
    ) -> Result<Vec<SendId>, LocalStoreError> {
        let mut others = BTreeSet::new();
        for (id, opened) in found.there {
            let before = self.conversation_record(id)?;
            let now: BTreeSet<_> = opened.members.iter().map(|member| member.user.clone()).collect();
            if before.known && present(&before) != now {
                others.insert(id);
            }
            self.described(id, opened)?;
        }
        let mut lost = Vec::new();
        for id in &found.gone {
            let mut conversation = self.conversation_record(*id)?;
            if present(&conversation).contains(self.me.as_str()) {
                lost.push(id.get());
            }
            self.forget_direct(*id, &conversation)?;
            conversation.members.iter_mut().for_each(|member| member.gone = true);
            self.put(&keys::conversation(*id), &conversation)?;
        }
        let against = |id| match id {
            id if found.gone.contains(&id) => Some((Reason::TOPIC_NAME_INVALID, GONE)),
            id if others.contains(&id) => Some((Reason::NOT_AUTHORIZED, OTHERS)),
            id if found.unsure.contains(&id) => Some((Reason::NOT_AUTHORIZED, UNSURE)),
            _ => None,
        };
        let refused = self.judge_unsent(&against)?;
        #[cfg(feature = "media")]
        self.judge_files(&against)?;
        self.tell(UnconfirmedEvent::Restored(RestoredRecord { lost }))?;
        // There may be some that this device has left since.
        self.set_number(keys::LISTED, 0)?;
        self.has_new_fills = true;
        self.set_origin(origin)?;
        Ok(refused)
    }

    /// The direct conversation is no more; the next message to its other side opens another.
    fn forget_direct(
        &mut self,
        id: ConversationId,
        conversation: &KnownConversationRecord,
    ) -> Result<(), LocalStoreError> {
        for user in conversation.members.iter().filter_map(|member| UserId::new(&member.user).ok()) {
            if self.direct(&user)? == Some(id) {
                self.store.delete(&keys::direct(&user))?;
            }
        }
        Ok(())
    }

    /// Sends to conversations against which something speaks are refused, or go to the other side by its name.
    fn judge_unsent(
        &mut self,
        against: &impl Fn(ConversationId) -> Option<(Reason, &'static str)>,
    ) -> Result<Vec<SendId>, LocalStoreError> {
        let (from, to) = keys::above(keys::OUTBOX, 0);
        let mut refused = Vec::new();
        for (key, value) in self.store.scan(&from, &to, Scan::Forward, usize::MAX)? {
            let out = decoded::<OutRecord>(&value)?;
            let Recipient::Conversation(id) = recipient(&out.user, &out.phone, out.conversation) else { continue };
            let send = SendId::new(keys::number(&key));
            let Some((reason, text)) = against(id) else { continue };
            match self.other_side(id)? {
                Some(user) => self.readdress(send, out, &user)?,
                None => {
                    refused.push(send);
                    refused.extend(self.refused(send, reason.into(), text)?);
                }
            }
        }
        Ok(refused)
    }

    #[cfg(feature = "media")]
    fn judge_files(
        &mut self,
        against: &impl Fn(ConversationId) -> Option<(Reason, &'static str)>,
    ) -> Result<(), LocalStoreError> {
        for (file, record) in self.files()? {
            let to = record.recipient();
            if let Recipient::Conversation(id) = to
                && let Some((reason, text)) = against(id)
            {
                self.file_failed(file, &FileFailure::Refused(refusal(reason.into(), text)))?;
            }
        }
        Ok(())
    }

    /// Of a direct conversation.
    fn other_side(&mut self, id: ConversationId) -> Result<Option<UserId>, LocalStoreError> {
        let KnownConversationRecord { known, group, members, .. } = self.conversation_record(id)?;
        let other = members.iter().find(|member| member.user != self.me.as_str()).or(members.first());
        Ok(other.filter(|_| known && !group).and_then(|other| UserId::new(&other.user).ok()))
    }

    /// The send is for this user, whatever the number of the conversation with it is.
    fn readdress(&mut self, send: SendId, out: OutRecord, user: &UserId) -> Result<(), LocalStoreError> {
        self.count_unanswered(&Recipient::Conversation(ConversationId::new(out.conversation)), -1)?;
        self.count_unanswered(&Recipient::User(user.clone()), 1)?;
        // What it answers stood in the other one.
        let out = OutRecord { user: user.to_string(), conversation: 0, reply_to: 0, ..out };
        self.store.put(&keys::outbox(send), &out.encode_to_vec())
    }
}

fn present(conversation: &KnownConversationRecord) -> BTreeSet<String> {
    conversation.members.iter().filter(|member| !member.gone).map(|member| member.user.clone()).collect()
}
