//! The server that is measured, and the clients it knows.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use crate::process::{self, Sample};
use crate::socket::ClientTls;

/// What a run is directed at.
#[derive(Debug, Clone)]
pub struct LoadTarget {
    /// MQTT over TCP, with TLS if there is `tls`.
    pub addr: SocketAddr,
    /// What clients trust.
    pub tls: Option<ClientTls>,
    /// How topics are named.
    pub style: TopicStyle,
    /// At least as many as [`crate::Workload::accounts_needed`]; each is one client.
    pub accounts: Vec<Account>,
    /// The server's process, if it runs on this machine: for its processor time, memory and writes.
    pub server_pid: Option<u32>,
    /// Threads of the load generator, at least 1. One is enough for about 200,000 messages a second.
    pub threads: usize,
}

/// How messages are addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicStyle {
    /// Published to `to/<user>` or `send/<conversation>`, received from `inbox/#`.
    Godwit,
    /// Any MQTT broker: published to `bench/<n>`, which its receiver subscribes to.
    Plain,
}

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User name. Empty: none is sent, and no password either.
    pub user: String,
    /// Client id.
    pub device: String,
    /// The password of the device.
    pub password: String,
}

impl Account {
    /// `count` clients without user name and password, for a broker that lets everybody in.
    pub fn anonymous(count: usize) -> Vec<Self> {
        let account = |n| Self { user: String::new(), device: format!("bench-{n}"), password: String::new() };
        (0..count).map(account).collect()
    }
}

impl LoadTarget {
    pub(crate) fn check(&self, accounts_needed: usize) -> Result<()> {
        let accounts = self.accounts.len();
        ensure!(accounts >= accounts_needed, "needs {accounts_needed} accounts and was given {accounts}");
        ensure!(self.threads > 0, "needs at least one thread");
        self.sample()?;
        let files = self.server_pid.and_then(process::open_files_max).unwrap_or(u64::MAX);
        ensure!(
            files > accounts_needed as u64,
            "the server may open {files} files (see `ulimit -Hn`), too few for {accounts_needed} connections"
        );
        Ok(())
    }

    /// Where a sender publishes so that `receiver` (an index of an account) gets it.
    pub(crate) fn topic(&self, receiver: usize) -> String {
        match self.style {
            TopicStyle::Godwit => format!("to/{}", self.accounts[receiver].user),
            TopicStyle::Plain => format!("bench/{receiver}"),
        }
    }

    /// What `receiver` subscribes to.
    pub(crate) fn filter(&self, receiver: usize) -> String {
        match self.style {
            TopicStyle::Godwit => "inbox/#".into(),
            TopicStyle::Plain => format!("bench/{receiver}"),
        }
    }

    pub(crate) fn sample(&self) -> Result<Option<Sample>> {
        self.server_pid.map(process::sample).transpose()
    }
}
