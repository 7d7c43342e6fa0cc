//! The store of a leader: its commits go to the journal, its reads come from the overlay and the tables below it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godwit_store::keys::{StoreKey, group};
use godwit_store::time::Time;
use godwit_store::{Durability, Row, Store, StoreError, Table, Write, expiry_s};
use tokio::sync::{mpsc, oneshot};

use crate::appender::Request;
use crate::overlay::Overlay;
use crate::patience::within;
use crate::scan::{TableRows, merge};
use crate::standing::Standing;
use crate::tables::cassandra::CassandraTables;
use crate::tables::{Tables, group_of};

/// How long reads are tried while the database does not answer. Then the store has failed, and the process ends.
const READS_MAX: Duration = Duration::from_secs(30);

/// The store of a leader, from [`crate::Cluster::lead`]. Cheap to clone; all clones are the same store.
///
/// A commit returns when it is on a quorum of Cassandra, however long that takes. When another process has taken over it fails. A
/// [`Durability::Buffered`] commit returns at once: it is on a quorum 50 ms later, or with the next synced one; until then it
/// does not survive the end of the process.
pub struct ClusterStore<T = CassandraTables> {
    overlay: Overlay,
    tables: T,
    time: Time,
    requests: mpsc::Sender<Request>,
    standing: Arc<Standing>,
}

impl<T: Clone> Clone for ClusterStore<T> {
    fn clone(&self) -> Self {
        Self {
            overlay: self.overlay.clone(),
            tables: self.tables.clone(),
            time: self.time.clone(),
            requests: self.requests.clone(),
            standing: self.standing.clone(),
        }
    }
}

impl<T: Tables> ClusterStore<T> {
    pub(crate) fn new(
        (overlay, tables): (Overlay, T),
        time: Time,
        requests: mpsc::Sender<Request>,
        standing: Arc<Standing>,
    ) -> Self {
        Self { overlay, tables, time, requests, standing }
    }

    fn is_live(&self, table: Table) -> impl Fn(&Bytes) -> bool + use<T> {
        let now_s = self.time.now_s();
        move |value| !table.expires() || expiry_s(value) > now_s
    }

    /// What the overlay does not know, tables know. `None`: it took so long that tables may be ahead of what the overlay said.
    async fn try_get(&self, keys: &[StoreKey]) -> Result<Option<Vec<Option<Bytes>>>, StoreError> {
        let looked = self.overlay.look(keys);
        let unknown = keys.iter().zip(&looked.known).filter(|(_, known)| known.is_none());
        let unknown: Vec<_> = unknown.map(|(key, _)| key.clone()).collect();
        let mut found = if unknown.is_empty() { Vec::new() } else { self.tables.get(&unknown).await? }.into_iter();
        if !unknown.is_empty() && !looked.reading.is_whole() {
            return Ok(None);
        }
        let values = looked.known.into_iter().map(|known| known.unwrap_or_else(|| found.next().flatten()));
        let live = |((table, _), value): (&StoreKey, Option<Bytes>)| value.filter(self.is_live(*table));
        Ok(Some(keys.iter().zip(values).map(live).collect()))
    }

    async fn try_scan(
        &self,
        table: Table,
        range: (&[u8], &[u8]),
        (rows_max, bytes_max): (usize, usize),
    ) -> Result<Option<Vec<Row>>, StoreError> {
        let several = || StoreError { doing: "scan", cause: format!("a range of \"{}\" has no group", table.name()) };
        let (groups, hint) = self.overlay.floors().groups(table, range.0, range.1).ok_or_else(several)?;
        let (snapshot, reading) = self.overlay.snapshot(table, range, rows_max, self.is_live(table));
        let first = snapshot.rows.iter().find(|(_, value)| value.is_some()).map(|(key, _)| group(table, key));
        let mut below = TableRows::new(&self.tables, table, range, groups, rows_max);
        let rows = merge(snapshot, &mut below, (rows_max, bytes_max), self.is_live(table)).await?;
        if !reading.is_whole() {
            return Ok(None);
        }
        if let (Some(hint), Some(below)) = (hint, below.empty_before()) {
            self.overlay.floors().found_empty_before(&hint, first.as_deref().map_or(below, |first| below.min(first)));
        }
        Ok(Some(rows))
    }
}

impl<T: Tables> Store for ClusterStore<T> {
    async fn multi_get(&self, keys: &[StoreKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        loop {
            if let Some(found) = within(READS_MAX, "read", || self.try_get(keys)).await? {
                return Ok(found);
            }
        }
    }

    async fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if from >= to || rows_max == 0 || bytes_max == 0 {
            return Ok(Vec::new());
        }
        loop {
            let scan = || self.try_scan(table, (from, to), (rows_max, bytes_max));
            if let Some(rows) = within(READS_MAX, "scan", scan).await? {
                return Ok(rows);
            }
        }
    }

    async fn commit(&self, writes: Vec<Write>, durability: Durability) -> Result<(), StoreError> {
        let failed = |cause| StoreError { doing: "commit", cause };
        for write in &writes {
            if let Write::DeleteRange(table, from, to) = write
                && from < to
                && group_of(write).is_none()
            {
                return Err(failed(format!("a range of \"{}\" to delete is not within one group", table.name())));
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        self.overlay.room().await;
        let (done, told) = oneshot::channel();
        let lost = || failed(self.standing.why_lost().unwrap_or_else(|| "this process leads no more".to_owned()));
        self.requests.send(Request::Commit { writes, durability, done }).await.map_err(|_| lost())?;
        told.await.map_err(|_| lost())
    }

    async fn is_nearly_full(&self) -> bool {
        self.overlay.is_nearly_full()
    }
}
