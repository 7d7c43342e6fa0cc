//! The way in: connecting, and waiting to lead.

use std::sync::Arc;

use godwit_store::time::{Time, steady, wall, wall_ms};
use tracing::info;

use crate::candidate::{Candidate, OVERLAY_BYTES, newer};
use crate::cassandra::{Database, check, make};
use crate::journal::cassandra::CassandraJournal;
use crate::patience::within;
use crate::record::FORMAT;
use crate::registry::Registry as _;
use crate::registry::cassandra::CassandraRegistry;
use crate::status::{ClusterStatus, status};
use crate::tables::cassandra::CassandraTables;
use crate::{ClusterError, ClusterSettings, ClusterStore, Leadership};

/// How long a database that does not answer is waited for at the start.
const START_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// A cluster's database, seen from a process that is not its leader yet.
pub struct Cluster {
    pub(crate) candidate: Candidate<CassandraJournal, CassandraTables, CassandraRegistry>,
}

/// Connects to the cluster's database, makes its tables if they are missing, and checks what would break promises. `time` begins
/// when this process leads, with what the store knows of it.
///
/// # Errors
/// A setting is wrong, something would break promises, or the database does not answer. The text says what to change.
pub async fn connect(settings: ClusterSettings, time: Time) -> Result<Cluster, ClusterError> {
    settings.check()?;
    let database = Database::connect(&settings).await?;
    check(&database, &settings).await?;
    make(&database, &settings).await?;
    let registry = CassandraRegistry::new(&database).await?;
    let placement = within(START_MAX, "read who leads", || registry.placement()).await?;
    if let Some(format) = placement.map(|placement| placement.format).filter(|format| *format > FORMAT) {
        return Err(newer(format));
    }
    info!(keyspace = settings.keyspace, name = settings.name, "joined the cluster");
    let candidate = Candidate {
        journal: CassandraJournal::new(&database).await?,
        tables: CassandraTables::new(&database, time.clone()).await?,
        registry,
        name: settings.name,
        time,
        wall: Arc::new(wall),
        steady: Arc::new(steady),
        overlay_bytes: OVERLAY_BYTES,
    };
    Ok(Cluster { candidate })
}

impl Cluster {
    /// Waits as a standby until this process leads: the leader before it has let go, or its beat has stood still for 4 s. Then nothing
    /// more can be committed by it, and all that it acknowledged is in this store. A database that does not answer is waited for.
    /// Cancel safe.
    ///
    /// # Errors
    /// What the last leader left cannot be read. Nobody can lead before a human has looked.
    pub async fn lead(&self) -> Result<(ClusterStore, Leadership), ClusterError> {
        self.candidate.lead().await
    }

    /// Who is there, who leads, and how far its journal is written and applied. Three small reads.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn status(&self) -> Result<ClusterStatus, ClusterError> {
        status(&self.candidate.registry, wall_ms()).await
    }
}
