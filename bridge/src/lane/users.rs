//! Operators' commands: users and devices come and go. A user's lane is the only one that changes its record; the
//! others are told before the operator is answered.

use bytes::Bytes;
use godwit_core::command::Command;
use godwit_core::fact::Fact;
use godwit_core::record::{DeviceRecord, UserRecord};
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::{DeviceId, DeviceName, UserId};
use godwit_schemas::partition::{PARTITIONS, Partition};

use super::Lane;
use super::read::decoded;
use crate::admin::{AdminError, Credentials, UserListing};
use crate::audit::{By, Entry};
use crate::mail::{AdminRequest, Done, Mail, People, Reply, Then};
use crate::password;
use crate::phone::PhoneHash;
use crate::store::keys::Marked;
use crate::store::{Store, StoreError, Table, keys};
use crate::writes;

/// A user on its way out: its conversations are told first.
pub(super) struct Removal {
    conversations_left: usize,
    then: AfterRemoval,
}

/// What becomes of the inboxes of a user that is no more.
pub(super) enum AfterRemoval {
    Erase(Then),
    /// It has waited for this number: somebody else gets what is in its inbox. Tells its device, when nothing more comes.
    HandOver(PhoneHash, Reply<Option<DeviceId>>),
}

impl<S: Store, B: Bus> Lane<S, B> {
    pub(super) async fn admin(&mut self, by: By, request: AdminRequest) -> Result<(), StoreError> {
        match request {
            AdminRequest::AddUser(user, device, reply) => match self.user_record(&user).await? {
                Some(record) if record.waiting => self.register(by, user, record, &device, reply),
                Some(_) => answer(reply, Err(AdminError::UserExists(user))),
                None if self.nearly_full => answer(reply, Err(AdminError::NoRoom)),
                None => self.add_device(by, user, UserRecord::default(), &device, reply),
            },
            AdminRequest::AddDevice(user, device, reply) => match self.changeable(&user).await? {
                Ok(_) if self.nearly_full => answer(reply, Err(AdminError::NoRoom)),
                Ok(record) => self.add_device(by, user, record, &device, reply),
                Err(error) => answer(reply, Err(error)),
            },
            AdminRequest::RemoveDevice(user, device, reply) => match self.changeable(&user).await? {
                Ok(record) => self.remove_device(by, user, record, &device, reply),
                Err(error) => answer(reply, Err(error)),
            },
            AdminRequest::RemoveUser(user, reply) => match self.changeable(&user).await? {
                Ok(_) => {
                    let done =
                        self.then_noted(by, "user_removed", &user, None, Box::new(move || answer(reply, Ok(()))));
                    self.remove_user(user, AfterRemoval::Erase(done)).await?;
                }
                Err(error) => answer(reply, Err(error)),
            },
            AdminRequest::RenewPassword(user, device, reply) => match self.changeable(&user).await? {
                Ok(record) => self.renew_password(by, user, record, &device, reply),
                Err(error) => answer(reply, Err(error)),
            },
            AdminRequest::PhoneOwner(hash, reply) => answer(reply, Ok(self.registered(&hash).await?)),
            AdminRequest::User(user, reply) => {
                let record = self.user_record(&user).await?;
                answer(reply, record.map(|it| listing(&user, &it)).ok_or(AdminError::NoUser(user)));
            }
            AdminRequest::ClaimPhone(hash, user, reply) => answer(reply, self.claim_phone(hash, &user).await?),
            AdminRequest::SettlePhone(hash, user, reply) => {
                self.settle_phone(hash, user.as_ref(), Box::new(move || answer(reply, Ok(()))));
            }
            AdminRequest::ReleasePhone(hash, user, reply) => {
                self.release_phone(hash, &user, Box::new(move || answer(reply, Ok(())))).await?;
            }
            AdminRequest::SetPhone(user, hash, reply) => match self.changeable(&user).await? {
                Ok(record) => self.set_phone(by, user, record, hash, reply),
                Err(error) => answer(reply, Err(error)),
            },
            AdminRequest::NextWaiting(hash, user, reply) => self.next_waiting(hash, &user, reply).await?,
            AdminRequest::Waiting(device, after, reply) => answer(reply, Ok(self.waiting(device, after).await?)),
            AdminRequest::HandedOver(hash, device, reply) => {
                self.handed_over(hash, device, Box::new(move || answer(reply, Ok(())))).await?;
            }
            AdminRequest::Users(after, limit, reply) => answer(reply, Ok(self.users(after, limit).await?)),
        }
        Ok(())
    }

    pub(super) async fn changeable(&mut self, user: &UserId) -> Result<Result<UserRecord, AdminError>, StoreError> {
        if self.removals.contains_key(user) {
            return Ok(Err(AdminError::BeingRemoved(user.clone())));
        }
        Ok(self.user_record(user).await?.ok_or_else(|| AdminError::NoUser(user.clone())))
    }

    fn add_device(
        &mut self,
        by: By,
        user: UserId,
        mut record: UserRecord,
        name: &DeviceName,
        reply: Reply<Credentials>,
    ) {
        let most = self.settings.devices_per_user_max;
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
        let id = self.allocate_device(Partition::of_user(&user));
        record.devices.push(DeviceRecord {
            id: id.get(),
            name: name.to_string(),
            password_hash: password::hash(&user, name, password.as_bytes()).to_vec(),
            ..DeviceRecord::default()
        });
        let is_new = self.world.user(&user).is_none();
        let credentials = Credentials { user: user.to_string(), device: name.to_string(), password };
        let then = self.then_added(by, &user, name, is_new, Box::new(move || answer(reply, Ok(credentials))));
        self.change_user(user, Some(record), then);
    }

    /// Somebody registers as a user that has waited: its device has a name from here on, and lets in.
    fn register(&mut self, by: By, user: UserId, mut record: UserRecord, name: &DeviceName, reply: Reply<Credentials>) {
        let password = match password::generate() {
            Ok(password) => password,
            Err(error) => return answer(reply, Err(AdminError::NoRandomness(error.to_string()))),
        };
        record.waiting = false;
        for device in &mut record.devices {
            name.as_str().clone_into(&mut device.name);
            device.password_hash = password::hash(&user, name, password.as_bytes()).to_vec();
        }
        let credentials = Credentials { user: user.to_string(), device: name.to_string(), password };
        let then = self.then_added(by, &user, name, true, Box::new(move || answer(reply, Ok(credentials))));
        self.change_user(user, Some(record), then);
    }

    fn set_phone(
        &mut self,
        by: By,
        user: UserId,
        mut record: UserRecord,
        hash: Option<PhoneHash>,
        reply: Reply<Option<PhoneHash>>,
    ) {
        let event = if hash.is_some() { "phone_set" } else { "phone_removed" };
        let hash = hash.map(|hash| hash.to_vec()).unwrap_or_default();
        let before = std::mem::replace(&mut record.phone_sha256, hash).try_into().ok();
        let then = self.then_noted(by, event, &user, None, Box::new(move || answer(reply, Ok(before))));
        self.change_user(user, Some(record), then);
    }

    pub(super) fn allocate_device(&mut self, partition: Partition) -> DeviceId {
        let next = &mut self.next_device[usize::from(partition.get())];
        *next += 1;
        self.next.writes.push(writes::set(keys::device_counter(partition), Some(writes::counter(*next))));
        DeviceId::new(*next * PARTITIONS + u64::from(partition.get()))
    }

    fn remove_device(&mut self, by: By, user: UserId, record: UserRecord, name: &DeviceName, reply: Reply<()>) {
        let Some(index) = record.devices.iter().position(|device| device.name == name.as_str()) else {
            return answer(reply, Err(AdminError::NoDevice(user, name.clone())));
        };
        self.remove_device_at(by, user, record, index, Box::new(move || answer(reply, Ok(()))));
    }

    /// Cuts a device off at once; `then`: when nothing of it is left.
    pub(super) fn remove_device_at(&mut self, by: By, user: UserId, mut record: UserRecord, index: usize, then: Then) {
        let gone = record.devices.remove(index);
        let device = DeviceId::new(gone.id);
        self.cut(device);
        self.revoke_tokens(&user, Some(&gone.name));
        let name = DeviceName::new(&gone.name).ok();
        self.note(|| Fact::Account { user: user.clone(), device: name, added: false });
        let then = self.then_erase(vec![device], then);
        let then = self.then_noted(by, "device_removed", &user, Some(&gone.name), then);
        self.change_user(user, Some(record), then);
    }

    /// First the user leaves its conversations; [`Self::forgotten`] goes on when it has left the last.
    pub(super) async fn remove_user(&mut self, user: UserId, then: AfterRemoval) -> Result<(), StoreError> {
        let conversations = self.memberships(&user).await?;
        if conversations.is_empty() {
            return self.finish_removal(user, then).await;
        }
        let left = conversations.len();
        self.removals.insert(user.clone(), Removal { conversations_left: left, then });
        for conversation in conversations {
            self.dispatch(Command::Forget { user: user.clone(), conversation });
        }
        Ok(())
    }

    /// A conversation has let go of a user who is being removed.
    pub(super) async fn forgotten(&mut self, user: UserId) -> Result<(), StoreError> {
        let Some(removal) = self.removals.get_mut(&user) else { return Ok(()) };
        removal.conversations_left = removal.conversations_left.saturating_sub(1);
        if removal.conversations_left > 0 {
            return Ok(());
        }
        // It may have entered more conversations meanwhile.
        match self.removals.remove(&user) {
            Some(removal) => self.remove_user(user, removal.then).await,
            None => Ok(()),
        }
    }

    async fn finish_removal(&mut self, user: UserId, then: AfterRemoval) -> Result<(), StoreError> {
        let record = self.user_record(&user).await?.unwrap_or_default();
        let devices: Vec<_> = record.devices.iter().map(|device| DeviceId::new(device.id)).collect();
        devices.iter().for_each(|device| self.cut(*device));
        self.give_back_phone(&record, &user);
        self.revoke_tokens(&user, None);
        let then = match then {
            AfterRemoval::Erase(then) => self.then_erase(devices, then),
            AfterRemoval::HandOver(hash, reply) => self.then_hand_over(hash, devices.first().copied(), reply),
        };
        if !record.waiting {
            self.note(|| Fact::Account { user: user.clone(), device: None, added: false });
        }
        self.next.writes.push(writes::set(keys::mark(&Marked::User(user.clone())), Some(Bytes::new())));
        let forget = self.then_forget(user.clone(), then);
        self.change_user(user, None, forget);
        Ok(())
    }

    /// Other lanes may still be writing to a device's inbox until they know that it is gone: erase it after that.
    fn then_erase(&mut self, devices: Vec<DeviceId>, then: Then) -> Then {
        let marks = devices.iter().map(|device| writes::set(keys::mark(&Marked::Device(*device)), Some(Bytes::new())));
        self.next.writes.extend(marks);
        self.then_mail(move || Mail::Erase(devices, then))
    }

    /// Neither may other lanes find anything of its profile and contacts.
    fn then_forget(&self, user: UserId, then: Then) -> Then {
        self.then_mail(move || Mail::People(People::Forget(user, then)))
    }

    /// Tells operators that a user has another device, and that the user is new; notes it for the audit, then goes on.
    pub(super) fn then_added(&mut self, by: By, user: &UserId, device: &DeviceName, is_new: bool, then: Then) -> Then {
        if is_new {
            self.note(|| Fact::Account { user: user.clone(), device: None, added: true });
        }
        self.note(|| Fact::Account { user: user.clone(), device: Some(device.clone()), added: true });
        let then = self.then_noted(by, "device_added", user, Some(device.as_str()), then);
        if is_new { self.then_noted(by, "user_added", user, None, then) } else { then }
    }

    /// Notes for the audit that something became of an account, then goes on.
    pub(super) fn then_noted(
        &self,
        by: By,
        event: &'static str,
        user: &UserId,
        device: Option<&str>,
        then: Then,
    ) -> Then {
        let audit = self.settings.audit.clone();
        if !audit.is_on() {
            return then;
        }
        let (user, device) = (Some(user.to_string()), device.map(str::to_owned));
        let entry = Entry { event, user, device, by: Some(by), ..Entry::default() };
        Box::new(move || {
            audit.note(|| entry);
            then();
        })
    }

    /// Writes a user's record, tells all lanes, then goes on.
    pub(super) fn change_user(&mut self, user: UserId, record: Option<UserRecord>, then: Then) {
        let value = record.as_ref().map(|record| prost::Message::encode_to_vec(record).into());
        self.next.writes.push(writes::set(keys::user(&user), value));
        self.world.set_user(user.clone(), record);
        self.when_durable(Done::Announce(user, then));
    }

    /// The device subscribed to events: from the first time on, receipts are kept for it. True if that is not on disk yet.
    pub(super) async fn reads_events(&mut self, user: &UserId, device: DeviceId) -> Result<bool, StoreError> {
        let Some(mut record) = self.user_record(user).await? else { return Ok(false) };
        let Some(entry) = record.devices.iter_mut().find(|entry| entry.id == device.get()) else { return Ok(false) };
        if std::mem::replace(&mut entry.reads_events, true) {
            return Ok(self.world.is_user_on_its_way(user, self.confirmed));
        }
        self.change_user(user.clone(), Some(record), Box::new(|| ()));
        Ok(true)
    }

    async fn users(&mut self, after: Option<UserId>, limit: usize) -> Result<Vec<UserListing>, StoreError> {
        let (from, to) = keys::users_after(after.as_ref());
        let rows = self.store.scan(Table::Directory, &from, &to, limit, usize::MAX).await?;
        let users = rows.into_iter().filter_map(|(key, value)| {
            let user = keys::parse_user(&key)?;
            Some(listing(&user, &decoded::<UserRecord>("user", &user, &value)?))
        });
        Ok(users.collect())
    }
}

/// Whoever asked may have stopped listening.
pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, AdminError>) {
    let _ = reply.send(result);
}

fn listing(user: &UserId, record: &UserRecord) -> UserListing {
    let devices = record.devices.iter().map(|device| device.name.clone()).filter(|name| !name.is_empty()).collect();
    UserListing { user: user.to_string(), devices }
}
