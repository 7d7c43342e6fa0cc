//! How a code gets to its phone: into the log, for development, or through the operator's gateway.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use godwit_schemas::phone::PhoneNumber;
use godwit_store::time::wall_ms;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tracing::warn;

use crate::webhook::{Poster, WebhookEndpoint};

/// Codes that are on their way to the gateway at a time. Further ones are dropped, with a warning: who asked asks again.
const ON_THEIR_WAY_MAX: usize = 64;
/// So long the gateway is asked again.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// A code for a phone.
#[derive(Clone)]
pub struct Sms {
    /// The number that it goes to.
    pub number: PhoneNumber,
    /// The digits that prove that somebody has the phone.
    pub code: String,
}

/// Takes codes to phones. Called by the registrar; must not wait.
pub trait Courier: Send + Sync + fmt::Debug {
    /// Sends a code, or loses it.
    fn send(&self, sms: Sms);
}

/// Codes stand in the log. For development: the log is no place for secrets.
#[derive(Debug)]
pub struct Console;

impl Courier for Console {
    fn send(&self, Sms { code, .. }: Sms) {
        warn!(code, "a registration code (registration.provider is \"console\")");
    }
}

/// Codes are posted to the operator's gateway: `{phone, code, text}`, signed.
pub struct Gateway {
    poster: Arc<Poster>,
    runtime: Handle,
    places: Arc<Semaphore>,
    epoch_ms: u64,
    last: AtomicU64,
    /// What is on its way is given up when this is gone.
    alive: Arc<()>,
}

impl Gateway {
    /// Must be called within a Tokio runtime, whose blocking threads it uses.
    pub fn new(endpoint: WebhookEndpoint) -> Self {
        Self {
            poster: Arc::new(Poster::new(endpoint)),
            runtime: Handle::current(),
            places: Arc::new(Semaphore::new(ON_THEIR_WAY_MAX)),
            epoch_ms: wall_ms(),
            last: AtomicU64::new(0),
            alive: Arc::default(),
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gateway")
    }
}

impl Courier for Gateway {
    fn send(&self, Sms { number, code }: Sms) {
        let number_of_post = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let id = format!("code-{}-{number_of_post}", self.epoch_ms);
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            warn!(id, "a registration code was dropped: the gateway is too slow");
            return;
        };
        let text = format!("{code} is your code");
        let body = json!({ "phone": number.to_string(), "code": code, "text": text }).to_string();
        let (poster, alive) = (self.poster.clone(), Arc::downgrade(&self.alive));
        self.runtime.spawn_blocking(move || {
            if !poster.deliver(&id, &body, GIVE_UP_AFTER, || alive.strong_count() == 0) {
                warn!(id, "a registration code was dropped: the gateway does not take it");
            }
            drop(place);
        });
    }
}
