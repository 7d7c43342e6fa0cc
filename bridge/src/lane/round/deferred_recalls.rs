//! Commands about a message that was sent before. They wait until it is on disk; then it is looked for what was left of it,
//! a slice at a time; then they are decided. Of one message, one after the other. The only commands that read other lanes'
//! inboxes: the store is the same for all.
//!
//! Copies in inboxes have no index, for which every message would have to pay. But entries of a conversation ascend in an
//! inbox, and the copies of one message are numbered in one go. So an inbox is read from its end backwards, as far as the
//! first entry from before the message; and where one copy was found, the others are nearby.
//!
//! What is found may be acknowledged, or expire, before the command is decided: then there is one entry less to delete. New
//! copies cannot appear.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use godwit_core::command::Command;
use godwit_core::keys::{MessageKey, Ticket};

/// Commands that look back.
#[derive(Default)]
pub(in crate::lane) struct DeferredRecalls {
    /// By message; the first is searched for, or waits for a commit.
    pub(super) commands: BTreeMap<MessageKey, VecDeque<Command>>,
    /// Those whose turn it is when this commit is on disk.
    pub(super) waiting: BTreeSet<(Ticket, MessageKey)>,
}

impl DeferredRecalls {
    pub(in crate::lane) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}
