//! `godwit serve`, and its two halves `godwit broker` and `godwit bridge`: builds the parts from the settings, says when
//! they are ready, and takes them down in order: doors first, so that what they took in is still stored.

mod bridge;
mod checkpoint;
pub(crate) mod chosen;
pub(crate) mod cluster;
mod encryption;
mod entrance;
mod events;
mod identity;
mod keeper;
mod media;
mod metrics;
pub(crate) mod origin;
mod page;
pub(crate) mod parts;
mod preflight;
mod push;
mod reload;
mod role;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tracing::field::display;

use godwit_bridge::memory::Shortage;
use godwit_broker::Broker;
use godwit_broker::pressure::Pressure;
use godwit_broker::router_bus::{RouterBus, ServiceAccess};
use godwit_bus::local::LocalBus;
use godwit_store::crash;

use crate::VERSION;
use crate::cli::SettingsArgs;
use crate::exit::{self, CommandFailure, SUCCEEDED, USAGE};
use crate::metrics::MetricSources;
use crate::runtime_files::Listeners;
use crate::settings::{self, ServerSettings};
use crate::{log, memory, private, stop};
use bridge::{BridgeParts, BridgeStart, RunningBridge, SharedBrokerHealth, left};
use chosen::{ChosenBus, ChosenStore};
use cluster::PreparedCluster;
use entrance::ClosedEntrance;
use events::PreparedEvents;
use keeper::{PartFailure, StoreKeeper};
use metrics::MetricsService;
use page::{BoundPage, PageService};
use parts::OptionalServices;
pub(crate) use preflight::Preflight;
use reload::Reload;
pub(crate) use role::ProcessRole;

/// File descriptors that are not clients': store, bus, HTTP, log.
const OWN_FILES: u64 = 1_024;
/// How long the runtime may take to end what does not listen.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// Runs until a signal, or until a part fails.
pub(crate) fn run(role: ProcessRole, place: &SettingsArgs) -> Result<(), CommandFailure> {
    private::by_default();
    let (settings, effective) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    let preflight = Preflight::read(role, &settings)?;
    // What is queued when this ends is written before the failure is told.
    let (_written, level) = log::start(&settings.log)?;
    let reload = Arc::new(Reload::new(place, effective, level));
    arm_crash()?;
    let files = memory::raise_open_files()?;
    if role != ProcessRole::Bridge && files < settings.limits.connections_max + OWN_FILES {
        tracing::info!(files, "the system's limit of open files bounds the number of connections");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let ended = runtime.block_on(live(role, &settings, preflight, reload));
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

async fn live(
    role: ProcessRole,
    settings: &ServerSettings,
    preflight: Preflight,
    reload: Arc<Reload>,
) -> anyhow::Result<()> {
    let stop = stop::on_signal()?;
    // From here on SIGHUP does not end the process.
    let mut hangups = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    let mut running = tokio::select! {
        running = Running::start(role, settings, preflight, reload.clone()) => running?,
        () = stop.cancelled() => return Listeners::remove(&settings.data_dir, role.listeners_file()),
    };
    let ended = loop {
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            _ = hangups.recv() => reload.log(),
            // Also when the settings are wrong: who rotates logs does not care.
            () = reload.files.notified() => running.read_files_again(),
            failure = running.failed() => match failure {
                PartFailure::Store(error) => {
                    running.abandon().await;
                    return Err(error.context("the store failed"));
                }
                PartFailure::Part(error) => break Err(error),
                // Whatever this process would still say may be wrong.
                PartFailure::Lead(why) => exit::at_once(SUCCEEDED, format_args!("this bridge leads no more: {why}")),
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

/// The parts that run.
struct Running {
    doors: Option<Broker>,
    memory: Option<RunningBridge>,
    page: Option<PageService>,
    scraped: Option<MetricsService>,
}

impl Running {
    async fn start(
        role: ProcessRole,
        settings: &ServerSettings,
        preflight: Preflight,
        reload: Arc<Reload>,
    ) -> anyhow::Result<Self> {
        private::data_folder(&settings.data_dir)?;
        let Preflight { access, events, identity, push, cluster, admin_token } = preflight;
        let push = push.start(settings.push.as_ref());
        let pressure = Pressure::default();
        let metrics = MetricSources::new(memory::watch(settings.limits.memory_bytes_max, pressure.clone())?);
        let scraped = MetricsService::start(role, settings, metrics.clone()).await?;
        let shortage = Shortage::asking({
            let pressure = pressure.clone();
            move || pressure.is_on()
        });
        let (running, service) = match role {
            ProcessRole::Serve => {
                let (store, time) = parts::open_store(settings).await?;
                origin::find_out(&settings.data_dir, &store).await?;
                let bus = ChosenBus::Local(LocalBus::default());
                let (events_bus, service) = open_to_readers(settings, access, &events)?;
                let beside = OptionalServices { push, memory: shortage, ..identity.start(settings)? };
                let (telling, health) =
                    (events.start(events_bus.map(ChosenBus::Router))?, SharedBrokerHealth::default());
                let (entrance, doors) = (ClosedEntrance::bind(settings).await?, Some(health.clone()));
                let page = BoundPage::bind(settings).await?;
                let page_origins = page.as_ref().map(BoundPage::origins).unwrap_or_default();
                let keeper = StoreKeeper::Rocks(store.clone());
                let parts = BridgeParts {
                    store: ChosenStore::Rocks(store),
                    time,
                    bus: bus.clone(),
                    telling,
                    beside,
                    doors,
                    entrance,
                    admin_token,
                    page_origins,
                    metrics: metrics.clone(),
                    reload,
                };
                let memory = RunningBridge::start(settings, parts, keeper).await?;
                let doors = parts::start_broker(settings, bus, pressure).await?;
                _ = health.set(doors.health());
                let page = page.map(|page| {
                    let (of_users, files) = (memory.of_users(), memory.file_origin());
                    page.open(settings, of_users, files, doors.websocket_door(), &metrics)
                });
                (Self { doors: Some(doors), memory: Some(memory), page, scraped }, service)
            }
            ProcessRole::Broker => {
                let (doors, service) = match cluster {
                    Some(PreparedCluster { bus, .. }) => {
                        bus.check().await.context("cluster.nats")?;
                        (parts::start_broker(settings, ChosenBus::Nats(bus), pressure).await?, None)
                    }
                    None => {
                        let (bus, service) = parts::service_bus(settings.service.listen, access)?;
                        (parts::start_broker(settings, ChosenBus::Router(bus), pressure).await?, service)
                    }
                };
                (Self { doors: Some(doors), memory: None, page: None, scraped }, service)
            }
            ProcessRole::Bridge => {
                let beside = OptionalServices { push, memory: shortage, ..identity.start(settings)? };
                let start = BridgeStart { settings, events, beside, admin_token, metrics: metrics.clone(), reload };
                let memory = match cluster {
                    Some(PreparedCluster { bus, store: Some(store) }) => start.in_cluster(bus, store).await?,
                    Some(PreparedCluster { bus, store: None }) => {
                        bus.check().await.context("cluster.nats")?;
                        start.alone(ChosenBus::Nats(bus)).await?
                    }
                    None => {
                        let bus = parts::remote_bus(settings.service.listen, access.bridge);
                        start.alone(ChosenBus::Rumqttc(bus)).await?
                    }
                };
                (Self { doors: None, memory: Some(memory), page: None, scraped }, None)
            }
        };
        if let Some(doors) = &running.doors {
            metrics.broker.get_or_init(|| doors.metrics());
        }
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
        let addresses = self.memory.as_ref().map(RunningBridge::http);
        let (http, https) = (addresses.map(|it| it.plain), addresses.and_then(|it| it.secure));
        let media = self.memory.as_ref().and_then(RunningBridge::media);
        let (media, media_tls) = (media.map(|it| it.plain), media.and_then(|it| it.secure));
        let pid = std::process::id();
        let plain_mqtt = mqtt.into_iter().collect();
        let web = self.page.as_ref().map(|page| page.addresses);
        let (web, web_tls) = (web.map(|it| it.plain), web.and_then(|it| it.secure));
        let metrics = self.scraped.as_ref().map(|scraped| scraped.address);
        let listeners = Listeners {
            pid,
            mqtt: plain_mqtt,
            mqtts,
            ws,
            wss,
            http,
            https,
            service,
            media,
            media_tls,
            web,
            web_tls,
            metrics,
        };
        listeners.write(&settings.data_dir, role.listeners_file())?;
        let [mqtt, mqtts, ws, wss, http, https, service, media, media_tls, web, web_tls, metrics] =
            [mqtt, mqtts, ws, wss, http, https, service, media, media_tls, web, web_tls, metrics]
                .map(|it| it.map(display));
        let data = settings.data_dir.display();
        tracing::info!(
            mqtt, mqtts, ws, wss, http, https, service, media, media_tls, web, web_tls, metrics, %data,
            version = VERSION, "ready"
        );
        Ok(())
    }

    /// Resolves when the process cannot keep its promises any more.
    async fn failed(&mut self) -> PartFailure {
        let Self { doors, memory, page, scraped } = self;
        let scraped = async {
            match scraped {
                Some(scraped) => {
                    scraped.ended().await;
                    PartFailure::Part(anyhow::anyhow!("the listener of metrics ended"))
                }
                None => std::future::pending().await,
            }
        };
        let page = async {
            match page {
                Some(page) => {
                    page.ended().await;
                    PartFailure::Part(anyhow::anyhow!("the listener of the page ended"))
                }
                None => std::future::pending().await,
            }
        };
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
            failed = page => failed,
            failed = scraped => failed,
        }
    }

    /// SIGHUP: whoever rotates logs or renews certificates has done so.
    fn read_files_again(&self) {
        if let Some(memory) = &self.memory {
            memory.read_files_again();
        }
        if let Some(doors) = &self.doors {
            doors.reload_certificates();
        }
        if let Some(page) = &self.page {
            page.reload_certificates();
        }
    }

    /// Ends what uses the store, which has failed: a process that ends under it does so by a signal, not by its exit code.
    async fn abandon(self) {
        if let Some(page) = self.page {
            page.abort();
        }
        drop(self.doors);
        if let Some(memory) = self.memory {
            memory.abandon().await;
        }
    }

    async fn stop(self, deadline: Duration) {
        let until = Instant::now() + deadline;
        if let Some(page) = self.page {
            page.stop(until).await;
        }
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
