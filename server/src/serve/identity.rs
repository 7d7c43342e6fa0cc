//! Who is who, from the settings to what the bridge is told: registration.

use std::sync::Arc;

use godwit_bridge::registration::RegistrationSettings;
use godwit_bridge::registration::courier::{Console, Courier, Gateway};
use godwit_bridge::webhook::Endpoint;

use super::events::read_secret;
use super::parts::Beside;
use crate::exit::Failure;
use crate::settings::{Provider, Registration, Settings};

/// What must be read before anything opens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    gateway: Option<Endpoint>,
}

impl Identity {
    /// Reads the secret of the gateway.
    pub(crate) fn read(settings: &Settings) -> Result<Self, Failure> {
        let gateway = match settings.registration.as_ref().map(|registration| &registration.provider) {
            Some(Provider::Webhook { url, secret_file }) => {
                let secret = read_secret("registration.webhook_secret_file", secret_file)?;
                Some(Endpoint { url: url.clone(), secret })
            }
            Some(Provider::Console) | None => None,
        };
        Ok(Self { gateway })
    }

    /// What the bridge is told. Must be called within a runtime.
    pub(super) fn start(self, settings: &Settings) -> Beside {
        let registration = settings.registration.as_ref().map(|it| registration(it, self.gateway));
        Beside { registration, ..Beside::default() }
    }
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
