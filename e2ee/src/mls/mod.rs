//! MLS (RFC 9420), by mls-rs: the only place that names it.

#[cfg(feature = "client")]
mod device;
mod effect;
mod error;
#[cfg(feature = "client")]
pub mod group;
#[cfg(feature = "client")]
pub(crate) mod hpke;
pub(crate) mod identity;
pub mod key_package;
mod provider;
pub mod public_group;
mod rules;
#[cfg(test)]
mod tests;

use godwit_schemas::ids::ConversationId;
use mls_rs_core::time::MlsTime;

#[cfg(feature = "client")]
pub use self::device::{Device, NewKeyPackage};
pub use self::effect::Applied;
pub use self::error::GroupError;
pub use self::rules::ADDS_PER_COMMIT_MAX;
use crate::time::UnixTime;
use crate::wire::{Malformed, Reader};

/// The name of a group within MLS: the conversation that it is of, and how many groups it had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupId {
    /// Whose group it is.
    pub conversation: ConversationId,
    /// How often the conversation's group was reset.
    pub generation: u32,
}

/// Bytes of a group's name.
pub const GROUP_ID_BYTES: usize = 12;

impl GroupId {
    /// As MLS has it: 8 bytes, and 4.
    #[must_use]
    pub fn to_bytes(self) -> [u8; GROUP_ID_BYTES] {
        let mut bytes = [0; GROUP_ID_BYTES];
        bytes[..8].copy_from_slice(&self.conversation.get().to_be_bytes());
        bytes[8..].copy_from_slice(&self.generation.to_be_bytes());
        bytes
    }

    /// # Errors
    ///
    /// The bytes are no such name.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let id = Self { conversation: ConversationId::new(reader.u64()?), generation: reader.u32()? };
        reader.end()?;
        Ok(id)
    }
}

/// A moment of a conversation's encryption, as messages name it: the generation of its group, and the group's epoch.
/// Epochs of a conversation only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// # Errors
    ///
    /// The group has had 2^32 epochs.
    pub fn new(generation: u32, of_group: u64) -> Result<Self, Malformed> {
        let of_group = u32::try_from(of_group).map_err(|_| Malformed)?;
        Ok(Self(u64::from(generation) << 32 | u64::from(of_group)))
    }

    /// As it travels. 0 is none.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    /// As it travels.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// Which group of the conversation it is of, from 0.
    #[must_use]
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The epoch as MLS numbers it.
    #[must_use]
    pub fn of_group(self) -> u64 {
        self.0 & 0xffff_ffff
    }
}

fn mls_time(time: UnixTime) -> MlsTime {
    MlsTime::from_duration_since_epoch(std::time::Duration::from_secs(time.seconds()))
}
