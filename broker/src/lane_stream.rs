//! The stream of frames from this edge to one lane, and its generations (bus.proto).
//!
//! Connections append frames; the uplink takes whole batches. While it publishes one batch, the next gathers: there is no other
//! batching. A frame is encoded once, where it arises, into the payload that goes to the bus.
//!
//! The stream is bounded. At most [`ON_THE_WAY_MAX`] bytes are sent that the lane has not taken; further batches wait here. With
//! [`BATCHES_BUSY`] of them the lane is busy: each client may have one publish unanswered, and publishes with QoS 0 are dropped.
//! Frames for a lane that has gone silent are discarded: when it is heard again, a new generation tells it everything anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use godwit_schemas::bus;
use godwit_schemas::flow::{ON_THE_WAY_MAX, OnTheWay, Untold};
use parking_lot::{Mutex, MutexGuard};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len, uint64};
use tokio::sync::Notify;

use crate::counters::StreamQueue;

/// A batch is closed when it has this many bytes...
const BATCH_BYTES: usize = 512 * 1024;
/// ...or frames.
const BATCH_FRAMES: u32 = 4_096;
/// The lane is busy while so many batches wait.
const BATCHES_BUSY: usize = 16;

/// A message that is one of the frames in `Up`.
pub(crate) trait UpFrame: Message {
    /// Its field number in `Up`.
    const TAG: u32;
}

impl UpFrame for bus::Connect {
    const TAG: u32 = 2;
}
impl UpFrame for bus::Publish {
    const TAG: u32 = 3;
}
impl UpFrame for bus::Acks {
    const TAG: u32 = 4;
}
impl UpFrame for bus::Subscribe {
    const TAG: u32 = 5;
}
impl UpFrame for bus::Disconnect {
    const TAG: u32 = 6;
}
impl UpFrame for bus::Renew {
    const TAG: u32 = 7;
}

/// The edge's end of the stream to one lane.
#[derive(Debug)]
pub(crate) struct LaneStream {
    /// The lane's number.
    pub(crate) index: u32,
    /// The lane's topic on the bus.
    pub(crate) topic: String,
    queue: Mutex<LaneQueue>,
    /// Number of waiting batches, readable without the lock.
    waiting: AtomicUsize,
    ready: Arc<Notify>,
}

#[derive(Debug, Default)]
struct LaneQueue {
    /// 0: nothing is attached to the lane.
    generation: u64,
    /// New connections may join: all older ones are attached.
    is_open: bool,
    /// Number of the last batch that was taken.
    sequence: u64,
    batches: VecDeque<PendingBatch>,
    on_the_way: OnTheWay,
    /// Number of the lane's last batch that was handled.
    received: u64,
    untold: Untold,
    /// The lane is silent: frames are discarded until the next generation begins.
    discards: bool,
    /// No batch was taken since the last heartbeat, or since the generation began.
    is_idle: bool,
}

#[derive(Debug, Default)]
struct PendingBatch {
    frames: u32,
    bytes: BytesMut,
}

impl LaneStream {
    /// A stream that nothing is attached to. `ready` is notified when there is a batch to publish.
    pub(crate) fn new(index: u32, ready: Arc<Notify>) -> Self {
        Self { index, topic: bus::up(index), queue: Mutex::default(), waiting: AtomicUsize::new(0), ready }
    }

    /// Appends a frame of a connection that is attached in `generation`. Returns `false` if that generation is over: the frame is
    /// dropped.
    pub(crate) fn push(&self, generation: u64, connection: u64, frame: &impl UpFrame) -> bool {
        let queue = self.queue.lock();
        if queue.generation != generation || generation == 0 {
            return false;
        }
        self.append(queue, connection, frame);
        true
    }

    /// Like [`Self::push`], but drops the frame also if the lane is busy or silent.
    pub(crate) fn push_unless_busy(&self, generation: u64, connection: u64, frame: &impl UpFrame) -> bool {
        !self.is_busy() && !self.queue.lock().discards && self.push(generation, connection, frame)
    }

    /// The lane does not keep up with its stream.
    pub(crate) fn is_busy(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= BATCHES_BUSY
    }

    /// Appends the Connect frame of a new connection. Returns the generation in which it is attached now; `None` while older connections
    /// are being attached.
    pub(crate) fn join(&self, connection: u64, frame: &bus::Connect) -> Option<u64> {
        let queue = self.queue.lock();
        if !queue.is_open {
            return None;
        }
        let generation = queue.generation;
        self.append(queue, connection, frame);
        Some(generation)
    }

    fn append(&self, mut queue: MutexGuard<'_, LaneQueue>, connection: u64, frame: &impl UpFrame) {
        if queue.discards {
            return;
        }
        queue.append(connection, frame);
        self.count(&queue);
        drop(queue);
        self.ready.notify_one();
    }

    fn count(&self, queue: &LaneQueue) {
        self.waiting.store(queue.batches.len(), Ordering::Relaxed);
    }

    /// Begins a generation: drops all waiting frames. No new connection joins before [`Self::open`].
    pub(crate) fn begin_generation(&self, generation: u64) {
        self.replace(LaneQueue { generation, is_idle: true, ..LaneQueue::default() });
    }

    fn replace(&self, new: LaneQueue) {
        let mut queue = self.queue.lock();
        *queue = new;
        self.count(&queue);
    }

    /// All older connections are attached: new ones may join.
    pub(crate) fn open(&self) {
        self.queue.lock().is_open = true;
        self.ready.notify_one();
    }

    /// Detaches all connections, for good: the bridge has other lanes now.
    pub(crate) fn retire(&self) {
        self.replace(LaneQueue::default());
    }

    /// Discards frames from now on, because the lane is silent. A new generation begins when it is heard again.
    pub(crate) fn discard(&self) {
        let mut queue = self.queue.lock();
        queue.discards = true;
        queue.batches = VecDeque::new();
        self.count(&queue);
    }

    /// Takes the next batch, unless the lane has too much to take already.
    pub(crate) fn next_batch(&self, edge: u64) -> Option<Bytes> {
        let mut queue = self.queue.lock();
        if queue.on_the_way.bytes() >= ON_THE_WAY_MAX {
            return None;
        }
        let pending = queue.batches.pop_front()?;
        self.count(&queue);
        queue.sequence += 1;
        queue.is_idle = false;
        let batch = queue.finish(pending.bytes, edge);
        let sequence = queue.sequence;
        queue.on_the_way.sent(sequence, batch.len());
        Some(batch)
    }

    /// A batch of so many bytes has come from the lane: number `sequence` of this generation. The lane says in it that it has taken our
    /// batches up to number `received`.
    pub(crate) fn received_batch(&self, generation: u64, sequence: u64, bytes: usize, received: u64) {
        let mut queue = self.queue.lock();
        if queue.generation != generation {
            return;
        }
        let was_full = queue.on_the_way.bytes() >= ON_THE_WAY_MAX;
        queue.on_the_way.received(received);
        queue.received = sequence;
        queue.untold.took(bytes);
        if was_full || queue.untold.is_due() {
            drop(queue);
            self.ready.notify_one();
        }
    }

    /// An empty batch as a receipt, if much has come from the lane since the last batch.
    pub(crate) fn receipt_batch(&self, edge: u64) -> Option<Bytes> {
        let mut queue = self.queue.lock();
        queue.untold.is_due().then(|| queue.finish(BytesMut::new(), edge))
    }

    /// An empty batch as a heartbeat, if no batch was taken since the last call.
    pub(crate) fn heartbeat(&self, edge: u64) -> Option<Bytes> {
        let mut queue = self.queue.lock();
        let due = queue.is_idle && queue.is_open;
        queue.is_idle = true;
        due.then(|| queue.finish(BytesMut::new(), edge))
    }

    /// How much there is in it.
    pub(crate) fn queue(&self) -> StreamQueue {
        let queue = self.queue.lock();
        StreamQueue { batches: queue.batches.len(), bytes_on_the_way: queue.on_the_way.bytes() }
    }

    /// No batch waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.lock().batches.is_empty()
    }
}

impl LaneQueue {
    fn append(&mut self, connection: u64, frame: &impl UpFrame) {
        let full = |last: &PendingBatch| last.bytes.len() >= BATCH_BYTES || last.frames >= BATCH_FRAMES;
        if self.batches.back().is_none_or(full) {
            self.batches.push_back(PendingBatch::default());
        }
        if let Some(last) = self.batches.back_mut() {
            last.frames += 1;
            encode(connection, frame, &mut last.bytes);
        }
    }

    /// Completes a batch of encoded frames with the numbers of the stream. In protobuf, fields may come in any order.
    fn finish(&mut self, mut frames: BytesMut, edge: u64) -> Bytes {
        self.untold.told();
        let (generation, sequence, received) = (self.generation, self.sequence, self.received);
        let numbers = bus::UpBatch { edge, generation, sequence, frames: Vec::new(), received };
        frames.reserve(numbers.encoded_len());
        numbers.encode_raw(&mut frames);
        frames.freeze()
    }
}

/// Appends one element of `UpBatch.frames`, as prost would write it from an owned `Up`.
fn encode<F: UpFrame>(connection: u64, frame: &F, out: &mut BytesMut) {
    const FRAMES: u32 = 4;
    let len = frame.encoded_len();
    let body = uint64::encoded_len(1, &connection) + key_len(F::TAG) + encoded_len_varint(len as u64) + len;
    out.reserve(body + 8);
    encode_key(FRAMES, WireType::LengthDelimited, out);
    encode_varint(body as u64, out);
    uint64::encode(1, &connection, out);
    encode_key(F::TAG, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
    frame.encode_raw(out);
}

#[cfg(test)]
mod tests {
    use godwit_schemas::bus::{UpBatch, up};

    use super::*;

    fn lane() -> LaneStream {
        LaneStream::new(0, Arc::default())
    }

    #[test]
    fn batches_are_what_prost_reads() {
        let lane = lane();
        lane.begin_generation(3);
        lane.open();
        let publish = bus::Publish { number: 1, payload: Bytes::from(vec![7; 300]), ..bus::Publish::default() };
        assert_eq!(lane.join(u64::MAX, &bus::Connect::default()), Some(3));
        assert!(lane.push(3, 300, &publish));
        let batch = UpBatch::decode(lane.next_batch(9).unwrap()).unwrap();
        assert_eq!((batch.edge, batch.generation, batch.sequence), (9, 3, 1));
        let connections: Vec<_> = batch.frames.iter().map(|up| up.connection).collect();
        assert_eq!(connections, [u64::MAX, 300]);
        assert_eq!(batch.frames[0].frame, Some(up::Frame::Connect(bus::Connect::default())));
        assert_eq!(batch.frames[1].frame, Some(up::Frame::Publish(publish)));
        assert!(lane.next_batch(9).is_none());
    }

    #[test]
    fn frames_of_another_generation_are_dropped() {
        let lane = lane();
        let acks = bus::Acks { orders: vec![1] };
        assert!(!lane.push(0, 1, &acks), "not attached");
        assert_eq!(lane.join(1, &bus::Connect::default()), None);
        lane.begin_generation(1);
        assert!(lane.push(1, 1, &acks));
        lane.begin_generation(2);
        assert!(!lane.push(1, 1, &acks));
        assert_eq!(lane.join(1, &bus::Connect::default()), None, "older connections go first");
        assert!(lane.next_batch(9).is_none(), "forgotten");
        lane.retire();
        assert!(!lane.push(2, 1, &acks));
    }

    #[test]
    fn batches_are_bounded() {
        let lane = lane();
        lane.begin_generation(1);
        for _ in 0..BATCH_FRAMES + 1 {
            lane.push(1, 1, &bus::Acks { orders: vec![1] });
        }
        let counts: Vec<_> = std::iter::from_fn(|| lane.next_batch(9))
            .map(|batch| UpBatch::decode(batch).unwrap())
            .map(|batch| (batch.sequence, batch.frames.len()))
            .collect();
        assert_eq!(counts, [(1, 4_096), (2, 1)]);
    }

    #[test]
    fn bytes_on_their_way_to_a_lane_are_bounded() {
        let lane = lane();
        lane.begin_generation(1);
        lane.open();
        let publish = bus::Publish { payload: Bytes::from(vec![7; 64 * 1024]), ..bus::Publish::default() };
        let mut pushed = 0;
        while !lane.is_busy() {
            lane.push(1, 1, &publish);
            pushed += 1;
        }
        assert!(!lane.push_unless_busy(1, 1, &publish), "QoS 0 is dropped");
        let taken: usize = std::iter::from_fn(|| lane.next_batch(9)).map(|batch| batch.len()).sum();
        assert!((ON_THE_WAY_MAX..ON_THE_WAY_MAX + 2 * BATCH_BYTES).contains(&taken), "{taken}");
        lane.received_batch(2, 9, 0, 1);
        assert!(lane.next_batch(9).is_none(), "said in another generation");
        lane.received_batch(1, 1, 0, 1);
        assert!(lane.next_batch(9).is_some() && lane.next_batch(9).is_none(), "one was taken, one follows");
        lane.received_batch(1, 2, 0, u64::MAX);
        let rest: usize = std::iter::from_fn(|| lane.next_batch(9)).map(|batch| batch.len()).sum();
        assert!(taken + rest > pushed * 64 * 1024 - 2 * BATCH_BYTES && lane.is_empty() && !lane.is_busy());
    }

    #[test]
    fn receipts_are_sent_when_much_has_come() {
        let lane = lane();
        lane.begin_generation(1);
        lane.open();
        lane.received_batch(1, 3, 1_000, 0);
        assert!(lane.receipt_batch(9).is_none(), "little: with the next batch");
        lane.received_batch(1, 4, 1_000_000, 0);
        let told = UpBatch::decode(lane.receipt_batch(9).unwrap()).unwrap();
        assert_eq!((told.received, told.sequence, told.frames.len()), (4, 0, 0));
        assert!(lane.receipt_batch(9).is_none(), "once");
        lane.push(1, 1, &bus::Acks::default());
        assert_eq!(UpBatch::decode(lane.next_batch(9).unwrap()).unwrap().received, 4);
    }

    #[test]
    fn a_silent_lane_has_its_frames_discarded() {
        let lane = lane();
        lane.begin_generation(1);
        lane.open();
        lane.push(1, 1, &bus::Acks::default());
        lane.discard();
        assert!(lane.is_empty() && lane.push(1, 1, &bus::Acks::default()));
        assert_eq!(lane.join(2, &bus::Connect::default()), Some(1), "it is told with the others");
        assert!(lane.is_empty() && !lane.push_unless_busy(1, 1, &bus::Acks::default()));
        lane.begin_generation(2);
        assert!(lane.push(2, 1, &bus::Acks::default()) && !lane.is_empty());
    }

    #[test]
    fn an_idle_stream_sends_heartbeats() {
        let lane = lane();
        lane.begin_generation(1);
        lane.open();
        let beat = UpBatch::decode(lane.heartbeat(9).unwrap()).unwrap();
        assert_eq!((beat.generation, beat.sequence, beat.frames.len()), (1, 0, 0));
        lane.push(1, 1, &bus::Acks::default());
        lane.next_batch(9);
        assert!(lane.heartbeat(9).is_none());
    }
}
