//! The section `[registration]`: who may make an account by having a phone number.

use std::path::PathBuf;

use godwit_bridge::registration::RegistrationLimits;

use super::events::url_of;
use super::layers::Layers;
use super::number;

/// See `deploy/godwit.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistrationKeys {
    pub(crate) provider: Provider,
    pub(crate) code_digits: u32,
    pub(crate) code_ttl_s: u32,
    pub(crate) tries: u32,
    pub(crate) limits: RegistrationLimits,
}

/// How codes get to phones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Provider {
    /// Into the log.
    Console,
    /// Through the operator's gateway: its URL, and the file with the secret.
    Webhook { url: String, secret_file: PathBuf },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProviderName {
    Console,
    Webhook,
}

/// `None`: nobody may. `public`: a listener that is more than loopback, and its key.
pub(super) fn parse(from: &mut Layers, public: Option<&str>) -> Option<RegistrationKeys> {
    let enabled = from.take("registration.enabled", Ok::<bool, String>);
    let named = from.take("registration.provider", |name: String| match name.as_str() {
        "console" => Ok(ProviderName::Console),
        "webhook" => Ok(ProviderName::Webhook),
        other => Err(format!("{other:?} is neither \"console\" nor \"webhook\"")),
    });
    let in_public = from.take("registration.console_in_public", Ok::<bool, String>);
    let url = from.take("registration.webhook_url", |url: String| url_of(url, false));
    let secret_file = PathBuf::from(from.take("registration.webhook_secret_file", Ok::<String, String>));
    let code_digits = number(from, "registration.code_digits", 4..=10);
    let code_ttl_s = number(from, "registration.code_ttl_s", 30..=3_600);
    let tries = number(from, "registration.tries", 1..=10);
    let limits = RegistrationLimits {
        per_number_per_hour: number(from, "registration.per_number_per_hour", 0..=1_000),
        per_address_per_hour: number(from, "registration.per_address_per_hour", 0..=1_000_000),
        per_minute: number(from, "registration.per_minute", 1..=10_000),
    };
    if !enabled {
        return None;
    }
    let provider = match (named, url) {
        (ProviderName::Console, _) => {
            if let Some(listener) = public.filter(|_| !in_public) {
                let text = format!("\"console\" is for development, and {listener} is not loopback: use \"webhook\"");
                from.refuse("registration.provider", format!("{text}, or set registration.console_in_public = true"));
            }
            Provider::Console
        }
        (ProviderName::Webhook, Some(url)) => {
            if secret_file.as_os_str().is_empty() {
                let text = "needed with registration.provider = \"webhook\"".to_owned();
                from.refuse("registration.webhook_secret_file", text);
            }
            Provider::Webhook { url, secret_file }
        }
        (ProviderName::Webhook, None) => {
            from.refuse("registration.webhook_url", "needed with registration.provider = \"webhook\"".to_owned());
            return None;
        }
    };
    Some(RegistrationKeys { provider, code_digits, code_ttl_s, tries, limits })
}
