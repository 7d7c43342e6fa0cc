//! Connections that come with a token of the operator's own accounts: who they are, and when they end.

use std::sync::Arc;

use bytes::Bytes;
use godwit_core::stored::{DeviceRecord, UserRecord};
use godwit_schemas::bus::{self, Bus};
use godwit_schemas::ids::{DeviceName, UserId};
use godwit_schemas::reason::Reason;
use prost::Message;

use crate::audit::Actor;
use crate::lane::Lane;
use crate::lane::connection::authenticate::{Admitted, LoginVerdict, SUSPENDED};
use crate::lane::context::Context;
use crate::lane::round::Round;
use crate::token::{TokenRefusal, Tokens};
use godwit_store::record::decoded;
use godwit_store::{Store, StoreError, Write, keys};

/// No token makes this user or device again before. (The registrar sweeps it with the codes, whose expiry has the same tag.)
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RevokedRecord {
    /// Second since 1970, by the server's time and by the wall clock.
    #[prost(uint32, tag = "2")]
    expires_at_s: u32,
}

impl<S: Store> Context<S> {
    async fn is_revoked(&self, user: &UserId, name: &DeviceName) -> Result<bool, StoreError> {
        let keys = [keys::revoked(user, None), keys::revoked(user, Some(name.as_str()))];
        let found = self.store.multi_get(&keys).await?.into_iter().flatten();
        let mut records = found.filter_map(|value| decoded::<RevokedRecord>("revocation", user, &value));
        // Tokens are judged by the wall clock, which may be set.
        let now_s = self.settings.tokens.as_ref().map_or(self.now_s, |tokens| tokens.now_s().min(self.now_s));
        Ok(records.any(|record| now_s < record.expires_at_s))
    }
}

impl Round {
    /// A device, or a user (`None`), is removed: no token that is good now makes it again.
    pub(in crate::lane) fn revoke_tokens<S: Store>(
        &mut self,
        context: &Context<S>,
        user: &UserId,
        device: Option<&str>,
    ) {
        let Some(tokens) = context.settings.tokens.as_ref().filter(|tokens| tokens.settings.create_users) else {
            return;
        };
        let lasts_s = tokens.settings.lifetime_max_s.saturating_add(2 * tokens.settings.leeway_s);
        let record = RevokedRecord { expires_at_s: context.now_s.max(tokens.now_s()).saturating_add(lasts_s) };
        let (table, key) = keys::revoked(user, device);
        self.write(Write::Put(table, key, Bytes::from(record.encode_to_vec())));
    }
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// Whether the token is good, and is this device's.
    pub(in crate::lane) async fn admit_by_token(
        &mut self,
        tokens: &Arc<Tokens>,
        connect: &bus::Connect,
        (user, name): (UserId, DeviceName),
    ) -> Result<LoginVerdict, StoreError> {
        let refused = |why| Ok(Err((Reason::BAD_USER_NAME_OR_PASSWORD, why)));
        let claims = match tokens.verify(&connect.password) {
            Ok(claims) => claims,
            Err(TokenRefusal::Bad(why)) => return refused(why),
            // A client takes this for a reason to come again.
            Err(TokenRefusal::Later) => return Ok(Err((Reason::SERVER_UNAVAILABLE, "key"))),
        };
        if claims.user != user || claims.device.is_some_and(|device| device != name) {
            return refused("another's");
        }
        let record = self.state.user_record(&self.context, &user).await?;
        if record.as_ref().is_some_and(UserRecord::is_suspended) {
            return Ok(Err((Reason::BANNED, SUSPENDED)));
        }
        let device = record.iter().flat_map(|record| &record.devices).find(|device| device.name == name.as_str());
        if let Some(device) = device {
            return Ok(Ok(Admitted::new(user, device, Some(claims.ends_at_s))));
        }
        if !tokens.settings.create_users {
            return refused("no such device");
        }
        if self.context.is_revoked(&user, &name).await? {
            return refused("revoked");
        }
        let device = self.make_for_token(&user, record.unwrap_or_default(), &name);
        Ok(device.map(|device| Admitted::new(user, &device, Some(claims.ends_at_s))))
    }

    /// Makes a device, and its user if need be.
    fn make_for_token(
        &mut self,
        user: &UserId,
        mut record: UserRecord,
        name: &DeviceName,
    ) -> Result<DeviceRecord, (Reason, &'static str)> {
        if self.context.nearly_full {
            return Err((Reason::SERVER_UNAVAILABLE, "no room"));
        }
        if record.waiting || self.accounts.is_being_removed(user) || self.accounts.is_being_forgotten(user) {
            return Err((Reason::BAD_USER_NAME_OR_PASSWORD, "not to be made"));
        }
        if record.devices.len() >= self.context.settings.devices_per_user_max {
            return Err((Reason::QUOTA_EXCEEDED, "too many devices"));
        }
        let id = self.accounts.allocate_device(&mut self.round, user).get();
        // Without a password: no hash is so short.
        let device = DeviceRecord { id, name: name.to_string(), ..DeviceRecord::default() };
        record.devices.push(device.clone());
        let is_new = self.state.cache.user(user).is_none();
        let then = self.round.then_added(&self.context, Actor::Token, user, name, is_new, Box::new(|| ()));
        self.change_user(user.clone(), Some(record), then);
        Ok(device)
    }
}
