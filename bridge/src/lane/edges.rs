//! Streams between this lane and the edges: what is expected, what is lost, what goes out. See bus.proto.
//!
//! Each stream down has [`Edges::has_room`]: without it, what can wait (deliveries, answers) stays where it is, in the store or
//! in the session, rather than to overflow the bus for everybody.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use godwit_core::reply_to::ConnectionKey;
use godwit_schemas::bus::{self, Down, DownBatch, Reattach, UpBatch, down};
use godwit_schemas::flow::{self, OnTheWay, Untold};
use prost::Message;
use tokio::time::Instant;

/// A silent stream says so this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence of an edge that means it is gone.
const GONE_AFTER: Duration = Duration::from_secs(10);
/// About how many bytes one payload on the bus may have.
const BATCH_BYTES: usize = 256 << 10;

/// What a batch from an edge is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BatchVerdict {
    /// The next one.
    Next,
    /// The first of a new generation: what came before from this edge is void.
    NewGeneration,
    /// Old, or after a gap.
    Void,
}

struct EdgeStream {
    generation: u64,
    received: u64,
    sent: u64,
    frames: Vec<Down>,
    /// Bytes of the frames, about.
    frame_bytes: usize,
    on_the_way: OnTheWay,
    untold: Untold,
    heard: Instant,
    spoke: Instant,
    asked: Option<Instant>,
}

/// Who speaks on the streams down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speaker {
    pub(super) lane: u32,
    /// Of this start of the bridge.
    pub(super) epoch: u64,
    /// In which this bridge leads.
    pub(super) term: u64,
}

/// One stream for each edge that was heard of.
pub(super) struct Edges {
    speaker: Speaker,
    streams: BTreeMap<u64, EdgeStream>,
    with_frames: Vec<u64>,
    /// Bytes that one stream may have on its way.
    share: usize,
}

impl Edges {
    /// Of one of so many lanes.
    pub(super) fn new(speaker: Speaker, lanes: u32) -> Self {
        Self { speaker, streams: BTreeMap::new(), with_frames: Vec::new(), share: flow::share(lanes) }
    }

    /// How many edges there are, and how many bytes are on their way to them.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let bytes = self.streams.values().map(|stream| stream.frame_bytes + stream.on_the_way.bytes()).sum();
        (self.streams.len(), bytes)
    }

    /// What can wait may go out to the connections of an edge.
    pub(super) fn has_room(&self, edge: u64) -> bool {
        self.streams.get(&edge).is_none_or(|it| it.frame_bytes + it.on_the_way.bytes() < self.share)
    }

    /// Judges a batch of so many bytes by its numbers. A heartbeat repeats the number of the batch before it.
    pub(super) fn accept(&mut self, batch: &UpBatch, bytes: usize, now: Instant) -> BatchVerdict {
        let accepted = self.judge(batch, now);
        if let Some(stream) = self.streams.get_mut(&batch.edge).filter(|_| accepted != BatchVerdict::Void) {
            stream.on_the_way.received(batch.received);
            stream.untold.took(bytes);
        }
        accepted
    }

    fn judge(&mut self, batch: &UpBatch, now: Instant) -> BatchVerdict {
        let before = if batch.frames.is_empty() { batch.sequence } else { batch.sequence.saturating_sub(1) };
        let fresh = EdgeStream {
            generation: batch.generation,
            received: batch.sequence,
            sent: 0,
            frames: Vec::new(),
            frame_bytes: 0,
            on_the_way: OnTheWay::default(),
            untold: Untold::default(),
            heard: now,
            spoke: now,
            asked: None,
        };
        let Some(stream) = self.streams.get_mut(&batch.edge) else {
            if before == 0 {
                self.streams.insert(batch.edge, fresh);
                return BatchVerdict::NewGeneration;
            }
            // Remembered as a stream that lacks something, so that it is asked again only after a while.
            self.streams.insert(batch.edge, EdgeStream { received: 0, ..fresh });
            self.ask_to_reattach(batch.edge, now);
            return BatchVerdict::Void;
        };
        if batch.generation < stream.generation {
            return BatchVerdict::Void;
        }
        stream.heard = now;
        if batch.generation > stream.generation && before == 0 {
            *stream = fresh;
            return BatchVerdict::NewGeneration;
        }
        if batch.generation == stream.generation && before == stream.received {
            let first = before == 0 && !batch.frames.is_empty();
            stream.received = batch.sequence;
            return if first { BatchVerdict::NewGeneration } else { BatchVerdict::Next };
        }
        if batch.generation > stream.generation {
            *stream = EdgeStream { received: 0, ..fresh };
        }
        if before > stream.received {
            self.ask_to_reattach(batch.edge, now);
        }
        BatchVerdict::Void
    }

    fn ask_to_reattach(&mut self, edge: u64, now: Instant) {
        let Some(stream) = self.streams.get_mut(&edge) else { return };
        if stream.asked.is_none_or(|asked| now - asked >= HEARTBEAT) {
            stream.asked = Some(now);
            let to = ConnectionKey { edge, connection: 0 };
            self.push(to, bus::down::Frame::Reattach(Reattach {}));
        }
    }

    /// Queues a frame for a connection, to go out with the next [`Self::take_batches`].
    pub(super) fn push(&mut self, to: ConnectionKey, frame: down::Frame) {
        let Some(stream) = self.streams.get_mut(&to.edge) else { return };
        if stream.frames.is_empty() {
            self.with_frames.push(to.edge);
        }
        let frame = Down { connection: to.connection, frame: Some(frame) };
        stream.frame_bytes += frame_bytes(&frame);
        stream.frames.push(frame);
    }

    /// Everything queued, as topics and payloads, and an empty batch for each edge that has sent much and was told nothing.
    pub(super) fn take_batches(&mut self, now: Instant) -> Vec<(String, Bytes)> {
        let mut out = Vec::new();
        for edge in std::mem::take(&mut self.with_frames) {
            let Some(stream) = self.streams.get_mut(&edge) else { continue };
            let topic = bus::down(edge);
            stream.frame_bytes = 0;
            let mut frames = std::mem::take(&mut stream.frames).into_iter().peekable();
            while frames.peek().is_some() {
                stream.sent += 1;
                let mut batch = stream.batch(self.speaker, now);
                let mut bytes = 0;
                while bytes < BATCH_BYTES
                    && let Some(frame) = frames.next()
                {
                    bytes += frame_bytes(&frame);
                    batch.frames.push(frame);
                }
                let payload: Bytes = batch.encode_to_vec().into();
                stream.on_the_way.sent(stream.sent, payload.len());
                out.push((topic.clone(), payload));
            }
        }
        for (edge, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.untold.is_due()) {
            let told = stream.batch(self.speaker, now);
            out.push((bus::down(*edge), told.encode_to_vec().into()));
        }
        out
    }

    /// Heartbeats that are due, and edges that are gone.
    pub(super) fn tick(&mut self, now: Instant) -> (Vec<(String, Bytes)>, Vec<u64>) {
        let gone: Vec<_> =
            self.streams.iter().filter(|(_, stream)| now - stream.heard >= GONE_AFTER).map(|(edge, _)| *edge).collect();
        for edge in &gone {
            self.streams.remove(edge);
        }
        let mut beats = Vec::new();
        for (edge, stream) in &mut self.streams {
            if now - stream.spoke >= HEARTBEAT {
                let beat = stream.batch(self.speaker, now);
                beats.push((bus::down(*edge), beat.encode_to_vec().into()));
            }
        }
        (beats, gone)
    }
}

impl EdgeStream {
    /// An empty batch.
    fn batch(&mut self, Speaker { lane, epoch, term }: Speaker, now: Instant) -> DownBatch {
        self.spoke = now;
        self.untold.told();
        let Self { generation, sent: sequence, received, .. } = *self;
        DownBatch { lane, epoch, generation, sequence, frames: Vec::new(), received, term }
    }
}

/// About what a frame takes.
fn frame_bytes(frame: &Down) -> usize {
    32 + match &frame.frame {
        Some(down::Frame::Deliver(deliver)) => deliver.payload.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use godwit_schemas::bus::{Up, down::Frame};

    use super::*;

    fn edges(lanes: u32) -> Edges {
        Edges::new(Speaker { lane: 0, epoch: 1, term: 0 }, lanes)
    }

    fn up(generation: u64, sequence: u64, frames: usize) -> UpBatch {
        UpBatch { edge: 7, generation, sequence, frames: vec![Up::default(); frames], received: 0 }
    }

    fn sent(edges: &mut Edges, now: Instant) -> Vec<DownBatch> {
        edges.take_batches(now).into_iter().map(|(_, payload)| DownBatch::decode(payload).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_stream_is_followed_and_a_gap_is_told() {
        let (mut edges, now) = (edges(1), Instant::now());
        assert_eq!(edges.accept(&up(3, 1, 1), 100, now), BatchVerdict::NewGeneration);
        assert_eq!(edges.accept(&up(3, 1, 0), 100, now), BatchVerdict::Next, "heartbeat");
        assert_eq!(edges.accept(&up(3, 2, 1), 100, now), BatchVerdict::Next);
        assert_eq!(edges.accept(&up(3, 2, 1), 100, now), BatchVerdict::Void, "twice");
        assert_eq!(edges.accept(&up(2, 3, 1), 100, now), BatchVerdict::Void, "old generation");
        assert_eq!(sent(&mut edges, now), []);
        assert_eq!(edges.accept(&up(3, 4, 1), 100, now), BatchVerdict::Void);
        assert_eq!(edges.accept(&up(3, 4, 0), 100, now), BatchVerdict::Void);
        let reattach = sent(&mut edges, now);
        assert_eq!(reattach.len(), 1, "asked once, not for every batch");
        assert!(matches!(reattach[0].frames[0].frame, Some(Frame::Reattach(_))));
        assert_eq!(edges.accept(&up(4, 1, 1), 100, now), BatchVerdict::NewGeneration);
        assert_eq!(edges.accept(&up(4, 2, 1), 100, now), BatchVerdict::Next);
    }

    #[tokio::test]
    async fn a_new_bridge_asks_an_edge_in_mid_stream_to_reattach() {
        let (mut edges, now) = (edges(1), Instant::now());
        assert_eq!(edges.accept(&up(3, 9, 1), 100, now), BatchVerdict::Void);
        let reattach = sent(&mut edges, now);
        assert_eq!((reattach.len(), reattach[0].generation), (1, 3));
        assert_eq!(edges.accept(&up(4, 1, 1), 100, now), BatchVerdict::NewGeneration);
    }

    #[tokio::test]
    async fn a_lost_first_batch_of_a_generation_is_noticed() {
        let (mut edges, now) = (edges(1), Instant::now());
        assert_eq!(edges.accept(&up(1, 0, 0), 100, now), BatchVerdict::NewGeneration, "an edge without connections");
        assert_eq!(edges.accept(&up(2, 2, 1), 100, now), BatchVerdict::Void);
        assert_eq!(sent(&mut edges, now)[0].generation, 2, "asked in the generation that lacks something");
        assert_eq!(edges.accept(&up(2, 1, 1), 100, now), BatchVerdict::NewGeneration, "late but whole");
    }

    #[tokio::test]
    async fn frames_go_out_numbered_and_in_pieces() {
        let (mut edges, now) = (Edges::new(Speaker { lane: 2, epoch: 5, term: 8 }, 3), Instant::now());
        edges.accept(&up(1, 1, 1), 100, now);
        let payload = Bytes::from(vec![0; BATCH_BYTES / 2]);
        for _ in 0..5 {
            let deliver = bus::Deliver { payload: payload.clone(), ..Default::default() };
            edges.push(ConnectionKey { edge: 7, connection: 1 }, Frame::Deliver(deliver));
        }
        edges.push(ConnectionKey { edge: 8, connection: 1 }, Frame::Reattach(Reattach {}));
        let batches = sent(&mut edges, now);
        let shape: Vec<_> = batches.iter().map(|b| (b.lane, b.epoch, b.term, b.sequence, b.frames.len())).collect();
        assert_eq!(shape, [(2, 5, 8, 1, 2), (2, 5, 8, 2, 2), (2, 5, 8, 3, 1)]);
    }

    #[tokio::test]
    async fn a_stream_has_room_for_as_much_as_its_edge_takes() {
        let (mut edges, now) = (edges(1), Instant::now());
        edges.accept(&up(1, 1, 1), 100, now);
        let fill = |edges: &mut Edges| {
            let mut bytes = 0;
            while edges.has_room(7) {
                let deliver = bus::Deliver { payload: vec![0; BATCH_BYTES].into(), ..Default::default() };
                edges.push(ConnectionKey { edge: 7, connection: 1 }, Frame::Deliver(deliver));
                bytes += BATCH_BYTES;
            }
            bytes
        };
        assert_eq!(fill(&mut edges), flow::ON_THE_WAY_MAX, "what was not sent yet counts");
        let batches = sent(&mut edges, now);
        assert!(!edges.has_room(7), "and what was");
        assert!(edges.has_room(8), "of each edge for itself");
        edges.accept(&UpBatch { received: 1, ..up(1, 1, 0) }, 10, now);
        assert_eq!(fill(&mut edges), BATCH_BYTES);
        edges.accept(&UpBatch { received: batches.len() as u64, ..up(1, 1, 0) }, 10, now);
        sent(&mut edges, now);
        assert!(edges.has_room(7));
        edges.accept(&up(2, 1, 1), 100, now);
        assert_eq!(fill(&mut edges), flow::ON_THE_WAY_MAX, "a new generation begins with nothing");
    }

    #[tokio::test]
    async fn an_edge_that_sends_much_is_told_how_far_it_got() {
        let (mut edges, now) = (edges(1), Instant::now());
        edges.accept(&up(1, 1, 1), 1_000, now);
        assert_eq!(sent(&mut edges, now), []);
        edges.accept(&up(1, 2, 1), 1 << 20, now);
        edges.accept(&up(1, 4, 1), 1 << 20, now);
        let told = sent(&mut edges, now);
        assert_eq!((told[0].received, told[0].frames.len()), (2, 1), "with what there is to say");
        assert_eq!(told.len(), 1);
        edges.accept(&up(1, 3, 1), 1 << 20, now);
        let told = sent(&mut edges, now);
        assert_eq!((told.len(), told[0].received, told[0].sequence, told[0].frames.len()), (1, 3, 1, 0));
        assert_eq!(sent(&mut edges, now), []);
    }

    #[tokio::test]
    async fn silence_is_broken_by_heartbeats_and_ends_an_edge() {
        let (mut edges, now) = (edges(1), Instant::now());
        edges.accept(&up(1, 1, 1), 100, now);
        assert_eq!(edges.tick(now).0.len(), 0);
        let (beats, gone) = edges.tick(now + HEARTBEAT);
        assert_eq!((beats.len(), gone.len()), (1, 0));
        assert_eq!(edges.tick(now + GONE_AFTER).1, [7]);
    }
}
