//! What a bridge counts. Each part has numbers of its own, which it alone moves: a lane those of [`LaneMetrics`], the committer
//! those of [`CommitMetrics`]. The server reads them, and names them.
//!
//! On the path of a message a lane adds to numbers that are its own. How much there is in its queues it says four times a second,
//! in its tick.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use godwit_metrics::{Counter, Gauge, Histogram};
use tokio::sync::mpsc;

use crate::media::MediaRequest;
use crate::messages::Commit;
use crate::push::post::PushMail;
use crate::registration::RegistrationAsk;

/// Up to so many microseconds, from a quarter of a millisecond to two minutes.
const DELIVERY_MICROS: &[u64] = &[
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    30_000_000,
    120_000_000,
];
/// The same for a write to the disk.
const COMMIT_MICROS: &[u64] =
    &[50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];
const COMMIT_WRITES: &[u64] = &[1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536];

/// Everything that a bridge counts.
#[derive(Debug)]
pub struct BridgeMetrics {
    /// By the lane's number.
    pub lanes: Box<[LaneMetrics]>,
    /// Of the committer.
    pub commits: Arc<CommitMetrics>,
    /// Of the media service.
    pub media: Arc<MediaMetrics>,
    /// Of the registrar.
    pub registration: Arc<RegistrationMetrics>,
    /// Of the pusher.
    pub push: Arc<PushMetrics>,
    pub(crate) queues: BridgeQueues,
}

/// Ends of queues, which keep nothing running.
#[derive(Debug, Default)]
pub(crate) struct BridgeQueues {
    pub(crate) commits: Option<mpsc::WeakSender<Commit>>,
    pub(crate) media: Option<mpsc::WeakSender<MediaRequest>>,
    pub(crate) registration: Option<mpsc::WeakSender<RegistrationAsk>>,
    pub(crate) push: Option<mpsc::WeakSender<PushMail>>,
}

/// What one lane counts. It alone moves these.
#[derive(Debug)]
pub struct LaneMetrics {
    /// Messages that its users have sent and that are on disk.
    pub messages: Counter,
    /// Publishes that were recognised as repetitions.
    pub repeats: Counter,
    /// Inbox entries of its devices that are on disk.
    pub entries: Counter,
    /// Entries that devices have acknowledged.
    pub acknowledged: Counter,
    /// Read receipts that devices have sent.
    pub reads: Counter,
    /// From the end of the commit with an entry to its acknowledgement. Of each connection one entry is timed at a time.
    pub delivery: Histogram,
    /// Messages that wait in its queue.
    pub mailbox: Gauge,
    /// Devices that it has in memory.
    pub sessions: Gauge,
    /// Of these, connected.
    pub connections: Gauge,
    /// Publishes that are carried out.
    pub publishes: Gauge,
    /// Devices whose inboxes are to be read.
    pub reads_waiting: Gauge,
    /// Devices whose edge has no room.
    pub stalled: Gauge,
    /// Users that wait for their turn with work in slices.
    pub turns: Gauge,
    /// Requests over HTTP that wait for an answer.
    pub http_requests: Gauge,
    /// Items that other partitions have not taken in.
    pub outside: Gauge,
    /// Changes of presence that are to be told.
    pub presence_changes: Gauge,
    /// Bytes to edges that are on their way.
    pub edge_bytes: Gauge,
    /// Edges that were heard.
    pub edges: Gauge,
    /// Inboxes with something in them.
    pub inboxes: Gauge,
    /// Entries in them.
    pub inbox_entries: Gauge,
    /// Bytes of content in them.
    pub inbox_bytes: Gauge,
    /// Inboxes that take nothing more.
    pub full_inboxes: Gauge,
    /// Inboxes that take no more from strangers.
    pub half_full_inboxes: Gauge,
}

/// What the committer counts.
#[derive(Debug)]
pub struct CommitMetrics {
    /// How long a batch takes that waits for the disk.
    pub synced: Histogram,
    /// How long another one takes.
    pub buffered: Histogram,
    /// Writes of a batch.
    pub writes: Histogram,
}

/// What the media service counts.
#[derive(Debug, Default)]
pub struct MediaMetrics {
    /// Uploads that were begun.
    pub uploads_begun: Counter,
    /// Uploads that are complete.
    pub uploads: Counter,
    /// Their bytes.
    pub uploaded_bytes: Counter,
    /// Uploads that were refused because their user has had its share of the day.
    pub over_quota: Counter,
    /// Links to files that were given.
    pub downloads: Counter,
    /// Requests that the object store did not answer.
    pub store_failures: Counter,
    /// Requests to the object store that are under way.
    pub at_work: Gauge,
}

/// What the registrar counts.
#[derive(Debug, Default)]
pub struct RegistrationMetrics {
    /// Codes that were sent on their way.
    pub codes: Counter,
    /// Codes that were shown and right.
    pub verified: Counter,
    /// Codes that were shown and wrong.
    pub wrong_codes: Counter,
    /// Requests that were refused because there were too many.
    pub too_often: Counter,
}

/// What the pusher counts.
#[derive(Debug)]
pub struct PushMetrics {
    answers: [[Counter; PushAnswer::ALL.len()]; godwit_push::Provider::ALL.len()],
    /// Devices that are to be looked at, or that are being pushed.
    pub waiting: Gauge,
    /// Devices that were pushed of late.
    pub dampers: Gauge,
    /// Devices that are being pushed.
    pub under_way: Gauge,
    /// How often all registered devices were looked at because something was lost.
    pub rescans: Counter,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushAnswer {
    /// The service has taken it.
    Accepted,
    /// The address is none.
    Gone,
    /// The address may be none.
    Suspect,
    /// The service takes no such payload.
    TooLarge,
    /// It is sent again later.
    Later,
    /// The service refuses this server.
    Refused,
}

impl PushAnswer {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Accepted, Self::Gone, Self::Suspect, Self::TooLarge, Self::Later, Self::Refused];

    /// As metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Gone => "gone",
            Self::Suspect => "suspect",
            Self::TooLarge => "too_large",
            Self::Later => "later",
            Self::Refused => "refused",
        }
    }
}

/// What is counted of a consumer of events.
#[derive(Debug, Default)]
pub struct FeedMetrics {
    /// Events that wait for it.
    pub waiting: Gauge,
    /// Events that it has taken.
    pub told: Counter,
    /// Events that were dropped: it was too slow, or did not take them.
    pub dropped: Counter,
    /// When the oldest event happened that it has not told, in milliseconds since 1970; 0: none.
    oldest_ms: AtomicU64,
}

impl BridgeMetrics {
    /// Of a bridge with so many lanes that has counted nothing.
    pub fn of_lanes(lanes: u32) -> Self {
        Self {
            lanes: (0..lanes).map(|_| LaneMetrics::default()).collect(),
            commits: Arc::default(),
            media: Arc::default(),
            registration: Arc::default(),
            push: Arc::default(),
            queues: BridgeQueues::default(),
        }
    }

    /// Commits that wait for the committer.
    pub fn waiting_commits(&self) -> usize {
        waiting(self.queues.commits.as_ref())
    }

    /// Calls that wait for the media service.
    pub fn waiting_media_calls(&self) -> usize {
        waiting(self.queues.media.as_ref())
    }

    /// Requests that wait for the registrar.
    pub fn waiting_registrations(&self) -> usize {
        waiting(self.queues.registration.as_ref())
    }

    /// What lanes have told the pusher and it has not taken.
    pub fn waiting_push_mails(&self) -> usize {
        waiting(self.queues.push.as_ref())
    }
}

/// Nothing waits for who has ended.
fn waiting<T>(queue: Option<&mpsc::WeakSender<T>>) -> usize {
    queue.and_then(mpsc::WeakSender::upgrade).map_or(0, |queue| queue.max_capacity() - queue.capacity())
}

impl Default for LaneMetrics {
    fn default() -> Self {
        Self {
            messages: Counter::new(),
            repeats: Counter::new(),
            entries: Counter::new(),
            acknowledged: Counter::new(),
            reads: Counter::new(),
            delivery: Histogram::new(DELIVERY_MICROS),
            mailbox: Gauge::default(),
            sessions: Gauge::default(),
            connections: Gauge::default(),
            publishes: Gauge::default(),
            reads_waiting: Gauge::default(),
            stalled: Gauge::default(),
            turns: Gauge::default(),
            http_requests: Gauge::default(),
            outside: Gauge::default(),
            presence_changes: Gauge::default(),
            edge_bytes: Gauge::default(),
            edges: Gauge::default(),
            inboxes: Gauge::default(),
            inbox_entries: Gauge::default(),
            inbox_bytes: Gauge::default(),
            full_inboxes: Gauge::default(),
            half_full_inboxes: Gauge::default(),
        }
    }
}

impl Default for CommitMetrics {
    fn default() -> Self {
        Self {
            synced: Histogram::new(COMMIT_MICROS),
            buffered: Histogram::new(COMMIT_MICROS),
            writes: Histogram::new(COMMIT_WRITES),
        }
    }
}

impl Default for PushMetrics {
    fn default() -> Self {
        Self {
            answers: [const { [const { Counter::new() }; PushAnswer::ALL.len()] }; godwit_push::Provider::ALL.len()],
            waiting: Gauge::default(),
            dampers: Gauge::default(),
            under_way: Gauge::default(),
            rescans: Counter::new(),
        }
    }
}

impl PushMetrics {
    /// What a kind of push service has answered.
    pub fn answers(&self, provider: godwit_push::Provider, answer: PushAnswer) -> &Counter {
        &self.answers[provider as usize][answer as usize]
    }
}

impl FeedMetrics {
    /// Notes when the oldest event happened that is not told. `None`: all are.
    pub(crate) fn set_oldest(&self, time_ms: Option<u64>) {
        self.oldest_ms.store(time_ms.unwrap_or(0), Ordering::Relaxed);
    }

    /// How long the oldest event has waited that is not told, in milliseconds. `now_ms`: since 1970.
    pub fn lag_ms(&self, now_ms: u64) -> u64 {
        match self.oldest_ms.load(Ordering::Relaxed) {
            0 => 0,
            oldest_ms => now_ms.saturating_sub(oldest_ms),
        }
    }
}
