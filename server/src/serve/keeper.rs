//! What keeps the store of a running bridge, and what its failure means.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use godwit_cluster::Leadership;
use godwit_store::StoreError;
use godwit_store::rocks::RocksStore;

use super::parts;

/// How long it may take from the failure of a cluster's store to the reason.
const REASON_WITHIN: Duration = Duration::from_secs(1);

/// Why the process cannot go on.
pub(super) enum PartFailure {
    /// Nothing is acknowledged any more.
    Store(anyhow::Error),
    /// A task that serves has ended. What was taken in can still be stored.
    Part(anyhow::Error),
    /// Another process leads the cluster, or may.
    Lead(String),
}

/// What a store needs while it is open, and at the end.
pub(super) enum StoreKeeper {
    Rocks(RocksStore),
    Cluster {
        leadership: Arc<Leadership>,
        #[expect(dead_code, reason = "keeps other bridges out of the data folder until the end")]
        lock: File,
    },
}

impl StoreKeeper {
    /// Resolves when this process leads no more.
    pub(super) async fn lost(&self) -> String {
        match self {
            Self::Rocks(_) => std::future::pending().await,
            Self::Cluster { leadership, .. } => leadership.lost().await,
        }
    }

    /// What it means that the store has failed. That of a cluster fails when another process leads.
    pub(super) async fn judge(&self, error: StoreError) -> PartFailure {
        match self {
            Self::Rocks(_) => PartFailure::Store(error.into()),
            Self::Cluster { leadership, .. } => match tokio::time::timeout(REASON_WITHIN, leadership.lost()).await {
                Ok(why) => PartFailure::Lead(why),
                Err(_) => PartFailure::Store(error.into()),
            },
        }
    }

    /// The bridge has ended: leaves the store to whoever opens it next.
    pub(super) async fn let_go(self) {
        match self {
            Self::Rocks(store) => parts::flush(store).await,
            Self::Cluster { leadership, .. } => match Arc::try_unwrap(leadership) {
                Ok(leadership) => leadership.release().await,
                // A request is asking right now: a standby notices the end of the process all the same.
                Err(_) => tracing::warn!("the lead is still in use: a standby takes over in a few seconds"),
            },
        }
    }
}
