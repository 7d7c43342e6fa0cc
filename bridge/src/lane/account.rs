//! Calls about the caller's own account: whom it blocks, its devices. The user's lane carries them out itself. (Contacts
//! and profiles: `contacts`, `profile`.)

use bytes::Bytes;
use godwit_core::command::Origin;
use godwit_core::outcome::{Effect, EffectKind};
use godwit_core::record::UserRecord;
use godwit_schemas::bus::Bus;
use godwit_schemas::client::{self, request::Call};
use godwit_schemas::ids::{DeviceId, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;

use super::Lane;
use super::users::AfterRemoval;
use crate::admin::AdminError;
use crate::audit::By;
use crate::mail::{Mail, Then};
use crate::store::{Store, StoreError};

/// Most users that a user blocks.
const BLOCKED_MAX: usize = 1_000;
/// Longest label of a device in bytes.
const LABEL_BYTES_MAX: usize = 128;

/// A refusal: its reason code, and a sentence for people.
pub(super) type Refused = (Reason, &'static str);

pub(super) const NO_USER: Refused = (Reason::TOPIC_NAME_INVALID, "no such user");
pub(super) const NO_DEVICE: Refused = (Reason::TOPIC_NAME_INVALID, "no such device");
const TOO_MANY_BLOCKED: Refused = (Reason::QUOTA_EXCEEDED, "you block 1,000 users");
const BAD_LABEL: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "label over 128 bytes");
pub(super) const YOURSELF: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "that is yourself");
const BEING_REMOVED: Refused = (Reason::NOT_AUTHORIZED, "you are being removed");

/// Who calls, and where the answer goes.
pub(super) struct Caller {
    pub(super) origin: Origin,
    pub(super) id: u64,
    pub(super) correlation: Bytes,
    /// In whose name it is noted.
    pub(super) by: By,
}

impl Caller {
    /// The effects that answer the call.
    pub(super) fn answer(self, response: client::Response) -> Vec<Effect> {
        let Self { origin, id, correlation, .. } = self;
        let (partition, device) = (Partition::of_user(&origin.user), origin.device);
        let response = Box::new(client::Response { id, ..response });
        let responded = EffectKind::Responded { to: origin.reply_to, response, correlation };
        let published = origin.reply_to.map(|to| EffectKind::Published {
            to,
            reason: Reason::SUCCESS,
            text: "",
            conversation: Default::default(),
            sequence: Default::default(),
        });
        [Some(responded), published].into_iter().flatten().map(|kind| Effect { partition, device, kind }).collect()
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// A call about the caller's account. Answered when what it changed is on disk, and known to all lanes.
    pub(super) async fn account(&mut self, caller: Caller, call: Call) -> Result<(), StoreError> {
        let user = caller.origin.user.clone();
        let record = match self.changeable(&user).await? {
            Ok(record) => record,
            Err(AdminError::NoUser(_)) => {
                self.refuse(caller, NO_USER);
                return Ok(());
            }
            Err(_) => {
                self.refuse(caller, BEING_REMOVED);
                return Ok(());
            }
        };
        match call {
            Call::ListBlocked(_) => {
                self.answer_call(caller, client::Response { users: record.blocked, ..Default::default() });
            }
            Call::ListDevices(_) => {
                let devices = record.devices.iter().map(|device| client::Device {
                    device: device.name.clone(),
                    label: device.label.clone(),
                    connected: self.is_connected(DeviceId::new(device.id)),
                });
                let devices = devices.collect();
                self.answer_call(caller, client::Response { devices, ..Default::default() });
            }
            Call::ListConversations(call) => {
                let response = self.list_conversations(&user, &call).await?;
                self.answer_call(caller, response);
            }
            Call::GetHistory(call) => match self.get_history(&user, &call).await? {
                Ok(response) => self.answer_call(caller, response),
                Err(refused) => self.refuse(caller, refused),
            },
            Call::LookUpPhones(call) => match self.look_up_phones(&user, &call).await? {
                Ok(response) => self.answer_call(caller, response),
                Err(refused) => self.refuse(caller, refused),
            },
            call @ (Call::GetProfile(_)
            | Call::SetProfile(_)
            | Call::AddContact(_)
            | Call::RemoveContact(_)
            | Call::ListContacts(_)
            | Call::GetPresence(_)) => self.people(caller, call).await?,
            Call::Block(call) => self.block(caller, record, &call.user, true).await?,
            Call::Unblock(call) => self.block(caller, record, &call.user, false).await?,
            Call::LabelDevice(call) => self.label_device(caller, record, call).await?,
            Call::RemoveDevice(call) => match record.devices.iter().position(|device| device.name == call.device) {
                Some(index) => {
                    let by = caller.by;
                    let done = self.then_respond(caller, client::Response::default());
                    self.remove_device_at(by, user, record, index, done);
                }
                None => self.refuse(caller, NO_DEVICE),
            },
            Call::RenewPassword(call) => self.renew_own_password(caller, record, &call),
            Call::EraseAccount(_) => {
                let by = caller.by;
                let done = self.then_respond(caller, client::Response::default());
                let done = self.then_noted(by, "user_removed", &user, None, done);
                self.remove_user(user, AfterRemoval::Erase(done)).await?;
            }
            call => self.ask_keeper(caller, call),
        }
        Ok(())
    }

    fn is_connected(&self, device: DeviceId) -> bool {
        self.sessions.get(&device).is_some_and(|session| session.connection.is_some())
    }

    async fn block(
        &mut self,
        caller: Caller,
        mut record: UserRecord,
        name: &str,
        block: bool,
    ) -> Result<(), StoreError> {
        let Ok(other) = UserId::new(name) else {
            self.refuse(caller, NO_USER);
            return Ok(());
        };
        let user = caller.origin.user.clone();
        if other == user {
            self.refuse(caller, YOURSELF);
            return Ok(());
        }
        match record.blocked.binary_search_by(|blocked| blocked.as_str().cmp(name)) {
            Err(index) if block => {
                if self.user_record(&other).await?.is_none() {
                    self.refuse(caller, NO_USER);
                    return Ok(());
                }
                if record.blocked.len() >= BLOCKED_MAX {
                    self.refuse(caller, TOO_MANY_BLOCKED);
                    return Ok(());
                }
                record.blocked.insert(index, name.to_owned());
            }
            Ok(index) if !block => {
                record.blocked.remove(index);
            }
            _ => {
                self.answer_call(caller, client::Response::default());
                return Ok(());
            }
        }
        let done = self.then_respond(caller, client::Response::default());
        self.changes_sight(&user, &other).await?;
        self.change_user(user, Some(record), done);
        Ok(())
    }

    async fn label_device(
        &mut self,
        caller: Caller,
        mut record: UserRecord,
        call: client::LabelDevice,
    ) -> Result<(), StoreError> {
        if call.label.len() > LABEL_BYTES_MAX {
            self.refuse(caller, BAD_LABEL);
            return Ok(());
        }
        let Some(device) = record.devices.iter_mut().find(|device| device.name == call.device) else {
            self.refuse(caller, NO_DEVICE);
            return Ok(());
        };
        device.label = call.label;
        let user = caller.origin.user.clone();
        let done = self.then_respond(caller, client::Response::default());
        self.change_user(user, Some(record), done);
        Ok(())
    }

    pub(super) fn refuse(&self, caller: Caller, (reason, text): Refused) {
        let response = client::Response { reason: reason.into(), text: text.to_owned(), ..Default::default() };
        self.answer_call(caller, response);
    }

    /// Answers in the lane's next round.
    pub(super) fn answer_call(&self, caller: Caller, response: client::Response) {
        self.then_respond(caller, response)();
    }

    /// The same, by whoever gets that far.
    pub(super) fn then_respond(&self, caller: Caller, response: client::Response) -> Then {
        self.then_mail(move || Mail::Effects(caller.answer(response)))
    }
}
