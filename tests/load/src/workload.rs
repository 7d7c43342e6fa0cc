//! All workloads under one roof.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::connections::{Connections, ConnectionsReport};
use crate::control::Control;
use crate::disk::DiskReport;
use crate::fanout::Fanout;
use crate::fill::FillReport;
use crate::hold::HoldReport;
use crate::messages::MessagesReport;
use crate::pairs::{Paced, Pairs};
use crate::process;
use crate::replay::{Replay, ReplayReport};
use crate::storm::{Storm, StormReport};
use crate::target::LoadTarget;

/// Open files that are not clients': standard streams, epoll, timers.
const OWN_FILES: u64 = 64;

/// What to measure of a server.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "see the types")]
pub enum Workload {
    Pairs(Pairs),
    Paced(Paced),
    Connections(Connections),
    Replay(Replay),
    Fanout(Fanout),
    Storm(Storm),
}

/// What was measured. Serialised with the workload's name in `workload`; displayed as a small table.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "workload", rename_all = "lowercase")]
#[allow(missing_docs, reason = "see the types")]
pub enum Report {
    Pairs(MessagesReport),
    Paced(MessagesReport),
    Connections(ConnectionsReport),
    Replay(ReplayReport),
    Fanout(MessagesReport),
    Storm(Box<StormReport>),
    Disk(DiskReport),
    Fill(FillReport),
    Hold(HoldReport),
}

impl Workload {
    /// How many accounts the target must have.
    pub fn accounts_needed(&self) -> usize {
        match self {
            Self::Pairs(Pairs { pairs, .. }) | Self::Paced(Paced { pairs, .. }) => 2 * pairs,
            Self::Connections(Connections { count, .. }) => *count,
            Self::Replay(Replay { senders, .. }) => 1 + senders,
            Self::Fanout(Fanout { members, .. }) => *members,
            Self::Storm(Storm { paced, clients, .. }) => 2 * paced.pairs + clients,
        }
    }

    /// Lets this process open as many files as this takes; [`Workload::run`] does it too.
    ///
    /// # Errors
    /// The limit is lower and cannot be raised: better known before accounts are made.
    pub fn allow_open_files(&self) -> Result<()> {
        process::allow_open_files(self.accounts_needed() as u64 + OWN_FILES)
    }

    /// Runs to the end, on threads of its own, and blocks meanwhile.
    ///
    /// # Errors
    /// The server refuses, goes away or does not answer; the parameters make no sense; the run was stopped before it
    /// had measured anything.
    pub fn run(&self, target: &LoadTarget, control: &Control) -> Result<Report> {
        self.allow_open_files()?;
        target.check(self.accounts_needed())?;
        Ok(match self {
            Self::Pairs(pairs) => Report::Pairs(pairs.run(target, control)?),
            Self::Paced(paced) => Report::Paced(paced.run(target, control)?),
            Self::Connections(connections) => Report::Connections(connections.run(target, control)?),
            Self::Replay(replay) => Report::Replay(replay.run(target, control)?),
            Self::Fanout(fanout) => Report::Fanout(fanout.run(target, control)?),
            Self::Storm(storm) => Report::Storm(Box::new(storm.run(target, control)?)),
        })
    }
}

impl Report {
    /// Whether everything promised was kept: no violations, nothing unacknowledged, no connection lost.
    pub fn is_clean(&self) -> bool {
        match self {
            Self::Pairs(report) | Self::Paced(report) | Self::Fanout(report) => report.is_clean(),
            Self::Connections(report) => report.is_clean(),
            Self::Storm(report) => report.is_clean(),
            Self::Replay(report) => report.violations.total() == 0,
            Self::Hold(report) => report.is_clean(),
            Self::Disk(_) | Self::Fill(_) => true,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pairs(report) | Self::Paced(report) | Self::Fanout(report) => report.fmt(f),
            Self::Connections(report) => report.fmt(f),
            Self::Storm(report) => report.fmt(f),
            Self::Replay(report) => report.fmt(f),
            Self::Disk(report) => report.fmt(f),
            Self::Fill(report) => report.fmt(f),
            Self::Hold(report) => report.fmt(f),
        }
    }
}
