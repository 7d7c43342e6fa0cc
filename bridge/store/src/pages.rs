//! Reading a range page by page: [`Store::page`] for whoever goes on later from where a page ended, [`Store::pages`] for
//! whoever reads a range to its end.

use crate::{Row, Store, StoreError, Table};

/// Rows of a range, and where the range goes on behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPage {
    /// The rows, by ascending key.
    pub rows: Vec<Row>,
    /// The first key behind the last row; `None`: there are no more rows.
    pub next: Option<Vec<u8>>,
}

impl RowPage {
    /// A page of rows that a scan found within its limits: with fewer rows and bytes, the range has no more.
    pub(crate) fn new(rows: Vec<Row>, rows_max: usize, bytes_max: usize) -> Self {
        let bytes: usize = rows.iter().map(|(_, value)| value.len()).sum();
        let last = rows.last().filter(|_| rows.len() >= rows_max || bytes >= bytes_max);
        let next = last.map(|(key, _)| [key, &b"\0"[..]].concat());
        Self { rows, next }
    }
}

/// The pages of a range. Rows that are written meanwhile are read if they are behind the last page.
#[derive(Debug)]
pub struct Pages<'a, S> {
    store: &'a S,
    table: Table,
    /// `None`: the last page was read.
    from: Option<Vec<u8>>,
    to: Vec<u8>,
    rows_max: usize,
}

impl<'a, S: Store> Pages<'a, S> {
    pub(crate) fn new(store: &'a S, table: Table, (from, to): (Vec<u8>, Vec<u8>), rows_max: usize) -> Self {
        Self { store, table, from: Some(from), to, rows_max }
    }

    /// The rows of the next page; `None` behind the last page.
    ///
    /// # Errors
    /// The store's. The next call reads the same page again.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, StoreError> {
        let Some(from) = &self.from else { return Ok(None) };
        let page = self.store.page(self.table, from, &self.to, self.rows_max, usize::MAX).await?;
        self.from = page.next;
        Ok(Some(page.rows))
    }
}
