//! The keyspace and its tables. Made by whoever starts first; start one process first in a new keyspace, since Cassandra does
//! not take it well when two make the same table at once.

use godwit_store::Table;
use scylla::client::session::Session;
use tracing::info;

use super::{Database, failed};
use crate::{ClusterError, ClusterSettings};

/// The longest time for which a member is known that says nothing any more.
const MEMBER_TTL_S: u32 = 86_400;
/// How long deletions are remembered in tables in which much is deleted, in seconds. A node that was away for longer must be
/// replaced, not started again: it would bring back what was deleted.
const GRACE_S: u32 = 86_400;

/// Makes the keyspace and what is missing in it.
///
/// # Errors
/// Cassandra does not make them.
pub(crate) async fn make(database: &Database, settings: &ClusterSettings) -> Result<(), ClusterError> {
    let ClusterSettings { keyspace, datacenter, replication, .. } = settings;
    let there = tables(database.session(), keyspace).await?;
    let mut statements = Vec::new();
    if there.is_none() {
        statements.push(format!(
            "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = \
             {{'class': 'NetworkTopologyStrategy', '{datacenter}': {replication}}} AND durable_writes = true"
        ));
    }
    let there = there.unwrap_or_default();
    let missing = definitions().into_iter().filter(|(name, _)| !there.iter().any(|known| known == name));
    statements.extend(missing.map(|(name, rest)| format!("CREATE TABLE IF NOT EXISTS {keyspace}.{name} {rest}")));
    for statement in &statements {
        // The driver waits until all nodes agree.
        let made = database.session().query_unpaged(statement.as_str(), ()).await;
        made.map_err(failed("make the tables"))?;
    }
    if !statements.is_empty() {
        info!(keyspace, "made the tables of the cluster");
    }
    Ok(())
}

/// The tables of a keyspace; `None`: there is no such keyspace.
pub(super) async fn tables(session: &Session, keyspace: &str) -> Result<Option<Vec<String>>, ClusterError> {
    let doing = "look at the keyspace";
    let read = async |cql: &str| {
        let result = session.query_unpaged(cql, (keyspace,)).await.map_err(failed(doing))?;
        let rows = result.into_rows_result().map_err(failed(doing))?;
        let names = rows.rows::<(String,)>().map_err(failed(doing))?.map(|row| row.map(|(name,)| name));
        Ok::<_, ClusterError>(names.collect::<Result<Vec<_>, _>>().map_err(failed(doing))?)
    };
    if read("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?").await?.is_empty() {
        return Ok(None);
    }
    read("SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?").await.map(Some)
}

/// Names and definitions.
fn definitions() -> Vec<(&'static str, String)> {
    // For tables whose rows come and go.
    let queue = "compaction = {'class': 'LeveledCompactionStrategy'}";
    let mut all = vec![
        (
            "placement",
            "(cluster text, partition int, version bigint static, format int static, owner bigint, epoch bigint, \
             replay frozen<list<bigint>>, PRIMARY KEY (cluster, partition))"
                .to_owned(),
        ),
        (
            "member",
            format!(
                "(cluster text, incarnation bigint, name text, state tinyint, epoch bigint, beat bigint, segment int, \
                 position bigint, PRIMARY KEY (cluster, incarnation)) \
                 WITH default_time_to_live = {MEMBER_TTL_S} AND gc_grace_seconds = 3600"
            ),
        ),
        (
            "journal",
            "(log bigint, segment int, owner bigint static, position bigint, body blob, \
             PRIMARY KEY ((log, segment), position)) WITH gc_grace_seconds = 3600 AND compression = {'enabled': false} \
             AND caching = {'keys': 'NONE', 'rows_per_partition': 'NONE'}"
                .to_owned(),
        ),
        ("journal_head", "(log bigint PRIMARY KEY, first int, segment int, position bigint, clock bigint)".to_owned()),
    ];
    all.extend(Table::ALL.map(|table| {
        let rows = "(grp blob, key blob, value blob, PRIMARY KEY (grp, key))";
        let definition = match table {
            Table::Directory | Table::Conversations => rows.to_owned(),
            Table::Receipts | Table::Media => format!("{rows} WITH gc_grace_seconds = {GRACE_S}"),
            Table::Inbox | Table::Messages => format!("{rows} WITH gc_grace_seconds = {GRACE_S} AND {queue}"),
        };
        (table.name(), definition)
    }));
    all
}

/// Whether a keyspace holds something else.
pub(super) fn is_foreign(tables: &[String]) -> bool {
    !tables.is_empty() && !tables.iter().any(|table| table == "placement")
}
