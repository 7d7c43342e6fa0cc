//! What a device proves itself with, when it changes.

use godwit_core::record::UserRecord;
use godwit_schemas::bus::Bus;
use godwit_schemas::ids::{DeviceId, DeviceName, UserId};
use godwit_schemas::reason::Reason;

use super::Lane;
use super::users::answer;
use crate::admin::{AdminError, Credentials};
use crate::audit::By;
use crate::mail::Reply;
use crate::password;
use crate::store::Store;

impl<S: Store, B: Bus> Lane<S, B> {
    /// A new password for a device. The one before is void from here on, and who is connected with it is shown out; session
    /// and inbox stay.
    pub(super) fn renew_password(
        &mut self,
        by: By,
        user: UserId,
        mut record: UserRecord,
        name: &DeviceName,
        reply: Reply<Credentials>,
    ) {
        let Some(device) = record.devices.iter_mut().find(|device| device.name == name.as_str()) else {
            return answer(reply, Err(AdminError::NoDevice(user, name.clone())));
        };
        let password = match password::generate() {
            Ok(password) => password,
            Err(error) => return answer(reply, Err(AdminError::NoRandomness(error.to_string()))),
        };
        device.password_hash = password::hash(&user, name, password.as_bytes()).to_vec();
        let id = DeviceId::new(device.id);
        self.dismiss(id, Reason::NOT_AUTHORIZED);
        let credentials = Credentials { user: user.to_string(), device: name.to_string(), password };
        let then = Box::new(move || answer(reply, Ok(credentials)));
        let then = self.then_noted(by, "password_renewed", &user, Some(name.as_str()), then);
        self.change_user(user, Some(record), then);
    }
}
