//! How many messages this user has not read: of others, above what it has read, not taken back, and kept on this device. The
//! number stands with the conversation and goes along with what happens; it is counted where it is not known.

use godwit_schemas::ids::{ConversationId, Seq};

use super::record::{KnownConversationRecord, MessageRecord};
use super::{Ledger, decoded, keys};
use crate::store::{LocalStoreError, Scan};

/// Messages that are looked at together.
const BATCH: usize = 64;

impl Ledger {
    /// Whether this message is one of them.
    pub(super) fn is_unread(&self, conversation: &KnownConversationRecord, at: Seq, message: &MessageRecord) -> bool {
        at.get() > conversation.read && self.is_of_others(conversation, message)
    }

    fn is_of_others(&self, conversation: &KnownConversationRecord, message: &MessageRecord) -> bool {
        let mut members = conversation.members.iter();
        let sender = members.find(|member| member.ordinal == message.sender);
        !message.recalled && message.send == 0 && sender.is_none_or(|sender| sender.user != self.me.as_str())
    }

    /// This user has read up to here.
    pub(super) fn read_up_to(
        &mut self,
        id: ConversationId,
        conversation: &mut KnownConversationRecord,
        up_to: u64,
    ) -> Result<(), LocalStoreError> {
        if up_to <= conversation.read {
            return Ok(());
        }
        if let Some(unread) = conversation.unread {
            // Each message is looked at once, however often this is called.
            let read = if unread == 0 { 0 } else { self.count(id, conversation, conversation.read, up_to)? };
            conversation.unread = Some(unread.saturating_sub(read));
        }
        conversation.read = up_to;
        Ok(())
    }

    /// How many there are. Without an archive messages go one by one, and are counted each time.
    pub(super) fn unread(
        &mut self,
        id: ConversationId,
        conversation: &mut KnownConversationRecord,
    ) -> Result<u64, LocalStoreError> {
        match conversation.unread {
            Some(unread) if self.archive => Ok(unread),
            _ => {
                let unread = self.count(id, conversation, conversation.read, u64::MAX)?;
                if conversation.unread.replace(unread) != Some(unread) {
                    self.put(&keys::conversation(id), conversation)?;
                }
                Ok(unread)
            }
        }
    }

    fn count(
        &mut self,
        id: ConversationId,
        conversation: &KnownConversationRecord,
        above: u64,
        to: u64,
    ) -> Result<u64, LocalStoreError> {
        let end = keys::message(id, Seq::new(to.saturating_add(1)));
        let (mut from, mut count) = (above.saturating_add(1), 0);
        loop {
            let messages = self.store.scan(&keys::message(id, Seq::new(from)), &end, Scan::Forward, BATCH)?;
            let Some((last, _)) = messages.last() else { return Ok(count) };
            from = keys::sequence(last).get().saturating_add(1);
            for (_, value) in &messages {
                count += u64::from(self.is_of_others(conversation, &decoded(value)?));
            }
        }
    }
}
