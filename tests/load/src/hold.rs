//! `hold`: more connections than a process may open files, over streams within one process, and messages among them.

mod client;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::control::Control;
use crate::latency::{Latency, Percentiles};
use crate::process;
use crate::receiver::Expected;
use crate::target::{Account, LoadTarget, TopicStyle};
use crate::violation::Violations;
use crate::wire::Clock;
use client::{EventCount, HoldOutcome, HoldShared, HoldStage, client};

/// Bytes that a stream holds in each direction: its buffers are not what is measured.
const STREAM_BYTES: usize = 64;
/// Of every message.
const BODY_BYTES: usize = 100;
/// Clients between CONNECT and SUBACK at once.
const PARALLEL: usize = 256;
/// Time for the server to finish what connecting has started, and to give back memory.
const SETTLE: Duration = Duration::from_secs(3);
/// What is under way this long after the last message is lost.
const DRAIN: Duration = Duration::from_secs(10);

/// Connects all clients to a server of this process, subscribed, and lets each send one message to its neighbour.
#[derive(Debug, Clone)]
pub struct Hold {
    /// How many connections, at least 2; an odd one is left out.
    pub connections: usize,
    /// Messages a second, of all together; each client sends one.
    pub rate: f64,
}

/// What connections without sockets cost.
#[derive(Debug, Clone, Serialize)]
pub struct HoldReport {
    /// Connections held.
    pub connections: usize,
    /// Per second, from the first CONNECT to the last SUBACK.
    pub connects_per_second: f64,
    /// Growth of this process's anonymous memory by the broker's and the bridge's part of a connection.
    pub memory_bytes_per_connection: f64,
    /// The same for streams and clients, which were made before.
    pub stream_bytes_per_connection: f64,
    /// Growth from before the first CONNECT until all messages were exchanged.
    pub memory_after_messages_bytes_per_connection: f64,
    /// Messages delivered, of as many as there are connections.
    pub delivered: u64,
    /// Deliveries per second.
    pub delivered_per_second: f64,
    /// From the moment a message was meant to be sent to its delivery.
    pub delivery: Percentiles,
    /// Broken promises.
    pub violations: Violations,
}

impl Hold {
    /// `serve` takes the server's end of a stream. `flush` empties what the server buffers for its disk, so that this
    /// is not counted as memory of connections.
    ///
    /// # Errors
    /// A client is refused or disconnected, or the run was stopped.
    pub async fn run(
        &self,
        accounts: Vec<Account>,
        serve: impl Fn(DuplexStream),
        flush: impl AsyncFn() -> Result<()>,
        control: &Control,
    ) -> Result<HoldReport> {
        let count = self.connections & !1;
        ensure!(count >= 2 && accounts.len() >= count, "needs an account for each of at least two connections");
        ensure!(self.rate.is_finite() && self.rate > 0.0, "the rate is not above zero");
        let memory = async || {
            flush().await?;
            sleep(SETTLE).await;
            process::sample(std::process::id()).map(|sample| sample.anonymous_bytes as f64 / count as f64)
        };
        let bare = memory().await?;
        let (mut crowd, ends) = HeldClients::gather(self.rate, accounts, count, control);
        let with_streams = memory().await?;
        ends.into_iter().for_each(serve);
        let connects_per_second = crowd.connect().await?;
        let with_server = memory().await?;
        let delivered_per_second = crowd.exchange().await?;
        let after = memory().await?;
        let delivered = crowd.shared.delivered.get() as u64;
        let (delivery, violations) = crowd.end().await?;
        Ok(HoldReport {
            connections: count,
            connects_per_second,
            memory_bytes_per_connection: with_server - with_streams,
            stream_bytes_per_connection: with_streams - bare,
            memory_after_messages_bytes_per_connection: after - with_streams,
            delivered,
            delivered_per_second,
            delivery: delivery.percentiles(),
            violations,
        })
    }
}

/// All clients.
struct HeldClients<'a> {
    count: usize,
    shared: Arc<HoldShared>,
    stage: watch::Sender<HoldStage>,
    clients: JoinSet<Result<()>>,
    found: mpsc::UnboundedReceiver<HoldOutcome>,
    control: &'a Control,
}

impl<'a> HeldClients<'a> {
    /// Makes clients that wait, and the server's ends of their streams.
    fn gather(rate: f64, accounts: Vec<Account>, count: usize, control: &'a Control) -> (Self, Vec<DuplexStream>) {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let shared = Arc::new(HoldShared {
            target: LoadTarget { addr, tls: None, style: TopicStyle::Godwit, accounts, server_pid: None, threads: 1 },
            rate,
            expected: Expected::new(BODY_BYTES),
            clock: Clock::start(),
            connecting: Semaphore::new(PARALLEL),
            connected: EventCount::default(),
            delivered: EventCount::default(),
        });
        let (stage, told) = watch::channel(HoldStage::Wait);
        let (results, found) = mpsc::unbounded_channel();
        let (mut clients, mut ends) = (JoinSet::new(), Vec::with_capacity(count));
        for nth in 0..count {
            let (ours, servers) = duplex(STREAM_BYTES);
            ends.push(servers);
            clients.spawn(client(shared.clone(), nth, ours, told.clone(), results.clone()));
        }
        (Self { count, shared, stage, clients, found, control }, ends)
    }

    /// Connects all; returns how many did per second.
    async fn connect(&mut self) -> Result<f64> {
        let start = self.shared.clock.now();
        self.stage.send_replace(HoldStage::Connect);
        self.reach("connected", None, |shared| &shared.connected).await?;
        Ok(self.shared.connected.per_second(start))
    }

    /// Lets each send its message; returns how many were delivered per second.
    async fn exchange(&mut self) -> Result<f64> {
        let (from, at) = (Instant::now(), self.shared.clock.now());
        self.stage.send_replace(HoldStage::Exchange { from, at });
        let until = from + Duration::from_secs_f64(self.count as f64 / self.shared.rate) + DRAIN;
        self.reach("messages delivered", Some(until), |shared| &shared.delivered).await?;
        Ok(self.shared.delivered.per_second(at))
    }

    /// Waits until something has happened to all, or until the time is up; fails as soon as a client does.
    async fn reach(
        &mut self,
        what: &str,
        until: Option<Instant>,
        count: impl Fn(&HoldShared) -> &EventCount,
    ) -> Result<()> {
        let so_far = || count(&self.shared).get();
        while so_far() < self.count && until.is_none_or(|until| Instant::now() < until) {
            ensure!(!self.control.is_stopped(), "stopped at {} {what}", so_far());
            // No client ends by itself, unless it fails.
            if let Ok(Some(ended)) = timeout(Duration::from_secs(1), self.clients.join_next()).await {
                ended.context("a client has panicked")??;
            }
            self.control.say(&format!("hold: {} of {} {what}", so_far(), self.count));
        }
        Ok(())
    }

    /// Disconnects all; returns what they found.
    async fn end(mut self) -> Result<(Latency, Violations)> {
        self.stage.send_replace(HoldStage::End);
        while let Some(ended) = self.clients.join_next().await {
            ended.context("a client has panicked")??;
        }
        let (mut delivery, mut violations) = (Latency::new(), Violations::default());
        while let Some(found) = self.found.recv().await {
            violations.add(&found.violations);
            if found.latency_to > 0 {
                delivery.record(found.latency_from, found.latency_to);
            }
        }
        Ok((delivery, violations))
    }
}

impl HoldReport {
    pub(crate) fn is_clean(&self) -> bool {
        self.violations.total() == 0
    }
}

impl fmt::Display for HoldReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, memory_bytes_per_connection: memory, stream_bytes_per_connection: streams, .. } = self;
        writeln!(f, "hold: {connections} connections in one process, without sockets")?;
        writeln!(f, "  connected    {:.0} per second", self.connects_per_second)?;
        writeln!(f, "  memory       {memory:.0} bytes per connection; {streams:.0} more for stream and client")?;
        let after = self.memory_after_messages_bytes_per_connection;
        writeln!(f, "  afterwards   {after:.0} bytes per connection, each having sent and received")?;
        writeln!(f, "  delivered    {} at {:.0} msg/s", self.delivered, self.delivered_per_second)?;
        writeln!(f, "  to delivery  {}", self.delivery)?;
        write!(f, "  violations   {}", self.violations)
    }
}
