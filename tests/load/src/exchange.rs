//! The heart of `pairs`, `paced` and `fanout`: senders that publish, receivers that check, for a set time.
//!
//! A channel is a sender and its receivers. All of a channel lives on one thread, so that nothing is shared while it
//! runs. Life of a run: every thread connects its clients; when all are ready one [`Times`] is published to all; they
//! warm up, are measured, stop publishing, and wait for what is under way, within limits.
//!
//! What counts: deliveries that arrive while the measurement lasts make the throughput; latencies are of the messages
//! stamped within it, even if they arrive later.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::control::Control;
use crate::exchange::worker::{Tally, work};
use crate::messages::MessagesReport;
use crate::process::{self, Sample, ServerUse};
use crate::receiver::Expected;
use crate::sender::check_body;
use crate::target::LoadTarget;
use crate::wire::Clock;

#[cfg(test)]
mod tests;
mod worker;

/// What is neither acknowledged nor delivered this long after the last publish never will be.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// What is to be done.
pub(crate) struct Plan {
    pub(crate) title: String,
    pub(crate) channels: Vec<Channel>,
    pub(crate) drive: Drive,
    pub(crate) body_bytes: usize,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    /// How long to wait for what is under way: [`DRAIN`].
    pub(crate) drain: Duration,
}

/// Accounts are given by index. Receivers come with their filters.
pub(crate) struct Channel {
    pub(crate) sender: usize,
    pub(crate) topic: String,
    pub(crate) receivers: Vec<(usize, String)>,
}

/// When the next message is published.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drive {
    /// As soon as fewer than `window` of the sender's are unacknowledged and fewer than 4 * `window` undelivered.
    Closed { window: usize },
    /// At its time, `per_second` in all, spread evenly over time and channels.
    Open { per_second: f64 },
}

/// Of a run, by its clock.
#[derive(Debug, Clone, Copy)]
struct Times {
    begin: u64,
    from: u64,
    until: u64,
}

/// What the threads have in common.
struct ExchangeShared<'a> {
    target: &'a LoadTarget,
    plan: &'a Plan,
    control: &'a Control,
    expected: Expected,
    clock: Clock,
    times: OnceLock<Times>,
    abort: AtomicBool,
    connected: AtomicU64,
    delivered: AtomicU64,
}

/// From a thread to the one that started it.
enum ExchangeNote {
    Ready,
    Ended(Result<Box<Tally>>),
}

/// Runs a plan.
///
/// # Errors
/// A client is refused or loses its connection, nothing is delivered at all, or the run is stopped before it measures.
pub(crate) fn run(target: &LoadTarget, plan: &Plan, control: &Control) -> Result<MessagesReport> {
    check_body(plan.body_bytes)?;
    ensure!(!plan.duration.is_zero(), "the duration is zero");
    let shared = ExchangeShared {
        target,
        plan,
        control,
        expected: Expected::new(plan.body_bytes),
        clock: Clock::start(),
        times: OnceLock::new(),
        abort: AtomicBool::new(false),
        connected: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
    };
    let threads = target.threads.min(plan.channels.len());
    thread::scope(|scope| {
        let (notes, inbox) = mpsc::channel();
        for thread in 0..threads {
            let (shared, notes) = (&shared, notes.clone());
            scope.spawn(move || run_thread(shared, thread, threads, &notes));
        }
        drop(notes);
        let result = conduct(&shared, threads, &inbox);
        shared.abort.store(true, Relaxed);
        result
    })
}

fn run_thread(shared: &ExchangeShared<'_>, thread: usize, threads: usize, notes: &Sender<ExchangeNote>) {
    let ready = || {
        // Nobody listens any more when another thread has failed.
        let _ = notes.send(ExchangeNote::Ready);
    };
    let result = work(shared, thread, threads, ready).map(Box::new);
    let _ = notes.send(ExchangeNote::Ended(result));
}

/// Leads the threads through the run and puts together what they found.
fn conduct(shared: &ExchangeShared<'_>, threads: usize, notes: &Receiver<ExchangeNote>) -> Result<MessagesReport> {
    let ExchangeShared { plan, clock, .. } = shared;
    let mut stage = ExchangeStage { shared, notes, ready: 0, tallies: Vec::new(), last: (clock.now(), 0) };
    while stage.ready < threads {
        stage.listen(clock.now() + 1_000_000_000)?;
        let connected = shared.connected.load(Relaxed);
        shared.control.say(&format!("{}: {connected} clients connected", plan.title));
    }
    let begin = clock.now() + 20_000_000;
    let from = begin + plan.warmup.as_nanos() as u64;
    let until = from + plan.duration.as_nanos() as u64;
    shared.times.get_or_init(|| Times { begin, from, until });

    stage.pass(from, "warming up")?;
    ensure!(!shared.control.is_stopped(), "stopped before anything was measured");
    let before = CpuUsage::now(shared)?;
    stage.pass(until, "measuring")?;
    let after = CpuUsage::now(shared)?;
    shared.control.say(&format!("{}: waiting for what is under way", plan.title));
    let end = clock.now() + plan.drain.as_nanos() as u64 + 5_000_000_000;
    while stage.tallies.len() < threads {
        ensure!(clock.now() < end, "a thread of the load generator does not end");
        stage.listen(end)?;
    }
    report(plan, &before, &after, &stage.tallies)
}

/// Processor time and more at one moment.
struct CpuUsage {
    at: u64,
    own_cpu: Duration,
    server: Option<Sample>,
}

impl CpuUsage {
    fn now(shared: &ExchangeShared<'_>) -> Result<Self> {
        let server = shared.target.sample().context("the server has ended")?;
        Ok(Self { at: shared.clock.now(), own_cpu: process::own_cpu(), server })
    }
}

struct ExchangeStage<'a> {
    shared: &'a ExchangeShared<'a>,
    notes: &'a Receiver<ExchangeNote>,
    ready: usize,
    tallies: Vec<Tally>,
    /// When progress was last told, and the deliveries at that time.
    last: (u64, u64),
}

impl ExchangeStage<'_> {
    /// Waits for a note, at most until `end`.
    fn listen(&mut self, end: u64) -> Result<()> {
        let wait = Duration::from_nanos(end.saturating_sub(self.shared.clock.now()));
        match self.notes.recv_timeout(wait) {
            Ok(ExchangeNote::Ready) => self.ready += 1,
            Ok(ExchangeNote::Ended(tally)) => self.tallies.push(*tally?),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => anyhow::bail!("a thread of the load generator has panicked"),
        }
        Ok(())
    }

    /// Lets time pass until `end` or until the run is stopped, and tells how it goes.
    fn pass(&mut self, end: u64, what: &str) -> Result<()> {
        let ExchangeShared { plan, clock, control, delivered, .. } = self.shared;
        self.last = (clock.now(), delivered.load(Relaxed));
        loop {
            let now = clock.now();
            if now >= end || control.is_stopped() {
                return Ok(());
            }
            if now >= self.last.0 + 1_000_000_000 {
                let delivered = delivered.load(Relaxed);
                let rate = (delivered - self.last.1) as f64 * 1e9 / (now - self.last.0) as f64;
                let left = (end - now) as f64 / 1e9;
                control.say(&format!("{}: {what}, {left:.0} s left, {rate:.0} msg/s", plan.title));
                self.last = (now, delivered);
            }
            self.listen(end.min(now + 100_000_000))?;
        }
    }
}

fn report(plan: &Plan, before: &CpuUsage, after: &CpuUsage, tallies: &[Tally]) -> Result<MessagesReport> {
    let mut all = Tally::default();
    tallies.iter().for_each(|tally| all.add(tally));
    ensure!(all.delivered > 0, "nothing was delivered within {:?}", plan.duration);
    let elapsed = Duration::from_nanos(after.at - before.at);
    let own_cpu = after.own_cpu.saturating_sub(before.own_cpu);
    let server = before.server.zip(after.server);
    Ok(MessagesReport {
        title: plan.title.clone(),
        body_bytes: plan.body_bytes,
        seconds: elapsed.as_secs_f64(),
        published: all.published,
        delivered: all.delivered,
        delivered_per_second: all.delivered as f64 / elapsed.as_secs_f64(),
        acknowledged: all.acknowledged.percentiles(),
        delivery: all.delivery.percentiles(),
        lateness: matches!(plan.drive, Drive::Open { .. }).then(|| all.lateness.percentiles()),
        server: server.map(|(before, after)| ServerUse::between(&before, &after, elapsed, all.delivered)),
        generator_cpu_us_per_message: own_cpu.as_secs_f64() * 1e6 / all.delivered as f64,
        unacknowledged: all.unacknowledged,
        unsent: all.unsent,
        violations: all.violations,
    })
}
