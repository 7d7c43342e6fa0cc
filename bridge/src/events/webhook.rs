//! Events posted to an operator's endpoint, signed as Standard Webhooks has it. On a thread of its own, since it waits for
//! a stranger: one POST at a time, again until it is taken, ever more seldom. Meanwhile events gather in the queue.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{info, warn};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::signature::Secret;
use super::{Queue, Told, wall_clock_ms};

/// How long the endpoint may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Pause after the first refusal; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A batch that is not taken for so long is dropped.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3_600);

/// Where events are posted, and what signs them.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `http` or `https`.
    pub url: String,
    /// See [`Secret`].
    pub secret: Secret,
}

/// Begins to post. What is returned resolves when the bridge has ended and the rest was posted, or refused once.
///
/// # Errors
/// The system gives no thread.
pub fn start(queue: Queue, endpoint: Endpoint) -> io::Result<oneshot::Receiver<()>> {
    let (end, ended) = oneshot::channel();
    let poster = Poster { agent: agent(&endpoint.url), endpoint };
    thread::Builder::new().name("godwit-webhook".to_owned()).spawn(move || {
        poster.run(queue);
        // Nobody may wait for it.
        _ = end.send(());
    })?;
    Ok(ended)
}

fn agent(url: &str) -> Agent {
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

struct Poster {
    agent: Agent,
    endpoint: Endpoint,
}

impl Poster {
    fn run(&self, mut queue: Queue) {
        let mut number = 0_u64;
        while let Some(told) = queue.blocking_next() {
            number += 1;
            let id = format!("{}-{number}", queue.epoch);
            if !self.deliver(&id, &body(&told), || queue.is_closed()) {
                warn!(id, events = told.len(), "webhook: events were dropped, the endpoint does not take them");
            }
        }
    }

    /// Tries until it is taken, given up, or `ending`. Returns whether it was taken.
    fn deliver(&self, id: &str, body: &str, ending: impl Fn() -> bool) -> bool {
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
                if ending() || begun.elapsed() > GIVE_UP_AFTER {
                    return false;
                }
                thread::sleep(until.saturating_duration_since(Instant::now()).min(PAUSE_MIN));
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        false
    }

    /// Only 2xx is taken; a redirection is not followed.
    fn post(&self, id: &str, body: &str) -> Result<(), Refused> {
        let timestamp_s = wall_clock_ms() / 1_000;
        let request = self.agent.post(&self.endpoint.url).header("content-type", "application/json");
        let request = request.header("webhook-id", id).header("webhook-timestamp", timestamp_s.to_string());
        let request = request.header("webhook-signature", self.endpoint.secret.sign(id, timestamp_s, body.as_bytes()));
        match request.send(body) {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(Refused(format!("the endpoint says {}", answer.status()))),
            Err(error) => Err(Refused(error.to_string())),
        }
    }
}

struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn body(told: &[Told]) -> String {
    let events: Vec<_> = told.iter().map(|it| it.json.as_str()).collect();
    format!("{{\"type\":\"events\",\"data\":[{}]}}", events.join(","))
}

/// Between a half and the whole of it, so that many servers do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let share = getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX));
    pause.mul_f64(0.5 + share / 2.0)
}
