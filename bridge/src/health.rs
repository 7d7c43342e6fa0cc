//! Whether a bridge serves: each lane takes what it is sent, and the committer writes to the store.

use std::sync::Arc;
use std::time::Duration;

use godwit_store::StoreError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::messages::{Barrier, Commit, Continuation, LaneHandle, LaneMessage};

/// How long all of them have.
const DEADLINE: Duration = Duration::from_secs(1);

/// Tells whether a bridge serves. Cheap to clone; keeps nothing running.
#[derive(Clone)]
pub struct Health {
    lanes: Arc<[LaneHandle]>,
    committer: mpsc::WeakSender<Commit>,
    failure: watch::Receiver<Option<StoreError>>,
}

impl Health {
    pub(crate) fn new(
        lanes: Arc<[LaneHandle]>,
        committer: mpsc::WeakSender<Commit>,
        failure: watch::Receiver<Option<StoreError>>,
    ) -> Self {
        Self { lanes, committer, failure }
    }

    /// Asks all lanes, and has the committer write nothing. Costs a few messages.
    ///
    /// # Errors
    /// What does not work, for people.
    pub async fn check(&self) -> Result<(), &'static str> {
        if self.failure.borrow().is_some() {
            return Err("the store has failed");
        }
        timeout(DEADLINE, self.ask_lanes()).await.map_err(|_| "a lane does not answer")??;
        timeout(DEADLINE, self.ask_committer()).await.map_err(|_| "the committer does not answer")?
    }

    /// What every lane had decided is on disk.
    async fn ask_lanes(&self) -> Result<(), &'static str> {
        let (then, told) = answer();
        let all = Barrier::new(then);
        for lane in self.lanes.iter() {
            lane.send(LaneMessage::Pass(all.clone())).map_err(|_| "a lane has ended")?;
        }
        drop(all);
        told.await.map_err(|_| "a lane has ended")
    }

    async fn ask_committer(&self) -> Result<(), &'static str> {
        const ENDED: &str = "the committer has ended";
        let (then, told) = answer();
        let committer = self.committer.upgrade().ok_or(ENDED)?;
        committer.send(Commit { then: Some(then), ..Commit::default() }).await.map_err(|_| ENDED)?;
        drop(committer);
        told.await.map_err(|_| ENDED)
    }
}

fn answer() -> (Continuation, oneshot::Receiver<()>) {
    let (tell, told) = oneshot::channel();
    let then: Continuation = Box::new(move || {
        // Whoever asked may have gone.
        let _ = tell.send(());
    });
    (then, told)
}
