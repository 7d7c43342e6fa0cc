//! The connection to Cassandra, and how statements are carried out. The driver is named in files called `cassandra` only.
//!
//! A conditional write is never repeated by the driver: a write that was applied and then refused at its repetition would
//! look refused. Whoever makes it repeats it, the same one. Nothing is carried out at two nodes at once. What carries a timestamp,
//! and what only reads, may be repeated by anybody.

use std::sync::Arc;
use std::time::Duration;

use godwit_store::StoreError;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::{DefaultRetryPolicy, FallthroughRetryPolicy};
use scylla::response::query_result::QueryRowsResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency};
use scylla::value::{CqlValue, Row};

use crate::{ClusterError, ClusterSettings};

mod check;
mod schema;

pub(crate) use self::check::check;
#[cfg(test)]
pub(crate) use self::check::of_nodes;
pub(crate) use self::schema::make;

/// A connection that says nothing for so long is asked whether it is there, and is closed if that is not answered in the same
/// time.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// After so long the outcome of a statement is unknown.
const STATEMENT_MAX: Duration = Duration::from_secs(5);
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// A keyspace in Cassandra. Cheap to clone; all clones are the same connection.
#[derive(Clone)]
pub struct Database {
    session: Arc<Session>,
    keyspace: Arc<str>,
}

/// The answer to a conditional write.
pub(crate) struct Answer {
    pub(crate) applied: bool,
    /// A value of the row that was found, if the write was not applied.
    pub(crate) found: Option<i64>,
}

impl Database {
    /// # Errors
    /// No node answers, or they do not let this process in.
    pub(crate) async fn connect(settings: &ClusterSettings) -> Result<Self, ClusterError> {
        let balancing = DefaultPolicy::builder()
            .prefer_datacenter(settings.datacenter.clone())
            .permit_dc_failover(false)
            .token_aware(true)
            .build();
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .serial_consistency(Some(SerialConsistency::LocalSerial))
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
            .load_balancing_policy(balancing)
            .request_timeout(Some(STATEMENT_MAX))
            .build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&settings.nodes)
            .default_execution_profile_handle(profile.into_handle())
            .connection_timeout(CONNECT_MAX)
            .keepalive_interval(KEEPALIVE)
            .keepalive_timeout(KEEPALIVE)
            .tcp_nodelay(true)
            .fetch_schema_metadata(false);
        if let Some((user, password)) = &settings.login {
            builder = builder.user(user, password);
        }
        let session = builder.build().await.map_err(|error| ClusterError::Unreachable {
            doing: "connect to Cassandra",
            cause: format!("{}: {error}", settings.nodes.join(", ")),
        })?;
        Ok(Self { session: Arc::new(session), keyspace: settings.keyspace.as_str().into() })
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// A conditional write: it is carried out once.
    ///
    /// # Errors
    /// No node knows the table, or none answers.
    pub(crate) async fn conditional(&self, cql: &str) -> Result<PreparedStatement, ClusterError> {
        self.prepare(cql).await
    }

    /// What may be carried out again: it reads, or carries a timestamp.
    ///
    /// # Errors
    /// No node knows the table, or none answers.
    pub(crate) async fn repeatable(&self, cql: &str) -> Result<PreparedStatement, ClusterError> {
        let mut statement = self.prepare(cql).await?;
        statement.set_is_idempotent(true);
        statement.set_retry_policy(Some(Arc::new(DefaultRetryPolicy::new())));
        Ok(statement)
    }

    /// A read that sees every conditional write which was answered before.
    ///
    /// # Errors
    /// No node knows the table, or none answers.
    pub(crate) async fn linearizable(&self, cql: &str) -> Result<PreparedStatement, ClusterError> {
        let mut statement = self.repeatable(cql).await?;
        statement.set_consistency(Consistency::LocalSerial);
        Ok(statement)
    }

    /// `KS` in a statement stands for the keyspace.
    async fn prepare(&self, cql: &str) -> Result<PreparedStatement, ClusterError> {
        let cql = cql.replace("KS.", &format!("{}.", self.keyspace));
        let unreachable = |error: &dyn std::fmt::Display| ClusterError::Unreachable {
            doing: "prepare a statement",
            cause: format!("{cql}: {error}"),
        };
        self.session.prepare(cql.as_str()).await.map_err(|error| unreachable(&error))
    }

    /// Carries out what returns nothing.
    pub(crate) async fn execute(
        &self,
        doing: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<(), StoreError> {
        self.session.execute_unpaged(statement, values).await.map_err(failed(doing))?;
        Ok(())
    }

    /// Carries out what returns rows, all at once.
    pub(crate) async fn rows(
        &self,
        doing: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryRowsResult, StoreError> {
        let result = self.session.execute_unpaged(statement, values).await.map_err(failed(doing))?;
        result.into_rows_result().map_err(failed(doing))
    }

    /// Carries out a conditional write, and looks at a number in column `found` of what it found.
    pub(crate) async fn change(
        &self,
        doing: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        found: &str,
    ) -> Result<Answer, StoreError> {
        let rows = self.rows(doing, statement, values).await?;
        let column = rows.column_specs().get_by_name(found).map(|(index, _)| index);
        let row: Row = rows.first_row().map_err(failed(doing))?;
        let applied = matches!(row.columns.first(), Some(Some(CqlValue::Boolean(true))));
        let found = column.and_then(|index| row.columns.get(index)?.as_ref()?.as_bigint());
        Ok(Answer { applied, found })
    }
}

/// An error of the driver, as a store's.
pub(crate) fn failed<E: std::fmt::Display>(doing: &'static str) -> impl Fn(E) -> StoreError {
    move |error| StoreError { doing, cause: error.to_string() }
}
