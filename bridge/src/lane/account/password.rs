//! What a device proves itself with, when it changes: a new password. The one before is void, at once if an operator gave it
//! and from the first use on if the device asked for it, and who is connected is shown out, with whatever they were let in;
//! session and inbox stay.

use godwit_core::refusal;
use godwit_core::stored::UserRecord;
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, DeviceName, UserId};
use godwit_schemas::reason::Reason;

use crate::admin::{AdminError, DeviceCredentials};
use crate::audit::Actor;
use crate::lane::Lane;
use crate::lane::account::caller::{CallContext, answer};
use crate::messages::AdminReply;
use crate::password;
use godwit_store::Store;

impl<S: Store, B: Bus> Lane<S, B> {
    /// For an operator, or for who has registered once more.
    pub(in crate::lane) fn renew_password(
        &mut self,
        by: Actor,
        user: UserId,
        mut record: UserRecord,
        name: &DeviceName,
        reply: AdminReply<DeviceCredentials>,
    ) {
        let Some(index) = record.devices.iter().position(|device| device.name == name.as_str()) else {
            return answer(reply, Err(AdminError::NoDevice(user, name.clone())));
        };
        let password = match self.change_password(&user, &mut record, index, name) {
            Ok(password) => password,
            Err(error) => return answer(reply, Err(AdminError::NoRandomness(error.to_string()))),
        };
        let credentials = DeviceCredentials { user: user.to_string(), device: name.to_string(), password };
        let then = Box::new(move || answer(reply, Ok(credentials)));
        let then = self.context.then_closed(DeviceId::new(record.devices[index].id), then);
        let then = self.context.then_noted(by, "password_renewed", &user, Some(name.as_str()), then);
        self.change_user(user, Some(record), then);
    }

    /// For the device itself: the password that it has stays good until it has used the new one, since nobody knows whether
    /// the answer reaches it. For an administrator in its name: the one before is void.
    pub(in crate::lane) fn renew_own_password(
        &mut self,
        caller: CallContext,
        mut record: UserRecord,
        call: &client::RenewPassword,
    ) {
        let found = record.devices.iter().position(|device| device.name == call.device);
        let (Some(index), Ok(name)) = (found, DeviceName::new(&call.device)) else {
            return self.context.refuse(caller, refusal::NO_DEVICE);
        };
        let (by, user, asks) = (caller.by, caller.origin.user.clone(), caller.origin.device);
        let changed = match asks.map(DeviceId::get) {
            Some(device) if device != record.devices[index].id => {
                return self.context.refuse(caller, refusal::NOT_YOUR_DEVICE);
            }
            None => self.change_password(&user, &mut record, index, &name),
            Some(_) => password::generate().inspect(|password| {
                record.devices[index].next_password_hash = password::hash(&user, &name, password.as_bytes()).to_vec();
            }),
        };
        let Ok(password) = changed else { return self.context.refuse(caller, refusal::NO_RANDOMNESS_FOR_PASSWORD) };
        let response = client::Response { password, ..client::Response::default() };
        let then = self.context.then_respond(caller, response);
        let then = self.context.then_closed(DeviceId::new(record.devices[index].id), then);
        let then = self.context.then_noted(by, "password_renewed", &user, Some(name.as_str()), then);
        self.change_user(user, Some(record), then);
    }

    /// The device comes with the password that it was given last: the one before is void, and who is connected is shown out.
    /// It gets in when that is on disk and all lanes know.
    pub(in crate::lane) fn next_password_is_used(&mut self, user: &UserId, mut record: UserRecord, id: DeviceId) {
        let Some(device) = record.devices.iter_mut().find(|device| device.id == id.get()) else { return };
        device.password_hash = std::mem::take(&mut device.next_password_hash);
        self.dismiss(id, Reason::NOT_AUTHORIZED);
        self.change_user(user.clone(), Some(record), Box::new(|| ()));
    }

    /// In the record, and closes the device's connection.
    fn change_password(
        &mut self,
        user: &UserId,
        record: &mut UserRecord,
        index: usize,
        name: &DeviceName,
    ) -> Result<String, getrandom::Error> {
        let password = password::generate()?;
        let device = &mut record.devices[index];
        device.password_hash = password::hash(user, name, password.as_bytes()).to_vec();
        device.next_password_hash.clear();
        let id = DeviceId::new(device.id);
        self.dismiss(id, Reason::NOT_AUTHORIZED);
        Ok(password)
    }
}
