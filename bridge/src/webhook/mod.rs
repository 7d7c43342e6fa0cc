//! Signed webhooks, as Standard Webhooks has them: a POST to an operator's endpoint, again until it is taken, ever more
//! seldom. Used by `events` and by `registration`, each on a thread that may wait for a stranger.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tracing::{info, warn};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use godwit_store::time;

mod signature;

pub use signature::{BadSecret, WebhookSecret};

/// How long the endpoint may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Pause after the first refusal; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Where something is posted, and what signs it.
#[derive(Debug, Clone)]
pub struct WebhookEndpoint {
    /// `http` or `https`.
    pub url: String,
    /// See [`WebhookSecret`].
    pub secret: WebhookSecret,
}

/// Posts to one endpoint. Blocking.
pub(crate) struct Poster {
    agent: Agent,
    endpoint: WebhookEndpoint,
}

impl Poster {
    pub(crate) fn new(endpoint: WebhookEndpoint) -> Self {
        Self { agent: agent(&endpoint.url), endpoint }
    }

    /// Tries until it is taken, given up, or `ending`. Returns whether it was taken.
    pub(crate) fn deliver(&self, id: &str, body: &str, give_up_after: Duration, ending: impl Fn() -> bool) -> bool {
        let begun = Instant::now();
        let mut pause = PAUSE_MIN;
        for attempt in 1_u32.. {
            match self.post(id, body) {
                Ok(()) if attempt > 1 => {
                    info!(id, attempt, "webhook: taken");
                    return true;
                }
                Ok(()) => return true,
                Err(refused) if attempt == 1 => warn!(id, %refused, "webhook: refused, trying again"),
                Err(_) => {}
            }
            let until = Instant::now() + jittered(pause);
            while Instant::now() < until {
                if ending() || begun.elapsed() > give_up_after {
                    return false;
                }
                thread::sleep(until.saturating_duration_since(Instant::now()).min(PAUSE_MIN));
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        false
    }

    /// Only 2xx is taken; a redirection is not followed.
    fn post(&self, id: &str, body: &str) -> Result<(), PostRefusal> {
        let timestamp_s = time::wall().as_secs();
        let request = self.agent.post(&self.endpoint.url).header("content-type", "application/json");
        let request = request.header("webhook-id", id).header("webhook-timestamp", timestamp_s.to_string());
        let request = request.header("webhook-signature", self.endpoint.secret.sign(id, timestamp_s, body.as_bytes()));
        match request.send(body) {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(PostRefusal(format!("the endpoint says {}", answer.status()))),
            Err(error) => Err(PostRefusal(error.to_string())),
        }
    }
}

/// For addresses that an operator gave: nothing is taken from the environment, and no redirection followed.
pub(crate) fn agent(url: &str) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(ANSWER_DEADLINE))
        .user_agent(concat!("godwit/", env!("CARGO_PKG_VERSION")))
        .proxy(None);
    // Reading the system's certificates takes a while.
    let tls = url.starts_with("https:").then(|| {
        let roots = rustls_native_certs::load_native_certs().certs;
        let roots = roots.iter().map(|root| Certificate::from_der(root).to_owned());
        TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots.collect::<Vec<_>>()))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build()
    });
    match tls {
        Some(tls) => config.tls_config(tls).build().into(),
        None => config.build().into(),
    }
}

struct PostRefusal(String);

impl fmt::Display for PostRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Between a half and the whole of it, so that many servers do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let share = getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX));
    pause.mul_f64(0.5 + share / 2.0)
}
