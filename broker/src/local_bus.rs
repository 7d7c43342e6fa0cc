//! The bus within one process: one queue for each link.
//!
//! `godwit serve` runs on it. A payload goes straight from the publisher's task to the reader's: no third thread has to be woken. A reader
//! that is more than 32 MiB behind misses payloads; the streams of bus.proto notice the gap and recover.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use godwit_schemas::bus::{self, Bus, LinkClosed};
use parking_lot::RwLock;
use tokio::sync::mpsc;

/// Most bytes that wait in a link. A single larger payload is allowed.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Memory that a payload takes besides its bytes, about.
const PAYLOAD_BYTES: usize = 128;

/// The bus. Clones are the same bus; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct LocalBus(Arc<Readers>);

/// The readers of each topic.
type Readers = RwLock<HashMap<String, Vec<Reader>>>;

#[derive(Debug)]
struct Reader {
    queue: mpsc::UnboundedSender<Bytes>,
    waiting: Arc<AtomicUsize>,
}

impl Reader {
    fn push(&self, payload: Bytes) {
        let size = size(&payload);
        let before = self.waiting.fetch_add(size, Ordering::Relaxed);
        let full = before > 0 && before + size > WAITING_BYTES_MAX;
        // It fails if the reader is gone.
        if full || self.queue.send(payload).is_err() {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
        }
    }
}

fn size(payload: &Bytes) -> usize {
    payload.len() + PAYLOAD_BYTES
}

impl Bus for LocalBus {
    type Tx = LocalTx;
    type Rx = LocalRx;

    async fn open(&self, _name: &str, topics: &[String]) -> Result<(LocalTx, LocalRx), LinkClosed> {
        let (queue, payloads) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut readers = self.0.write();
        for topic in topics {
            let reader = Reader { queue: queue.clone(), waiting: waiting.clone() };
            readers.entry(topic.clone()).or_default().push(reader);
        }
        Ok((LocalTx(self.0.clone()), LocalRx { payloads, waiting, topics: topics.to_vec(), readers: self.0.clone() }))
    }
}

/// Sending half of a link on the local bus.
#[derive(Debug)]
pub struct LocalTx(Arc<Readers>);

impl bus::Tx for LocalTx {
    async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), LinkClosed> {
        for reader in self.0.read().get(topic).into_iter().flatten() {
            reader.push(payload.clone());
        }
        Ok(())
    }
}

/// Receiving half of a link on the local bus.
#[derive(Debug)]
pub struct LocalRx {
    payloads: mpsc::UnboundedReceiver<Bytes>,
    waiting: Arc<AtomicUsize>,
    topics: Vec<String>,
    readers: Arc<Readers>,
}

impl LocalRx {
    fn took(&self, payload: &Bytes) {
        self.waiting.fetch_sub(size(payload), Ordering::Relaxed);
    }
}

impl bus::Rx for LocalRx {
    async fn next(&mut self) -> Result<Bytes, LinkClosed> {
        let payload = self.payloads.recv().await.ok_or_else(|| LinkClosed("it reads no topic".to_owned()))?;
        self.took(&payload);
        Ok(payload)
    }

    fn try_next(&mut self) -> Option<Bytes> {
        let payload = self.payloads.try_recv().ok()?;
        self.took(&payload);
        Some(payload)
    }
}

impl Drop for LocalRx {
    fn drop(&mut self) {
        let mut readers = self.readers.write();
        for topic in &self.topics {
            let Some(of_topic) = readers.get_mut(topic) else { continue };
            of_topic.retain(|reader| !Arc::ptr_eq(&reader.waiting, &self.waiting));
            if of_topic.is_empty() {
                readers.remove(topic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use godwit_schemas::bus::{Rx as _, Tx as _};

    use super::*;

    #[tokio::test]
    async fn payloads_reach_the_readers_of_their_topic_in_order() {
        let bus = LocalBus::default();
        let (mut tx, _) = bus.open("writer", &[]).await.unwrap();
        let topics = ["down/1".to_owned(), "edges".to_owned()];
        let (_, mut one) = bus.open("one", &topics).await.unwrap();
        let (_, mut other) = bus.open("other", &topics[1..]).await.unwrap();
        for (topic, payload) in [("down/2", "nobody"), ("down/1", "a"), ("edges", "b"), ("down/1", "c")] {
            tx.publish(topic, Bytes::from_static(payload.as_bytes())).await.unwrap();
        }
        for expected in ["a", "b", "c"] {
            assert_eq!(one.next().await.unwrap(), expected);
        }
        assert_eq!(other.next().await.unwrap(), "b");
        assert!(one.try_next().is_none() && other.try_next().is_none());
    }

    #[tokio::test]
    async fn a_reader_that_lags_misses_payloads_and_continues() {
        let bus = LocalBus::default();
        let topics = ["up/0".to_owned()];
        let (mut tx, mut rx) = bus.open("link", &topics).await.unwrap();
        let large = Bytes::from(vec![0; WAITING_BYTES_MAX]);
        for payload in [large, Bytes::from_static(b"missed")] {
            tx.publish("up/0", payload).await.unwrap();
        }
        assert_eq!(rx.next().await.unwrap().len(), WAITING_BYTES_MAX);
        assert!(rx.try_next().is_none());
        tx.publish("up/0", Bytes::from_static(b"there")).await.unwrap();
        assert_eq!(rx.try_next().unwrap(), "there");
    }

    #[tokio::test]
    async fn dropped_readers_are_removed() {
        let bus = LocalBus::default();
        let (mut tx, rx) = bus.open("link", &["edges".to_owned()]).await.unwrap();
        drop(rx);
        tx.publish("edges", Bytes::from_static(b"x")).await.unwrap();
        assert!(bus.0.read().is_empty());
    }
}
