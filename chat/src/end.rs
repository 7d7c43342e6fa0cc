//! How a chat ends that did not end well. A script sees a code (`godwit chat --help` has them), a person the words.

use godwit_client::Error;

/// Why a chat ended that did not end well. The texts are fit for a terminal.
#[derive(Debug, thiserror::Error)]
pub enum ChatFailure {
    /// The server does not let this device in.
    #[error("{0}")]
    NotAdmitted(String),
    /// There was no connection for as long as somebody waited.
    #[error("{0}")]
    Unreachable(String),
    /// What answers is not trusted, or is no MQTT server.
    #[error("{0}")]
    Protocol(String),
    /// Something that was to be done was not, and was told.
    #[error("not everything was done")]
    NotDone,
    /// A line was not UTF-8.
    #[error("a line was not UTF-8")]
    NotText,
    /// The address is none.
    #[error("{0}")]
    Usage(String),
    /// The store or the terminal does not work.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl From<Error> for ChatFailure {
    fn from(error: Error) -> Self {
        match error {
            Error::Address(_) => Self::Usage(error.to_string()),
            error => Self::Other(error.into()),
        }
    }
}
