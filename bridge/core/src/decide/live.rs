//! What is going on right now: told to whoever is there, kept by nobody.

use bytes::Bytes;
use godwit_schemas::client;
use godwit_schemas::ids::ConversationId;
use prost::Message as _;

use super::Decision;
use crate::command::CommandOrigin;
use crate::outcome::{Effect, EffectKind};
use crate::refusal::{self, Refusal};

/// Largest live signal in bytes.
const LIVE_BYTES_MAX: usize = 256;

impl Decision<'_> {
    /// For the devices of all other members; between two of whom one has blocked the other, for nobody.
    pub(super) fn live(&mut self, origin: &CommandOrigin, id: ConversationId, body: Bytes) -> Result<(), Refusal> {
        if body.len() > LIVE_BYTES_MAX {
            return Err(refusal::LIVE_SIGNAL_TOO_LARGE);
        }
        let conversation = self.cache.conversation(id).ok_or(refusal::NO_CONVERSATION)?;
        let member = conversation.member(&origin.user).ok_or(refusal::NOT_IN_CONVERSATION)?;
        let payload: Bytes = client::Live { member: member.ordinal.get(), body }.encode_to_vec().into();
        let sender = self.cache.user(&origin.user);
        let others = conversation.members.iter().map(|member| &member.user).filter(|user| **user != origin.user);
        let hidden = |other: &_, name: &_| sender.is_some_and(|it| it.blocks(name)) || is_blocked(other, origin);
        for (name, other) in others.filter_map(|name| Some((name, self.cache.user(name)?))) {
            if !conversation.group && hidden(other, name) {
                continue;
            }
            for device in &other.devices {
                let kind = EffectKind::Live { device: device.id, conversation: id, payload: payload.clone() };
                self.out.effects.push(Effect { partition: other.partition, kind });
            }
        }
        Ok(())
    }
}

fn is_blocked(by: &crate::state_cache::CachedUser, origin: &CommandOrigin) -> bool {
    by.blocks(&origin.user)
}
