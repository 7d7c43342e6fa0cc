//! What every part of a lane may read: who the lane is, its settings, its store, its clock and its peers.

use std::sync::Arc;

use godwit_core::decide::Rules;
use godwit_schemas::ids::UserId;
use godwit_schemas::partition::Partition;

use crate::BridgeSettings;
use crate::lane::metered::Metered;
use crate::messages::{Continuation, LaneHandle, LaneMessage};
use crate::metrics::{BridgeMetrics, LaneMetrics};
use crate::origin::StoreOrigin;
use crate::push::post::PushPost;
use godwit_store::keys::StoreKey;
use godwit_store::time::Time;
use godwit_store::{Store, StoreError, keys};

/// Only the run loop changes it: it advances `now_s`, and asks the store for `nearly_full` once in a tick.
pub(in crate::lane) struct Context<S> {
    pub(in crate::lane) number: u32,
    pub(in crate::lane) epoch: u64,
    pub(in crate::lane) origin: StoreOrigin,
    pub(in crate::lane) settings: BridgeSettings,
    pub(in crate::lane) rules: Rules,
    pub(in crate::lane) store: Metered<S>,
    pub(in crate::lane) time: Time,
    /// Second since 1970. Never goes back.
    pub(in crate::lane) now_s: u32,
    /// The store has little room left: publishes that add to it wait.
    pub(in crate::lane) nearly_full: bool,
    /// All lanes of this bridge, this one included.
    pub(in crate::lane) lanes: Arc<[LaneHandle]>,
    pub(in crate::lane) pusher: PushPost,
    /// Of all lanes.
    pub(in crate::lane) bridge_metrics: Arc<BridgeMetrics>,
}

impl<S> Context<S> {
    /// What this lane counts.
    pub(in crate::lane) fn metrics(&self) -> &LaneMetrics {
        &self.bridge_metrics.lanes[self.number as usize]
    }
}

impl<S: Store> Context<S> {
    /// The lane that owns a partition.
    pub(in crate::lane) fn owner(&self, partition: Partition) -> u32 {
        partition.lane(self.lanes.len() as u32)
    }

    /// The lane that owns a user.
    pub(in crate::lane) fn lane_of(&self, user: &UserId) -> u32 {
        self.owner(self.origin.partitions.of_user(user))
    }

    /// This lane owns the user.
    pub(in crate::lane) fn is_home_of(&self, user: &UserId) -> bool {
        self.lane_of(user) == self.number
    }

    /// A counter or cursor; 0: there is none.
    pub(in crate::lane) async fn stored_number(&self, key: StoreKey) -> Result<u64, StoreError> {
        let stored = self.store.multi_get(&[key]).await?.pop().flatten();
        Ok(stored.as_deref().and_then(keys::parse_counter).unwrap_or(0))
    }

    /// To a lane. If that is gone the server is ending, and nothing of this was acknowledged.
    pub(in crate::lane) fn send(&self, lane: u32, message: LaneMessage) {
        let _ = self.lanes[lane as usize].send(message);
    }

    /// A message to this lane itself, sent by whoever gets that far.
    pub(in crate::lane) fn then_send(
        &self,
        message: impl FnOnce() -> LaneMessage + Send + Sync + 'static,
    ) -> Continuation {
        let this_lane = self.lanes[self.number as usize].clone();
        Box::new(move || {
            // If it is gone the server is ending.
            let _ = this_lane.send(message());
        })
    }
}
