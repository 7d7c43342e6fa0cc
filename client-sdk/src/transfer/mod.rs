//! Files on their way: up, and then in a message; and down. One task per client looks after those that are to be sent, two
//! at a time, and beside the engine: a slow upload holds up no message. Nothing it knows is lost with it. What is to be
//! sent is in the ledger before `Client::send_file` returns; what the server calls it, as soon as that is known; and the
//! commit that puts its message into the outbox takes it out of there. So an app may be killed at any moment, and the
//! message is sent once.
//!
//! - `file`: a file on this device, which must stay as it was.
//! - `http`: one request to the object store, by link.
//! - `part`: a file that comes down and is not whole yet.
//! - `upload`, `download`: one file. `handle`: what an app holds of it.

mod download;
mod file;
mod handle;
mod http;
mod part;
mod upload;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use godwit_schemas::client::Response;
use godwit_schemas::client::request::Call;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use tracing::debug;

pub use self::download::Saving;
use self::file::FileStamp;
pub use self::handle::{FileDraft, FileHandle, FileState, Progress, Sending};
pub(crate) use self::http::Http;
use self::upload::RunningUpload;
use crate::client::ask;
use crate::engine::{EngineCommand, EngineShared};
use crate::error::Error;
use crate::ledger::files::{FileRecord, FileStage};
use crate::media::FileId;
use crate::network::backoff::Backoff;
use crate::send::SendHandle;
use crate::status::Status;

/// Files that are uploaded at a time; the others wait for their turn.
const AT_ONCE: usize = 2;
/// After the store has failed.
const STORE_WAIT: Duration = Duration::from_secs(5);

/// What handles and uploads share: who watches which file.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    /// There may be something else to do.
    wake: Notify,
    watched: Mutex<HashMap<FileId, watch::Sender<FileState>>>,
}

impl Transfers {
    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, watch::Sender<FileState>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the task look at what is to be done.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// To watch a file; `state`: what is known of it, if nobody watches it yet.
    pub(crate) fn follow(&self, id: FileId, state: FileState) -> watch::Receiver<FileState> {
        let mut watched = self.lock();
        watched.retain(|_, sender| sender.receiver_count() > 0);
        watched.entry(id).or_insert_with(|| watch::Sender::new(state)).subscribe()
    }

    /// How far a file is, if somebody watches it.
    pub(crate) fn state(&self, id: FileId) -> Option<FileState> {
        self.lock().get(&id).map(|sender| sender.borrow().clone())
    }

    /// Files that are watched and not over, as far as their watchers know.
    fn unfinished(&self) -> Vec<FileId> {
        let watched = self.lock();
        watched.iter().filter(|(_, sender)| !sender.borrow().is_over()).map(|(id, _)| *id).collect()
    }

    /// Tells whoever watches what a handle has done. What is over stays so.
    pub(crate) fn set(&self, id: FileId, state: FileState) {
        self.tell(id, state, |known| !known.is_over());
    }

    /// Tells whoever watches how a transfer goes. One that has just been paused may not know it yet.
    fn goes(&self, id: FileId, state: FileState) {
        let is_over = state.is_over();
        self.tell(id, state, |known| !known.is_over() && (is_over || *known != FileState::Paused));
    }

    fn tell(&self, id: FileId, state: FileState, may: impl FnOnce(&FileState) -> bool) {
        if let Some(sender) = self.lock().get(&id) {
            sender.send_if_modified(|known| {
                let news = *known != state && may(known);
                if news {
                    *known = state;
                }
                news
            });
        }
    }

    /// From now on whoever watches the file hears how far its message is.
    pub(crate) fn is_message(&self, id: FileId, mut send: SendHandle) {
        self.goes(id, FileState::Message(send.id(), send.state()));
        let Some(sender) = self.lock().remove(&id) else { return };
        tokio::spawn(async move {
            loop {
                sender.send_replace(FileState::Message(send.id(), send.state()));
                tokio::select! {
                    () = sender.closed() => return,
                    more = send.changed() => if !more { return },
                }
            }
        });
    }

    /// Nobody will be told anything any more.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }
}

/// What a transfer needs. Does not keep the client open.
#[derive(Debug, Clone)]
pub(crate) struct TransferContext {
    pub(crate) shared: Arc<EngineShared>,
    pub(crate) commands: mpsc::WeakSender<EngineCommand>,
    pub(crate) call_timeout: Duration,
    pub(crate) http: Http,
    /// For each transfer to begin with.
    pub(crate) backoff: Backoff,
}

impl TransferContext {
    async fn call(&self, call: Call) -> Result<Response, Error> {
        let commands = self.commands.upgrade().ok_or(Error::Closed)?;
        ask(commands, self.call_timeout, call).await
    }

    /// Until there is a connection.
    async fn online(&self) -> Result<(), Error> {
        let mut status = self.shared.status.subscribe();
        match status.wait_for(|status| matches!(status, Status::Online | Status::Closed)).await.as_deref() {
            Ok(Status::Online) => Ok(()),
            _ => Err(Error::Closed),
        }
    }

    /// The files of the ledger. Watchers of a file that is no longer one of them are told how it ended: the task that put an
    /// end to it may have been stopped before it could tell, and what a restored server has forgotten ends without a task.
    async fn files(&self) -> Result<Vec<(FileId, FileRecord)>, Error> {
        let files = self.shared.ledger.call(|it| it.files()).await?;
        for id in self.shared.transfers.unfinished() {
            if !files.iter().any(|(it, _)| *it == id) {
                tell_stage(&self.shared, id).await?;
            }
        }
        Ok(files)
    }

    /// Waits before another attempt: for so long, or until there is a new connection.
    async fn rest(&self, time: Duration) {
        let mut status = self.shared.status.subscribe();
        status.mark_unchanged();
        let connected = async {
            loop {
                if status.changed().await.is_err() || *status.borrow_and_update() == Status::Online {
                    return;
                }
            }
        };
        tokio::select! {
            () = sleep(time) => {}
            () = connected => {}
        }
    }
}

/// Tells whoever watches a file how far it is, as the ledger has it. `false`: neither it nor its message is kept any more.
pub(crate) async fn tell_stage(shared: &EngineShared, id: FileId) -> Result<bool, Error> {
    match shared.ledger.call(move |it| it.file_stage(id)).await? {
        Some(FileStage::UnderWay { paused: true }) => shared.transfers.set(id, FileState::Paused),
        Some(FileStage::UnderWay { .. }) => {}
        Some(FileStage::Failed(failure)) => shared.transfers.set(id, FileState::Failed(failure)),
        Some(FileStage::Sent(send)) => match shared.follow(send).await? {
            Some(handle) => shared.transfers.is_message(id, handle),
            None => return Ok(false),
        },
        None => return Ok(false),
    }
    Ok(true)
}

/// Size of a file that is to be sent, and when it was changed.
pub(crate) async fn look(path: &Path) -> Result<(u64, u64), Error> {
    let FileStamp { size, modified_ns } = FileStamp::look(path).await?;
    Ok((size, modified_ns))
}

/// What is to be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TransferTask {
    Upload,
    Discard,
}

/// Looks after the files that are to be sent, until the client is closed.
pub(crate) async fn run(context: TransferContext) {
    let shared = context.shared.clone();
    let mut status = shared.status.subscribe();
    let mut running: HashMap<FileId, (TransferTask, AbortHandle)> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let again = match context.files().await {
            Ok(files) => {
                let wanted = files.into_iter().filter(|(_, it)| it.cancelled || !it.paused);
                let mut wanted: Vec<_> = wanted
                    .map(|(id, it)| (id, if it.cancelled { TransferTask::Discard } else { TransferTask::Upload }, it))
                    .collect();
                // What is discarded takes nobody's turn.
                wanted.sort_by_key(|(id, task, _)| (*task == TransferTask::Upload, *id));
                let discards = wanted.iter().filter(|(_, task, _)| *task == TransferTask::Discard).count();
                wanted.truncate(discards + AT_ONCE);
                running.retain(|id, (task, handle)| {
                    let goes_on = wanted.iter().any(|(it, what, _)| it == id && what == task);
                    if !goes_on {
                        handle.abort();
                    }
                    goes_on
                });
                for (id, task, record) in wanted {
                    if running.contains_key(&id) {
                        continue;
                    }
                    let upload = RunningUpload::new(context.clone(), id, record);
                    let handle = match task {
                        TransferTask::Upload => tasks.spawn(upload.run()),
                        TransferTask::Discard => tasks.spawn(upload.discard()),
                    };
                    running.insert(id, (task, handle));
                }
                None
            }
            Err(Error::Closed) => return,
            Err(error) => {
                debug!(%error, "files wait for the store");
                Some(STORE_WAIT)
            }
        };
        tokio::select! {
            _ = status.wait_for(|status| *status == Status::Closed) => return,
            () = shared.transfers.wake.notified() => {}
            Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                let task = match &ended {
                    Ok((task, ())) => *task,
                    Err(error) => error.id(),
                };
                running.retain(|_, (_, handle)| handle.id() != task);
                // There may be a message in the outbox now, or an event.
                shared.queued();
                shared.news.send_modify(|news| *news += 1);
            }
            () = sleep(again.unwrap_or_default()), if again.is_some() => {}
        }
    }
}

#[cfg(test)]
mod tests;
