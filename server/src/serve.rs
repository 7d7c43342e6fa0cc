//! `godwit serve`, and its two halves `godwit broker` and `godwit bridge`: builds the parts from the settings, says when
//! they are ready, and takes them down in order: doors first, so that what they took in is still stored.

mod events;
mod identity;
mod media;
pub(crate) mod parts;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::field::display;

use godwit_bridge::Bridge;
use godwit_bridge::audit::Audit;
use godwit_bridge::crash;
use godwit_bridge::http::{self, AdminToken, Api, Proxies};
use godwit_bridge::store::rocks::RocksStore;
use godwit_broker::Broker;
use godwit_broker::local_bus::LocalBus;
use godwit_broker::router_bus::{Access, RouterBus};
use godwit_schemas::bus::Bus;

use crate::cli::Place;
use crate::exit::{Failure, USAGE};
use crate::notice::{self, AdminNotice, Listeners};
use crate::settings::{self, Settings};
use crate::{log, memory, stop};
use events::{Events, Telling};
use identity::Identity;
use parts::Beside;

/// File descriptors that are not clients': store, bus, HTTP, log.
const OWN_FILES: u64 = 1_024;
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long the runtime may take to end what does not listen.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// Which parts run in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Both halves.
    Serve,
    /// The doors.
    Broker,
    /// The memory.
    Bridge,
}

impl Role {
    /// Name of the file that tells where this process listens.
    fn listeners_file(self) -> &'static str {
        match self {
            Self::Serve => "listeners.json",
            Self::Broker => "listeners.broker.json",
            Self::Bridge => "listeners.bridge.json",
        }
    }
}

/// Runs until a signal, or until the store fails.
pub(crate) fn run(role: Role, place: &Place) -> Result<(), Failure> {
    let (settings, _) = settings::load(place.config.as_deref(), place.data.as_deref())?;
    let access = if role == Role::Serve && !settings.events.mqtt { None } else { Some(parts::read_access(&settings)?) };
    let (events, identity) = match role {
        Role::Broker => Default::default(),
        Role::Serve | Role::Bridge => (Events::read(&settings.events)?, Identity::read(&settings)?),
    };
    let given = Given { access: access.unwrap_or_default(), events, identity };
    log::start(&settings.log)?;
    arm_crash()?;
    let files = memory::raise_open_files()?;
    if role != Role::Bridge && files < settings.limits.connections_max + OWN_FILES {
        tracing::info!(files, "the system's limit of open files bounds the number of connections");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let ended = runtime.block_on(live(role, &settings, given));
    runtime.shutdown_timeout(LEFTOVERS);
    Ok(ended?)
}

/// Only for tests of crashes: `GODWIT_CRASH_AT`, see [`crash`].
fn arm_crash() -> Result<(), Failure> {
    const VARIABLE: &str = "GODWIT_CRASH_AT";
    let Ok(point) = std::env::var(VARIABLE) else { return Ok(()) };
    crash::arm(&point).map_err(|problem| Failure::new(USAGE, format!("{VARIABLE}: {problem}")))?;
    tracing::warn!(point, "this process is going to kill itself: {VARIABLE} is set");
    Ok(())
}

/// What was read before anything opened.
struct Given {
    access: Access,
    events: Events,
    identity: Identity,
}

async fn live(role: Role, settings: &Settings, given: Given) -> anyhow::Result<()> {
    let stop = stop::on_signal()?;
    let running = tokio::select! {
        running = Running::start(role, settings, given) => running?,
        () = stop.cancelled() => return Ok(()),
    };
    tokio::select! {
        () = stop.cancelled() => {}
        error = running.failed() => {
            running.abandon().await;
            return Err(error.context("the store failed"));
        }
    }
    tracing::info!("stopping");
    running.stop(settings.shutdown_deadline).await;
    Listeners::remove(&settings.data_dir, role.listeners_file())?;
    tracing::info!("stopped");
    Ok(())
}

/// The parts that run.
struct Running {
    doors: Option<Broker>,
    memory: Option<Memory>,
}

impl Running {
    async fn start(role: Role, settings: &Settings, given: Given) -> anyhow::Result<Self> {
        notice::make_folder(&settings.data_dir)?;
        let Given { access, events, identity } = given;
        let (running, service) = match role {
            Role::Serve => {
                let store = parts::open_store(settings).await?;
                let bus = LocalBus::default();
                let (events_bus, service) = open_to_readers(settings, access, &events)?;
                let memory = Memory::start(settings, store, bus.clone(), events.start(events_bus)?, identity).await?;
                let doors = parts::start_broker(settings, bus).await?;
                (Self { doors: Some(doors), memory: Some(memory) }, service)
            }
            Role::Broker => {
                let (bus, service) = parts::service_bus(settings.service.listen, access)?;
                (Self { doors: Some(parts::start_broker(settings, bus).await?), memory: None }, service)
            }
            Role::Bridge => {
                let store = parts::open_store(settings).await?;
                let bus = parts::remote_bus(settings.service.listen, access.bridge);
                let telling = events.clone().start(events.on_mqtt().then(|| bus.clone()))?;
                let memory = Memory::start(settings, store, bus, telling, identity).await?;
                (Self { doors: None, memory: Some(memory) }, None)
            }
        };
        running.announce(role, settings, service)?;
        Ok(running)
    }

    /// Tells people and programs where this process listens.
    fn announce(&self, role: Role, settings: &Settings, service: Option<SocketAddr>) -> anyhow::Result<()> {
        let doors = self.doors.as_ref().map_or(&[][..], Broker::listening);
        let of_kind = |tls, websocket| {
            let mut doors = doors.iter().filter(move |it| (it.tls, it.websocket) == (tls, websocket));
            doors.next().map(|it| it.addr)
        };
        let (mqtt, mqtts) = (of_kind(false, false), of_kind(true, false));
        let (ws, wss) = (of_kind(false, true), of_kind(true, true));
        let http = self.memory.as_ref().map(|memory| memory.http);
        let media = self.memory.as_ref().and_then(|memory| memory.media.as_ref().map(|media| media.address));
        let pid = std::process::id();
        let listeners = Listeners { pid, mqtt: mqtt.into_iter().collect(), mqtts, ws, wss, http, service, media };
        listeners.write(&settings.data_dir, role.listeners_file())?;
        let [mqtt, mqtts, ws, wss, http, service, media] =
            [mqtt, mqtts, ws, wss, http, service, media].map(|addr| addr.map(display));
        let data = settings.data_dir.display();
        tracing::info!(mqtt, mqtts, ws, wss, http, service, media, %data, version = VERSION, "ready");
        Ok(())
    }

    /// Resolves when the process cannot keep its promises any more.
    async fn failed(&self) -> anyhow::Error {
        match &self.memory {
            Some(memory) => memory.bridge.failed().await.into(),
            None => std::future::pending().await,
        }
    }

    /// Ends what uses the store, which has failed: a process that ends under it does so by a signal, not by its exit code.
    async fn abandon(self) {
        drop(self.doors);
        let Some(Memory { bridge, store, http_task, .. }) = self.memory else { return };
        http_task.abort();
        _ = http_task.await;
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
    settings: &Settings,
    access: Access,
    events: &Events,
) -> anyhow::Result<(Option<RouterBus>, Option<SocketAddr>)> {
    if !events.on_mqtt() {
        return Ok((None, None));
    }
    let access = Access { events_only: true, ..access };
    let (bus, service) = parts::service_bus(settings.service.listen, access)?;
    Ok((Some(bus), service))
}

/// The bridge with its HTTP listener and its store.
struct Memory {
    bridge: Bridge,
    store: RocksStore,
    http: SocketAddr,
    http_task: JoinHandle<()>,
    http_stop: CancellationToken,
    /// Of events.
    consumers: JoinSet<()>,
    /// The embedded object store.
    media: Option<media::Embedded>,
    audit: Audit,
}

impl Memory {
    async fn start(
        settings: &Settings,
        store: RocksStore,
        bus: impl Bus,
        telling: Telling,
        identity: Identity,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(settings.http_listen).await;
        let listener = listener.with_context(|| format!("http.listen: listen on {}", settings.http_listen))?;
        let http = listener.local_addr().context("http.listen")?;
        let Telling { sink, consumers } = telling;
        let (files, media) = media::start(settings).await?;
        let beside = Beside { events: sink, media: files, ..identity.start(settings)? };
        let (audit, tokens) = (beside.audit.clone(), beside.tokens.clone());
        let bridge = parts::start_bridge(settings, store.clone(), bus, beside).await?;
        let (token, lock) = AdminToken::generate().context("make the administrator's token")?;
        AdminNotice { url: format!("http://{}", reachable(http)), token }.write(&settings.data_dir)?;
        let http_stop = CancellationToken::new();
        let (admin, chat, registration) = (bridge.admin(), bridge.chat(), bridge.registration());
        let router = http::router(Api { admin, chat, registration, token: lock, audit: audit.clone(), tokens });
        let proxies = settings.http_proxies.clone();
        let proxies = Proxies::new(move |addr| proxies.iter().any(|network| network.contains(addr)));
        let connections_max = settings.http_connections_max;
        let http_task = tokio::spawn(http::serve(listener, router, proxies, connections_max, http_stop.clone()));
        Ok(Self { bridge, store, http, http_task, http_stop, consumers, media, audit })
    }

    async fn stop(mut self, until: Instant) {
        self.http_stop.cancel();
        if tokio::time::timeout_at(until, self.http_task).await.is_err() {
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
