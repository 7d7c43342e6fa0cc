//! The keeper: one task that owns every record of a file. It decides and writes by itself; what it asks of the object store
//! runs beside it, and it goes on when the answer is there, from what the record is by then.
//!
//! An object store that does not answer is nobody's failure but that call's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::UserId;
use godwit_schemas::media::MediaId;
use godwit_schemas::reason::Reason;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::objects::{ObjectsError, Part};
use super::record::MediaRecord;
use super::{Ask, MediaSettings, Reply, access};
use crate::mail::{Commit, Mailbox};
use crate::store::keys::Key;
use crate::store::keys::media as keys;
use crate::store::{ClockS, Store, StoreError, Write};
use crate::writes;

/// How often it looks for what is not needed any more.
const SWEEP: Duration = Duration::from_secs(1);
/// Requests to the object store at a time; further calls wait.
const AT_WORK_MAX: usize = 64;

/// A refusal: its reason code, and a sentence for people.
pub(super) type Refused = (Reason, &'static str);

pub(super) const NO_MEDIA: Refused = (Reason::TOPIC_NAME_INVALID, "no such media");
pub(super) const NO_ANSWER: Refused = (Reason::SERVER_BUSY, "the object store does not answer: try again later");

/// What the keeper is made of.
pub(crate) struct Parts {
    pub(crate) settings: MediaSettings,
    pub(crate) clock: ClockS,
    pub(crate) calls: mpsc::Receiver<Ask>,
    pub(crate) committer: mpsc::Sender<Commit>,
    pub(crate) lanes: Arc<[Mailbox]>,
}

/// An answer of the object store, or of the lanes.
pub(super) enum Done {
    /// An upload in parts was begun.
    Begun(MediaId, Result<String, ObjectsError>),
    /// The parts that are there, for links to the others above a number.
    Listed(MediaId, u32, Result<Vec<Part>, ObjectsError>, Reply),
    /// A finished upload was compared with what was announced.
    Verified(MediaId, Result<(), super::upload::Unfit>),
    /// No lane is about to refer to a file that is doomed.
    Passed(MediaId),
    /// An object, and the row that had it deleted.
    Deleted(Key, Result<(), ObjectsError>),
}

/// See the module.
pub(crate) struct Keeper<S> {
    pub(super) settings: MediaSettings,
    pub(super) store: S,
    clock: ClockS,
    calls: mpsc::Receiver<Ask>,
    committer: mpsc::Sender<Commit>,
    pub(super) lanes: Arc<[Mailbox]>,
    pub(super) now_s: u32,
    at_work: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Uploads in parts that are being begun, and who waits for it.
    pub(super) beginning: HashMap<MediaId, Vec<Reply>>,
    /// Uploads that are being verified.
    pub(super) verifying: HashMap<MediaId, Vec<Reply>>,
    /// Files whose end is under way.
    pub(super) ending: HashSet<MediaId>,
    /// Objects that are being deleted.
    pub(super) deleting: HashSet<Key>,
    /// The object store has failed: nothing is deleted before.
    pub(super) delete_from_s: u32,
}

impl<S: Store> Keeper<S> {
    pub(crate) fn new(parts: Parts, store: S) -> Self {
        let Parts { settings, clock, calls, committer, lanes } = parts;
        Self {
            settings,
            store,
            now_s: clock(),
            clock,
            calls,
            committer,
            lanes,
            at_work: FuturesUnordered::new(),
            beginning: HashMap::new(),
            verifying: HashMap::new(),
            ending: HashSet::new(),
            deleting: HashSet::new(),
            delete_from_s: 0,
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

    async fn carry_out(&mut self, Ask { user, call, reply }: Ask) -> Result<(), StoreError> {
        self.now_s = self.now_s.max((self.clock)());
        match call {
            Call::CreateUpload(call) => self.create(&user, call, reply).await,
            Call::GetUpload(call) => self.resume(&user, &call, reply).await,
            Call::CompleteUpload(call) => self.complete(&user, &call.media, reply).await,
            Call::DiscardUpload(call) => self.discard(&user, &call.media, reply).await,
            Call::DownloadLink(call) => self.download(&user, &call, reply).await,
            _ => Ok(()),
        }
    }

    async fn finish(&mut self, done: Done) -> Result<(), StoreError> {
        self.now_s = self.now_s.max((self.clock)());
        match done {
            Done::Begun(id, begun) => self.begun(id, begun).await,
            Done::Listed(id, after, parts, reply) => self.listed(id, after, parts, reply).await,
            Done::Verified(id, verified) => self.verified(id, verified).await,
            Done::Passed(id) => self.passed(id).await,
            Done::Deleted(row, deleted) => self.deleted(row, deleted).await,
        }
    }

    async fn sweep(&mut self) -> Result<(), StoreError> {
        self.now_s = self.now_s.max((self.clock)());
        self.look_at_what_is_due().await?;
        self.delete_garbage().await
    }

    async fn download(&mut self, user: &UserId, call: &client::DownloadLink, reply: Reply) -> Result<(), StoreError> {
        let Ok(id) = call.media.parse::<MediaId>() else { return refuse(reply, NO_MEDIA) };
        let within = Some(call.conversation).filter(|id| *id != 0).map(godwit_schemas::ids::ConversationId::new);
        let record = access::record(&self.store, id).await?.filter(MediaRecord::is_ready);
        let Some(object) = record.and_then(|record| record.object()) else { return refuse(reply, NO_MEDIA) };
        if !access::may_have(&self.store, id, user, within, self.now_s).await? {
            return refuse(reply, NO_MEDIA);
        }
        match self.settings.objects.get_link(object, self.settings.link_s).await {
            Ok(link) => {
                let download = Some(self.link(link));
                reply(client::Response { download, ..Default::default() });
                Ok(())
            }
            Err(error) => unanswered(reply, &error),
        }
    }

    pub(super) fn link(&self, link: super::objects::Link) -> client::Link {
        let headers = link.headers.into_iter().map(|(name, value)| client::Header { name, value });
        let (method, headers) = (link.method.to_owned(), headers.collect());
        client::Link { method, url: link.url, headers, expires_in_s: self.settings.link_s }
    }

    /// Goes on beside this task; [`Self::finish`] takes what comes of it.
    pub(super) fn start(&mut self, work: impl Future<Output = Done> + Send + 'static) {
        self.at_work.push(work.boxed());
    }

    /// Returns when it is on disk.
    pub(super) async fn commit(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        let (tell, told) = oneshot::channel();
        let then: crate::mail::Then = Box::new(move || {
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
pub(super) fn mark(key: Key) -> Write {
    writes::set(key, Some(bytes::Bytes::new()))
}

/// Answers a call with a refusal.
pub(super) fn refuse(reply: Reply, (reason, text): Refused) -> Result<(), StoreError> {
    reply(client::Response { reason: reason.into(), text: text.to_owned(), ..Default::default() });
    Ok(())
}

/// Answers a call for which the object store was needed.
pub(super) fn unanswered(reply: Reply, error: &ObjectsError) -> Result<(), StoreError> {
    warn!(%error, "a call for media is refused");
    refuse(reply, NO_ANSWER)
}
