//! The HTTP listeners of a bridge, from the settings to what runs.

use godwit_broker::tls::Tls;
use godwit_http::{self as http, ConnectionSlots, Handover, Router};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::web::{self, WebAddresses, WebListeners, proxies};
use crate::metrics::MetricSources;
use crate::settings::ServerSettings;

/// Listeners that are bound. Whoever connects waits.
pub(super) struct BoundEntrance {
    listeners: WebListeners,
    tls: Option<Tls>,
}

impl BoundEntrance {
    pub(super) async fn bind(settings: &ServerSettings) -> anyhow::Result<Self> {
        let tls = web::open_tls(settings.listeners.web_certificate.as_ref())?;
        let secure = settings.http_tls_listen.map(|listen| ("http.tls_listen", listen));
        let plain = ("http.listen", settings.http_listen);
        Ok(Self { listeners: WebListeners::open("HTTP", plain, secure, tls.as_ref()).await?, tls })
    }

    /// Serves.
    fn open(self, settings: &ServerSettings, router: Router, metrics: &MetricSources) -> Entrance {
        let Self { listeners, tls } = self;
        let addresses = listeners.addresses;
        let stop = CancellationToken::new();
        let cors = http::cors(settings.listeners.websocket_origins.clone());
        let slots = ConnectionSlots::new(settings.http_connections_max, proxies(settings));
        metrics.add_connections("http", slots.clone());
        let drain = settings.limits.drain_deadline;
        let secure = listeners
            .secure
            .map(|listener| http::serve(listener, router.clone(), cors.clone(), slots.clone(), drain, stop.clone()));
        let plain = http::serve(listeners.plain, router, cors, slots, drain, stop.clone());
        let certificates = web::watch(tls.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = web::both(plain, secure) => {}
                () = certificates => {}
            }
        });
        Entrance { addresses, tls, task, stop }
    }

    /// Serves for a standby, until the bridge leads.
    pub(super) fn stand_by(self, settings: &ServerSettings, metrics: &MetricSources) -> StandbyEntrance {
        let (router, handover) = http::standby();
        StandbyEntrance { entrance: self.open(settings, router, metrics), handover }
    }
}

/// Listeners that answer for a standby.
pub(super) struct StandbyEntrance {
    entrance: Entrance,
    handover: Handover,
}

impl StandbyEntrance {
    pub(super) fn addresses(&self) -> WebAddresses {
        self.entrance.addresses
    }

    /// Resolves when they serve no more.
    pub(super) async fn ended(&mut self) {
        self.entrance.ended().await;
    }
}

/// Listeners that do not serve yet what a bridge serves.
pub(super) enum ClosedEntrance {
    Bound(BoundEntrance),
    Standby(StandbyEntrance),
}

impl ClosedEntrance {
    pub(super) async fn bind(settings: &ServerSettings) -> anyhow::Result<Self> {
        BoundEntrance::bind(settings).await.map(Self::Bound)
    }

    pub(super) fn addresses(&self) -> WebAddresses {
        match self {
            Self::Bound(bound) => bound.listeners.addresses,
            Self::Standby(standby) => standby.entrance.addresses,
        }
    }

    /// Of all listeners of HTTP that show a certificate.
    pub(super) fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Bound(bound) => bound.tls.as_ref(),
            Self::Standby(standby) => standby.entrance.tls.as_ref(),
        }
    }

    /// Serves what the bridge serves.
    pub(super) fn open(self, settings: &ServerSettings, router: Router, metrics: &MetricSources) -> Entrance {
        match self {
            Self::Bound(bound) => bound.open(settings, router, metrics),
            Self::Standby(StandbyEntrance { entrance, handover }) => {
                handover.to(router);
                entrance
            }
        }
    }
}

/// Listeners that serve.
pub(super) struct Entrance {
    pub(super) addresses: WebAddresses,
    pub(super) tls: Option<Tls>,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Entrance {
    /// Resolves when they serve no more, without having been told so.
    pub(super) async fn ended(&mut self) {
        _ = (&mut self.task).await;
    }

    /// Finishes the requests that have begun, as far as there is time.
    pub(super) async fn stop(self, until: Instant) {
        self.stop.cancel();
        if !self.task.is_finished() && tokio::time::timeout_at(until, self.task).await.is_err() {
            tracing::warn!("HTTP requests were cut off by shutdown.deadline_s");
        }
    }

    /// Ends it at once.
    pub(super) async fn abort(self) {
        self.task.abort();
        if !self.task.is_finished() {
            _ = self.task.await;
        }
    }
}
