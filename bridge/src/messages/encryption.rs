//! What lanes and the checker say to each other about end-to-end encryption.

use godwit_schemas::ids::UserId;

use crate::encryption::Invalid;
use crate::lane::{CallContext, CheckedKeys};

/// To a lane.
pub(crate) enum Encryption {
    /// What a device of this lane has handed in was checked.
    KeysChecked(Box<CallContext>, Result<CheckedKeys, Invalid>),
    /// A user of another lane claims key packages of a user of this one.
    Claim(Box<CallContext>, UserId),
}
