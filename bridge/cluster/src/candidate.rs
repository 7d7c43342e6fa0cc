//! A process that would lead: it waits as a standby, seals the journal of a leader that is dead or has let go, replays, and
//! takes over.
//!
//! The order keeps the promises: first the seal, so nothing more can be committed by anybody else; then `placement`, so that exactly
//! one process goes on; then the replay; then the first append to its own journal, and only then it answers anybody.

use std::sync::Arc;
use std::time::Duration;

use godwit_store::time::{ClockSource, Time};
use godwit_store::{Store as _, keys};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, info};

use crate::ClusterError;
use crate::appender::{Appender, QUEUE};
use crate::applier::Applier;
use crate::journal::{Journal, LogId, Segment};
use crate::leadership::{Leadership, Tasks};
use crate::overlay::Overlay;
use crate::patience::{patiently, until_known};
use crate::record::FORMAT;
use crate::registry::{Member, MemberState, Placement, Registry};
use crate::replay::{replay, seal};
use crate::standing::Standing;
use crate::store::ClusterStore;
use crate::suspicion::Suspicion;
use crate::swap::swap;
use crate::tables::Tables;

/// How often a standby says that it is there, and looks at the leader.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So much may be committed and not applied; then commits wait.
pub(crate) const OVERLAY_BYTES: usize = 256 << 20;

/// See the module.
#[derive(Clone)]
pub(crate) struct Candidate<J, T, R> {
    pub(crate) journal: J,
    pub(crate) tables: T,
    pub(crate) registry: R,
    pub(crate) name: String,
    pub(crate) time: Time,
    /// Since 1970.
    pub(crate) wall: ClockSource,
    /// Monotonic; goes on while the machine sleeps.
    pub(crate) steady: ClockSource,
    pub(crate) overlay_bytes: usize,
}

impl<J: Journal, T: Tables, R: Registry> Candidate<J, T, R> {
    /// Waits until this process leads. Cancel safe: a process that was about to take over looks like one that has died.
    ///
    /// # Errors
    /// What the last leader left cannot be read.
    pub(crate) async fn lead(&self) -> Result<(ClusterStore<T>, Leadership), ClusterError> {
        loop {
            let log = LogId::draw()?;
            let placement = self.take(log).await?;
            info!(%log, term = placement.term, "this process leads the cluster, and reads what is not applied yet");
            if let Some(led) = self.begin(placement).await? {
                return Ok(led);
            }
            info!(%log, "another process has taken over before this one began: it waits again");
        }
    }

    /// Waits until this process stands in `placement`.
    async fn take(&self, log: LogId) -> Result<Placement, ClusterError> {
        loop {
            let before = patiently("read who leads", || self.registry.placement()).await;
            if let Some(before) = &before {
                if before.format > FORMAT {
                    return Err(newer(before.format));
                }
                self.wait_for_end_of(before, log).await;
                let head = patiently("read how far a journal is applied", || self.registry.head(before.owner));
                // A segment is missing: its leader has gone on meanwhile, or another one has taken over.
                if seal(&self.journal, before.owner, head.await, log).await.is_none() {
                    sleep(LOOK_EVERY).await;
                    continue;
                }
            }
            // If its own journal is sealed already, the first append will say so.
            until_known("open a journal", || self.journal.open(Segment { log, number: 0 })).await;
            // While this process waited, the leader itself may have changed it: what it inherited is applied.
            let now = patiently("read who leads", || self.registry.placement()).await;
            if now.as_ref().map(|now| now.owner) != before.map(|before| before.owner) {
                continue;
            }
            let expected = now.as_ref().map(|now| now.version);
            let to = match now {
                None => Placement { version: 1, format: FORMAT, term: 1, owner: log, replay: Vec::new() },
                Some(Placement { version, term, owner, mut replay, .. }) => {
                    replay.push(owner);
                    Placement { version: version + 1, format: FORMAT, term: term + 1, owner: log, replay }
                }
            };
            if swap(&self.registry, expected, &to).await {
                return Ok(to);
            }
        }
    }

    /// Until the leader is dead, or has let go.
    async fn wait_for_end_of(&self, leader: &Placement, log: LogId) {
        let mut suspicion = Suspicion::default();
        let mut own = Member::new(log, self.name.clone(), MemberState::Standby, 0);
        loop {
            own.advance_beat(&self.wall);
            let members = match self.registry.beat(&own).await {
                Ok(()) => self.registry.members().await,
                Err(error) => Err(error),
            };
            match members {
                Ok(members) => {
                    let member = members.into_iter().find(|member| member.log == leader.owner);
                    if member.as_ref().is_some_and(|member| member.state == MemberState::Released) {
                        return info!(log = %leader.owner, "the leader has let go");
                    }
                    if suspicion.look(member.map(|member| member.beat_ms), (self.steady)()) {
                        return info!(log = %leader.owner, "the leader's beat stands still: this process takes over");
                    }
                }
                Err(error) => {
                    debug!(%error, "a standby does not reach the database");
                    suspicion.forget();
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Replays, and begins its own journal. `None`: another process has taken over.
    async fn begin(&self, placement: Placement) -> Result<Option<(ClusterStore<T>, Leadership)>, ClusterError> {
        let (overlay, mut clock_us, mut inherited) = (Overlay::new(self.overlay_bytes), 0, Vec::new());
        overlay.replaying();
        for log in &placement.replay {
            let replayed = replay(&self.journal, &self.registry, *log, placement.owner).await?;
            info!(%log, records = replayed.records.len(), "read the journal of an earlier leader");
            for record in replayed.records {
                overlay.write(record.clock_us, record.writes);
            }
            clock_us = clock_us.max(replayed.clock_us);
            inherited.push(replayed.inherited);
        }
        let standing = Arc::new(Standing::new(self.steady.clone()));
        let (requests, asked) = mpsc::channel(QUEUE);
        let (freeze, frozen) = mpsc::channel(1);
        let store = ClusterStore::new(
            (overlay.clone(), self.tables.clone()),
            self.time.clone(),
            requests.clone(),
            standing.clone(),
        );
        let at = Segment { log: placement.owner, number: 0 };
        let shared = (overlay.clone(), standing.clone());
        let mut appender =
            Appender::new(self.journal.clone(), at, clock_us, self.wall.clone(), shared, (asked, freeze));
        if !appender.begin().await {
            return Ok(None);
        }
        let mut found = store.multi_get(&[keys::time(), keys::last_order()]).await?;
        let last_order = found.pop().flatten().as_deref().and_then(keys::parse_counter).unwrap_or(0);
        overlay.begin_entries_above(last_order);
        self.time.begin(found.pop().flatten());
        let term = placement.term;
        let applier = Applier {
            journal: self.journal.clone(),
            tables: self.tables.clone(),
            registry: self.registry.clone(),
            overlay: overlay.clone(),
            standing: standing.clone(),
            frozen,
            placement,
            inherited,
            first: 0,
        };
        let member = Member::new(at.log, self.name.clone(), MemberState::Leading, term);
        let mut tasks = Tasks::default();
        tasks.spawn(appender.run());
        tasks.spawn(applier.run());
        tasks.beat(self.registry.clone(), member, standing.clone(), self.wall.clone());
        Ok(Some((store, Leadership::new(term, standing, requests, tasks, overlay))))
    }
}

pub(crate) fn newer(format: u8) -> ClusterError {
    ClusterError::Refused(format!(
        "the cluster's data have format {format}, and this build knows {FORMAT}: start the build that the other members run"
    ))
}
