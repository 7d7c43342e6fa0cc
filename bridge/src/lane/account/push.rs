//! Where devices are pushed: set by themselves, and given up with them, when another device has the address now, or when a push
//! service says that the address is none. One row per device, and one per address, which has one device.

use std::collections::BTreeMap;

use godwit_core::keys::Ticket;
use godwit_core::refusal::{self, Refusal};
use godwit_core::stored::{DeviceRecord, PushAddressRecord, PushRecord, UserRecord};
use godwit_push::NotAdmitted;
use godwit_schemas::bus::Bus;
use godwit_schemas::client::{self, set_push::To};
use godwit_schemas::ids::{DeviceId, UserId};

use crate::audit::AuditEntry;
use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::lane::context::Context;
use crate::messages::{AfterCommit, LaneMessage};
use crate::push::PushSettings;
use crate::push::address::{self, device_keys, target};
use crate::push::messages::{Forget, PushMessage};
use crate::writes;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Write, keys};

/// Where devices are pushed, as it was decided and is not on disk yet.
#[derive(Default)]
pub(in crate::lane) struct UnsettledPushes(BTreeMap<DeviceId, (Ticket, Option<PushRecord>)>);

impl UnsettledPushes {
    /// Where a device is pushed, as it was decided last.
    async fn of<S: Store>(&self, context: &Context<S>, device: DeviceId) -> Result<Option<PushRecord>, StoreError> {
        if let Some((_, record)) = self.0.get(&device) {
            return Ok(record.clone());
        }
        let found = context.store.multi_get(&[keys::push(device)]).await?.pop().flatten();
        Ok(found.and_then(|value| decoded("push", &device, &value)))
    }
}

/// The device that a call is about: the one that it names, or the calling one.
pub(in crate::lane) fn device_of<'r>(
    caller: &CallContext,
    record: &'r UserRecord,
    name: &str,
) -> Result<&'r DeviceRecord, Refusal> {
    let mut devices = record.devices.iter();
    let found = match (name, caller.origin.device) {
        ("", None) => return Err(refusal::NO_DEVICE_NAMED),
        ("", Some(own)) => devices.find(|device| device.id == own.get()),
        (name, _) => devices.find(|device| device.name == name),
    };
    found.ok_or(refusal::NO_DEVICE)
}

/// The record of a device that is to be pushed there.
fn checked(settings: &PushSettings, user: &UserId, to: To, call: client::SetPush) -> Result<PushRecord, Refusal> {
    let record = PushRecord {
        user: user.to_string(),
        p256dh: call.p256dh.to_vec(),
        auth: call.auth.to_vec(),
        preview: call.preview,
        unread: call.unread,
        ..address::record(to)
    };
    let target = target(&record).ok_or(refusal::BAD_PUSH_ADDRESS)?;
    settings.gateway.admits(&target).map_err(|why| match why {
        NotAdmitted::NoProvider => refusal::NO_PUSH_HERE,
        NotAdmitted::NoApp => refusal::NO_PUSH_TO_APP,
        NotAdmitted::BadAddress => refusal::BAD_PUSH_ADDRESS,
    })?;
    device_keys(&record).map_err(|_| refusal::BAD_PUSH_KEYS)?;
    Ok(record)
}

impl<S: Store> Context<S> {
    /// Who is pushed at an address.
    async fn at_address(&self, hash: &[u8; 32]) -> Result<Option<PushAddressRecord>, StoreError> {
        let found = self.store.multi_get(&[keys::push_address(hash)]).await?.pop().flatten();
        Ok(found.and_then(|value| decoded("push address", &"an address", &value)))
    }

    /// The writes by which a device is pushed nowhere any more. An address that has another device by now stays that one's.
    async fn unset(&self, device: DeviceId, record: &PushRecord) -> Result<Vec<Write>, StoreError> {
        let mut writes = vec![writes::set(keys::push(device), None), writes::set(keys::pushed(device), None)];
        writes.extend(self.release_address(device, record, None).await?);
        Ok(writes)
    }

    /// The write by which a device leaves its address, unless that is the one that it has next.
    async fn release_address(
        &self,
        device: DeviceId,
        record: &PushRecord,
        next: Option<[u8; 32]>,
    ) -> Result<Option<Write>, StoreError> {
        let Some(hash) = target(record).map(|target| address::hash(&target)) else { return Ok(None) };
        if next == Some(hash) {
            return Ok(None);
        }
        let owner = self.at_address(&hash).await?.map(|owner| owner.device);
        let is_others = owner.is_some_and(|owner| owner != device.get());
        Ok((!is_others).then(|| writes::set(keys::push_address(&hash), None)))
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// Answered when it is on disk.
    pub(in crate::lane) async fn set_push(
        &mut self,
        caller: CallContext,
        record: &UserRecord,
        mut call: client::SetPush,
    ) -> Result<(), StoreError> {
        let device = match device_of(&caller, record, &call.device) {
            Ok(device) if caller.origin.device.is_none_or(|own| own.get() == device.id) => device,
            Ok(_) => return self.refused(caller, refusal::NOT_PUSH_OF_ANOTHER),
            Err(refused) => return self.refused(caller, refused),
        };
        let (id, by, user) = (DeviceId::new(device.id), caller.by, caller.origin.user.clone());
        let before = self.accounts.pushes.of(&self.context, id).await?;
        let Some(to) = call.to.take() else {
            let then = self.context.then_respond(caller, client::Response::default());
            if let Some(before) = before {
                let writes = self.context.unset(id, &before).await?;
                self.settle(id, None, writes);
                let then = self.context.then_noted(by, "push_dropped", &user, Some(&device.name), then);
                self.round.when_durable(AfterCommit::Then(then));
            } else {
                then();
            }
            return Ok(());
        };
        let Some(settings) = &self.context.settings.push else { return self.refused(caller, refusal::NO_PUSH_HERE) };
        let mut push = match checked(settings, &user, to, call) {
            Ok(push) => push,
            Err(refused) => return self.refused(caller, refused),
        };
        push.set_at_s = self.context.now_s;
        let mut writes = self.take_address(id, &user, &push, before.as_ref()).await?;
        writes.push(writes::put(keys::push(id), &push));
        self.settle(id, Some(push), writes);
        let then = self.context.then_respond(caller, client::Response::default());
        let then = self.context.then_noted(by, "push_set", &user, Some(&device.name), then);
        let pusher = self.context.pusher.clone();
        self.round.when_durable(AfterCommit::Then(Box::new(move || {
            pusher.set(id);
            then();
        })));
        Ok(())
    }

    /// The address is the device's from now on, whosever it was.
    async fn take_address(
        &mut self,
        device: DeviceId,
        user: &UserId,
        push: &PushRecord,
        before: Option<&PushRecord>,
    ) -> Result<Vec<Write>, StoreError> {
        let Some(hash) = target(push).map(|target| address::hash(&target)) else { return Ok(Vec::new()) };
        let owner = self.context.at_address(&hash).await?.filter(|owner| owner.device != device.get());
        if let Some(PushAddressRecord { device: other, user: whose }) = owner
            && let Ok(whose) = UserId::new(&whose)
        {
            let other = DeviceId::new(other);
            let why = "push_moved";
            let forget = Forget { user: whose, device: other, set_by_s: u32::MAX, address: Some(hash), why };
            let lane = self.context.owner(self.context.origin.partitions.of_device(other));
            self.context.send(lane, LaneMessage::Push(PushMessage::Forget(forget)));
        }
        let mut writes = Vec::new();
        if let Some(before) = before {
            writes.extend(self.context.release_address(device, before, Some(hash)).await?);
        }
        let owner = PushAddressRecord { device: device.get(), user: user.to_string() };
        writes.push(writes::put(keys::push_address(&hash), &owner));
        Ok(writes)
    }

    pub(in crate::lane) async fn get_push(
        &mut self,
        caller: CallContext,
        record: &UserRecord,
        name: &str,
    ) -> Result<(), StoreError> {
        let device = match device_of(&caller, record, name) {
            Ok(device) => DeviceId::new(device.id),
            Err(refused) => return self.refused(caller, refused),
        };
        let push = self.accounts.pushes.of(&self.context, device).await?.unwrap_or_default();
        let provider = target(&push).map_or("", |target| target.provider().name()).to_owned();
        let gateway = self.context.settings.push.as_ref().map(|push| &push.gateway);
        let vapid = gateway.and_then(|gateway| gateway.vapid()).unwrap_or_default().into();
        let push = client::Push { vapid, provider, preview: push.preview, unread: push.unread };
        self.context.answer_call(caller, client::Response { push: Some(push), ..client::Response::default() });
        Ok(())
    }

    /// The device is pushed nowhere any more, if what is said of it still holds.
    pub(in crate::lane) async fn forget_push(&mut self, forget: Forget) -> Result<(), StoreError> {
        let Forget { user, device, set_by_s, address, why } = forget;
        let Some(push) = self.accounts.pushes.of(&self.context, device).await?.filter(|push| push.set_at_s <= set_by_s)
        else {
            return Ok(());
        };
        let is_another = |hash: [u8; 32]| target(&push).is_none_or(|target| address::hash(&target) != hash);
        if address.is_some_and(is_another) {
            return Ok(());
        }
        let writes = match address {
            // The row of the address is the other device's.
            Some(_) => vec![writes::set(keys::push(device), None), writes::set(keys::pushed(device), None)],
            None => self.context.unset(device, &push).await?,
        };
        self.settle(device, None, writes);
        let record = self.state.user_record(&self.context, &user).await?.unwrap_or_default();
        let name = record.devices.into_iter().find(|it| it.id == device.get()).map(|it| it.name);
        let user = Some(user.to_string());
        self.context.settings.audit.note(|| AuditEntry { event: why, user, device: name, ..AuditEntry::default() });
        Ok(())
    }

    /// Nothing of it is left when the device goes.
    pub(in crate::lane) async fn erase_push(&mut self, device: DeviceId) -> Result<(), StoreError> {
        let push = self.accounts.pushes.of(&self.context, device).await?.unwrap_or_default();
        let writes = self.context.unset(device, &push).await?;
        self.settle(device, None, writes);
        Ok(())
    }

    /// Writes it with the next commit, until which it is remembered.
    fn settle(&mut self, device: DeviceId, record: Option<PushRecord>, writes: Vec<Write>) {
        let (confirmed, ticket) = (self.round.confirmed(), self.round.next_ticket());
        let unsettled = &mut self.accounts.pushes.0;
        unsettled.retain(|_, (ticket, _)| *ticket > confirmed);
        unsettled.insert(device, (ticket, record));
        self.round.write_all(writes);
    }

    fn refused(&self, caller: CallContext, refused: Refusal) -> Result<(), StoreError> {
        self.context.refuse(caller, refused);
        Ok(())
    }
}
