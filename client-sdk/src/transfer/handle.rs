//! What an app holds of a file that is sent. Cheap to keep and to drop: dropping a handle changes nothing.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use godwit_schemas::ids::Seq;
use tokio::sync::watch;

use crate::engine::EngineShared;
use crate::error::{Error, FileFailure};
use crate::media::FileId;
use crate::send::{Draft, Recipient, SendHandle, SendId, SendState};

/// A file that is to be sent, with what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileDraft {
    pub(crate) path: PathBuf,
    pub(crate) name: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) thumbnail: Bytes,
    pub(crate) key: Bytes,
    pub(crate) message: Draft,
}

impl FileDraft {
    /// Just a file. It goes by its own name, which says what it is.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// What others see it called, up to 255 bytes.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// What it is, like `image/jpeg`.
    #[must_use]
    pub fn content_type(self, content_type: impl Into<String>) -> Self {
        Self { content_type: Some(content_type.into()), ..self }
    }

    /// The body of its message.
    #[must_use]
    pub fn caption(mut self, body: impl Into<Bytes>) -> Self {
        self.message.body = body.into();
        self
    }

    /// A small picture, of a few kilobytes: it is in the message itself.
    #[must_use]
    pub fn thumbnail(self, thumbnail: impl Into<Bytes>) -> Self {
        Self { thumbnail: thumbnail.into(), ..self }
    }

    /// For a file that was encrypted: what it takes to read it.
    #[must_use]
    pub fn key(self, key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), ..self }
    }

    /// See [`Draft::expires_in`]: the time begins when the message is sent.
    #[must_use]
    pub fn expires_in(self, time: Duration) -> Self {
        Self { message: self.message.expires_in(time), ..self }
    }

    /// See [`Draft::reply_to`].
    #[must_use]
    pub fn reply_to(self, sequence: Seq) -> Self {
        Self { message: self.message.reply_to(sequence), ..self }
    }
}

impl<P: Into<PathBuf>> From<P> for FileDraft {
    fn from(path: P) -> Self {
        Self::new(path)
    }
}

/// How much of a file is through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes that were transferred.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

/// How far a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// It waits for its turn, or for a connection.
    Waiting,
    /// It is read, for its hash.
    Hashing(Progress),
    /// So much was given to the network. Goes back where that was lost.
    Uploading(Progress),
    /// The app has paused it.
    Paused,
    /// It is up, and the server looks at it.
    Verifying,
    /// Its message is on its way.
    Message(SendId, SendState),
    /// It will not be sent.
    Failed(FileFailure),
}

impl FileState {
    /// Nothing more of the file itself comes.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Message(..))
    }
}

/// A file that is to be sent, as `Client::files` lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// Its number.
    pub id: FileId,
    /// Whom it is for.
    pub to: Recipient,
    /// What others will see it called.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// What goes with it.
    pub caption: Bytes,
    /// When the app sent it.
    pub queued_at: std::time::SystemTime,
    /// How far it is.
    pub state: FileState,
}

/// Follows one file until it is sent, saved or given up.
#[derive(Debug, Clone)]
pub struct FileHandle {
    id: FileId,
    states: watch::Receiver<FileState>,
    shared: Weak<EngineShared>,
}

impl FileHandle {
    pub(crate) fn new(id: FileId, states: watch::Receiver<FileState>, shared: &Arc<EngineShared>) -> Self {
        Self { id, states, shared: Arc::downgrade(shared) }
    }

    /// Its number: `Client::follow_file` finds it again after a restart of the app.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// How far it is now.
    pub fn state(&self) -> FileState {
        self.states.borrow().clone()
    }

    /// How far it is, to be watched.
    pub fn watch(&self) -> watch::Receiver<FileState> {
        self.states.clone()
    }

    fn shared(&self) -> Result<Arc<EngineShared>, Error> {
        self.shared.upgrade().ok_or(Error::Closed)
    }

    /// It does not go on, also after a restart, until [`Self::resume`]. False: it is too late. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Closed`]
    pub async fn pause(&self) -> Result<bool, Error> {
        let (shared, id) = (self.shared()?, self.id);
        let paused = shared.ledger.call(move |it| it.pause_file(id, true)).await?;
        if paused {
            shared.transfers.set(id, FileState::Paused);
            shared.transfers.wake();
            shared.changed();
        }
        Ok(paused)
    }

    /// It goes on, from what is there. False: it is over.
    ///
    /// # Errors
    /// As [`Self::pause`].
    pub async fn resume(&self) -> Result<bool, Error> {
        let (shared, id) = (self.shared()?, self.id);
        let goes_on = shared.ledger.call(move |it| it.pause_file(id, false)).await?;
        if goes_on {
            shared.transfers.set(id, FileState::Waiting);
            shared.transfers.wake();
            shared.changed();
        }
        Ok(goes_on)
    }

    /// It is not sent, and what is up of it is discarded. False: it is too late, its message is on its way.
    ///
    /// # Errors
    /// As [`Self::pause`].
    pub async fn cancel(&self) -> Result<bool, Error> {
        let (shared, id) = (self.shared()?, self.id);
        let cancelled = shared.ledger.call(move |it| it.cancel_file(id)).await?;
        if cancelled {
            shared.transfers.set(id, FileState::Failed(FileFailure::Cancelled));
            shared.transfers.wake();
            shared.changed();
        }
        Ok(cancelled)
    }

    /// Until its message is in the outbox: that message. Cancel safe.
    ///
    /// # Errors
    /// [`Error::File`] if it is not sent; [`Error::Closed`] if the client was closed before.
    pub async fn uploaded(&self) -> Result<SendHandle, Error> {
        let mut states = self.states.clone();
        let over = states.wait_for(FileState::is_over).await.map_err(|_| Error::Closed)?.clone();
        match over {
            FileState::Message(send, _) => self.shared()?.follow(send).await?.ok_or(Error::Closed),
            FileState::Failed(failure) => Err(failure.into()),
            _ => unreachable!("nothing else is over"),
        }
    }

    /// Until its message is on the server's disk. Cancel safe.
    ///
    /// # Errors
    /// As [`Self::uploaded`] and [`SendHandle::sent`].
    pub async fn sent(&self) -> Result<(), Error> {
        self.reached(1).await
    }

    /// Until every other member has its message. Cancel safe.
    ///
    /// # Errors
    /// As [`Self::sent`].
    pub async fn delivered(&self) -> Result<(), Error> {
        self.reached(2).await
    }

    /// Until every other member has read its message. Cancel safe.
    ///
    /// # Errors
    /// As [`Self::sent`].
    pub async fn read(&self) -> Result<(), Error> {
        self.reached(3).await
    }

    async fn reached(&self, rank: u8) -> Result<(), Error> {
        let mut states = self.states.clone();
        let reached = states.wait_for(|state| match state {
            FileState::Message(_, state) => state.rank().is_none_or(|reached| reached >= rank),
            FileState::Failed(_) => true,
            _ => false,
        });
        match &*reached.await.map_err(|_| Error::Closed)? {
            FileState::Message(_, SendState::Refused(refusal)) => Err(refusal.clone().into()),
            FileState::Failed(failure) => Err(failure.clone().into()),
            _ => Ok(()),
        }
    }
}
