//! The user's own account: its devices, whom it blocks, whom it knows by phone number.

use bytes::Bytes;
use godwit_schemas::client::request::Call;
use godwit_schemas::client::{self, Block, LabelDevice, ListBlocked, ListDevices, LookUpPhones, RemoveDevice, Unblock};
use godwit_schemas::ids::{DeviceName, UserId};

use super::Client;
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
}

/// A phone number that is somebody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPhone {
    /// SHA-256 of the number, as it was asked for.
    pub sha256: Bytes,
    /// Whose.
    pub user: UserId,
    /// Nobody has registered with it yet; this user has written to it.
    pub waiting: bool,
}

impl Client {
    /// The user's devices, this one included, in the order they were added.
    ///
    /// # Errors
    /// As [`Self::create_group`].
    pub async fn devices(&self) -> Result<Vec<Device>, Error> {
        let response = self.call(Call::ListDevices(ListDevices {})).await?;
        let device = |client::Device { device, label, connected }| Device { name: device, label, connected };
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
