//! Somebody claims a key package of each device of a user, to let them into a group: the lane of that user takes them out and
//! answers in one commit. Oldest first, what has ended is passed over, and the one of last resort stays.

use std::collections::HashMap;

use godwit_core::refusal;
use godwit_core::stored::{DeviceKeysRecord, DeviceRecord, KeyPackageRecord};
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::{DeviceId, UserId};

use super::Waiting;
use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::messages::{Encryption as EncryptionMessage, LaneMessage};
use crate::writes;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, keys};

/// How often a user may claim key packages of one other in a day.
const CLAIMS_OF_ONE: u32 = 20;
const DAY_S: u32 = 24 * 3_600;

/// What users of this lane have claimed today. In memory only.
#[derive(Default)]
pub(super) struct Claims {
    day: u32,
    of: HashMap<UserId, HashMap<UserId, u32>>,
}

impl Claims {
    /// Counts a claim, unless it is one too many: of too many users, or of this one.
    fn count(&mut self, by: &UserId, of: &UserId, users_max: u32, now_s: u32) -> bool {
        if std::mem::replace(&mut self.day, now_s / DAY_S) != now_s / DAY_S {
            self.of.clear();
        }
        let claimed = self.of.entry(by.clone()).or_default();
        if claimed.len() >= users_max as usize && !claimed.contains_key(of) {
            return false;
        }
        let count = claimed.entry(of.clone()).or_default();
        *count += u32::from(*count <= CLAIMS_OF_ONE);
        *count <= CLAIMS_OF_ONE
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// The lane of the other user does the rest.
    pub(super) fn claim_keys(&mut self, caller: CallContext, call: &client::ClaimKeys) {
        let Ok(of) = UserId::new(&call.user) else { return self.context.refuse(caller, refusal::NO_USER) };
        let users_max = self.context.settings.encryption.as_ref().map_or(0, |it| it.claims_per_day);
        if !self.encryption.claims.count(&caller.origin.user, &of, users_max, self.context.now_s) {
            return self.context.refuse(caller, refusal::TOO_MANY_CLAIMS);
        }
        let lane = self.context.lane_of(&of);
        self.context.send(lane, LaneMessage::Encryption(EncryptionMessage::Claim(Box::new(caller), of)));
    }

    pub(super) async fn claim(&mut self, caller: CallContext, of: UserId) -> Result<(), StoreError> {
        if let Some(busy) = self.encryption.busy.get_mut(&of) {
            busy.waiting.push_back(Waiting::Claim(Box::new(caller), of));
            return Ok(());
        }
        let record = self.state.user_record(&self.context, &of).await?;
        let known = record.filter(|it| !it.waiting && !it.has_blocked(&caller.origin.user));
        let Some(record) = known.filter(|_| !self.accounts.is_being_removed(&of)) else {
            self.context.then_answer(caller, refusal::NO_USER.to_response())();
            return Ok(());
        };
        let mut claimed = Vec::new();
        let is_other = |it: &&DeviceRecord| it.certificate != 0 && Some(DeviceId::new(it.id)) != caller.origin.device;
        for device in record.devices.iter().filter(is_other) {
            claimed.extend(self.claim_of_device(DeviceId::new(device.id), &device.name).await?);
        }
        let then = self.context.then_answer(caller, client::Response { claimed, ..Default::default() });
        self.encryption.settle(&mut self.round, &of, then);
        Ok(())
    }

    /// One of a device's, if it has any.
    async fn claim_of_device(&mut self, id: DeviceId, name: &str) -> Result<Option<client::ClaimedKey>, StoreError> {
        let (store, now_s) = (&self.context.store, self.context.now_s);
        let stored = store.multi_get(&[keys::device_keys(id)]).await?.pop().flatten();
        let Some(mut record) = stored.and_then(|it| decoded::<DeviceKeysRecord>("device keys", &id, &it)) else {
            return Ok(None);
        };
        let mut found = None;
        while found.is_none() && record.first < record.next {
            let key = keys::key_package(id, record.first);
            let row = store.multi_get(std::slice::from_ref(&key)).await?.pop().flatten();
            let row = row.and_then(|it| decoded::<KeyPackageRecord>("key package", &id, &it));
            found = row.filter(|it| it.ends_s > now_s).map(|it| it.package);
            self.round.write(writes::set(key, None));
            record.first += 1;
        }
        self.round.write(writes::put(keys::device_keys(id), &record));
        let last = Some(record.last_resort).filter(|it| !it.is_empty() && record.last_resort_ends_s > now_s);
        let last_resort = found.is_none();
        let claimed = found.or(last);
        Ok(claimed.map(|key_package| client::ClaimedKey { device: name.to_owned(), key_package, last_resort }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_counted_by_claimer_user_and_day() {
        let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map(|it| UserId::new(it).unwrap());
        let mut claims = Claims::default();
        for _ in 0..CLAIMS_OF_ONE {
            assert!(claims.count(&alice, &bob, 2, 10));
        }
        assert!(!claims.count(&alice, &bob, 2, 10), "too often of one");
        assert!(claims.count(&alice, &carol, 2, 10));
        assert!(!claims.count(&alice, &dave, 2, 10), "of too many");
        assert!(claims.count(&carol, &dave, 2, 10), "somebody else");
        assert!(claims.count(&alice, &bob, 2, 10 + DAY_S), "another day");
    }
}
