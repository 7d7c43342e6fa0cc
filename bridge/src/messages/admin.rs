//! Operators' commands as lanes are asked to carry them out, their answers and their refusals.

use godwit_core::entry::Entry;
use godwit_schemas::ids::{BadName, DeviceId, DeviceName, Order, UserId};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::phone::PhoneHash;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A name that cannot be one.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// There is no such user.
    #[error("no user \"{0}\"")]
    NoUser(UserId),
    /// The user has no such device.
    #[error("user \"{0}\" has no device \"{1}\"")]
    NoDevice(UserId, DeviceName),
    /// The user exists already.
    #[error("user \"{0}\" exists")]
    UserExists(UserId),
    /// The user has a device of this name already.
    #[error("user \"{0}\" has a device \"{1}\" already")]
    DeviceExists(UserId, DeviceName),
    /// The user has as many devices as a user may have.
    #[error("user \"{0}\" has {1} devices, the most a user may have")]
    TooManyDevices(UserId, usize),
    /// The user is being removed.
    #[error("user \"{0}\" is being removed")]
    BeingRemoved(UserId),
    /// The system gave no random bits for a password.
    #[error("no randomness for a password: {0}")]
    NoRandomness(String),
    /// Another user has the phone number.
    #[error("another user has this phone number")]
    PhoneTaken,
    /// Somebody claims the phone number right now, or has just been written to under it for the first time.
    #[error("this phone number is being set: try again")]
    PhoneBusy,
    /// What waited for a phone number does not go to its user: the inbox is full, or it is in too many conversations.
    #[error("the inbox of user \"{0}\" is full, or it is in as many conversations as a user may be in")]
    InboxFull(UserId),
    /// The store is nearly full.
    #[error("the disk is nearly full (store.reserve_mib)")]
    NoRoom,
    /// The bridge is stopping.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// A new device's way in: what the server answers an operator's command. The command line reads it from the HTTP API as a
/// type of the same name (`server/src/admin.rs`).
#[derive(Debug, Serialize)]
pub struct DeviceCredentials {
    /// MQTT user name.
    pub user: String,
    /// MQTT client id.
    pub device: String,
    /// MQTT password: 256 random bits in URL-safe base64. The server keeps only a hash of it.
    pub password: String,
}

/// A user and its devices.
#[derive(Debug, Serialize)]
pub struct UserListing {
    /// The user's name.
    pub user: String,
    /// Names of its devices, in the order they were added.
    pub devices: Vec<String>,
    /// Of these, the ones whose inbox is full. Absent where users are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<Vec<String>>,
}

/// An operator's command, for the lane that owns the user.
pub(crate) enum AdminRequest {
    AddUser(UserId, DeviceName, AdminReply<DeviceCredentials>),
    RemoveUser(UserId, AdminReply<()>),
    AddDevice(UserId, DeviceName, AdminReply<DeviceCredentials>),
    RemoveDevice(UserId, DeviceName, AdminReply<()>),
    /// A new password for a device; the one before is void.
    RenewPassword(UserId, DeviceName, AdminReply<DeviceCredentials>),
    User(UserId, AdminReply<UserListing>),
    /// For the lane of the user that would wait for the number: who has it.
    PhoneOwner(PhoneHash, AdminReply<Option<UserId>>),
    /// For the lane of the user that would wait for the number: it is to be this user's. Messages to it are held.
    ClaimPhone(PhoneHash, UserId, AdminReply<()>),
    /// The same lane: the device whose inbox has what waits for the number, and gets no more.
    NextWaiting(PhoneHash, UserId, AdminReply<Option<DeviceId>>),
    /// What is in such an inbox, behind this order.
    Waiting(DeviceId, Order, AdminReply<WaitingPage>),
    /// All of it has been sent to somebody else.
    HandedOver(PhoneHash, DeviceId, AdminReply<()>),
    /// The same lane: the number is this user's, or stays nobody's. What was held goes on.
    SettlePhone(PhoneHash, Option<UserId>, AdminReply<()>),
    /// The same lane: the user has it no longer.
    ReleasePhone(PhoneHash, UserId, AdminReply<()>),
    /// The user's lane: its number from now on; tells the one before.
    SetPhone(UserId, Option<PhoneHash>, AdminReply<Option<PhoneHash>>),
    /// Any lane: users after this one, at most so many.
    Users(Option<UserId>, usize, AdminReply<Vec<UserListing>>),
}

/// A page of an inbox, with bodies.
pub(crate) struct WaitingPage {
    pub(crate) now_s: u32,
    pub(crate) entries: Vec<(Order, Entry)>,
    /// Behind it the next page begins. `None`: this is behind the last.
    pub(crate) next: Option<Order>,
}

/// Where the answer goes.
pub(crate) type AdminReply<T> = oneshot::Sender<Result<T, AdminError>>;
