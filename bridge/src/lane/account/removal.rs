//! A user on its way out, as its lane counts it: which of its conversations have been told that it leaves, and what is done when
//! the last one is. `remove_user` has the steps.

use godwit_schemas::ids::{ConversationId, DeviceId};

use crate::messages::{AdminReply, Continuation};
use crate::phone::PhoneHash;

/// A user on its way out: its conversations are told first, some at a time, since it may be in any number of them.
pub(in crate::lane) struct Removal {
    /// Those up to here are told.
    pub(super) told: ConversationId,
    /// So many have still to let go of it.
    pub(super) waits_for: usize,
    /// There were some in this pass: then it is not the last, since it may have entered more meanwhile.
    pub(super) found: bool,
    pub(super) then: AfterRemoval,
}

/// Conversations that are told at once.
pub(in crate::lane) const LEFT_AT_ONCE: usize = 16;

/// What becomes of the inboxes of a user that is no more.
pub(in crate::lane) enum AfterRemoval {
    Erase(Continuation),
    /// It has waited for this number: somebody else gets what is in its inbox. Tells its device, when nothing more comes.
    HandOver(PhoneHash, AdminReply<Option<DeviceId>>),
}
