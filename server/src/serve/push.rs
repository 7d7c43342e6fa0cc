//! Pushes, from the settings to what the bridge is told: the vendors' keys are read, and looked at, before anything opens.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use godwit_bridge::push::PushSettings;
use godwit_push::guard::Guard;
use godwit_push::providers::{BadProvider, ProviderSettings, Providers};
use godwit_push::{ApnsSettings, FcmSettings, Provider, WebSettings};

use godwit_store::time;

use crate::settings::PushKeys;

/// Who speaks to the push services.
#[derive(Debug, Default)]
pub(crate) struct PreparedPush(Option<Providers>);

impl PreparedPush {
    /// Reads the vendors' keys.
    pub(crate) fn read(keys: Option<&PushKeys>, problems: &mut Vec<String>) -> Self {
        let Some(keys) = keys else { return Self::default() };
        let before = problems.len();
        let mut read = |key: &str, file: &Path| match fs::read(file) {
            Ok(content) => Some(content),
            Err(error) => {
                problems.push(format!("{key}: read {}: {error}", file.display()));
                None
            }
        };
        let apns = keys.apns.as_ref().and_then(|apns| {
            Some(ApnsSettings {
                key: read("push.apns_key_file", &apns.key_file)?,
                key_id: apns.key_id.clone(),
                team_id: apns.team_id.clone(),
                topics: apns.topics.clone(),
                endpoint: apns.endpoint.clone(),
            })
        });
        let fcm = keys.fcm.as_ref().and_then(|fcm| {
            Some(FcmSettings {
                service_account: read("push.fcm_service_account_file", &fcm.service_account_file)?,
                endpoint: fcm.endpoint.clone(),
                token_endpoint: fcm.token_endpoint.clone(),
            })
        });
        let web = keys.web.as_ref().map(|web| WebSettings {
            subject: web.subject.clone(),
            guard: Guard { hosts: web.hosts.clone(), allow_private: web.allow_private },
        });
        match Providers::new(ProviderSettings { apns, fcm, web }, time::wall) {
            Ok(providers) if problems.len() == before => Self(Some(providers)),
            Ok(_) => Self::default(),
            Err(BadProvider { provider, why }) => {
                let key = match provider {
                    Provider::Apns => "push.apns_key_file",
                    Provider::Fcm => "push.fcm_service_account_file",
                    Provider::Web => "push.web_subject",
                };
                problems.push(format!("{key}: {why}"));
                Self::default()
            }
        }
    }

    /// What the bridge is told.
    pub(super) fn start(self, keys: Option<&PushKeys>) -> Option<PushSettings> {
        let (gateway, keys) = (self.0?, keys?);
        Some(PushSettings {
            gateway: Arc::new(gateway),
            delay: keys.delay,
            active: keys.active,
            per_minute: keys.per_minute,
            queue: keys.queue,
            ttl_max: keys.ttl_max,
        })
    }
}
