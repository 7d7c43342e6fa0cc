//! Operators' commands: users and devices. Called by the HTTP API; each call is carried out by the lane that owns the
//! user, and returns when it is on disk.

use godwit_schemas::ids::{BadName, DeviceName, UserId};
use serde::Serialize;

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
    /// The bridge is stopping.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// A new device's way in.
#[derive(Debug, Serialize)]
pub struct Credentials {
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
}

/// Handle to the lanes for operators' commands. Cheap to clone.
#[derive(Clone)]
pub struct Admin {}

impl Admin {
    /// Adds a user with its first device.
    ///
    /// # Errors
    /// [`AdminError::UserExists`], [`AdminError::ShuttingDown`].
    pub async fn add_user(&self, _user: UserId, _device: DeviceName) -> Result<Credentials, AdminError> {
        Err(AdminError::ShuttingDown)
    }

    /// Removes a user, its devices, their inboxes and credentials; cuts its connections; leaves its conversations.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::ShuttingDown`].
    pub async fn remove_user(&self, _user: UserId) -> Result<(), AdminError> {
        Err(AdminError::ShuttingDown)
    }

    /// Adds a device to an existing user.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::DeviceExists`], [`AdminError::TooManyDevices`],
    /// [`AdminError::ShuttingDown`].
    pub async fn add_device(&self, _user: UserId, _device: DeviceName) -> Result<Credentials, AdminError> {
        Err(AdminError::ShuttingDown)
    }

    /// Removes a device, its inbox and credentials, and cuts its connection.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::NoDevice`], [`AdminError::ShuttingDown`].
    pub async fn remove_device(&self, _user: UserId, _device: DeviceName) -> Result<(), AdminError> {
        Err(AdminError::ShuttingDown)
    }

    /// Users after `after` in byte order, at most `limit` of them.
    ///
    /// # Errors
    /// [`AdminError::ShuttingDown`].
    pub async fn users(&self, _after: Option<UserId>, _limit: usize) -> Result<Vec<UserListing>, AdminError> {
        Err(AdminError::ShuttingDown)
    }

    /// One user.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::ShuttingDown`].
    pub async fn user(&self, _user: UserId) -> Result<UserListing, AdminError> {
        Err(AdminError::ShuttingDown)
    }
}
