//! The sections `[mqtt]` and `[tls]`: where clients come in, and on what terms.

use std::net::SocketAddr;
use std::path::PathBuf;

use godwit_broker::{Listen, tls};

use super::layers::Layers;
use super::{address, listener, number};

/// See `deploy/godwit.toml` for what each setting means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doors {
    /// With the key of each. The first is `mqtt.listen`.
    pub(crate) listen: Vec<(&'static str, Listen)>,
    pub(crate) tls: Option<tls::Files>,
    pub(crate) websocket_origins: Vec<String>,
    pub(crate) topic_alias_max: u16,
}

pub(super) fn doors(from: &mut Layers) -> Doors {
    let mut listen = vec![("mqtt.listen", Listen::plain(listener(from, "mqtt.listen", "mqtt.allow_plaintext")))];
    listen.extend(tls_listener(from, "mqtt.tls_listen", false));
    listen.extend(plain_websocket(from));
    listen.extend(tls_listener(from, "mqtt.websocket_tls_listen", true));
    Doors {
        websocket_origins: from.take("mqtt.websocket_origins", origins),
        topic_alias_max: number(from, "mqtt.topic_alias_max", 0..=u16::MAX.into()),
        tls: files(from, &listen),
        listen,
    }
}

/// Empty: nowhere.
fn optional(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() { Ok(None) } else { address(text).map(Some) }
}

fn tls_listener(from: &mut Layers, key: &'static str, websocket: bool) -> Option<(&'static str, Listen)> {
    let addr = from.take(key, |text: String| optional(&text))?;
    Some((key, Listen { addr, tls: true, websocket }))
}

fn plain_websocket(from: &mut Layers) -> Option<(&'static str, Listen)> {
    const KEY: &str = "mqtt.websocket_listen";
    const PLAINTEXT: &str = "mqtt.websocket_allow_plaintext";
    let addr = from.take(KEY, |text: String| optional(&text));
    let plaintext = from.take(PLAINTEXT, Ok::<bool, String>);
    let addr = addr?;
    super::refuse_plaintext(from, KEY, addr, PLAINTEXT, plaintext);
    Some((KEY, Listen { addr, tls: false, websocket: true }))
}

fn files(from: &mut Layers, listen: &[(&'static str, Listen)]) -> Option<tls::Files> {
    let mut file = |key| PathBuf::from(from.take(key, Ok::<String, String>));
    let files = tls::Files { certificates: file("tls.certificates"), key: file("tls.key") };
    let (listener, _) = listen.iter().find(|(_, listen)| listen.tls)?;
    for (key, file) in [("tls.certificates", &files.certificates), ("tls.key", &files.key)] {
        if file.as_os_str().is_empty() {
            from.refuse(key, format!("needed with {listener}"));
        }
    }
    Some(files)
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
