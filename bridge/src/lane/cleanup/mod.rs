//! What is cleared away: users (their profiles and contacts) and devices that are no more, and the history of conversations
//! that nobody is in any more. The commit that makes them so marks them, and the one that clears the last of them takes the
//! mark away: a crash in between leaves nothing behind that the next start would not find. A slice at a time: of how much
//! there is, users decide.

use godwit_schemas::ids::{ConversationId, DeviceId, UserId};
use godwit_schemas::partition::Partition;

use crate::messages::Continuation;

pub(in crate::lane) mod run;
pub(in crate::lane) mod steps;

/// Rows that are read in one slice, and about how many bytes.
pub(in crate::lane) const ROWS: usize = 256;
pub(in crate::lane) const BYTES: usize = 64 << 10;
/// Conversations that a removed user leaves in one slice.
const MEMBERSHIPS: usize = 16;
/// Users who had one that is no more as a contact, told in one slice: each costs its lane some reads.
const WATCHERS: usize = 32;

/// What follows a slice.
pub(in crate::lane) enum Next {
    /// More of it.
    Now(Cleanup),
    /// More of it, when what this partition has sent is taken in: not more is outside than a slice sends.
    WhenTakenIn(Partition, Cleanup),
    /// It is done.
    Nothing,
}

/// What is being cleared away, and how far that is.
pub(in crate::lane) enum Cleanup {
    /// What is kept for devices: of the first of those left, from this key of its inbox on (`None`: from the first).
    Devices { left: Vec<DeviceId>, gone: Vec<DeviceId>, from: Option<Vec<u8>>, then: Continuation },
    /// A conversation's history, from this key on.
    History { id: ConversationId, from: Vec<u8> },
    /// References to files that were shared in a conversation, from this key on.
    Files { id: ConversationId, from: Vec<u8> },
    /// Conversations that a user is still in: somebody let it in while it was being removed.
    Memberships { user: UserId, then: Continuation },
    /// A user's contacts.
    Contacts { user: UserId, from: Vec<u8>, then: Continuation },
    /// Those who have the user as a contact.
    Watchers { user: UserId, from: Vec<u8>, then: Continuation },
}
