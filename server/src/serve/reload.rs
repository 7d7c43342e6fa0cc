//! The settings of a running server, read again: what can change while it runs does, and the rest is told to whoever asked. Called by
//! `godwit settings reload` and by SIGHUP.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use godwit_http::{Reloaded, SettingsReload};
use tokio::sync::Notify;

use crate::cli::SettingsArgs;
use crate::log::LogLevel;
use crate::settings::{self, Effective};

/// The key that takes effect at once. What is in files that keys name (certificates, tokens) is read again, too.
const LOG_LEVEL: &str = "log.level";

/// See the module.
pub(crate) struct Reload {
    place: SettingsArgs,
    level: LogLevel,
    /// Values by key, as they took effect.
    in_force: Mutex<BTreeMap<&'static str, toml::Value>>,
    /// Files are to be read again.
    pub(super) files: Notify,
}

impl Reload {
    pub(super) fn new(place: &SettingsArgs, effective: Vec<Effective>, level: LogLevel) -> Self {
        let in_force = effective.into_iter().map(|it| (it.key, it.value)).collect();
        Self { place: place.clone(), level, in_force: Mutex::new(in_force), files: Notify::new() }
    }

    /// For SIGHUP: nobody waits for the answer.
    pub(super) fn log(&self) {
        match self.reload() {
            Ok(Reloaded { applied, needs_restart }) if !applied.is_empty() || !needs_restart.is_empty() => {
                tracing::info!(?applied, ?needs_restart, "the settings were read again");
            }
            Ok(_) => {}
            Err(error) => {
                // One line of the log, whatever is wrong.
                let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
                tracing::error!(%error, "the settings stay as they are");
                self.files.notify_one();
            }
        }
    }
}

impl SettingsReload for Reload {
    fn reload(&self) -> Result<Reloaded, String> {
        let place = &self.place;
        let loaded = settings::load(place.config.as_deref(), place.data.as_deref());
        let (settings, effective) = loaded.map_err(|refused| refused.to_string())?;
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reloaded = Reloaded::default();
        for Effective { key, value, .. } in effective {
            if in_force.get(key) == Some(&value) {
                continue;
            }
            if key == LOG_LEVEL {
                self.level.set(&settings.log.level).map_err(|error| error.to_string())?;
                in_force.insert(key, value);
                reloaded.applied.push(key.to_owned());
            } else {
                reloaded.needs_restart.push(key.to_owned());
            }
        }
        self.files.notify_one();
        Ok(reloaded)
    }
}
