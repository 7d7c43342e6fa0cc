//! The media service: one task that owns every record of a file. It decides and writes by itself; what it asks of the object store
//! runs beside it, and it goes on when the answer is there, from what the record is by then.
//!
//! An object store that does not answer is nobody's failure but that call's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use godwit_core::call::MediaCall;
use godwit_core::refusal::{self, Refusal};
use godwit_schemas::client;
use godwit_schemas::ids::UserId;
use godwit_schemas::media::MediaId;
use godwit_store::keys::StoreKey;
use godwit_store::keys::media as keys;
use godwit_store::time::Time;
use godwit_store::{Store, StoreError, Write};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::objects::{ObjectsError, StoredPart};
use super::record::MediaRecord;
use super::{MediaReply, MediaRequest, MediaSettings, access};
use crate::messages::{Commit, LaneHandle};
use crate::metrics::MediaMetrics;
use crate::writes;

/// How often it looks for what is not needed any more.
const SWEEP: Duration = Duration::from_secs(1);
/// Requests to the object store at a time; further calls wait.
const AT_WORK_MAX: usize = 64;

/// What the media service is made of.
pub(crate) struct MediaServiceParts {
    pub(crate) settings: MediaSettings,
    pub(crate) time: Time,
    pub(crate) calls: mpsc::Receiver<MediaRequest>,
    pub(crate) committer: mpsc::Sender<Commit>,
    pub(crate) lanes: Arc<[LaneHandle]>,
    pub(crate) metrics: Arc<MediaMetrics>,
}

/// An answer of the object store, or of the lanes.
pub(super) enum MediaEvent {
    /// An upload in parts was begun.
    Begun(MediaId, Result<String, ObjectsError>),
    /// The parts that are there, for links to the others above a number.
    Listed(MediaId, u32, Result<Vec<StoredPart>, ObjectsError>, MediaReply),
    /// A finished upload was compared with what was announced.
    Verified(MediaId, Result<(), Unfit>),
    /// No lane is about to refer to a file that is doomed.
    Passed(MediaId),
    /// An object, and the row that had it deleted.
    Deleted(StoreKey, Result<(), ObjectsError>),
}

/// Why an upload is not complete.
#[derive(Debug)]
pub(super) enum Unfit {
    /// More is to come.
    Incomplete,
    /// It never will be what was announced.
    Another,
    /// It is not known.
    Unknown(ObjectsError),
}

impl From<ObjectsError> for Unfit {
    fn from(error: ObjectsError) -> Self {
        match error {
            ObjectsError::Absent => Self::Incomplete,
            failed => Self::Unknown(failed),
        }
    }
}

/// The task that owns all records of files.
pub(crate) struct MediaService<S> {
    pub(super) settings: MediaSettings,
    pub(super) store: S,
    time: Time,
    calls: mpsc::Receiver<MediaRequest>,
    committer: mpsc::Sender<Commit>,
    pub(super) lanes: Arc<[LaneHandle]>,
    pub(super) now_s: u32,
    at_work: FuturesUnordered<BoxFuture<'static, MediaEvent>>,
    /// Uploads in parts that are being begun, and who waits for it.
    pub(super) beginning: HashMap<MediaId, Vec<MediaReply>>,
    /// Uploads that are being verified.
    pub(super) verifying: HashMap<MediaId, Vec<MediaReply>>,
    /// Files whose end is under way.
    pub(super) ending: HashSet<MediaId>,
    /// Objects that are being deleted.
    pub(super) deleting: HashSet<StoreKey>,
    /// The object store has failed: nothing is deleted before.
    pub(super) delete_from_s: u32,
    pub(super) metrics: Arc<MediaMetrics>,
}

impl<S: Store> MediaService<S> {
    pub(crate) fn new(parts: MediaServiceParts, store: S) -> Self {
        let MediaServiceParts { settings, time, calls, committer, lanes, metrics } = parts;
        Self {
            settings,
            store,
            now_s: time.now_s(),
            time,
            calls,
            committer,
            lanes,
            at_work: FuturesUnordered::new(),
            beginning: HashMap::new(),
            verifying: HashMap::new(),
            ending: HashSet::new(),
            deleting: HashSet::new(),
            delete_from_s: 0,
            metrics,
        }
    }

    /// Runs until all lanes are gone, or the store fails.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn run(mut self) -> Result<(), StoreError> {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.metrics.at_work.set_len(self.at_work.len());
            tokio::select! {
                Some(done) = self.at_work.next() => self.finish(done).await?,
                ask = self.calls.recv(), if self.at_work.len() < AT_WORK_MAX => match ask {
                    Some(ask) => self.carry_out(ask).await?,
                    None => return Ok(()),
                },
                _ = sweep.tick() => self.sweep().await?,
            }
        }
    }

    async fn carry_out(&mut self, MediaRequest { user, call, reply }: MediaRequest) -> Result<(), StoreError> {
        self.now_s = self.now_s.max(self.time.now_s());
        match call {
            MediaCall::CreateUpload(call) => self.create(&user, call, reply).await,
            MediaCall::GetUpload(call) => self.resume(&user, &call, reply).await,
            MediaCall::CompleteUpload(call) => self.complete(&user, &call.media, reply).await,
            MediaCall::DiscardUpload(call) => self.discard(&user, &call.media, reply).await,
            MediaCall::DownloadLink(call) => self.download(&user, &call, reply).await,
        }
    }

    async fn finish(&mut self, done: MediaEvent) -> Result<(), StoreError> {
        self.now_s = self.now_s.max(self.time.now_s());
        match done {
            MediaEvent::Begun(id, begun) => self.begun(id, begun).await,
            MediaEvent::Listed(id, after, parts, reply) => self.listed(id, after, parts, reply).await,
            MediaEvent::Verified(id, verified) => self.verified(id, verified).await,
            MediaEvent::Passed(id) => self.passed(id).await,
            MediaEvent::Deleted(row, deleted) => self.deleted(row, deleted).await,
        }
    }

    async fn sweep(&mut self) -> Result<(), StoreError> {
        if !self.time.may_delete() {
            return Ok(());
        }
        self.now_s = self.now_s.max(self.time.now_s());
        self.look_at_what_is_due().await?;
        self.delete_garbage().await
    }

    async fn download(
        &mut self,
        user: &UserId,
        call: &client::DownloadLink,
        reply: MediaReply,
    ) -> Result<(), StoreError> {
        let Ok(id) = call.media.parse::<MediaId>() else { return refuse(reply, refusal::NO_MEDIA) };
        let within = Some(call.conversation).filter(|id| *id != 0).map(godwit_schemas::ids::ConversationId::new);
        let record = access::record(&self.store, id).await?.filter(MediaRecord::is_ready);
        let found = record.and_then(|record| Some((record.object()?, record.content_type)));
        let Some((object, content_type)) = found else { return refuse(reply, refusal::NO_MEDIA) };
        if !access::may_have(&self.store, id, user, within, self.now_s).await? {
            return refuse(reply, refusal::NO_MEDIA);
        }
        match self.settings.objects.get_link(object, &content_type, self.settings.link_s).await {
            Ok(link) => {
                self.metrics.downloads.increment();
                let download = Some(self.link(link));
                reply(client::Response { download, ..Default::default() });
                Ok(())
            }
            Err(error) => self.unanswered(reply, &error),
        }
    }

    pub(super) fn link(&self, link: super::objects::SignedLink) -> client::Link {
        let headers = link.headers.into_iter().map(|(name, value)| client::Header { name, value });
        let (method, headers) = (link.method.to_owned(), headers.collect());
        client::Link { method, url: link.url, headers, expires_in_s: self.settings.link_s }
    }

    /// Goes on beside this task; [`Self::finish`] takes what comes of it.
    pub(super) fn start(&mut self, work: impl Future<Output = MediaEvent> + Send + 'static) {
        self.at_work.push(work.boxed());
    }

    /// Answers a call for which the object store was needed.
    pub(super) fn unanswered(&self, reply: MediaReply, error: &ObjectsError) -> Result<(), StoreError> {
        self.metrics.store_failures.increment();
        warn!(%error, "a call for media is refused");
        refuse(reply, refusal::OBJECT_STORE_SILENT)
    }

    /// Returns when it is on disk.
    pub(super) async fn commit(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        let (tell, told) = oneshot::channel();
        let then: crate::messages::Continuation = Box::new(move || {
            let _ = tell.send(());
        });
        let commit = Commit { writes, durable: true, then: Some(then), ..Commit::default() };
        let gone = || StoreError { doing: "commit", cause: "the committer has ended".to_owned() };
        self.committer.send(commit).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())
    }
}

/// Writes a record as it is now.
pub(super) fn put(id: MediaId, record: &MediaRecord) -> Write {
    writes::put(keys::media(id), record)
}

/// Sets a key that says all.
pub(super) fn mark(key: StoreKey) -> Write {
    writes::set(key, Some(bytes::Bytes::new()))
}

/// Answers a call with a refusal.
pub(super) fn refuse(reply: MediaReply, refusal: Refusal) -> Result<(), StoreError> {
    reply(refusal.to_response());
    Ok(())
}
