//! Firebase Cloud Messaging, HTTP v1: Google's push service for Android. A push is a data message, so that the app and not the
//! system decides what is shown. All pushes of a device have one collapse key: Google keeps four per device, and one wake makes
//! an app fetch everything.

use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::http::{Answer, Http, NoAnswer};
use crate::jwt::{BadKey, Signer};
use crate::{NotAdmitted, Push, TOKEN_BYTES_MAX, Urgency, Verdict, WallClock};

const ENDPOINT: &str = "https://fcm.googleapis.com";
const TOKEN_ENDPOINT: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
const COLLAPSE_KEY: &str = "wake";
/// How long an assertion is good: the most that Google takes.
const ASSERTION_S: u64 = 3_600;
/// An access token is renewed so long before it ends.
const EARLY: Duration = Duration::from_secs(300);
/// Google explains errors at some length; an access token has up to 2,048 bytes.
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// How Google is reached.
#[derive(Clone)]
pub struct FcmSettings {
    /// The JSON file of a service account.
    pub service_account: Vec<u8>,
    /// Instead of Google's, for tests.
    pub endpoint: Option<String>,
    /// The same, for access tokens.
    pub token_endpoint: Option<String>,
}

impl fmt::Debug for FcmSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FcmSettings")
    }
}

#[derive(Deserialize)]
struct ServiceAccount {
    project_id: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<String>,
    client_email: Option<String>,
}

struct Access {
    token: String,
    until: Instant,
}

/// See the module.
pub(crate) struct Fcm {
    http: Http,
    signer: Signer,
    client_email: String,
    url: String,
    token_url: String,
    wall: WallClock,
    access: Mutex<Option<Access>>,
}

impl fmt::Debug for Fcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fcm")
    }
}

/// Why there is no access token.
enum NoAccess {
    NoAnswer,
    Answered(Answer),
}

impl Fcm {
    pub(crate) fn new(settings: FcmSettings, http: Http, wall: WallClock) -> Result<Self, BadKey> {
        let account: ServiceAccount = serde_json::from_slice(&settings.service_account).map_err(|_| BadKey::NotJson)?;
        let key = account.private_key.ok_or(BadKey::NoField("private_key"))?;
        let signer = Signer::rsa_pem(key.as_bytes(), account.private_key_id)?;
        let client_email = account.client_email.ok_or(BadKey::NoField("client_email"))?;
        let project = account.project_id.ok_or(BadKey::NoField("project_id"))?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if project.is_empty() || !project.bytes().all(is_plain) {
            return Err(BadKey::NoField("project_id"));
        }
        let base = settings.endpoint.unwrap_or_else(|| ENDPOINT.to_owned());
        let url = format!("{base}/v1/projects/{project}/messages:send");
        let token_url = settings.token_endpoint.unwrap_or_else(|| TOKEN_ENDPOINT.to_owned());
        Ok(Self { http, signer, client_email, url, token_url, wall, access: Mutex::default() })
    }

    pub(crate) fn admits(token: &str) -> Result<(), NotAdmitted> {
        let good = !token.is_empty() && token.len() <= TOKEN_BYTES_MAX;
        if good { Ok(()) } else { Err(NotAdmitted::BadAddress) }
    }

    pub(crate) async fn send(&self, push: &Push, token: &str) -> Result<(Answer, Verdict), NoAnswer> {
        let mut access = match self.access(None).await {
            Ok(access) => access,
            Err(refused) => return refused_access(refused),
        };
        let mut answer = self.post(push, token, &access).await?;
        if answer.status.as_u16() == 401 {
            access = match self.access(Some(&access)).await {
                Ok(access) => access,
                Err(refused) => return refused_access(refused),
            };
            answer = self.post(push, token, &access).await?;
        }
        let verdict = verdict(&answer);
        Ok((answer, verdict))
    }

    async fn post(&self, push: &Push, token: &str, access: &str) -> Result<Answer, NoAnswer> {
        let request = Request::post(&self.url)
            .header("authorization", format!("Bearer {access}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(message(push, token).to_string())));
        self.http.ask(request.map_err(|_| NoAnswer)?, ANSWER_BYTES_MAX).await
    }

    /// The access token, made if there is none, or if it is `refused`. Others wait meanwhile.
    async fn access(&self, refused: Option<&str>) -> Result<String, NoAccess> {
        let mut kept = self.access.lock().await;
        let good = |it: &&Access| it.until > Instant::now() && Some(it.token.as_str()) != refused;
        if let Some(access) = kept.as_ref().filter(good) {
            return Ok(access.token.clone());
        }
        let assertion = self.assertion().ok_or(NoAccess::NoAnswer)?;
        let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        let request = Request::post(&self.token_url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(format!("grant_type={grant}&assertion={assertion}"))));
        let request = request.map_err(|_| NoAccess::NoAnswer)?;
        let answer = self.http.ask(request, ANSWER_BYTES_MAX).await.map_err(|_| NoAccess::NoAnswer)?;
        #[derive(Deserialize)]
        struct Granted {
            access_token: String,
            expires_in: u64,
        }
        match serde_json::from_slice::<Granted>(&answer.body) {
            Ok(granted) if answer.status.is_success() => {
                let lasts = Duration::from_secs(granted.expires_in.min(86_400)).saturating_sub(EARLY);
                *kept = Some(Access { token: granted.access_token.clone(), until: Instant::now() + lasts });
                Ok(granted.access_token)
            }
            _ => Err(NoAccess::Answered(answer)),
        }
    }

    fn assertion(&self) -> Option<String> {
        let now_s = (self.wall)().as_secs();
        self.signer.token(&json!({
            "iss": self.client_email,
            "scope": SCOPE,
            // Google compares it with its own address, wherever a test sends this.
            "aud": TOKEN_ENDPOINT,
            "iat": now_s,
            "exp": now_s + ASSERTION_S,
        }))
    }
}

fn refused_access(refused: NoAccess) -> Result<(Answer, Verdict), NoAnswer> {
    let NoAccess::Answered(answer) = refused else { return Err(NoAnswer) };
    let verdict = match answer.status.as_u16() {
        429 | 500.. => Verdict::Later { after: answer.retry_after() },
        status => Verdict::Refused(format!("{status} for an access token")),
    };
    Ok((answer, verdict))
}

fn message(push: &Push, token: &str) -> Value {
    let data = match push.sealed.is_empty() {
        true => json!({ "godwit": "" }),
        false => json!({ "godwit": STANDARD.encode(&push.sealed) }),
    };
    let priority = if push.urgency == Urgency::High { "HIGH" } else { "NORMAL" };
    let android = json!({
        "priority": priority,
        "collapse_key": COLLAPSE_KEY,
        "ttl": format!("{}s", push.ttl.as_secs()),
    });
    json!({ "message": { "token": token, "data": data, "android": android } })
}

/// "ErrorCode" of the v1 API: HTTP's status, and a detail of its own.
fn verdict(answer: &Answer) -> Verdict {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let details = said["error"]["details"].as_array().map(Vec::as_slice).unwrap_or_default();
    let code = details.iter().find_map(|detail| detail["errorCode"].as_str()).unwrap_or_default();
    let text = || {
        let is_word = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        format!("{} {}", answer.status.as_u16(), if is_word { code } else { "" })
    };
    match (answer.status.as_u16(), code) {
        (200, _) => Verdict::Accepted,
        (404, "UNREGISTERED") => Verdict::Gone { seen_at_ms: None },
        (403, "SENDER_ID_MISMATCH") => Verdict::Suspect(text()),
        (400 | 413, _) => Verdict::TooLarge,
        (429, _) => Verdict::Later { after: answer.retry_after().or(Some(Duration::from_secs(60))) },
        (500.., _) => Verdict::Later { after: answer.retry_after() },
        _ => Verdict::Refused(text()),
    }
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, StatusCode};

    use super::*;

    fn said(status: u16, code: &str) -> Verdict {
        let details = json!([{ "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code }]);
        let body = json!({ "error": { "code": status, "message": "x", "details": details } }).to_string().into();
        verdict(&Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body,
            came_at: Duration::ZERO,
        })
    }

    #[test]
    fn answers_of_google_mean_what_its_documents_say() {
        assert_eq!(said(200, ""), Verdict::Accepted);
        assert_eq!(said(404, "UNREGISTERED"), Verdict::Gone { seen_at_ms: None });
        assert_eq!(said(404, ""), Verdict::Refused("404 ".to_owned()), "another project, or none");
        assert_eq!(said(403, "SENDER_ID_MISMATCH"), Verdict::Suspect("403 SENDER_ID_MISMATCH".to_owned()));
        assert_eq!(said(400, "INVALID_ARGUMENT"), Verdict::TooLarge);
        assert!(matches!(said(429, "QUOTA_EXCEEDED"), Verdict::Later { after: Some(_) }));
        assert_eq!(said(503, "UNAVAILABLE"), Verdict::Later { after: None });
        assert_eq!(said(401, "THIRD_PARTY_AUTH_ERROR"), Verdict::Refused("401 THIRD_PARTY_AUTH_ERROR".to_owned()));
    }
}
