//! The server's settings, parsed and checked before any port opens or folder is made. Read by every command.
//!
//! The defaults are `deploy/godwit.toml`, built into the program.

mod cluster;
mod encryption;
mod events;
mod jwt;
mod layers;
mod listeners;
mod media;
mod page;
mod push;
mod registration;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::Map;
use godwit_bridge::retention::{History, Policy};
use godwit_bridge::retry;
use godwit_broker::connection_limits;
use godwit_broker::proxy::Network;
use godwit_http::ProxyHeader;
use godwit_schemas::partition::LANES_MAX;
use godwit_store::time;

use crate::log;

pub(crate) use cluster::{CassandraSettings, ClusterSettings};
pub(crate) use encryption::EncryptionKeys;
pub(crate) use events::EventSettings;
pub(crate) use jwt::{Jwt, KeysAt};
pub(crate) use layers::{Effective, SettingProblem};
use layers::{Layers, SettingSource};
pub(crate) use listeners::MqttSettings;
pub(crate) use media::{FileSettings, Storage};
pub(crate) use page::PageSettings;
pub(crate) use push::PushKeys;
pub(crate) use registration::{Provider, RegistrationKeys};

/// Room that a packet needs around the largest body: topic, properties, the event's own fields.
const PACKET_OVERHEAD_BYTES: u32 = 1_024;

/// Tables of the store.
const TABLES: usize = 6;
/// What a server takes that does nothing yet, without its store.
const OTHERWISE_BYTES: usize = 64 << 20;

const DAY_S: u32 = 24 * 3_600;

/// See `deploy/godwit.toml` for what each setting means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerSettings {
    pub(crate) listeners: MqttSettings,
    pub(crate) http_listen: SocketAddr,
    pub(crate) http_tls_listen: Option<SocketAddr>,
    pub(crate) http_connections_max: usize,
    /// Who is believed to say for whom a request over HTTP comes.
    pub(crate) http_proxies: Vec<Network>,
    /// In which header.
    pub(crate) http_proxy_header: ProxyHeader,
    /// For browsers.
    pub(crate) page: PageSettings,
    /// With the administrator's token; `None`: a new one at each start.
    pub(crate) admin_token_file: Option<PathBuf>,
    pub(crate) service: Service,
    pub(crate) events: EventSettings,
    pub(crate) data_dir: PathBuf,
    pub(crate) limits: LimitSettings,
    /// How long a message waits for a device.
    pub(crate) undelivered_s: u32,
    /// What is kept of messages that were delivered.
    pub(crate) history: Policy,
    /// How far the wall clock is believed.
    pub(crate) time: time::ClockSettings,
    /// At least 1.
    pub(crate) lanes: u32,
    pub(crate) cached_per_lane: usize,
    pub(crate) memtable_bytes: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) reserve_bytes: u64,
    pub(crate) media: FileSettings,
    /// `None`: nobody registers by themselves.
    pub(crate) registration: Option<RegistrationKeys>,
    /// `None`: devices that are not connected are told nothing.
    pub(crate) push: Option<PushKeys>,
    /// `None`: conversations cannot be encrypted.
    pub(crate) encryption: Option<EncryptionKeys>,
    /// `None`: there are no tokens.
    pub(crate) jwt: Option<Jwt>,
    /// `None`: this server is not part of a cluster.
    pub(crate) cluster: Option<ClusterSettings>,
    /// Where it is noted who got in.
    pub(crate) audit_file: Option<PathBuf>,
    pub(crate) log: Log,
    pub(crate) shutdown_deadline: Duration,
}

/// The private listener between the two processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) listen: SocketAddr,
    /// User and the file with the password.
    pub(crate) login: Option<(String, PathBuf)>,
}

/// What one client, user or group may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitSettings {
    pub(crate) body_bytes_max: u32,
    pub(crate) properties_bytes_max: u32,
    pub(crate) user_properties_max: usize,
    pub(crate) packet_bytes_max: u32,
    pub(crate) connections_max: u64,
    pub(crate) connection_limits: connection_limits::NetworkLimits,
    pub(crate) packets_per_s: u32,
    pub(crate) bytes_per_s: u32,
    pub(crate) over_rate: Duration,
    pub(crate) handshakes_max: usize,
    pub(crate) logins_max: usize,
    /// Of the whole process; 0: three quarters of what the machine has.
    pub(crate) memory_bytes_max: u64,
    pub(crate) connect_deadline: Duration,
    pub(crate) drain_deadline: Duration,
    pub(crate) unanswered_publishes_max: u16,
    pub(crate) group_members_max: usize,
    pub(crate) conversations_per_user: u32,
    pub(crate) stranger_adds_per_day: u32,
    pub(crate) request_messages: u32,
    pub(crate) devices_per_user_max: usize,
    pub(crate) recall_window_s: u32,
    pub(crate) inbox_entries: u32,
    pub(crate) inbox_bytes: u64,
    pub(crate) idle_device_days: u32,
    pub(crate) phone_lookups_per_day: u32,
    pub(crate) offline_after: Duration,
    pub(crate) window_messages: u32,
    pub(crate) window_bytes: u32,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) level: String,
    pub(crate) json: bool,
}

/// Everything that is wrong with the settings, one line each.
#[derive(Debug)]
pub(crate) struct SettingsRefused(Vec<SettingProblem>);

impl fmt::Display for SettingsRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings are refused:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// Settings from all layers, and where each comes from.
///
/// # Errors
/// Every problem there is, at once.
pub(crate) fn load(
    file: Option<&Path>,
    data: Option<&Path>,
) -> Result<(ServerSettings, Vec<Effective>), SettingsRefused> {
    load_with(file, None, data)
}

fn load_with(
    file: Option<&Path>,
    environment: Option<Map<String, String>>,
    data: Option<&Path>,
) -> Result<(ServerSettings, Vec<Effective>), SettingsRefused> {
    let mut layers = Layers::gather(file, environment, data);
    let settings = parse(&mut layers);
    let effective = layers.finish().map_err(SettingsRefused)?;
    Ok((settings, effective))
}

/// The settings in force as a file that has the same effect, with a note at what is not the default.
pub(crate) fn render(effective: &[Effective]) -> String {
    let mut text = String::new();
    let mut section = "";
    for Effective { key, value, origin } in effective {
        let (of, name) = key.split_once('.').unwrap_or(("", key));
        if of != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            _ = writeln!(text, "{gap}[{of}]");
            section = of;
        }
        let note = match origin {
            SettingSource::Default => String::new(),
            SettingSource::File => "  # file".to_owned(),
            SettingSource::Environment => format!("  # {}", layers::variable(key)),
            SettingSource::DataFlag => "  # --data".to_owned(),
        };
        _ = writeln!(text, "{name} = {value}{note}");
    }
    text
}

fn parse(from: &mut Layers) -> ServerSettings {
    let mut doors = listeners::listeners(from);
    let http_listen = listener(from, "http.listen", "http.allow_plaintext");
    let http_tls_listen = from.take("http.tls_listen", |text: String| listeners::optional(&text));
    let http_connections_max = number(from, "http.connections_max", 1..=65_536);
    let http_proxies = from.take("http.proxy_from", listeners::networks);
    let http_proxy_header = from.take("http.proxy_header", proxy_header);
    let admin_token_file =
        from.take("http.admin_token_file", |file: String| Ok((!file.is_empty()).then(|| file.into())));
    let service = service(from);
    let events = events::events(from, service.login.is_some());
    let mut listeners: Vec<_> = doors.listen.iter().map(|(key, listen)| (*key, listen.addr)).collect();
    listeners.extend([("http.listen", http_listen), ("service.listen", service.listen)]);
    let media = media::parse(from);
    let page = page::parse(from);
    let web = [
        ("http.tls_listen", http_tls_listen),
        ("media.tls_listen", media.tls_listen()),
        ("web.tls_listen", page.tls_listen),
    ];
    let web: Vec<_> = web.into_iter().filter_map(|(key, addr)| Some((key, addr?))).collect();
    (doors.tls, doors.web_certificate) = listeners::tls(from, &doors.listen, &web);
    listeners.extend(web);
    if let Storage::Embedded { listen, .. } = media.storage {
        listeners.push(("media.listen", listen));
    }
    listeners.extend(page.listen.map(|listen| ("web.listen", listen)));
    ports_differ(from, &listeners);
    let of_clients = |key: &str| ["mqtt.", "http.", "web."].iter().any(|section| key.starts_with(section));
    let clients = listeners.iter().filter(|(key, _)| of_clients(key));
    let public = clients.filter(|(_, addr)| !addr.ip().is_loopback()).map(|(key, _)| *key).next();
    let registration = registration::parse(from, public);
    let cluster = cluster::parse(from, &media.storage);
    let limits = limits(from);
    let memtable_bytes = mib(from, "store.memtable_mib", 1..=1_024);
    let cache_bytes = mib(from, "store.cache_mib", 1..=1_048_576);
    let reserve_bytes = mib(from, "store.reserve_mib", 0..=1_048_576) as u64;
    let least = (cache_bytes + TABLES * memtable_bytes + OTHERWISE_BYTES) as u64;
    if (1..least).contains(&limits.memory_bytes_max) {
        let text =
            format!("store.cache_mib, {TABLES} times store.memtable_mib and the rest take {} already", least >> 20);
        from.refuse("limits.memory_mib", text);
    }
    ServerSettings {
        listeners: doors,
        http_listen,
        http_tls_listen,
        http_connections_max,
        http_proxies,
        http_proxy_header,
        page,
        admin_token_file,
        service,
        events,
        data_dir: from.take("data.dir", |dir: String| match dir.as_str() {
            "" => Err("names no folder".to_owned()),
            dir => Ok(PathBuf::from(dir)),
        }),
        limits,
        undelivered_s: DAY_S * number::<u32>(from, "retention.undelivered_days", 1..=3_650),
        history: history_policy(from),
        time: time::ClockSettings {
            hold: seconds(from, "clock.leap_hold_s", 1..=2_592_000),
            downtime_max: seconds(from, "clock.downtime_max_s", 0..=315_360_000),
        },
        lanes: lanes(number(from, "bridge.lanes", 0..=u64::from(LANES_MAX))),
        cached_per_lane: number(from, "bridge.cached_per_lane", 16..=16_777_216),
        memtable_bytes,
        cache_bytes,
        reserve_bytes,
        media,
        registration,
        push: push::parse(from),
        encryption: encryption::parse(from),
        jwt: jwt::parse(from),
        cluster,
        audit_file: from.take("audit.file", |file: String| Ok((!file.is_empty()).then(|| PathBuf::from(file)))),
        log: log(from),
        shutdown_deadline: seconds(from, "shutdown.deadline_s", 1..=3_600),
    }
}

fn limits(from: &mut Layers) -> LimitSettings {
    let body_bytes_max = number::<u32>(from, "limits.body_bytes_max", 1..=1_048_576);
    let packet_bytes_max = number::<u32>(from, "limits.packet_bytes_max", 1..=2_097_152);
    if packet_bytes_max <= body_bytes_max + PACKET_OVERHEAD_BYTES {
        let body = format!("limits.body_bytes_max ({body_bytes_max})");
        let text = format!("{packet_bytes_max} must exceed {body} by more than {PACKET_OVERHEAD_BYTES}");
        from.refuse("limits.packet_bytes_max", text);
    }
    LimitSettings {
        body_bytes_max,
        // No string or binary data of MQTT is longer.
        properties_bytes_max: number(from, "limits.properties_bytes_max", 0..=u16::MAX.into()),
        user_properties_max: number(from, "limits.user_properties_max", 0..=10_000),
        packet_bytes_max,
        connections_max: number(from, "limits.connections_max", 1..=10_000_000),
        connection_limits: listeners::connection_limits(from),
        packets_per_s: number(from, "limits.packets_per_s", 0..=1_000_000),
        bytes_per_s: number(from, "limits.bytes_per_s", 0..=100_000_000),
        over_rate: seconds(from, "limits.over_rate_s", 0..=86_400),
        handshakes_max: number(from, "limits.handshakes_max", 1..=1_000_000),
        logins_max: number(from, "limits.logins_max", 1..=1_000_000),
        memory_bytes_max: mib(from, "limits.memory_mib", 0..=16_777_216) as u64,
        connect_deadline: seconds(from, "limits.connect_deadline_s", 1..=600),
        drain_deadline: seconds(from, "limits.drain_deadline_s", 1..=3_600),
        unanswered_publishes_max: number(from, "limits.unanswered_publishes_max", 1..=retry::SLOTS.into()),
        group_members_max: number(from, "limits.group_members_max", 2..=10_000),
        conversations_per_user: number(from, "limits.conversations_per_user", 0..=1_000_000_000),
        stranger_adds_per_day: number(from, "limits.stranger_adds_per_day", 0..=1_000_000_000),
        request_messages: number(from, "limits.request_messages", 0..=1_000_000_000),
        devices_per_user_max: number(from, "limits.devices_per_user_max", 1..=256),
        recall_window_s: number(from, "limits.recall_window_s", 0..=u32::MAX.into()),
        inbox_entries: number(from, "limits.inbox_entries", 100..=1_000_000_000),
        inbox_bytes: number(from, "limits.inbox_bytes", 0..=i64::MAX as u64),
        idle_device_days: number(from, "limits.idle_device_days", 0..=36_500),
        phone_lookups_per_day: number(from, "limits.phone_lookups_per_day", 0..=1_000_000_000),
        offline_after: seconds(from, "limits.offline_after_s", 0..=3_600),
        window_messages: number(from, "limits.window_messages", 1..=u16::MAX.into()),
        window_bytes: number(from, "limits.window_bytes", 1_024..=1_073_741_824),
    }
}

fn service(from: &mut Layers) -> Service {
    let listen = listener(from, "service.listen", "service.allow_plaintext");
    let login = user_and_file(from, "service.user", "service.password_file");
    if login.is_none() && !listen.ip().is_loopback() {
        from.refuse("service.user", format!("needed because service.listen ({listen}) is not loopback"));
    }
    Service { listen, login }
}

/// A user, and the file with its password: both or neither.
fn user_and_file(from: &mut Layers, user_key: &'static str, file_key: &'static str) -> Option<(String, PathBuf)> {
    let user = from.take(user_key, Ok::<String, String>);
    let file = from.take(file_key, Ok::<String, String>);
    match (user.is_empty(), file.is_empty()) {
        (false, false) => return Some((user, PathBuf::from(file))),
        (true, true) => {}
        (true, false) => from.refuse(user_key, format!("needed with {file_key}")),
        (false, true) => from.refuse(file_key, format!("needed with {user_key}")),
    }
    None
}

fn log(from: &mut Layers) -> Log {
    let level = from.take("log.level", |level: String| log::check(&level).map(|()| level));
    let json = from.take("log.format", |format: String| match format.as_str() {
        "text" => Ok(false),
        "json" => Ok(true),
        other => Err(format!("{other:?} is neither \"text\" nor \"json\"")),
    });
    Log { level, json }
}

fn history_policy(from: &mut Layers) -> Policy {
    let usual = from.take("retention.history", history);
    let most = from.take("retention.history_max", |text: String| match text.as_str() {
        "" => Ok(usual),
        _ => history(text),
    });
    if most < usual {
        from.refuse("retention.history_max", "less than retention.history".to_owned());
    }
    Policy { usual, most }
}

fn history(text: String) -> Result<History, String> {
    match text.as_str() {
        "none" => Ok(History::None),
        "forever" => Ok(History::Forever),
        days => match days.parse() {
            Ok(days) if (1..=36_500).contains(&days) => Ok(History::Days(days)),
            _ => Err(format!("{text:?} is neither \"none\" nor \"forever\" nor a number of days from 1 to 36500")),
        },
    }
}

fn proxy_header(name: String) -> Result<ProxyHeader, String> {
    match name.to_ascii_lowercase().as_str() {
        "x-forwarded-for" => Ok(ProxyHeader::XForwardedFor),
        "forwarded" => Ok(ProxyHeader::Forwarded),
        _ => Err(format!("{name:?} is neither \"X-Forwarded-For\" nor \"Forwarded\"")),
    }
}

fn listener(from: &mut Layers, listen_key: &'static str, plaintext_key: &'static str) -> SocketAddr {
    let listen = from.take(listen_key, |text: String| address(&text));
    let plaintext = from.take(plaintext_key, Ok::<bool, String>);
    refuse_plaintext(from, listen_key, listen, plaintext_key, plaintext);
    listen
}

fn refuse_plaintext(
    from: &mut Layers,
    listen_key: &'static str,
    listen: SocketAddr,
    plaintext_key: &str,
    allowed: bool,
) {
    if !listen.ip().is_loopback() && !allowed {
        let text = format!("{listen} is not loopback, and nothing would be encrypted: put TLS in front");
        from.refuse(listen_key, format!("{text}, or set {plaintext_key} = true"));
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an address like 127.0.0.1:1883 or [::1]:1883"))
}

fn ports_differ(from: &mut Layers, listeners: &[(&'static str, SocketAddr)]) {
    for (at, (key, addr)) in listeners.iter().enumerate() {
        if let Some((other, _)) = listeners[..at].iter().find(|(_, other)| other == addr && addr.port() != 0) {
            from.refuse(key, format!("{addr} is already {other}"));
        }
    }
}

fn number<T: TryFrom<u64>>(from: &mut Layers, key: &'static str, range: RangeInclusive<u64>) -> T {
    from.take(key, |number: i64| {
        let inside = u64::try_from(number).ok().filter(|number| range.contains(number));
        let refused = || format!("{number} is not within {} and {}", range.start(), range.end());
        inside.and_then(|number| T::try_from(number).ok()).ok_or_else(refused)
    })
}

fn seconds(from: &mut Layers, key: &'static str, range: RangeInclusive<u64>) -> Duration {
    Duration::from_secs(number(from, key, range))
}

fn mib(from: &mut Layers, key: &'static str, range: RangeInclusive<u64>) -> usize {
    number::<usize>(from, key, range) << 20
}

fn lanes(configured: u32) -> u32 {
    let cores = || std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(8));
    // The other half of the cores has sockets, the bus and the disk to serve.
    if configured == 0 { (cores() / 2).clamp(1, 8) } else { configured }
}
