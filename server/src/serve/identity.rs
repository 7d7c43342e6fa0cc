//! Who is who, from the settings to what the bridge is told: registration, tokens, and the audit of all that.

use std::fs;
use std::sync::Arc;

use anyhow::Context as _;
use godwit_bridge::audit::Audit;
use godwit_bridge::registration::RegistrationSettings;
use godwit_bridge::registration::courier::{Console, Courier, Gateway};
use godwit_bridge::token::{Source, Tokens};
use godwit_bridge::webhook::Endpoint;
use tokio::signal::unix::{SignalKind, signal};

use super::events::read_secret;
use super::parts::{Beside, clock};
use crate::exit::{Failure, USAGE};
use crate::settings::{KeysAt, Provider, Registration, Settings};

/// What must be read before anything opens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    gateway: Option<Endpoint>,
    audit: Audit,
    keys: Option<Source>,
}

impl Identity {
    /// Reads the secret of the gateway and the issuer's key, and opens the audit's file.
    pub(crate) fn read(settings: &Settings) -> Result<Self, Failure> {
        let gateway = match settings.registration.as_ref().map(|registration| &registration.provider) {
            Some(Provider::Webhook { url, secret_file }) => {
                let secret = read_secret("registration.webhook_secret_file", secret_file)?;
                Some(Endpoint { url: url.clone(), secret })
            }
            Some(Provider::Console) | None => None,
        };
        let audit = settings.audit_file.as_deref().map(|file| {
            Audit::start(file).map_err(|error| Failure::new(USAGE, format!("audit.file: {}: {error}", file.display())))
        });
        let keys = settings.jwt.as_ref().map(|jwt| read_keys(&jwt.keys)).transpose()?;
        Ok(Self { gateway, audit: audit.transpose()?.unwrap_or_default(), keys })
    }

    /// What the bridge is told. Must be called within a runtime.
    pub(super) fn start(self, settings: &Settings) -> anyhow::Result<Beside> {
        if settings.audit_file.is_some() {
            reopen_on_hangup(self.audit.clone())?;
        }
        let registration = settings.registration.as_ref().map(|it| registration(it, self.gateway));
        let tokens = settings.jwt.as_ref().zip(self.keys);
        let tokens = tokens.map(|(jwt, keys)| Tokens::new(jwt.tokens.clone(), keys, clock()));
        Ok(Beside { registration, audit: self.audit, tokens, ..Beside::default() })
    }
}

fn read_keys(at: &KeysAt) -> Result<Source, Failure> {
    let file = match at {
        KeysAt::Url(url) => return Ok(Source::url(url.clone())),
        KeysAt::File(file) => file,
    };
    let refused = |problem: String| Failure::new(USAGE, format!("jwt.key_file: {}: {problem}", file.display()));
    let pem = fs::read(file).map_err(|error| refused(error.to_string()))?;
    Source::pem(&pem).map_err(|bad| refused(bad.to_string()))
}

/// SIGHUP, as who rotates logs sends it.
fn reopen_on_hangup(audit: Audit) -> anyhow::Result<()> {
    let mut hangups = signal(SignalKind::hangup()).context("listen to SIGHUP")?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            audit.reopen();
        }
    });
    Ok(())
}

fn registration(settings: &Registration, gateway: Option<Endpoint>) -> RegistrationSettings {
    let courier: Arc<dyn Courier> = match gateway {
        Some(endpoint) => Arc::new(Gateway::new(endpoint)),
        None => Arc::new(Console),
    };
    RegistrationSettings {
        courier,
        code_digits: settings.code_digits,
        code_ttl_s: settings.code_ttl_s,
        tries: settings.tries,
        limits: settings.limits,
    }
}
