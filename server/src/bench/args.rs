//! Arguments of `godwit-bench`.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use godwit_load::{ClientTls, Connections, Disk, Fanout, Hold, Paced, Pairs, Replay, Storm, Workload};

use crate::cli::SettingsArgs;

const EXAMPLES: &str = "\
Examples:
  godwit bench pairs --pairs 50 --window 8
  godwit bench paced --rate 5000 --duration-s 30
  godwit bench connections --count 10000
  godwit bench pairs --target mqtt://127.0.0.1:1884 --topic-style plain --pid $(pidof mosquitto)

Accounts are made on the running server that --data names, and removed in the end.";

/// Measure a running server, or any MQTT broker
#[derive(Debug, Parser)]
#[command(name = "godwit-bench", bin_name = "godwit bench", version, disable_help_subcommand = true, after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    workload: WorkloadArgs,
    #[command(flatten)]
    target: TargetArgs,
}

/// The server that is measured.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Where it listens; without it the server that runs in the data folder
    #[arg(long, global = true, value_name = "mqtt://HOST:PORT")]
    pub(super) target: Option<String>,
    /// How topics are named: `plain` for any other broker
    #[arg(long, global = true, value_enum, default_value_t = Style::Godwit)]
    pub(super) topic_style: Style,
    /// Connect with TLS, trusting the certificates in this PEM file
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) cafile: Option<std::path::PathBuf>,
    /// Its process, for its processor time, memory and writes; known if it runs in the data folder
    #[arg(long, global = true)]
    pub(super) pid: Option<u32>,
    /// Threads of the load generator
    #[arg(long, global = true, default_value_t = 1)]
    pub(super) threads: usize,
    /// Leave the accounts on the server
    #[arg(long, global = true)]
    pub(super) keep_accounts: bool,
    /// Print only the JSON report, not the table
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Settings file of the server (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Data folder of the server
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<std::path::PathBuf>,
}

impl TargetArgs {
    /// What clients trust, if they use TLS.
    pub(super) fn tls(&self) -> anyhow::Result<Option<ClientTls>> {
        self.cafile.as_deref().map(ClientTls::trusting).transpose()
    }

    /// Where the server's settings and data are.
    pub(super) fn place(&self) -> SettingsArgs {
        SettingsArgs { config: self.config.clone(), data: self.data.clone() }
    }
}

/// How messages are addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Style {
    /// Godwit's topics
    Godwit,
    /// Topics like bench/7
    Plain,
}

#[derive(Debug, Subcommand)]
enum WorkloadArgs {
    /// Closed loop: how much goes through when everybody sends as soon as they may
    Pairs {
        /// Senders, each with a receiver
        #[arg(long, default_value_t = 50)]
        pairs: usize,
        /// Unacknowledged publishes of a sender
        #[arg(long, default_value_t = 8)]
        window: usize,
        #[command(flatten)]
        messages: Messages,
    },
    /// Open loop: how long messages take at a given rate
    Paced {
        /// Senders, each with a receiver
        #[arg(long, default_value_t = 50)]
        pairs: usize,
        /// Messages per second, of all senders together
        #[arg(long, default_value_t = 5_000.0)]
        rate: f64,
        #[command(flatten)]
        messages: Messages,
    },
    /// How fast clients connect, and the memory an idle one costs
    Connections {
        /// Clients
        #[arg(long, default_value_t = 10_000)]
        count: usize,
        /// How long they stay
        #[arg(long, default_value_t = 5)]
        hold_s: u64,
        /// Each subscribes to its inbox, as apps do; the connect rate then includes it
        #[arg(long)]
        subscribe: bool,
    },
    /// How fast one big inbox reaches its device
    Replay {
        /// Messages in the inbox
        #[arg(long, default_value_t = 100_000)]
        messages: u64,
        /// Messages that go through the inbox first, and are gone when it is measured
        #[arg(long, default_value_t = 0)]
        emptied: u64,
        /// Clients that fill it
        #[arg(long, default_value_t = 8)]
        senders: usize,
        /// Size of a message in bytes
        #[arg(long, default_value_t = 100)]
        body_bytes: usize,
    },
    /// How long one synced write takes in the data folder: what latencies are a multiple of. Needs no server
    Disk {
        /// Writes
        #[arg(long, default_value_t = 500)]
        writes: usize,
        /// Size of a write in bytes
        #[arg(long, default_value_t = 400)]
        bytes: usize,
    },
    /// Fill the data folder of a server that does not run: users in groups, and messages that wait for them
    Fill {
        /// Users, with a device each
        #[arg(long, default_value_t = 1_000_000)]
        users: usize,
        /// Inbox entries
        #[arg(long, default_value_t = 10_000_000)]
        entries: u64,
    },
    /// More connections than a process may open files: a server within this process, reached without sockets
    Hold {
        /// Clients
        #[arg(long, default_value_t = 100_000)]
        connections: usize,
        /// Messages per second, once all are connected; each sends one
        #[arg(long, default_value_t = 5_000.0)]
        rate: f64,
    },
    /// What messages of those who are connected notice while others come back at a rate
    Storm {
        /// Clients that lose their connection and resume their session, in turn
        #[arg(long, default_value_t = 2_000)]
        clients: usize,
        /// How many of them in a second
        #[arg(long, default_value_t = 20_000.0)]
        rate: f64,
        /// Senders among those who stay, each with a receiver
        #[arg(long, default_value_t = 50)]
        pairs: usize,
        /// Their messages per second, of all together
        #[arg(long, default_value_t = 2_000.0)]
        messages_rate: f64,
        #[command(flatten)]
        messages: Messages,
    },
    /// One sender to a group
    Fanout {
        /// Members, the sender among them
        #[arg(long, default_value_t = 100)]
        members: usize,
        /// Unacknowledged publishes of the sender
        #[arg(long, default_value_t = 8)]
        window: usize,
        #[command(flatten)]
        messages: Messages,
    },
}

#[derive(Debug, Args)]
struct Messages {
    /// Size of a message in bytes
    #[arg(long, default_value_t = 100)]
    body_bytes: usize,
    /// Before the measurement
    #[arg(long, default_value_t = 2)]
    warmup_s: u64,
    /// Of the measurement
    #[arg(long, default_value_t = 10)]
    duration_s: u64,
}

/// What is measured.
pub(super) enum Subject {
    Server(Workload),
    Disk(Disk),
    Within(InProcessWorkload),
}

/// What has its server in this process.
pub(super) enum InProcessWorkload {
    Fill { users: usize, entries: u64 },
    Hold(Hold),
}

impl BenchArgs {
    /// What to measure; where.
    pub(super) fn split(self) -> (Subject, TargetArgs) {
        let seconds = Duration::from_secs;
        let workload = match self.workload {
            WorkloadArgs::Pairs { pairs, window, messages: Messages { body_bytes, warmup_s, duration_s } } => {
                let (warmup, duration) = (seconds(warmup_s), seconds(duration_s));
                Workload::Pairs(Pairs { pairs, window, body_bytes, warmup, duration })
            }
            WorkloadArgs::Paced { pairs, rate, messages: Messages { body_bytes, warmup_s, duration_s } } => {
                let (warmup, duration) = (seconds(warmup_s), seconds(duration_s));
                Workload::Paced(Paced { pairs, rate, body_bytes, warmup, duration })
            }
            WorkloadArgs::Connections { count, hold_s, subscribe } => {
                Workload::Connections(Connections { count, subscribe, hold: seconds(hold_s) })
            }
            WorkloadArgs::Replay { messages, emptied, senders, body_bytes } => {
                Workload::Replay(Replay { messages, emptied, senders, body_bytes })
            }
            WorkloadArgs::Fill { users, entries } => {
                return (Subject::Within(InProcessWorkload::Fill { users, entries }), self.target);
            }
            WorkloadArgs::Hold { connections, rate } => {
                return (Subject::Within(InProcessWorkload::Hold(Hold { connections, rate })), self.target);
            }
            WorkloadArgs::Disk { writes, bytes } => return (Subject::Disk(Disk { writes, bytes }), self.target),
            WorkloadArgs::Storm { clients, rate, pairs, messages_rate, messages } => {
                let Messages { body_bytes, warmup_s, duration_s } = messages;
                let (warmup, duration) = (seconds(warmup_s), seconds(duration_s));
                let paced = Paced { pairs, rate: messages_rate, body_bytes, warmup, duration };
                Workload::Storm(Storm { paced, clients, rate })
            }
            WorkloadArgs::Fanout { members, window, messages: Messages { body_bytes, warmup_s, duration_s } } => {
                let (warmup, duration) = (seconds(warmup_s), seconds(duration_s));
                Workload::Fanout(Fanout { members, window, body_bytes, warmup, duration })
            }
        };
        (Subject::Server(workload), self.target)
    }
}
