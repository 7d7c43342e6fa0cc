//! Who is who, from the settings to what the bridge is told: registration, and the audit of all that.

use std::sync::Arc;

use anyhow::Context as _;
use godwit_bridge::audit::Audit;
use godwit_bridge::registration::RegistrationSettings;
use godwit_bridge::registration::courier::{Console, Courier, Gateway};
use godwit_bridge::webhook::Endpoint;
use tokio::signal::unix::{SignalKind, signal};

use super::events::read_secret;
use super::parts::Beside;
use crate::exit::{Failure, USAGE};
use crate::settings::{Provider, Registration, Settings};

/// What must be read before anything opens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    gateway: Option<Endpoint>,
    audit: Audit,
}

impl Identity {
    /// Reads the secret of the gateway, and opens the audit's file.
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
        Ok(Self { gateway, audit: audit.transpose()?.unwrap_or_default() })
    }

    /// What the bridge is told. Must be called within a runtime.
    pub(super) fn start(self, settings: &Settings) -> anyhow::Result<Beside> {
        if settings.audit_file.is_some() {
            reopen_on_hangup(self.audit.clone())?;
        }
        let registration = settings.registration.as_ref().map(|it| registration(it, self.gateway));
        Ok(Beside { registration, audit: self.audit, ..Beside::default() })
    }
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
