//! A file that is saved: by a link, which is asked for anew when it has expired; into a file of the library's own (`part`)
//! beside its place, where another attempt goes on; and to its place when it is whole, what was sent, and on the disk.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{CONTENT_RANGE, HeaderValue, RANGE};
use hyper::{Response, StatusCode};
use tokio::fs;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::debug;

use super::file::{self, ReadError};
use super::handle::Progress;
use super::http::Trouble;
use super::{TransferContext, part};
use crate::client::files::{download_link, link_of};
use crate::error::{Error, FileFailure};
use crate::media::Media;
use godwit_schemas::ids::ConversationId;

/// Noes of the object store without a byte in between, before it is believed.
const NOES_MAX: u32 = 3;

/// A file that is being saved. Dropping it stops that; what is there stays, and another call goes on.
#[derive(Debug)]
pub struct Saving {
    progress: watch::Receiver<Progress>,
    task: JoinHandle<Result<(), Error>>,
}

impl Saving {
    pub(crate) fn start(context: TransferContext, conversation: ConversationId, media: Media, path: PathBuf) -> Self {
        let (told, progress) = watch::channel(Progress { done: 0, total: media.size });
        let download =
            RunningDownload { context, conversation, media, path, part: PathBuf::new(), told, noes: 0, damaged: false };
        Self { progress, task: tokio::spawn(download.run()) }
    }

    /// How much of it is there, to be watched.
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Until the file is in its place, whole and on the disk. Waits for a connection as long as it takes.
    ///
    /// # Errors
    /// [`Error::File`]: it cannot be had, or not be written. [`Error::Closed`] if the client was closed before.
    pub async fn saved(mut self) -> Result<(), Error> {
        match (&mut self.task).await {
            Ok(saved) => saved,
            // The runtime ends.
            Err(_) => Err(Error::Closed),
        }
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct RunningDownload {
    context: TransferContext,
    conversation: ConversationId,
    media: Media,
    path: PathBuf,
    /// See `part`; empty until its name is known.
    part: PathBuf,
    told: watch::Sender<Progress>,
    noes: u32,
    /// What was there was not what was sent: it is had once more as a whole.
    damaged: bool,
}

/// Why an attempt ended.
enum DownloadStop {
    Later(String),
    No(FileFailure),
    Failed(Error),
}

impl From<FileFailure> for DownloadStop {
    fn from(failure: FileFailure) -> Self {
        Self::Failed(failure.into())
    }
}

impl From<ReadError> for DownloadStop {
    fn from(error: ReadError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Error> for DownloadStop {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) if !refusal.retry_helps() => FileFailure::from(refusal).into(),
            // Somebody may see to the password meanwhile.
            Error::NotAdmitted(_) => Self::Later(error.to_string()),
            error if error.retry_helps() => Self::Later(error.to_string()),
            error => Self::Failed(error),
        }
    }
}

impl From<Trouble> for DownloadStop {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Network(why) => Self::Later(why),
            Trouble::Link(why) => FileFailure::Io(why).into(),
        }
    }
}

impl RunningDownload {
    async fn run(mut self) -> Result<(), Error> {
        loop {
            let why = match self.attempt().await {
                Ok(()) => return Ok(()),
                Err(DownloadStop::Failed(error)) => return Err(error),
                Err(DownloadStop::No(failure)) if self.noes >= NOES_MAX => return Err(failure.into()),
                Err(DownloadStop::No(failure)) => {
                    self.noes += 1;
                    failure.to_string()
                }
                Err(DownloadStop::Later(why)) => why,
            };
            let wait = self.context.backoff.next();
            debug!(%why, ?wait, "a download rests");
            self.context.rest(wait).await;
        }
    }

    async fn attempt(&mut self) -> Result<(), DownloadStop> {
        if self.part.as_os_str().is_empty() {
            self.part = part::path(&self.context.shared.ledger, &self.media, &self.path).await?;
        }
        if fs::symlink_metadata(&self.path).await.is_ok() {
            return if part::was_put(&self.part, &self.path).await { Ok(()) } else { Err(FileFailure::Exists.into()) };
        }
        let have = part::size(&self.part).await.map_err(|error| unwritable(&self.part, &error))?;
        let have = if have <= self.media.size { have } else { 0 };
        if have < self.media.size {
            self.fetch(have).await?;
        }
        let sha256 = file::hash(&self.part, |_| {}).await?;
        if sha256 != self.media.sha256 {
            fs::remove_file(&self.part).await.map_err(|error| unwritable(&self.part, &error))?;
            if std::mem::replace(&mut self.damaged, true) {
                return Err(FileFailure::Damaged.into());
            }
            return Err(DownloadStop::Later(FileFailure::Damaged.to_string()));
        }
        part::put_in_place(&self.part, &self.path).await.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => FileFailure::Exists.into(),
            _ => unwritable(&self.path, &error).into(),
        })
    }

    /// Everything from `have` on, if the object store gives it so.
    async fn fetch(&mut self, have: u64) -> Result<(), DownloadStop> {
        self.context.online().await?;
        let call = download_link(&self.media.id, Some(self.conversation));
        let link = link_of(self.context.call(call).await?);
        let range = HeaderValue::from_str(&format!("bytes={have}-")).ok().filter(|_| have > 0);
        let range: Vec<_> = range.into_iter().map(|value| (RANGE, value)).collect();
        let mut answer = self.context.http.ask(&link, &range, Empty::<Bytes>::new(), |_| {}).await?;
        let from = match answer.response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if begins_at(&answer.response, have) => have,
            status if status.is_server_error() => {
                return Err(DownloadStop::Later(format!("the object store: {status}")));
            }
            // The link has expired, perhaps. The next one will show.
            status => return Err(DownloadStop::No(FileFailure::Storage(status.as_u16()))),
        };
        let unwritable = |error: io::Error| unwritable(&self.part, &error);
        let mut file = part::open(&self.part, from).await.map_err(unwritable)?;
        let (mut done, total) = (from, self.media.size);
        loop {
            self.told.send_replace(Progress { done, total });
            let Some(bytes) = answer.next().await? else { break };
            done += bytes.len() as u64;
            if done > total {
                return Err(FileFailure::Damaged.into());
            }
            file.write_all(&bytes).await.map_err(unwritable)?;
            self.noes = 0;
            self.context.backoff.reset();
        }
        file.flush().await.map_err(unwritable)?;
        if done < total { Err(DownloadStop::Later("the answer was cut off".to_owned())) } else { Ok(()) }
    }
}

/// `Content-Range: bytes 9-99/100`
fn begins_at<B>(response: &Response<B>, have: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()) == Some(have)
}

fn unwritable(path: &Path, error: &io::Error) -> FileFailure {
    FileFailure::Io(format!("{}: {error}", path.display()))
}
