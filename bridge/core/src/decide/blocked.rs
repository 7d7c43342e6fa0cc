//! What a blocked user does in the direct conversation with who has blocked it. One rule: it is accepted, the blocked user's
//! own devices and history show it, and it reaches nobody else, whether it adds something or takes something away. So the
//! blocked user is not told, and who has blocked it keeps what it had. The whole table is in docs/users/clients.md.
//!
//! What it does to a message that both have seen stands beside that message, for itself alone ([`StoreChange::OwnMessage`],
//! [`StoreChange::OwnReaction`]); unblocking does not undo that, and what is done afterwards takes its place.

use bytes::Bytes;
use godwit_schemas::ids::{ConversationId, UserId};

use super::{Decision, blocks};
use crate::entry::{Entry, EntryKind};
use crate::keys::MessageKey;
use crate::outcome::StoreChange;
use crate::state_cache::MessageCopies;

impl Decision<'_> {
    /// The other side of a direct conversation, if it has blocked the user.
    pub(super) fn blocker(&self, id: ConversationId, user: &UserId) -> Option<UserId> {
        let conversation = self.cache.conversation(id).filter(|conversation| !conversation.group)?;
        let members = conversation.members.iter().map(|member| &member.user);
        members.into_iter().find(|other| blocks(self.cache, other, user)).cloned()
    }

    /// A blocked user takes back what the other side has seen: for itself alone. What waits for its own devices goes.
    pub(super) fn recall_alone(&mut self, place: MessageKey, by: &UserId, found: MessageCopies) {
        let own = self.devices_of(by);
        // A row that is no history goes with its last holder, and nobody looks at it.
        let is_history = self.cache.holders(place).is_none();
        let bytes = found.copy.as_ref().map_or(0, Entry::content_len);
        for (device, order) in found.copies.iter().copied() {
            if own.iter().any(|(of_caller, _)| *of_caller == device) {
                self.take_copy_back(device, order, bytes);
                self.release(device, place.0, &[place.1]);
            }
        }
        if let Some(row) = found.own.or(found.row).filter(|_| is_history) {
            self.write_own(place, recalled(&row));
        }
    }

    /// What the sender alone sees of its message from here on.
    pub(super) fn write_own(&mut self, place: MessageKey, own: Entry) {
        self.out.changes.push(StoreChange::OwnMessage(place.0, place.1, Some(own.encode())));
        if let Some(left) = self.cache.copies_mut(place) {
            left.own = Some(own);
        }
    }
}

/// What is left of a message that was taken back.
pub(super) fn recalled(row: &Entry) -> Entry {
    let (extras, content) = (Bytes::new(), Bytes::new());
    Entry { kind: EntryKind::Recalled, apart: None, extras, content, edited: false, ..row.clone() }
}
