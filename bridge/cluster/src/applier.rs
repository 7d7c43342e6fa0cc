//! The one task that brings what is committed into tables, some seconds later, and lets the journal's beginning go. It never
//! writes what is not in the journal.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::info;

use crate::appender::Frozen;
use crate::journal::{Journal, LogId, Segment};
use crate::overlay::Overlay;
use crate::patience::patiently;
use crate::registry::{Head, Placement, Registry};
use crate::standing::Standing;
use crate::swap::swap;
use crate::tables::{Change, Tables};

/// Changes that are written at once.
const CHANGES_MAX: usize = 2_048;

/// How long reads are waited for.
const READS_MAX: Duration = Duration::from_secs(10);

/// A journal of an earlier leader, all of which is in the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inherited {
    pub(crate) log: LogId,
    /// Segments that may be there.
    pub(crate) first: u32,
    pub(crate) last: u32,
}

/// See the module.
pub(crate) struct Applier<J, T, R> {
    pub(crate) journal: J,
    pub(crate) tables: T,
    pub(crate) registry: R,
    pub(crate) overlay: Overlay,
    pub(crate) standing: Arc<Standing>,
    pub(crate) frozen: mpsc::Receiver<Frozen>,
    /// As this process has changed it last.
    pub(crate) placement: Placement,
    /// What the first layer holds beside this leader's own commits.
    pub(crate) inherited: Vec<Inherited>,
    /// The first segment of this leader's journal that may be there.
    pub(crate) first: u32,
}

/// Without it nothing is applied, and memory fills.
impl<J, T, R> Drop for Applier<J, T, R> {
    fn drop(&mut self) {
        self.standing.lose("the task that applies the journal has ended");
    }
}

impl<J: Journal, T: Tables, R: Registry> Applier<J, T, R> {
    /// Until the appender ends.
    pub(crate) async fn run(mut self) {
        while let Some(Frozen { layer, end }) = self.frozen.recv().await {
            self.overlay.until_read(READS_MAX).await;
            let mut changes = layer.changes();
            loop {
                let some: Vec<_> = changes.by_ref().take(CHANGES_MAX).collect();
                if some.is_empty() {
                    break;
                }
                self.apply(&some).await;
            }
            if self.let_go_of_inherited().await {
                self.move_head(end).await;
            }
            self.overlay.applied();
        }
    }

    /// Not when it is unknown whether this process leads. One that slept for days would write what others have deleted since, and
    /// whose tombstones are gone.
    async fn apply(&self, changes: &[Change]) {
        patiently("apply the journal to tables", || async {
            self.standing.until_confirmed().await;
            self.tables.apply(changes).await
        })
        .await;
    }

    /// With the first layer all that earlier leaders left is in tables. `false`: another process leads.
    async fn let_go_of_inherited(&mut self) -> bool {
        if self.inherited.is_empty() {
            return true;
        }
        let to = Placement { version: self.placement.version + 1, replay: Vec::new(), ..self.placement.clone() };
        if !swap(&self.registry, Some(self.placement.version), &to).await {
            self.standing.lose("another process leads");
            return false;
        }
        self.placement = to;
        for Inherited { log, first, last } in std::mem::take(&mut self.inherited) {
            // Its writer may have opened one more and not rolled the last.
            self.remove(log, first..=last + 1).await;
            patiently("forget a journal that is applied", || self.registry.forget(log)).await;
            info!(%log, "what an earlier leader left is in tables");
        }
        true
    }

    /// Only when nothing of earlier leaders is left to be read: else whoever comes next would read that, and take it for later than
    /// what is missing of this journal.
    async fn move_head(&mut self, end: Head) {
        let log = self.placement.owner;
        let head = Head { first: self.first, ..end };
        patiently("say how far the journal is applied", || self.registry.set_head(log, &head)).await;
        self.standing.applied_up_to(end.position);
        if end.segment > self.first {
            self.remove(log, self.first..=end.segment - 1).await;
            self.first = end.segment;
        }
    }

    async fn remove(&self, log: LogId, numbers: std::ops::RangeInclusive<u32>) {
        for number in numbers {
            let at = Segment { log, number };
            patiently("remove a segment of a journal", || self.journal.remove(at)).await;
        }
    }
}
