//! What is checked of what devices hand in, before the server keeps it for others or gives it a place in an order. The server
//! program has it checked by `godwit-e2ee`; tests and the simulator by something that takes less time.
//!
//! It sees what is public: certificates, key packages, and the public side of groups. It has no secrets and makes no signatures.

use std::fmt;

use bytes::Bytes;
use godwit_schemas::ids::{ConversationId, DeviceName, UserId};

/// It is not what it should be: damaged, not signed by whom it should be, or not allowed by the protocol. The text is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);

/// What a certificate says, whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// Whose the device is.
    pub user: UserId,
    /// Which one it is.
    pub device: DeviceName,
}

/// A group's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MlsGroupId {
    /// Whose group it is.
    pub conversation: ConversationId,
    /// How often it was made anew.
    pub generation: u32,
}

/// The public side of a group, as the server keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublicGroup {
    /// All but the tree. Only the validator reads it.
    pub state: Bytes,
    /// The ratchet tree, as it is handed out.
    pub tree: Bytes,
}

/// A message that lets a device into a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WelcomeTo {
    /// Whose the device is.
    pub user: UserId,
    /// Which one it is.
    pub device: DeviceName,
    /// The message.
    pub welcome: Bytes,
}

/// A group that is to be founded, or a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedIn {
    /// The tree of a group that is founded.
    pub tree: Bytes,
    /// The commit; empty: the group is founded.
    pub commit: Bytes,
    /// Of the epoch that begins.
    pub group_info: Bytes,
    /// One for each device that is let in.
    pub welcomes: Vec<WelcomeTo>,
}

/// A device in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafOf {
    /// Whose the device is.
    pub user: UserId,
    /// Which one it is.
    pub device: DeviceName,
    /// The certificate that stands in its leaf.
    pub certificate: Bytes,
}

/// A group as it is when it has been founded, or when a commit has been applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextGroup {
    /// To be kept.
    pub group: PublicGroup,
    /// Generation * 2^32 + the epoch of the group.
    pub epoch: u64,
    /// Everybody in it.
    pub leaves: Vec<LeafOf>,
    /// Who has founded it, or made the commit.
    pub committer: LeafOf,
    /// How many leaves it has added.
    pub added: usize,
}

/// Checks what devices hand in. Takes as long as signatures do: milliseconds, and for a large group a tenth of a second.
pub trait Validator: fmt::Debug + Send + Sync {
    /// Whether these are the links of the user's identity, from the first.
    ///
    /// # Errors
    /// They are not.
    fn identity(&self, user: &UserId, chain: &[Bytes]) -> Result<(), Invalid>;

    /// What a certificate says, if the last key of the chain has signed it.
    ///
    /// # Errors
    /// It is none, or another key has signed it.
    fn certificate(&self, user: &UserId, chain: &[Bytes], certificate: &[u8]) -> Result<Certified, Invalid>;

    /// The second since 1970 at which a key package of the device with this certificate ends.
    ///
    /// # Errors
    /// It is none, is another device's, has ended, or is not of the kind that `last_resort` says.
    fn key_package(&self, package: &[u8], certificate: &[u8], last_resort: bool, now_s: u32) -> Result<u32, Invalid>;

    /// A group that is founded.
    ///
    /// # Errors
    /// It is not valid, has another id, or its welcomes are not those of the devices in it.
    fn found(&self, id: MlsGroupId, founded: &HandedIn, now_s: u32) -> Result<NextGroup, Invalid>;

    /// The group after a commit.
    ///
    /// # Errors
    /// The commit is not valid there.
    fn commit(&self, group: &PublicGroup, commit: &HandedIn, now_s: u32) -> Result<NextGroup, Invalid>;
}
