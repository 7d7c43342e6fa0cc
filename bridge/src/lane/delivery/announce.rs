//! New entries: each goes straight to a connected device with room in its window. Everything else is read from the inbox when
//! there is room ([`crate::lane::delivery::read`]). Keeps P2, and the memory of a slow device bounded.

use godwit_core::delivery_window::EntryAction;
use godwit_schemas::bus::Bus;
use tokio::time::Instant;
use tracing::trace;

use crate::lane::Lane;
use crate::lane::connection::session::Session;
use crate::lane::delivery::entry::{deliver, readable};
use crate::messages::NewInboxEntry;
use godwit_store::Store;

impl<S: Store, B: Bus> Lane<S, B> {
    /// A new entry is on disk, since then.
    pub(in crate::lane) fn new_entry(&mut self, new: NewInboxEntry, since: Option<Instant>) {
        trace!(device = %new.device, order = %new.order, "entry announced");
        self.delivery.backlogs.added(new.device, new.order, new.bytes);
        let session = self.connections.sessions.get_mut(&new.device);
        let Some((filters, connection)) = session.and_then(Session::filters_and_connection) else {
            return self.context.pusher.waits(new.device);
        };
        if !connection.is_watched {
            connection.is_watched = self.context.pusher.handed_out(new.device, new.order);
        }
        if connection.deliveries.is_behind() {
            return;
        }
        if !self.edges.has_room(connection.key.edge) {
            connection.deliveries.set_behind();
            return self.delivery.schedule_read(&mut self.connections, new.device);
        }
        connection.deliveries.set_bytes_max(self.context.settings.in_flight_bytes());
        let Some(entry) = readable(new.device, new.order, new.value) else { return };
        match connection.deliveries.new_entry(new.order, &entry, filters) {
            EntryAction::Deliver { again } => {
                let frame = deliver(new.device, new.order, &entry, again, filters, self.context.now_s);
                self.edges.push(connection.key, frame);
                if connection.timed.is_none() {
                    connection.timed = since.map(|since| (new.order, since));
                }
            }
            EntryAction::Settle(flight) => self.acked(new.device, &[flight]),
            EntryAction::Skip => {}
        }
    }
}
