//! All workloads under one roof.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::control::Control;
use crate::messages::MessagesReport;
use crate::pairs::{Paced, Pairs};
use crate::target::Target;

/// What to measure.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "see the types")]
pub enum Workload {
    Pairs(Pairs),
    Paced(Paced),
}

/// What was measured. Serialised with the workload's name in `workload`; displayed as a small table.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "workload", rename_all = "lowercase")]
#[allow(missing_docs, reason = "see the types")]
pub enum Report {
    Pairs(MessagesReport),
    Paced(MessagesReport),
}

impl Workload {
    /// How many accounts the target must have.
    pub fn accounts_needed(&self) -> usize {
        match self {
            Self::Pairs(Pairs { pairs, .. }) | Self::Paced(Paced { pairs, .. }) => 2 * pairs,
        }
    }

    /// Runs to the end, on threads of its own, and blocks meanwhile.
    ///
    /// # Errors
    /// The server refuses, goes away or does not answer; the parameters make no sense; the run was stopped before it
    /// had measured anything.
    pub fn run(&self, target: &Target, control: &Control) -> Result<Report> {
        target.check(self.accounts_needed())?;
        Ok(match self {
            Self::Pairs(pairs) => Report::Pairs(pairs.run(target, control)?),
            Self::Paced(paced) => Report::Paced(paced.run(target, control)?),
        })
    }
}

impl Report {
    /// Whether all that was promised was kept: no violations, nothing left unacknowledged.
    pub fn is_clean(&self) -> bool {
        match self {
            Self::Pairs(report) | Self::Paced(report) => {
                report.violations.total() + report.unacknowledged + report.unsent == 0
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pairs(report) | Self::Paced(report) => report.fmt(f),
        }
    }
}
