//! The one task that writes the journal. It gathers commits into records and has one append under way. Keeps P1: a commit
//! returns when its record is on a quorum.
//!
//! An append whose outcome is unknown is made again, the same row, and nothing else, until it is applied or refused. Refused
//! means that another process has sealed the journal: this one leads no more.
//!
//! A second without commits ends with an empty record. It shows that this process still leads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godwit_store::time::ClockSource;
use godwit_store::{Durability, Write};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

use crate::journal::{Journal, Outcome, Segment};
use crate::overlay::{Layer, Overlay};
use crate::patience::{Patience, patiently, until_known};
use crate::record::Record;
use crate::registry::Head;
use crate::standing::Standing;

/// Commits that may wait for the appender. There is one committer, and it waits for each.
pub(crate) const QUEUE: usize = 16;
/// A buffered commit waits so long for a synced one to share its append.
const LINGER: Duration = Duration::from_millis(50);
/// After so long without an append an empty record is appended.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// With so many bytes gathered no further commit joins.
const GATHERED_MAX: usize = 1 << 20;
/// A segment ends with so many bytes, or after so long.
const SEGMENT_BYTES: usize = 64 << 20;
const SEGMENT_AGE: Duration = Duration::from_secs(60);
/// What is committed is applied to tables after at least this time, unless there is much of it.
const APPLY_AFTER: Duration = Duration::from_secs(3);
/// How long an orderly end waits for tables.
const RELEASE_MAX: Duration = Duration::from_secs(10);

/// What the appender is asked.
pub(crate) enum Request {
    Commit {
        writes: Vec<Write>,
        durability: Durability,
        done: oneshot::Sender<()>,
    },
    /// To end in order. Told when the journal is sealed.
    Release(oneshot::Sender<()>),
}

/// A layer that is in the journal, and where the journal goes on behind it.
pub(crate) struct Frozen {
    pub(crate) layer: Arc<Layer>,
    pub(crate) end: Head,
}

/// Commits of the next record.
#[derive(Default)]
struct Gathered {
    writes: Vec<Write>,
    /// The first of these writes are in the overlay already.
    visible: usize,
    bytes: usize,
    /// The record's, once something of it is visible.
    clock_us: Option<u64>,
    waiting: Vec<oneshot::Sender<()>>,
    since: Option<Instant>,
}

/// Another process has sealed the journal.
struct Fenced;

/// See the module.
pub(crate) struct Appender<J> {
    pub(crate) journal: J,
    pub(crate) overlay: Overlay,
    pub(crate) standing: Arc<Standing>,
    pub(crate) wall: ClockSource,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) frozen: mpsc::Sender<Frozen>,
    at: Segment,
    /// Of the next row.
    position: u64,
    /// Of the last record.
    clock_us: u64,
    segment_bytes: usize,
    segment_since: Instant,
    frozen_at: Instant,
    appended_at: Instant,
    gathered: Gathered,
}

/// A task that ends for whatever reason must not leave a process behind that seems to lead.
impl<J> Drop for Appender<J> {
    fn drop(&mut self) {
        self.standing.lose("the task that writes the journal has ended");
    }
}

impl<J: Journal> Appender<J> {
    /// A writer of a journal whose first segment is open and empty. Its records follow those of `clock_us`.
    pub(crate) fn new(
        journal: J,
        at: Segment,
        clock_us: u64,
        wall: ClockSource,
        (overlay, standing): (Overlay, Arc<Standing>),
        (requests, frozen): (mpsc::Receiver<Request>, mpsc::Sender<Frozen>),
    ) -> Self {
        let now = Instant::now();
        Self {
            journal,
            overlay,
            standing,
            wall,
            requests,
            frozen,
            at,
            position: 0,
            clock_us,
            segment_bytes: 0,
            segment_since: now,
            frozen_at: now,
            appended_at: now,
            gathered: Gathered::default(),
        }
    }

    /// Appends the first record: this process leads. `false`: another one has taken over before that.
    pub(crate) async fn begin(&mut self) -> bool {
        self.append().await.is_ok()
    }

    /// Until another process leads, or this one is released.
    pub(crate) async fn run(mut self) {
        loop {
            let lingering = self.gathered.since.map(|since| since + LINGER);
            let due = lingering.unwrap_or(self.appended_at + HEARTBEAT);
            let released = match timeout_at(due, self.requests.recv()).await {
                Ok(Some(request)) => self.gather(request),
                Ok(None) => return,
                Err(_) => None,
            };
            let released = released.or_else(|| self.gather_more());
            let is_due = !self.gathered.waiting.is_empty() || Instant::now() >= due || released.is_some();
            if (is_due || self.gathered.bytes >= GATHERED_MAX) && self.append().await.is_err() {
                return;
            }
            if let Some(released) = released {
                self.release().await;
                let _ = released.send(());
                return;
            }
        }
    }

    /// What is waiting joins a commit that somebody waits for.
    fn gather_more(&mut self) -> Option<oneshot::Sender<()>> {
        while !self.gathered.waiting.is_empty()
            && self.gathered.bytes < GATHERED_MAX
            && let Ok(more) = self.requests.try_recv()
        {
            let released = self.gather(more);
            if released.is_some() {
                return released;
            }
        }
        None
    }

    fn gather(&mut self, request: Request) -> Option<oneshot::Sender<()>> {
        let (writes, durability, done) = match request {
            Request::Release(released) => return Some(released),
            Request::Commit { writes, durability, done } => (writes, durability, done),
        };
        let bytes: usize = writes.iter().map(size).sum();
        // Never ahead of an earlier one.
        let waits = durability == Durability::Synced || !self.gathered.waiting.is_empty();
        if waits {
            self.gathered.waiting.push(done);
        } else {
            let clock_us = self.gathered_clock_us();
            self.overlay.write(clock_us, writes.iter().cloned());
            self.gathered.visible += writes.len();
            self.gathered.since.get_or_insert_with(Instant::now);
            // Whoever asked may have gone.
            let _ = done.send(());
        }
        self.gathered.bytes += bytes;
        self.gathered.writes.extend(writes);
        None
    }

    fn gathered_clock_us(&mut self) -> u64 {
        let wall_us = u64::try_from((self.wall)().as_micros()).unwrap_or(u64::MAX);
        // Two ticks: deletions have the first, values the second.
        let next_us = (self.clock_us + 2).max(wall_us);
        *self.gathered.clock_us.get_or_insert(next_us)
    }

    /// Appends what is gathered, if only an empty record, then tells those who wait.
    async fn append(&mut self) -> Result<(), Fenced> {
        let clock_us = self.gathered_clock_us();
        let gathered = std::mem::take(&mut self.gathered);
        let mut record = Record { clock_us, writes: gathered.writes };
        for row in record.rows() {
            self.append_row(row).await?;
        }
        self.clock_us = clock_us;
        self.overlay.write(clock_us, record.writes.drain(gathered.visible..));
        for done in gathered.waiting {
            let _ = done.send(());
        }
        self.roll_if_due().await?;
        self.freeze_if_due();
        Ok(())
    }

    async fn append_row(&mut self, row: Bytes) -> Result<(), Fenced> {
        let mut patience = Patience::new("append to the journal");
        loop {
            let began_ms = self.standing.now_ms();
            match self.journal.append(self.at, self.position, row.clone()).await {
                Outcome::Applied => {
                    patience.done();
                    self.standing.confirm(began_ms);
                    self.position += 1;
                    self.segment_bytes += row.len();
                    self.appended_at = Instant::now();
                    self.standing.reached(self.at.number, self.position);
                    return Ok(());
                }
                Outcome::Fenced => return Err(self.fenced()),
                Outcome::Unknown(cause) => patience.pause(&cause).await,
            }
        }
    }

    /// Said before those who wait are let go: they ask why.
    fn fenced(&self) -> Fenced {
        self.standing.lose("another process has sealed the journal, and leads");
        Fenced
    }

    /// Between two records.
    async fn roll_if_due(&mut self) -> Result<(), Fenced> {
        if self.segment_bytes < SEGMENT_BYTES && self.segment_since.elapsed() < SEGMENT_AGE {
            return Ok(());
        }
        let (journal, at) = (self.journal.clone(), self.at);
        if !until_known("open a segment of the journal", || journal.open(at.next())).await
            || !until_known("roll a segment of the journal", || journal.roll(at)).await
        {
            return Err(self.fenced());
        }
        (self.at, self.segment_bytes, self.segment_since) = (at.next(), 0, Instant::now());
        self.standing.reached(self.at.number, self.position);
        Ok(())
    }

    /// Right behind a record: all that the active layer has is in the journal.
    fn freeze_if_due(&mut self) {
        if self.frozen_at.elapsed() >= APPLY_AFTER || self.overlay.is_filling() {
            self.freeze();
        }
    }

    fn freeze(&mut self) {
        let Some(layer) = self.overlay.freeze() else { return };
        self.frozen_at = Instant::now();
        let end = Head { first: 0, segment: self.at.number, position: self.position, clock_us: self.clock_us };
        // There is room: the one before is applied. Without an applier nothing moves, and `Standing` says so.
        let _ = self.frozen.try_send(Frozen { layer, end });
    }

    /// Until the frozen layer is in tables. Meanwhile empty records say that this process leads still, without which nothing is
    /// applied. `false`: it takes too long, or another process leads.
    async fn wait_for_tables(&mut self, until: Instant) -> bool {
        while timeout(HEARTBEAT, self.overlay.until_applied()).await.is_err() {
            if Instant::now() >= until || self.append().await.is_err() {
                return false;
            }
        }
        true
    }

    /// Everything is applied, then the journal is sealed by its owner. If tables take too long, whoever leads next replays.
    async fn release(&mut self) {
        let until = Instant::now() + RELEASE_MAX;
        let mut is_applied = self.wait_for_tables(until).await;
        if is_applied {
            self.freeze();
            is_applied = self.wait_for_tables(until).await;
        }
        if !is_applied {
            warn!(
                after_s = RELEASE_MAX.as_secs(),
                "the tables are slow: whoever leads next reads the rest in the journal"
            );
        }
        let (journal, at) = (self.journal.clone(), self.at);
        patiently("seal the journal", || journal.seal(at, at.log)).await;
    }
}

/// About what a write takes in a record.
fn size(write: &Write) -> usize {
    16 + match write {
        Write::Put(_, key, value) => key.len() + value.len(),
        Write::Delete(_, key) => key.len(),
        Write::DeleteRange(_, from, to) => from.len() + to.len(),
    }
}
