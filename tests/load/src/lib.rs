//! The load generator behind `godwit bench`.
//!
//! It speaks plain MQTT 3.1.1 over TCP, so that Godwit and any other broker can be measured side by side, and it uses
//! little of the machine that it shares with the server. What arrives is checked: exactly once, in order, undamaged.
//! All runs are bounded in time; a server that refuses, falls silent or goes away is an error or a figure, never a
//! hang.
//!
//! Reading order: [`Workload`] and its parameters, `exchange` (threads, times, what counts), `wire` (the event loop).

mod body;
mod connections;
mod control;
mod disk;
mod exchange;
mod fanout;
#[cfg(test)]
mod faulty;
mod fill;
mod group;
mod handshake;
mod hold;
mod latency;
mod messages;
mod pace;
mod packet;
mod pairs;
mod process;
mod receiver;
mod replay;
mod sender;
mod socket;
mod storm;
mod stream;
mod target;
mod violation;
mod wire;
mod workload;

pub use connections::{Connections, ConnectionsReport, ConnectionsUse};
pub use control::Control;
pub use disk::{Disk, DiskReport};
pub use fanout::Fanout;
pub use fill::{Fill, FillReport};
pub use hold::{Hold, HoldReport};
pub use latency::Percentiles;
pub use messages::MessagesReport;
pub use pairs::{Paced, Pairs};
pub use process::ServerUse;
pub use replay::{Replay, ReplayReport};
pub use socket::ClientTls;
pub use storm::{Storm, StormReport};
pub use target::{Account, LoadTarget, TopicStyle};
pub use violation::Violations;
pub use workload::{Report, Workload};
