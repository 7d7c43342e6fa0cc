//! What every connection of an edge needs from it: settings, counters, the clock, the deadlines, the login queue and the lanes.
//! It knows no connection: `edge` keeps those, and calls them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use godwit_schemas::ids::UserId;
use godwit_schemas::partition::Partitions;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::counters::BrokerCounters;
use crate::lane_stream::LaneStream;
use crate::login_queue::LoginQueue;
use crate::settings::BrokerSettings;
use crate::timer::{Deadlines, Ticks};

/// The part of an edge that connections see.
#[derive(Debug)]
pub(crate) struct EdgeContext {
    /// The edge's name on the bus: random, and never used by another edge.
    pub(crate) edge: u64,
    pub(crate) settings: BrokerSettings,
    pub(crate) counters: Arc<BrokerCounters>,
    pub(crate) login_queue: Arc<LoginQueue>,
    /// Notified when a lane's stream has a batch to publish.
    pub(crate) batch_ready: Arc<Notify>,
    clock: AtomicU32,
    deadlines: Mutex<Deadlines>,
    lanes: RwLock<KnownLanes>,
}

/// The lanes of the bridge that is known.
#[derive(Debug)]
struct KnownLanes {
    /// By the lane's number. Empty: no bridge is known yet.
    streams: Arc<[Arc<LaneStream>]>,
    partitions: Partitions,
}

impl EdgeContext {
    pub(crate) fn new(edge: u64, mut settings: BrokerSettings) -> Self {
        settings.unanswered_publishes_max = settings.unanswered_publishes_max.max(1);
        Self {
            edge,
            login_queue: LoginQueue::new(settings.logins_max),
            settings,
            counters: Arc::default(),
            batch_ready: Arc::default(),
            clock: AtomicU32::new(1),
            deadlines: Mutex::default(),
            lanes: RwLock::new(KnownLanes { streams: Arc::from([]), partitions: Partitions::default() }),
        }
    }

    /// The edge's coarse time.
    pub(crate) fn now(&self) -> Ticks {
        Ticks(self.clock.load(Ordering::Relaxed))
    }

    /// Advances the clock by one tick. Returns the new time and the connections whose check is due.
    pub(crate) fn tick(&self) -> (Ticks, Vec<u64>) {
        let now = Ticks(self.clock.fetch_add(1, Ordering::Relaxed) + 1);
        (now, self.deadlines.lock().expired(now))
    }

    /// Has a connection checked at that moment, besides any other checks that are scheduled for it.
    pub(crate) fn schedule_check(&self, at: Ticks, connection: u64) {
        self.deadlines.lock().schedule(at, connection);
    }

    /// The stream to the lane that owns this user. `None`: no bridge is known yet.
    pub(crate) fn lane_of(&self, user: &UserId) -> Option<Arc<LaneStream>> {
        let KnownLanes { streams, partitions } = &*self.lanes.read();
        let count = u32::try_from(streams.len()).ok().filter(|&count| count > 0)?;
        streams.get(partitions.of_user(user).lane(count) as usize).cloned()
    }

    /// The streams to all lanes of the bridge, by the lane's number. Empty: no bridge is known yet.
    pub(crate) fn lanes(&self) -> Arc<[Arc<LaneStream>]> {
        self.lanes.read().streams.clone()
    }

    /// Replaces the streams by those to a bridge with this many lanes, which share so many partitions. Nothing is attached to
    /// them yet.
    pub(crate) fn set_lanes(&self, count: u32, partitions: Partitions) {
        let streams = (0..count).map(|index| Arc::new(LaneStream::new(index, self.batch_ready.clone()))).collect();
        let old = std::mem::replace(&mut *self.lanes.write(), KnownLanes { streams, partitions });
        for lane in old.streams.iter() {
            lane.retire();
        }
    }
}
