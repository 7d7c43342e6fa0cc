//! Operators' commands: users and devices. Called by the HTTP API; each call is carried out by the lane that owns the
//! user, and returns when it is on disk.

use std::time::Duration;

use godwit_schemas::ids::{ConversationId, DeviceName, Order, UserId};
use godwit_schemas::phone::PhoneNumber;

use crate::audit::Actor;
use crate::handover::hand_over;
use crate::lanes::Lanes;
use crate::messages::{AdminReply, AdminRequest};
use crate::phone::{self, PhoneHash, PhoneNames};

pub use crate::messages::{
    AdminError, ClientListing, ConversationReport, DeviceCredentials, DeviceReport, InboxEntry, InboxPage, InboxReport,
    MemberReport, UserListing,
};

/// How often a phone number that is busy is tried again, and after how long.
const CLAIM_TRIES: u32 = 100;
const CLAIM_AGAIN: Duration = Duration::from_millis(20);

/// Operators' commands. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    lanes: Lanes,
    by: Actor,
}

impl Admin {
    pub(crate) fn new(lanes: Lanes) -> Self {
        Self { lanes, by: Actor::Administrator }
    }

    /// The same commands; the audit names `by` as the one who gave them.
    pub fn by(self, by: Actor) -> Self {
        Self { by, ..self }
    }

    /// Adds a user with its first device.
    ///
    /// # Errors
    /// [`AdminError::UserExists`], [`AdminError::NoRoom`], [`AdminError::ShuttingDown`].
    pub async fn add_user(&self, user: UserId, device: DeviceName) -> Result<DeviceCredentials, AdminError> {
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
    pub async fn add_device(&self, user: UserId, device: DeviceName) -> Result<DeviceCredentials, AdminError> {
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

    /// Connected devices of users after `after` in byte order, and after whom the next page begins. A page looks at `users_max` users:
    /// it may have no client although there are more.
    ///
    /// # Errors
    /// [`AdminError::ShuttingDown`].
    pub async fn clients(
        &self,
        after: Option<UserId>,
        users_max: usize,
    ) -> Result<(Vec<ClientListing>, Option<String>), AdminError> {
        let users = self.users(after, users_max).await?;
        let next = users.last().filter(|_| users.len() == users_max).map(|last| last.user.clone());
        let mut clients = Vec::new();
        let names = users.iter().filter_map(|listed| UserId::new(&listed.user).ok());
        for (first, of_lane) in self.lanes.by_lane(names) {
            clients.extend(self.ask(Some(&first), |reply| AdminRequest::Clients(of_lane, reply)).await?);
        }
        clients.sort_unstable_by(|one: &ClientListing, other| one.user.cmp(&other.user));
        Ok((clients, next))
    }

    /// How a device is.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::NoDevice`], [`AdminError::ShuttingDown`].
    pub async fn device(&self, user: UserId, device: DeviceName) -> Result<DeviceReport, AdminError> {
        self.ask(Some(&user.clone()), |reply| AdminRequest::Device(user, device, reply)).await
    }

    /// Entries of a device's inbox behind an order, at most `limit`, without what they say.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::NoDevice`], [`AdminError::ShuttingDown`].
    pub async fn inbox(
        &self,
        user: UserId,
        device: DeviceName,
        after: Order,
        limit: usize,
    ) -> Result<InboxPage, AdminError> {
        self.ask(Some(&user.clone()), |reply| AdminRequest::Inbox(user, device, (after, limit), reply)).await
    }

    /// Who is in a conversation, and how far each is, as it is on disk.
    ///
    /// # Errors
    /// [`AdminError::NoConversation`], [`AdminError::ShuttingDown`].
    pub async fn conversation(&self, id: ConversationId) -> Result<ConversationReport, AdminError> {
        // Any lane can read it.
        self.ask(None, |reply| AdminRequest::Conversation(id, reply)).await
    }

    /// Ends a device's connection, if it has one. Returns when it is closed.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::NoDevice`], [`AdminError::ShuttingDown`].
    pub async fn kick(&self, user: UserId, device: DeviceName) -> Result<(), AdminError> {
        self.ask(Some(&user.clone()), |reply| AdminRequest::Kick(user, device, reply)).await
    }

    /// Shuts a user out, or lets it in again. Returns when that is on disk, all lanes know, and its connections are closed.
    ///
    /// # Errors
    /// [`AdminError::NoUser`], [`AdminError::BeingRemoved`], [`AdminError::ShuttingDown`].
    pub async fn set_suspended(&self, user: UserId, suspended: bool) -> Result<(), AdminError> {
        self.ask(Some(&user.clone()), |reply| AdminRequest::Suspend(user, suspended, reply)).await
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
    ) -> Result<DeviceCredentials, AdminError> {
        let (admin, hash) = (self.clone(), phone::hash(number));
        let user = user.unwrap_or_else(|| self.lanes.waiting_user(&hash));
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
    pub(crate) async fn enrol(&self, number: PhoneNumber, device: DeviceName) -> Result<DeviceCredentials, AdminError> {
        let (admin, hash) = (self.clone(), phone::hash(number));
        in_background(async move {
            let owner = admin.ask_about(&hash, |reply| AdminRequest::PhoneOwner(hash, reply)).await?;
            let Some(user) = owner else {
                return match admin.register(None, device.clone(), number).await {
                    // Who had the number before is called so, or what is left of it is still being cleared away.
                    Err(AdminError::UserExists(_) | AdminError::BeingRemoved(_)) => {
                        let any = PhoneNames::any().map_err(|error| AdminError::NoRandomness(error.to_string()))?;
                        admin.register(Some(any), device, number).await
                    }
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
    pub async fn renew_password(&self, user: UserId, device: DeviceName) -> Result<DeviceCredentials, AdminError> {
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
        hand_over(&self.lanes, self.by, hash, user).await?;
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
    async fn ask_about<T>(
        &self,
        hash: &PhoneHash,
        request: impl FnOnce(AdminReply<T>) -> AdminRequest,
    ) -> Result<T, AdminError> {
        self.lanes.ask_about(self.by, hash, request).await
    }

    /// Asks the lane of `user`, or any lane.
    async fn ask<T>(
        &self,
        user: Option<&UserId>,
        request: impl FnOnce(AdminReply<T>) -> AdminRequest,
    ) -> Result<T, AdminError> {
        self.lanes.ask(self.by, user, request).await
    }
}

/// Carries on when whoever waits for it stops.
async fn in_background<T: Send + 'static>(
    work: impl Future<Output = Result<T, AdminError>> + Send + 'static,
) -> Result<T, AdminError> {
    tokio::spawn(work).await.unwrap_or(Err(AdminError::ShuttingDown))
}
