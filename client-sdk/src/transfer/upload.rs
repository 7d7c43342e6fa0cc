//! One file that is to be sent, from its hash to its message. Every step may be taken again: the server recognises a file
//! by its hash, tells which parts of it are there, and gives new links for the others.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream;
use http_body_util::StreamBody;
use hyper::StatusCode;
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;

use super::TransferContext;
use super::file::{self, FileStamp, ReadError};
use super::handle::{FileState, Progress};
use super::http::Trouble;
use crate::client::files::{complete_upload, create_upload, discard_upload, get_upload, upload};
use crate::client::{self, MediaLink, UploadRequest};
use crate::engine::now_s;
use crate::error::{Error, FileFailure};
use crate::ledger::files::FileRecord;
use crate::media::FileId;

/// Read from a file at a time.
const READ_BYTES: usize = 64 << 10;
/// Noes of the object store without a part in between that it took, before a file is given up.
const NOES_MAX: u32 = 5;
/// How often the server may find something else than what was announced.
const REJECTED_MAX: u32 = 3;

/// One file on its way to the object store.
pub(super) struct RunningUpload {
    context: TransferContext,
    id: FileId,
    record: FileRecord,
    path: PathBuf,
    noes: u32,
    rejected: u32,
    /// So that how far it is can be asked, whether or not an app watches.
    _watched: watch::Receiver<FileState>,
}

/// Why an attempt ended.
enum UploadStop {
    /// Another may succeed.
    Later(String),
    /// Another may succeed, but not many more.
    No(FileFailure),
    /// No other will.
    Failed(FileFailure),
    /// The file is no longer to be sent, or the client is closed.
    Gone,
}

impl From<FileFailure> for UploadStop {
    fn from(failure: FileFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<ReadError> for UploadStop {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Failed(failure) => Self::Failed(failure),
            ReadError::Interrupted => Self::Gone,
        }
    }
}

impl From<Error> for UploadStop {
    fn from(error: Error) -> Self {
        match error {
            Error::Closed => Self::Gone,
            Error::Refused(refusal) if !refusal.retry_helps() => Self::Failed(refusal.into()),
            error => Self::Later(error.to_string()),
        }
    }
}

impl From<Trouble> for UploadStop {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Network(why) => Self::Later(why),
            Trouble::Link(why) => Self::Failed(FileFailure::Io(why)),
        }
    }
}

impl RunningUpload {
    pub(super) fn new(context: TransferContext, id: FileId, record: FileRecord) -> Self {
        let path = PathBuf::from(&record.path);
        let watched = context.shared.transfers.follow(id, FileState::Waiting);
        Self { context, id, record, path, noes: 0, rejected: 0, _watched: watched }
    }

    /// Until the message is in the outbox, or the file is given up. [`super::run`] tells that.
    pub(super) async fn run(mut self) {
        loop {
            let (again, why) = match self.attempt().await {
                Ok(()) | Err(UploadStop::Gone) => return,
                Err(UploadStop::Failed(failure)) => (Err(failure), String::new()),
                Err(UploadStop::No(failure)) if self.noes >= NOES_MAX => (Err(failure), String::new()),
                Err(UploadStop::No(failure)) => {
                    self.noes += 1;
                    (Ok(()), failure.to_string())
                }
                Err(UploadStop::Later(why)) => (Ok(()), why),
            };
            let again = match again {
                Ok(()) => self.context.backoff.next(),
                Err(failure) => match self.give_up(failure).await {
                    Ok(()) | Err(Error::Closed) => return,
                    Err(_) => self.context.backoff.next(),
                },
            };
            debug!(file = self.id.get(), %why, ?again, "an upload rests");
            self.goes(FileState::Waiting);
            self.context.rest(again).await;
        }
    }

    /// Until the server has forgotten an upload that was called off.
    pub(super) async fn discard(mut self) {
        loop {
            match self.try_discard().await {
                Ok(()) | Err(Error::Closed) => return,
                Err(error) => debug!(%error, "an upload is to be discarded later"),
            }
            let wait = self.context.backoff.next();
            self.context.rest(wait).await;
        }
    }

    async fn try_discard(&self) -> Result<(), Error> {
        let (ledger, id) = (&self.context.shared.ledger, self.id);
        if let Some(media) = ledger.call(move |it| it.upload_to_discard(id)).await? {
            self.context.online().await?;
            match self.context.call(discard_upload(&media)).await {
                // It is complete, or gone.
                Err(Error::Refused(refusal)) if !refusal.retry_helps() => {}
                done => drop(done?),
            }
        }
        ledger.call(move |it| it.forget_file(id)).await
    }

    async fn give_up(&self, failure: FileFailure) -> Result<(), Error> {
        let id = self.id;
        self.context.shared.ledger.call(move |it| it.file_failed(id, &failure)).await.map(drop)
    }

    fn goes(&self, state: FileState) {
        self.context.shared.transfers.goes(self.id, state);
    }

    fn stamp(&self) -> FileStamp {
        FileStamp { size: self.record.size, modified_ns: self.record.modified_ns }
    }

    async fn attempt(&mut self) -> Result<(), UploadStop> {
        if self.record.sha256.is_empty() {
            let sha256 = self.hash().await?;
            self.note(sha256, String::new()).await?;
        }
        self.context.online().await?;
        let mut upload = self.begin().await?;
        while !upload.complete {
            let size = |part: u32| self.part_bytes(&upload, part).1;
            let mut there: u64 = upload.stored.iter().map(|part| size(*part)).sum();
            if let Some(link) = &upload.link {
                self.put(link, (0, self.record.size), 0).await?;
            }
            if upload.parts.is_empty() {
                break;
            }
            let (given, mut after) = (Instant::now(), 0);
            for (part, link) in upload.parts.iter().take_while(|(_, link)| given.elapsed() < link.expires_in) {
                let (from, len) = self.part_bytes(&upload, *part);
                self.put(link, (from, len), there).await?;
                self.noes = 0;
                self.context.backoff.reset();
                (there, after) = (there + len, *part);
            }
            upload = self.look(after).await?;
        }
        self.goes(FileState::Verifying);
        file::open_unchanged(&self.path, self.stamp(), 0).await?;
        if !upload.complete {
            self.complete().await?;
        }
        self.send().await
    }

    async fn hash(&self) -> Result<Bytes, ReadError> {
        file::open_unchanged(&self.path, self.stamp(), 0).await?;
        let (shared, id, total) = (self.context.shared.clone(), self.id, self.record.size);
        let told = move |done| shared.transfers.goes(id, FileState::Hashing(Progress { done, total }));
        let sha256 = file::hash(&self.path, told).await?;
        file::open_unchanged(&self.path, self.stamp(), 0).await?;
        Ok(sha256)
    }

    /// Writes down what is known.
    async fn note(&mut self, sha256: Bytes, media: String) -> Result<(), UploadStop> {
        (self.record.sha256, self.record.media) = (sha256.clone(), media.clone());
        let id = self.id;
        let noted = self.context.shared.ledger.call(move |it| it.note_file(id, sha256, media)).await?;
        if noted { Ok(()) } else { Err(UploadStop::Gone) }
    }

    /// Begins an upload on the server, or goes on with one.
    async fn begin(&mut self) -> Result<client::Upload, UploadStop> {
        if !self.record.media.is_empty() {
            match self.look(0).await {
                // It waited for too long. Begin anew.
                Err(UploadStop::No(_)) => {}
                looked => return looked,
            }
        }
        let sha256 = self.record.sha256.to_vec().try_into();
        let sha256 = sha256.map_err(|_| UploadStop::Failed(FileFailure::Changed))?;
        let record = self.record.clone();
        let conversation = self.context.shared.ledger.call(move |it| it.conversation_of(&record)).await?;
        let (size, content_type) = (self.record.size, self.record.content_type.clone());
        let call = create_upload(UploadRequest { sha256, size, content_type, conversation });
        let begun = upload(self.context.call(call).await?);
        self.note(self.record.sha256.clone(), begun.media.clone()).await?;
        Ok(begun)
    }

    /// How far an upload is, with links for parts above `after`.
    async fn look(&self, after: u32) -> Result<client::Upload, UploadStop> {
        match self.context.call(get_upload(&self.record.media, after)).await {
            Ok(response) => Ok(upload(response)),
            Err(Error::Refused(refusal)) if !refusal.retry_helps() => Err(UploadStop::No(refusal.into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Where a part begins, and how long it is.
    fn part_bytes(&self, upload: &client::Upload, part: u32) -> (u64, u64) {
        let from = u64::from(part).saturating_sub(1).saturating_mul(upload.part_bytes).min(self.record.size);
        (from, upload.part_bytes.min(self.record.size - from))
    }

    /// Brings a piece of the file up; so much of it is `there` already.
    async fn put(&self, link: &MediaLink, (from, len): (u64, u64), there: u64) -> Result<(), UploadStop> {
        let file = file::open_unchanged(&self.path, self.stamp(), from).await?;
        let (shared, id, total) = (self.context.shared.clone(), self.id, self.record.size);
        let percent = AtomicU64::new(0);
        let told = move |sent: u64| {
            let done = there + sent.min(len);
            shared.transfers.goes(id, FileState::Uploading(Progress { done, total }));
            // A screen need not be drawn for every byte.
            let now = done * 100 / total.max(1);
            if percent.swap(now, Ordering::Relaxed) != now {
                shared.changed();
            }
        };
        told(0);
        let length = (CONTENT_LENGTH, HeaderValue::from(len));
        let answer = self.context.http.ask(link, &[length], body(file, len), told).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(trouble) => {
                // It may have become shorter while it was read.
                file::open_unchanged(&self.path, self.stamp(), 0).await?;
                return Err(trouble.into());
            }
        };
        let status = answer.response.status();
        if status.is_success() {
            return Ok(());
        }
        if status == StatusCode::BAD_REQUEST {
            self.must_be_the_same().await?;
        }
        Err(refused(status))
    }

    /// Whatever its time of change says.
    async fn must_be_the_same(&self) -> Result<(), ReadError> {
        if self.hash().await? == self.record.sha256 { Ok(()) } else { Err(FileFailure::Changed.into()) }
    }

    async fn complete(&mut self) -> Result<(), UploadStop> {
        match self.context.call(complete_upload(&self.record.media)).await {
            Ok(_) => Ok(()),
            Err(Error::Refused(refusal)) if !refusal.retry_helps() => {
                self.must_be_the_same().await?;
                self.rejected += 1;
                let refusal = FileFailure::from(refusal);
                Err(if self.rejected < REJECTED_MAX { UploadStop::Later(refusal.to_string()) } else { refusal.into() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Its message goes to the outbox, unless the file was paused or called off.
    async fn send(&self) -> Result<(), UploadStop> {
        let id = self.id;
        self.context.shared.ledger.call(move |it| it.file_uploaded(id, now_s())).await?;
        Ok(())
    }
}

/// What an object store's no means.
fn refused(status: StatusCode) -> UploadStop {
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    if status.is_server_error() || passing.contains(&status) {
        return UploadStop::Later(format!("the object store answers with {status}"));
    }
    // The link has expired, perhaps. The next one will show.
    UploadStop::No(FileFailure::Storage(status.as_u16()))
}

/// So many bytes of a file, from where it stands.
fn body(file: File, len: u64) -> impl Body<Data = Bytes, Error = io::Error> + Send + 'static {
    let pieces = stream::try_unfold((file, len), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut piece = Vec::with_capacity(READ_BYTES.min(usize::try_from(left).unwrap_or(READ_BYTES)));
        let read = (&mut file).take(left.min(READ_BYTES as u64)).read_buf(&mut piece).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((Frame::data(Bytes::from(piece)), (file, left - read as u64))))
    });
    StreamBody::new(Box::pin(pieces))
}
