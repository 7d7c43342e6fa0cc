//! Each part's settings from the server's. The only place that knows how broker, bridge and store are built.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use godwit_bridge::Bridge;
use godwit_bridge::audit::Audit;
use godwit_bridge::decide::Rules;
use godwit_bridge::events::Sink;
use godwit_bridge::media::MediaSettings;
use godwit_bridge::registration::RegistrationSettings;
use godwit_bridge::remote_bus::RumqttcBus;
use godwit_bridge::store::ClockS;
use godwit_bridge::store::rocks::{RocksSettings, RocksStore};
use godwit_bridge::token::Tokens;
use godwit_broker::Broker;
use godwit_broker::pressure::Pressure;
use godwit_broker::router_bus::{Access, Login, RouterBus};
use godwit_broker::token;
use godwit_schemas::bus::Bus;
use tokio::runtime::Handle;

use crate::exit::{Failure, USAGE};
use crate::memory;
use crate::settings::Settings;

/// Reads the password file, if there is to be one.
fn read_login(key: &str, login: Option<&(String, PathBuf)>) -> Result<Option<Login>, Failure> {
    let read = |(user, file): &(String, PathBuf)| match fs::read_to_string(file) {
        Ok(password) if !password.trim_end().is_empty() => Ok((user.clone(), password.trim_end().to_owned())),
        Ok(_) => Err(Failure::new(USAGE, format!("{key}: {} is empty", file.display()))),
        Err(error) => Err(Failure::new(USAGE, format!("{key}: read {}: {error}", file.display()))),
    };
    login.map(read).transpose()
}

/// Whom the service listener lets in; of it a bridge brings what bridges bring.
pub(crate) fn read_access(settings: &Settings) -> Result<Access, Failure> {
    Ok(Access {
        bridge: read_login("service.password_file", settings.service.login.as_ref())?,
        reader: read_login("events.password_file", settings.events.login.as_ref())?,
        events_only: false,
    })
}

/// Opens the store, which locks the data folder for this process.
pub(crate) async fn open_store(settings: &Settings) -> anyhow::Result<RocksStore> {
    let path = settings.data_dir.join("store");
    let sizes = RocksSettings {
        memtable_bytes: settings.memtable_bytes,
        cache_bytes: settings.cache_bytes,
        reserve_bytes: settings.reserve_bytes,
    };
    let open = move || RocksStore::open(&path, &sizes, clock()).with_context(|| path.display().to_string());
    tokio::task::spawn_blocking(open).await.context("open the store")?
}

/// Leaves the next start no log to replay.
pub(crate) async fn flush(store: RocksStore) {
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.flush()).await {
        tracing::warn!(%error, "the next start replays the store's log");
    }
}

/// A bus that is open to others, and where.
pub(crate) fn service_bus(listen: SocketAddr, access: Access) -> anyhow::Result<(RouterBus, Option<SocketAddr>)> {
    RouterBus::start(Some(listen), access).context("start the bus")
}

/// The bus of a broker elsewhere.
pub(crate) fn remote_bus(broker: SocketAddr, login: Option<Login>) -> RumqttcBus {
    RumqttcBus::new(Handle::current(), broker, login)
}

/// What a bridge can do without.
#[derive(Default)]
pub(crate) struct Beside {
    /// Who is told what happens.
    pub(crate) events: Option<Sink>,
    pub(crate) media: Option<MediaSettings>,
    pub(crate) registration: Option<RegistrationSettings>,
    pub(crate) audit: Audit,
    pub(crate) tokens: Option<Arc<Tokens>>,
}

/// The lanes.
pub(crate) async fn start_bridge(
    settings: &Settings,
    store: RocksStore,
    bus: impl Bus,
    beside: Beside,
) -> anyhow::Result<Bridge> {
    let Beside { events, media, registration, audit, tokens } = beside;
    let limits = &settings.limits;
    let parsed = godwit_bridge::Settings {
        rules: Rules {
            body_bytes_max: limits.body_bytes_max as usize,
            group_members_max: limits.group_members_max,
            conversations_per_user: limits.conversations_per_user,
            retention_s: settings.undelivered_s,
            history: settings.history,
            recall_window_s: limits.recall_window_s,
            media_grace_s: settings.media.grace_s,
        },
        lanes: settings.lanes,
        window_messages: limits.window_messages,
        window_bytes: limits.window_bytes,
        devices_per_user_max: limits.devices_per_user_max,
        inbox_entries: limits.inbox_entries,
        inbox_bytes: limits.inbox_bytes,
        phone_lookups_per_day: limits.phone_lookups_per_day,
        offline_after: limits.offline_after,
        cached_per_lane: settings.cached_per_lane,
        media,
        registration,
        audit,
        tokens,
    };
    godwit_bridge::start(parsed, store, clock(), bus, events).await.context("start the bridge")
}

/// The listeners for clients.
pub(crate) async fn start_broker(settings: &Settings, bus: impl Bus) -> anyhow::Result<Broker> {
    let doors = doors(settings);
    memory::watch(settings.limits.memory_bytes_max, doors.pressure.clone())?;
    godwit_broker::start(doors, bus).await.context("start the broker")
}

/// What the doors are told.
pub(crate) fn doors(settings: &Settings) -> godwit_broker::Settings {
    let Settings { limits, doors, jwt, .. } = settings;
    let claims = jwt
        .as_ref()
        .map(|jwt| token::Claims { user: jwt.tokens.user_claim.clone(), device: jwt.tokens.device_claim.clone() });
    godwit_broker::Settings {
        listen: doors.listen.iter().map(|(_, listen)| *listen).collect(),
        tls: doors.tls.clone(),
        origins: doors.websocket_origins.clone(),
        greetings_max: limits.handshakes_max,
        logins_max: limits.logins_max,
        pressure: Pressure::default(),
        proxies: doors.proxies.clone(),
        tokens: claims,
        guests: limits.guests,
        packets_per_s: limits.packets_per_s,
        bytes_per_s: limits.bytes_per_s,
        over_rate: limits.over_rate,
        packet_bytes_max: limits.packet_bytes_max,
        connections_max: limits.connections_max,
        connect_deadline: limits.connect_deadline,
        unanswered_publishes_max: limits.unanswered_publishes_max,
        topic_alias_max: doors.topic_alias_max,
        drain_deadline: limits.drain_deadline,
    }
}

/// The wall clock in seconds. It may be set back; what is handed on then waits until time has caught up.
pub(super) fn clock() -> ClockS {
    let latest = AtomicU32::new(0);
    Arc::new(move || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_s = u32::try_from(since.as_secs()).unwrap_or(u32::MAX);
        latest.fetch_max(now_s, Ordering::Relaxed).max(now_s)
    })
}
