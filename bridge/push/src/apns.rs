//! Apple's push service (APNs), with tokens of the team's key. A push is an alert that the app's extension may alter
//! (`mutable-content`), not a silent one: those are held back, and never reach an app that was closed by its user.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::http::{ANSWER_BYTES_MAX, Answer, Http, NoAnswer};
use crate::jwt::{BadKey, Signer};
use crate::{NotAdmitted, Push, TOKEN_BYTES_MAX, Urgency, Verdict, WallClock};

const PRODUCTION: &str = "https://api.push.apple.com";
const SANDBOX: &str = "https://api.sandbox.push.apple.com";
/// Apple refuses tokens that are older than an hour, and those that are renewed more often than each 20 minutes.
const RENEWED_AFTER_S: u64 = 50 * 60;
const RENEWED_AT_MOST_S: u64 = 20 * 60;
/// What a device shows whose extension does not run.
const PLACEHOLDER: &str = "New message";

/// How Apple is reached.
#[derive(Clone)]
pub struct ApnsSettings {
    /// The key file (.p8) of the developer account, PEM.
    pub key: Vec<u8>,
    /// Its id.
    pub key_id: String,
    /// The team's id.
    pub team_id: String,
    /// Bundle ids of the apps.
    pub topics: Vec<String>,
    /// Instead of Apple's, for tests: of both environments.
    pub endpoint: Option<String>,
}

impl fmt::Debug for ApnsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApnsSettings").field("topics", &self.topics).finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Apns {
    http: Http,
    signer: Signer,
    settings: ApnsSettings,
    wall: WallClock,
    /// Second at which it was made.
    token: Mutex<Option<(u64, String)>>,
}

impl Apns {
    pub(crate) fn new(settings: ApnsSettings, http: Http, wall: WallClock) -> Result<Self, BadKey> {
        let signer = Signer::p256_pem(&settings.key, Some(settings.key_id.clone()))?;
        Ok(Self { http, signer, settings, wall, token: Mutex::default() })
    }

    pub(crate) fn admits(&self, token: &[u8], topic: &str) -> Result<(), NotAdmitted> {
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return Err(NotAdmitted::BadAddress);
        }
        if self.settings.topics.iter().any(|known| known == topic) { Ok(()) } else { Err(NotAdmitted::NoApp) }
    }

    pub(crate) async fn send(&self, push: &Push, at: (&[u8], &str, bool)) -> Result<(Answer, Verdict), NoAnswer> {
        let answer = self.post(push, at).await?;
        let verdict = verdict(&answer);
        // The clocks differ, or a machine slept: once more, if the token may be renewed.
        if is_expired(&answer) && self.renew() {
            let answer = self.post(push, at).await?;
            let verdict = self::verdict(&answer);
            return Ok((answer, verdict));
        }
        Ok((answer, verdict))
    }

    async fn post(&self, push: &Push, (token, topic, sandbox): (&[u8], &str, bool)) -> Result<Answer, NoAnswer> {
        let own = self.settings.endpoint.as_deref();
        let base = own.unwrap_or(if sandbox { SANDBOX } else { PRODUCTION });
        let device: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
        let now_s = (self.wall)().as_secs();
        let priority = if push.urgency == Urgency::High { "10" } else { "5" };
        let request = Request::post(format!("{base}/3/device/{device}"))
            .header("authorization", format!("bearer {}", self.bearer(now_s).ok_or(NoAnswer)?))
            .header("apns-topic", topic)
            .header("apns-push-type", "alert")
            .header("apns-priority", priority)
            .header("apns-expiration", (now_s + push.ttl.as_secs()).to_string())
            .header("apns-collapse-id", &push.collapse)
            .body(Full::new(body(push)));
        self.http.ask(request.map_err(|_| NoAnswer)?, ANSWER_BYTES_MAX).await
    }

    /// The token that shows who this server is.
    fn bearer(&self, now_s: u64) -> Option<String> {
        let mut kept = self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((made_s, token)) = &*kept
            && (*made_s..*made_s + RENEWED_AFTER_S).contains(&now_s)
        {
            return Some(token.clone());
        }
        let token = self.signer.token(&json!({ "iss": self.settings.team_id, "iat": now_s }))?;
        *kept = Some((now_s, token.clone()));
        Some(token)
    }

    /// The next token is a new one, if Apple takes a new one by now.
    fn renew(&self) -> bool {
        let mut kept = self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now_s = (self.wall)().as_secs();
        kept.take_if(|(made_s, _)| now_s.saturating_sub(*made_s) >= RENEWED_AT_MOST_S).is_some()
    }
}

fn body(push: &Push) -> Bytes {
    let mut aps = json!({ "alert": { "body": PLACEHOLDER }, "sound": "default", "badge": push.badge });
    if push.sealed.is_empty() {
        return json!({ "aps": aps }).to_string().into();
    }
    aps["mutable-content"] = 1.into();
    json!({ "aps": aps, "godwit": STANDARD.encode(&push.sealed) }).to_string().into()
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    reason: String,
    /// Milliseconds since 1970.
    timestamp: Option<u64>,
}

fn refusal(answer: &Answer) -> Refusal {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

fn is_expired(answer: &Answer) -> bool {
    answer.status == StatusCode::FORBIDDEN && refusal(answer).reason == "ExpiredProviderToken"
}

/// "Handling notification responses from APNs".
fn verdict(answer: &Answer) -> Verdict {
    let Refusal { reason, timestamp } = refusal(answer);
    // Only Apple's own words go on, into a log.
    let text = || format!("{} {}", answer.status.as_u16(), known(&reason));
    match (answer.status.as_u16(), reason.as_str()) {
        (200, _) => Verdict::Accepted,
        (410, _) => Verdict::Gone { seen_at_ms: timestamp },
        (400, "BadDeviceToken" | "DeviceTokenNotForTopic") => Verdict::Suspect(text()),
        (413, _) | (400, "PayloadEmpty" | "BadCollapseId" | "BadExpirationDate") => Verdict::TooLarge,
        (429, _) => Verdict::Later { after: answer.retry_after().or(Some(Duration::from_secs(60))) },
        (500.., _) => Verdict::Later { after: answer.retry_after() },
        _ => Verdict::Refused(text()),
    }
}

/// A reason as Apple's documents have them: one word.
fn known(reason: &str) -> &str {
    let is_word = reason.len() <= 64 && reason.bytes().all(|byte| byte.is_ascii_alphabetic());
    if is_word { reason } else { "" }
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn said(status: u16, body: &'static str) -> Verdict {
        let status = StatusCode::from_u16(status).unwrap();
        verdict(&Answer {
            status,
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
            came_at: Duration::ZERO,
        })
    }

    #[test]
    fn answers_of_apple_mean_what_its_documents_say() {
        assert_eq!(said(200, ""), Verdict::Accepted);
        let gone = r#"{"reason":"Unregistered","timestamp":1700000000000}"#;
        assert_eq!(said(410, gone), Verdict::Gone { seen_at_ms: Some(1_700_000_000_000) });
        assert!(matches!(said(400, r#"{"reason":"BadDeviceToken"}"#), Verdict::Suspect(_)));
        assert_eq!(said(413, r#"{"reason":"PayloadTooLarge"}"#), Verdict::TooLarge);
        assert!(matches!(said(429, r#"{"reason":"TooManyRequests"}"#), Verdict::Later { after: Some(_) }));
        assert_eq!(said(503, r#"{"reason":"ServiceUnavailable"}"#), Verdict::Later { after: None });
        let refused = said(403, r#"{"reason":"InvalidProviderToken"}"#);
        assert_eq!(refused, Verdict::Refused("403 InvalidProviderToken".to_owned()));
        assert_eq!(
            said(404, "<html>token abcdef</html>"),
            Verdict::Refused("404 ".to_owned()),
            "nothing else is repeated"
        );
    }

    #[test]
    fn a_bare_wake_is_an_alert_too() {
        let target = crate::Target::Apns { token: vec![1], topic: "t".to_owned(), sandbox: false };
        let mut push = Push {
            target,
            sealed: Vec::new(),
            collapse: "c".to_owned(),
            ttl: Duration::from_secs(60),
            urgency: Urgency::High,
            badge: 3,
        };
        let bare: serde_json::Value = serde_json::from_slice(&body(&push)).unwrap();
        assert_eq!(bare, json!({ "aps": { "alert": { "body": PLACEHOLDER }, "sound": "default", "badge": 3 } }));
        push.sealed = vec![0; 2_900];
        let full = body(&push);
        assert!(full.len() <= 4_096, "what Apple takes: {}", full.len());
        let full: serde_json::Value = serde_json::from_slice(&full).unwrap();
        assert_eq!(full["aps"]["mutable-content"], 1);
    }
}
