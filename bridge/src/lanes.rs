//! Handles to all lanes: the request goes to the lane that owns the user or the phone number, and the answer comes back.
//! Used by operators' commands, users' calls and the handing over of a phone number. Lanes are never waited for before the
//! answer: their queues take whatever they are sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, UserId};
use godwit_schemas::partition::{Partition, Partitions};
use tokio::sync::oneshot;

use crate::audit::Actor;
use crate::messages::{AdminError, AdminReply, AdminRequest, LaneHandle, LaneMessage, Principal, UserRequest};
use crate::phone::{PhoneHash, PhoneNames};

/// The bridge is stopping. Whether a request was carried out is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server is shutting down")]
pub struct ShuttingDown;

/// All lanes, what they share, and the names of the users that wait for phone numbers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lanes {
    handles: Arc<[LaneHandle]>,
    partitions: Partitions,
    phone_names: PhoneNames,
}

impl Lanes {
    pub(crate) fn new(handles: Arc<[LaneHandle]>, partitions: Partitions, phone_names: PhoneNames) -> Self {
        Self { handles, partitions, phone_names }
    }

    /// Of each lane, by its number.
    pub(crate) fn handles(&self) -> &Arc<[LaneHandle]> {
        &self.handles
    }

    /// The number of the lane that owns a device.
    pub(crate) fn number_of_device(&self, device: DeviceId) -> u32 {
        self.partitions.of_device(device).lane(self.handles.len() as u32)
    }

    /// The lane that owns a device.
    pub(crate) fn of_device(&self, device: DeviceId) -> &LaneHandle {
        &self.handles[self.number_of_device(device) as usize]
    }

    /// Users by the lane that owns them: the first of each, and all of them.
    pub(crate) fn by_lane(&self, users: impl Iterator<Item = UserId>) -> Vec<(UserId, Vec<UserId>)> {
        let mut lanes = BTreeMap::<u32, Vec<UserId>>::new();
        for user in users {
            let lane = self.partitions.of_user(&user).lane(self.handles.len() as u32);
            lanes.entry(lane).or_default().push(user);
        }
        lanes.into_values().filter_map(|users| Some((users.first()?.clone(), users))).collect()
    }

    /// The user that waits for a phone number; its lane owns the number.
    pub(crate) fn waiting_user(&self, hash: &PhoneHash) -> UserId {
        self.phone_names.of(hash)
    }

    /// Asks the lane that owns a phone number.
    pub(crate) async fn ask_about<T>(
        &self,
        by: Actor,
        hash: &PhoneHash,
        request: impl FnOnce(AdminReply<T>) -> AdminRequest,
    ) -> Result<T, AdminError> {
        self.ask(by, Some(&self.waiting_user(hash)), request).await
    }

    /// Asks the lane of `user`, or any lane.
    pub(crate) async fn ask<T>(
        &self,
        by: Actor,
        user: Option<&UserId>,
        request: impl FnOnce(AdminReply<T>) -> AdminRequest,
    ) -> Result<T, AdminError> {
        let (reply, answer) = oneshot::channel();
        let partition = user.map_or(Partition::new(0), |user| self.partitions.of_user(user));
        self.send(partition, LaneMessage::Admin(by, request(reply)));
        answer.await.unwrap_or(Err(AdminError::ShuttingDown))
    }

    /// Has the user's lane carry out what `who` asks in the user's name.
    pub(crate) async fn ask_as(
        &self,
        user: UserId,
        who: Principal,
        request: UserRequest,
    ) -> Result<client::Response, ShuttingDown> {
        let (reply, answer) = oneshot::channel();
        self.send(self.partitions.of_user(&user), LaneMessage::UserRequest(user, who, request, reply));
        answer.await.map_err(|_| ShuttingDown)
    }

    /// Sends to the lane of a partition. A lane that has ended drops the reply within the message, which ends the wait.
    fn send(&self, partition: Partition, message: LaneMessage) {
        let lane = partition.lane(self.handles.len() as u32);
        let _ = self.handles[lane as usize].send(message);
    }
}
