//! The store of a cluster: one process leads, others stand by, and everything that was acknowledged is on a quorum of Cassandra.
//!
//! - [`journal`]: every commit, in order; `record` is what its rows hold. `appender`: the one task that writes it.
//! - `overlay`: what is committed and not in tables. [`tables`]: a view of the journal; `applier`: the one task that writes
//!   them. `floor`: where queues in them begin.
//! - `store`: [`ClusterStore`] over all of these; `scan`: its ranges.
//! - [`registry`]: who is there, who leads. `candidate`: how a standby takes over; `suspicion`: when; `replay`: what it reads;
//!   `swap`: how it says so. `leadership`, `standing`: that it leads.
//! - `cluster`: the way in; `settings`, `status`. `cassandra`: the connection, the schema, and what is refused.
//! - `patience`: doing again what the database did not do.
//!
//! The design is in `docs/dev/design/cluster.md`.

mod appender;
mod applier;
mod candidate;
mod cassandra;
mod cluster;
mod error;
mod floor;
pub mod journal;
mod leadership;
mod overlay;
mod patience;
mod record;
pub mod registry;
mod replay;
mod scan;
mod settings;
mod standing;
mod status;
mod store;
mod suspicion;
mod swap;
pub mod tables;
#[cfg(test)]
mod tests;

pub use self::cluster::{Cluster, connect};
pub use self::error::ClusterError;
pub use self::leadership::{Leadership, LeadershipReading};
pub use self::settings::ClusterSettings;
pub use self::status::{ClusterStatus, JournalStatus, MemberStatus};
pub use self::store::ClusterStore;
