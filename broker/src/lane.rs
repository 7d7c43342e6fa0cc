//! Frames on their way to one lane, and the generations of their stream (see bus.proto).
//!
//! Connections append; the uplink task takes whole batches. While it publishes one, the next gathers: that is all the
//! batching there is. A frame is encoded once, where it arises, into the payload that goes to the bus.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use godwit_schemas::bus;
use parking_lot::Mutex;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len, uint64};
use tokio::sync::Notify;

/// A batch is closed when it has this many bytes...
const BATCH_BYTES: usize = 512 * 1024;
/// ...or frames.
const BATCH_FRAMES: u32 = 4_096;
/// With this many batches waiting, what nobody waits for (QoS 0) is dropped.
const BATCHES_BUSY: usize = 16;

/// A frame's message, under its tag in `Up`.
pub(crate) trait Frame: Message {
    /// Field number in `Up`.
    const TAG: u32;
}

impl Frame for bus::Connect {
    const TAG: u32 = 2;
}
impl Frame for bus::Publish {
    const TAG: u32 = 3;
}
impl Frame for bus::Acks {
    const TAG: u32 = 4;
}
impl Frame for bus::Subscribe {
    const TAG: u32 = 5;
}
impl Frame for bus::Disconnect {
    const TAG: u32 = 6;
}
impl Frame for bus::Renew {
    const TAG: u32 = 7;
}

/// The edge's end of the stream to one lane.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Its number.
    pub(crate) index: u32,
    /// Its topic on the bus.
    pub(crate) topic: String,
    queue: Mutex<Queue>,
    ready: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Queue {
    /// 0: the lane is not attached to yet, or not any more.
    generation: u64,
    /// New connections may join: the generation has begun with all the older ones.
    open: bool,
    /// Of the last batch.
    sequence: u64,
    batches: VecDeque<Gathered>,
    /// Nothing was taken since the last heartbeat, or the generation's begin.
    silent: bool,
}

#[derive(Debug, Default)]
struct Gathered {
    frames: u32,
    bytes: BytesMut,
}

impl Lane {
    /// A lane that nothing is attached to. `ready` is told when there is something to take.
    pub(crate) fn new(index: u32, ready: Arc<Notify>) -> Self {
        Self { index, topic: bus::up(index), queue: Mutex::default(), ready }
    }

    /// Appends a frame of a connection that is attached in `generation`. `false`: that generation is over, and the
    /// frame goes nowhere.
    pub(crate) fn push(&self, generation: u64, connection: u64, frame: &impl Frame) -> bool {
        let mut queue = self.queue.lock();
        if queue.generation != generation || generation == 0 {
            return false;
        }
        queue.append(connection, frame);
        drop(queue);
        self.ready.notify_one();
        true
    }

    /// Like [`Self::push`], for what may be lost: nothing is appended when much is waiting.
    pub(crate) fn push_unless_busy(&self, generation: u64, connection: u64, frame: &impl Frame) -> bool {
        self.queue.lock().batches.len() < BATCHES_BUSY && self.push(generation, connection, frame)
    }

    /// Appends the first frame of a new connection. Returns the generation it is attached in now, or `None` while
    /// older connections have to go first.
    pub(crate) fn join(&self, connection: u64, frame: &bus::Connect) -> Option<u64> {
        let mut queue = self.queue.lock();
        if !queue.open {
            return None;
        }
        queue.append(connection, frame);
        let generation = queue.generation;
        drop(queue);
        self.ready.notify_one();
        Some(generation)
    }

    /// Begins a generation: forgets what is waiting, and lets nobody join before [`Self::open`].
    pub(crate) fn begin(&self, generation: u64) {
        *self.queue.lock() = Queue { generation, silent: true, ..Queue::default() };
    }

    /// The generation has begun: new connections may join.
    pub(crate) fn open(&self) {
        self.queue.lock().open = true;
        self.ready.notify_one();
    }

    /// Nothing is attached any more, for ever.
    pub(crate) fn retire(&self) {
        *self.queue.lock() = Queue::default();
    }

    /// The next batch, if there is one.
    pub(crate) fn take(&self, edge: u64) -> Option<Bytes> {
        let mut queue = self.queue.lock();
        let gathered = queue.batches.pop_front()?;
        queue.sequence += 1;
        queue.silent = false;
        Some(finish(gathered.bytes, edge, queue.generation, queue.sequence))
    }

    /// Called every second: an empty batch, if nothing was taken since the last call.
    pub(crate) fn heartbeat(&self, edge: u64) -> Option<Bytes> {
        let mut queue = self.queue.lock();
        let due = queue.silent && queue.open;
        queue.silent = true;
        due.then(|| finish(BytesMut::new(), edge, queue.generation, queue.sequence))
    }

    /// Nothing is waiting.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.lock().batches.is_empty()
    }
}

impl Queue {
    fn append(&mut self, connection: u64, frame: &impl Frame) {
        let full = |last: &Gathered| last.bytes.len() >= BATCH_BYTES || last.frames >= BATCH_FRAMES;
        if self.batches.back().is_none_or(full) {
            self.batches.push_back(Gathered::default());
        }
        if let Some(last) = self.batches.back_mut() {
            last.frames += 1;
            encode(connection, frame, &mut last.bytes);
        }
    }
}

/// One element of `UpBatch.frames`, as prost would write it from an owned `Up`.
fn encode<F: Frame>(connection: u64, frame: &F, out: &mut BytesMut) {
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

/// Fields of a message may come in any order: the stream's numbers go last.
fn finish(mut frames: BytesMut, edge: u64, generation: u64, sequence: u64) -> Bytes {
    let numbers = bus::UpBatch { edge, generation, sequence, frames: Vec::new() };
    frames.reserve(numbers.encoded_len());
    numbers.encode_raw(&mut frames);
    frames.freeze()
}

#[cfg(test)]
mod tests {
    use godwit_schemas::bus::{UpBatch, up};

    use super::*;

    fn lane() -> Lane {
        Lane::new(0, Arc::default())
    }

    #[test]
    fn batches_are_what_prost_reads() {
        let lane = lane();
        lane.begin(3);
        lane.open();
        let publish = bus::Publish { number: 1, payload: Bytes::from(vec![7; 300]), ..bus::Publish::default() };
        assert_eq!(lane.join(u64::MAX, &bus::Connect::default()), Some(3));
        assert!(lane.push(3, 300, &publish));
        let batch = UpBatch::decode(lane.take(9).unwrap()).unwrap();
        assert_eq!((batch.edge, batch.generation, batch.sequence), (9, 3, 1));
        let connections: Vec<_> = batch.frames.iter().map(|up| up.connection).collect();
        assert_eq!(connections, [u64::MAX, 300]);
        assert_eq!(batch.frames[0].frame, Some(up::Frame::Connect(bus::Connect::default())));
        assert_eq!(batch.frames[1].frame, Some(up::Frame::Publish(publish)));
        assert!(lane.take(9).is_none());
    }

    #[test]
    fn frames_of_another_generation_go_nowhere() {
        let lane = lane();
        let acks = bus::Acks { orders: vec![1] };
        assert!(!lane.push(0, 1, &acks), "not attached");
        assert_eq!(lane.join(1, &bus::Connect::default()), None);
        lane.begin(1);
        assert!(lane.push(1, 1, &acks));
        lane.begin(2);
        assert!(!lane.push(1, 1, &acks));
        assert_eq!(lane.join(1, &bus::Connect::default()), None, "older connections go first");
        assert!(lane.take(9).is_none(), "forgotten");
        lane.retire();
        assert!(!lane.push(2, 1, &acks));
    }

    #[test]
    fn batches_are_bounded() {
        let lane = lane();
        lane.begin(1);
        for _ in 0..BATCH_FRAMES + 1 {
            lane.push(1, 1, &bus::Acks { orders: vec![1] });
        }
        let counts: Vec<_> = std::iter::from_fn(|| lane.take(9))
            .map(|batch| UpBatch::decode(batch).unwrap())
            .map(|batch| (batch.sequence, batch.frames.len()))
            .collect();
        assert_eq!(counts, [(1, 4_096), (2, 1)]);
    }

    #[test]
    fn a_silent_stream_beats() {
        let lane = lane();
        lane.begin(1);
        lane.open();
        let beat = UpBatch::decode(lane.heartbeat(9).unwrap()).unwrap();
        assert_eq!((beat.generation, beat.sequence, beat.frames.len()), (1, 0, 0));
        lane.push(1, 1, &bus::Acks::default());
        lane.take(9);
        assert!(lane.heartbeat(9).is_none());
    }
}
