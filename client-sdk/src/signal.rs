//! What others do right now: typing, for example, and which contacts are online. Kept by nobody: it may be lost, and what an
//! app shows of typing should end by itself after some seconds.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use godwit_schemas::client;
use godwit_schemas::ids::{ConversationId, Ordinal, UserId};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// Signals that wait for a slow app; the oldest go first.
pub(crate) const KEPT: usize = 256;

/// What clients say while their user types, every few seconds.
pub const TYPING: &[u8] = b"typing";

/// Something that is so right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// A member of a conversation does something.
    Said {
        /// The conversation it happened in.
        conversation: ConversationId,
        /// The member who does it.
        member: Ordinal,
        /// What, up to 256 bytes. Apps agree on that among themselves; see [`TYPING`].
        body: Bytes,
    },
    /// A contact has come or gone. Those who are online are told when this device connects: take all others for offline.
    Presence(Presence),
}

/// Whether a user is online, as far as it lets this one see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The contact.
    pub user: UserId,
    /// One of its devices is connected.
    pub online: bool,
    /// When one last was, to a minute. `None`: it is online, or that is not known, or not shown to this user.
    pub last_seen: Option<SystemTime>,
}

impl Presence {
    pub(crate) fn of(user: UserId, presence: &client::Presence) -> Self {
        let age = presence.last_seen_age_min.map(|minutes| Duration::from_secs(60 * u64::from(minutes)));
        Self { user, online: presence.online, last_seen: age.and_then(|age| SystemTime::now().checked_sub(age)) }
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
