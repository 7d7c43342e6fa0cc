//! The bus of a broker in another process, over its private service listener (MQTT 3.1.1, QoS 0). The only module that
//! names rumqttc. Losing payloads is allowed (see `schemas::bus`), so nothing is acknowledged or kept here.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use godwit_schemas::bus::{Bus, LinkClosed, Rx, Tx};
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, QoS, SubscribeReasonCode};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

/// Largest payload: batches are far smaller.
const PACKET_BYTES_MAX: usize = 8 << 20;
/// Payloads waiting in each direction; a full queue holds up the publisher, and the broker's sockets the rest.
const QUEUE: usize = 64;
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// The bus of a broker in another process, by rumqttc. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RumqttcBus {
    /// Sockets are served here: lanes have no I/O of their own.
    runtime: Handle,
    addr: SocketAddr,
    credentials: Option<(String, String)>,
}

impl RumqttcBus {
    /// A bus at this address; nothing is connected yet. Credentials are user name and password. Its connections are
    /// served by `runtime`.
    pub fn new(runtime: Handle, addr: SocketAddr, credentials: Option<(String, String)>) -> Self {
        Self { runtime, addr, credentials }
    }

    fn options(&self, name: &str) -> MqttOptions {
        let mut options = MqttOptions::new(name, self.addr.ip().to_string(), self.addr.port());
        options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX).set_keep_alive(KEEP_ALIVE);
        if let Some((user, password)) = &self.credentials {
            options.set_credentials(user, password);
        }
        options
    }
}

impl Bus for RumqttcBus {
    type Tx = RemoteTx;
    type Rx = RemoteRx;

    async fn open(&self, name: &str, topics: &[String]) -> Result<(RemoteTx, RemoteRx), LinkClosed> {
        let (bus, topics) = (self.clone(), topics.to_vec());
        // A name of its own for each process: the broker ends an older connection of the same name.
        let name = format!("{name}-{:x}", std::process::id());
        let opening = AbortOnDropHandle::new(self.runtime.spawn(async move { bus.connect(&name, &topics).await }));
        opening.await.map_err(|error| LinkClosed(error.to_string()))
    }
}

impl RumqttcBus {
    /// Tries until it succeeds.
    async fn connect(&self, name: &str, topics: &[String]) -> (RemoteTx, RemoteRx) {
        loop {
            let (client, mut events) = AsyncClient::new(self.options(name), QUEUE);
            // A batch must not wait until the one before it was acknowledged.
            let mut network = events.network_options();
            network.set_tcp_nodelay(true);
            events.set_network_options(network);
            match subscribed(&client, &mut events, topics).await {
                Ok(()) => {
                    info!(addr = %self.addr, link = name, "connected to the broker's bus");
                    let (payloads, queue) = mpsc::channel(QUEUE);
                    let polling = tokio::spawn(poll(events, payloads));
                    return (RemoteTx(client), RemoteRx { queue, polling: AbortOnDropHandle::new(polling) });
                }
                Err(error) => {
                    warn!(addr = %self.addr, link = name, error, "the broker's bus cannot be reached, trying again");
                    sleep(RECONNECT_AFTER).await;
                }
            }
        }
    }
}

/// Connects, subscribes, and waits until the broker has agreed.
async fn subscribed(client: &AsyncClient, events: &mut EventLoop, topics: &[String]) -> Result<(), String> {
    // The answer to the connection, and to each subscription.
    let mut missing = 1 + topics.len();
    for topic in topics {
        client.try_subscribe(topic, QoS::AtMostOnce).map_err(|error| error.to_string())?;
    }
    while missing > 0 {
        match events.poll().await.map_err(|error| error.to_string())? {
            Event::Incoming(Incoming::SubAck(suback))
                if suback.return_codes.contains(&SubscribeReasonCode::Failure) =>
            {
                return Err("the broker refuses the subscription".to_owned());
            }
            Event::Incoming(Incoming::SubAck(_) | Incoming::ConnAck(_)) => missing -= 1,
            _ => {}
        }
    }
    Ok(())
}

/// Drives one connection until it breaks. The link is then closed: who holds it opens a new one, and streams on it
/// notice what was lost.
async fn poll(mut events: EventLoop, payloads: mpsc::Sender<Bytes>) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                if payloads.send(publish.payload).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => {
                warn!(%error, "connection to the broker's bus lost");
                return;
            }
        }
    }
}

/// Publishing half.
pub struct RemoteTx(AsyncClient);

impl Tx for RemoteTx {
    async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), LinkClosed> {
        let sent = self.0.publish_bytes(topic, QoS::AtMostOnce, false, payload).await;
        sent.map_err(|error| LinkClosed(error.to_string()))
    }
}

/// Receiving half; dropping it closes the connection.
pub struct RemoteRx {
    queue: mpsc::Receiver<Bytes>,
    #[expect(dead_code, reason = "held until the link is dropped")]
    polling: AbortOnDropHandle<()>,
}

impl Rx for RemoteRx {
    async fn next(&mut self) -> Result<Bytes, LinkClosed> {
        self.queue.recv().await.ok_or_else(|| LinkClosed("connection lost".into()))
    }

    fn try_next(&mut self) -> Option<Bytes> {
        self.queue.try_recv().ok()
    }
}
