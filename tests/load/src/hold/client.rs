//! One client of `hold`, and what it shares with the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::DuplexStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::BODY_BYTES;
use crate::packet::Packet;
use crate::receiver::Expected;
use crate::sender::LoadSender;
use crate::stream::StreamClient;
use crate::target::LoadTarget;
use crate::violation::{DeliveryTracker, Violations};
use crate::wire::Clock;

/// Longest packet.
const PACKET_BYTES: usize = 512;

/// What clients have in common.
pub(super) struct HoldShared {
    pub(super) target: LoadTarget,
    pub(super) rate: f64,
    pub(super) expected: Expected,
    pub(super) clock: Clock,
    /// Clients that may be between CONNECT and SUBACK.
    pub(super) connecting: Semaphore,
    pub(super) connected: EventCount,
    pub(super) delivered: EventCount,
}

/// How often something has happened, and when last.
#[derive(Default)]
pub(super) struct EventCount {
    count: AtomicUsize,
    last: AtomicU64,
}

impl EventCount {
    fn add(&self, now: u64) {
        self.last.fetch_max(now, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    pub(super) fn get(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Per second, from `start` to the last.
    pub(super) fn per_second(&self, start: u64) -> f64 {
        self.get() as f64 * 1e9 / self.last.load(Relaxed).saturating_sub(start).max(1) as f64
    }
}

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum HoldStage {
    Wait,
    Connect,
    Exchange { from: Instant, at: u64 },
    End,
}

/// What a client found.
pub(super) struct HoldOutcome {
    pub(super) latency_from: u64,
    pub(super) latency_to: u64,
    pub(super) violations: Violations,
}

/// The `nth` client: connects, sends one message to its neighbour when its turn comes, gets one from it.
pub(super) async fn client(
    shared: Arc<HoldShared>,
    nth: usize,
    stream: DuplexStream,
    mut stage: watch::Receiver<HoldStage>,
    results: mpsc::UnboundedSender<HoldOutcome>,
) -> Result<()> {
    let HoldShared { target, expected, clock, .. } = &*shared;
    let mut client = StreamClient::new(stream, PACKET_BYTES);
    stage.wait_for(|stage| *stage != HoldStage::Wait).await?;
    {
        let _permit = shared.connecting.acquire().await?;
        client.connect(&target.accounts[nth], "inbox/#").await?;
        shared.connected.add(clock.now());
    }
    let mut sender = None;
    let mut tracker = DeliveryTracker::default();
    let mut found = HoldOutcome { latency_from: 0, latency_to: 0, violations: Violations::default() };
    let offset = Duration::from_secs_f64(nth as f64 / shared.rate);
    let mut turn = None;
    loop {
        let now = *stage.borrow_and_update();
        match (now, turn) {
            (HoldStage::End, _) => break,
            (HoldStage::Exchange { from, at }, None) => turn = Some((from + offset, at + offset.as_nanos() as u64)),
            _ => {}
        }
        let due = turn.filter(|_| sender.is_none());
        tokio::select! {
            arrived = client.wait() => arrived.with_context(|| target.accounts[nth].user.clone())?,
            _ = stage.changed() => continue,
            () = async { sleep_until(due.map_or_else(Instant::now, |(due, _)| due)).await }, if due.is_some() => {
                let topic = target.topic(nth ^ 1);
                let sender = sender.insert(LoadSender::new(expected.run, nth as u32, &topic, BODY_BYTES));
                sender.publish(&mut client.out, due.map_or(0, |(_, at)| at));
            }
        }
        client.take(|out, packet| {
            match (packet, &mut sender) {
                (Packet::Puback(identifier), Some(sender)) => drop(sender.acknowledge(identifier)?),
                (Packet::Publish(publish), _) => {
                    let Some(stamp) = expected.take(out, &publish, &mut found.violations) else { return Ok(()) };
                    if stamp.sender as usize != nth ^ 1 {
                        found.violations.misrouted += 1;
                        return Ok(());
                    }
                    tracker.see(stamp.sequence, &mut found.violations);
                    (found.latency_from, found.latency_to) = (stamp.at, clock.now());
                    shared.delivered.add(found.latency_to);
                }
                (other, _) => anyhow::bail!("unexpected: {other:?}"),
            }
            Ok(())
        })?;
        client.flush().await?;
    }
    found.violations.lost = 1 - tracker.next().min(1);
    let _ = results.send(found);
    Ok(())
}
