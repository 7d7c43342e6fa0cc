//! `/v1/admin/settings/reload`: the settings are read again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::problem::Problem;

/// Who reads the settings again. Blocks for a moment.
pub trait SettingsReload: Send + Sync {
    /// Reads them, and has what can change while the server runs take effect.
    ///
    /// # Errors
    /// They are wrong, for people: nothing has changed.
    fn reload(&self) -> Result<Reloaded, String>;
}

/// Keys that have another value than the one in force.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// The new value is in force now.
    pub applied: Vec<String>,
    /// It will be after the next start.
    pub needs_restart: Vec<String>,
}

pub(super) async fn reload(State(settings): State<Arc<dyn SettingsReload>>) -> Result<Json<Reloaded>, Problem> {
    let reloaded = tokio::task::spawn_blocking(move || settings.reload()).await;
    let reloaded = reloaded.unwrap_or_else(|_| Err("it was not finished".to_owned()));
    reloaded.map(Json).map_err(|why| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why))
}
