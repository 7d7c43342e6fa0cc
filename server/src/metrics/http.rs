//! What is shown of the HTTP API, and of the listeners of HTTP.

use std::sync::Arc;

use godwit_http::ConnectionSlots;
use godwit_http::metrics::{HttpMetrics, RequestKind};

use super::scrape::{Labels, Scrape, label};

pub(super) fn show(metrics: &HttpMetrics, scrape: &mut Scrape) {
    let requests = metrics.requests().into_iter().map(|(RequestKind { method, route, status }, count)| {
        (vec![("method", method.to_owned()), ("route", route), ("status", status.to_string())], count)
    });
    scrape.counters(
        "godwit_http_requests_total",
        "Requests to the HTTP API that were answered. Route none: no such path",
        requests.collect(),
    );
    scrape.times(
        "godwit_http_request_duration_seconds",
        "From the head of a request to the head of its answer",
        vec![(Labels::new(), &metrics.duration)],
    );
}

/// `listeners`: connections by the section of the settings that the listener is of.
pub(super) fn show_connections(listeners: &[(&'static str, Arc<ConnectionSlots>)], scrape: &mut Scrape) {
    let connections = listeners.iter().map(|(name, slots)| (label("listener", name), slots.taken() as f64));
    scrape.gauges("godwit_http_connections", "Connections of HTTP that are open, by listener", connections.collect());
}
