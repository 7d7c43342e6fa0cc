//! Who watches which send. An entry lasts as long as somebody holds a handle.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::send::{SendHandle, SendId, SendState};

/// The state of each send that somebody holds a handle of.
#[derive(Debug, Default)]
pub(crate) struct SendTracker(Mutex<HashMap<SendId, watch::Sender<SendState>>>);

impl SendTracker {
    fn lock(&self) -> MutexGuard<'_, HashMap<SendId, watch::Sender<SendState>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle of a send; `state`: what is known of it, if nobody follows it yet.
    pub(crate) fn follow(&self, id: SendId, state: SendState) -> SendHandle {
        let mut watched = self.lock();
        let sender = watched.entry(id).or_insert_with(|| watch::Sender::new(state));
        SendHandle::new(id, sender.subscribe())
    }

    /// Sends that somebody follows and whose state may still change.
    pub(crate) fn followed(&self) -> Vec<SendId> {
        let mut watched = self.lock();
        watched.retain(|_, sender| sender.receiver_count() > 0);
        let open = |state: &SendState| !matches!(state, SendState::Read { .. } | SendState::Refused(_));
        watched.iter().filter(|(_, sender)| open(&sender.borrow())).map(|(id, _)| *id).collect()
    }

    /// States only grow: one that was found out earlier and arrives later changes nothing.
    pub(crate) fn set(&self, id: SendId, state: SendState) {
        if let Some(sender) = self.lock().get(&id) {
            sender.send_if_modified(|known| {
                let grown = match (known.rank(), state.rank()) {
                    (Some(known_rank), Some(rank)) => rank > known_rank || (rank == known_rank && *known != state),
                    (known_rank, _) => known_rank.is_some(),
                };
                if grown {
                    *known = state;
                }
                grown
            });
        }
    }

    /// Nobody will be told anything any more.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }
}
