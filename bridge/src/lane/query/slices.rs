//! Work that reads much, done in slices between the rounds of a lane: a round reads a bounded number of rows for it, then
//! others' messages go first. Who gets a slice is decided in [`super::turns`].
//!
//! Nothing that a client can make large is read outside of slices: see ARCHITECTURE.md, "Threads and queues".

use godwit_schemas::ids::DeviceId;

use crate::lane::account::caller::CallContext;
use crate::lane::account::contacts::ContactList;
use crate::lane::account::phone::LookUp;
use crate::lane::cleanup::Cleanup;
use crate::lane::presence::query::PresenceCall;
use crate::lane::query::history::{HistoryPage, Listing};
use crate::lane::round::copy_search::CopySearch;

/// Work of which a slice is done at a time.
pub(in crate::lane) enum SliceJob {
    /// The next call that waits in this device's session.
    CallOf(DeviceId),
    /// A call that reads much.
    Read(Box<PendingRead>),
    /// What was left of a message, for a command about it.
    Search(Box<CopySearch>),
    /// Something is cleared away.
    Clear(Box<Cleanup>),
}

/// A call that is being answered.
pub(in crate::lane) struct PendingRead {
    pub(super) caller: CallContext,
    pub(super) of: ReadKind,
}

/// What is read.
pub(in crate::lane) enum ReadKind {
    Conversations(Listing),
    History(Box<HistoryPage>),
    Contacts(ContactList),
    Phones(LookUp),
    Presences(PresenceCall),
    Waiting(crate::lane::query::waiting::WaitingQuery),
}
