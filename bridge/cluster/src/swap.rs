//! Changing who leads, until the outcome is known.

use crate::patience::Patience;
use crate::registry::{Placement, Registry};

/// Changes who leads, if the version is `expected`. `false`: another process has changed it.
pub(crate) async fn swap<R: Registry>(registry: &R, expected: Option<i64>, to: &Placement) -> bool {
    let mut patience = Patience::new("change who leads");
    loop {
        let changed = match registry.place(expected, to).await {
            Ok(true) => Ok(true),
            // An earlier try may have been applied, and its answer lost. No other process writes the same: it names this one.
            Ok(false) => registry.placement().await.map(|now| now.as_ref() == Some(to)),
            Err(error) => Err(error),
        };
        match changed {
            Ok(changed) => {
                patience.done();
                return changed;
            }
            Err(error) => patience.pause(&error.cause).await,
        }
    }
}
