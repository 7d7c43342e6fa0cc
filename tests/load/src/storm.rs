//! `storm`: what those who are connected notice when very many others come back at once.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::control::Control;
use crate::handshake::{Hello, connect_all, source};
use crate::latency::{Latency, Percentiles};
use crate::messages::MessagesReport;
use crate::packet::Packet;
use crate::pairs::Paced;
use crate::target::LoadTarget;
use crate::wire::{Clock, Outbox, PacketHandler, Wire};

/// Clients lose their connection, in turn and without a word, and resume their session at once: for as long as it takes
/// to measure the latency of others' messages, which is measured without them first.
///
/// Who is refused, or has not been answered when its turn comes again, tries again in its next turn.
#[derive(Debug, Clone)]
pub struct Storm {
    /// Those who have stayed.
    pub paced: Paced,
    /// Those who come back.
    pub clients: usize,
    /// How many of them in a second; what the server does not manage is not made up for.
    pub rate: f64,
}

/// What a storm did to those who have stayed.
#[derive(Debug, Clone, Serialize)]
pub struct StormReport {
    /// Before it.
    pub calm: MessagesReport,
    /// During it.
    pub storm: MessagesReport,
    /// Clients that were welcomed in a second.
    pub reconnects_per_second: f64,
    /// From opening the connection to CONNACK.
    pub login: Percentiles,
    /// Told to come back later, or closed without an answer.
    pub refused: u64,
    /// Turns of clients that were still waiting for their answer.
    pub late: u64,
    /// How many times longer half of the messages took, and all but one in a hundred.
    pub slower: [f64; 2],
}

impl Storm {
    pub(crate) fn run(&self, target: &LoadTarget, control: &Control) -> Result<StormReport> {
        ensure!(self.clients > 0, "needs at least one client that comes back");
        ensure!(self.rate.is_finite() && self.rate > 0.0, "the rate is not above zero");
        let calm = self.paced.run(target, control).context("before the storm")?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let (ready, began) = mpsc::channel();
            let storm = scope.spawn(|| self.blow(target, control, &over, ready));
            let measured = match began.recv() {
                Ok(()) => self.paced.run(target, control).context("during the storm"),
                Err(_) => Err(anyhow::anyhow!("the storm did not begin")),
            };
            over.store(true, Relaxed);
            let returned = match storm.join() {
                Ok(returned) => returned?,
                Err(_) => bail!("a thread of the load generator has panicked"),
            };
            Ok(returned.report(calm, measured?))
        })
    }

    /// Says when it begins, and lasts until it is over.
    fn blow(&self, target: &LoadTarget, control: &Control, over: &AtomicBool, began: Sender<()>) -> Result<Returned> {
        let first = 2 * self.paced.pairs;
        let hello = |nth: usize| Hello {
            filter: Some(target.filter(first + nth)),
            clean_session: false,
            ..Hello::sender(&target.accounts[first + nth])
        };
        let mut hellos: Vec<_> = (0..self.clients).map(hello).collect();
        let mut wire = Wire::new(Clock::start(), target.tls.clone())?;
        connect_all(&mut wire, target.addr, &hellos, first, control, || ())?;
        // Their sessions know what they have subscribed to.
        hellos.iter_mut().for_each(|hello| hello.filter = None);
        let start = wire.clock.now();
        let mut returned = Returned {
            asked: vec![None; self.clients],
            welcome: 0,
            refused: 0,
            late: 0,
            login: Latency::new(),
            seconds: 0.0,
        };
        _ = began.send(());
        let mut turns = 0_u64;
        while !over.load(Relaxed) && !control.is_stopped() {
            let now = wire.clock.now();
            let due = ((now - start) as f64 / 1e9 * self.rate) as u64;
            // A turn that comes too late because this thread did is not taken twice.
            for turn in turns.max(due.saturating_sub(self.clients as u64))..due {
                let nth = (turn % self.clients as u64) as usize;
                if returned.asked[nth].is_some_and(|asked| now - asked < PATIENCE.as_nanos() as u64) {
                    returned.late += 1;
                    continue;
                }
                returned.asked[nth] = Some(now);
                hellos[nth].open_again(&mut wire, nth, target.addr, source(target.addr, first + nth))?;
            }
            turns = due;
            wire.wake_at(start + ((due + 1) as f64 / self.rate * 1e9) as u64)?;
            wire.turn(Duration::from_millis(100), &mut returned)?;
        }
        returned.seconds = (wire.clock.now() - start) as f64 / 1e9;
        Ok(returned)
    }
}

/// An answer that takes longer will not come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Those who came back, and how.
struct Returned {
    /// Since when a client waits for its answer.
    asked: Vec<Option<u64>>,
    welcome: u64,
    refused: u64,
    late: u64,
    login: Latency,
    seconds: f64,
}

impl Returned {
    fn report(self, calm: MessagesReport, storm: MessagesReport) -> StormReport {
        let slower = |of: fn(&Percentiles) -> f64| of(&storm.delivery) / of(&calm.delivery);
        StormReport {
            reconnects_per_second: self.welcome as f64 / self.seconds,
            login: self.login.percentiles(),
            refused: self.refused,
            late: self.late,
            slower: [slower(|it| it.p50_us), slower(|it| it.p99_us)],
            calm,
            storm,
        }
    }
}

impl PacketHandler for Returned {
    fn packet(&mut self, out: &mut Outbox, connection: usize, now: u64, packet: Packet<'_>) -> Result<()> {
        match packet {
            Packet::Connack { code: 0, .. } => {
                if let Some(asked) = self.asked[connection].take() {
                    self.login.record(asked, now);
                    self.welcome += 1;
                }
            }
            // Server unavailable: later.
            Packet::Connack { code: 3, .. } => {
                self.asked[connection] = None;
                self.refused += 1;
            }
            Packet::Connack { code, .. } => bail!("refused with code {code}"),
            Packet::Publish(publish) => out.acknowledge(connection, &publish),
            other => bail!("unexpected: {other:?}"),
        }
        Ok(())
    }

    fn closed(&mut self, connection: usize, _why: &str) -> Result<()> {
        if self.asked[connection].take().is_some() {
            self.refused += 1;
        }
        Ok(())
    }
}

impl StormReport {
    pub(crate) fn is_clean(&self) -> bool {
        self.calm.is_clean() && self.storm.is_clean()
    }
}

impl fmt::Display for StormReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calm, storm, reconnects_per_second, login, refused, late, slower } = self;
        writeln!(f, "storm: before\n{calm}")?;
        writeln!(f, "storm: {reconnects_per_second:.0} reconnects per second, {refused} refused, {late} late")?;
        writeln!(f, "  to CONNACK   {login}\n{storm}")?;
        write!(f, "storm: messages took {:.2} times as long (p50), {:.2} times (p99)", slower[0], slower[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty::{Fault, start};
    use crate::target::{Account, TopicStyle};

    #[test]
    fn who_comes_back_is_counted_and_so_is_what_others_notice() {
        let target = LoadTarget {
            addr: start(Fault::Nothing),
            tls: None,
            style: TopicStyle::Plain,
            accounts: Account::anonymous(24),
            server_pid: None,
            threads: 1,
        };
        let (warmup, duration) = (Duration::ZERO, Duration::from_millis(300));
        let paced = Paced { pairs: 2, rate: 200.0, body_bytes: 24, warmup, duration };
        let report = Storm { paced, clients: 20, rate: 500.0 }.run(&target, &Control::new(|_| {})).unwrap();
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.refused, 0);
        assert!(report.login.count > 20 && report.storm.delivered > 0, "{report}");
    }
}
