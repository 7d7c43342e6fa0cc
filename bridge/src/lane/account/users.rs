//! Operators' commands: users and devices come and go. A user's lane is the only one that changes its record; the
//! others are told before the operator is answered.

use bytes::Bytes;
use godwit_core::event::DomainEvent;
use godwit_core::stored::{DeviceRecord, UserRecord};
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::{DeviceId, DeviceName, UserId};

use crate::admin::{AdminError, DeviceCredentials, UserListing};
use crate::audit::{Actor, AuditEntry};
use crate::lane::Lane;
use crate::lane::account::caller::answer;
use crate::lane::account::removal::AfterRemoval;
use crate::lane::context::Context;
use crate::lane::round::Round;
use crate::messages::{AdminReply, AdminRequest, AfterCommit, Continuation, LaneMessage, People};
use crate::phone::PhoneHash;
use crate::{password, writes};
use godwit_store::keys::Tombstone;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Table, keys};

impl Round {
    /// Other lanes may still be writing to a device's inbox until they know that it is gone: erase it after that.
    pub(in crate::lane) fn then_erase<S: Store>(
        &mut self,
        context: &Context<S>,
        devices: Vec<DeviceId>,
        then: Continuation,
    ) -> Continuation {
        let marks =
            devices.iter().map(|device| writes::set(keys::mark(&Tombstone::Device(*device)), Some(Bytes::new())));
        self.write_all(marks);
        context.then_send(move || LaneMessage::Erase(devices, then))
    }

    /// Tells operators that a user has another device, and that the user is new; notes it for the audit, then goes on.
    pub(in crate::lane) fn then_added<S: Store>(
        &mut self,
        context: &Context<S>,
        by: Actor,
        user: &UserId,
        device: &DeviceName,
        is_new: bool,
        then: Continuation,
    ) -> Continuation {
        if is_new {
            self.note(|| DomainEvent::Account { user: user.clone(), device: None, added: true });
        }
        self.note(|| DomainEvent::Account { user: user.clone(), device: Some(device.clone()), added: true });
        let then = context.then_noted(by, "device_added", user, Some(device.as_str()), then);
        if is_new { context.then_noted(by, "user_added", user, None, then) } else { then }
    }
}

impl<S: Store> Context<S> {
    /// Neither may other lanes find anything of its profile and contacts.
    pub(in crate::lane) fn then_forget(&self, user: UserId, then: Continuation) -> Continuation {
        self.then_send(move || LaneMessage::People(People::Forget(user, then)))
    }

    /// Notes for the audit that something became of an account, then goes on.
    pub(in crate::lane) fn then_noted(
        &self,
        by: Actor,
        event: &'static str,
        user: &UserId,
        device: Option<&str>,
        then: Continuation,
    ) -> Continuation {
        let audit = self.settings.audit.clone();
        if !audit.is_on() {
            return then;
        }
        let (user, device) = (Some(user.to_string()), device.map(str::to_owned));
        let entry = AuditEntry { event, user, device, by: Some(by), ..AuditEntry::default() };
        Box::new(move || {
            audit.note(|| entry);
            then();
        })
    }

    async fn users(&self, after: Option<UserId>, limit: usize) -> Result<Vec<UserListing>, StoreError> {
        let (from, to) = keys::users_after(after.as_ref());
        let rows = self.store.scan(Table::Directory, &from, &to, limit, usize::MAX).await?;
        let users = rows.into_iter().filter_map(|(key, value)| {
            let user = keys::parse_user(&key)?;
            Some(listing(&user, &decoded::<UserRecord>("user", &user, &value)?))
        });
        Ok(users.collect())
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    pub(in crate::lane) async fn admin(&mut self, by: Actor, request: AdminRequest) -> Result<(), StoreError> {
        match request {
            AdminRequest::AddUser(user, _, reply) if self.accounts.being_forgotten.contains(&user) => {
                answer(reply, Err(AdminError::BeingRemoved(user)));
            }
            AdminRequest::AddUser(user, device, reply) => match self.state.user_record(&self.context, &user).await? {
                Some(record) if record.waiting => self.register(by, user, record, &device, reply),
                Some(_) => answer(reply, Err(AdminError::UserExists(user))),
                None if self.context.nearly_full => answer(reply, Err(AdminError::NoRoom)),
                None => self.add_device(by, user, UserRecord::default(), &device, reply),
            },
            AdminRequest::AddDevice(user, device, reply) => match self.changeable(&user, reply).await? {
                Some((_, reply)) if self.context.nearly_full => answer(reply, Err(AdminError::NoRoom)),
                Some((record, reply)) => self.add_device(by, user, record, &device, reply),
                None => {}
            },
            AdminRequest::RemoveDevice(user, device, reply) => {
                if let Some((record, reply)) = self.changeable(&user, reply).await? {
                    self.remove_device(by, user, record, &device, reply);
                }
            }
            AdminRequest::RemoveUser(user, reply) => {
                if let Some((_, reply)) = self.changeable(&user, reply).await? {
                    let done = Box::new(move || answer(reply, Ok(())));
                    let done = self.context.then_noted(by, "user_removed", &user, None, done);
                    self.remove_user(user, AfterRemoval::Erase(done)).await?;
                }
            }
            AdminRequest::RenewPassword(user, device, reply) => {
                if let Some((record, reply)) = self.changeable(&user, reply).await? {
                    self.renew_password(by, user, record, &device, reply);
                }
            }
            AdminRequest::PhoneOwner(hash, reply) => {
                answer(reply, Ok(self.state.registered(&self.context, &hash).await?))
            }
            AdminRequest::User(user, reply) => {
                let record = self.state.user_record(&self.context, &user).await?;
                let is_full = |device: &&DeviceRecord| self.delivery.backlogs.is_full(DeviceId::new(device.id));
                let shown = record.map(|record| {
                    let full = record.devices.iter().filter(is_full).map(|device| device.name.clone());
                    let suspended_at_s = record.is_suspended().then_some(record.suspended_at_s);
                    UserListing { full: Some(full.collect()), suspended_at_s, ..listing(&user, &record) }
                });
                answer(reply, shown.ok_or(AdminError::NoUser(user)));
            }
            AdminRequest::ClaimPhone(hash, user, reply) => {
                answer(reply, self.accounts.phones.claim_phone(&self.context, &mut self.state, hash, &user).await?)
            }
            AdminRequest::SettlePhone(hash, user, reply) => {
                self.round.settle_phone(&self.context, hash, user.as_ref(), Box::new(move || answer(reply, Ok(()))));
            }
            AdminRequest::ReleasePhone(hash, user, reply) => {
                self.round.release_phone(&self.context, hash, &user, Box::new(move || answer(reply, Ok(())))).await?;
            }
            AdminRequest::SetPhone(user, hash, reply) => {
                if let Some((record, reply)) = self.changeable(&user, reply).await? {
                    self.set_phone(by, user, record, hash, reply);
                }
            }
            AdminRequest::NextWaiting(hash, user, reply) => self.next_waiting(hash, &user, reply).await?,
            AdminRequest::Waiting(device, after, reply) => {
                answer(reply, Ok(self.context.waiting(device, after).await?))
            }
            AdminRequest::HandedOver(hash, device, reply) => {
                self.handed_over(hash, device, Box::new(move || answer(reply, Ok(())))).await?;
            }
            AdminRequest::Clients(users, reply) => answer(reply, Ok(self.clients(users).await?)),
            AdminRequest::Device(user, device, reply) => self.device_report(user, device, reply).await?,
            AdminRequest::Inbox(user, device, page, reply) => self.inbox_page(user, device, page, reply).await?,
            AdminRequest::Conversation(id, reply) => {
                answer(reply, self.context.conversation_report(id).await?);
            }
            AdminRequest::Kick(user, device, reply) => self.kick(by, user, device, reply).await?,
            AdminRequest::Suspend(user, suspended, reply) => {
                if let Some((record, reply)) = self.changeable(&user, reply).await? {
                    self.suspend(by, user, record, suspended, reply);
                }
            }
            AdminRequest::Users(after, limit, reply) => answer(reply, Ok(self.context.users(after, limit).await?)),
        }
        Ok(())
    }

    /// The record of a user that may be changed, and whom to answer. `None`: there is none, and that is answered.
    async fn changeable<T>(
        &mut self,
        user: &UserId,
        reply: AdminReply<T>,
    ) -> Result<Option<(UserRecord, AdminReply<T>)>, StoreError> {
        match self.accounts.changeable(&self.context, &mut self.state, user).await? {
            Ok(record) => Ok(Some((record, reply))),
            Err(error) => {
                answer(reply, Err(error));
                Ok(None)
            }
        }
    }

    fn add_device(
        &mut self,
        by: Actor,
        user: UserId,
        mut record: UserRecord,
        name: &DeviceName,
        reply: AdminReply<DeviceCredentials>,
    ) {
        let most = self.context.settings.devices_per_user_max;
        if record.devices.iter().any(|device| device.name == name.as_str()) {
            return answer(reply, Err(AdminError::DeviceExists(user, name.clone())));
        }
        if record.devices.len() >= most {
            return answer(reply, Err(AdminError::TooManyDevices(user, most)));
        }
        let password = match password::generate() {
            Ok(password) => password,
            Err(error) => return answer(reply, Err(AdminError::NoRandomness(error.to_string()))),
        };
        let id = self.accounts.allocate_device(&mut self.round, &user);
        record.devices.push(DeviceRecord {
            id: id.get(),
            name: name.to_string(),
            password_hash: password::hash(&user, name, password.as_bytes()).to_vec(),
            ..DeviceRecord::default()
        });
        let is_new = self.state.cache.user(&user).is_none();
        let then = self.then_handed_out(by, &user, name, password, is_new, reply);
        self.change_user(user, Some(record), then);
    }

    /// When the device is on disk: its addition is noted, and the operator gets the password.
    fn then_handed_out(
        &mut self,
        by: Actor,
        user: &UserId,
        name: &DeviceName,
        password: String,
        is_new: bool,
        reply: AdminReply<DeviceCredentials>,
    ) -> Continuation {
        let credentials = DeviceCredentials { user: user.to_string(), device: name.to_string(), password };
        let then = Box::new(move || answer(reply, Ok(credentials)));
        self.round.then_added(&self.context, by, user, name, is_new, then)
    }

    /// Somebody registers as a user that has waited: its device has a name from here on, and lets in.
    fn register(
        &mut self,
        by: Actor,
        user: UserId,
        mut record: UserRecord,
        name: &DeviceName,
        reply: AdminReply<DeviceCredentials>,
    ) {
        let password = match password::generate() {
            Ok(password) => password,
            Err(error) => return answer(reply, Err(AdminError::NoRandomness(error.to_string()))),
        };
        record.waiting = false;
        for device in &mut record.devices {
            name.as_str().clone_into(&mut device.name);
            device.password_hash = password::hash(&user, name, password.as_bytes()).to_vec();
        }
        let then = self.then_handed_out(by, &user, name, password, true, reply);
        self.change_user(user, Some(record), then);
    }

    fn set_phone(
        &mut self,
        by: Actor,
        user: UserId,
        mut record: UserRecord,
        hash: Option<PhoneHash>,
        reply: AdminReply<Option<PhoneHash>>,
    ) {
        let event = if hash.is_some() { "phone_set" } else { "phone_removed" };
        let hash = hash.map(|hash| hash.to_vec()).unwrap_or_default();
        let before = std::mem::replace(&mut record.phone_sha256, hash).try_into().ok();
        let then = self.context.then_noted(by, event, &user, None, Box::new(move || answer(reply, Ok(before))));
        self.change_user(user, Some(record), then);
    }

    fn remove_device(&mut self, by: Actor, user: UserId, record: UserRecord, name: &DeviceName, reply: AdminReply<()>) {
        let Some(index) = record.devices.iter().position(|device| device.name == name.as_str()) else {
            return answer(reply, Err(AdminError::NoDevice(user, name.clone())));
        };
        self.remove_device_at(by, user, record, index, Box::new(move || answer(reply, Ok(()))));
    }

    /// Cuts a device off at once; `then`: when its connection is closed, and nothing of it is left.
    pub(in crate::lane) fn remove_device_at(
        &mut self,
        by: Actor,
        user: UserId,
        mut record: UserRecord,
        index: usize,
        then: Continuation,
    ) {
        let gone = record.devices.remove(index);
        let device = DeviceId::new(gone.id);
        self.cut(device);
        let then = self.context.then_closed(device, then);
        self.round.revoke_tokens(&self.context, &user, Some(&gone.name));
        let name = DeviceName::new(&gone.name).ok();
        self.round.note(|| DomainEvent::Account { user: user.clone(), device: name, added: false });
        let then = self.round.then_erase(&self.context, vec![device], then);
        let then = self.context.then_noted(by, "device_removed", &user, Some(&gone.name), then);
        self.change_user(user, Some(record), then);
    }

    /// Writes a user's record, tells all lanes, then goes on.
    pub(in crate::lane) fn change_user(&mut self, user: UserId, record: Option<UserRecord>, then: Continuation) {
        let then = self.connections.revocations.then_known(&self.context, &self.state, &user, record.as_ref(), then);
        let value = record.as_ref().map(|record| prost::Message::encode_to_vec(record).into());
        self.round.write(writes::set(keys::user(&user), value));
        self.state.cache.set_user(user.clone(), record);
        self.round.when_durable(AfterCommit::Announce(user, then));
    }

    /// The device subscribed to events: from the first time on, receipts are kept for it. True if that is not on disk yet.
    pub(in crate::lane) async fn reads_events(&mut self, user: &UserId, device: DeviceId) -> Result<bool, StoreError> {
        let Some(mut record) = self.state.user_record(&self.context, user).await? else { return Ok(false) };
        let Some(entry) = record.devices.iter_mut().find(|entry| entry.id == device.get()) else { return Ok(false) };
        if std::mem::replace(&mut entry.reads_events, true) {
            return Ok(self.state.cache.is_user_uncommitted(user, self.round.confirmed()));
        }
        self.change_user(user.clone(), Some(record), Box::new(|| ()));
        Ok(true)
    }
}

pub(in crate::lane) fn listing(user: &UserId, record: &UserRecord) -> UserListing {
    let devices = record.devices.iter().map(|device| device.name.clone()).filter(|name| !name.is_empty()).collect();
    UserListing { user: user.to_string(), devices, full: None, suspended_at_s: None }
}
