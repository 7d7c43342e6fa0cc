//! The bus within one process: a queue for each link, and nothing in between.
//!
//! `godwit serve` runs on it. A payload goes from the publisher's task straight to the reader's, without a third thread
//! that would have to be woken on the way. A reader that is further behind than 32 MiB misses payloads:
//! the streams of bus.proto notice and recover.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use godwit_schemas::bus::{self, Bus, LinkClosed};
use parking_lot::RwLock;
use tokio::sync::mpsc;

/// Most bytes that wait in a link; a single larger payload is allowed.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// What a payload takes beside its bytes, about.
const PAYLOAD_BYTES: usize = 128;

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LocalBus(Arc<Readers>);

/// Who reads each topic.
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
        // A reader that has gone reads nothing more.
        if full || self.queue.send(payload).is_err() {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
        }
    }
}

fn size(payload: &Bytes) -> usize {
    payload.len() + PAYLOAD_BYTES
}

impl Bus for LocalBus {
    type Tx = Tx;
    type Rx = Rx;

    async fn open(&self, _name: &str, topics: &[String]) -> Result<(Tx, Rx), LinkClosed> {
        let (queue, payloads) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut readers = self.0.write();
        for topic in topics {
            let reader = Reader { queue: queue.clone(), waiting: waiting.clone() };
            readers.entry(topic.clone()).or_default().push(reader);
        }
        Ok((Tx(self.0.clone()), Rx { payloads, waiting, topics: topics.to_vec(), readers: self.0.clone() }))
    }
}

/// Sending half of a link.
#[derive(Debug)]
pub struct Tx(Arc<Readers>);

impl bus::Tx for Tx {
    async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), LinkClosed> {
        for reader in self.0.read().get(topic).into_iter().flatten() {
            reader.push(payload.clone());
        }
        Ok(())
    }
}

/// Receiving half of a link.
#[derive(Debug)]
pub struct Rx {
    payloads: mpsc::UnboundedReceiver<Bytes>,
    waiting: Arc<AtomicUsize>,
    topics: Vec<String>,
    readers: Arc<Readers>,
}

impl Rx {
    fn took(&self, payload: &Bytes) {
        self.waiting.fetch_sub(size(payload), Ordering::Relaxed);
    }
}

impl bus::Rx for Rx {
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

impl Drop for Rx {
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
    async fn a_reader_that_lags_misses_payloads_and_goes_on() {
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
    async fn readers_that_have_gone_are_forgotten() {
        let bus = LocalBus::default();
        let (mut tx, rx) = bus.open("link", &["edges".to_owned()]).await.unwrap();
        drop(rx);
        tx.publish("edges", Bytes::from_static(b"x")).await.unwrap();
        assert!(bus.0.read().is_empty());
    }
}
