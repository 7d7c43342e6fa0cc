//! The edge's link to the bus: the uplink publishes the batches of frames for each lane, the downlink dispatches the frames that
//! lanes send, and begins a new generation where a lane's stream has a gap (bus.proto).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godwit_schemas::bus::{self, BridgeHello, Bus, DownBatch, LinkClosed, Rx, Tx, down};
use godwit_schemas::partition::{LANES_MAX, Partitions};
use prost::Message as _;
use tokio::time::{Instant, MissedTickBehavior};

use crate::context::EdgeContext;
use crate::edge::{ConnectionHandle, Edge};

/// A stream without other batches sends an empty one this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A lane that was silent for longer may have lost its state of this edge.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// Pause before a closed link is opened again.
const REOPEN_DELAY: Duration = Duration::from_secs(1);

/// Keeps the edge linked to the bus for ever: opens the link again whenever it is closed.
pub(crate) async fn run<B: Bus>(edge: Arc<Edge>, bus: B) {
    let topics = [bus::EDGES.to_owned(), bus::down(edge.context.edge)];
    for attempt in 0_u64.. {
        match bus.open(&format!("edge-{:016x}-{attempt}", edge.context.edge), &topics).await {
            Ok((tx, rx)) => {
                let closed = tokio::select! {
                    biased;
                    closed = uplink(&edge.context, tx) => closed,
                    closed = downlink(edge.clone(), rx) => closed,
                };
                edge.context.counters.bus_losses.increment();
                tracing::warn!(%closed, "lost the bus");
            }
            Err(error) => tracing::error!(%error, "open the bus"),
        }
        tokio::time::sleep(REOPEN_DELAY).await;
    }
}

/// Publishes batches of frames until the link is closed.
async fn uplink(context: &EdgeContext, mut tx: impl Tx) -> LinkClosed {
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let beat = tokio::select! {
            biased;
            _ = heartbeat.tick() => true,
            () = context.batch_ready.notified() => {
                // Tasks that are ready run first: their frames go into the same batch.
                tokio::task::yield_now().await;
                false
            }
        };
        if let Err(closed) = publish(context, &mut tx, beat).await {
            return closed;
        }
    }
}

/// Publishes all batches that the lanes have room for, one of each lane in turn, and then receipts and heartbeats.
async fn publish(context: &EdgeContext, tx: &mut impl Tx, beat: bool) -> Result<(), LinkClosed> {
    let lanes = context.lanes();
    let mut more = true;
    while std::mem::take(&mut more) {
        for lane in lanes.iter() {
            if let Some(batch) = lane.next_batch(context.edge) {
                tx.publish(&lane.topic, batch).await?;
                more = true;
            }
        }
    }
    for lane in lanes.iter() {
        let receipt = lane.receipt_batch(context.edge);
        let heartbeat = beat.then(|| lane.heartbeat(context.edge)).flatten().filter(|_| receipt.is_none());
        if let Some(batch) = receipt.or(heartbeat) {
            tx.publish(&lane.topic, batch).await?;
        }
    }
    Ok(())
}

/// Handles what lanes send until the link is closed. Runs in a task of its own, in parallel to the uplink.
async fn downlink(edge: Arc<Edge>, mut rx: impl Rx) -> LinkClosed {
    let task = tokio::spawn(async move {
        let mut downlinks = LaneDownlinks::new(edge);
        let mut watch = tokio::time::interval(HEARTBEAT);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                payload = rx.next() => match payload {
                    Ok(payload) => downlinks.handle_payload(payload),
                    Err(closed) => return closed,
                },
                _ = watch.tick() => downlinks.check_silence(),
            }
        }
    });
    let mut task = tokio_util::task::AbortOnDropHandle::new(task);
    (&mut task).await.unwrap_or_else(|error| LinkClosed(error.to_string()))
}

/// The streams from all lanes of a bridge.
struct LaneDownlinks {
    edge: Arc<Edge>,
    /// The epoch of the bridge that the lanes belong to. `None`: no bridge is known.
    epoch: Option<u64>,
    streams: Vec<LaneDownlink>,
    /// Connections to wake after the batch, so that each writes once.
    touched: Vec<Arc<ConnectionHandle>>,
}

/// The stream from one lane.
struct LaneDownlink {
    generation: u64,
    /// Number of the last batch that was handled.
    sequence: u64,
    last_heard: Instant,
    /// The lane was silent for so long that frames for it are discarded.
    discarded: bool,
}

impl LaneDownlink {
    fn new(generation: u64) -> Self {
        Self { generation, sequence: 0, last_heard: Instant::now(), discarded: false }
    }

    fn is_silent(&self) -> bool {
        self.last_heard.elapsed() > SILENCE_MAX
    }
}

impl LaneDownlinks {
    fn new(edge: Arc<Edge>) -> Self {
        Self { edge, epoch: None, streams: Vec::new(), touched: Vec::new() }
    }

    fn handle_payload(&mut self, payload: Bytes) {
        let bytes = payload.len();
        // No payload can be read as both: field 1 (and 2, should 1 be zero) differ in wire type.
        if let Ok(batch) = DownBatch::decode(payload.clone()) {
            if self.is_in_force(batch.term) {
                self.handle_batch(batch, bytes);
            }
        } else if let Ok(hello) = BridgeHello::decode(payload) {
            if self.is_in_force(hello.term) {
                self.handle_hello(&hello);
            }
        } else {
            tracing::warn!("ignored a payload that is neither a batch nor a hello");
        }
    }

    /// Whether a bridge of this term still leads, as far as was heard. A newer one than before puts an end to what the one
    /// before may say.
    fn is_in_force(&mut self, term: u64) -> bool {
        let before = self.edge.note_term(term);
        if term > before {
            self.epoch = None;
        }
        term >= before
    }

    /// A bridge has announced itself. Attaches to its lanes, unless it is the one that is known.
    fn handle_hello(&mut self, hello: &BridgeHello) {
        let known = self.epoch == Some(hello.epoch) && self.streams.len() == hello.lanes as usize;
        if known || hello.lanes == 0 || hello.lanes > LANES_MAX {
            return;
        }
        let Some(partitions) = Partitions::new(hello.partitions) else { return };
        self.epoch = Some(hello.epoch);
        self.edge.context.set_lanes(hello.lanes, partitions);
        self.streams = (0..hello.lanes).map(|_| LaneDownlink::new(0)).collect();
        for lane in 0..hello.lanes as usize {
            self.begin_generation(lane);
        }
    }

    /// Begins a new generation of the streams to and from a lane.
    fn begin_generation(&mut self, lane: usize) {
        let lanes = self.edge.context.lanes();
        let (Some(lane), Some(stream)) = (lanes.get(lane), self.streams.get_mut(lane)) else { return };
        *stream = LaneDownlink::new(self.edge.attach_all(lane));
    }

    /// Discards the frames for a lane that has gone silent. When it is heard again, a new generation tells it everything anew.
    fn check_silence(&mut self) {
        let lanes = self.edge.context.lanes();
        for (stream, lane) in self.streams.iter_mut().zip(lanes.iter()) {
            if !stream.discarded && stream.is_silent() {
                stream.discarded = true;
                tracing::warn!(lane = lane.index, "a lane has gone silent: what is for it waits with its clients");
                lane.discard();
            }
        }
    }

    /// `bytes`: size of the batch on the bus.
    fn handle_batch(&mut self, batch: DownBatch, bytes: usize) {
        let lane = batch.lane as usize;
        let Some(stream) = self.streams.get_mut(lane).filter(|_| self.epoch == Some(batch.epoch)) else { return };
        let was_silent = stream.is_silent();
        stream.last_heard = Instant::now();
        if was_silent {
            return self.begin_generation(lane);
        }
        if batch.generation != stream.generation {
            return;
        }
        if batch.frames.iter().any(|down| matches!(down.frame, Some(down::Frame::Reattach(_)))) {
            return self.begin_generation(lane);
        }
        // A heartbeat repeats the number of the batch before it.
        let next = stream.sequence + u64::from(!batch.frames.is_empty());
        if batch.sequence > next {
            tracing::info!(lane, expected = next, got = batch.sequence, "a stream from a lane has a hole");
            return self.begin_generation(lane);
        }
        if batch.sequence == next && !batch.frames.is_empty() {
            stream.sequence = next;
            self.dispatch(batch.frames);
        }
        if let (Some(lane), Some(stream)) = (self.edge.context.lanes().get(lane), self.streams.get(lane)) {
            lane.received_batch(stream.generation, stream.sequence, bytes, batch.received);
        }
    }

    /// Hands each frame to its connection.
    fn dispatch(&mut self, frames: Vec<bus::Down>) {
        for bus::Down { connection, frame } in frames {
            let (Some(frame), Some(handle)) = (frame, self.edge.connection(connection)) else { continue };
            let mut connection = handle.connection.lock();
            connection.handle_frame(&self.edge.context, frame);
            let first = connection.mark();
            drop(connection);
            if first {
                self.touched.push(handle);
            }
        }
        for handle in self.touched.drain(..) {
            handle.connection.lock().wake();
        }
    }
}
