//! Disconnect: connections end, one by one or all of an edge.

use godwit_core::reply_to::ConnectionKey;
use godwit_schemas::bus::{self, Bus};
use tracing::debug;

use crate::lane::Lane;
use godwit_store::Store;

impl<S: Store, B: Bus> Lane<S, B> {
    pub(in crate::lane) fn disconnect(&mut self, key: ConnectionKey, disconnect: &bus::Disconnect) {
        self.connections.arriving.remove(&key);
        self.connections.revocations.has_closed(key);
        let Some(device) = self.connections.by_key.remove(&key) else { return };
        let Some(session) = self.connections.sessions.get_mut(&device) else { return };
        if let (Some(connection), Some(expiry_s)) = (session.connection(key), disconnect.session_expiry_s) {
            connection.expiry_s = expiry_s;
        }
        let user = session.user.clone();
        if let Some(ended) = session.end(disconnect.clean, self.context.now_s) {
            self.presence.has_gone(&self.context, &mut self.round, &user, device);
            self.connections.note_end(&mut self.round, user, &ended);
            if ended.deliveries.waiting().is_none_or(|waiting| waiting.entries > 0) {
                self.context.pusher.waits(device);
            }
        }
        self.connections.settle_departure(&self.round, device);
    }

    /// All connections of an edge have ended, without a word.
    pub(in crate::lane) fn end_connections_of(&mut self, edge: u64) {
        self.connections.arriving.retain(|key, _| key.edge != edge);
        self.connections.revocations.has_closed_all_of(edge);
        self.delivery.forget_edge(edge);
        let of_edge: Vec<_> = self.connections.by_key.keys().filter(|key| key.edge == edge).copied().collect();
        if !of_edge.is_empty() {
            debug!(edge = format!("{edge:016x}"), connections = of_edge.len(), "connections ended by their edge");
        }
        for key in of_edge {
            self.disconnect(key, &bus::Disconnect::default());
        }
    }
}
