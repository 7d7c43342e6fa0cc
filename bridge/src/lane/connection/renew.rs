//! Renew: a connection shows another token; and the end of those whose token is no longer good.

use godwit_core::reply_to::ConnectionKey;
use godwit_schemas::bus::{self, Bus, down::Frame};
use godwit_schemas::reason::Reason;

use crate::audit::AuditEntry;
use crate::lane::Lane;
use crate::token::TokenRefusal;
use godwit_store::{Store, StoreError};

impl<S: Store, B: Bus> Lane<S, B> {
    /// A connection shows another token: it ends with that one, or now.
    pub(in crate::lane) async fn renew(&mut self, key: ConnectionKey, token: &[u8]) -> Result<(), StoreError> {
        let Some(device) = self.connections.by_key.get(&key).copied() else { return Ok(()) };
        let Some(user) = self.connections.sessions.get(&device).map(|session| session.user.clone()) else {
            return Ok(());
        };
        let record = self.state.user_record(&self.context, &user).await?.unwrap_or_default();
        let name = record.devices.into_iter().find(|known| known.id == device.get()).map(|known| known.name);
        let verified = match self.context.settings.tokens.as_ref().map(|tokens| tokens.verify(token)) {
            Some(Ok(claims)) => {
                let is_its_own = |name: &str| claims.device.is_none_or(|device| name == device.as_str());
                if claims.user == user && name.as_deref().is_some_and(is_its_own) {
                    Ok(claims.ends_at_s)
                } else {
                    Err("another's")
                }
            }
            Some(Err(TokenRefusal::Bad(why))) => Err(why),
            Some(Err(TokenRefusal::Later)) => {
                self.dismiss(device, Reason::SERVER_BUSY);
                return Ok(());
            }
            None => Err("no tokens"),
        };
        self.context.settings.audit.note(|| AuditEntry {
            event: if verified.is_ok() { "token_renewed" } else { "token_refused" },
            user: Some(user.to_string()),
            device: name,
            reason: verified.err(),
            ..AuditEntry::default()
        });
        let connection = self.connections.sessions.get_mut(&device).and_then(|session| session.connection.as_mut());
        let Some(connection) = connection.filter(|connection| connection.key == key) else { return Ok(()) };
        match verified {
            Ok(ends_at_s) => {
                if let Some(before_s) = connection.ends_at_s.replace(ends_at_s) {
                    self.connections.ends.remove(&(before_s, key));
                }
                self.connections.ends.insert((ends_at_s, key));
                self.edges.push(key, Frame::Renewed(bus::Renewed { ends_at_s: Some(ends_at_s) }));
            }
            Err(_) => self.dismiss(device, Reason::NOT_AUTHORIZED),
        }
        Ok(())
    }

    /// Closes connections whose token is good no more.
    pub(in crate::lane) fn end_what_has_expired(&mut self) {
        let Some(now_s) = self.context.settings.tokens.as_ref().map(|tokens| tokens.now_s()) else { return };
        while let Some((ends_at_s, key)) = self.connections.ends.first().copied()
            && ends_at_s <= now_s
        {
            self.connections.ends.pop_first();
            if let Some(device) = self.connections.by_key.get(&key).copied() {
                self.dismiss(device, Reason::NOT_AUTHORIZED);
            }
        }
    }
}
