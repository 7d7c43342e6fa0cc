//! Operators' commands: users and devices. Called by the HTTP API; each call is carried out by the lane that owns the
//! user, and returns when it is on disk.

use std::sync::Arc;
use std::time::Duration;

use godwit_schemas::ids::{BadName, DeviceName, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::phone::PhoneNumber;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::audit::By;
use crate::mail::{AdminRequest, Mail, Mailbox, Reply};
use crate::phone::{self, Names, PhoneHash};

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

/// How often a phone number that is busy is tried again, and after how long.
const CLAIM_TRIES: u32 = 100;
const CLAIM_AGAIN: Duration = Duration::from_millis(20);

/// Handle to the lanes for operators' commands. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    lanes: Arc<[Mailbox]>,
    phone_names: Names,
    by: By,
}

impl Admin {
    pub(crate) fn new(lanes: Arc<[Mailbox]>, phone_names: Names) -> Self {
        Self { lanes, phone_names, by: By::Administrator }
    }

    /// The same commands, in whose name they are noted.
    pub(crate) fn by(self, by: By) -> Self {
        Self { by, ..self }
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

    /// Adds a user that has a phone number, with its first device. `None`: under a name that the server chooses, the one
    /// that waits for the number if it was written to already. Goes on when the caller stops waiting.
    ///
    /// # Errors
    /// As [`Self::add_user`] and [`Self::set_phone`]. With [`AdminError::InboxFull`] the user is there, without the number.
    pub async fn register(
        &self,
        user: Option<UserId>,
        device: DeviceName,
        number: PhoneNumber,
    ) -> Result<Credentials, AdminError> {
        let (admin, hash) = (self.clone(), phone::hash(number));
        let user = user.unwrap_or_else(|| self.phone_names.of(&hash));
        in_background(async move {
            admin.claim_phone(&hash, &user).await?;
            let registered = async {
                let credentials = admin.add_user(user.clone(), device).await?;
                admin.take_phone(&hash, &user).await?;
                Ok(credentials)
            };
            let registered = registered.await;
            admin.settle_phone(&hash, registered.is_ok().then_some(user)).await?;
            registered
        })
        .await
    }

    /// Adds a device to the user who has a phone number; without one, a user. If the user has a device of that name, it gets
    /// a new password, and keeps its inbox. Goes on when the caller stops waiting.
    ///
    /// # Errors
    /// As [`Self::add_device`] and [`Self::register`].
    pub(crate) async fn enrol(&self, number: PhoneNumber, device: DeviceName) -> Result<Credentials, AdminError> {
        let (admin, hash) = (self.clone(), phone::hash(number));
        in_background(async move {
            let owner = admin.ask_about(&hash, |reply| AdminRequest::PhoneOwner(hash, reply)).await?;
            let Some(user) = owner else {
                return match admin.register(None, device.clone(), number).await {
                    // Who had the number before is called so.
                    Err(AdminError::UserExists(_)) => admin.register(Some(Names::any()?), device, number).await,
                    registered => registered,
                };
            };
            match admin.add_device(user.clone(), device.clone()).await {
                Err(AdminError::DeviceExists(..)) => admin.renew_password(user, device).await,
                added => added,
            }
        })
        .await
    }

    /// Gives a device a new password. The one before is void, and its connection is cut.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::NoDevice`], [`AdminError::ShuttingDown`].
    pub async fn renew_password(&self, user: UserId, device: DeviceName) -> Result<Credentials, AdminError> {
        self.ask(Some(&user.clone()), |reply| AdminRequest::RenewPassword(user, device, reply)).await
    }

    /// Sets or takes away a user's phone number. With it comes what was sent to the number before anybody had it. Goes on
    /// when the caller stops waiting.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::PhoneTaken`], [`AdminError::PhoneBusy`], [`AdminError::InboxFull`],
    /// [`AdminError::ShuttingDown`].
    pub async fn set_phone(&self, user: UserId, number: Option<PhoneNumber>) -> Result<(), AdminError> {
        let admin = self.clone();
        in_background(async move {
            let Some(hash) = number.map(phone::hash) else { return admin.write_phone(&user, None).await };
            admin.user(user.clone()).await?;
            admin.claim_phone(&hash, &user).await?;
            let taken = admin.take_phone(&hash, &user).await;
            admin.settle_phone(&hash, taken.is_ok().then_some(user)).await?;
            taken
        })
        .await
    }

    /// From here on messages to the number wait, until it is settled.
    async fn claim_phone(&self, hash: &PhoneHash, user: &UserId) -> Result<(), AdminError> {
        for _ in 0..CLAIM_TRIES {
            let claimed = self.ask_about(hash, |reply| AdminRequest::ClaimPhone(*hash, user.clone(), reply)).await;
            if !matches!(claimed, Err(AdminError::PhoneBusy)) {
                return claimed;
            }
            tokio::time::sleep(CLAIM_AGAIN).await;
        }
        Err(AdminError::PhoneBusy)
    }

    async fn take_phone(&self, hash: &PhoneHash, user: &UserId) -> Result<(), AdminError> {
        phone::hand_over(self, hash, user).await?;
        self.write_phone(user, Some(*hash)).await
    }

    /// In the user's record; gives back the number before.
    async fn write_phone(&self, user: &UserId, hash: Option<PhoneHash>) -> Result<(), AdminError> {
        let before = self.ask(Some(user), |reply| AdminRequest::SetPhone(user.clone(), hash, reply)).await?;
        match before.filter(|before| Some(*before) != hash) {
            Some(before) => {
                self.ask_about(&before, |reply| AdminRequest::ReleasePhone(before, user.clone(), reply)).await
            }
            None => Ok(()),
        }
    }

    async fn settle_phone(&self, hash: &PhoneHash, owner: Option<UserId>) -> Result<(), AdminError> {
        self.ask_about(hash, |reply| AdminRequest::SettlePhone(*hash, owner, reply)).await
    }

    /// Asks the lane that owns a phone number.
    pub(crate) async fn ask_about<T>(
        &self,
        hash: &PhoneHash,
        request: impl FnOnce(Reply<T>) -> AdminRequest,
    ) -> Result<T, AdminError> {
        self.ask(Some(&self.phone_names.of(hash)), request).await
    }

    /// Asks the lane of `user`, or any.
    pub(crate) async fn ask<T>(
        &self,
        user: Option<&UserId>,
        request: impl FnOnce(Reply<T>) -> AdminRequest,
    ) -> Result<T, AdminError> {
        let (reply, answer) = oneshot::channel();
        let partition = user.map_or(Partition::of_hash(0), Partition::of_user);
        self.mail(partition, Mail::Admin(self.by, request(reply)));
        answer.await.unwrap_or(Err(AdminError::ShuttingDown))
    }

    /// To the lane of a partition. One that is gone drops the reply within, which the answer then tells.
    pub(crate) fn mail(&self, partition: Partition, mail: Mail) {
        let lane = partition.lane(self.lanes.len() as u32);
        let _ = self.lanes[lane as usize].send(mail);
    }
}

/// Carries on when whoever waits for it stops.
async fn in_background<T: Send + 'static>(
    work: impl Future<Output = Result<T, AdminError>> + Send + 'static,
) -> Result<T, AdminError> {
    tokio::spawn(work).await.unwrap_or(Err(AdminError::ShuttingDown))
}
