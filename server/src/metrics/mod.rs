//! Metrics: what the parts of this process count, shown to Prometheus. Called by the listener of metrics (`serve::metrics`).
//!
//! The parts know numbers only. Names, help and units stand here, a file for each part; `scrape` is what one scrape shows, and `text`
//! is the only place that knows the formats.

mod bridge;
mod broker;
mod http;
mod process;
mod scrape;
mod store;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::http::HeaderMap;
use godwit_bridge::audit::Audit;
use godwit_bridge::metrics::{BridgeMetrics, FeedMetrics};
use godwit_broker::BrokerMetrics;
use godwit_cluster::LeadershipReading;
use godwit_http::ConnectionSlots;
use godwit_http::metrics::HttpMetrics;
use godwit_store::rocks::StoreProbe;
use godwit_store::time::wall_ms;

use crate::memory::MemoryWatch;
use scrape::Scrape;
use text::Format;

/// Asks how a bridge leads its cluster. `None`: it stands by.
type LeadProbe = Box<dyn Fn() -> Option<LeadershipReading> + Send + Sync>;

/// Where metrics are read. Each part is added when it has started; until then it shows nothing.
pub(crate) struct MetricSources {
    memory: MemoryWatch,
    pub(crate) broker: OnceLock<BrokerMetrics>,
    pub(crate) bridge: OnceLock<Arc<BridgeMetrics>>,
    pub(crate) store: OnceLock<StoreProbe>,
    pub(crate) cluster: OnceLock<LeadProbe>,
    pub(crate) http: OnceLock<Arc<HttpMetrics>>,
    pub(crate) events: OnceLock<Vec<(&'static str, Arc<FeedMetrics>)>>,
    pub(crate) audit: OnceLock<Audit>,
    connections: Mutex<Vec<(&'static str, Arc<ConnectionSlots>)>>,
}

impl fmt::Debug for MetricSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricSources").finish_non_exhaustive()
    }
}

impl MetricSources {
    /// Those that every process has.
    pub(crate) fn new(memory: MemoryWatch) -> Arc<Self> {
        Arc::new(Self {
            memory,
            broker: OnceLock::new(),
            bridge: OnceLock::new(),
            store: OnceLock::new(),
            cluster: OnceLock::new(),
            http: OnceLock::new(),
            events: OnceLock::new(),
            audit: OnceLock::new(),
            connections: Mutex::default(),
        })
    }

    /// Adds the connections of a listener of HTTP. `section`: of the settings.
    pub(crate) fn add_connections(&self, section: &'static str, slots: Arc<ConnectionSlots>) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push((section, slots));
    }

    /// All metrics as text, and its content type, as the request asks for it. Reads files of the system and of the store: blocking.
    pub(crate) fn text(&self, request: &HeaderMap) -> Result<(&'static str, String), fmt::Error> {
        let format = Format::wanted(request);
        Ok((format.content_type(), format.write(self.scrape())?))
    }

    fn scrape(&self) -> Scrape {
        let mut scrape = Scrape::default();
        process::show(&self.memory, &mut scrape);
        if let Some(broker) = self.broker.get() {
            broker::show(broker, &mut scrape);
        }
        if let Some(bridge) = self.bridge.get() {
            bridge::show(bridge, &mut scrape);
        }
        if let Some(store) = self.store.get().and_then(StoreProbe::read) {
            store::show(&store, &mut scrape);
        }
        if let Some(leads) = self.cluster.get() {
            store::show_cluster(leads(), &mut scrape);
        }
        if let Some(http) = self.http.get() {
            http::show(http, &mut scrape);
        }
        http::show_connections(&self.connections.lock().unwrap_or_else(PoisonError::into_inner), &mut scrape);
        if let Some(events) = self.events.get() {
            bridge::show_events(events, wall_ms(), &mut scrape);
        }
        if let Some(audit) = self.audit.get().and_then(Audit::metrics) {
            bridge::show_audit(&audit, &mut scrape);
        }
        scrape
    }
}
