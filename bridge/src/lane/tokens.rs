//! Connections that come with a token of the operator's own accounts: who they are, and when they end.

use std::sync::Arc;

use bytes::Bytes;
use godwit_core::command::ConnectionKey;
use godwit_core::record::{DeviceRecord, UserRecord};
use godwit_schemas::bus::{self, Bus, down::Frame};
use godwit_schemas::ids::{DeviceId, DeviceName, UserId};
use godwit_schemas::partition::Partition;
use godwit_schemas::reason::Reason;
use prost::Message;

use super::Lane;
use super::connect::Entrance;
use super::read::decoded;
use crate::audit::{By, Entry};
use crate::mail::Mail;
use crate::store::{Store, StoreError, Write, keys};
use crate::token::{Refused, Tokens};

/// No token makes this user or device again before. (The registrar sweeps it with the codes, whose expiry has the same tag.)
#[derive(Clone, PartialEq, Message)]
struct RevokedRecord {
    /// Second since 1970.
    #[prost(uint32, tag = "2")]
    expires_at_s: u32,
}

impl<S: Store, B: Bus> Lane<S, B> {
    /// Whether the token is good, and is this device's.
    pub(super) async fn admit_by_token(
        &mut self,
        tokens: &Arc<Tokens>,
        key: ConnectionKey,
        connect: &bus::Connect,
        (user, name): (UserId, DeviceName),
    ) -> Result<Entrance, StoreError> {
        let refused = |why| Ok(Entrance::Refused(Reason::BAD_USER_NAME_OR_PASSWORD, why));
        let claims = match tokens.verify(&connect.password) {
            Ok(claims) => claims,
            Err(Refused::Bad(why)) => return refused(why),
            // A client takes this for a reason to come again.
            Err(Refused::Later) => return Ok(Entrance::Refused(Reason::SERVER_UNAVAILABLE, "key")),
        };
        if claims.user != user || claims.device.is_some_and(|device| device != name) {
            return refused("another's");
        }
        let record = self.user_record(&user).await?;
        let device = record.iter().flat_map(|record| &record.devices).find(|device| device.name == name.as_str());
        if let Some(device) = device {
            return Ok(Entrance::In(user, DeviceId::new(device.id), claims.ends_at_s));
        }
        if !tokens.settings.create_users {
            return refused("no such device");
        }
        if self.is_revoked(&user, &name).await? {
            return refused("revoked");
        }
        Ok(match self.make_for_token(key, connect, &user, record.unwrap_or_default(), &name) {
            Ok(()) => Entrance::Later,
            Err((reason, why)) => Entrance::Refused(reason, why),
        })
    }

    /// A connection shows another token: it ends with that one, or now.
    pub(super) async fn renew(&mut self, key: ConnectionKey, token: &[u8]) -> Result<(), StoreError> {
        let Some(device) = self.connections.get(&key).copied() else { return Ok(()) };
        let Some(user) = self.sessions.get(&device).map(|session| session.user.clone()) else { return Ok(()) };
        let record = self.user_record(&user).await?.unwrap_or_default();
        let name = record.devices.into_iter().find(|known| known.id == device.get()).map(|known| known.name);
        let verified = match self.settings.tokens.as_ref().map(|tokens| tokens.verify(token)) {
            Some(Ok(claims)) => {
                let is_its_own = claims.device.is_none_or(|device| name.as_deref() == Some(device.as_str()));
                if claims.user == user && is_its_own { Ok(claims.ends_at_s) } else { Err("another's") }
            }
            Some(Err(Refused::Bad(why))) => Err(why),
            Some(Err(Refused::Later)) => {
                self.dismiss(device, Reason::SERVER_BUSY);
                return Ok(());
            }
            None => Err("no tokens"),
        };
        self.settings.audit.note(|| Entry {
            event: if verified.is_ok() { "token_renewed" } else { "token_refused" },
            user: Some(user.to_string()),
            device: name,
            reason: verified.err(),
            ..Entry::default()
        });
        let connection = self.sessions.get_mut(&device).and_then(|session| session.connection.as_mut());
        let Some(connection) = connection.filter(|connection| connection.key == key) else { return Ok(()) };
        match verified {
            Ok(ends_at_s) => {
                let before_s = std::mem::replace(&mut connection.ends_at_s, ends_at_s);
                self.ends.remove(&(before_s, key));
                self.ends.insert((ends_at_s, key));
                self.edges.push(key, Frame::Renewed(bus::Renewed { ends_at_s }));
            }
            Err(_) => self.dismiss(device, Reason::NOT_AUTHORIZED),
        }
        Ok(())
    }

    /// Makes a device, and its user if need be. The connection goes on when both are on disk, and known to all lanes.
    fn make_for_token(
        &mut self,
        key: ConnectionKey,
        connect: &bus::Connect,
        user: &UserId,
        mut record: UserRecord,
        name: &DeviceName,
    ) -> Result<(), (Reason, &'static str)> {
        if self.nearly_full {
            return Err((Reason::SERVER_UNAVAILABLE, "no room"));
        }
        if record.waiting || self.removals.contains_key(user) {
            return Err((Reason::BAD_USER_NAME_OR_PASSWORD, "not to be made"));
        }
        if record.devices.len() >= self.settings.devices_per_user_max {
            return Err((Reason::QUOTA_EXCEEDED, "too many devices"));
        }
        let id = self.allocate_device(Partition::of_user(user)).get();
        // Without a password: no hash is so short.
        record.devices.push(DeviceRecord { id, name: name.to_string(), ..DeviceRecord::default() });
        let is_new = self.world.user(user).is_none();
        self.arriving.insert(key, connect.clone());
        let then = self.then_mail(move || Mail::Arrive(key));
        let then = self.then_added(By::Token, user, name, is_new, then);
        self.change_user(user.clone(), Some(record), then);
        Ok(())
    }

    /// Its user and device have been made.
    pub(super) async fn arrive(&mut self, key: ConnectionKey) -> Result<(), StoreError> {
        match self.arriving.remove(&key) {
            Some(connect) => self.connect(key, connect).await,
            // It has gone meanwhile.
            None => Ok(()),
        }
    }

    async fn is_revoked(&mut self, user: &UserId, name: &DeviceName) -> Result<bool, StoreError> {
        let keys = [keys::revoked(user, None), keys::revoked(user, Some(name.as_str()))];
        let found = self.store.multi_get(&keys).await?.into_iter().flatten();
        let mut records = found.filter_map(|value| decoded::<RevokedRecord>("revocation", user, &value));
        Ok(records.any(|record| self.now_s < record.expires_at_s))
    }

    /// A device, or a user (`None`), is removed: no token that is good now makes it again.
    pub(super) fn revoke_tokens(&mut self, user: &UserId, device: Option<&str>) {
        let Some(tokens) = self.settings.tokens.as_ref().filter(|tokens| tokens.settings.create_users) else { return };
        let lasts_s = tokens.settings.lifetime_max_s.saturating_add(2 * tokens.settings.leeway_s);
        let record = RevokedRecord { expires_at_s: self.now_s.saturating_add(lasts_s) };
        let (table, key) = keys::revoked(user, device);
        self.next.writes.push(Write::Put(table, key, Bytes::from(record.encode_to_vec())));
    }

    /// Closes connections whose token is good no more.
    pub(super) fn end_what_has_expired(&mut self) {
        self.now_s = self.now_s.max((self.clock)());
        while let Some((ends_at_s, key)) = self.ends.first().copied()
            && ends_at_s <= self.now_s
        {
            self.ends.pop_first();
            if let Some(device) = self.connections.get(&key).copied() {
                self.dismiss(device, Reason::NOT_AUTHORIZED);
            }
        }
    }
}
