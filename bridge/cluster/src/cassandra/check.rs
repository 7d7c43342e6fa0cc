//! What would break promises is refused at the start, before anything is written: each with a sentence that says what to
//! change.

use std::collections::BTreeMap;
use std::net::IpAddr;

use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::Statement;
use tracing::warn;

use super::{Database, failed, schema};
use crate::{ClusterError, ClusterSettings};

/// The lowest version of Cassandra whose conditional writes survive that ranges move between nodes.
const VERSION_MIN: (u32, u32) = (4, 1);

/// # Errors
/// Something would break promises, or Cassandra does not answer.
pub(crate) async fn check(database: &Database, settings: &ClusterSettings) -> Result<(), ClusterError> {
    datacenter(database, settings)?;
    // ScyllaDB has versions of its own, and always syncs what is conditional.
    if !is_scylla(database).await? {
        version(&one(database, "SELECT release_version FROM system.local").await?.unwrap_or_default())?;
        commit_log(&of_nodes(database, "commitlog_sync").await?, settings)?;
        for (address, variant) in of_nodes(database, "paxos_variant").await? {
            if variant.as_deref() == Some("v1") {
                warn!(%address, "paxos_variant is v1: with v2 a commit takes half the time, and is safe while nodes join or leave");
            }
        }
    }
    keyspace(database, settings).await
}

fn refused(text: String) -> ClusterError {
    ClusterError::Refused(text)
}

fn datacenter(database: &Database, settings: &ClusterSettings) -> Result<(), ClusterError> {
    let state = database.session().get_cluster_state();
    let mut known: Vec<_> = state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()).collect();
    known.sort_unstable();
    known.dedup();
    if !known.contains(&settings.datacenter.as_str()) {
        let (asked, known) = (&settings.datacenter, known.join(", "));
        return Err(ClusterError::Setting(format!("Cassandra has no data centre {asked:?}: it has {known}")));
    }
    Ok(())
}

async fn is_scylla(database: &Database) -> Result<bool, ClusterError> {
    let tables = schema::tables(database.session(), "system").await?.unwrap_or_default();
    Ok(tables.iter().any(|table| table == "scylla_local"))
}

fn version(text: &str) -> Result<(), ClusterError> {
    let mut numbers = text.split(['.', '-']).map_while(|part| part.parse().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < VERSION_MIN {
        let (major, minor) = VERSION_MIN;
        return Err(refused(format!(
            "this is Cassandra {text}: before {major}.{minor} a conditional write may be lost while nodes join or leave; \
             upgrade it"
        )));
    }
    Ok(())
}

fn commit_log(syncs: &[(IpAddr, Option<String>)], settings: &ClusterSettings) -> Result<(), ClusterError> {
    for (address, sync) in syncs {
        if sync.as_deref() != Some("periodic") {
            continue;
        }
        if !settings.accept_periodic_commitlog {
            return Err(refused(format!(
                "the Cassandra node {address} acknowledges what is not on its disk (commitlog_sync: periodic): a loss of power \
                 could lose messages that were acknowledged; set commitlog_sync: batch in its cassandra.yaml, or accept it with \
                 cluster.accept_periodic_commitlog"
            )));
        }
        warn!(%address, "the node acknowledges what is not on its disk, as cluster.accept_periodic_commitlog accepts");
    }
    Ok(())
}

/// A setting of each node that is connected, as its cassandra.yaml has it.
pub(crate) async fn of_nodes(database: &Database, name: &str) -> Result<Vec<(IpAddr, Option<String>)>, ClusterError> {
    let doing = "read a node's settings";
    let state = database.session().get_cluster_state();
    let mut found = Vec::new();
    for node in state.get_nodes_info().iter().filter(|node| node.is_connected()) {
        let mut statement = Statement::new("SELECT value FROM system_views.settings WHERE name = ?");
        let this_node = NodeIdentifier::Node(node.clone());
        statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(this_node, None)));
        let result = database.session().query_unpaged(statement, (name,)).await.map_err(failed(doing))?;
        let rows = result.into_rows_result().map_err(failed(doing))?;
        let row = rows.maybe_first_row::<(Option<String>,)>().map_err(failed(doing))?;
        found.push((node.address.ip(), row.and_then(|(value,)| value)));
    }
    Ok(found)
}

async fn keyspace(database: &Database, settings: &ClusterSettings) -> Result<(), ClusterError> {
    let ClusterSettings { keyspace, datacenter, replication: asked, .. } = settings;
    let Some(tables) = schema::tables(database.session(), keyspace).await? else { return Ok(()) };
    if schema::is_foreign(&tables) {
        return Err(refused(format!(
            "the keyspace {keyspace} holds tables that are not Godwit's: name another one in cluster.keyspace"
        )));
    }
    let doing = "look at the keyspace";
    let cql = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let result = database.session().query_unpaged(cql, (keyspace,)).await.map_err(failed(doing))?;
    let rows = result.into_rows_result().map_err(failed(doing))?;
    let (found,) = rows.first_row::<(BTreeMap<String, String>,)>().map_err(failed(doing))?;
    replication(keyspace, datacenter, *asked, &found).map_err(refused)
}

/// Whether a keyspace is replicated as it should be: to one data centre, since conditional writes are decided within one.
fn replication(keyspace: &str, datacenter: &str, asked: u8, found: &BTreeMap<String, String>) -> Result<(), String> {
    let class = found.get("class").map_or("", String::as_str);
    let replicas: BTreeMap<_, _> = found.iter().filter(|(name, _)| *name != "class").collect();
    if !class.ends_with("NetworkTopologyStrategy") {
        return Err(format!(
            "the keyspace {keyspace} is replicated by {class}: it must be NetworkTopologyStrategy, with {asked} replicas in \
             {datacenter}"
        ));
    }
    if let Some((other, _)) = replicas.iter().find(|(name, _)| name.as_str() != datacenter) {
        return Err(format!(
            "the keyspace {keyspace} is replicated to the data centre {other} too: what is decided in one would not bind the \
             other; replicate it to {datacenter} only"
        ));
    }
    let count = replicas.values().next().map_or("0", |count| count.as_str());
    if count != asked.to_string() {
        return Err(format!(
            "the keyspace {keyspace} has {count} replicas in {datacenter}, and cluster.replication says {asked}: set the one \
             that is right (ALTER KEYSPACE, then a full repair, while no Godwit runs)"
        ));
    }
    Ok(())
}

async fn one(database: &Database, cql: &str) -> Result<Option<String>, ClusterError> {
    let doing = "look at Cassandra's version";
    let result = database.session().query_unpaged(cql, ()).await.map_err(failed(doing))?;
    let rows = result.into_rows_result().map_err(failed(doing))?;
    let row = rows.maybe_first_row::<(Option<String>,)>().map_err(failed(doing))?;
    Ok(row.and_then(|(value,)| value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    #[test]
    fn versions_before_4_1_are_refused() {
        for refused in ["", "2.1.0", "3.11.19", "4.0.20", "4.0-alpha2"] {
            assert!(version(refused).is_err(), "{refused}");
        }
        for taken in ["4.1.0", "5.0.9", "6.0-alpha2", "10.0"] {
            assert!(version(taken).is_ok(), "{taken}");
        }
    }

    #[test]
    fn nodes_that_acknowledge_what_is_not_on_disk_are_refused_unless_accepted() {
        let settings = settings("godwit");
        let node = |sync: &str| (IpAddr::from([127, 0, 0, 1]), Some(sync.to_owned()));
        assert!(commit_log(&[node("batch"), node("group")], &settings).is_ok());
        let error = commit_log(&[node("batch"), node("periodic")], &settings).expect_err("refused");
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
        let accepting = ClusterSettings { accept_periodic_commitlog: true, ..settings };
        assert!(commit_log(&[node("periodic")], &accepting).is_ok());
    }

    #[test]
    fn other_replications_are_refused() {
        let found = |pairs: &[(&str, &str)]| {
            let pairs: BTreeMap<_, _> =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            replication("godwit", "dc1", 3, &pairs)
        };
        let class = ("class", "org.apache.cassandra.locator.NetworkTopologyStrategy");
        assert_eq!(found(&[class, ("dc1", "3")]), Ok(()));
        for (wrong, said) in [
            (
                vec![("class", "org.apache.cassandra.locator.SimpleStrategy"), ("replication_factor", "3")],
                "SimpleStrategy",
            ),
            (vec![class, ("dc1", "1")], "1 replicas"),
            (vec![class, ("dc1", "5")], "5 replicas"),
            (vec![class], "0 replicas"),
            (vec![class, ("dc1", "3"), ("dc2", "3")], "dc2"),
        ] {
            let text = found(&wrong).expect_err("refused");
            assert!(text.contains(said), "{text}");
        }
    }
}
