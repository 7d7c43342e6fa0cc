//! The section `[push]`: which push services tell devices that are not connected that something waits.

use std::path::PathBuf;
use std::time::Duration;

use ureq::http::Uri;

use super::layers::Layers;
use super::{number, seconds};

const DAY_S: u64 = 24 * 3_600;

/// See `deploy/godwit.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PushKeys {
    pub(crate) delay: Duration,
    pub(crate) active: Duration,
    pub(crate) per_minute: u32,
    pub(crate) queue: usize,
    pub(crate) ttl_max: Duration,
    pub(crate) apns: Option<ApnsKeys>,
    pub(crate) fcm: Option<FcmKeys>,
    pub(crate) web: Option<WebKeys>,
}

/// How Apple is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApnsKeys {
    pub(crate) key_file: PathBuf,
    pub(crate) key_id: String,
    pub(crate) team_id: String,
    pub(crate) topics: Vec<String>,
    pub(crate) endpoint: Option<String>,
}

/// How Google is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FcmKeys {
    pub(crate) service_account_file: PathBuf,
    pub(crate) endpoint: Option<String>,
    pub(crate) token_endpoint: Option<String>,
}

/// Which push services users may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebKeys {
    pub(crate) subject: String,
    pub(crate) hosts: Vec<String>,
    pub(crate) allow_private: bool,
}

/// `None`: nobody is pushed.
pub(super) fn parse(from: &mut Layers) -> Option<PushKeys> {
    let delay = Duration::from_millis(number(from, "push.delay_ms", 0..=60_000));
    let active = seconds(from, "push.active_s", 0..=3_600);
    let per_minute = number(from, "push.per_minute", 1..=1_000);
    let queue = number(from, "push.queue", 1_024..=16_777_216);
    let ttl_max = Duration::from_secs(DAY_S * number::<u64>(from, "push.ttl_days", 1..=28));
    let (apns, fcm, web) = (apns(from), fcm(from), web(from));
    if apns.is_none() && fcm.is_none() && web.is_none() {
        return None;
    }
    Some(PushKeys { delay, active, per_minute, queue, ttl_max, apns, fcm, web })
}

fn apns(from: &mut Layers) -> Option<ApnsKeys> {
    let key_file = from.take("push.apns_key_file", Ok::<String, String>);
    let key_id = from.take("push.apns_key_id", Ok::<String, String>);
    let team_id = from.take("push.apns_team_id", Ok::<String, String>);
    let topics = from.take("push.apns_topics", Ok::<Vec<String>, String>);
    let endpoint = from.take("push.apns_endpoint", loopback);
    if key_file.is_empty() {
        return None;
    }
    let missing = [
        ("push.apns_key_id", key_id.is_empty()),
        ("push.apns_team_id", team_id.is_empty()),
        ("push.apns_topics", topics.is_empty()),
    ];
    for (key, _) in missing.into_iter().filter(|(_, missing)| *missing) {
        from.refuse(key, "needed with push.apns_key_file".to_owned());
    }
    Some(ApnsKeys { key_file: key_file.into(), key_id, team_id, topics, endpoint })
}

fn fcm(from: &mut Layers) -> Option<FcmKeys> {
    let file = from.take("push.fcm_service_account_file", Ok::<String, String>);
    let endpoint = from.take("push.fcm_endpoint", loopback);
    let token_endpoint = from.take("push.fcm_token_endpoint", loopback);
    (!file.is_empty()).then(|| FcmKeys { service_account_file: file.into(), endpoint, token_endpoint })
}

fn web(from: &mut Layers) -> Option<WebKeys> {
    let subject = from.take("push.web_subject", subject);
    let hosts = from.take("push.web_hosts", hosts);
    let allow_private = from.take("push.web_allow_private", Ok::<bool, String>);
    if subject.is_empty() {
        return None;
    }
    if hosts.is_empty() {
        from.refuse("push.web_hosts", "needed with push.web_subject".to_owned());
    }
    Some(WebKeys { subject, hosts, allow_private })
}

/// Whom push services may write to: Apple's refuses what is no real address. Empty: no Web Push.
fn subject(text: String) -> Result<String, String> {
    let host = match (text.strip_prefix("mailto:"), text.parse::<Uri>().ok()) {
        (Some(address), _) => {
            address.split_once('@').filter(|(name, _)| !name.is_empty()).map(|(_, host)| host.to_owned())
        }
        (None, Some(url)) if url.scheme_str() == Some("https") => url.host().map(str::to_owned),
        _ => None,
    };
    let is_real = |host: &String| host.contains('.') && !host.starts_with('.') && !host.ends_with(".localhost");
    match host.filter(is_real) {
        None if !text.is_empty() => {
            Err(format!("{text:?} is no address like mailto:push@example.org or https://example.org"))
        }
        _ => Ok(text),
    }
}

fn hosts(names: Vec<String>) -> Result<Vec<String>, String> {
    let plain = |name: &str| {
        let rest = name.strip_prefix("*.").unwrap_or(name);
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        name == "*" || (!rest.is_empty() && rest.bytes().all(letters))
    };
    match names.iter().find(|name| !plain(name)) {
        Some(bad) => Err(format!("{bad:?} is neither a host like push.example.org nor *.example.org nor *")),
        None => Ok(names.iter().map(|name| name.to_ascii_lowercase()).collect()),
    }
}

/// Instead of a vendor's, for tests; empty: the vendor's. Never elsewhere: it is shown the vendor's keys.
fn loopback(text: String) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let url: Option<Uri> = text.parse().ok();
    let host = url.as_ref().and_then(Uri::host);
    match host {
        Some(host) if matches!(host, "localhost" | "[::1]") || host.starts_with("127.") => {
            Ok(Some(text.trim_end_matches('/').to_owned()))
        }
        _ => Err(format!("{text:?} is no URL on this machine like https://localhost:8443")),
    }
}
