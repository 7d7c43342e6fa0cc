//! What operators want to know of what happens, and where it is told.

use std::path::PathBuf;

use godwit_bridge::events::EventKind;
use ureq::http::Uri;

use super::layers::Layers;

/// See `deploy/godwit.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventSettings {
    pub(crate) kinds: Vec<EventKind>,
    /// On the service listener.
    pub(crate) mqtt: bool,
    /// User of a reader at the service listener, and the file with the password.
    pub(crate) login: Option<(String, PathBuf)>,
    /// Where they are posted, and the file with the secret.
    pub(crate) webhook: Option<(String, PathBuf)>,
}

impl EventSettings {
    /// Somebody wants to know.
    pub(crate) fn are_told(&self) -> bool {
        self.mqtt || self.webhook.is_some()
    }
}

/// `service_has_login`: bridges have to say who they are.
pub(super) fn events(from: &mut Layers, service_has_login: bool) -> EventSettings {
    let kinds = from.take("events.kinds", kinds);
    let mqtt = from.take("events.mqtt", Ok::<bool, String>);
    let login = super::user_and_file(from, "events.user", "events.password_file");
    if login.is_some() && !service_has_login {
        from.refuse("events.user", "needs service.user: who leaves both out would be taken for a bridge".to_owned());
    }
    let plaintext = from.take("events.allow_plaintext", Ok::<bool, String>);
    let or_set = |refused: String| match refused.ends_with("use https") {
        true => format!("{refused}, or set events.allow_plaintext = true"),
        false => refused,
    };
    let url = from.take("events.webhook_url", |url: String| url_of(url, plaintext).map_err(or_set));
    let file = from.take("events.webhook_secret_file", Ok::<String, String>);
    if url.is_some() && file.is_empty() {
        from.refuse("events.webhook_secret_file", "needed with events.webhook_url".to_owned());
    }
    EventSettings { kinds, mqtt, login, webhook: url.map(|url| (url, PathBuf::from(file))) }
}

fn kinds(text: String) -> Result<Vec<EventKind>, String> {
    let known = || EventKind::ALL.map(EventKind::name).join(", ");
    let kind = |name: &str| EventKind::ALL.into_iter().find(|kind| kind.name() == name);
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| kind(name).ok_or_else(|| format!("{name:?} is none of {}", known()))).collect()
}

/// Empty: none.
pub(super) fn url_of(text: String, plaintext: bool) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let no_url = || format!("{text:?} is no URL like https://example.com/godwit");
    let url: Uri = text.parse().map_err(|_| no_url())?;
    let host = url.host().filter(|host| !host.is_empty()).ok_or_else(no_url)?;
    let loopback = matches!(host, "localhost" | "[::1]") || host.starts_with("127.");
    match url.scheme_str() {
        Some("https") => Ok(Some(text)),
        Some("http") if loopback || plaintext => Ok(Some(text)),
        Some("http") => Err(format!("{text} would not be encrypted: use https")),
        _ => Err(no_url()),
    }
}
