//! What is shown of the store on disk, and of a cluster's.

use godwit_cluster::LeadershipReading;
use godwit_store::Table;
use godwit_store::rocks::{StoreReading, TableReading};

use super::scrape::{Scrape, label};

pub(super) fn show(store: &StoreReading, scrape: &mut Scrape) {
    scrape.gauge("godwit_store_log_bytes", "Bytes of the write-ahead log", store.log_bytes);
    scrape.gauge("godwit_store_disk_free_bytes", "Bytes free on the disk of the store", store.free_bytes);
    scrape.gauge(
        "godwit_store_disk_reserve_bytes",
        "With fewer bytes free than these, new messages wait (store.reserve_mib)",
        store.reserve_bytes,
    );
    scrape.gauge("godwit_store_cache_bytes", "Bytes of blocks that were read and are kept", store.cached_bytes);
    scrape.gauge("godwit_store_writes_stopped", "1: writes wait until tables are merged or written", store.is_stopped);
    scrape.gauge(
        "godwit_store_write_rate_limit_bytes",
        "Bytes a second to which writes are slowed down; 0: they are not",
        store.delayed_bytes_per_s,
    );
    scrape.gauge("godwit_store_compactions", "Merges of tables that are running", store.running_compactions);
    scrape.gauge("godwit_store_flushes", "Writes of tables that are running", store.running_flushes);
    scrape.gauge(
        "godwit_store_background_errors",
        "Errors while tables were merged or written",
        store.background_errors,
    );
    let of_each = |value: fn(&TableReading) -> u64| {
        let samples = store.tables.iter().map(|(table, reading)| (label("table", table.name()), value(reading) as f64));
        samples.collect::<Vec<_>>()
    };
    scrape.gauges("godwit_store_table_bytes", "Bytes of a table on disk", of_each(|table| table.bytes));
    scrape.gauges("godwit_store_table_rows", "Rows of a table, about", of_each(|table| table.rows));
    scrape.gauges(
        "godwit_store_memtable_bytes",
        "Bytes of a table that are in memory and in the log",
        of_each(|table| table.memory_bytes),
    );
    scrape.gauges(
        "godwit_store_pending_compaction_bytes",
        "Bytes of a table that are to be merged, about",
        of_each(|table| table.pending_bytes),
    );
    let files = store.tables.iter().flat_map(|(table, reading)| files(*table, reading));
    scrape.gauges("godwit_store_files", "Files of a table, by level", files.collect());
}

fn files(table: Table, reading: &TableReading) -> impl Iterator<Item = (super::scrape::Labels, f64)> {
    (0..).zip(&reading.files).map(move |(level, files): (u32, _)| {
        (vec![("table", table.name().to_owned()), ("level", level.to_string())], *files as f64)
    })
}

/// `None`: this bridge stands by.
pub(super) fn show_cluster(leads: Option<LeadershipReading>, scrape: &mut Scrape) {
    scrape.gauge("godwit_cluster_leads", "1: this bridge leads its cluster", leads.is_some_and(|it| it.confirmed));
    let reading = leads.unwrap_or_default();
    scrape.gauge(
        "godwit_cluster_term",
        "How many leaders there were until this bridge led; 0: it does not lead",
        reading.term,
    );
    scrape.gauge("godwit_cluster_journal_rows", "Rows that this leader has written to the journal", reading.position);
    scrape.gauge("godwit_cluster_journal_segment", "Segment of the journal", f64::from(reading.segment));
    scrape.gauge("godwit_cluster_not_applied_rows", "Rows of the journal that are not in tables", reading.not_applied);
    scrape.gauge("godwit_cluster_overlay_bytes", "Memory of what is not in tables, about", reading.overlay_bytes);
    scrape.gauge("godwit_cluster_waiting_commits", "Commits that wait for the journal", reading.waiting_commits);
}
