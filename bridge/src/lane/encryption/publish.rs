//! A device publishes what others encrypt to it with: its certificate, key packages for one use each, and one of last resort.
//! What it hands in is checked beside the lane, and written when that is done.

use std::collections::BTreeSet;

use bytes::Bytes;
use godwit_core::refusal::{self, Refusal};
use godwit_core::stored::{CertificateRecord, DeviceKeysRecord, IdentityRecord, KeyPackageRecord, UserRecord};
use godwit_schemas::bus::Bus;
use godwit_schemas::client::{self, IDENTITY_LINKS_MAX};
use godwit_schemas::ids::{DeviceId, DeviceName, UserId};
use godwit_schemas::reason::Reason;

use super::fingerprint;
use crate::audit::Actor;
use crate::encryption::checker::Checker;
use crate::encryption::{Invalid, Validator};
use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::lane::context::Context;
use crate::messages::{Encryption as EncryptionMessage, LaneMessage};
use crate::writes;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Table, Write, keys};

/// Longest key package in bytes.
pub(crate) const KEY_PACKAGE_BYTES_MAX: usize = 2_048;
/// Longest certificate or link in bytes.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 512;
/// Most certificates of a user's devices, of those that are no more too.
const CERTIFICATES_MAX: u64 = 1_000;
/// Key packages of which it is remembered that they came.
const KNOWN_MAX: usize = 128;

/// What a device has handed in, as far as it is new.
pub(crate) struct CheckedKeys {
    /// The user's identity keys, with one more.
    chain: Option<Vec<Bytes>>,
    certificate: Option<Bytes>,
    packages: Vec<KeyPackageRecord>,
    last_resort: Option<KeyPackageRecord>,
}

/// What is stored of the caller.
struct Stored {
    device: DeviceId,
    name: DeviceName,
    identity: IdentityRecord,
    /// `None`: it has no certificate.
    keys: Option<DeviceKeysRecord>,
    certificate: Option<Bytes>,
}

impl Stored {
    fn keys_left(&self) -> u32 {
        self.keys.as_ref().map_or(0, left)
    }
}

fn left(keys: &DeviceKeysRecord) -> u32 {
    u32::try_from(keys.next.saturating_sub(keys.first)).unwrap_or(u32::MAX)
}

impl<S: Store> Context<S> {
    async fn stored_keys(&self, caller: &CallContext, record: &UserRecord) -> Result<Option<Stored>, StoreError> {
        let user = &caller.origin.user;
        let own = |id: DeviceId| record.devices.iter().find(|it| it.id == id.get());
        let Some((device, own)) = caller.origin.device.and_then(|id| Some((id, own(id)?))) else { return Ok(None) };
        let Ok(name) = DeviceName::new(&own.name) else { return Ok(None) };
        let found = self.store.multi_get(&[keys::identity(user), keys::device_keys(device)]).await?;
        let identity = found[0].as_deref().and_then(|it| decoded::<IdentityRecord>("identity", user, it));
        let keys = found[1].as_deref().and_then(|it| decoded::<DeviceKeysRecord>("device keys", &device, it));
        // Another key of the user's may have taken it from the device.
        let keys = keys.filter(|_| own.certificate != 0);
        let certificate = match &keys {
            Some(keys) => {
                let row = self.store.multi_get(&[keys::certificate(user, keys.certificate)]).await?.pop().flatten();
                let row = row.and_then(|it| decoded::<CertificateRecord>("certificate", user, &it));
                row.map(|row| row.certificate)
            }
            None => None,
        };
        Ok(Some(Stored { device, name, identity: identity.unwrap_or_default(), keys, certificate }))
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    pub(super) async fn publish_keys(
        &mut self,
        caller: CallContext,
        record: &UserRecord,
        call: client::PublishKeys,
    ) -> Result<(), StoreError> {
        let Some(stored) = self.context.stored_keys(&caller, record).await? else {
            self.context.refuse(caller, refusal::NO_DEVICE_NAMED);
            return Ok(());
        };
        let keys_max = self.context.settings.encryption.as_ref().map_or(0, |it| it.key_packages_max);
        let new = match new_of(call, &stored, keys_max) {
            Ok(new) => new,
            Err(refused) => {
                self.context.refuse(caller, refused);
                return Ok(());
            }
        };
        if new == client::PublishKeys::default() {
            let keys_left = stored.keys_left();
            self.context.answer_call(caller, client::Response { keys_left, ..Default::default() });
            return Ok(());
        }
        let checker = self.encryption.checker.clone();
        let Some(slot) = checker.as_ref().and_then(Checker::slot) else {
            self.context.refuse(caller, refusal::TOO_MANY_CHECKS_WAIT);
            return Ok(());
        };
        let (user, now_s) = (caller.origin.user.clone(), self.context.now_s);
        self.encryption.begin(&user);
        let this_lane = self.context.lanes[self.context.number as usize].clone();
        let check = move |validator: &dyn Validator| check(validator, &user, stored, new, now_s);
        slot.check(check, move |checked| {
            let message = EncryptionMessage::KeysChecked(Box::new(caller), checked);
            // If it is gone the server is ending.
            let _ = this_lane.send(LaneMessage::Encryption(message));
        });
        Ok(())
    }

    /// What a device has handed in was checked. Its user waits for nothing else meanwhile, but it may be no more.
    pub(super) async fn keys_checked(
        &mut self,
        caller: CallContext,
        checked: Result<CheckedKeys, Invalid>,
    ) -> Result<(), StoreError> {
        let Some((caller, record)) = self.admit_caller(caller).await? else { return Ok(()) };
        let checked = match checked {
            Ok(checked) => checked,
            Err(Invalid(text)) => {
                self.context.refuse(caller, Refusal { reason: Reason::IMPLEMENTATION_SPECIFIC, text });
                return Ok(());
            }
        };
        let Some(mut stored) = self.context.stored_keys(&caller, &record).await? else {
            self.context.refuse(caller, refusal::NO_DEVICE);
            return Ok(());
        };
        let user = caller.origin.user.clone();
        let (is_reset, certified) = (checked.chain.is_some(), checked.certificate.as_deref().map(fingerprint));
        self.round.write_all(rows_of(&user, &mut stored, checked));
        let keys_left = stored.keys_left();
        let then = self.context.then_respond(caller, client::Response { keys_left, ..Default::default() });
        let Some(certified) = certified else {
            self.encryption.settle(&mut self.round, &user, then);
            return Ok(());
        };
        let changed = certify(record, stored.device, certified, is_reset);
        let by = Actor::User;
        let then = self.context.then_noted(by, "device_certified", &user, Some(stored.name.as_str()), then);
        let is_first = stored.identity.chain.len() == 1;
        let event = if is_first { "identity_made" } else { "identity_changed" };
        let then = if is_reset { self.context.then_noted(by, event, &user, None, then) } else { then };
        self.encryption.settle(&mut self.round, &user, Box::new(|| ()));
        // Answered when all lanes know: from then on messages are for the device, too.
        self.change_user(user, Some(changed), then);
        Ok(())
    }
}

/// The user's record when the device has a certificate. A new identity key has signed none of the others.
fn certify(mut record: UserRecord, of: DeviceId, fingerprint: u64, is_reset: bool) -> UserRecord {
    for device in &mut record.devices {
        if device.id == of.get() {
            device.certificate = fingerprint;
        } else if is_reset {
            device.certificate = 0;
        }
    }
    record
}

/// What is new of what a device hands in, and not refused before it is checked.
fn new_of(mut call: client::PublishKeys, stored: &Stored, keys_max: u32) -> Result<client::PublishKeys, Refusal> {
    if stored.identity.chain.last() == Some(&call.identity) {
        call.identity.clear();
    }
    if stored.certificate.as_ref() == Some(&call.certificate) {
        call.certificate.clear();
    }
    let known = stored.keys.iter().filter(|_| call.certificate.is_empty()).flat_map(|keys| &keys.known);
    let known: BTreeSet<_> = known.copied().collect();
    call.key_packages.retain(|package| !known.contains(&fingerprint(package)));
    let is_long = |bytes: &Bytes, most: usize| bytes.len() > most;
    if is_long(&call.certificate, CERTIFICATE_BYTES_MAX) || is_long(&call.identity, CERTIFICATE_BYTES_MAX) {
        return Err(refusal::CERTIFICATE_TOO_LARGE);
    }
    if call.key_packages.iter().chain([&call.last_resort]).any(|it| is_long(it, KEY_PACKAGE_BYTES_MAX)) {
        return Err(refusal::KEY_PACKAGE_TOO_LARGE);
    }
    let before = if call.certificate.is_empty() { stored.keys_left() } else { 0 };
    if before as usize + call.key_packages.len() > keys_max as usize {
        return Err(refusal::TOO_MANY_KEY_PACKAGES);
    }
    let brings_keys = !call.key_packages.is_empty() || !call.last_resort.is_empty() || !call.identity.is_empty();
    match (call.certificate.is_empty(), call.identity.is_empty()) {
        (true, _) if brings_keys && stored.keys.is_none() => Err(refusal::NO_CERTIFICATE),
        (true, false) => Err(refusal::NO_CERTIFICATE),
        (false, true) if stored.identity.chain.is_empty() => Err(refusal::NO_IDENTITY),
        (false, _) if stored.identity.last_certificate >= CERTIFICATES_MAX => Err(refusal::TOO_MANY_CERTIFICATES),
        (_, false) if stored.identity.chain.len() >= IDENTITY_LINKS_MAX => Err(refusal::TOO_MANY_LINKS),
        _ => Ok(call),
    }
}

/// Beside the lane.
fn check(
    validator: &dyn Validator,
    user: &UserId,
    stored: Stored,
    new: client::PublishKeys,
    now_s: u32,
) -> Result<CheckedKeys, Invalid> {
    let mut chain = stored.identity.chain;
    let extends = !new.identity.is_empty();
    if extends {
        chain.push(new.identity);
        validator.identity(user, &chain)?;
    }
    let certificate = Some(new.certificate).filter(|it| !it.is_empty());
    if let Some(certificate) = &certificate {
        let says = validator.certificate(user, &chain, certificate)?;
        if says.user != *user || says.device != stored.name {
            return Err(Invalid("the certificate is another device's"));
        }
    }
    let of = certificate.as_ref().or(stored.certificate.as_ref()).cloned().unwrap_or_default();
    let package = |package: Bytes, last_resort| {
        let ends_s = validator.key_package(&package, &of, last_resort, now_s)?;
        Ok(KeyPackageRecord { package, ends_s })
    };
    let packages = new.key_packages.into_iter().map(|it| package(it, false)).collect::<Result<Vec<_>, _>>()?;
    let last_resort = Some(new.last_resort).filter(|it| !it.is_empty()).map(|it| package(it, true)).transpose()?;
    Ok(CheckedKeys { chain: extends.then_some(chain), certificate, packages, last_resort })
}

/// The rows that keep what was handed in; `stored` is brought up to them.
fn rows_of(user: &UserId, stored: &mut Stored, checked: CheckedKeys) -> Vec<Write> {
    let CheckedKeys { chain, certificate, packages, last_resort } = checked;
    let (device, mut rows) = (stored.device, Vec::new());
    let mut keys = stored.keys.take().unwrap_or_default();
    if let Some(certificate) = certificate {
        // What was signed by the one before is not good any more.
        rows.push(writes::delete_range(Table::Directory, keys::key_packages(device)));
        stored.identity.last_certificate += 1;
        stored.identity.chain = chain.unwrap_or_else(|| std::mem::take(&mut stored.identity.chain));
        let number = stored.identity.last_certificate;
        keys = DeviceKeysRecord { certificate: number, first: keys.next, next: keys.next, ..Default::default() };
        let fingerprint = fingerprint(&certificate);
        let record = CertificateRecord { certificate, fingerprint };
        rows.push(writes::put(keys::certificate(user, number), &record));
        rows.push(writes::put(keys::identity(user), &stored.identity));
    }
    for record in &packages {
        rows.push(writes::put(keys::key_package(device, keys.next), record));
        keys.next += 1;
        keys.known.push(fingerprint(&record.package));
    }
    let forgotten = keys.known.len().saturating_sub(KNOWN_MAX);
    keys.known.drain(..forgotten);
    if let Some(KeyPackageRecord { package, ends_s }) = last_resort {
        (keys.last_resort, keys.last_resort_ends_s) = (package, ends_s);
    }
    rows.push(writes::put(keys::device_keys(device), &keys));
    stored.keys = Some(keys);
    rows
}
