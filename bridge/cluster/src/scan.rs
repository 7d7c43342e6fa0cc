//! Reading a range: rows of tables, group by group, with what the overlay knows on top.

use std::cmp::Ordering;
use std::collections::VecDeque;

use bytes::Bytes;
use futures::future::try_join_all;
use godwit_store::keys::{Groups, behind};
use godwit_store::{Row, StoreError, Table};

use crate::overlay::Snapshot;
use crate::tables::Tables;

/// Rows that are read from a group at once.
const PAGE_ROWS: usize = 200;

/// Rows of one group, a page at a time.
struct GroupRows {
    group: Vec<u8>,
    /// `None`: the last page was read.
    from: Option<Vec<u8>>,
    page: VecDeque<Row>,
}

/// Rows of tables in a range, ascending.
pub(crate) struct TableRows<'a, T> {
    tables: &'a T,
    table: Table,
    to: &'a [u8],
    page_rows: usize,
    groups: VecDeque<GroupRows>,
    /// The keys of all groups are mixed; else the groups follow each other.
    mixed: bool,
    /// The first group in which there was a row.
    first_filled: Option<Vec<u8>>,
    last_group: Option<Vec<u8>>,
}

impl<'a, T: Tables> TableRows<'a, T> {
    pub(crate) fn new(
        tables: &'a T,
        table: Table,
        (from, to): (&[u8], &'a [u8]),
        groups: Groups,
        rows_max: usize,
    ) -> Self {
        let (groups, mixed) = match groups {
            Groups::One(group) => (vec![group], false),
            Groups::InOrder(groups) => (groups, false),
            Groups::Mixed(groups) => (groups, true),
        };
        let last_group = groups.last().cloned();
        let begin = |group| GroupRows { group, from: Some(from.to_vec()), page: VecDeque::new() };
        let groups = groups.into_iter().map(begin).collect();
        let page_rows = rows_max.clamp(1, PAGE_ROWS);
        Self { tables, table, to, page_rows, groups, mixed, first_filled: None, last_group }
    }

    /// The next row, without taking it.
    async fn peek(&mut self) -> Result<Option<&Row>, StoreError> {
        let Self { tables, table, to, page_rows, .. } = *self;
        if self.mixed {
            try_join_all(self.groups.iter_mut().map(|group| group.fill(tables, table, to, page_rows))).await?;
            self.groups.retain(|group| !group.page.is_empty());
            let lowest = (0..self.groups.len()).min_by(|a, b| {
                let key = |at: &usize| self.groups[*at].page.front().map(|(key, _)| key);
                key(a).cmp(&key(b))
            });
            if let Some(lowest) = lowest {
                self.groups.swap(0, lowest);
            }
        } else {
            while let Some(group) = self.groups.front_mut() {
                group.fill(tables, table, to, page_rows).await?;
                if !group.page.is_empty() {
                    let group = &group.group;
                    self.first_filled.get_or_insert_with(|| group.clone());
                    break;
                }
                self.groups.pop_front();
            }
        }
        Ok(self.groups.front().and_then(|group| group.page.front()))
    }

    fn take(&mut self) -> Option<Row> {
        self.groups.front_mut()?.page.pop_front()
    }

    /// A group before which no group had a row: the first with one, or the last.
    pub(crate) fn empty_before(&self) -> Option<&[u8]> {
        let all_read = self.groups.is_empty();
        self.first_filled.as_deref().or_else(|| self.last_group.as_deref().filter(|_| all_read))
    }
}

impl GroupRows {
    /// Reads the next page, if the last one is used up.
    async fn fill<T: Tables>(
        &mut self,
        tables: &T,
        table: Table,
        to: &[u8],
        page_rows: usize,
    ) -> Result<(), StoreError> {
        let Some(from) = self.from.as_deref().filter(|_| self.page.is_empty()) else { return Ok(()) };
        let rows = tables.scan(table, &self.group, from, to, page_rows).await?;
        self.from = rows.last().filter(|_| rows.len() >= page_rows).map(|(key, _)| behind(key));
        self.page = rows.into();
        Ok(())
    }
}

/// Up to `rows_max` rows, or about `bytes_max` bytes, for which `is_live` holds.
pub(crate) async fn merge<T: Tables>(
    snapshot: Snapshot,
    tables: &mut TableRows<'_, T>,
    (rows_max, bytes_max): (usize, usize),
    is_live: impl Fn(&Bytes) -> bool,
) -> Result<Vec<Row>, StoreError> {
    let hides = |key: &[u8]| snapshot.ranges.iter().any(|(from, to)| **from <= *key && *key < **to);
    let mut above = snapshot.rows.into_iter().peekable();
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while rows.len() < rows_max && bytes < bytes_max {
        let below = tables.peek().await?.map(|(key, _)| key);
        let order = match (above.peek(), below) {
            (None, None) => break,
            (Some((above, _)), Some(below)) => above.as_slice().cmp(below),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        };
        let below = if order.is_ge() { tables.take() } else { None };
        let above = if order.is_le() { above.next() } else { None };
        let (key, value) = match (above, below) {
            (Some((key, value)), _) => (Bytes::from(key), value),
            (None, Some((key, value))) => {
                let value = Some(value).filter(|_| !hides(&key));
                (key, value)
            }
            (None, None) => break,
        };
        if let Some(value) = value.filter(&is_live) {
            bytes += value.len();
            rows.push((key, value));
        }
    }
    Ok(rows)
}
