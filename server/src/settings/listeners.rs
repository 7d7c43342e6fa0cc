//! The sections `[mqtt]` and `[tls]`: where clients come in, and on what terms.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use godwit_broker::proxy::Network;
use godwit_broker::{ListenerSettings, connection_limits, tls};

use super::layers::Layers;
use super::{address, listener, number};

/// See `deploy/godwit.toml` for what each setting means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MqttSettings {
    /// With the key of each. The first is `mqtt.listen`.
    pub(crate) listen: Vec<(&'static str, ListenerSettings)>,
    pub(crate) tls: Option<tls::TlsSettings>,
    /// What listeners of HTTP show; `None`: none of them does TLS.
    pub(crate) web_certificate: Option<tls::CertificateFiles>,
    pub(crate) websocket_origins: Vec<String>,
    /// With `mqtt.proxy_protocol`.
    pub(crate) proxies: Option<Vec<Network>>,
    pub(crate) topic_alias_max: u16,
}

/// 0: no limit.
const ANY: RangeInclusive<u64> = 0..=10_000_000;

/// Without what [`tls()`] reads.
pub(super) fn listeners(from: &mut Layers) -> MqttSettings {
    let mut listen =
        vec![("mqtt.listen", ListenerSettings::plain(listener(from, "mqtt.listen", "mqtt.allow_plaintext")))];
    listen.extend(tls_listener(from, "mqtt.tls_listen", false));
    listen.extend(plain_websocket(from));
    listen.extend(tls_listener(from, "mqtt.websocket_tls_listen", true));
    MqttSettings {
        websocket_origins: from.take("mqtt.websocket_origins", origins),
        proxies: proxies(from),
        topic_alias_max: number(from, "mqtt.topic_alias_max", 0..=u16::MAX.into()),
        tls: None,
        web_certificate: None,
        listen,
    }
}

/// Those of the section `[limits]` that are about addresses.
pub(super) fn connection_limits(from: &mut Layers) -> connection_limits::NetworkLimits {
    connection_limits::NetworkLimits {
        connections_per_address: number(from, "limits.connections_per_address", ANY),
        unauthenticated: number(from, "limits.unauthenticated_connections", ANY),
        unauthenticated_per_address: number(from, "limits.unauthenticated_per_address", ANY),
        failed_logins: number(from, "limits.failed_logins", ANY),
    }
}

/// Empty: nowhere.
pub(super) fn optional(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() { Ok(None) } else { address(text).map(Some) }
}

fn tls_listener(from: &mut Layers, key: &'static str, websocket: bool) -> Option<(&'static str, ListenerSettings)> {
    let addr = from.take(key, |text: String| optional(&text))?;
    Some((key, ListenerSettings { addr, tls: true, websocket }))
}

fn plain_websocket(from: &mut Layers) -> Option<(&'static str, ListenerSettings)> {
    const KEY: &str = "mqtt.websocket_listen";
    const PLAINTEXT: &str = "mqtt.websocket_allow_plaintext";
    let addr = from.take(KEY, |text: String| optional(&text));
    let plaintext = from.take(PLAINTEXT, Ok::<bool, String>);
    let addr = addr?;
    super::refuse_plaintext(from, KEY, addr, PLAINTEXT, plaintext);
    Some((KEY, ListenerSettings { addr, tls: false, websocket: true }))
}

/// What listeners of MQTT show, and what those of HTTP (`web`) do.
pub(super) fn tls(
    from: &mut Layers,
    listen: &[(&'static str, ListenerSettings)],
    web: &[(&'static str, SocketAddr)],
) -> (Option<tls::TlsSettings>, Option<tls::CertificateFiles>) {
    let mut file = |key| PathBuf::from(from.take(key, Ok::<String, String>));
    let files = tls::CertificateFiles { certificates: file("tls.certificates"), key: file("tls.key") };
    let clients = clients(from);
    let of_mqtt = listen.iter().find(|(_, listen)| listen.tls).map(|(key, _)| *key);
    let of_web = web.first().map(|(key, _)| *key);
    let empty = [("tls.certificates", &files.certificates), ("tls.key", &files.key)];
    let empty = empty.into_iter().filter(|(_, file)| file.as_os_str().is_empty());
    for (key, listener) in empty.filter_map(|(key, _)| Some((key, of_mqtt.or(of_web)?))) {
        from.refuse(key, format!("needed with {listener}"));
    }
    (of_mqtt.map(|_| tls::TlsSettings { files: files.clone(), clients }), of_web.map(|_| files))
}

fn clients(from: &mut Layers) -> Option<tls::ClientCertificates> {
    const ROOTS: &str = "tls.client_ca";
    let roots = PathBuf::from(from.take(ROOTS, Ok::<String, String>));
    let required = from.take("tls.client_certificates", |text: String| match text.as_str() {
        "none" => Ok(None),
        "optional" => Ok(Some(false)),
        "required" => Ok(Some(true)),
        other => Err(format!("{other:?} is neither \"none\" nor \"optional\" nor \"required\"")),
    })?;
    if roots.as_os_str().is_empty() {
        from.refuse(ROOTS, "needed with tls.client_certificates".to_owned());
    }
    Some(tls::ClientCertificates { roots, required })
}

fn proxies(from: &mut Layers) -> Option<Vec<Network>> {
    const FROM: &str = "mqtt.proxy_from";
    let proxied = from.take("mqtt.proxy_protocol", Ok::<bool, String>);
    let networks = from.take(FROM, networks);
    match (proxied, networks.is_empty()) {
        (true, true) => from.refuse(FROM, "needed with mqtt.proxy_protocol".to_owned()),
        (false, false) => from.refuse(FROM, "means nothing without mqtt.proxy_protocol = true".to_owned()),
        _ => {}
    }
    proxied.then_some(networks)
}

/// Addresses or networks.
pub(super) fn networks(list: Vec<String>) -> Result<Vec<Network>, String> {
    let network = |text: &String| text.parse::<Network>().map_err(|error| format!("{text:?}: {error}"));
    list.iter().map(network).collect()
}

/// As browsers say them: scheme, host, and the port if it is not the scheme's own.
fn origins(origins: Vec<String>) -> Result<Vec<String>, String> {
    let is_origin = |origin: &String| {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        origin == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ']))
    };
    match origins.iter().find(|origin| !is_origin(origin)) {
        Some(origin) => Err(format!("{origin:?} is not an origin like \"https://chat.example.org\", nor \"*\"")),
        None => Ok(origins),
    }
}
