//! Files of messages: which a sender may refer to, and how long a message's reference to a file lasts.
//!
//! With history it ends with the message. Without, it ends when the last device has acknowledged the message, or would have
//! to, and a grace period later: an app acknowledges first and fetches the file then. A recall ends it at once.

use godwit_schemas::client;
use godwit_schemas::media::MediaId;

use super::Decision;
use crate::entry::Entry;
use crate::keys::MessageKey;
use crate::outcome::StoreChange;
use crate::refusal::{self, Refusal};
use crate::state_cache::FILES_MAX;
use crate::stored::{HoldersRecord, ReferenceRecord};

/// Longest name of a file in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// The files of a message as they are kept: what the sender says, completed with what the server knows of each that the
/// sender may share.
pub(super) fn files<'a>(
    files: &[client::Media],
    known: impl Fn(MediaId) -> Option<&'a client::Media>,
) -> Result<Vec<client::Media>, Refusal> {
    if files.len() > FILES_MAX {
        return Err(refusal::TOO_MANY_FILES);
    }
    let complete = |file: &client::Media| {
        if file.name.len() > NAME_BYTES_MAX {
            return Err(refusal::FILE_NAME_TOO_LARGE);
        }
        let known = file.id.parse().ok().and_then(&known).ok_or(refusal::NO_COMPLETE_MEDIA)?;
        let (size, content_type, sha256) = (known.size, known.content_type.clone(), known.sha256.clone());
        Ok(client::Media { size, content_type, sha256, ..file.clone() })
    };
    files.iter().map(complete).collect()
}

impl Decision<'_> {
    /// The message refers to its files until then.
    pub(super) fn share(&mut self, entry: &Entry, expires_at_s: u32) {
        let place = (entry.conversation, entry.sequence);
        let ids = entry.files().into_iter().filter_map(|file| file.id.parse().ok());
        self.out.changes.extend(ids.map(|id| StoreChange::Shared(place, id, reference(entry, expires_at_s))));
    }

    /// Every device has a message that is in no history, or is no more.
    pub(super) fn release_files(&mut self, place: MessageKey, holders: Option<HoldersRecord>) {
        let Some((HoldersRecord { media, .. }, reference)) = holders.and_then(|it| it.reference.map(|of| (it, of)))
        else {
            return;
        };
        let reference = ReferenceRecord { expires_at_s: reference.expires_at_s.min(self.grace_end_s()), ..reference };
        let ids = media.into_iter().filter_map(|bytes| bytes.try_into().ok()).map(MediaId::new);
        self.out.changes.extend(ids.map(|id| StoreChange::Shared(place, id, reference)));
    }

    /// When what is let go of now is gone.
    pub(super) fn grace_end_s(&self) -> u32 {
        self.now_s.saturating_add(self.rules.media_grace_s)
    }
}

/// The reference that a message is.
pub(super) fn reference(entry: &Entry, expires_at_s: u32) -> ReferenceRecord {
    ReferenceRecord { expires_at_s, sender: entry.sender.get(), unseen: entry.unseen }
}

/// A file's id as it is stored.
pub(super) fn file_bytes(file: &client::Media) -> Option<Vec<u8>> {
    file.id.parse().ok().map(|id: MediaId| id.as_bytes().to_vec())
}
