//! An edge: this broker as the lanes see it. It keeps the registry of connections, and calls each connection when the clock, the
//! login queue or a lane has something for it.
//!
//! Locks are taken in one order: registry, connection, lane.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::accepted::AcceptedConnection;
use crate::connection::MqttConnection;
use crate::connection_limits::ConnectionLimiter;
use crate::context::EdgeContext;
use crate::counters::{BrokerQueues, Protocol, Transport};
use crate::lane_stream::LaneStream;
use crate::rejections::{RejectCause, RejectionLog};
use crate::settings::BrokerSettings;
use crate::timer::TICK;

/// A connection in the registry.
#[derive(Debug)]
pub(crate) struct ConnectionHandle {
    /// Given in ascending order, and never used again while the edge runs.
    pub(crate) number: u64,
    pub(crate) connection: Mutex<MqttConnection>,
}

/// The registry of connections, and what guards its entrance.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) context: EdgeContext,
    /// One permit for each client that is in a handshake before MQTT.
    pub(crate) handshakes: Arc<Semaphore>,
    limiter: Arc<ConnectionLimiter>,
    rejections: RejectionLog,
    registry: RwLock<HashMap<u64, Arc<ConnectionHandle>>>,
    last_number: AtomicU64,
    last_generation: AtomicU64,
    /// The highest term of a bridge that was heard (bus.proto).
    term: AtomicU64,
}

impl Edge {
    /// `id`: the edge's name on the bus.
    pub(crate) fn new(id: u64, settings: BrokerSettings) -> Self {
        Self {
            handshakes: Arc::new(Semaphore::new(settings.handshakes_max)),
            limiter: ConnectionLimiter::new(settings.connection_limits, settings.pressure.clone()),
            rejections: RejectionLog::default(),
            context: EdgeContext::new(id, settings),
            registry: RwLock::default(),
            last_number: AtomicU64::new(0),
            last_generation: AtomicU64::new(0),
            term: AtomicU64::new(0),
        }
    }

    /// Accepts a connection from this address if the connection limits allow it, and logs the rejection otherwise. `None` as the
    /// address: it is not known, and counts in the totals only.
    pub(crate) fn accept(&self, from: Option<IpAddr>, transport: Transport) -> Option<AcceptedConnection> {
        let from = from.map(|addr| addr.to_canonical());
        match self.limiter.acquire(from) {
            Ok(slot) => Some(AcceptedConnection { at: self.context.now(), transport, slot, identity: None }),
            Err(cause) => {
                self.reject(from, cause, "");
                None
            }
        }
    }

    /// Counts and logs a connection that is closed before its CONNECT. `detail` is English.
    pub(crate) fn reject(&self, addr: Option<IpAddr>, cause: RejectCause, detail: impl Display) {
        self.context.counters.rejected(cause).increment();
        self.rejections.record(self.context.now(), addr, cause, detail);
    }

    /// Registers a connection until [`Self::remove`].
    pub(crate) fn register(&self, accepted: AcceptedConnection) -> Arc<ConnectionHandle> {
        let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        let connect_by = accepted.at.after(self.context.settings.connect_deadline);
        self.context.counters.open(accepted.transport, Protocol::None).add(1);
        let connection = MqttConnection::new(self.context.edge, number, accepted, connect_by);
        let handle = Arc::new(ConnectionHandle { number, connection: Mutex::new(connection) });
        self.context.counters.connections.add(1);
        self.registry.write().insert(number, handle.clone());
        self.context.schedule_check(connect_by, number);
        handle
    }

    pub(crate) fn remove(&self, number: u64) {
        let removed = self.registry.write().remove(&number);
        if let Some(handle) = removed {
            self.context.counters.connections.sub(1);
            handle.connection.lock().count_out(&self.context);
        }
    }

    /// How much there is in the edge's queues.
    pub(crate) fn queues(&self) -> BrokerQueues {
        let (unauthenticated, failed_networks) = self.limiter.counts();
        let (authenticating, waiting_logins) = self.context.login_queue.counts();
        BrokerQueues {
            unauthenticated,
            failed_networks,
            handshakes: self.context.settings.handshakes_max.saturating_sub(self.handshakes.available_permits()),
            authenticating,
            waiting_logins,
            lanes: self.context.lanes().iter().map(|lane| lane.queue()).collect(),
        }
    }

    pub(crate) fn connection(&self, number: u64) -> Option<Arc<ConnectionHandle>> {
        self.registry.read().get(&number).cloned()
    }

    /// All connections, in the order of their numbers.
    pub(crate) fn connections(&self) -> Vec<Arc<ConnectionHandle>> {
        let mut handles: Vec<_> = self.registry.read().values().cloned().collect();
        handles.sort_unstable_by_key(|handle| handle.number);
        handles
    }

    /// Runs the clock for ever. After a stall of the machine the clock continues from where it was, so that the stall closes no
    /// connection.
    pub(crate) async fn run_clock(self: Arc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        interval.tick().await;
        loop {
            interval.tick().await;
            self.tick();
        }
    }

    /// Advances the clock by one tick and checks every connection whose check is due.
    fn tick(&self) {
        let (now, due) = self.context.tick();
        for number in due {
            let Some(handle) = self.connection(number) else { continue };
            let next_check = handle.connection.lock().check(&self.context, now);
            if let Some(at) = next_check {
                self.context.schedule_check(at, number);
            }
        }
    }

    /// Admits waiting connections from the login queue for ever, as permits become free.
    pub(crate) async fn run_login_queue(self: Arc<Self>) {
        let queue = &self.context.login_queue;
        loop {
            while let Some((number, permit)) = queue.next() {
                if let Some(handle) = self.connection(number) {
                    handle.connection.lock().admit(&self.context, permit);
                }
            }
            queue.permit_freed().await;
        }
    }

    /// Notes the term of a bridge that was heard. Returns the highest that was heard before.
    pub(crate) fn note_term(&self, term: u64) -> u64 {
        self.term.fetch_max(term, Ordering::Relaxed)
    }

    /// Begins the next generation of the stream to a lane, and attaches all its connections in it, as bus.proto describes. Returns
    /// the generation.
    pub(crate) fn attach_all(&self, lane: &Arc<LaneStream>) -> u64 {
        let generation = self.last_generation.fetch_add(1, Ordering::Relaxed) + 1;
        lane.begin_generation(generation);
        self.context.counters.generations.increment();
        let handles = self.connections();
        for handle in &handles {
            handle.connection.lock().attach(&self.context, lane, generation);
        }
        for handle in &handles {
            handle.connection.lock().resend_unanswered(generation);
        }
        lane.open();
        // A connection whose CONNECT came meanwhile could not join yet.
        for handle in self.connections() {
            let mut connection = handle.connection.lock();
            connection.attach(&self.context, lane, generation);
            connection.resend_unanswered(generation);
        }
        tracing::info!(lane = lane.index, generation, "attached connections to lane");
        generation
    }
}
