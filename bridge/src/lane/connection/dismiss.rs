//! Connections that the server ends, and what is told when they have ended.

use std::sync::Arc;

use godwit_schemas::bus::Bus;
use godwit_schemas::ids::{DeviceId, UserId};
use godwit_schemas::reason::Reason;

use crate::lane::Lane;
use crate::lane::connection::session::SessionConnection;
use crate::messages::Barrier;
use godwit_store::Store;

impl<S: Store, B: Bus> Lane<S, B> {
    /// Closes a device's connection, for this reason. Its session goes on.
    pub(in crate::lane) fn dismiss(&mut self, device: DeviceId, reason: Reason) {
        let Some(session) = self.connections.sessions.get_mut(&device) else { return };
        let user = session.user.clone();
        let Some(ended) = session.end(false, self.context.now_s) else { return };
        self.shut_out(user, device, &ended, reason);
        self.connections.settle_departure(&self.round, device);
    }

    /// Closes a device's connection and forgets its session: the device is being removed.
    pub(in crate::lane) fn cut(&mut self, device: DeviceId) {
        self.connections.dirty.remove(&device);
        let Some(mut session) = self.connections.sessions.remove(&device) else { return };
        if let Some(connection) = session.end(false, self.context.now_s) {
            self.shut_out(session.user, device, &connection, Reason::ADMINISTRATIVE_ACTION);
        }
    }

    /// A connection is over because we say so.
    fn shut_out(&mut self, user: UserId, device: DeviceId, ended: &SessionConnection, reason: Reason) {
        self.connections.by_key.remove(&ended.key);
        self.connections.revocations.close(&mut self.edges, ended.key, device, reason);
        self.presence.has_gone(&self.context, &mut self.round, &user, device);
        self.connections.note_end(&mut self.round, user, ended);
    }

    /// Another lane has changed a user. It goes on when what was decided here by the record before is on disk.
    pub(in crate::lane) fn hears_of(&mut self, user: &UserId, all: Arc<Barrier>) {
        self.state.cache.forget_user(user);
        let sealed = self.round.sealed();
        self.round.hold(sealed, all);
    }
}
