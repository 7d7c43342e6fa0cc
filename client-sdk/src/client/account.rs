//! The user's own account: its devices, whom it blocks, whom it knows by phone number.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use godwit_schemas::client::request::Call;
use godwit_schemas::client::{
    self, Block, LabelDevice, ListBlocked, ListDevices, LookUpPhones, RemoveDevice, RenewPassword, Unblock,
};
use godwit_schemas::ids::{DeviceName, UserId};
use tokio::sync::oneshot;

use super::Client;
use crate::engine::EngineCommand;
use crate::error::Error;

/// One of the user's devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name: the MQTT client identifier.
    pub name: String,
    /// What it is called for people; may be empty.
    pub label: String,
    /// It is connected now.
    pub connected: bool,
    /// Its inbox is full: what comes is left out for it, until it has fetched a quarter.
    pub inbox_full: bool,
    /// When its inbox became full for the last time: from then on something may be missing on it.
    pub full_since: Option<SystemTime>,
}

/// A phone number that is somebody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPhone {
    /// SHA-256 of the number, as it was asked for.
    pub sha256: Bytes,
    /// The user who has the number.
    pub user: UserId,
    /// Nobody has registered with it yet; this user has written to it.
    pub waiting: bool,
}

impl Client {
    /// Which server the store was of when it was opened, in hexadecimal digits, as
    /// [`OfflineCause::OtherServer`](crate::OfflineCause::OtherServer) has it; `None`: it had not met one yet.
    pub fn server(&self) -> Option<String> {
        self.0.origin.map(|it| format!("{:016x}", it.server))
    }

    /// The user's devices, this one included, in the order they were added.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn devices(&self) -> Result<Vec<Device>, Error> {
        let response = self.call(Call::ListDevices(ListDevices {})).await?;
        let device = |it: client::Device| {
            let age = it.full_age_s.map(Duration::from_secs);
            let full_since = age.and_then(|age| SystemTime::now().checked_sub(age));
            let client::Device { device, label, connected, inbox_full, .. } = it;
            Device { name: device, label, connected, inbox_full, full_since }
        };
        Ok(response.devices.into_iter().map(device).collect())
    }

    /// Says what one of the user's devices is called for people.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn label_device(&self, device: &DeviceName, label: &str) -> Result<(), Error> {
        let (device, label) = (device.to_string(), label.to_owned());
        self.call(Call::LabelDevice(LabelDevice { device, label })).await.map(drop)
    }

    /// Removes one of the user's devices: its connection is cut, its inbox and password are gone at once.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn remove_device(&self, device: &DeviceName) -> Result<(), Error> {
        self.call(Call::RemoveDevice(RemoveDevice { device: device.to_string() })).await.map(drop)
    }

    /// Gives this device a new password, and connects anew with it at once, which voids the one before. Returns when the
    /// new one is in the store: from then on the client uses it whatever the app brings, and an app that keeps passwords
    /// itself may keep this one. Whatever is lost on the way, the one before is good until the new one has been used.
    /// Without a store that lasts the new password ends with the app: keep it before anything else.
    ///
    /// # Errors
    /// As [`Self::create_group`]; [`Error::Store`]: the one before stays.
    pub async fn renew_password(&self) -> Result<String, Error> {
        let device = self.0.device.to_string();
        let password = self.call(Call::RenewPassword(RenewPassword { device })).await?.password;
        let (kept, is_kept) = oneshot::channel();
        let command = EngineCommand::Renewed { password: password.clone(), kept };
        self.0.commands.send(command).await.map_err(|_| Error::Closed)?;
        is_kept.await.map_err(|_| Error::Closed)??;
        Ok(password)
    }

    /// From now on nothing that this user sends directly is delivered, and it hears of nothing. Groups stay as they are.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn block(&self, user: &UserId) -> Result<(), Error> {
        self.call(Call::Block(Block { user: user.to_string() })).await.map(drop)
    }

    /// Ends [`Self::block`]. What was dropped does not come back.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn unblock(&self, user: &UserId) -> Result<(), Error> {
        self.call(Call::Unblock(Unblock { user: user.to_string() })).await.map(drop)
    }

    /// Whom this user has blocked, by name.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn blocked(&self) -> Result<Vec<UserId>, Error> {
        let response = self.call(Call::ListBlocked(ListBlocked {})).await?;
        Ok(response.users.iter().filter_map(|user| UserId::new(user).ok()).collect())
    }

    /// Which of these phone numbers are users': 1 to 1,000 SHA-256 hashes of numbers in E.164 with their plus sign. The
    /// server allows some thousands a day.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn look_up_phones(&self, sha256: &[[u8; 32]]) -> Result<Vec<FoundPhone>, Error> {
        let sha256 = sha256.iter().map(|hash| Bytes::copy_from_slice(hash)).collect();
        let response = self.call(Call::LookUpPhones(LookUpPhones { sha256 })).await?;
        let found = response.found.into_iter().filter_map(|client::FoundPhone { sha256, user, waiting }| {
            Some(FoundPhone { sha256, user: UserId::new(&user).ok()?, waiting })
        });
        Ok(found.collect())
    }
}
