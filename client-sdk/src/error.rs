//! What a call may fail with, and whether a retry helps.

use godwit_schemas::reason::Reason;

use crate::store::LocalStoreError;

/// The server understood and said no, as a client reads it. The server's side is `Refusal` of godwit-core
/// (`bridge/core/src/refusal.rs`), which has all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused with {:#04x}: {text}", reason.get())]
pub struct Refusal {
    /// MQTT 5 reason code; client.proto says which call is refused with which.
    pub reason: Reason,
    /// The same in English; may be empty.
    pub text: String,
}

impl Refusal {
    /// The server is busy, not against it. Or (0x91) the device's store has a copy, or is an older state of itself, and what
    /// the number of a send was used for is not known: sent again, it may arrive a second time. 0x97 is taken as a no: it says that a body is too large, and also that a
    /// recipient's inbox is full; the text says which.
    pub fn retry_helps(&self) -> bool {
        let passing = [Reason::SERVER_UNAVAILABLE, Reason::SERVER_BUSY, Reason::MESSAGE_RATE_TOO_HIGH];
        passing.contains(&self.reason) || self.reason == Reason::PACKET_IDENTIFIER_IN_USE
    }
}

/// Why a file was not sent, or not saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileFailure {
    /// It is not what it was when it was to be sent.
    #[error("the file has changed")]
    Changed,
    /// It is not there any more.
    #[error("the file is gone")]
    Gone,
    /// It cannot be read or written.
    #[error("{0}")]
    Io(String),
    /// The server does not take it, or does not give it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The object store does not take it or give it, with this HTTP status, whatever the server says.
    #[error("the object store answers with {0}")]
    Storage(u16),
    /// There is something at the place where it was to be saved. Nothing is replaced.
    #[error("there is something of that name already")]
    Exists,
    /// What came is not what was sent.
    #[error("what came is not what was sent")]
    Damaged,
    /// The app has called it off.
    #[error("called off")]
    Cancelled,
}

impl FileFailure {
    /// Whether the same may succeed later.
    pub fn retry_helps(&self) -> bool {
        match self {
            Self::Changed | Self::Gone | Self::Exists | Self::Cancelled => false,
            Self::Io(_) | Self::Storage(_) | Self::Damaged => true,
            Self::Refused(refusal) => refusal.retry_helps(),
        }
    }
}

/// Why something about end-to-end encryption failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionFailure {
    /// The client was not opened with encryption, the server does not offer it, or nothing is known of it yet.
    #[error("encryption is not there")]
    NotThere,
    /// The user has keys on another device, and this one has none of them yet: link it, or type the recovery code.
    #[error("this device is not linked to the user's others")]
    Unlinked,
    /// Nothing can be encrypted there at the moment: this device is being let in, or another epoch begins. Try again.
    #[error("nothing can be encrypted there at the moment")]
    NotNow,
    /// This device is one of a kind that holds no secret of the user, or is linked already.
    #[error("not on this device")]
    NotHere,
    /// What was scanned or typed is none, or it is another user's.
    #[error("{0}")]
    Code(String),
    /// The server shows a past of this user's keys that is not the one it showed before. Nothing is sent there.
    #[error("the server shows another past of {0}'s keys than before")]
    Forked(String),
    /// The user has no device that could be encrypted to.
    #[error("{0} has no keys")]
    NoKeys(String),
}

/// Why a call of the library failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The client's store cannot be read or written.
    #[error("store: {0}")]
    Store(#[from] LocalStoreError),
    /// The store belongs to another device: two devices of one store would mix their messages.
    #[error("the store belongs to {owner}")]
    Owner {
        /// User and device.
        owner: String,
    },
    /// The address is none that this build can connect to.
    #[error("address: {0}")]
    Address(String),
    /// The server did not take it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server does not let this device in: it does not know it, or the password is wrong. A call that was sent on an
    /// earlier connection may have taken effect.
    #[error("the server does not let this device in ({:#04x}): see user, device and password", .0.get())]
    NotAdmitted(Reason),
    /// A call needs a connection, and there was none in the time it had. It had no effect.
    #[error("no connection to the server")]
    Offline,
    /// A call was sent and not answered in the time it had: it may have taken effect.
    #[error("no answer from the server")]
    NoAnswer,
    /// A file was not sent, or not saved.
    #[error(transparent)]
    File(#[from] FileFailure),
    /// Something about end-to-end encryption.
    #[error(transparent)]
    Encryption(#[from] EncryptionFailure),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl Error {
    /// Whether the same may succeed later. After [`Error::NoAnswer`] it may also take effect a second time.
    pub fn retry_helps(&self) -> bool {
        match self {
            Self::Store(_) | Self::Offline | Self::NoAnswer => true,
            Self::Owner { .. } | Self::Address(_) | Self::NotAdmitted(_) | Self::Closed => false,
            Self::Encryption(failure) => *failure == EncryptionFailure::NotNow,
            Self::File(failure) => failure.retry_helps(),
            Self::Refused(refusal) => refusal.retry_helps(),
        }
    }
}
