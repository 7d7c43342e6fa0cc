//! Each part's settings from the server's. The only place that knows how broker, bridge and store are built.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use godwit_bridge::Bridge;
use godwit_bridge::audit::Audit;
use godwit_bridge::decide::Rules;
use godwit_bridge::events::EventSink;
use godwit_bridge::lead::Lead;
use godwit_bridge::media::MediaSettings;
use godwit_bridge::memory::Shortage;
use godwit_bridge::push::PushSettings;
use godwit_bridge::registration::RegistrationSettings;
use godwit_bridge::remote_bus::RumqttcBus;
use godwit_bridge::token::Tokens;
use godwit_broker::Broker;
use godwit_broker::pressure::Pressure;
use godwit_broker::router_bus::{RouterBus, ServiceAccess, ServiceLogin};
use godwit_broker::token;
use godwit_store::rocks::{RocksSettings, RocksStore};
use godwit_store::time::Time;
use tokio::runtime::Handle;

use super::chosen::{ChosenBus, ChosenStore};
use super::encryption;
use crate::private;
use crate::settings::ServerSettings;

/// Reads the password file, if there is to be one.
pub(super) fn read_login(
    key: &str,
    login: Option<&(String, PathBuf)>,
    problems: &mut Vec<String>,
) -> Option<ServiceLogin> {
    let (user, file) = login?;
    match fs::read_to_string(file) {
        Ok(password) if !password.trim_end().is_empty() => return Some((user.clone(), password.trim_end().to_owned())),
        Ok(_) => problems.push(format!("{key}: {} is empty", file.display())),
        Err(error) => problems.push(format!("{key}: read {}: {error}", file.display())),
    }
    None
}

/// Whom the service listener lets in; of it a bridge brings what bridges bring.
pub(super) fn read_access(settings: &ServerSettings, problems: &mut Vec<String>) -> ServiceAccess {
    ServiceAccess {
        bridge: read_login("service.password_file", settings.service.login.as_ref(), problems),
        reader: read_login("events.password_file", settings.events.login.as_ref(), problems),
        events_only: false,
    }
}

/// Opens the store, which locks the data folder for this process. With it comes the server's time.
pub(crate) async fn open_store(settings: &ServerSettings) -> anyhow::Result<(RocksStore, Time)> {
    let path = settings.data_dir.join("store");
    private::folder(&path)?;
    let sizes = RocksSettings {
        memtable_bytes: settings.memtable_bytes,
        cache_bytes: settings.cache_bytes,
        reserve_bytes: settings.reserve_bytes,
    };
    let time = Time::of_system(settings.time);
    let begun = time.clone();
    let open = move || RocksStore::open(&path, &sizes, begun).with_context(|| path.display().to_string());
    let store = tokio::task::spawn_blocking(open).await.context("open the store")??;
    Ok((store, time))
}

/// Leaves the next start no log to replay.
pub(crate) async fn flush(store: RocksStore) {
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.flush()).await {
        tracing::warn!(%error, "the next start replays the store's log");
    }
}

/// A bus that is open to others, and where.
pub(crate) fn service_bus(
    listen: SocketAddr,
    access: ServiceAccess,
) -> anyhow::Result<(RouterBus, Option<SocketAddr>)> {
    RouterBus::start(Some(listen), access).context("start the bus")
}

/// The bus of a broker elsewhere.
pub(crate) fn remote_bus(broker: SocketAddr, login: Option<ServiceLogin>) -> RumqttcBus {
    RumqttcBus::new(Handle::current(), broker, login)
}

/// What a bridge can do without.
#[derive(Default)]
pub(crate) struct OptionalServices {
    /// Who is told what happens.
    pub(crate) events: Option<EventSink>,
    pub(crate) media: Option<MediaSettings>,
    pub(crate) registration: Option<RegistrationSettings>,
    pub(crate) audit: Audit,
    pub(crate) tokens: Option<Arc<Tokens>>,
    /// How devices are told that are not connected.
    pub(crate) push: Option<PushSettings>,
    /// Whether there is little memory left.
    pub(crate) memory: Shortage,
    /// That it leads its cluster.
    pub(crate) lead: Lead,
}

/// The lanes.
pub(crate) async fn start_bridge(
    settings: &ServerSettings,
    (store, time): (ChosenStore, Time),
    bus: ChosenBus,
    beside: OptionalServices,
) -> anyhow::Result<Bridge> {
    let OptionalServices { events, media, registration, audit, tokens, push, memory, lead } = beside;
    let limits = &settings.limits;
    let parsed = godwit_bridge::BridgeSettings {
        rules: Rules {
            body_bytes_max: limits.body_bytes_max as usize,
            properties_bytes_max: limits.properties_bytes_max as usize,
            user_properties_max: limits.user_properties_max,
            group_members_max: limits.group_members_max,
            conversations_per_user: limits.conversations_per_user,
            stranger_adds_per_day: limits.stranger_adds_per_day,
            request_messages: limits.request_messages,
            retention_s: settings.undelivered_s,
            history: settings.history,
            recall_window_s: limits.recall_window_s,
            media_grace_s: settings.media.grace_s,
            encryption: settings.encryption.as_ref().map(encryption::rules),
        },
        lead,
        lanes: settings.lanes,
        window_messages: limits.window_messages,
        window_bytes: limits.window_bytes,
        memory,
        devices_per_user_max: limits.devices_per_user_max,
        unanswered_publishes_max: limits.unanswered_publishes_max.into(),
        inbox_entries: limits.inbox_entries,
        inbox_bytes: limits.inbox_bytes,
        idle_device_days: limits.idle_device_days,
        phone_lookups_per_day: limits.phone_lookups_per_day,
        offline_after: limits.offline_after,
        cached_per_lane: settings.cached_per_lane,
        media,
        registration,
        audit,
        tokens,
        push,
        encryption: settings.encryption.as_ref().map(encryption::settings),
    };
    godwit_bridge::start(parsed, store, time, bus, events).await.context("start the bridge")
}

/// The listeners for clients.
pub(crate) async fn start_broker(
    settings: &ServerSettings,
    bus: ChosenBus,
    pressure: Pressure,
) -> anyhow::Result<Broker> {
    let doors = godwit_broker::BrokerSettings { pressure, ..doors(settings) };
    godwit_broker::start(doors, bus).await.context("start the broker")
}

/// What the doors are told.
pub(crate) fn doors(settings: &ServerSettings) -> godwit_broker::BrokerSettings {
    let ServerSettings { limits, listeners: doors, jwt, .. } = settings;
    let claims = jwt
        .as_ref()
        .map(|jwt| token::TokenClaims { user: jwt.tokens.user_claim.clone(), device: jwt.tokens.device_claim.clone() });
    godwit_broker::BrokerSettings {
        listeners: doors.listen.iter().map(|(_, listen)| *listen).collect(),
        tls: doors.tls.clone(),
        origins: doors.websocket_origins.clone(),
        handshakes_max: limits.handshakes_max,
        logins_max: limits.logins_max,
        pressure: Pressure::default(),
        proxies: doors.proxies.clone(),
        tokens: claims,
        connection_limits: limits.connection_limits,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_own_defaults_are_the_documented_ones() {
        let (settings, _) = crate::settings::load(None, None).expect("the defaults are good");
        let own = godwit_broker::BrokerSettings::default();
        assert_eq!(format!("{:#?}", doors(&settings)), format!("{own:#?}"));
    }
}
