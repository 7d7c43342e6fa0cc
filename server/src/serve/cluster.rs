//! The cluster that a process is part of, from the settings to what runs.

use godwit_bus::nats::{NatsBus, NatsSettings};

use super::{ProcessRole, parts};
use crate::settings::ClusterSettings;

/// What must be read before anything opens.
#[derive(Debug, Clone)]
pub(crate) struct PreparedCluster {
    pub(super) bus: NatsBus,
}

impl PreparedCluster {
    /// Reads the passwords.
    pub(crate) fn read(role: ProcessRole, settings: &ClusterSettings, problems: &mut Vec<String>) -> Option<Self> {
        if role == ProcessRole::Serve {
            let text = "cluster.nats: `godwit serve` is a whole server in one process: run `godwit broker` and `godwit \
                        bridge`, or leave it empty";
            problems.push(text.to_owned());
            return None;
        }
        let before = problems.len();
        let login = parts::read_login("cluster.nats_password_file", settings.nats_login.as_ref(), problems);
        let nats = NatsSettings {
            servers: settings.nats.clone(),
            login,
            ca: settings.ca.clone(),
            prefix: settings.prefix.clone(),
        };
        let bus = NatsBus::new(nats).map_err(|error| problems.push(format!("cluster.nats: {error}")));
        let bus = bus.ok()?;
        (problems.len() == before).then_some(Self { bus })
    }
}
