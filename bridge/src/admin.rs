//! Operators' commands: users and devices. Called by the HTTP API; each call is carried out by the lane that owns the
//! user, and returns when it is on disk.

use std::sync::Arc;

use godwit_schemas::ids::{BadName, DeviceName, UserId};
use godwit_schemas::partition::Partition;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::mail::{AdminRequest, Mail, Mailbox, Reply};

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
    /// The store is nearly full.
    #[error("the disk is nearly full (store.reserve_mib)")]
    NoRoom,
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
pub struct Admin {
    lanes: Arc<[Mailbox]>,
}

impl Admin {
    pub(crate) fn new(lanes: Arc<[Mailbox]>) -> Self {
        Self { lanes }
    }

    /// Adds a user with its first device.
    ///
    /// # Errors
    /// [`AdminError::UserExists`], [`AdminError::NoRoom`], [`AdminError::ShuttingDown`].
    pub async fn add_user(&self, user: UserId, device: DeviceName) -> Result<Credentials, AdminError> {
        self.ask(Some(&user.clone()), |reply| AdminRequest::AddUser(user, device, reply)).await
    }

    /// Removes a user, its devices, their inboxes and credentials; cuts its connections; leaves its conversations.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::ShuttingDown`].
    pub async fn remove_user(&self, user: UserId) -> Result<(), AdminError> {
        self.ask(Some(&user.clone()), |reply| AdminRequest::RemoveUser(user, reply)).await
    }

    /// Adds a device to an existing user.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::DeviceExists`], [`AdminError::TooManyDevices`],
    /// [`AdminError::NoRoom`], [`AdminError::ShuttingDown`].
    pub async fn add_device(&self, user: UserId, device: DeviceName) -> Result<Credentials, AdminError> {
        self.ask(Some(&user.clone()), |reply| AdminRequest::AddDevice(user, device, reply)).await
    }

    /// Removes a device, its inbox and credentials, and cuts its connection.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::NoDevice`], [`AdminError::ShuttingDown`].
    pub async fn remove_device(&self, user: UserId, device: DeviceName) -> Result<(), AdminError> {
        self.ask(Some(&user.clone()), |reply| AdminRequest::RemoveDevice(user, device, reply)).await
    }

    /// Users after `after` in byte order, at most `limit` of them.
    ///
    /// # Errors
    /// [`AdminError::ShuttingDown`].
    pub async fn users(&self, after: Option<UserId>, limit: usize) -> Result<Vec<UserListing>, AdminError> {
        self.ask(None, |reply| AdminRequest::Users(after, limit, reply)).await
    }

    /// One user.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::ShuttingDown`].
    pub async fn user(&self, user: UserId) -> Result<UserListing, AdminError> {
        self.ask(Some(&user.clone()), |reply| AdminRequest::User(user, reply)).await
    }

    /// Asks the lane of `user`, or any.
    async fn ask<T>(
        &self,
        user: Option<&UserId>,
        request: impl FnOnce(Reply<T>) -> AdminRequest,
    ) -> Result<T, AdminError> {
        let (reply, answer) = oneshot::channel();
        let lane = user.map_or(0, |user| Partition::of_user(user).lane(self.lanes.len() as u32));
        // A lane that is gone drops the reply, which the answer then tells.
        let _ = self.lanes[lane as usize].send(Mail::Admin(request(reply)));
        answer.await.unwrap_or(Err(AdminError::ShuttingDown))
    }
}
