//! What waits for the reader of a link: a queue that is bounded in bytes. A reader that is too far behind misses payloads,
//! which the streams of bus.proto notice, and nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Most bytes that wait in a link. A single larger payload is allowed.
pub(crate) const WAITING_BYTES_MAX: usize = 32 << 20;
/// Memory that a payload takes besides its bytes, about.
const PAYLOAD_BYTES: usize = 128;

/// A new queue. Its sender may be cloned.
pub(crate) fn payload_queue() -> (PayloadSender, PayloadReceiver) {
    let (queue, payloads) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (PayloadSender { queue, waiting: waiting.clone() }, PayloadReceiver { payloads, waiting })
}

/// The end that payloads go into.
#[derive(Debug, Clone)]
pub(crate) struct PayloadSender {
    queue: mpsc::UnboundedSender<Bytes>,
    waiting: Arc<AtomicUsize>,
}

/// Why a payload was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// The reader is too far behind.
    ReaderLags,
    /// The reader is gone.
    ReaderGone,
}

impl PayloadSender {
    /// Appends a payload. Never waits.
    pub(crate) fn push(&self, payload: Bytes) -> Result<(), Dropped> {
        let size = size(&payload);
        let before = self.waiting.fetch_add(size, Ordering::Relaxed);
        let full = before > 0 && before + size > WAITING_BYTES_MAX;
        let pushed =
            if full { Err(Dropped::ReaderLags) } else { self.queue.send(payload).map_err(|_| Dropped::ReaderGone) };
        if pushed.is_err() {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
        }
        pushed
    }

    /// Whether this is a sender of that receiver's queue.
    pub(crate) fn feeds(&self, receiver: &PayloadReceiver) -> bool {
        Arc::ptr_eq(&self.waiting, &receiver.waiting)
    }
}

/// The end that payloads come out of.
#[derive(Debug)]
pub(crate) struct PayloadReceiver {
    payloads: mpsc::UnboundedReceiver<Bytes>,
    waiting: Arc<AtomicUsize>,
}

impl PayloadReceiver {
    /// The next payload. `None`: all senders are gone. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        let payload = self.payloads.recv().await?;
        Some(self.took(payload))
    }

    /// The next payload if one is there.
    pub(crate) fn try_next(&mut self) -> Option<Bytes> {
        let payload = self.payloads.try_recv().ok()?;
        Some(self.took(payload))
    }

    fn took(&self, payload: Bytes) -> Bytes {
        self.waiting.fetch_sub(size(&payload), Ordering::Relaxed);
        payload
    }
}

fn size(payload: &Bytes) -> usize {
    payload.len() + PAYLOAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_lags_misses_payloads_and_continues() {
        let (sender, mut receiver) = payload_queue();
        let large = Bytes::from(vec![0; WAITING_BYTES_MAX]);
        assert_eq!(sender.push(large), Ok(()), "one may be as large as it is");
        assert_eq!(sender.push(Bytes::from_static(b"missed")), Err(Dropped::ReaderLags));
        assert_eq!(receiver.try_next().map(|payload| payload.len()), Some(WAITING_BYTES_MAX));
        assert_eq!(receiver.try_next(), None);
        assert_eq!(sender.push(Bytes::from_static(b"there")), Ok(()));
        assert_eq!(receiver.try_next().as_deref(), Some(&b"there"[..]));
        drop(receiver);
        assert_eq!(sender.push(Bytes::new()), Err(Dropped::ReaderGone));
    }
}
