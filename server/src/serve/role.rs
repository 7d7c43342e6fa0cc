//! The three ways in which the program serves.

use crate::settings::ServerSettings;

/// Which parts run in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessRole {
    /// Both halves.
    Serve,
    /// The doors.
    Broker,
    /// The memory.
    Bridge,
}

impl ProcessRole {
    /// Of the processes that run with these settings.
    pub(crate) fn of(settings: &ServerSettings) -> &'static [Self] {
        if settings.cluster.is_some() { &[Self::Broker, Self::Bridge] } else { &[Self::Serve] }
    }

    /// Name of the file that tells where this process listens.
    pub(crate) fn listeners_file(self) -> &'static str {
        match self {
            Self::Serve => "listeners.json",
            Self::Broker => "listeners.broker.json",
            Self::Bridge => "listeners.bridge.json",
        }
    }
}
