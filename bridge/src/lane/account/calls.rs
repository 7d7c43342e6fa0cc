//! Calls about the caller's own account: whom it blocks, its devices. The user's lane carries them out itself. (Contacts
//! and profiles: `contacts`, `profile`.)

use godwit_core::call::AccountCall;
use godwit_core::credential::{CredentialStanding, standing};
use godwit_core::decide::EncryptionRules;
use godwit_core::refusal;
use godwit_core::stored::UserRecord;
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, Order, UserId};

use crate::admin::AdminError;
use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::lane::account::push::device_of;
use crate::lane::account::removal::AfterRemoval;
use crate::lane::connection::Connections;
use crate::lane::query::history::{HistoryPage, Listing};
use crate::lane::query::slices::{ReadKind, SliceJob};
use crate::lane::query::waiting::WaitingQuery;
use godwit_store::{Store, StoreError, keys};

/// Most users that a user blocks.
const BLOCKED_MAX: usize = 1_000;
/// Longest label of a device in bytes.
pub(crate) const LABEL_BYTES_MAX: usize = 128;

impl Connections {
    fn is_connected(&self, device: DeviceId) -> bool {
        self.sessions.get(&device).is_some_and(|session| session.connection.is_some())
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// The caller and its record. `None`: it is refused, and was told so.
    pub(in crate::lane) async fn admit_caller(
        &mut self,
        caller: CallContext,
    ) -> Result<Option<(CallContext, UserRecord)>, StoreError> {
        let user = &caller.origin.user;
        let record = match self.accounts.changeable(&self.context, &mut self.state, user).await? {
            Ok(record) => record,
            Err(AdminError::NoUser(_)) => {
                self.context.refuse(caller, refusal::NO_USER);
                return Ok(None);
            }
            Err(_) => {
                self.context.refuse(caller, refusal::USER_BEING_REMOVED);
                return Ok(None);
            }
        };
        let credential = caller.origin.device.zip(caller.origin.fingerprint);
        let is_void = |(device, of)| standing(&record.devices, device, of) != CredentialStanding::Good;
        if credential.is_some_and(is_void) {
            // The call has waited, and its device was shut out meanwhile.
            self.context.refuse(caller, refusal::DEVICE_SHUT_OUT);
            return Ok(None);
        }
        Ok(Some((caller, record)))
    }

    /// A call about the caller's account. Answered when what it changed is on disk, and known to all lanes. Returns what is
    /// to be done in slices.
    pub(in crate::lane) async fn account_call(
        &mut self,
        caller: CallContext,
        record: UserRecord,
        call: AccountCall,
    ) -> Result<Option<SliceJob>, StoreError> {
        let user = caller.origin.user.clone();
        match call {
            AccountCall::ListBlocked(_) => {
                self.context.answer_call(caller, client::Response { users: record.blocked, ..Default::default() });
            }
            AccountCall::ListDevices(_) => {
                let devices = self.list_devices(&record).await?;
                self.context.answer_call(caller, client::Response { devices, ..Default::default() });
            }
            AccountCall::ListConversations(call) => {
                let listing = Listing::new(&call, self.connections.room_of(&caller));
                return Ok(Some(self.reading(caller, ReadKind::Conversations(listing))));
            }
            AccountCall::GetHistory(call) => {
                let page = HistoryPage::new(call, self.connections.room_of(&caller));
                return Ok(Some(self.reading(caller, ReadKind::History(Box::new(page)))));
            }
            AccountCall::LookUpPhones(call) => {
                match self.accounts.phones.look_up_phones(&self.context, &user, caller.by, &call) {
                    Ok(look_up) => return Ok(Some(self.reading(caller, ReadKind::Phones(look_up)))),
                    Err(refused) => self.context.refuse(caller, refused),
                }
            }
            AccountCall::Block(call) => self.block(caller, record, &call.user, true).await?,
            AccountCall::Unblock(call) => self.block(caller, record, &call.user, false).await?,
            AccountCall::LabelDevice(call) => self.label_device(caller, record, call).await?,
            AccountCall::RemoveDevice(call) => {
                match record.devices.iter().position(|device| device.name == call.device) {
                    Some(index) => {
                        let by = caller.by;
                        let done = self.context.then_respond(caller, client::Response::default());
                        self.remove_device_at(by, user, record, index, done);
                    }
                    None => self.context.refuse(caller, refusal::NO_DEVICE),
                }
            }
            AccountCall::GetServer(_) => {
                let encryption = match self.context.rules.encryption {
                    None => client::Encryption::Off,
                    Some(EncryptionRules { required: false, .. }) => client::Encryption::Allowed,
                    Some(EncryptionRules { required: true, .. }) => client::Encryption::Required,
                };
                let server = Some(client::Server { encryption: encryption.into(), ..self.context.origin.told() });
                self.context.answer_call(caller, client::Response { server, ..Default::default() });
            }
            AccountCall::RenewPassword(call) => self.renew_own_password(caller, record, &call),
            AccountCall::SetPush(call) => self.set_push(caller, &record, call).await?,
            AccountCall::GetPush(call) => self.get_push(caller, &record, &call.device).await?,
            AccountCall::SetMute(call) => self.set_mute(caller, call).await?,
            AccountCall::ListMutes(call) => self.context.list_mutes(caller, call).await?,
            AccountCall::PeekInbox(call) => match device_of(&caller, &record, &call.device) {
                Ok(device) => {
                    let (device, after) = (device.name.clone(), Order::new(call.after));
                    let page = WaitingQuery { device, after, peeks: Some(self.connections.room_of(&caller)) };
                    return Ok(Some(self.reading(caller, ReadKind::Waiting(page))));
                }
                Err(refused) => self.context.refuse(caller, refused),
            },
            AccountCall::EraseAccount(_) => {
                let by = caller.by;
                let done = self.context.then_respond(caller, client::Response::default());
                let done = self.context.then_noted(by, "user_removed", &user, None, done);
                self.remove_user(user, AfterRemoval::Erase(done)).await?;
            }
        }
        Ok(None)
    }

    async fn list_devices(&mut self, record: &UserRecord) -> Result<Vec<client::Device>, StoreError> {
        let ids = || record.devices.iter().map(|device| DeviceId::new(device.id));
        let full_since = self.context.store.multi_get(&ids().map(keys::full_since).collect::<Vec<_>>()).await?;
        let devices = record.devices.iter().zip(ids()).zip(full_since).map(|((device, id), since_s)| {
            let since_s = since_s.as_deref().and_then(keys::parse_counter);
            client::Device {
                device: device.name.clone(),
                label: device.label.clone(),
                connected: self.connections.is_connected(id),
                inbox_full: self.delivery.backlogs.is_full(id),
                full_age_s: since_s.map(|since_s| u64::from(self.context.now_s).saturating_sub(since_s)),
            }
        });
        Ok(devices.collect())
    }

    async fn block(
        &mut self,
        caller: CallContext,
        mut record: UserRecord,
        name: &str,
        block: bool,
    ) -> Result<(), StoreError> {
        let Ok(other) = UserId::new(name) else {
            self.context.refuse(caller, refusal::NO_USER);
            return Ok(());
        };
        let user = caller.origin.user.clone();
        if other == user {
            self.context.refuse(caller, refusal::YOURSELF);
            return Ok(());
        }
        match record.blocked.binary_search_by(|blocked| blocked.as_str().cmp(name)) {
            Err(index) if block => {
                if self.state.user_record(&self.context, &other).await?.is_none() {
                    self.context.refuse(caller, refusal::NO_USER);
                    return Ok(());
                }
                if record.blocked.len() >= BLOCKED_MAX {
                    self.context.refuse(caller, refusal::TOO_MANY_BLOCKED);
                    return Ok(());
                }
                record.blocked.insert(index, name.to_owned());
            }
            Ok(index) if !block => {
                record.blocked.remove(index);
            }
            _ => {
                self.context.answer_call(caller, client::Response::default());
                return Ok(());
            }
        }
        let done = self.context.then_respond(caller, client::Response::default());
        self.presence.changes_sight(&self.context, &mut self.state, &self.round, &user, &other).await?;
        self.change_user(user, Some(record), done);
        Ok(())
    }

    async fn label_device(
        &mut self,
        caller: CallContext,
        mut record: UserRecord,
        call: client::LabelDevice,
    ) -> Result<(), StoreError> {
        if call.label.len() > LABEL_BYTES_MAX {
            self.context.refuse(caller, refusal::LABEL_TOO_LARGE);
            return Ok(());
        }
        let Some(device) = record.devices.iter_mut().find(|device| device.name == call.device) else {
            self.context.refuse(caller, refusal::NO_DEVICE);
            return Ok(());
        };
        device.label = call.label;
        let user = caller.origin.user.clone();
        let done = self.context.then_respond(caller, client::Response::default());
        self.change_user(user, Some(record), done);
        Ok(())
    }
}
