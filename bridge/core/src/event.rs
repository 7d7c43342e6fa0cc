//! What happened, as operators may know it: who, where and when, and nothing of what was said. Decisions note events when
//! somebody listens ([`Outcome::events`](crate::outcome::Outcome::events)); they are told when the commit is on disk.

use godwit_schemas::client::change;
use godwit_schemas::ids::{ConversationId, DeviceName, Seq, UserId};

/// Something that happened, as operators may be told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainEvent {
    /// A message was stored.
    Message {
        /// The conversation.
        conversation: ConversationId,
        /// Its place there.
        sequence: Seq,
        /// Who sent it.
        sender: UserId,
        /// Length of its body.
        bytes: usize,
        /// In a group.
        group: bool,
    },
    /// A member's watermark rose: one of its devices has everything up to here.
    Delivered {
        /// The conversation.
        conversation: ConversationId,
        /// The user.
        user: UserId,
        /// How far.
        up_to: Seq,
    },
    /// A member has read up to here.
    Read {
        /// The conversation.
        conversation: ConversationId,
        /// The user.
        user: UserId,
        /// How far.
        up_to: Seq,
    },
    /// A conversation changed.
    Changed {
        /// Which one.
        conversation: ConversationId,
        /// The change's place.
        sequence: Seq,
        /// Whose doing.
        by: UserId,
        /// What changed.
        change: &'static str,
        /// The member it is about.
        member: Option<UserId>,
    },
    /// A connection of a device began or ended.
    Session {
        /// The user.
        user: UserId,
        /// Which device.
        device: DeviceName,
        /// It began.
        up: bool,
    },
    /// A user or device came or went.
    Account {
        /// The user.
        user: UserId,
        /// The device; `None`: the user with all of them.
        device: Option<DeviceName>,
        /// It came.
        added: bool,
    },
}

/// What a change is called, and the user that it names.
pub(crate) fn called(change: &change::Change) -> (&'static str, Option<UserId>) {
    use change::Change;
    match change {
        Change::Opened(_) => ("opened", None),
        Change::Added(member) => ("added", UserId::new(&member.user).ok()),
        Change::Removed(_) => ("removed", None),
        Change::Renamed(_) => ("renamed", None),
        Change::Role(member) => ("role", UserId::new(&member.user).ok()),
        Change::Settings(_) => ("settings", None),
        Change::Recalled(_) => ("recalled", None),
        Change::Edited(_) => ("edited", None),
        Change::Reacted(_) => ("reacted", None),
        Change::Retention(_) => ("retention", None),
    }
}
