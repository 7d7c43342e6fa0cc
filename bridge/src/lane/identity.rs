//! What a device proves itself with, when it changes: a new password. The one before is void from here on, and who is
//! connected with it is shown out; session and inbox stay.

use godwit_core::command::ConnectionKey;
use godwit_core::record::UserRecord;
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, DeviceName, UserId};
use godwit_schemas::reason::Reason;

use super::Lane;
use super::account::{Caller, NO_DEVICE, Refused};
use super::users::answer;
use crate::admin::{AdminError, Credentials};
use crate::audit::By;
use crate::mail::Reply;
use crate::password;
use crate::store::Store;

const NOT_YOURS: Refused = (Reason::NOT_AUTHORIZED, "a device renews its own password only");
const NO_RANDOMNESS: Refused = (Reason::SERVER_BUSY, "no randomness for a password: try again later");

impl<S: Store, B: Bus> Lane<S, B> {
    /// For an operator, or for who has registered once more.
    pub(super) fn renew_password(
        &mut self,
        by: By,
        user: UserId,
        mut record: UserRecord,
        name: &DeviceName,
        reply: Reply<Credentials>,
    ) {
        let Some(index) = record.devices.iter().position(|device| device.name == name.as_str()) else {
            return answer(reply, Err(AdminError::NoDevice(user, name.clone())));
        };
        let password = match self.change_password(&user, &mut record, index, name, None) {
            Ok(password) => password,
            Err(error) => return answer(reply, Err(AdminError::NoRandomness(error.to_string()))),
        };
        let credentials = Credentials { user: user.to_string(), device: name.to_string(), password };
        let then = Box::new(move || answer(reply, Ok(credentials)));
        let then = self.then_noted(by, "password_renewed", &user, Some(name.as_str()), then);
        self.change_user(user, Some(record), then);
    }

    /// For the device itself, whose connection stays if it asks by that; or for an administrator in its name.
    pub(super) fn renew_own_password(&mut self, caller: Caller, mut record: UserRecord, call: &client::RenewPassword) {
        let found = record.devices.iter().position(|device| device.name == call.device);
        let (Some(index), Ok(name)) = (found, DeviceName::new(&call.device)) else {
            return self.refuse(caller, NO_DEVICE);
        };
        let asks = caller.origin.device;
        if asks != DeviceId::default() && asks.get() != record.devices[index].id {
            return self.refuse(caller, NOT_YOURS);
        }
        let (by, user) = (caller.by, caller.origin.user.clone());
        let asking = caller.origin.reply_to.map(|to| to.connection);
        let Ok(password) = self.change_password(&user, &mut record, index, &name, asking) else {
            return self.refuse(caller, NO_RANDOMNESS);
        };
        let response = client::Response { password, ..client::Response::default() };
        let then = self.then_respond(caller, response);
        let then = self.then_noted(by, "password_renewed", &user, Some(name.as_str()), then);
        self.change_user(user, Some(record), then);
    }

    /// In the record; closes the device's connection, unless it is this one.
    fn change_password(
        &mut self,
        user: &UserId,
        record: &mut UserRecord,
        index: usize,
        name: &DeviceName,
        asking: Option<ConnectionKey>,
    ) -> Result<String, getrandom::Error> {
        let password = password::generate()?;
        let device = &mut record.devices[index];
        device.password_hash = password::hash(user, name, password.as_bytes()).to_vec();
        let id = DeviceId::new(device.id);
        if asking.is_none_or(|asking| self.connections.get(&asking) != Some(&id)) {
            self.dismiss(id, Reason::NOT_AUTHORIZED);
        }
        Ok(password)
    }
}
