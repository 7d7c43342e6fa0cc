//! The listener for Prometheus: `GET /metrics` and nothing else. It needs no token, as exporters have it, so it is on loopback unless
//! the operator says otherwise; what it shows names no user, no device and no address.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use godwit_http::{self as http, ConnectionSlots, HttpListener, Plain, Router};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::role::ProcessRole;
use super::web::{self, proxies};
use crate::metrics::MetricSources;
use crate::settings::ServerSettings;

/// Connections of those who scrape.
const CONNECTIONS_MAX: usize = 64;

/// The listener that is open.
pub(super) struct MetricsService {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

/// What is behind it.
#[derive(Clone)]
struct Scraped {
    sources: Arc<MetricSources>,
    /// One scrape at a time: it reads files.
    turn: Arc<Semaphore>,
}

impl MetricsService {
    /// Serves from now on. `None`: there is to be no such listener.
    pub(super) async fn start(
        role: ProcessRole,
        settings: &ServerSettings,
        sources: Arc<MetricSources>,
    ) -> anyhow::Result<Option<Self>> {
        let listen = match role {
            ProcessRole::Serve | ProcessRole::Bridge => ("metrics.listen", settings.metrics.listen),
            ProcessRole::Broker => ("metrics.broker_listen", settings.metrics.broker_listen),
        };
        let (key, Some(address)) = listen else { return Ok(None) };
        let (listener, address) = web::bind((key, address)).await?;
        let listener = HttpListener { name: "metrics", listener, handshake: Plain };
        let scraped = Scraped { sources, turn: Arc::new(Semaphore::new(1)) };
        let router = Router::new().route("/metrics", get(scrape)).with_state(scraped);
        let slots = ConnectionSlots::new(CONNECTIONS_MAX, proxies(settings));
        let drain = settings.limits.drain_deadline;
        let serve = http::serve(listener, router, http::cors(Vec::new()), slots, drain, CancellationToken::new());
        Ok(Some(Self { address, task: tokio::spawn(serve) }))
    }

    /// Resolves when it serves no more.
    pub(super) async fn ended(&mut self) {
        _ = (&mut self.task).await;
    }
}

impl Drop for MetricsService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn scrape(State(Scraped { sources, turn }): State<Scraped>, headers: HeaderMap) -> Response {
    let text = async {
        let _turn = turn.acquire().await?;
        let text = tokio::task::spawn_blocking(move || sources.text(&headers)).await?;
        text.context("write the metrics")
    };
    match text.await {
        Ok((content_type, text)) => ([(CONTENT_TYPE, content_type)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be shown");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
