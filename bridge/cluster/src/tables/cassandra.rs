//! Tables in Cassandra: a table each, a partition for each group, a row for each key. A row of a table that expires also has a
//! time to live, so that Cassandra forgets it a day after it has expired; until then readers look at its expiry.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use godwit_store::keys::{StoreKey, group};
use godwit_store::time::Time;
use godwit_store::{Row, StoreError, Table, Write, expiry_s};
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlValue;

use super::{Change, Tables, place};
use crate::ClusterError;
use crate::cassandra::{Database, failed};

/// Statements that are under way at once.
const UNDER_WAY: usize = 16;
/// Changes of one group that are written at once, and about how many bytes.
const BATCH_CHANGES: usize = 64;
const BATCH_BYTES: usize = 64 << 10;
/// Cassandra may forget a row so long after it has expired, in seconds: its clock need not be the server's.
const FORGET_AFTER_S: u32 = 86_400;
/// Cassandra takes no longer time to live, in seconds (20 years); such a row it does not forget.
const TTL_MAX_S: u32 = 630_720_000;
/// Nor one that ends in or after the year 2038, in seconds since 1970.
const FORGOTTEN_MAX_S: u32 = i32::MAX as u32 - 86_400;

/// The statements of a table.
#[derive(Clone)]
struct Statements {
    put: PreparedStatement,
    delete: PreparedStatement,
    delete_range: PreparedStatement,
    get: PreparedStatement,
    scan: PreparedStatement,
}

/// Tables in Cassandra. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct CassandraTables {
    database: Database,
    /// By table.
    statements: std::sync::Arc<[Statements]>,
    time: Time,
}

impl CassandraTables {
    /// `time` says how long a row has to live still.
    ///
    /// # Errors
    /// The tables are not there, or Cassandra does not answer.
    pub async fn new(database: &Database, time: Time) -> Result<Self, ClusterError> {
        let mut statements = Vec::new();
        for table in Table::ALL {
            let prepare =
                async |cql: &str| database.repeatable(&cql.replace("TABLE", &format!("KS.{}", table.name()))).await;
            statements.push(Statements {
                put: prepare("INSERT INTO TABLE (grp, key, value) VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL ?")
                    .await?,
                delete: prepare("DELETE FROM TABLE USING TIMESTAMP ? WHERE grp = ? AND key = ?").await?,
                delete_range: prepare("DELETE FROM TABLE USING TIMESTAMP ? WHERE grp = ? AND key >= ? AND key < ?")
                    .await?,
                get: prepare("SELECT value FROM TABLE WHERE grp = ? AND key = ?").await?,
                scan: prepare("SELECT key, value FROM TABLE WHERE grp = ? AND key >= ? AND key < ? LIMIT ?").await?,
            });
        }
        Ok(Self { database: database.clone(), statements: statements.into(), time })
    }

    fn of(&self, table: Table) -> &Statements {
        &self.statements[table as usize]
    }

    /// A statement, and its values.
    fn statement(&self, group: &[u8], change: &Change) -> (&PreparedStatement, Vec<CqlValue>) {
        let timestamp = CqlValue::BigInt(change.timestamp_us());
        let blob = |bytes: &[u8]| CqlValue::Blob(bytes.to_vec());
        match &change.write {
            Write::Put(table, key, value) => {
                let ttl = if table.expires() { ttl_s(expiry_s(value), self.time.now_s()) } else { 0 };
                (&self.of(*table).put, vec![blob(group), blob(key), blob(value), timestamp, CqlValue::Int(ttl)])
            }
            Write::Delete(table, key) => (&self.of(*table).delete, vec![timestamp, blob(group), blob(key)]),
            Write::DeleteRange(table, from, to) => {
                (&self.of(*table).delete_range, vec![timestamp, blob(group), blob(from), blob(to)])
            }
        }
    }

    /// All of it, or nothing: changes of one group are one mutation.
    async fn write(&self, group: &[u8], changes: &[&Change]) -> Result<(), StoreError> {
        let (statements, values): (Vec<_>, Vec<_>) = changes.iter().map(|change| self.statement(group, change)).unzip();
        if let ([statement], [values]) = (&statements[..], &values[..]) {
            return self.database.execute("write to a table", statement, values).await;
        }
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_is_idempotent(true);
        statements.into_iter().for_each(|statement| batch.append_statement(statement.clone()));
        self.database.session().batch(&batch, values).await.map_err(failed("write to a table"))?;
        Ok(())
    }

    async fn get_one(&self, (table, key): &StoreKey) -> Result<Option<Bytes>, StoreError> {
        let doing = "read a table";
        let rows = self.database.rows(doing, &self.of(*table).get, (group(*table, key), key)).await?;
        let row = rows.maybe_first_row::<(Bytes,)>().map_err(failed(doing))?;
        // The row shares memory with the whole answer, which is nothing but this row.
        Ok(row.map(|(value,)| value))
    }
}

/// How long Cassandra is to keep a row. 0: for ever.
fn ttl_s(expires_at_s: u32, now_s: u32) -> i32 {
    let forgotten_at_s = expires_at_s.saturating_add(FORGET_AFTER_S);
    let left_s = forgotten_at_s.saturating_sub(now_s).max(1);
    let is_possible = left_s <= TTL_MAX_S && forgotten_at_s <= FORGOTTEN_MAX_S;
    if is_possible { left_s.cast_signed() } else { 0 }
}

/// Changes of one group that are written at once.
struct Piece<'a> {
    group: Vec<u8>,
    changes: Vec<&'a Change>,
}

fn pieces(changes: &[Change]) -> Result<Vec<Piece<'_>>, StoreError> {
    let mut by_group = BTreeMap::<_, Vec<_>>::new();
    for change in changes {
        by_group.entry(place(change)?).or_default().push(change);
    }
    let mut pieces = Vec::new();
    for ((_, group), changes) in by_group {
        let (mut piece, mut bytes) = (Vec::new(), 0);
        for change in changes {
            piece.push(change);
            bytes += if let Write::Put(_, key, value) = &change.write { key.len() + value.len() } else { 0 };
            if piece.len() >= BATCH_CHANGES || bytes >= BATCH_BYTES {
                pieces.push(Piece { group: group.clone(), changes: std::mem::take(&mut piece) });
                bytes = 0;
            }
        }
        if !piece.is_empty() {
            pieces.push(Piece { group, changes: piece });
        }
    }
    Ok(pieces)
}

impl Tables for CassandraTables {
    async fn apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        let pieces = pieces(changes)?;
        let mut writes = Vec::with_capacity(pieces.len());
        for Piece { group, changes } in &pieces {
            writes.push(self.write(group, changes));
        }
        stream::iter(writes).buffer_unordered(UNDER_WAY).try_collect().await
    }

    async fn get(&self, keys: &[StoreKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut reads = Vec::with_capacity(keys.len());
        for key in keys {
            reads.push(self.get_one(key));
        }
        stream::iter(reads).buffered(UNDER_WAY).try_collect().await
    }

    async fn scan(
        &self,
        table: Table,
        group: &[u8],
        from: &[u8],
        to: &[u8],
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let doing = "scan a table";
        let limit = i32::try_from(rows_max).unwrap_or(i32::MAX);
        let rows = self.database.rows(doing, &self.of(table).scan, (group, from, to, limit)).await?;
        let rows = rows.rows::<(&[u8], &[u8])>().map_err(failed(doing))?;
        let copied = |(key, value): (&[u8], &[u8])| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        rows.map(|row| row.map(copied)).collect::<Result<_, _>>().map_err(failed(doing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_forgotten_a_day_after_they_have_expired_or_never() {
        let now_s = 1_790_000_000;
        assert_eq!(ttl_s(now_s + 30 * 86_400, now_s), 31 * 86_400);
        assert_eq!(ttl_s(now_s, now_s), 86_400);
        assert_eq!(ttl_s(0, now_s), 1, "long ago: it replaces what was there, and goes");
        assert_eq!(ttl_s(u32::MAX, now_s), 0, "for ever");
        assert_eq!(ttl_s(2_200_000_000, now_s), 0, "after 2038");
    }
}
