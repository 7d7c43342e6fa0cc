//! The journal in Cassandra. A segment is a partition of the table `journal`, its owner a static column: the writer's number while
//! it is open, 0 when it is rolled, below 0 when it is sealed (by whom). Every change is a lightweight transaction, which
//! Cassandra decides by Paxos.
//!
//! Rows of a sealed segment are read at a quorum: each transaction finds a quorum at which the one before is complete, and the seal
//! is the last.

use bytes::Bytes;
use godwit_store::StoreError;
use scylla::statement::prepared::PreparedStatement;

use super::{Journal, LogId, Outcome, Seal, Segment};
use crate::ClusterError;
use crate::cassandra::{Answer, Database, failed};

/// A journal in Cassandra. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct CassandraJournal {
    database: Database,
    open: PreparedStatement,
    append: PreparedStatement,
    own: PreparedStatement,
    read: PreparedStatement,
    remove: PreparedStatement,
}

impl CassandraJournal {
    /// # Errors
    /// The tables are not there, or Cassandra does not answer.
    pub async fn new(database: &Database) -> Result<Self, ClusterError> {
        let conditional = async |cql| database.conditional(cql).await;
        Ok(Self {
            open: conditional("INSERT INTO KS.journal (log, segment, owner) VALUES (?, ?, ?) IF NOT EXISTS").await?,
            append: conditional(
                "UPDATE KS.journal SET body = ? WHERE log = ? AND segment = ? AND position = ? IF owner = ?",
            )
            .await?,
            own: conditional("UPDATE KS.journal SET owner = ? WHERE log = ? AND segment = ? IF owner = ?").await?,
            read: database
                .repeatable(
                    "SELECT position, body FROM KS.journal WHERE log = ? AND segment = ? AND position >= ? LIMIT ?",
                )
                .await?,
            remove: database.repeatable("DELETE FROM KS.journal WHERE log = ? AND segment = ?").await?,
            database: database.clone(),
        })
    }

    async fn own(&self, doing: &'static str, at: Segment, owner: i64) -> Result<Answer, StoreError> {
        let values = (owner, at.log.get(), number(at), at.log.get());
        self.database.change(doing, &self.own, values, "owner").await
    }
}

fn number(at: Segment) -> i32 {
    at.number.cast_signed()
}

fn signed(position: u64) -> i64 {
    position.cast_signed()
}

fn outcome(answer: Result<Answer, StoreError>, is_done: impl FnOnce(&Answer) -> bool) -> Outcome {
    match answer {
        Ok(answer) if answer.applied || is_done(&answer) => Outcome::Applied,
        Ok(_) => Outcome::Fenced,
        Err(error) => Outcome::Unknown(error.cause),
    }
}

impl Journal for CassandraJournal {
    async fn open(&self, at: Segment) -> Outcome {
        let values = (at.log.get(), number(at), at.log.get());
        let answer = self.database.change("open a segment", &self.open, values, "owner").await;
        outcome(answer, |answer| answer.found == Some(at.log.get()))
    }

    async fn append(&self, at: Segment, position: u64, row: Bytes) -> Outcome {
        let values = (row, at.log.get(), number(at), signed(position), at.log.get());
        outcome(self.database.change("append", &self.append, values, "owner").await, |_| false)
    }

    async fn roll(&self, at: Segment) -> Outcome {
        outcome(self.own("roll a segment", at, 0).await, |answer| answer.found == Some(0))
    }

    async fn seal(&self, at: Segment, by: LogId) -> Result<Seal, StoreError> {
        let answer = self.own("seal a segment", at, -by.get()).await?;
        Ok(match answer.found {
            _ if answer.applied => Seal::By(by),
            None => Seal::Missing,
            Some(owner) => LogId::new(-owner).map_or(Seal::Rolled, Seal::By),
        })
    }

    async fn read(&self, at: Segment, from: u64, rows_max: usize) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let doing = "read the journal";
        let limit = i32::try_from(rows_max).unwrap_or(i32::MAX);
        let values = (at.log.get(), number(at), signed(from), limit);
        let rows = self.database.rows(doing, &self.read, values).await?;
        let rows = rows.rows::<(i64, Bytes)>().map_err(failed(doing))?;
        let rows = rows.map(|row| row.map(|(position, body)| (position.cast_unsigned(), body)));
        rows.collect::<Result<_, _>>().map_err(failed(doing))
    }

    async fn remove(&self, at: Segment) -> Result<(), StoreError> {
        self.database.execute("remove a segment", &self.remove, (at.log.get(), number(at))).await
    }
}
