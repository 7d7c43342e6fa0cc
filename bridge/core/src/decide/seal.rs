//! Sealed messages: who may send what into an encrypted conversation, and who is given anything of it. The server cannot open
//! them. What it sees to is that a message counts only in the epoch that its place is in, and that nobody who has left is still in
//! the group: so a message is sealed to exactly those who are members at its place.

use godwit_schemas::ids::ConversationId;

use super::Decision;
use crate::command::CommandOrigin;
use crate::conversation::Conversation;
use crate::refusal::{self, Refusal};

impl Decision<'_> {
    /// Whether a message or edit that is sealed under this epoch (0: not sealed) may take a place. Costs a plain conversation a
    /// comparison.
    pub(super) fn may_seal(&mut self, origin: &CommandOrigin, id: ConversationId, epoch: u64) -> Result<(), Refusal> {
        let Some(conversation) = self.cache.conversation(id) else { return Ok(()) };
        let Some(mls) = &conversation.mls else {
            return match epoch {
                0 if self.rules.encryption.is_some_and(|rules| rules.required) => Err(refusal::ENCRYPTION_REQUIRED),
                0 => Ok(()),
                _ => Err(refusal::NOT_ENCRYPTED),
            };
        };
        if epoch == 0 {
            return Err(refusal::NOT_SEALED);
        }
        self.current_epoch = mls.epoch;
        if mls.is_outdated(conversation.floor_of_places()) {
            return Err(refusal::MLS_GROUP_OUTDATED);
        }
        if epoch != mls.epoch {
            return Err(refusal::ANOTHER_MLS_EPOCH);
        }
        if self.owes_removal(conversation) {
            return Err(refusal::MLS_GROUP_OWES);
        }
        if mls.is_worn(self.now_s) {
            return Err(refusal::MLS_EPOCH_WORN);
        }
        self.current_epoch = 0;
        origin.device.and_then(|device| mls.certificate_of(device)).ok_or(refusal::NOT_IN_MLS_GROUP)?;
        Ok(())
    }

    /// Whether somebody is in the group who should not be: a device that is no more or has another certificate, or one of a user
    /// who is no member any more.
    fn owes_removal(&self, conversation: &Conversation) -> bool {
        let Some(mls) = &conversation.mls else { return false };
        let users = conversation.members.iter().filter_map(|member| self.cache.user(&member.user));
        let devices = users.flat_map(|user| &user.devices).filter(|device| device.certificate != 0);
        let good = devices.filter(|device| mls.certificate_of(device.id) == Some(device.certificate));
        good.count() < mls.leaves()
    }
}
