//! Who is who, from the settings to what the bridge is told: registration, tokens, and the audit of all that.

use std::fs;
use std::sync::Arc;

use anyhow::Context as _;
use godwit_bridge::audit::Audit;
use godwit_bridge::registration::RegistrationSettings;
use godwit_bridge::registration::courier::{Console, Courier, Gateway};
use godwit_bridge::token::{KeySource, Tokens};
use godwit_bridge::webhook::WebhookEndpoint;
use godwit_store::time::wall_clock;

use super::events::read_secret;
use super::parts::OptionalServices;
use crate::settings::{Jwt, KeysAt, Provider, RegistrationKeys, ServerSettings};

/// What must be read before anything opens.
#[derive(Debug, Clone, Default)]
pub(crate) struct PreparedIdentity {
    gateway: Option<WebhookEndpoint>,
    keys: Option<KeySource>,
}

impl PreparedIdentity {
    /// Reads the secret of the gateway and the issuer's key, and looks whether the audit's file can be written.
    pub(crate) fn read(settings: &ServerSettings, problems: &mut Vec<String>) -> Self {
        let gateway = match settings.registration.as_ref().map(|registration| &registration.provider) {
            Some(Provider::Webhook { url, secret_file }) => {
                let secret = read_secret("registration.webhook_secret_file", secret_file, problems);
                secret.map(|secret| WebhookEndpoint { url: url.clone(), secret })
            }
            Some(Provider::Console) | None => None,
        };
        if let Some(file) = &settings.audit_file
            && let Err(error) = Audit::check(file)
        {
            problems.push(format!("audit.file: {}: {error}", file.display()));
        }
        let keys = settings.jwt.as_ref().and_then(|jwt| read_keys(jwt, problems));
        Self { gateway, keys }
    }

    /// What the bridge is told. Must be called within a runtime.
    pub(super) fn start(self, settings: &ServerSettings) -> anyhow::Result<OptionalServices> {
        let audit = settings
            .audit_file
            .as_deref()
            .map(|file| Audit::start(file).with_context(|| format!("audit.file: {}", file.display())));
        let audit = audit.transpose()?.unwrap_or_default();
        let registration = settings.registration.as_ref().map(|it| registration(it, self.gateway));
        let tokens = settings.jwt.as_ref().zip(self.keys);
        let tokens = tokens.map(|(jwt, keys)| Tokens::new(jwt.tokens.clone(), keys, wall_clock()));
        Ok(OptionalServices { registration, audit, tokens, ..OptionalServices::default() })
    }
}

fn read_keys(jwt: &Jwt, problems: &mut Vec<String>) -> Option<KeySource> {
    let file = match &jwt.keys {
        KeysAt::Url(url) => return Some(KeySource::url(url.clone())),
        KeysAt::File(file) => file,
    };
    let pem = fs::read(file).map_err(|error| error.to_string());
    match pem.and_then(|pem| KeySource::pem(&pem, &jwt.tokens.algorithms).map_err(|bad| bad.to_string())) {
        Ok(keys) => Some(keys),
        Err(problem) => {
            problems.push(format!("jwt.key_file: {}: {problem}", file.display()));
            None
        }
    }
}

fn registration(settings: &RegistrationKeys, gateway: Option<WebhookEndpoint>) -> RegistrationSettings {
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
