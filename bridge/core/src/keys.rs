//! What a lane reads and writes things by.

use godwit_schemas::ids::{ConversationId, Seq, UserId};

/// Number of a commit of a lane, counting up.
pub type Ticket = u64;

/// Two users, lower name first.
pub type UserPair = (UserId, UserId);

/// A message: its conversation, and where it stands there.
pub type MessageKey = (ConversationId, Seq);
