//! Conversations as the app sees them, from this device's own store.

use std::time::SystemTime;

use godwit_schemas::client::Role;
use godwit_schemas::ids::{ConversationId, Ordinal, Seq, UserId};

use crate::event::Message;

/// A member of a conversation, or a former one, as this device knows it. The server's own is `Member` of godwit-core
/// (`bridge/core/src/conversation.rs`); `client.Member` is what travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number in the conversation; messages and receipts name it by that.
    pub ordinal: Ordinal,
    /// Who it is.
    pub user: UserId,
    /// What it may do.
    pub role: Role,
    /// It is one now.
    pub present: bool,
    /// One of its devices has everything up to here.
    pub delivered_up_to: Seq,
    /// It has read up to here.
    pub read_up_to: Seq,
}

/// A conversation as this device knows it from its inbox. The server may be ahead of it: its own is `Conversation` of
/// godwit-core (`bridge/core/src/conversation.rs`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its number.
    pub id: ConversationId,
    /// Group rather than direct.
    pub group: bool,
    /// Of a group.
    pub title: String,
    /// Its messages are encrypted from end to end, and stay so.
    pub encrypted: bool,
    /// In the order they joined. Empty until this device has learned them.
    pub members: Vec<Member>,
    /// This user has read up to here.
    pub read_up_to: Seq,
    /// Messages of others on this device that this user has not read.
    pub unread: u64,
    /// The place of the newest message on this device; 0: there was none.
    pub last_message: Seq,
    /// That message, if it is still kept.
    pub last: Option<Message>,
    /// When something happened last.
    pub active_at: SystemTime,
}

impl Conversation {
    /// The other side of a direct conversation.
    pub fn other(&self, me: &UserId) -> Option<&Member> {
        if self.group { None } else { self.members.iter().find(|member| member.user != *me) }
    }

    /// The member of this number.
    pub fn member(&self, ordinal: Ordinal) -> Option<&Member> {
        self.members.iter().find(|member| member.ordinal == ordinal)
    }
}
