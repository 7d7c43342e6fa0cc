//! Why a process is not a member of its cluster.

use godwit_store::StoreError;

/// Why a process cannot join its cluster, or cannot lead.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClusterError {
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
    /// The database, as it is, would break promises. The text says what to change.
    #[error("{0}")]
    Refused(String),
    /// The database does not answer.
    #[error("{doing}: {cause}")]
    Unreachable {
        /// What was attempted.
        doing: &'static str,
        /// What the driver said.
        cause: String,
    },
    /// What is in the journal cannot be read. Nobody may lead before a human has looked.
    #[error("journal {place}: {what}; nothing is lost yet: keep the keyspace as it is")]
    Damaged {
        /// Where.
        place: String,
        /// What is wrong.
        what: String,
    },
}

impl ClusterError {
    /// Whether the same may work later, without anybody having changed something.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

impl From<StoreError> for ClusterError {
    fn from(StoreError { doing, cause }: StoreError) -> Self {
        Self::Unreachable { doing, cause }
    }
}
