use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use godwit_bridge::audit::AuditMetrics;
use godwit_bridge::metrics::BridgeMetrics;
use godwit_broker::pressure::Pressure;
use godwit_broker::{BrokerSettings, ListenerSettings};
use godwit_bus::local::LocalBus;
use godwit_store::Table;
use godwit_store::rocks::{StoreReading, TableReading};

use super::*;

const PAGE: &str = include_str!("../../../docs/operators/metrics.md");

/// Everything that any process shows.
async fn everything() -> Scrape {
    let mut scrape = Scrape::default();
    process::show(&crate::memory::watch(0, Pressure::default()).expect("memory"), &mut scrape);
    let settings = BrokerSettings { listeners: Vec::<ListenerSettings>::new(), ..BrokerSettings::default() };
    let doors = godwit_broker::start(settings, LocalBus::default()).await.expect("a broker");
    broker::show(&doors.metrics(), &mut scrape);
    bridge::show(&BridgeMetrics::of_lanes(2), &mut scrape);
    let tables = Table::ALL.map(|table| (table, TableReading::default())).into();
    store::show(&StoreReading { tables, ..StoreReading::default() }, &mut scrape);
    store::show_cluster(None, &mut scrape);
    http::show(&HttpMetrics::default(), &mut scrape);
    http::show_connections(&[], &mut scrape);
    bridge::show_events(&[("webhook", Arc::default())], 0, &mut scrape);
    bridge::show_audit(&AuditMetrics::default(), &mut scrape);
    scrape
}

/// The first cell of each row of a table that names a metric.
fn documented() -> BTreeMap<&'static str, &'static str> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let named = |name: &str| name.starts_with("godwit_") || name.starts_with("process_");
    rows.filter(|(name, _)| named(name)).collect()
}

#[tokio::test]
async fn every_metric_is_documented_and_no_other() {
    let scrape = everything().await;
    let shown: BTreeSet<_> = scrape.names().collect();
    assert_eq!(shown.len(), scrape.names().count(), "a name is given twice");
    let documented = documented();
    let missing: Vec<_> = shown.iter().filter(|name| !documented.contains_key(*name)).collect();
    let gone: Vec<_> = documented.keys().filter(|name| !shown.contains(*name)).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in metrics.md: {missing:?}; only there: {gone:?}");
}

#[tokio::test]
async fn labels_are_documented_and_help_is_one_line() {
    let documented = documented();
    for family in everything().await.0 {
        assert!(!family.help.is_empty() && !family.help.contains('\n') && !family.help.ends_with('.'), "{family:?}");
        let labels: Vec<_> = match &family.samples {
            scrape::Samples::Counters(samples) => samples.iter().map(|(labels, _)| labels).collect(),
            scrape::Samples::Gauges(samples) => samples.iter().map(|(labels, _)| labels).collect(),
            scrape::Samples::Histograms(samples, _) => samples.iter().map(|(labels, _)| labels).collect(),
            scrape::Samples::Seconds(_) => Vec::new(),
        };
        let names: BTreeSet<_> = labels.into_iter().flatten().map(|(name, _)| *name).collect();
        for name in names {
            let row = documented[family.name];
            assert!(row.contains(&format!("`{name}`")), "{} has the label {name}, and its row is {row}", family.name);
        }
    }
}

#[tokio::test]
async fn what_is_not_there_shows_nothing_and_both_formats_are_written() {
    let sources = MetricSources::new(crate::memory::watch(0, Pressure::default()).expect("memory"));
    let (content_type, text) = sources.text(&HeaderMap::new()).expect("written");
    assert!(content_type.starts_with("text/plain"));
    assert!(text.contains("godwit_build_info{version=\"") && !text.contains("godwit_mqtt_"), "{text}");
    let text = Format::OpenMetrics.write(everything().await).expect("written");
    assert!(text.ends_with("# EOF\n") && text.contains("godwit_lane_sessions{lane=\"1\"} 0"), "{text}");
}
