//! A link to the router, as a sending and a receiving half.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt as _;
use godwit_schemas::bus::{self, LinkClosed};
use parking_lot::Mutex;
use rumqttd::Notification;
use rumqttd::local::{LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet};

/// Opens a link of this name. A closure, because the type of the router's channel cannot be named outside rumqttd.
pub(super) type OpenLink = dyn Fn(&str) -> Result<(LinkTx, LinkRx), LinkClosed> + Send + Sync;

/// Opens a link, with both halves.
pub(super) fn open(open: &OpenLink, name: &str) -> Result<(RouterTx, RouterRx), LinkClosed> {
    let (tx, rx) = open(name)?;
    let link = Arc::new(RouterLink(Mutex::new(tx)));
    Ok((RouterTx { link: link.clone(), topics: HashMap::new() }, RouterRx { rx, _link: link }))
}

pub(super) fn closed(error: LinkError) -> LinkClosed {
    LinkClosed(error.to_string())
}

/// Held by both halves. The router has to be told when a link is gone: it does not notice by itself.
struct RouterLink(Mutex<LinkTx>);

impl Drop for RouterLink {
    fn drop(&mut self) {
        let goodbye = Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection };
        // It never waits, and fails only if the router is gone.
        _ = self.0.get_mut().send(Packet::Disconnect(goodbye, None)).now_or_never();
    }
}

/// Sending half of a link to the router.
pub struct RouterTx {
    link: Arc<RouterLink>,
    /// Topics, in the type that the router takes.
    topics: HashMap<String, Bytes>,
}

impl fmt::Debug for RouterTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl RouterTx {
    /// Has payloads of this topic arrive at the receiving half from now on.
    pub(super) fn subscribe(&self, topic: &str) -> Result<(), LinkClosed> {
        self.link.0.lock().subscribe(topic).map(|_| ()).map_err(closed)
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&self, filter: &str) -> Result<(), LinkClosed> {
        self.link.0.lock().unsubscribe(filter).map(|_| ()).map_err(closed)
    }
}

impl bus::Tx for RouterTx {
    /// Blocks for a moment while a thousand events wait for the router.
    async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), LinkClosed> {
        let name = match self.topics.get(topic) {
            Some(name) => name.clone(),
            None => self.topics.entry(topic.to_owned()).or_insert_with(|| topic.to_owned().into()).clone(),
        };
        self.link.0.lock().publish(name, payload).map(|_| ()).map_err(closed)
    }
}

/// Receiving half of a link to the router.
pub struct RouterRx {
    rx: LinkRx,
    _link: Arc<RouterLink>,
}

impl fmt::Debug for RouterRx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rx").field(&self.rx.id()).finish()
    }
}

impl RouterRx {
    /// The next payload, and its topic. Cancel safe.
    pub(super) async fn next_with_topic(&mut self) -> Result<(Bytes, Bytes), LinkClosed> {
        loop {
            match self.rx.next().await.map_err(closed)? {
                Some(Notification::Forward(forward)) => return Ok((forward.publish.topic, forward.publish.payload)),
                // The router has paused this link until it asks for more.
                Some(Notification::Unschedule) => self.rx.wake().await.map_err(closed)?,
                _ => {}
            }
        }
    }

    /// The next payload, if one has arrived, and its topic.
    pub(super) fn try_next_with_topic(&mut self) -> Option<(Bytes, Bytes)> {
        loop {
            match self.rx.recv_deadline(Instant::now()).ok()? {
                Some(Notification::Forward(forward)) => return Some((forward.publish.topic, forward.publish.payload)),
                Some(Notification::Unschedule) => self.rx.ready().ok()?,
                _ => {}
            }
        }
    }
}

impl bus::Rx for RouterRx {
    async fn next(&mut self) -> Result<Bytes, LinkClosed> {
        self.next_with_topic().await.map(|(_, payload)| payload)
    }

    fn try_next(&mut self) -> Option<Bytes> {
        self.try_next_with_topic().map(|(_, payload)| payload)
    }
}
