//! The cluster that a process is part of: from the settings to the bus and the store, and what happens until this process
//! leads and when it does no more.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use godwit_bridge::lead::Lead;
use godwit_bus::nats::{NatsBus, NatsSettings};
use godwit_cluster::{Cluster, ClusterStore, Leadership};
use godwit_store::time::Time;

use super::role::ProcessRole;
use super::{origin, parts};
use crate::settings::{CassandraSettings, ClusterSettings};

/// What must be read before anything opens.
#[derive(Debug, Clone)]
pub(crate) struct PreparedCluster {
    pub(super) bus: NatsBus,
    /// `None`: the bridge keeps its store by itself.
    pub(super) store: Option<PreparedStore>,
}

/// Where the store of a cluster is, with the password.
#[derive(Debug, Clone)]
pub(crate) struct PreparedStore(godwit_cluster::ClusterSettings);

impl PreparedCluster {
    /// Reads the passwords.
    pub(crate) fn read(role: ProcessRole, settings: &ClusterSettings, problems: &mut Vec<String>) -> Option<Self> {
        if role == ProcessRole::Serve {
            let text = "cluster.nats: `godwit serve` is a whole server in one process: run `godwit broker` and `godwit \
                        bridge`, or leave it empty";
            problems.push(text.to_owned());
            return None;
        }
        let before = problems.len();
        let login = parts::read_login("cluster.nats_password_file", settings.nats_login.as_ref(), problems);
        let nats = NatsSettings {
            servers: settings.nats.clone(),
            login,
            ca: settings.nats_ca.clone(),
            prefix: settings.prefix.clone(),
        };
        let bus = NatsBus::new(nats).map_err(|error| problems.push(format!("cluster.nats: {error}")));
        let cassandra = settings.cassandra.as_ref().filter(|_| role == ProcessRole::Bridge);
        let store = cassandra.map(|cassandra| PreparedStore::read(settings, cassandra, problems));
        (problems.len() == before).then_some(Self { bus: bus.ok()?, store })
    }
}

impl PreparedStore {
    /// Reads the password.
    pub(crate) fn read(settings: &ClusterSettings, cassandra: &CassandraSettings, problems: &mut Vec<String>) -> Self {
        let login = parts::read_login("cluster.cassandra_password_file", cassandra.login.as_ref(), problems);
        Self(godwit_cluster::ClusterSettings {
            nodes: cassandra.nodes.clone(),
            keyspace: cassandra.keyspace.clone(),
            datacenter: cassandra.datacenter.clone(),
            replication: cassandra.replication,
            login,
            name: settings.name.clone().unwrap_or_else(own_name),
            accept_periodic_commitlog: cassandra.allow_periodic_commitlog,
        })
    }

    /// Connects to Cassandra. `time` begins when the store is read.
    ///
    /// # Errors
    /// It cannot be reached, or would not keep promises.
    pub(crate) async fn connect(self, time: Time) -> anyhow::Result<Cluster> {
        godwit_cluster::connect(self.0, time).await.context("cluster.cassandra")
    }
}

/// The host's name and the process's number.
fn own_name() -> String {
    let name = rustix::system::uname();
    format!("{}/{}", name.nodename().to_string_lossy(), std::process::id())
}

/// Waits until this process leads.
///
/// # Errors
/// Cassandra says that it never will, or the store cannot be read.
pub(super) async fn lead(cluster: &Cluster, data: &Path) -> anyhow::Result<(ClusterStore, Leadership)> {
    tracing::info!("standing by");
    let (store, leadership) = cluster.lead().await.context("take over the cluster")?;
    tracing::info!(term = leadership.term(), "this bridge leads the cluster");
    origin::find_out_shared(data, &store).await?;
    Ok((store, leadership))
}

/// What the bridge asks before it tells anybody anything. After an orderly end nobody is told anything more.
pub(super) fn lead_of(leadership: &Arc<Leadership>) -> Lead {
    let asked = Arc::downgrade(leadership);
    Lead::new(leadership.term(), move || asked.upgrade().is_some_and(|leadership| leadership.is_confirmed()))
}
