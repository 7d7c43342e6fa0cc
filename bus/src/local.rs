//! The bus within one process: one queue for each link.
//!
//! `godwit serve` runs on it. A payload goes straight from the publisher's task to the reader's: no third thread has to be woken. A reader
//! that is too far behind misses payloads; the streams of bus.proto notice the gap and recover.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use godwit_schemas::bus::{self, Bus, LinkClosed};
use parking_lot::RwLock;

use crate::payload_queue::{PayloadReceiver, PayloadSender, payload_queue};

/// The bus. Clones are the same bus; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct LocalBus(Arc<Readers>);

/// The readers of each topic.
type Readers = RwLock<HashMap<String, Vec<PayloadSender>>>;

impl Bus for LocalBus {
    type Tx = LocalTx;
    type Rx = LocalRx;

    async fn open(&self, _name: &str, topics: &[String]) -> Result<(LocalTx, LocalRx), LinkClosed> {
        let (reader, payloads) = payload_queue();
        let mut readers = self.0.write();
        for topic in topics {
            readers.entry(topic.clone()).or_default().push(reader.clone());
        }
        Ok((LocalTx(self.0.clone()), LocalRx { payloads, topics: topics.to_vec(), readers: self.0.clone() }))
    }
}

/// Sending half of a link on the local bus.
#[derive(Debug)]
pub struct LocalTx(Arc<Readers>);

impl bus::Tx for LocalTx {
    async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), LinkClosed> {
        for reader in self.0.read().get(topic).into_iter().flatten() {
            // A reader that lags or is gone misses it.
            _ = reader.push(payload.clone());
        }
        Ok(())
    }
}

/// Receiving half of a link on the local bus.
#[derive(Debug)]
pub struct LocalRx {
    payloads: PayloadReceiver,
    topics: Vec<String>,
    readers: Arc<Readers>,
}

impl bus::Rx for LocalRx {
    async fn next(&mut self) -> Result<Bytes, LinkClosed> {
        self.payloads.next().await.ok_or_else(|| LinkClosed("it reads no topic".to_owned()))
    }

    fn try_next(&mut self) -> Option<Bytes> {
        self.payloads.try_next()
    }
}

impl Drop for LocalRx {
    fn drop(&mut self) {
        let mut readers = self.readers.write();
        for topic in &self.topics {
            let Some(of_topic) = readers.get_mut(topic) else { continue };
            of_topic.retain(|reader| !reader.feeds(&self.payloads));
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
    async fn dropped_readers_are_removed() {
        let bus = LocalBus::default();
        let (mut tx, rx) = bus.open("link", &["edges".to_owned()]).await.unwrap();
        drop(rx);
        tx.publish("edges", Bytes::from_static(b"x")).await.unwrap();
        assert!(bus.0.read().is_empty());
    }
}
