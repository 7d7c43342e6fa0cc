//! Events for operators, from the settings to what runs: a sink for the bridge, and its consumers.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use godwit_bridge::events::{Sink, mqtt, webhook};
use godwit_bridge::webhook::{Endpoint, Secret};
use godwit_schemas::bus::Bus;
use tokio::task::JoinSet;

use crate::exit::{Failure, USAGE};
use crate::settings;

/// What must be read before anything opens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events {
    settings: Option<settings::Events>,
    endpoint: Option<Endpoint>,
}

/// What runs.
#[derive(Default)]
pub(crate) struct Telling {
    /// For the bridge.
    pub(crate) sink: Option<Sink>,
    /// They end when the bridge has ended and everything is told.
    pub(crate) consumers: JoinSet<()>,
}

impl Events {
    /// Reads the webhook's secret.
    pub(crate) fn read(settings: &settings::Events) -> Result<Self, Failure> {
        let endpoint = settings.webhook.as_ref().map(|(url, file)| {
            let secret = read_secret("events.webhook_secret_file", file)?;
            Ok::<_, Failure>(Endpoint { url: url.clone(), secret })
        });
        let settings = settings.are_told().then(|| settings.clone());
        Ok(Self { settings, endpoint: endpoint.transpose()? })
    }

    /// Whether they are published to MQTT.
    pub(crate) fn on_mqtt(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.mqtt)
    }

    /// Starts the consumers; what is published goes to `bus`.
    pub(crate) fn start(self, bus: Option<impl Bus>) -> anyhow::Result<Telling> {
        let Some(settings) = self.settings else { return Ok(Telling::default()) };
        let mut sink = Sink::new(settings.kinds);
        let mut consumers = JoinSet::new();
        if let Some(bus) = bus {
            consumers.spawn(mqtt::publish(sink.consumer("mqtt"), bus));
        }
        if let Some(endpoint) = self.endpoint {
            let ended = webhook::start(sink.consumer("webhook"), endpoint).context("start the webhook")?;
            consumers.spawn(async move { _ = ended.await });
        }
        Ok(Telling { sink: Some(sink), consumers })
    }
}

/// The secret of a webhook; `key`: of the setting that names the file.
pub(super) fn read_secret(key: &str, file: &Path) -> Result<Secret, Failure> {
    let refused = |problem: String| Failure::new(USAGE, format!("{key}: {}: {problem}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| refused(error.to_string()))?;
    Secret::parse(&text).map_err(|bad| refused(bad.to_string()))
}
