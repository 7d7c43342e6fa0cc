//! What users say of themselves. A user's own lane writes its profile; all lanes read it from the store.

use godwit_core::refusal::{self, Refusal};
use godwit_core::stored::{ProfileRecord, UserRecord};
use godwit_schemas::bus::Bus;
use godwit_schemas::client;
use godwit_schemas::ids::UserId;

use crate::lane::Lane;
use crate::lane::account::caller::CallContext;
use crate::lane::context::Context;
use crate::writes;
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, keys};

pub(crate) const NAME_BYTES_MAX: usize = 128;
pub(crate) const ABOUT_BYTES_MAX: usize = 512;
pub(crate) const PICTURE_BYTES_MAX: usize = 64;

impl<S: Store> Context<S> {
    pub(in crate::lane) async fn get_profile(
        &self,
        caller: CallContext,
        call: &client::GetProfile,
    ) -> Result<(), StoreError> {
        let by = &caller.origin.user;
        let Ok(user) = (if call.user.is_empty() { Ok(by.clone()) } else { UserId::new(&call.user) }) else {
            self.refuse(caller, refusal::NO_USER);
            return Ok(());
        };
        let found = self.store.multi_get(&[keys::user(&user), keys::profile(&user)]).await?;
        let [record, profile] = &found[..] else { return Ok(()) };
        let record = record.as_deref().and_then(|value| decoded::<UserRecord>("user", &user, value));
        let Some(record) = record.filter(|record| !record.has_blocked(by)) else {
            self.refuse(caller, refusal::NO_USER);
            return Ok(());
        };
        let profile = profile.as_deref().and_then(|value| decoded::<ProfileRecord>("profile", &user, value));
        let ProfileRecord { name, about, picture, presence_to } = profile.unwrap_or_default();
        let (presence_to, groups_from) = if user == *by { (presence_to, record.groups_from) } else { (0, 0) };
        let profile = Some(client::Profile { user: user.to_string(), name, about, picture, presence_to, groups_from });
        self.answer_call(caller, client::Response { profile, ..Default::default() });
        Ok(())
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    pub(in crate::lane) async fn set_profile(
        &mut self,
        caller: CallContext,
        call: client::SetProfile,
    ) -> Result<(), StoreError> {
        if let Err(refused) = check(&call) {
            self.context.refuse(caller, refused);
            return Ok(());
        }
        let user = caller.origin.user.clone();
        let stored = self.context.store.multi_get(&[keys::profile(&user)]).await?.pop().flatten();
        let stored = stored.and_then(|value| decoded::<ProfileRecord>("profile", &user, &value)).unwrap_or_default();
        let picture = call.picture.unwrap_or_else(|| stored.picture.clone());
        if let Err(refused) = self.round.change_picture(&self.context, &user, &stored.picture, &picture).await? {
            self.context.refuse(caller, refused);
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
            self.presence.changes_audience(&self.round, &user, before);
        }
        self.round.write(writes::put(keys::profile(&user), &profile));
        let done = self.context.then_respond(caller, client::Response::default());
        let record = self.state.user_record(&self.context, &user).await?;
        match record.zip(call.groups_from).filter(|(record, now)| record.groups_from != *now) {
            // Answered when all lanes know.
            Some((record, groups_from)) => {
                self.accounts.contacts.settle(&mut self.round, &user, Box::new(|| ()));
                self.change_user(user, Some(UserRecord { groups_from, ..record }), done);
            }
            None => self.accounts.contacts.settle(&mut self.round, &user, done),
        }
        Ok(())
    }
}

fn check(call: &client::SetProfile) -> Result<(), Refusal> {
    let longer = |text: &Option<String>, bytes_max| text.as_ref().is_some_and(|text| text.len() > bytes_max);
    if longer(&call.name, NAME_BYTES_MAX) {
        return Err(refusal::NAME_TOO_LARGE);
    }
    if longer(&call.about, ABOUT_BYTES_MAX) {
        return Err(refusal::ABOUT_TOO_LARGE);
    }
    if longer(&call.picture, PICTURE_BYTES_MAX) {
        return Err(refusal::PICTURE_TOO_LARGE);
    }
    let known = call.presence_to.is_none_or(|audience| client::Audience::try_from(audience).is_ok());
    let known = known && call.groups_from.is_none_or(|from| client::GroupsFrom::try_from(from).is_ok());
    if known { Ok(()) } else { Err(refusal::UNKNOWN_AUDIENCE) }
}
