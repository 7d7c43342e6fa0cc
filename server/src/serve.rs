//! `godwit serve`, and its two halves `godwit broker` and `godwit bridge`: builds the parts from the settings, says when
//! they are ready, and takes them down in order: doors first, so that what they took in is still stored.

mod cluster;
mod events;
mod identity;
mod media;
pub(crate) mod origin;
pub(crate) mod parts;
mod preflight;
mod web;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::field::display;

use godwit_bridge::Bridge;
use godwit_bridge::audit::Audit;
use godwit_bridge::memory::Shortage;
use godwit_broker::Broker;
use godwit_broker::pressure::Pressure;
use godwit_broker::router_bus::{RouterBus, ServiceAccess};
use godwit_broker::tls::Tls;
use godwit_bus::local::LocalBus;
use godwit_http::{self as http, AdminToken, Api, ConnectionSlots, Proxies};
use godwit_schemas::bus::Bus;
use godwit_store::crash;
use godwit_store::rocks::RocksStore;
use godwit_store::time::Time;

use crate::cli::SettingsArgs;
use crate::exit::{CommandFailure, USAGE};
use crate::runtime_files::{AdminNotice, Listeners};
use crate::settings::{self, ServerSettings};
use crate::{log, memory, private, stop};
use cluster::PreparedCluster;
use events::{EventConsumers, PreparedEvents};
use parts::OptionalServices;
pub(crate) use preflight::Preflight;

/// File descriptors that are not clients': store, bus, HTTP, log.
const OWN_FILES: u64 = 1_024;
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long the runtime may take to end what does not listen.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// Which parts run in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessRole {
    /// Both halves.
    Serve,
    /// The doors.
    Broker,
    /// The memory.
    Bridge,
}

impl ProcessRole {
    /// Of the processes that run with these settings.
    pub(crate) fn of(settings: &ServerSettings) -> &'static [Self] {
        if settings.cluster.is_some() { &[Self::Broker, Self::Bridge] } else { &[Self::Serve] }
    }

    /// Name of the file that tells where this process listens.
    fn listeners_file(self) -> &'static str {
        match self {
            Self::Serve => "listeners.json",
            Self::Broker => "listeners.broker.json",
            Self::Bridge => "listeners.bridge.json",
        }
    }
}

/// Runs until a signal, or until a part fails.
pub(crate) fn run(role: ProcessRole, place: &SettingsArgs) -> Result<(), CommandFailure> {
    private::by_default();
    let (settings, _) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    let preflight = Preflight::read(role, &settings)?;
    // What is queued when this ends is written before the failure is told.
    let _written = log::start(&settings.log)?;
    arm_crash()?;
    let files = memory::raise_open_files()?;
    if role != ProcessRole::Bridge && files < settings.limits.connections_max + OWN_FILES {
        tracing::info!(files, "the system's limit of open files bounds the number of connections");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let ended = runtime.block_on(live(role, &settings, preflight));
    runtime.shutdown_timeout(LEFTOVERS);
    Ok(ended?)
}

/// Only for tests of crashes: `GODWIT_CRASH_AT`, see [`crash`].
fn arm_crash() -> Result<(), CommandFailure> {
    const VARIABLE: &str = "GODWIT_CRASH_AT";
    let Ok(point) = std::env::var(VARIABLE) else { return Ok(()) };
    crash::arm(&point).map_err(|problem| CommandFailure::new(USAGE, format!("{VARIABLE}: {problem}")))?;
    tracing::warn!(point, "this process is going to kill itself: {VARIABLE} is set");
    Ok(())
}

async fn live(role: ProcessRole, settings: &ServerSettings, preflight: Preflight) -> anyhow::Result<()> {
    let stop = stop::on_signal()?;
    // From here on SIGHUP does not end the process.
    let mut hangups = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    let mut running = tokio::select! {
        running = Running::start(role, settings, preflight) => running?,
        () = stop.cancelled() => return Ok(()),
    };
    let ended = loop {
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            _ = hangups.recv() => running.read_files_again(),
            failure = running.failed() => match failure {
                PartFailure::Store(error) => {
                    running.abandon().await;
                    return Err(error.context("the store failed"));
                }
                PartFailure::Part(error) => break Err(error),
            }
        }
    };
    match &ended {
        Ok(()) => tracing::info!("stopping"),
        Err(error) => tracing::error!(%error, "stopping: a part of the server has failed"),
    }
    running.stop(settings.shutdown_deadline).await;
    Listeners::remove(&settings.data_dir, role.listeners_file())?;
    tracing::info!("stopped");
    ended
}

/// Why the process cannot go on.
enum PartFailure {
    /// Nothing is acknowledged any more.
    Store(anyhow::Error),
    /// A task that serves has ended. What was taken in can still be stored.
    Part(anyhow::Error),
}

/// The parts that run.
struct Running {
    doors: Option<Broker>,
    memory: Option<RunningBridge>,
}

impl Running {
    async fn start(role: ProcessRole, settings: &ServerSettings, preflight: Preflight) -> anyhow::Result<Self> {
        private::data_folder(&settings.data_dir)?;
        let Preflight { access, events, identity, cluster } = preflight;
        let pressure = Pressure::default();
        memory::watch(settings.limits.memory_bytes_max, pressure.clone())?;
        let shortage = Shortage::asking({
            let pressure = pressure.clone();
            move || pressure.is_on()
        });
        let (running, service) = match role {
            ProcessRole::Serve => {
                let stored = parts::open_store(settings).await?;
                origin::find_out(&settings.data_dir, &stored.0).await?;
                let bus = LocalBus::default();
                let (events_bus, service) = open_to_readers(settings, access, &events)?;
                let beside = OptionalServices { memory: shortage, ..identity.start(settings)? };
                let (telling, health) = (events.start(events_bus)?, SharedBrokerHealth::default());
                let memory =
                    RunningBridge::start(settings, stored, bus.clone(), telling, beside, Some(health.clone())).await?;
                let doors = parts::start_broker(settings, bus, pressure).await?;
                _ = health.set(doors.health());
                (Self { doors: Some(doors), memory: Some(memory) }, service)
            }
            ProcessRole::Broker => {
                let (doors, service) = match cluster {
                    Some(PreparedCluster { bus }) => {
                        bus.check().await.context("cluster.nats")?;
                        (parts::start_broker(settings, bus, pressure).await?, None)
                    }
                    None => {
                        let (bus, service) = parts::service_bus(settings.service.listen, access)?;
                        (parts::start_broker(settings, bus, pressure).await?, service)
                    }
                };
                (Self { doors: Some(doors), memory: None }, service)
            }
            ProcessRole::Bridge => {
                let stored = parts::open_store(settings).await?;
                origin::find_out(&settings.data_dir, &stored.0).await?;
                let beside = OptionalServices { memory: shortage, ..identity.start(settings)? };
                let memory = match cluster {
                    Some(PreparedCluster { bus }) => {
                        bus.check().await.context("cluster.nats")?;
                        let telling = events.clone().start(events.on_mqtt().then(|| bus.clone()))?;
                        RunningBridge::start(settings, stored, bus, telling, beside, None).await?
                    }
                    None => {
                        let bus = parts::remote_bus(settings.service.listen, access.bridge);
                        let telling = events.clone().start(events.on_mqtt().then(|| bus.clone()))?;
                        RunningBridge::start(settings, stored, bus, telling, beside, None).await?
                    }
                };
                (Self { doors: None, memory: Some(memory) }, None)
            }
        };
        running.announce(role, settings, service)?;
        Ok(running)
    }

    /// Tells people and programs where this process listens.
    fn announce(
        &self,
        role: ProcessRole,
        settings: &ServerSettings,
        service: Option<SocketAddr>,
    ) -> anyhow::Result<()> {
        let doors = self.doors.as_ref().map_or(&[][..], Broker::listeners);
        let of_kind = |tls, websocket| {
            let mut doors = doors.iter().filter(move |it| (it.tls, it.websocket) == (tls, websocket));
            doors.next().map(|it| it.addr)
        };
        let (mqtt, mqtts) = (of_kind(false, false), of_kind(true, false));
        let (ws, wss) = (of_kind(false, true), of_kind(true, true));
        let addresses = self.memory.as_ref().map(|memory| memory.http);
        let (http, https) = (addresses.map(|it| it.plain), addresses.and_then(|it| it.secure));
        let media = self.memory.as_ref().and_then(|memory| memory.media.as_ref().map(|media| media.addresses));
        let (media, media_tls) = (media.map(|it| it.plain), media.and_then(|it| it.secure));
        let pid = std::process::id();
        let plain_mqtt = mqtt.into_iter().collect();
        let listeners = Listeners { pid, mqtt: plain_mqtt, mqtts, ws, wss, http, https, service, media, media_tls };
        listeners.write(&settings.data_dir, role.listeners_file())?;
        let [mqtt, mqtts, ws, wss, http, https, service, media, media_tls] =
            [mqtt, mqtts, ws, wss, http, https, service, media, media_tls].map(|addr| addr.map(display));
        let data = settings.data_dir.display();
        tracing::info!(
            mqtt, mqtts, ws, wss, http, https, service, media, media_tls, %data, version = VERSION, "ready"
        );
        Ok(())
    }

    /// Resolves when the process cannot keep its promises any more.
    async fn failed(&mut self) -> PartFailure {
        let Self { doors, memory } = self;
        let doors = async {
            match doors {
                Some(doors) => {
                    PartFailure::Part(anyhow::Error::from(doors.failed().await).context("the broker failed"))
                }
                None => std::future::pending().await,
            }
        };
        let memory = async {
            match memory {
                Some(memory) => memory.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            failed = memory => failed,
            failed = doors => failed,
        }
    }

    /// SIGHUP: whoever rotates logs or renews certificates has done so.
    fn read_files_again(&self) {
        if let Some(memory) = &self.memory {
            memory.audit.reopen();
            if let Some(tls) = &memory.tls {
                tls.reload();
            }
        }
        if let Some(doors) = &self.doors {
            doors.reload_certificates();
        }
    }

    /// Ends what uses the store, which has failed: a process that ends under it does so by a signal, not by its exit code.
    async fn abandon(self) {
        drop(self.doors);
        let Some(RunningBridge { bridge, store, http_task, .. }) = self.memory else { return };
        http_task.abort();
        if !http_task.is_finished() {
            _ = http_task.await;
        }
        if tokio::time::timeout(LEFTOVERS, bridge.stop(Duration::ZERO)).await.is_err() {
            tracing::warn!("the disk does not answer");
        }
        drop(store);
    }

    async fn stop(self, deadline: Duration) {
        let until = Instant::now() + deadline;
        if let Some(doors) = self.doors {
            doors.stop(left(until)).await;
        }
        if let Some(memory) = self.memory {
            memory.stop(until).await;
        }
    }
}

/// In one process the service listener is opened only for whoever reads events, with a bus that carries nothing else.
fn open_to_readers(
    settings: &ServerSettings,
    access: ServiceAccess,
    events: &PreparedEvents,
) -> anyhow::Result<(Option<RouterBus>, Option<SocketAddr>)> {
    if !events.on_mqtt() {
        return Ok((None, None));
    }
    let access = ServiceAccess { events_only: true, ..access };
    let (bus, service) = parts::service_bus(settings.service.listen, access)?;
    Ok((Some(bus), service))
}

/// Set when the doors are open.
type SharedBrokerHealth = Arc<OnceLock<godwit_broker::BrokerHealth>>;

/// What `/readyz` looks at. `doors`: those of this process.
fn check(bridge: godwit_bridge::Health, doors: Option<SharedBrokerHealth>) -> http::Check {
    Arc::new(move || {
        let (bridge, doors) = (bridge.clone(), doors.clone());
        Box::pin(async move {
            bridge.check().await?;
            match doors.as_deref().map(OnceLock::get) {
                None => Ok(()),
                Some(None) => Err("the listeners are not open yet"),
                Some(Some(doors)) => doors.check().await,
            }
        })
    })
}

/// The bridge with its HTTP listener and its store.
struct RunningBridge {
    bridge: Bridge,
    store: RocksStore,
    http: web::WebAddresses,
    /// Of all listeners of HTTP that show a certificate.
    tls: Option<Tls>,
    http_task: JoinHandle<()>,
    http_stop: CancellationToken,
    /// Of events.
    consumers: JoinSet<()>,
    /// The embedded object store.
    media: Option<media::EmbeddedStore>,
    audit: Audit,
}

impl RunningBridge {
    async fn start(
        settings: &ServerSettings,
        (store, time): (RocksStore, Time),
        bus: impl Bus,
        telling: EventConsumers,
        beside: OptionalServices,
        doors: Option<SharedBrokerHealth>,
    ) -> anyhow::Result<Self> {
        let tls = web::open_tls(settings.listeners.web_certificate.as_ref())?;
        let secure = settings.http_tls_listen.map(|listen| ("http.tls_listen", listen));
        let doors_of_http =
            web::WebListeners::open("HTTP", ("http.listen", settings.http_listen), secure, tls.as_ref()).await?;
        let http = doors_of_http.addresses;
        let EventConsumers { sink, consumers } = telling;
        let (files, media) = media::start(settings, tls.as_ref()).await?;
        let beside = OptionalServices { events: sink, media: files, ..beside };
        let (audit, tokens) = (beside.audit.clone(), beside.tokens.clone());
        let bridge = parts::start_bridge(settings, (store.clone(), time.clone()), bus, beside).await?;
        let (token, lock) = AdminToken::generate().context("make the administrator's token")?;
        AdminNotice { url: format!("http://{}", reachable(http.plain)), token }.write(&settings.data_dir)?;
        let http_stop = CancellationToken::new();
        let (admin, chat, registration) = (bridge.admin(), bridge.chat(), bridge.registration());
        let check = check(bridge.health(), doors);
        let body_bytes_max = settings.limits.body_bytes_max as usize;
        let audits = audit.clone();
        let api = Api { admin, chat, registration, token: lock, audit: audits, tokens, time, check, body_bytes_max };
        let router = http::router(api);
        let cors = http::cors(settings.listeners.websocket_origins.clone());
        let places = ConnectionSlots::new(settings.http_connections_max, proxies(settings));
        let drain_deadline = settings.limits.drain_deadline;
        let plain = http::serve(
            doors_of_http.plain,
            router.clone(),
            cors.clone(),
            places.clone(),
            drain_deadline,
            http_stop.clone(),
        );
        let secure =
            doors_of_http.secure.map(|door| http::serve(door, router, cors, places, drain_deadline, http_stop.clone()));
        let certificates = web::watch(tls.clone());
        let http_task = tokio::spawn(async move {
            tokio::select! {
                () = web::both(plain, secure) => {}
                () = certificates => {}
            }
        });
        Ok(Self { bridge, store, http, tls, http_task, http_stop, consumers, media, audit })
    }

    /// Resolves when one of its parts has ended.
    async fn failed(&mut self) -> PartFailure {
        let Self { bridge, http_task, media, consumers, .. } = self;
        let media = async {
            match media {
                Some(media) => media.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = bridge.failed() => PartFailure::Store(error.into()),
            _ = http_task => PartFailure::Part(anyhow!("the HTTP listener ended")),
            () = media => PartFailure::Part(anyhow!("the embedded object store ended")),
            Some(_) = consumers.join_next() => PartFailure::Part(anyhow!("a consumer of events ended")),
        }
    }

    async fn stop(mut self, until: Instant) {
        self.http_stop.cancel();
        if !self.http_task.is_finished() && tokio::time::timeout_at(until, self.http_task).await.is_err() {
            tracing::warn!("HTTP requests were cut off by shutdown.deadline_s");
        }
        // The bridge may wait for it.
        self.bridge.stop(left(until)).await;
        let told = async { while self.consumers.join_next().await.is_some() {} };
        if tokio::time::timeout_at(until, told).await.is_err() {
            tracing::warn!("the last events were cut off by shutdown.deadline_s");
        }
        if let Some(media) = self.media {
            media.stop(until).await;
        }
        if tokio::time::timeout_at(until, self.audit.flush()).await.is_err() {
            tracing::warn!("the last of the audit was cut off by shutdown.deadline_s");
        }
        parts::flush(self.store).await;
    }
}

/// Who is believed to say for whom requests over HTTP come.
fn proxies(settings: &ServerSettings) -> Proxies {
    let networks = settings.http_proxies.clone();
    Proxies::new(settings.http_proxy_header, move |addr| networks.iter().any(|network| network.contains(addr)))
}

/// An address of this machine for a listener on all of them.
fn reachable(mut listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listener.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listener.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listener
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
