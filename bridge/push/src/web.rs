//! Web Push (RFC 8030) with VAPID (RFC 8292): browsers, and UnifiedPush, whose push service the user chooses.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Uri};
use serde_json::json;

use crate::guard::Guard;
use crate::http::{ANSWER_BYTES_MAX, Answer, Http, NoAnswer};
use crate::jwt::{BadKey, Signer};
use crate::{NotAdmitted, Push, Urgency, Verdict, WallClock};

/// How long a token is good: push services take up to 24 hours.
const TOKEN_S: u64 = 12 * 3_600;
/// A token is used so long.
const RENEWED_AFTER_S: u64 = 6 * 3_600;
/// Push services whose tokens are kept. When there are more, all are made anew.
const ORIGINS_MAX: usize = 1_024;

/// How push services are reached that users choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSettings {
    /// Whom a push service may write to about this server: `mailto:` or `https:`.
    pub subject: String,
    /// Which ones users may choose.
    pub guard: Guard,
}

/// See the module.
pub(crate) struct Web {
    http: Http,
    settings: WebSettings,
    signer: OnceLock<Signer>,
    wall: WallClock,
    /// By origin: second at which it was made.
    tokens: Mutex<HashMap<String, (u64, String)>>,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Web")
    }
}

impl Web {
    pub(crate) fn new(settings: WebSettings, http: Http, wall: WallClock) -> Self {
        Self { http, settings, signer: OnceLock::new(), wall, tokens: Mutex::default() }
    }

    pub(crate) fn use_key(&self, pkcs8: &[u8]) -> Result<(), BadKey> {
        let signer = Signer::p256(pkcs8, None)?;
        // It is the same one.
        _ = self.signer.set(signer);
        Ok(())
    }

    pub(crate) fn vapid(&self) -> Option<Vec<u8>> {
        Some(self.signer.get()?.public().to_vec())
    }

    pub(crate) fn admits(&self, endpoint: &str) -> Result<(), NotAdmitted> {
        self.settings.guard.endpoint(endpoint).map(drop).ok_or(NotAdmitted::BadAddress)
    }

    pub(crate) async fn send(&self, push: &Push, endpoint: &str) -> Result<(Answer, Verdict), NoAnswer> {
        // Settings may have changed since it was registered.
        let Some(uri) = self.settings.guard.endpoint(endpoint) else {
            let answer = Answer {
                status: hyper::StatusCode::FORBIDDEN,
                headers: Default::default(),
                body: Bytes::new(),
                came_at: Duration::ZERO,
            };
            return Ok((answer, Verdict::Suspect("the host is not in push.web.hosts".to_owned())));
        };
        let authorization = self.authorization(&uri).ok_or(NoAnswer)?;
        let mut request = Request::post(uri)
            .header("authorization", authorization)
            .header("ttl", push.ttl.as_secs().to_string())
            .header("topic", &push.collapse)
            .header("urgency", if push.urgency == Urgency::High { "high" } else { "normal" });
        if !push.sealed.is_empty() {
            request =
                request.header("content-encoding", "aes128gcm").header("content-type", "application/octet-stream");
        }
        let request = request.body(Full::new(Bytes::from(push.sealed.clone()))).map_err(|_| NoAnswer)?;
        let answer = self.http.ask(request, ANSWER_BYTES_MAX).await?;
        let verdict = verdict(&answer);
        Ok((answer, verdict))
    }

    fn authorization(&self, uri: &Uri) -> Option<String> {
        let signer = self.signer.get()?;
        let origin = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
        let now_s = (self.wall)().as_secs();
        let mut kept = self.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_good = |it: &&(u64, String)| (it.0..it.0 + RENEWED_AFTER_S).contains(&now_s);
        let token = match kept.get(&origin).filter(is_good) {
            Some((_, token)) => token.clone(),
            None => {
                let claims = json!({ "aud": origin, "exp": now_s + TOKEN_S, "sub": self.settings.subject });
                let token = signer.token(&claims)?;
                if kept.len() >= ORIGINS_MAX {
                    kept.clear();
                }
                kept.insert(origin, (now_s, token.clone()));
                token
            }
        };
        Some(format!("vapid t={token},k={}", URL_SAFE_NO_PAD.encode(signer.public())))
    }
}

/// RFC 8030, 5 and 7; 507 is what ntfy says when a topic has had enough for now.
fn verdict(answer: &Answer) -> Verdict {
    match answer.status.as_u16() {
        200..=202 | 204 => Verdict::Accepted,
        404 | 410 => Verdict::Gone { seen_at_ms: None },
        400 | 413 => Verdict::TooLarge,
        429 => Verdict::Later { after: answer.retry_after().or(Some(Duration::from_secs(60))) },
        408 | 500.. => Verdict::Later { after: answer.retry_after() },
        status => Verdict::Refused(status.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, StatusCode};

    use super::*;

    #[test]
    fn answers_mean_what_rfc_8030_says() {
        let said = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            verdict(&Answer { status, headers: HeaderMap::new(), body: Bytes::new(), came_at: Duration::ZERO })
        };
        assert_eq!(said(201), Verdict::Accepted);
        assert_eq!(said(410), Verdict::Gone { seen_at_ms: None });
        assert_eq!(said(413), Verdict::TooLarge);
        assert!(matches!(said(429), Verdict::Later { after: Some(_) }));
        assert_eq!(said(507), Verdict::Later { after: None }, "ntfy: never a reason to delete");
        assert_eq!(said(302), Verdict::Refused("302".to_owned()), "not followed");
        assert_eq!(said(403), Verdict::Refused("403".to_owned()));
    }
}
