//! Events for operators, from the settings to what runs: a sink for the bridge, and its consumers.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use godwit_bridge::events::{EventSink, mqtt, webhook};
use godwit_bridge::webhook::{WebhookEndpoint, WebhookSecret};
use tokio::task::JoinSet;

use super::chosen::ChosenBus;
use crate::settings;

/// What must be read before anything opens.
#[derive(Debug, Clone, Default)]
pub(crate) struct PreparedEvents {
    settings: Option<settings::EventSettings>,
    endpoint: Option<WebhookEndpoint>,
}

/// What runs.
#[derive(Default)]
pub(crate) struct EventConsumers {
    /// For the bridge.
    pub(crate) sink: Option<EventSink>,
    /// They end when the bridge has ended and everything is told.
    pub(crate) consumers: JoinSet<()>,
}

impl PreparedEvents {
    /// Reads the webhook's secret.
    pub(crate) fn read(settings: &settings::EventSettings, problems: &mut Vec<String>) -> Self {
        let endpoint = settings.webhook.as_ref().and_then(|(url, file)| {
            let secret = read_secret("events.webhook_secret_file", file, problems)?;
            Some(WebhookEndpoint { url: url.clone(), secret })
        });
        let settings = settings.are_told().then(|| settings.clone());
        Self { settings, endpoint }
    }

    /// Whether they are published to MQTT.
    pub(crate) fn on_mqtt(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.mqtt)
    }

    /// Starts the consumers; what is published goes to `bus`.
    pub(crate) fn start(self, bus: Option<ChosenBus>) -> anyhow::Result<EventConsumers> {
        let Some(settings) = self.settings else { return Ok(EventConsumers::default()) };
        let mut sink = EventSink::new(settings.kinds);
        let mut consumers = JoinSet::new();
        if let Some(bus) = bus {
            consumers.spawn(mqtt::publish(sink.consumer("mqtt"), bus));
        }
        if let Some(endpoint) = self.endpoint {
            let ended = webhook::start(sink.consumer("webhook"), endpoint).context("start the webhook")?;
            consumers.spawn(async move { _ = ended.await });
        }
        Ok(EventConsumers { sink: Some(sink), consumers })
    }
}

/// The secret of a webhook; `key`: of the setting that names the file.
pub(super) fn read_secret(key: &str, file: &Path, problems: &mut Vec<String>) -> Option<WebhookSecret> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string());
    match text.and_then(|text| WebhookSecret::parse(&text).map_err(|bad| bad.to_string())) {
        Ok(secret) => Some(secret),
        Err(problem) => {
            problems.push(format!("{key}: {}: {problem}", file.display()));
            None
        }
    }
}
