//! The edge's two tasks on the bus: the uplink publishes what connections have gathered for each lane, the downlink
//! hands out what lanes send, and begins a new generation where a stream has a hole (bus.proto).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godwit_schemas::bus::{self, BridgeHello, Bus, DownBatch, LinkClosed, Rx, Tx, down};
use prost::Message as _;
use tokio::time::{Instant, MissedTickBehavior};

use crate::edge::{Edge, Peer};

/// How often a silent stream says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A lane that was not heard of for longer may have forgotten this edge.
const SILENCE: Duration = Duration::from_secs(3);
/// Before a closed link is opened again.
const REOPEN: Duration = Duration::from_secs(1);
/// Most lanes that a bridge may have: more than partitions make no sense.
const LANES_MAX: u32 = godwit_schemas::partition::PARTITIONS as u32;

/// Keeps the edge on the bus for ever.
pub(crate) async fn run<B: Bus>(edge: Arc<Edge>, bus: B) {
    let topics = [bus::EDGES.to_owned(), bus::down(edge.id)];
    for attempt in 0_u64.. {
        match bus.open(&format!("edge-{:016x}-{attempt}", edge.id), &topics).await {
            Ok((tx, rx)) => {
                let closed = tokio::select! {
                    biased;
                    closed = uplink(&edge, tx) => closed,
                    closed = downlink(edge.clone(), rx) => closed,
                };
                tracing::warn!(%closed, "lost the bus");
            }
            Err(error) => tracing::error!(%error, "open the bus"),
        }
        tokio::time::sleep(REOPEN).await;
    }
}

/// Publishes batches until the link is closed.
async fn uplink(edge: &Edge, mut tx: impl Tx) -> LinkClosed {
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let beat = tokio::select! {
            biased;
            _ = heartbeat.tick() => true,
            () = edge.ready.notified() => {
                // First whoever else has something to say: what is said in one go costs one batch.
                tokio::task::yield_now().await;
                false
            }
        };
        if let Err(closed) = publish(edge, &mut tx, beat).await {
            return closed;
        }
    }
}

/// Publishes all that waits, lane by lane in turn.
async fn publish(edge: &Edge, tx: &mut impl Tx, beat: bool) -> Result<(), LinkClosed> {
    let lanes = edge.lanes();
    let mut more = true;
    while std::mem::take(&mut more) {
        for lane in lanes.iter() {
            if let Some(batch) = lane.take(edge.id) {
                tx.publish(&lane.topic, batch).await?;
                more = true;
            }
        }
    }
    for lane in lanes.iter().filter(|_| beat) {
        if let Some(batch) = lane.heartbeat(edge.id) {
            tx.publish(&lane.topic, batch).await?;
        }
    }
    Ok(())
}

/// Takes batches until the link is closed. In a task of its own, beside the uplink.
async fn downlink(edge: Arc<Edge>, mut rx: impl Rx) -> LinkClosed {
    let task = tokio::spawn(async move {
        let mut streams = Streams::new(edge);
        loop {
            match rx.next().await {
                Ok(payload) => streams.take(payload),
                Err(closed) => return closed,
            }
        }
    });
    let mut task = tokio_util::task::AbortOnDropHandle::new(task);
    (&mut task).await.unwrap_or_else(|error| LinkClosed(error.to_string()))
}

/// The downward streams, one for each lane.
struct Streams {
    edge: Arc<Edge>,
    /// Start of the bridge that the lanes belong to, once one was heard of.
    epoch: Option<u64>,
    streams: Vec<Stream>,
    /// Connections to wake when the batch is through: so they write once.
    touched: Vec<Arc<Peer>>,
}

struct Stream {
    generation: u64,
    /// Number of the last batch.
    sequence: u64,
    heard: Instant,
}

impl Streams {
    fn new(edge: Arc<Edge>) -> Self {
        Self { edge, epoch: None, streams: Vec::new(), touched: Vec::new() }
    }

    fn take(&mut self, payload: Bytes) {
        // No payload can be read as both: field 1 (and 2, should 1 be zero) differ in wire type.
        if let Ok(batch) = DownBatch::decode(payload.clone()) {
            self.batch(batch);
        } else if let Ok(hello) = BridgeHello::decode(payload) {
            self.hello(&hello);
        } else {
            tracing::warn!("ignored a payload that is neither a batch nor a hello");
        }
    }

    /// There is a bridge: attach to its lanes, if it is not the one that is known.
    fn hello(&mut self, hello: &BridgeHello) {
        let known = self.epoch == Some(hello.epoch) && self.streams.len() == hello.lanes as usize;
        if known || hello.lanes == 0 || hello.lanes > LANES_MAX {
            return;
        }
        self.epoch = Some(hello.epoch);
        self.edge.set_lanes(hello.lanes);
        self.streams = (0..hello.lanes).map(|_| Stream { generation: 0, sequence: 0, heard: Instant::now() }).collect();
        for lane in 0..hello.lanes as usize {
            self.begin(lane);
        }
    }

    fn begin(&mut self, lane: usize) {
        let lanes = self.edge.lanes();
        let (Some(lane), Some(stream)) = (lanes.get(lane), self.streams.get_mut(lane)) else { return };
        let generation = self.edge.attach_all(lane);
        *stream = Stream { generation, sequence: 0, heard: Instant::now() };
    }

    fn batch(&mut self, batch: DownBatch) {
        let lane = batch.lane as usize;
        let Some(stream) = self.streams.get_mut(lane).filter(|_| self.epoch == Some(batch.epoch)) else { return };
        let silent = stream.heard.elapsed() > SILENCE;
        stream.heard = Instant::now();
        if silent {
            return self.begin(lane);
        }
        if batch.generation != stream.generation {
            return;
        }
        if batch.frames.iter().any(|down| matches!(down.frame, Some(down::Frame::Reattach(_)))) {
            return self.begin(lane);
        }
        // A heartbeat repeats the number of the batch before it.
        let next = stream.sequence + u64::from(!batch.frames.is_empty());
        if batch.sequence > next {
            tracing::info!(lane, expected = next, got = batch.sequence, "a stream from a lane has a hole");
            return self.begin(lane);
        }
        if batch.sequence == next && !batch.frames.is_empty() {
            stream.sequence = next;
            self.hand_out(batch.frames);
        }
    }

    fn hand_out(&mut self, frames: Vec<bus::Down>) {
        for bus::Down { connection, frame } in frames {
            let (Some(frame), Some(peer)) = (frame, self.edge.peer(connection)) else { continue };
            let mut session = peer.session.lock();
            session.frame(&self.edge, frame);
            let first = session.mark();
            drop(session);
            if first {
                self.touched.push(peer);
            }
        }
        for peer in self.touched.drain(..) {
            peer.session.lock().wake();
        }
    }
}
