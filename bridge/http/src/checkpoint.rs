//! `/v1/admin/checkpoint`: a copy of the store at one moment, beside it, for `godwit backup`, which takes the files from there.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::problem::Problem;

/// Who makes checkpoints. Both block.
pub trait Checkpoints: Send + Sync {
    /// Makes one, in place of an earlier one: where. It has all that was acknowledged before.
    ///
    /// # Errors
    /// It cannot be made, for people.
    fn make(&self) -> Result<PathBuf, String>;

    /// Removes it, if there is one.
    ///
    /// # Errors
    /// The files cannot be removed.
    fn remove(&self) -> io::Result<()>;
}

/// `None`: the store is not in the data folder.
pub(super) type CheckpointMaker = Option<Arc<dyn Checkpoints>>;

fn here(maker: CheckpointMaker) -> Result<Arc<dyn Checkpoints>, Problem> {
    let elsewhere = "the store is in Cassandra: back it up with Cassandra's own tools";
    maker.ok_or_else(|| Problem::new(StatusCode::CONFLICT, elsewhere))
}

pub(super) async fn make(State(maker): State<CheckpointMaker>) -> Result<(StatusCode, Json<Value>), Problem> {
    let maker = here(maker)?;
    let made = tokio::task::spawn_blocking(move || maker.make()).await;
    let made = made.unwrap_or_else(|_| Err("it was not finished".to_owned()));
    let path = made.map_err(|why| Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("no checkpoint: {why}")))?;
    Ok((StatusCode::CREATED, Json(json!({ "path": path.display().to_string() }))))
}

pub(super) async fn remove(State(maker): State<CheckpointMaker>) -> Result<StatusCode, Problem> {
    let maker = here(maker)?;
    let removed = tokio::task::spawn_blocking(move || maker.remove()).await;
    match removed {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(error)) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("it stays: {error}"))),
        Err(_) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "it was not finished")),
    }
}
