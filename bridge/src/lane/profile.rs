//! What users say of themselves. A user's own lane writes its profile; all lanes read it from the store.

use godwit_core::record::{ProfileRecord, UserRecord};
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::UserId;
use godwit_schemas::reason::Reason;

use super::Lane;
use super::account::{Caller, NO_USER, Refused};
use super::read::decoded;
use crate::store::{Store, StoreError, keys};
use crate::writes;

const NAME_BYTES_MAX: usize = 128;
const ABOUT_BYTES_MAX: usize = 512;
const PICTURE_BYTES_MAX: usize = 64;

const BAD_NAME: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "name over 128 bytes");
const BAD_ABOUT: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "about over 512 bytes");
const BAD_PICTURE: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "picture over 64 bytes");
const BAD_AUDIENCE: Refused = (Reason::IMPLEMENTATION_SPECIFIC, "unknown audience");

impl<S: Store, B: Bus> Lane<S, B> {
    pub(super) async fn get_profile(&mut self, caller: Caller, call: &client::GetProfile) -> Result<(), StoreError> {
        let by = &caller.origin.user;
        let Ok(user) = (if call.user.is_empty() { Ok(by.clone()) } else { UserId::new(&call.user) }) else {
            self.refuse(caller, NO_USER);
            return Ok(());
        };
        let found = self.store.multi_get(&[keys::user(&user), keys::profile(&user)]).await?;
        let [record, profile] = &found[..] else { return Ok(()) };
        let record = record.as_deref().and_then(|value| decoded::<UserRecord>("user", &user, value));
        if record.is_none_or(|record| has_blocked(&record, by)) {
            self.refuse(caller, NO_USER);
            return Ok(());
        }
        let profile = profile.as_deref().and_then(|value| decoded::<ProfileRecord>("profile", &user, value));
        let ProfileRecord { name, about, picture, presence_to } = profile.unwrap_or_default();
        let presence_to = if user == *by { presence_to } else { 0 };
        let profile = Some(client::Profile { user: user.to_string(), name, about, picture, presence_to });
        self.answer_call(caller, client::Response { profile, ..Default::default() });
        Ok(())
    }

    pub(super) async fn set_profile(&mut self, caller: Caller, call: client::SetProfile) -> Result<(), StoreError> {
        if let Err(refused) = check(&call) {
            self.refuse(caller, refused);
            return Ok(());
        }
        let user = caller.origin.user.clone();
        let stored = self.store.multi_get(&[keys::profile(&user)]).await?.pop().flatten();
        let stored = stored.and_then(|value| decoded::<ProfileRecord>("profile", &user, &value)).unwrap_or_default();
        let picture = call.picture.unwrap_or_else(|| stored.picture.clone());
        if let Err(refused) = self.change_picture(&user, &stored.picture, &picture).await? {
            self.refuse(caller, refused);
            return Ok(());
        }
        let presence_to = call.presence_to.unwrap_or(stored.presence_to);
        let before = stored.presence_to();
        let profile = ProfileRecord {
            name: call.name.unwrap_or(stored.name),
            about: call.about.unwrap_or(stored.about),
            picture,
            presence_to,
        };
        if profile.presence_to() != before {
            self.changes_audience(&user, before);
        }
        self.next.writes.push(writes::put(keys::profile(&user), &profile));
        let done = self.then_respond(caller, client::Response::default());
        self.settle(&user, done);
        Ok(())
    }
}

fn check(call: &client::SetProfile) -> Result<(), Refused> {
    let longer = |text: &Option<String>, bytes_max| text.as_ref().is_some_and(|text| text.len() > bytes_max);
    if longer(&call.name, NAME_BYTES_MAX) {
        return Err(BAD_NAME);
    }
    if longer(&call.about, ABOUT_BYTES_MAX) {
        return Err(BAD_ABOUT);
    }
    if longer(&call.picture, PICTURE_BYTES_MAX) {
        return Err(BAD_PICTURE);
    }
    let known = call.presence_to.is_none_or(|audience| client::Audience::try_from(audience).is_ok());
    if known { Ok(()) } else { Err(BAD_AUDIENCE) }
}

/// Whether a user wants `other` to know nothing of it.
pub(super) fn has_blocked(record: &UserRecord, other: &UserId) -> bool {
    record.blocked.binary_search_by(|name| name.as_str().cmp(other.as_str())).is_ok()
}
