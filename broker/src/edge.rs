//! What all connections of this process share: who is connected, which lanes there are, what time it is.
//!
//! An edge is this broker as the lanes see it. Locks are taken in one order: registry, session, lane.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use godwit_schemas::partition::Partition;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore};

use crate::Settings;
use crate::counters::Counters;
use crate::greeting::Arrival;
use crate::guests::Guests;
use crate::lane::Lane;
use crate::logins::Logins;
use crate::session::Session;
use crate::timer::{Ticks, Wheel};

/// A connection as the rest of the edge sees it.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Never used again while the edge runs.
    pub(crate) number: u64,
    pub(crate) session: Mutex<Session>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Edge {
    /// Random; its name on the bus.
    pub(crate) id: u64,
    pub(crate) settings: Settings,
    pub(crate) counters: Arc<Counters>,
    /// Told when a lane has something to take.
    pub(crate) ready: Arc<Notify>,
    pub(crate) guests: Arc<Guests>,
    /// A place for each client that is being greeted.
    pub(crate) greetings: Arc<Semaphore>,
    pub(crate) logins: Arc<Logins>,
    clock: AtomicU32,
    wheel: Mutex<Wheel>,
    registry: RwLock<HashMap<u64, Arc<Peer>>>,
    lanes: RwLock<Arc<[Arc<Lane>]>>,
    last_number: AtomicU64,
    last_generation: AtomicU64,
}

impl Edge {
    pub(crate) fn new(id: u64, settings: Settings) -> Self {
        Self {
            id,
            guests: Guests::new(settings.guests, settings.pressure.clone()),
            greetings: Arc::new(Semaphore::new(settings.greetings_max)),
            logins: Logins::new(settings.logins_max),
            settings,
            counters: Arc::default(),
            ready: Arc::default(),
            clock: AtomicU32::new(1),
            wheel: Mutex::default(),
            registry: RwLock::default(),
            lanes: RwLock::new(Arc::from([])),
            last_number: AtomicU64::new(0),
            last_generation: AtomicU64::new(0),
        }
    }

    /// A new connection, which is in the registry until [`Self::remove`].
    pub(crate) fn admit(&self, arrival: Arrival) -> Arc<Peer> {
        let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        let due = arrival.at.after(self.settings.connect_deadline);
        let session = Session::new(number, arrival, due);
        let peer = Arc::new(Peer { number, session: Mutex::new(session) });
        self.counters.connections.add(1);
        self.registry.write().insert(number, peer.clone());
        self.look_again(due, number);
        peer
    }

    pub(crate) fn remove(&self, number: u64) {
        if self.registry.write().remove(&number).is_some() {
            self.counters.connections.sub(1);
        }
    }

    pub(crate) fn peer(&self, number: u64) -> Option<Arc<Peer>> {
        self.registry.read().get(&number).cloned()
    }

    /// All connections, in the order of their numbers.
    pub(crate) fn peers(&self) -> Vec<Arc<Peer>> {
        let mut peers: Vec<_> = self.registry.read().values().cloned().collect();
        peers.sort_unstable_by_key(|peer| peer.number);
        peers
    }

    /// Ticks since the edge began.
    pub(crate) fn now(&self) -> Ticks {
        Ticks(self.clock.load(Ordering::Relaxed))
    }

    /// Moves the clock on and looks at every connection that is due.
    pub(crate) fn tick(&self) {
        let now = Ticks(self.clock.fetch_add(1, Ordering::Relaxed) + 1);
        let due = self.wheel.lock().due(now);
        for number in due {
            let Some(peer) = self.peer(number) else { continue };
            let again = peer.session.lock().check(self, now);
            if let Some(at) = again {
                self.look_again(at, number);
            }
        }
    }

    /// Looks at a connection at that moment too.
    pub(crate) fn look_again(&self, at: Ticks, number: u64) {
        self.wheel.lock().schedule(at, number);
    }

    /// The lane that owns this partition, once it is known how many there are.
    pub(crate) fn lane_of(&self, partition: Partition) -> Option<Arc<Lane>> {
        let lanes = self.lanes.read();
        let count = u32::try_from(lanes.len()).ok().filter(|&count| count > 0)?;
        lanes.get(partition.lane(count) as usize).cloned()
    }

    pub(crate) fn lanes(&self) -> Arc<[Arc<Lane>]> {
        self.lanes.read().clone()
    }

    /// There is a bridge with this many lanes, which know nothing of this edge yet.
    pub(crate) fn set_lanes(&self, count: u32) {
        let lanes = (0..count).map(|index| Arc::new(Lane::new(index, self.ready.clone()))).collect();
        let old = std::mem::replace(&mut *self.lanes.write(), lanes);
        for lane in old.iter() {
            lane.retire();
        }
    }

    /// Begins the next generation of the stream to a lane with everything that its connections have under way, as
    /// bus.proto tells. Returns the generation.
    pub(crate) fn attach_all(&self, lane: &Arc<Lane>) -> u64 {
        let generation = self.last_generation.fetch_add(1, Ordering::Relaxed) + 1;
        lane.begin(generation);
        let peers = self.peers();
        for peer in &peers {
            peer.session.lock().attach(self, lane, generation);
        }
        for peer in &peers {
            peer.session.lock().attach_rest(generation);
        }
        lane.open();
        // Those that sent CONNECT meanwhile could not join yet.
        for peer in self.peers() {
            let mut session = peer.session.lock();
            session.attach(self, lane, generation);
            session.attach_rest(generation);
        }
        tracing::info!(lane = lane.index, generation, "attached connections to lane");
        generation
    }
}
