//! What others do right now: typing, for example. Kept by nobody: it may be lost, and what an app shows of it should end by
//! itself after some seconds.

use bytes::Bytes;
use godwit_schemas::ids::{ConversationId, Ordinal};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// Signals that wait for a slow app; the oldest go first.
pub(crate) const KEPT: usize = 64;

/// Something that a member does right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub member: Ordinal,
    /// What, up to 256 bytes. Apps agree on that among themselves; see [`Signal::TYPING`].
    pub body: Bytes,
}

impl Signal {
    /// What clients say while their user types, every few seconds.
    pub const TYPING: &'static [u8] = b"typing";

    /// The member types.
    pub fn is_typing(&self) -> bool {
        self.body == Self::TYPING
    }
}

/// The signals of a client, from the call that made this on.
#[derive(Debug)]
pub struct Signals(broadcast::Receiver<Signal>);

impl Signals {
    pub(crate) fn new(signals: &broadcast::Sender<Signal>) -> Self {
        Self(signals.subscribe())
    }

    /// The next one, if it is there.
    pub fn try_next(&mut self) -> Option<Signal> {
        loop {
            match self.0.try_recv() {
                Ok(signal) => return Some(signal),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }

    /// The next one. Passes over what was too old; `None`: the client was closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Signal> {
        loop {
            match self.0.recv().await {
                Ok(signal) => return Some(signal),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
