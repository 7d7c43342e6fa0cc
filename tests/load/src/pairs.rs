//! `pairs` and `paced`: every sender has one receiver.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::control::Control;
use crate::exchange::{self, Channel, DRAIN, Drive, Plan};
use crate::messages::MessagesReport;
use crate::target::LoadTarget;

/// Closed loop: how much goes through when everybody sends as soon as they may.
///
/// A sender has at most `window` publishes without a PUBACK. It is also never more than 4 * `window` messages ahead of
/// what its receiver got, so that a server that acknowledges before it delivers is not flooded.
#[derive(Debug, Clone)]
pub struct Pairs {
    /// Senders, and receivers.
    pub pairs: usize,
    /// Unacknowledged publishes of each sender, at least 1.
    pub window: usize,
    /// Size of a message, at least 24.
    pub body_bytes: usize,
    /// Before the measurement.
    pub warmup: Duration,
    /// Of the measurement.
    pub duration: Duration,
}

/// Open loop: how long a message takes at a given load. Latencies count from the moment a message was meant to be
/// sent, so that a server that stops for a while is charged for everything that had to wait meanwhile.
#[derive(Debug, Clone)]
pub struct Paced {
    /// Senders, and receivers.
    pub pairs: usize,
    /// Messages per second, of all senders together.
    pub rate: f64,
    /// Size of a message, at least 24.
    pub body_bytes: usize,
    /// Before the measurement.
    pub warmup: Duration,
    /// Of the measurement.
    pub duration: Duration,
}

impl Pairs {
    pub(crate) fn run(&self, target: &LoadTarget, control: &Control) -> Result<MessagesReport> {
        let Self { pairs, window, body_bytes, warmup, duration } = *self;
        ensure!(window > 0, "the window is zero");
        let title = format!("pairs: {pairs} pairs, window {window}");
        let channels = channels(target, pairs)?;
        let plan =
            Plan { title, channels, drive: Drive::Closed { window }, body_bytes, warmup, duration, drain: DRAIN };
        exchange::run(target, &plan, control)
    }
}

impl Paced {
    pub(crate) fn run(&self, target: &LoadTarget, control: &Control) -> Result<MessagesReport> {
        let Self { pairs, rate, body_bytes, warmup, duration } = *self;
        ensure!(rate.is_finite() && rate > 0.0, "the rate is not above zero");
        let title = format!("paced: {pairs} pairs, {rate} msg/s");
        let channels = channels(target, pairs)?;
        let plan = Plan {
            title,
            channels,
            drive: Drive::Open { per_second: rate },
            body_bytes,
            warmup,
            duration,
            drain: DRAIN,
        };
        exchange::run(target, &plan, control)
    }
}

/// Accounts 2n and 2n + 1 are a pair.
fn channels(target: &LoadTarget, pairs: usize) -> Result<Vec<Channel>> {
    ensure!(pairs > 0, "needs at least one pair");
    let channel = |n: usize| {
        let (sender, receiver) = (2 * n, 2 * n + 1);
        Channel { sender, topic: target.topic(receiver), receivers: vec![(receiver, target.filter(receiver))] }
    };
    Ok((0..pairs).map(channel).collect())
}
