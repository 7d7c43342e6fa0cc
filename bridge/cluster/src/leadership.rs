//! That this process leads: what its server holds as long as it serves.

use std::sync::Arc;
use std::time::Duration;

use godwit_store::time::ClockSource;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::debug;

use crate::appender::Request;
use crate::overlay::Overlay;
use crate::registry::{Member, MemberState, Registry};
use crate::standing::Standing;

/// How often a leader says that it is there.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// The tasks of a leader. Dropped, they end.
#[derive(Default)]
pub(crate) struct Tasks {
    running: JoinSet<()>,
    /// Says to standbys that this process has let go.
    released: Option<oneshot::Sender<oneshot::Sender<()>>>,
}

impl Tasks {
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(task);
    }

    /// Says every second that this process is there.
    pub(crate) fn beat<R: Registry>(
        &mut self,
        registry: R,
        member: Member,
        standing: Arc<Standing>,
        wall: ClockSource,
    ) {
        let (released, mut is_released) = oneshot::channel();
        self.released = Some(released);
        self.running.spawn(async move {
            let mut beats = Beats { registry, member, standing, wall };
            loop {
                beats.say().await;
                tokio::select! {
                    done = &mut is_released => {
                        beats.member.state = MemberState::Released;
                        beats.say().await;
                        drop(done);
                        return;
                    }
                    () = sleep(BEAT_EVERY) => {}
                }
            }
        });
    }
}

struct Beats<R> {
    registry: R,
    member: Member,
    standing: Arc<Standing>,
    wall: ClockSource,
}

impl<R: Registry> Beats<R> {
    async fn say(&mut self) {
        (self.member.segment, self.member.position) = self.standing.place();
        self.member.advance_beat(&self.wall);
        if let Err(error) = self.registry.beat(&self.member).await {
            // If it goes on, a standby takes over.
            debug!(%error, "the leader's beat is not written");
        }
    }
}

/// See the module. Dropped, it stops like a process that was killed.
pub struct Leadership {
    term: u64,
    standing: Arc<Standing>,
    requests: mpsc::Sender<Request>,
    tasks: Tasks,
    overlay: Overlay,
}

/// How a leader's journal is, for whoever watches it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LeadershipReading {
    /// How many leaders there were.
    pub term: u64,
    /// See [`Leadership::is_confirmed`].
    pub confirmed: bool,
    /// The segment of the journal that is written to.
    pub segment: u32,
    /// Rows that were written to the journal.
    pub position: u64,
    /// Of these, not in tables yet.
    pub not_applied: u64,
    /// About how much memory takes what is committed and not in tables.
    pub overlay_bytes: usize,
    /// Commits that wait for the task that writes the journal.
    pub waiting_commits: usize,
}

impl Leadership {
    pub(crate) fn new(
        term: u64,
        standing: Arc<Standing>,
        requests: mpsc::Sender<Request>,
        tasks: Tasks,
        overlay: Overlay,
    ) -> Self {
        Self { term, standing, requests, tasks, overlay }
    }

    /// How the journal is right now, as far as this process knows.
    pub fn read(&self) -> LeadershipReading {
        let (segment, position) = self.standing.place();
        LeadershipReading {
            term: self.term,
            confirmed: self.is_confirmed(),
            segment,
            position,
            not_applied: position.saturating_sub(self.standing.applied()),
            overlay_bytes: self.overlay.bytes(),
            waiting_commits: self.requests.max_capacity() - self.requests.capacity(),
        }
    }

    /// Grows with each leader: edges ignore frames of an older term.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Returns when another process leads, or it cannot be known any more: why. The process must end at once, and answer nothing
    /// more. Cancel safe.
    ///
    /// A database that does not answer is no reason: commits wait, and nobody else can lead meanwhile.
    pub async fn lost(&self) -> String {
        self.standing.lost().await
    }

    /// Whether the journal has confirmed within the last 3 s that this process leads. The time in which the machine was asleep
    /// counts. Who answers from memory asks this first.
    pub fn is_confirmed(&self) -> bool {
        self.standing.is_confirmed()
    }

    /// An orderly end: everything is applied (for which it waits up to 10 s), the journal is sealed, and a standby takes over at
    /// once. Commits fail from then on.
    pub async fn release(mut self) {
        let (done, released) = oneshot::channel();
        // If the appender has ended there is nothing to release.
        if self.requests.send(Request::Release(done)).await.is_ok() && released.await.is_ok() {
            let (said, told) = oneshot::channel();
            if let Some(beats) = self.tasks.released.take()
                && beats.send(said).is_ok()
            {
                let _ = told.await;
            }
        }
    }
}
