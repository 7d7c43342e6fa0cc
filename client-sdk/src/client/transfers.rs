//! Files that are sent and saved.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use godwit_schemas::ids::{ConversationId, Seq};

use super::Client;
use crate::engine::now_s;
use crate::error::{Error, FileFailure};
use crate::ledger::files::FileRecord;
use crate::ledger::recipient_parts;
use crate::media::{FileId, Media};
use crate::send::Recipient;
use crate::transfer::{FileDraft, FileHandle, FileState, Saving, Sending};

/// What a file is that does not say so by its name.
const UNKNOWN: &str = "application/octet-stream";
/// What a message may call a file.
const NAME_BYTES_MAX: usize = 255;

impl Client {
    /// Sends a file: uploads it, in parts if it is large, and then sends a message that refers to it. When this returns
    /// that is in the store: it will be done, once, whatever happens to the app. Messages that are sent meanwhile go first.
    ///
    /// The file is read when it is uploaded, and must stay as it is until then.
    ///
    /// # Errors
    /// [`Error::File`]: it cannot be read. [`Error::Store`], [`Error::Closed`]: it will not be sent.
    pub async fn send_file(&self, to: impl Into<Recipient>, file: impl Into<FileDraft>) -> Result<FileHandle, Error> {
        let FileDraft { path, name, content_type, thumbnail, key, message } = file.into();
        let path = std::path::absolute(&path).unwrap_or(path);
        let (size, modified_ns) = crate::transfer::look(&path).await?;
        let own_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let guessed = || mime_guess::from_path(&path).first_raw().unwrap_or(UNKNOWN).to_owned();
        let content_type = content_type.unwrap_or_else(guessed);
        let path = path.to_str().ok_or_else(|| FileFailure::Io("a path that is not UTF-8".to_owned()))?.to_owned();
        let (user, phone, conversation) = recipient_parts(&to.into());
        let record = FileRecord {
            path,
            size,
            modified_ns,
            user,
            phone,
            conversation,
            name: shortened(name.unwrap_or(own_name)),
            content_type,
            thumbnail,
            key,
            body: message.body,
            expires_in_s: message.expires_in_s,
            reply_to: message.reply_to.map_or(0, Seq::get),
            silent: message.silent,
            mentions: message.mentions,
            queued_at_s: now_s(),
            ..FileRecord::default()
        };
        let shared = self.shared();
        let id = shared.ledger.call(move |it| it.add_file(&record)).await?;
        let states = shared.transfers.follow(id, FileState::Waiting);
        shared.transfers.wake();
        shared.changed();
        Ok(FileHandle::new(id, states, shared))
    }

    /// The handle of a file that was to be sent; `None`: there was none, or it is no longer in the store.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn follow_file(&self, id: FileId) -> Result<Option<FileHandle>, Error> {
        let shared = self.shared();
        // First somebody follows, then the state is read: nothing falls in between.
        let states = shared.transfers.follow(id, FileState::Waiting);
        let is_kept = crate::transfer::tell_stage(shared, id).await?;
        Ok(is_kept.then(|| FileHandle::new(id, states, shared)))
    }

    /// Files that are to be sent and whose message is not on its way yet, oldest first.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn files(&self) -> Result<Vec<Sending>, Error> {
        let files = self.shared().ledger.call(|it| it.files()).await?;
        let files = files.into_iter().filter(|(_, record)| !record.cancelled).map(|(id, record)| {
            let known = self.shared().transfers.state(id);
            let state = if record.paused { FileState::Paused } else { known.unwrap_or(FileState::Waiting) };
            let (to, queued_at) = (record.recipient(), UNIX_EPOCH + Duration::from_secs(record.queued_at_s));
            Sending { id, to, name: record.name, size: record.size, caption: record.body, queued_at, state }
        });
        Ok(files.collect())
    }

    /// Saves a file that a message of this conversation refers to. It comes into a file of the library's own in the same
    /// folder (`.godwit-....part`), in which another attempt with the same store goes on. What is at `path` is never replaced:
    /// then it fails with [`FileFailure::Exists`]. [`text::file_name`](crate::text::file_name)
    /// makes a name of what the sender calls the file. Begins at once; does not go on after a restart of the app by itself.
    pub fn save_file(&self, conversation: ConversationId, media: &Media, path: impl Into<PathBuf>) -> Saving {
        Saving::start(self.0.transfers.clone(), conversation, media.clone(), path.into())
    }
}

/// As much of a name as a message may have.
fn shortened(mut name: String) -> String {
    let end = (0..=NAME_BYTES_MAX.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
    name.truncate(end.unwrap_or_default());
    name
}
