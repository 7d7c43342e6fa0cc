//! A lane's link to the bus, opened again whenever it breaks. What is published meanwhile is lost, as a bus may.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use godwit_schemas::bus::{Bus, LinkClosed, Rx, Tx};
use tracing::warn;

type Opening<B> = Pin<Box<dyn Future<Output = Result<(<B as Bus>::Tx, <B as Bus>::Rx), LinkClosed>> + Send>>;

/// A lane's link to the bus, with the topics that it listens to.
pub(crate) struct BusLink<B: Bus> {
    bus: B,
    name: String,
    topics: Vec<String>,
    open: Option<(B::Tx, B::Rx)>,
    opening: Option<Opening<B>>,
}

impl<B: Bus> BusLink<B> {
    pub(crate) fn new(bus: B, name: String, topics: Vec<String>) -> Self {
        Self { bus, name, topics, open: None, opening: None }
    }

    /// The next payload. Cancel safe. Waits for ever on a bus that is gone for good.
    pub(crate) async fn next(&mut self) -> Bytes {
        loop {
            let Some((_, rx)) = &mut self.open else {
                self.reopen().await;
                continue;
            };
            match rx.next().await {
                Ok(payload) => return payload,
                Err(closed) => self.broken(&closed),
            }
        }
    }

    async fn reopen(&mut self) {
        let opening = self.opening.get_or_insert_with(|| {
            let (bus, name, topics) = (self.bus.clone(), self.name.clone(), self.topics.clone());
            Box::pin(async move { bus.open(&name, &topics).await })
        });
        let opened = opening.as_mut().await;
        self.opening = None;
        match opened {
            Ok(link) => self.open = Some(link),
            Err(closed) => {
                warn!(link = self.name, %closed, "the bus is gone");
                std::future::pending::<()>().await;
            }
        }
    }

    /// The next payload if one is there.
    pub(crate) fn try_next(&mut self) -> Option<Bytes> {
        self.open.as_mut()?.1.try_next()
    }

    /// Publishes, or loses the payload if there is no link.
    pub(crate) async fn publish(&mut self, topic: &str, payload: Bytes) {
        let Some((tx, _)) = &mut self.open else { return };
        if let Err(closed) = tx.publish(topic, payload).await {
            self.broken(&closed);
        }
    }

    fn broken(&mut self, closed: &LinkClosed) {
        warn!(link = self.name, %closed, "bus link broken, opening a new one");
        self.open = None;
    }
}
